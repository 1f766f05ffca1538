"""The folder is the registry: a stage is a folder of `stages/`, a filter or rule a file in one; nothing is registered.

Names and one-line summaries are read from the source without importing it, so that `maetdol --help` stays quick; a class
is imported when it is used. `MAETDOL_PATH` (folders, separated like PATH) adds a user's own: stages as `FOLDER/<stage>/`,
filters, rules and readers as `FOLDER/<stage>/<kind>/x.py`, verbs in `FOLDER/<folder>/commands.py`.
"""

from __future__ import annotations

import ast
import logging
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from pipeline import renamed
from pipeline.engine.stage import Stage
from pipeline.errors import RecipeError, did_you_mean
from pipeline.options import Options
from pipeline.own_folders import extra_folders, imported

STAGES = Path(__file__).resolve().parents[2] / "stages"
log = logging.getLogger("maetdol.catalog")


def _rooms() -> dict[str, Path]:
    """Every package below stages/ and below the folders of one's own, by name; the first of a name counts."""
    found: dict[str, Path] = {}
    for root in [STAGES, *extra_folders()]:
        for source in sorted(root.glob("[!._]*/__init__.py")):
            found.setdefault(source.parent.name, source.parent)
    return found


def stage_folders() -> dict[str, Path]:
    """The folders that define a Stage, by name, sorted."""
    return {
        name: folder
        for name, folder in sorted(_rooms().items())
        if "Stage" in (folder / "__init__.py").read_text("utf-8", "replace")
    }


def stage_names() -> list[str]:
    """Names of all stages, sorted."""
    return list(stage_folders())


def summary(source: Path) -> str:
    """First line of the module's docstring, read without importing."""
    return (ast.get_docstring(_parsed(source)) or "").strip().split("\n")[0]


def _parsed(source: Path) -> ast.Module:
    """A file's syntax tree; an empty one, with a warning, where it cannot be read: other commands go on without it."""
    try:
        return ast.parse(source.read_bytes())
    except (SyntaxError, ValueError) as fault:
        _unreadable(str(source), f"line {fault.lineno}: {fault.msg}" if isinstance(fault, SyntaxError) else str(fault))
        return ast.Module([], [])


@cache
def _unreadable(source: str, why: str) -> None:
    log.warning("%s cannot be read: %s", source, why)


def stage_summary(name: str) -> str:
    return summary(stage_folders()[name] / "__init__.py")


def current_stage(name: str) -> str:
    """Today's name of a stage: `name`, or that of the folder whose `FORMERLY` has it (with a note)."""
    known = stage_folders()
    return name if name in known else _today("stage", name, {each: known[each] / "__init__.py" for each in known})


def _today(what: str, name: str, sources: dict[str, Path]) -> str:
    for today, source in sources.items():
        if name in _words(_parsed(source), "FORMERLY"):
            renamed.note(what, name, today)
            return today
    return name


def _words(node: ast.Module | ast.ClassDef, constant: str) -> tuple[str, ...]:
    """The words of a tuple assigned to `constant` in a module or class, read without importing."""
    for item in node.body:
        targets = (
            item.targets if isinstance(item, ast.Assign) else [item.target] if isinstance(item, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
            return tuple(ast.literal_eval(item.value))  # type: ignore[union-attr, arg-type]
    return ()


@cache
def stage(name: str) -> type[Stage]:
    """The Stage class of a folder, by today's name or an earlier one; RecipeError with the nearest name otherwise."""
    name = current_stage(name)
    folders = stage_folders()
    if name not in folders:
        raise RecipeError(f"no stage is called {name!r}", did_you_mean(name, list(folders)))
    module = _loaded(f"stages.{name}", folders[name])
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Stage) and value.__module__.startswith(f"stages.{name}")
    ]
    wanted = name.replace("_", "").lower()
    exact = [cls for cls in found if cls.__name__.lower() == wanted] or found
    if not exact:
        raise RecipeError(
            f"stages/{name} defines no Stage", "define one class that derives from Stage in its __init__.py"
        )
    return exact[0]


def members(stage_name: str, kind: str) -> list[str]:
    """Names of the files in `stages/<stage>/<kind>/`, such as filters or rules."""
    return sorted(member_files(stage_name, kind))


def member_files(stage_name: str, kind: str) -> dict[str, Path]:
    """Those files by name: the stage's own first, then those of folders of one's own."""
    found: dict[str, Path] = {}
    for root in [STAGES, *extra_folders()]:
        for path in sorted((root / stage_name / kind).glob("[!_]*.py")):
            found.setdefault(path.stem, path)
    return found


