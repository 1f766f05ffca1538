"""`maetdol`: one command per stage, and those that run, show and explain.

Exit codes: 0 done, 1 work failed, 2 bad usage or recipe, 130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import nullcontext
from typing import Any

import click

from pipeline.engine import progress, stop
from pipeline.errors import HeadLost, MaetdolError, did_you_mean
from pipeline.estimate.command import plan_command
from pipeline.inspection.commands import SHOWING
from pipeline.inspection.terminal import escaped

RUN_HELP = "Run a recipe: bring every step up to date."
"""Environment variable: show tracebacks."""
QUIETLY = {"OPENBLAS_THREAD_TIMEOUT": "4", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Set while libraries are loaded: both are read then and never again."""


class CommandGroup(click.Group):
    """Finds stages and verbs in the folders; nothing is imported until a command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from pipeline.engine import catalog

        return [
            *BUILT_IN,
            *catalog.stage_names(),
            *sorted({verb.split()[0] for verb in catalog.verbs()} - set(catalog.stage_names())),
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from pipeline.engine import catalog

        name = cmd_name
        if name in BUILT_IN:
            return BUILT_IN[name]
        name = catalog.current_verb(catalog.current_stage(name))
        verbs = {verb: found for verb, found in catalog.verbs().items() if verb.split()[0] == name}
        if name in catalog.stage_names():
            return stage_command(name, verbs)
        if name in verbs and len(verbs) == 1:
            return verb_command(verbs[name])
        return verb_group(name, verbs) if verbs else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"no command {args[0]!r}: {did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from pipeline.engine import catalog

        verbs = catalog.verbs()
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.short_help or command.help or "") for name, command in BUILT_IN.items()])
        with formatter.section("Stages (maetdol STAGE SOURCE SINK)"):
            formatter.write_dl([(name, catalog.stage_summary(name)) for name in catalog.stage_names()])
        if verbs:
            with formatter.section("Further verbs"):
                formatter.write_dl([(name, verb.summary) for name, verb in verbs.items()])


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="maetdol", prog_name="maetdol")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Show what is logged for debugging, and the traceback of an error; anywhere on the command line, or MAETDOL_DEBUG=1.",
)
def cli() -> None:
    """Maetdol grinds raw web text into corpora, tokenizers, instruction and preference sets, and trains on them."""


def main() -> None:
    """Entry point of a process."""
    _begin()
    stop.listen()
    _obey()


def _begin() -> None:
    """Load what every command needs, without OpenBLAS threads that spin while they wait, and pydantic's search of every
    installed package for plug-ins. What the user has set stands."""
    added = {name: value for name, value in QUIETLY.items() if name not in os.environ}
    os.environ.update(added)
    try:
        import pipeline.engine.catalog  # noqa: F401
    finally:
        for name in added:
            del os.environ[name]


def _obey() -> None:
    """Run the command line; errors are one clear line and the hint."""
    # Libraries warn their own developers about their own renamings; a user cannot fix those.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl|peft|torch")
    words = [word for word in sys.argv[1:] if word != "--debug"]
    if len(words) < len(sys.argv) - 1:
        os.environ[progress.DEBUG] = "1"  # workers are told too
        progress.set_level()
    try:
        code = cli.main(words, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.ClickException as fault:
        fault.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        print("\nstopped: finished shards are kept; run the same command to go on", file=sys.stderr)
        sys.exit(stop.exit_code())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MaetdolError as fault:
        _trace(fault)
        print(escaped(f"error: {fault}", lines=True), file=sys.stderr)
        if isinstance(fault, HeadLost):  # Ray's own end waits for a head that is gone
            sys.stderr.flush()
            os._exit(fault.exit_code)
        sys.exit(fault.exit_code)
    except OSError as fault:  # a file or folder that cannot be what it is taken for, met where nobody foresaw it
        _trace(fault)
        where = os.fsdecode(fault.filename) if isinstance(fault.filename, (str, bytes)) else "a file"
        print(
            escaped(
                f"error: {where}: {fault.strerror or fault}\n  hint: see that it is the file or folder it should be, and may be read and written",
                lines=True,
            ),
            file=sys.stderr,
        )
        sys.exit(1)
    except Exception as fault:  # the last guard: whatever it is, the user gets one line
        from pipeline.engine.guard import message_of

        _trace(fault)
        print(
            escaped(
                f"error: {message_of(fault)}\n  hint: add --debug to see where it came from; finished shards are kept",
                lines=True,
            ),
            file=sys.stderr,
        )
        sys.exit(1)


def _trace(fault: BaseException) -> None:
    if progress.debugging():
        import traceback

        traceback.print_exception(fault)


OVERWRITE = "Delete the store of another stage or step that stands where this writes.  [default: refuse]"


# -- run -----------------------------------------------------------------------------------------------------------------


@click.command("run", help=RUN_HELP)
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.option("--from", "start", metavar="STEP", help="Redo this step and what depends on it.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="STEP.OPTION=VALUE",
    help="Override an option (repeat); also root=, seed=, run.workers=.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and why; do nothing.")
@click.option("--quiet", "-q", is_flag=True, help="No progress; warnings alone.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE)
@click.option("--report/--no-report", default=True, help="Write ROOT/report.html at the end.  [default: on]")
def run_command(
    recipe: str, start: str | None, settings: tuple[str, ...], dry_run: bool, quiet: bool, overwrite: bool, report: bool
) -> int:
    from pipeline.engine import recipe as recipes
    from pipeline.engine import run as runs
    from pipeline.storage import sinks
    from pipeline.storage.files import filesystem

    page = recipes.load(recipe, list(settings))
    if dry_run:
        sinks.check(page, overwrite)
        return _show_plan(runs.plan(page, start))
    progress.listen(quiet)
    outcomes = runs.run(page, start, overwrite=overwrite)
    worked = [o for o in outcomes if o.did]
    for outcome in outcomes:
        did = f"{outcome.seconds:8.1f} s" if outcome.did else "  up to date"
        click.echo(f"  {outcome.step:<20} {outcome.rows:>10,} rows  {outcome.dropped:>8,} dropped  {did}{outcome.why}")
    if not worked:
        click.echo(f"{page.name}: nothing to do, all {len(outcomes)} steps are up to date")
    target = f"{page.root.rstrip('/')}/report.html"
    if report and (worked or not filesystem(page.root).exists("report.html")):
        from pipeline.inspection.report import write_report

        write_report(page.root)
    _say_where(page, target if filesystem(page.root).exists("report.html") else "")
    return 0


def _show_plan(plan: list[Any]) -> int:
    for status in plan:
        click.echo(f"  {status.step:<20} {status.state:<8} {status.why}{'; ' + status.shards if status.shards else ''}")
    todo = sum(status.state != "done" for status in plan)
    click.echo(f"{todo} of {len(plan)} steps to do" if todo else "nothing to do")
    return 0


def _say_where(page: Any, report: str) -> None:
    click.echo(f"stores    {page.root}/<step>")
    for step in page.steps:
        if (step.shape or "").startswith("artefact:"):
            click.echo(f"{step.shape.split(':')[1]:<9} {page.root}/{step.name}/artefact  ({step.name})")
    if report:
        click.echo(f"report    {report}")


# -- one stage, one verb ---------------------------------------------------------------------------------------------------


SEED = click.Option(
    ["--seed"], type=int, default=17, metavar="N", show_default=True, help="Seed of everything that is drawn."
)


def stage_command(name: str, verbs: dict[str, Any]) -> click.Command:
    """`maetdol STAGE SOURCE... SINK [flags]`; verbs that begin with the stage's name are its sub-words.

    A verb `STAGE --flag` is a flag of this command: where it is given, its class (which derives from the stage's) is run on
    the same inputs instead. One that has `arguments` of its own takes over the whole command line, wherever the flag stands.
    """
    from pipeline import flags
    from pipeline.engine import catalog

    cls = catalog.stage(name)
    flagged = [verb for words, verb in verbs.items() if " --" in words and not getattr(verb.load(), "arguments", ())]
    verbs = {words: verb for words, verb in verbs.items() if verb not in flagged}
    params: list[click.Parameter] = [click.Argument(["paths"], nargs=-1, required=True, metavar="SOURCE... SINK")]
    params += flags.options_of(cls, cls.reads_from[:1])
    for verb in flagged:
        params += flags.options_of(verb.load(), tuple(cls.model_fields))
    for port, declared in cls.ports.items():
        if port != "of":
            params.append(
                click.Option(
                    [f"--{port.replace('_', '-')}", f"port_{port}"],
                    multiple=declared.many,
                    metavar="STORE",
                    help=declared.help or f"A store of {declared.shape}.",
                )
            )
    for old, new in cls.renamed.items():
        if new in cls.ports:
            many = cls.ports[new].many
            params.append(click.Option([f"--{old.replace('_', '-')}", f"port_{old}"], multiple=many, hidden=True))
    params += [
        click.Option(
            ["--workers"],
            type=int,
            default=1,
            metavar="N",
            show_default=True,
            help="Tasks in flight; more than 1 starts Ray.",
        ),
        *([] if "seed" in cls.model_fields else [SEED]),
        click.Option(["--overwrite"], is_flag=True, help=OVERWRITE),
        click.Option(
            ["--allow-empty"],
            is_flag=True,
            help="A store without a row is no failure.  [default: exit 1 where all was dropped]",
        ),
        click.Option(["--quiet", "-q"], is_flag=True, help="No progress; warnings alone."),
    ]
    doc = (cls.__doc__ or "").strip() + _more_verbs(verbs)

    def call(
        paths: tuple[str, ...],
        workers: int,
        quiet: bool,
        overwrite: bool,
        allow_empty: bool,
        seed: int = 17,
        **given: Any,
    ) -> int:
        words = next((v for n in range(len(paths), 0, -1) if (v := verbs.get(" ".join((name, *paths[:n]))))), None)
        if words is not None:
            raise click.UsageError(f"give `maetdol {words.name}` its own flags")
        page = _one_step(name, paths, workers, seed, given)
        progress.listen(quiet)
        for verb in flagged:
            if given.get(f"opt_{verb.name.split(' --')[1].replace('-', '_')}") not in (None, False):
                return _run_instead(verb, page, given)
        return _run_stage(page, paths[-1], overwrite, allow_empty)

    return StageCommand(name, params=params, callback=call, help=doc, short_help=doc.split("\n")[0], verbs=verbs)


class StageCommand(click.Command):
    """A stage, whose further words (`STAGE WORD ...`) are commands of their own."""

    def __init__(self, *args: Any, verbs: dict[str, Any], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.verbs = verbs

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        for words, verb in self.verbs.items():
            rest = words.split()[1:]
            if rest and rest[0].startswith("--") and rest[0] in args:
                at = args.index(rest[0])
                return verb_command(verb).make_context(words, args[:at] + args[at + 1 :], parent=parent, **extra)
            if rest and args[: len(rest)] == rest:
                return verb_command(verb).make_context(words, args[len(rest) :], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return ctx.command.invoke(ctx) if ctx.command is not self else super().invoke(ctx)


def _more_verbs(verbs: dict[str, Any]) -> str:
    lines = [f"  maetdol {name}: {verb.summary}" for name, verb in verbs.items()]
    return "\n\n\b\nFurther:\n" + "\n".join(lines) if lines else ""


def _one_step(name: str, paths: tuple[str, ...], workers: int, seed: int, given: dict[str, Any]) -> Any:
    """The recipe of one step that a stage's command line means."""
    from pipeline import flags
    from pipeline.engine import catalog
    from pipeline.engine.recipe import parse

    cls = catalog.stage(name)
    wanted = "of" in cls.ports or (cls.reads_from and not any(given.get(f"opt_{each}") for each in cls.reads_from))
    if len(paths) < 2 and wanted:
        raise click.UsageError(f"maetdol {name} needs SOURCE and SINK, got {len(paths)} path")
    sources, sink = list(paths[:-1]), "".join(paths[-1:])
    options = flags.values(cls, given)
    if cls.reads_from and sources:
        options[cls.model_fields[cls.reads_from[0]].alias or cls.reads_from[0]] = list(sources)
    for port in (*cls.ports, *(old for old, new in cls.renamed.items() if new in cls.ports)):
        stores = sources if port == "of" else _as_list(given.get(f"port_{port}"))
        if stores:
            options[port] = [_path(path) for path in stores]
            for path in stores:
                cls.ports[cls.renamed.get(port, port)].store(path).require()
    parent, base = os.path.split(str(sink).rstrip("/"))
    options["name"] = base
    run = {"pool": "ray" if workers > 1 else "inline", "workers": workers, "steps": {base: {"workers": workers}}}
    return parse(
        {"name": base, "root": parent or ".", "seed": seed, "steps": [{name: options}], "run": run}, f"maetdol {name}"
    )


def _run_stage(page: Any, sink: str, overwrite: bool, allow_empty: bool = False) -> int:
    from pipeline.engine import run as runs
    from pipeline.inspection.inspect import why_empty

    outcome = runs.run(page, lock_at=sink, overwrite=overwrite)[0]
    state = f"in {outcome.seconds:.1f} s" if outcome.did else "already up to date"
    click.echo(f"{sink}: {outcome.rows:,} rows, {outcome.dropped:,} dropped{outcome.why}, {state}")
    if outcome.rows or allow_empty or not outcome.dropped or (page.steps[0].shape or "").startswith("artefact:"):
        return 0
    click.echo(why_empty(page.store(page.steps[0].name)), err=True)
    return 1


def _run_instead(verb: Any, page: Any, given: dict[str, Any]) -> int:
    """What a verb that is a flag of the stage does with the stage's inputs; the sink is not touched."""
    from pipeline import flags
    from pipeline.engine import run as runs

    cls, (step,) = verb.load(), page.steps
    chosen = cls.build(flags.values(cls, given), verb.name)
    pool = runs.LazyPool(lambda: runs.make_pool(page), page.run.workers or 1)
    try:
        return chosen.run(runs.inputs_of(page, step), page.store(step.name), pool)  # type: ignore[attr-defined]
    finally:
        pool.close()


def _as_list(value: Any) -> list[str]:
    return [] if not value else [value] if isinstance(value, str) else list(value)


def _path(path: str) -> str:
    return path if "/" in path else f"./{path}"


def verb_command(verb: Any) -> click.Command:
    """A verb: positional fields are those the class names in `arguments`, the rest are flags; `writes` names the field of its sink, which is locked."""
    from pipeline import flags
    from pipeline.deletion.forgotten import writing

    cls = verb.load()
    arguments = getattr(cls, "arguments", ())
    params: list[click.Parameter] = []
    for name in arguments:
        field = cls.model_fields[name]
        many = flags._is_list(flags._bare(field.annotation))
        shown_as = name.upper().rstrip("_")
        params.append(
            click.Argument(
                [f"opt_{name}"],
                nargs=-1 if many else 1,
                required=field.is_required(),
                metavar=f"[{shown_as}...]" if many else shown_as,
            )
        )
    params += flags.options_of(cls, tuple(arguments))

    def call(**given: Any) -> int:
        progress.listen(False)
        order: Any = cls.build(flags.values(cls, given), verb.name)
        with writing(getattr(order, cls.writes)) if hasattr(cls, "writes") else nullcontext():
            result = order.run()
        return result if isinstance(result, int) and not isinstance(result, bool) else 0

    return click.Command(verb.name, params=params, callback=call, help=(cls.__doc__ or "").strip())


def verb_group(name: str, verbs: dict[str, Any]) -> click.Group:
    group = click.Group(name, help=f"Verbs: {', '.join(verbs)}")
    for words, verb in verbs.items():
        command = verb_command(verb)
        command.name = words.removeprefix(name).strip() or name
        group.add_command(command)
    return group


BUILT_IN = {"run": run_command, "plan": plan_command, **SHOWING}

if __name__ == "__main__":
    main()
