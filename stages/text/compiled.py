"""Compiled functions whose cache knows what they were made of.

numba keeps machine code beside the source and takes it as fresh while the function's *own* file is unchanged. Code of
functions it calls and constants it reads from other files are compiled into it all the same, so that an edit there would
go on running the old code, silently. `kernel` stamps the cache with the content of the function's file and of every file
of `stages/` that it imports, directly or through others.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import re
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any


def _numba_without_scipy() -> Any:
    """numba looks for scipy when it is imported, which no kernel here needs; and nothing of it is garbage meanwhile."""
    if "numba" in sys.modules:
        return sys.modules["numba"]
    hidden, collecting = "scipy" not in sys.modules, gc.isenabled()
    if hidden:
        sys.modules["scipy"] = None  # type: ignore[assignment]
    gc.disable()
    try:
        return importlib.import_module("numba")
    finally:
        if hidden:
            del sys.modules["scipy"]
        if collecting:
            gc.enable()


njit = _numba_without_scipy().njit
ROOT = Path(__file__).resolve().parent.parent.parent
IMPORT = re.compile(rb"^(?:from|import) (stages(?:\.\w+)*)(?: import \(?([\w, ]+))?", re.MULTILINE)


def kernel(function: Callable[..., Any]) -> Any:
    """`numba.njit(cache=True, nogil=True)`, recompiled when any source it may have been made of has changed."""
    compiled = njit(cache=True, nogil=True)(function)
    held = getattr(compiled, "_cache", None)
    index = getattr(held, "_cache_file", None)
    if index is not None:  # absent where numba finds no place to keep a cache, or with NUMBA_DISABLE_JIT
        index._source_stamp = (index._source_stamp, stamp(Path(function.__code__.co_filename).resolve()))
        held.load_overload = partial(_load, held)
    return compiled


def _load(held: Any, signature: Any, context: Any) -> Any:
    """Machine code from the cache, without all that numba sets up to compile: a third of a CPU second a process.

    A kernel allocates, so numba's runtime must be there; what compiles (nothing was found) sets the rest up itself.
    """
    from numba.core.runtime import rtsys

    rtsys.initialize(context)
    with held._guard_against_spurious_io_errors():
        return held._load_overload(signature, context)


@cache
def stamp(source: Path) -> str:
    """BLAKE2b (32 hex) over the bytes of `source` and of what it imports of `stages/`."""
    hasher = hashlib.blake2b(digest_size=16)
    for path, data in sorted(sources(source).items()):
        hasher.update(f"{path.name}\0{len(data)}\0".encode() + data)
    return hasher.hexdigest()


def sources(source: Path) -> dict[Path, bytes]:
    """`source` and every file of `stages/` that it imports at its top level, directly or through others, with its bytes."""
    found: dict[Path, bytes] = {}
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found[path] = path.read_bytes()
        for module, names in IMPORT.findall(found[path]):
            folder = ROOT.joinpath(*module.decode().split("."))
            waiting.append(folder.with_suffix(".py"))
            waiting += [folder / f"{name.strip()}.py" for name in names.decode().split(",") if name.strip()]
    return found