def registries() -> dict[str, str]:
    """Kind to stage: the folders of a stage whose files are entries of a recipe (its module's `MEMBERS`)."""
    found: dict[str, str] = {}
    for name, folder in stage_folders().items():
        for kind in _words(_parsed(folder / "__init__.py"), "MEMBERS"):
            found.setdefault(kind, name)
    return found


def member(stage_name: str, kind: str, name: str, base: type[Options] = Options) -> type[Options]:
    """The one class in `stages/<stage>/<kind>/<name>.py` that derives from `base`; RecipeError with a suggestion otherwise."""
    known = member_files(stage_name, kind)
    if name not in known:
        name = _today(kind.rstrip("s"), name, known)
    if name not in known:
        raise RecipeError(f"{stage_name} has no {kind.rstrip('s')} {name!r}", did_you_mean(name, list(known)))
    module = _loaded(f"stages.{stage_name}.{kind}.{name}", known[name])
    found = [
        v
        for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, base) and v.__module__ == module.__name__
    ]
    wanted = name.replace("_", "").lower()
    exact = [cls for cls in found if cls.__name__.lower() == wanted] or found[-1:]
    if not exact:
        raise RecipeError(
            f"{stage_name}/{kind}/{name}.py defines no {base.__name__}", "define one class in it, named like the file"
        )
    return exact[0]


def _loaded(name: str, source: Path) -> ModuleType:
    """Import what lies at `source`; RecipeError with line and words where that fails."""
    try:
        return imported(name)
    except BROKEN as fault:
        what = "/".join(name.split(".")[1:]) + (".py" if source.is_file() else "")
        raise RecipeError(
            f"{what} cannot be loaded: {_where(fault, source)}", "fix the file; --debug shows the traceback"
        ) from fault


BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a file of one's own may raise while it is loaded."""


def _where(fault: BaseException, source: Path) -> str:
    """Line and words of a fault in a file, or in one of a folder's."""
    if isinstance(fault, SyntaxError):
        return f"line {fault.lineno}: {type(fault).__name__}: {fault.msg}"
    frames = traceback.extract_tb(fault.__traceback__)
    lines = [frame.lineno for frame in frames if source in (path := Path(frame.filename), *path.parents)]
    at = f"line {lines[-1]}: " if lines else ""
    return f"{at}{type(fault).__name__}: {' '.join(str(fault).split())[:300]}"


def hook(stage_name: str | None, name: str) -> ModuleType | None:
    """The file `<name>.py` in a stage's folder, where it has one: its part in what the pipeline does for all stages.

    `report.py`: what the report and `inspect` say of it. `takedown.py`: what it gives up beside its rows. `warm.py`: what
    it compiles ahead.
    """
    folder = _rooms().get(current_stage(stage_name)) if stage_name else None
    if folder is None or not (folder / f"{name}.py").is_file():
        return None
    return imported(f"stages.{folder.name}.{name}")


def hooks(name: str) -> list[ModuleType]:
    """That file of every folder that has one, by name of the folder."""
    return [
        imported(f"stages.{room}.{name}")
        for room, folder in sorted(_rooms().items())
        if (folder / f"{name}.py").is_file()
    ]


class Verb(NamedTuple):
    """A command beyond the stages: an Options class with `verb = "name"` and `run()` in a stage's commands.py."""

    name: str
    module: str
    class_name: str
    summary: str
    formerly: tuple[str, ...] = ()
    """Earlier names (the class's `formerly`)."""

    def load(self) -> type[Options]:
        return getattr(imported(self.module), self.class_name)


def verbs() -> dict[str, Verb]:
    """Every verb by its words (`adapters list` has two), read without importing."""
    found: dict[str, Verb] = {}
    for room, folder in sorted(_rooms().items()):
        source = folder / "commands.py"
        for node in _parsed(source).body if source.is_file() else ():
            if isinstance(node, ast.ClassDef) and (name := _class_word(node, "verb")):
                line = (ast.get_docstring(node) or "").strip().split("\n")[0]
                verb = Verb(name, f"stages.{room}.commands", node.name, line, _words(node, "formerly"))
                found.setdefault(name, verb)
    return found


def current_verb(name: str) -> str:
    """Today's name of a verb: `name`, or that of the verb that was called so (with a note)."""
    known = verbs()
    for today, verb in known.items():
        if name not in known and name in verb.formerly:
            renamed.note("command", name, today)
            return today
    return name


def _class_word(node: ast.ClassDef, word: str) -> str | None:
    for item in node.body:
        if isinstance(item, ast.Assign):
            names, value = [t.id for t in item.targets if isinstance(t, ast.Name)], item.value
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            names, value = [item.target.id], item.value
        else:
            continue
        if word in names and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return None
