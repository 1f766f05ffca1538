"""Folders of one's own: `MAETDOL_PATH` names them, separated like PATH; below each lie stages, filters, rules and readers.

The package `stages` and its registries look into them after their own folder, here and in a worker, so that what is pickled
by its name (`stages.mine.Mine`) is found wherever it arrives.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import tempfile
from pathlib import Path
from types import ModuleType

VARIABLE = "MAETDOL_PATH"
_NOT_CODE = shutil.ignore_patterns("__pycache__", ".*")


def extra_folders() -> list[Path]:
    """The folders that `MAETDOL_PATH` names, absolute, in order."""
    return [Path(part).absolute() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]


def extend(package: ModuleType) -> None:
    """Let a package below `stages` find what lies in the folders of one's own, behind what it has itself."""
    below = package.__name__.split(".")[1:]
    missing = [
        str(folder)
        for extra in extra_folders()
        if (folder := extra.joinpath(*below)).is_dir() and str(folder) not in package.__path__
    ]
    if missing:
        package.__path__ += missing
        importlib.invalidate_caches()


def imported(name: str) -> ModuleType:
    """Import a module below `stages` by its dotted name, from its folder or from those of one's own."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        extend(importlib.import_module(".".join(parts[:depth])))
    return importlib.import_module(name)


def to_ship(stages: str) -> str:
    """The folder of the package `stages` as a cluster gets it: with what lies in folders of one's own copied into it.

    Without such folders it is `stages` itself; otherwise a copy in a temporary folder, for the life of this process.
    """
    if not extra_folders():
        return stages
    copy = tempfile.mkdtemp(prefix="maetdol-")
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    target = os.path.join(copy, os.path.basename(stages))
    for folder in reversed([Path(stages), *extra_folders()]):  # the first of a name lies on top
        if folder.is_dir():
            shutil.copytree(folder, target, ignore=_NOT_CODE, dirs_exist_ok=True)
    return target
