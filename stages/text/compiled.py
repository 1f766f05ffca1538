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
import io
import logging
import os
import pickle
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import compiler
from numba.core.caching import _Cache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher, _FunctionCompiler
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature
from numba.extending import _Intrinsic

log = logging.getLogger("maetdol.compiled")


njit = numba.njit
int64, uint64, float64, boolean = numba.int64, numba.uint64, numba.float64, numba.boolean
FORMAT = 1
"""Number of the way machine code is made here: another one makes all files new."""
SUFFIX, ARRAYS = ".kernel", ".npz"
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
        return type(value).__name__, content(value.py_func) + repr(sorted(value.targetoptions.items())).encode()
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

    def __init__(self, function: types.FunctionType, options: dict[str, Any]):
        self.function, self.options = function, options
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
            FORMAT,
            sorted(self.options.items()),
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
        return compiler.CompileResult._rebuild(target_context, *pickle.loads(data))

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


def stored(name: str, made_of: Sequence[bytes], make: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays of `make()`, from the folder where they were made of the same bytes before, with the same numpy; else made and kept."""
    hasher = hashlib.blake2b(f"{FORMAT} {np.__version__}".encode(), digest_size=16)
    for part in made_of:
        hasher.update(len(part).to_bytes(8, "little") + part)
    path = folder() / f"{name}-{hasher.hexdigest()}{ARRAYS}"
    if (data := _read(path)) is None:
        made = io.BytesIO()
        np.savez(made, **make())
        data = made.getvalue()
        _write(path, data)
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return dict(found)


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


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles: numba makes objects by the million that stay, and a tenth of compiling went into searching them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


# -- kernels ---------------------------------------------------------------------------------------------------------------

OPTIONS = {"nopython": True, "nogil": True, "boundscheck": None, "no_cfunc_wrapper": True}
UNCOUNTED = {"_nrt": False}
"""Options of a function that neither allocates nor returns an array, so that no references need be counted: numba counts those of
every array at every call, in half the time of a loop that calls small parts, and a third of that of compiling it."""
kernels: list[Kernel] = []
"""All kernels of the modules imported so far."""
_announced: set[str] = set()
"""Modules whose compiling this process told of."""


def reads(dtype: Any, ndim: int = 1, layout: str = "C") -> Any:
    """Type of an array that a kernel only reads: it may be given one that can be written as well. Layout A: any strides."""
    return numba.types.Array(numba.from_dtype(np.dtype(dtype)), ndim, layout, readonly=True)


def writes(dtype: Any, ndim: int = 1) -> Any:
    """Type of a C-contiguous array that a kernel writes."""
    return numba.types.Array(numba.from_dtype(np.dtype(dtype)), ndim, "C")


def tuple_of(kind: Any, *fields: Any) -> Any:
    """Type of a NamedTuple `kind`; arrays in it are `writes` whether they are written or not."""
    return numba.types.NamedTuple(fields, kind)


class Kernel(CPUDispatcher):
    """A function called from Python, kept by content; what many processes miss at once is compiled by one while the others wait.

    With argument types given there is one specialisation, whatever is passed: an array that can be written where one is only
    read, a constant, another width of integer. What does not fit is a TypeError.
    """

    def __init__(self, function: Any, argument_types: tuple[Any, ...] = (), counted: bool = True):
        options = OPTIONS if counted else OPTIONS | UNCOUNTED
        super().__init__(function, targetoptions=options)
        self.argument_types = argument_types
        self._cache = KernelCache(function, options)
        kernels.append(self)

    def make(self) -> Any:
        """Machine code for the argument types: from the cache, else compiled."""
        if self._can_compile:
            self.compile(self.argument_types)
            self.disable_compile()
        return self.overloads[self.argument_types].entry_point

    def is_kept(self) -> bool:
        """Is the machine code for the argument types on disk?"""
        return self._cache.path(self.argument_types, self.targetctx.codegen()).exists()

    def compile(self, sig: Any) -> Any:
        with global_compiler_lock:  # numba's own, taken before ours by every thread
            path = self._cache.path(sig, self.targetctx.codegen())
            if path.exists() or tuple(normalize_signature(sig)[0]) in self.overloads:
                return super().compile(sig)
            with _alone(path):
                if not path.exists():
                    self._tell()
                with _uncollected():
                    return super().compile(sig)

    def _tell(self) -> None:
        room = self.py_func.__module__.removeprefix("stages.").rpartition(".")[0]
        if room not in _announced:
            _announced.add(room)
            log.info(f"compiling {room}, once per machine")

    def get_call_template(self, args: Any, kws: Any) -> Any:
        if self.argument_types:
            self.make()
        return super().get_call_template(args, kws)

    def _compile_for_args(self, *args: Any, **kws: Any) -> Any:
        return self.make() if self.argument_types else super()._compile_for_args(*args, **kws)


class _Part(JITCodeLibrary):
    """LLVM code of a function that is compiled into others: neither optimised nor turned into machine code on its own."""

    def _optimize_final_module(self) -> None: ...

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _PartCompiler(_FunctionCompiler):
    def _compile_core(self, args: Any, return_type: Any) -> Any:
        flags = compiler.Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        flags.no_compile = flags.no_cpython_wrapper = True
        context = self.targetdescr.target_context
        context.refresh()
        return compiler.compile_extra(
            self.targetdescr.typing_context,
            context,
            self.py_func,
            args=args,
            return_type=return_type,
            flags=flags,
            library=_Part(context.codegen(), self.py_func.__qualname__),
            locals=self.locals,
            pipeline_class=self.pipeline_class,
        )


class KernelPart(CPUDispatcher):
    """A function that kernels call, compiled into each of them, once whatever constants it is given.

    A test may call it from Python: it is compiled for that on its own, in each process.
    """

    def __init__(self, function: Any, inline: bool = False, counted: bool = True):
        options = OPTIONS | {"forceinline": inline} | ({} if counted else UNCOUNTED)
        super().__init__(function, targetoptions=options)
        self._compiler = _PartCompiler(function, self.targetdescr, options, {}, compiler.Compiler)
        self._from_python = njit(nogil=True)(function)

    def compile(self, sig: Any) -> Any:
        with global_compiler_lock:
            args, returned = normalize_signature(sig)
            if args not in self.overloads:
                found = self._compiler.compile(args, returned)._replace(entry_point=object())
                if UNCOUNTED.items() <= self.targetoptions.items() and isinstance(
                    found.signature.return_type, numba.types.Array
                ):
                    raise TypeError(
                        f"{self.py_func.__qualname__} returns an array: make it a part, which counts references"
                    )
                self.targetctx.insert_user_function(found.entry_point, found.fndesc, [found.library])
                self.overloads[args] = found
            return self.overloads[args].entry_point

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return super().get_call_template(tuple(map(numba.types.unliteral, args)), kws)

    def _compile_for_args(self, *args: Any, **kws: Any) -> Any:
        return self._from_python._compile_for_args(*args, **kws)


def kernel(*argument_types: Any, counted: bool = True) -> Any:
    """`@kernel(reads(np.uint8), int64, writes(np.int64))`: a function that Python calls, with its argument types in order.

    `counted=False` for one that neither allocates nor returns an array (`UNCOUNTED`).
    """
    if len(argument_types) == 1 and isinstance(argument_types[0], types.FunctionType):
        return _made(Kernel, argument_types[0])
    return lambda function: _made(Kernel, function, argument_types, counted)


def part(function: Callable[..., Any]) -> Any:
    """A function that only kernels call."""
    return _made(KernelPart, function)


def uncounted(function: Callable[..., Any]) -> Any:
    """A part that neither allocates nor returns an array (`UNCOUNTED`); one that allocates is refused when it is compiled."""
    return _made(KernelPart, function, False, False)


def inlined(function: Callable[..., Any]) -> Any:
    """A part that LLVM is to copy to where it is called, however large: for the innermost loops."""
    return _made(KernelPart, function, True)


def _made(kind: Any, function: Any, *more: Any) -> Any:
    return function if numba.config.DISABLE_JIT else kind(function, *more)
