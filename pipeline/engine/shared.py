"""A large value that many tasks carry: put into the cluster's object store once, and pickled into every task as a reference.

A class says so by `__reduce__ = reduced`. In pools of this machine alone, and wherever no pool has said how values are put,
it is pickled as it is.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

MOST = 4
"""Values remembered, by the driver and by each worker."""

_put: Callable[[Any], Any] | None = None
_sent: OrderedDict[int, tuple[Any, Any]] = OrderedDict()
"""In the driver: value and reference, by the value's `id`, which is its own while the value is held."""
_fetched: OrderedDict[str, Any] = OrderedDict()
"""In a worker: values by reference."""


def begin(put: Callable[[Any], Any] | None) -> None:
    """Put values by `put` (Ray's) from here on; None: no longer."""
    global _put
    _put = put
    _sent.clear()


def reduced(value: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The `__reduce__` of a value that is shared."""
    state = (type(value), dict(value.__dict__))
    if _put is None:
        return _made, state
    if id(value) not in _sent:
        _sent[id(value)] = value, _put(state)
        while len(_sent) > MOST:
            _sent.popitem(last=False)
    return _get, (_sent[id(value)][1],)


def _made(kind: type, state: dict[str, Any]) -> Any:
    value = object.__new__(kind)
    value.__dict__.update(state)
    return value


def _get(reference: Any) -> Any:
    """In a worker: the value, fetched once."""
    name = reference.hex()
    if name not in _fetched:
        _fetched[name] = _made(*sys.modules["ray"].get(reference))
        while len(_fetched) > MOST:
            _fetched.popitem(last=False)
    return _fetched[name]
