"""What `maetdol doctor --warm` does ahead of time: every kernel of every stage compiled, or found in the cache."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

STAGES = Path(__file__).resolve().parents[1]
MARK = "@kernel("
"""A file in which it stands holds kernels with argument types."""


def warm(expect: Callable[[int], None], done: Callable[[str], None]) -> tuple[str, bool]:
    """Compile each kernel whose argument types are known; `expect` is told how many there are, `done` each one's name.

    A line for the user, and whether all of it is kept on disk.
    """
    from stages.text.compiled import folder, kernels

    for path in sorted(STAGES.rglob("*.py")):
        if MARK in path.read_text("utf-8") and path.name not in ("compiled.py", "warm.py"):
            importlib.import_module(".".join(("stages", *path.relative_to(STAGES).with_suffix("").parts)))
    known = [kernel for kernel in kernels if kernel.argument_types]
    expect(len(known))
    for kernel in known:
        kernel.make()
        done(f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}")
    compiled = sum(sum(kernel.stats.cache_misses.values()) for kernel in known)
    kept = all(kernel.is_kept() for kernel in known)
    where = f"kept in {folder()}" if kept else f"NOT kept: {folder()} cannot be written; set MAETDOL_CACHE"
    return f"kernels    {len(known)}, {compiled} of them compiled now, {where}", kept
