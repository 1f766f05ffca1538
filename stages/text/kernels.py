"""`kernel`: how this project compiles a function over buffers, and a quicker start for every process that does.

numba's first compilation or cache load asks scipy for its linear algebra, which no kernel here uses: leaving scipy out
while numba looks saves a quarter of a CPU second per process, and every worker is a process.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

import numba


def kernel(function: Callable[..., Any]) -> Any:
    """`function` compiled at its first call, cached on disk, without the interpreter's lock."""
    return numba.njit(cache=True, nogil=True)(function)


def _load_without_scipy() -> None:
    if "scipy" in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules["scipy"]


_load_without_scipy()
