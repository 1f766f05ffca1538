"""Commands that show and explain, and change nothing: verify (unless told to repair), report, inspect, trace, list, explain, doctor."""

from __future__ import annotations

from typing import Any

import click


@click.command("verify", help="Hold every file of a run against its hash: what is damaged, and what repairs it.")
@click.argument("path", metavar="ROOT|STORE")
@click.option(
    "--repair",
    is_flag=True,
    help="Take away what is damaged and its proof (and what is extra): the next run redoes exactly that.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
@click.option(
    "--workers", type=int, default=1, metavar="N", show_default=True, help="Tasks in flight; more than 1 starts Ray."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress; warnings alone.")
def verify_command(path: str, repair: bool, as_json: bool, workers: int, quiet: bool) -> int:
    from pipeline.engine import progress
    from pipeline.storage import verify

    progress.listen(quiet)
    found = verify.verify(path, workers)
    if repair:
        verify.repair(path, found)
    click.echo(verify.report_text(path, found, repair, as_json))
    return 1 if found.damaged and not repair else 0


@click.command("report", help="Write the HTML report of a run.")
@click.argument("root")
@click.option("--out", type=click.Path(), help="Where to write the page.  [default: ROOT/report.html]")
@click.option(
    "--language",
    type=click.Choice(["auto", "en", "ko"]),
    default="auto",
    show_default=True,
    help="Of the page; auto: that of the environment (LC_ALL, LC_MESSAGES, LANG).",
)
def report_command(root: str, out: str | None, language: str) -> int:
    from pipeline.inspection.report import report

    click.echo(f"report    {report(root, out, language)}")
    return 0


@click.command("inspect", help="Look into a store: columns, counts, reasons, rows chosen; of a root, its stores.")
@click.argument("store", metavar="STORE|ROOT")
@click.option("--rows", "-n", default=3, show_default=True, metavar="N", help="Rows to show, at most 1,000.")
@click.option("--id", "row_id", metavar="ID", help="Show the row of this id, whole.")
@click.option(
    "--where",
    metavar="SQL",
    help="Rows for which this holds: \"lang = 'ko' AND lang_score < 0.7\"; with --dropped over the ledger's columns, such as '\"word_count.words\" > 40'.",
)
@click.option(
    "--grep", metavar="PATTERN", help="Rows whose text holds this regular expression (Rust's: no look-around)."
)
@click.option("--literal", is_flag=True, help="--grep looks for the words as they are.")
@click.option("--sample", is_flag=True, help="Random rows, the same for the same --seed.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of --sample.")
@click.option(
    "--dropped",
    is_flag=True,
    help="Show what was dropped instead: its text from the step before, the numbers measured, and the limits. --grep then reads the texts of 20,000 dropped rows at most.",
)
@click.option("--reason", metavar="WORD", help="Dropped for this reason, such as word_count.low.")
@click.option("--nearest", is_flag=True, help="With --reason: those nearest to the limit first.")
@click.option("--json", "as_json", is_flag=True, help="Rows as JSON, one a line.")
@click.option(
    "--columns",
    "paths",
    metavar="PATH,...",
    help="Show these alone: columns, or paths such as meta.author.name or meta.tags[0].  [default: all]",
)
def inspect_command(
    store: str,
    row_id: str | None,
    where: str | None,
    grep: str | None,
    as_json: bool,
    paths: str | None,
    **options: Any,
) -> int:
    names = paths.split(",") if paths else ()
    chosen = [where, grep, as_json, options["sample"], options["dropped"], options["reason"], options["nearest"]]
    if not any(chosen):
        from pipeline.inspection.inspect import inspect

        click.echo(inspect(store, options["rows"], row_id, names))
        return 0
    from pipeline.inspection.selection import Selection, lines

    for line in lines(store, Selection(row_id=row_id, where=where, grep=grep, paths=names, **options), as_json):
        click.echo(line)
    return 0


@click.command("trace", help="What happened to a document, stage by stage, and why: numbers and limits.")
@click.argument("root")
@click.argument("what", metavar="ID_URL_OR_FILE")
def trace_command(root: str, what: str) -> int:
    from pipeline.inspection.trace import trace

    click.echo(trace(root, what))
    return 0


@click.command("list", help="Stages, filters, rules and recipes.")
@click.argument("what", required=False, metavar="[stages|filters|rules|verbs|recipes]")
def list_command(what: str | None) -> int:
    from pipeline.inspection.inspect import listing

    click.echo(listing(what))
    return 0


@click.command("explain", help="A stage's or filter's options, units, defaults and sources.")
@click.argument("what", metavar="STAGE[.MEMBER]")
def explain_command(what: str) -> int:
    from pipeline.inspection.inspect import explain

    click.echo(explain(what))
    return 0


@click.command("doctor", help="What is installed, what is missing, GPU or not.")
@click.option(
    "--warm",
    is_flag=True,
    help="Compile all kernels ahead, once per machine (or container: set MAETDOL_CACHE to a folder of the image). Exit code 1 where the folder cannot be written.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress; warnings alone.")
def doctor_command(warm: bool, quiet: bool) -> int:
    from pipeline.inspection.inspect import doctor, warmed

    if warm:
        from pipeline.engine import progress

        progress.listen(quiet)
        text, healthy = warmed()
    else:
        text, healthy = doctor()
    click.echo(text)
    return 0 if healthy else 1


SHOWING: dict[str, click.Command] = {
    "verify": verify_command,
    "report": report_command,
    "inspect": inspect_command,
    "trace": trace_command,
    "list": list_command,
    "explain": explain_command,
    "doctor": doctor_command,
}
"""Word to command, in the order of the help."""
