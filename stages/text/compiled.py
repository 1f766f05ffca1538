"""Kernels: functions compiled by numba, whose machine code is kept on disk by content, once per machine.

numba's own cache stands beside the source (or under a hash of its path) and takes machine code as fresh while the function's
*own* file is unchanged: another checkout or another working directory compiles everything again, and an edit of a function or
a constant imported from elsewhere does not. Here the name of a file is a hash of all that its machine code was made of: the
bytecode and the constants of the function and of every function it calls, the argument types, numba, Python and the CPU.

The folder is $MAETDOL_CACHE, else $NUMBA_CACHE_DIR, else maetdol/ in $XDG_CACHE_HOME or ~/.cache; below it `kernels/`. Where it
cannot be written, kernels are compiled in each process.

This is the one file that uses what numba does not document: a dispatcher of our own with a cache of our own (numba's abstract
`_Cache`), the two halves of `CompileResult` that numba's own cache pickles, and the order in which numba sets itself up (`load_overload`).
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import hashlib
import importlib
import os
import pickle
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np


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


numba = _numba_without_scipy()

import llvmlite  # noqa: E402
from numba.core.caching import _Cache  # noqa: E402
from numba.core.compiler import CompileResult  # noqa: E402
from numba.core.compiler_lock import global_compiler_lock  # noqa: E402
from numba.core.dispatcher import Dispatcher  # noqa: E402
from numba.core.registry import CPUDispatcher  # noqa: E402
from numba.core.runtime import rtsys  # noqa: E402
from numba.core.serialize import dumps  # noqa: E402
from numba.extending import _Intrinsic  # noqa: E402

njit = numba.njit
"""For functions that only kernels call: they are compiled into each of them, and have no file of their own."""
SUFFIX = ".kernel"
ROOM = 256 << 20
"""Bytes of machine code kept in the folder; above it the files used longest ago are deleted. The kernels of one version of the
code take about 10 MB."""
PROOF = 16
"""Bytes of the hash before a file's content."""
DAY = 86_400.0
"""Seconds: the time of last use is written at most once in so many."""


def folder() -> Path:
    """Where machine code is kept; asked each time, so that the environment may change."""
    given = os.environ.get("MAETDOL_CACHE") or os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given) / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maetdol" / "kernels"


# -- what a function was made of -------------------------------------------------------------------------------------------


@cache
def content(function: types.FunctionType) -> bytes:
    """BLAKE2b (16 bytes) over the bytecode, defaults and closure of `function` and all globals it names, functions included."""
    hasher = hashlib.blake2b(digest_size=16)
    _add_code(hasher, function.__code__, function.__globals__)
    _add(hasher, function.__defaults__)
    _add(hasher, tuple(cell.cell_contents for cell in function.__closure__ or ()))
    return hasher.digest()


def _add_code(hasher: Any, code: types.CodeType, known: dict[str, Any]) -> None:
    _add(hasher, (code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_flags))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _add_code(hasher, constant, known)
        else:
            _add(hasher, constant)
    for name in code.co_names:  # attributes too: one that is named like a global adds it without need
        if name in known:
            value = known[name]
            _add(hasher, name)
            _add(hasher, value)
            if isinstance(value, types.ModuleType) and not _is_library(value.__name__):
                for inner in code.co_names:
                    if inner in vars(value):
                        _add(hasher, inner)
                        _add(hasher, vars(value)[inner])


def _is_library(name: str) -> bool:
    """Is what this dotted name means covered by the versions in a file's name?"""
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top in ("numba", "numpy", "llvmlite")


def _add(hasher: Any, value: Any) -> None:
    """One value into the hash, so that no two sequences of values give the same bytes."""
    kind, data = _bytes_of(value)
    hasher.update(f"{kind}\0{len(data)}\0".encode() + data)


