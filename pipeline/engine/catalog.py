"""The folder is the registry: a stage is a folder of `stages/`, a filter or rule a file in one; nothing is registered.

Names and one-line summaries are read from the source without importing it, so that `maetdol --help` stays quick; a class
is imported when it is used. `MAETDOL_PATH` (folders, separated like PATH) adds a user's own: `FOLDER/quality/filters/x.py`.
"""

from __future__ import annotations

import ast
import importlib
import os
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from pipeline import renamed
from pipeline.engine.stage import Stage
from pipeline.errors import RecipeError, did_you_mean
from pipeline.options import Options

STAGES = Path(__file__).resolve().parents[2] / "stages"
NOT_STAGES = {"text", "models"}


def stage_names() -> list[str]:
    """Folders of stages/ that define a Stage, sorted."""
    return sorted(
        path.name
        for path in STAGES.iterdir()
        if path.name not in NOT_STAGES
        and (path / "__init__.py").is_file()
        and "Stage" in (path / "__init__.py").read_text("utf-8")
    )


def summary(source: Path, class_name: str | None = None) -> str:
    """First line of a class's docstring (or the module's), read without importing."""
    tree = ast.parse(source.read_text("utf-8"))
    node: ast.AST = tree
    if class_name:
        node = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name), tree)
    return (ast.get_docstring(node) or "").strip().split("\n")[0]  # type: ignore[arg-type]


def stage_summary(name: str) -> str:
    return summary(STAGES / name / "__init__.py")


def current_stage(name: str) -> str:
    """Today's name of a stage: `name`, or that of the folder whose `FORMERLY` has it (with a note)."""
    known = stage_names()
    return name if name in known else _today("stage", name, {each: STAGES / each / "__init__.py" for each in known})


def _today(what: str, name: str, sources: dict[str, Path]) -> str:
    for today, source in sources.items():
        if name in _words(ast.parse(source.read_text("utf-8")), "FORMERLY"):
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
    if name not in stage_names():
        raise RecipeError(f"no stage is called {name!r}", did_you_mean(name, stage_names()))
    module = importlib.import_module(f"stages.{name}")
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
    """Names of the files in `stages/<stage>/<kind>/`, such as quality's filters."""
    return sorted({path.stem for folder in _folders(stage_name, kind) for path in folder.glob("[!_]*.py")})


def _folders(stage_name: str, kind: str) -> list[Path]:
    """Where members are looked for: the stage's own folder first."""
    folders = [STAGES / stage_name / kind, *(extra / stage_name / kind for extra in extra_folders())]
    return [folder for folder in folders if folder.is_dir()]


def member(stage_name: str, kind: str, name: str, base: type[Options] = Options) -> type[Options]:
    """The one class in `stages/<stage>/<kind>/<name>.py` that derives from `base`; RecipeError with a suggestion otherwise."""
    known = members(stage_name, kind)
    if name not in known:
        sources = {path.stem: path for folder in _folders(stage_name, kind) for path in folder.glob("[!_]*.py")}
        name = _today(kind.rstrip("s"), name, sources)
    if name not in known:
        raise RecipeError(f"{stage_name} has no {kind.rstrip('s')} {name!r}", did_you_mean(name, known))
    module = _member_module(stage_name, kind, name)
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


def _member_module(stage_name: str, kind: str, name: str) -> ModuleType:
    package = importlib.import_module(f"stages.{stage_name}.{kind}")
    for extra in extra_folders():
        folder = str(extra / stage_name / kind)
        if os.path.isdir(folder) and folder not in package.__path__:
            package.__path__.append(folder)
            importlib.invalidate_caches()
    try:
        return importlib.import_module(f"stages.{stage_name}.{kind}.{name}")
    except BROKEN as fault:
        where = _where(fault, name)
        raise RecipeError(
            f"{stage_name}/{kind}/{name}.py cannot be loaded: {where}", "fix the file; --debug shows the traceback"
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


def _where(fault: BaseException, name: str) -> str:
    """Line and words of a fault in a member's file."""
    if isinstance(fault, SyntaxError):
        return f"line {fault.lineno}: {type(fault).__name__}: {fault.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(fault.__traceback__) if Path(frame.filename).stem == name]
    at = f"line {lines[-1]}: " if lines else ""
    return f"{at}{type(fault).__name__}: {' '.join(str(fault).split())[:300]}"


def extra_folders() -> list[Path]:
    return [Path(part) for part in os.environ.get("MAETDOL_PATH", "").split(os.pathsep) if part]


class Verb(NamedTuple):
    """A command beyond the stages: an Options class with `verb = "name"` and `run()` in a stage's commands.py."""

    name: str
    module: str
    class_name: str
    summary: str
    formerly: tuple[str, ...] = ()
    """Earlier names (the class's `formerly`)."""

    def load(self) -> type[Options]:
        return getattr(importlib.import_module(self.module), self.class_name)


def warmers() -> list[Callable[..., tuple[str, bool]]]:
    """What compiles or loads ahead of time: the function `warm` of each `stages/*/warm.py`."""
    return [
        importlib.import_module(f"stages.{source.parent.name}.warm").warm for source in sorted(STAGES.glob("*/warm.py"))
    ]


def verbs() -> dict[str, Verb]:
    """Every verb by its words (`adapters list` has two), read without importing."""
    found = {}
    for source in sorted(STAGES.glob("*/commands.py")):
        module = f"stages.{source.parent.name}.commands"
        for node in ast.parse(source.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and (name := _class_word(node, "verb")):
                line = (ast.get_docstring(node) or "").strip().split("\n")[0]
                found[name] = Verb(name, module, node.name, line, _words(node, "formerly"))
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