def _bytes_of(value: Any) -> tuple[str, bytes]:
    if isinstance(value, Dispatcher):
        return "kernel", content(value.py_func) + repr(sorted(value.targetoptions.items())).encode()
    if isinstance(value, _Intrinsic):
        return "intrinsic", content(value._defn)
    if isinstance(value, types.FunctionType):
        name = f"{value.__module__}.{value.__qualname__}"
        return "function", name.encode() if _is_library(name) else content(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{type(value).__name__} {value.dtype} {value.shape}", value.tobytes()
    if isinstance(value, (tuple, list, dict, set, frozenset)):
        items = [_bytes_of(item) for item in (value.items() if isinstance(value, dict) else value)]
        ordered = sorted(items) if isinstance(value, (set, frozenset)) else items
        return type(value).__name__, b"".join(f"{kind}\0{len(data)}\0".encode() + data for kind, data in ordered)
    if isinstance(value, bytes):
        return "bytes", value
    if isinstance(value, str):
        return "str", value.encode("utf-8", "surrogatepass")
    if value is None or value is ... or isinstance(value, (bool, int, float, complex)):
        return type(value).__name__, repr(value).encode()
    if isinstance(value, types.ModuleType):
        return "module", value.__name__.encode()
    if isinstance(value, type):
        return "class", f"{value.__module__}.{value.__qualname__}{getattr(value, '_fields', ())}".encode()
    if " at 0x" in (text := str(value)):  # an address, another one in each process
        raise TypeError(f"a kernel names a global whose content is not known: of type {type(value).__qualname__}")
    return type(value).__name__, text.encode()  # a type, or a function of a library


# -- the cache -------------------------------------------------------------------------------------------------------------


class KernelCache(_Cache):
    """Machine code of one function: a file per argument types, named by content and so never stale nor overwritten by another."""

    def __init__(self, function: types.FunctionType):
        self.function = function
        self.enabled = True

    @property
    def cache_path(self) -> str:
        return str(folder())

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def flush(self) -> None:
        for path in folder().glob(f"{self._name()}-*{SUFFIX}"):
            path.unlink(missing_ok=True)

    def _name(self) -> str:
        module = self.function.__module__.removeprefix("stages.")
        return f"{module}.{self.function.__qualname__}".replace("<", "").replace(">", "")[:150]

    def path(self, signature: Any, codegen: Any) -> Path:
        """The file of the machine code for `signature` (numba's argument types, with or without what is returned)."""
        made_of = (
            content(self.function).hex(),
            str(signature),
            codegen.magic_tuple(),  # target, CPU and its features
            (numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:3], sys.implementation.name),
        )
        return (
            folder() / f"{self._name()}-{hashlib.blake2b(repr(made_of).encode(), digest_size=16).hexdigest()}{SUFFIX}"
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Machine code from the cache, without all that numba sets up to compile: a third of a CPU second a process.

        A kernel allocates, so numba's runtime must be there; what compiles (nothing was found) sets the rest up itself.
        """
        if not self.enabled:
            return None
        path = self.path(sig, target_context.codegen())
        if (data := _read(path)) is None:
            return None
        rtsys.initialize(target_context)
        return CompileResult._rebuild(target_context, *pickle.loads(data))

    def save_overload(self, sig: Any, data: Any) -> None:
        if self.enabled and not data.lifted and not data.library.has_dynamic_globals:
            _write(self.path(sig, data.codegen), dumps(data._reduce()))


def _read(path: Path) -> bytes | None:
    """A file's content; None where it is absent, cannot be read or is not whole."""
    try:
        with open(path, "rb") as file:
            proof, data, used = file.read(PROOF), file.read(), os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    if used < time.time() - DAY:
        with contextlib.suppress(OSError):
            os.utime(path)
    return data if proof == _proof(data) else None


def _write(path: Path, data: bytes) -> None:
    """All or nothing, whoever else writes the same; silently nothing where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem[:150], suffix=".part", delete=False) as part:
            try:
                part.write(_proof(data) + data)
                part.close()
                os.replace(part.name, path)
            except OSError:
                os.unlink(part.name)
                raise
        prune(path.parent)
    except OSError:
        return


def _proof(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=PROOF).digest()


def prune(where: Path, room: int = ROOM) -> None:
    """Delete the files used longest ago until `room` bytes are enough."""
    found = []
    for path in where.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process prunes too
            known = path.stat()
            found.append((known.st_mtime, known.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= room:
            return
        path.unlink(missing_ok=True)
        total -= size


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process of this machine at a time; all of them where files cannot be locked.

    The lock is held by the file system and ends with its holder.
    """
    name = path.with_suffix(".lock")
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(open(name, "ab"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
        with contextlib.suppress(OSError):
            name.unlink(missing_ok=True)


# -- kernels ---------------------------------------------------------------------------------------------------------------


class Kernel(CPUDispatcher):
    """numba's dispatcher, with the cache above; what many processes miss at once is compiled by one while the others wait."""

    def enable_caching(self) -> None:
        self._cache = KernelCache(self.py_func)

    def compile(self, sig: Any) -> Any:
        with global_compiler_lock:  # numba's own, taken before ours by every thread
            path = self._cache.path(sig, self.targetctx.codegen())
            if path.exists() or tuple(numba.core.sigutils.normalize_signature(sig)[0]) in self.overloads:
                return super().compile(sig)
            with _alone(path):
                return super().compile(sig)


def kernel(function: Callable[..., Any]) -> Any:
    """`numba.njit(nogil=True)` with the cache above."""
    if numba.config.DISABLE_JIT:
        return function
    compiled = Kernel(function, targetoptions={"nopython": True, "nogil": True, "boundscheck": None})
    compiled.enable_caching()
    return compiled
