"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is under way is abandoned, finished shards are kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_came = signal.SIGINT


def listen() -> None:
    """From now on these signals raise KeyboardInterrupt in the main thread. One that is ignored (nohup) stays ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, frame: Any) -> None:
    global _came
    _came = signal.Signals(number)
    for other in SIGNALS:  # a second one does not disturb the end
        if signal.getsignal(other) is _stop:
            signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def exit_code() -> int:
    """128 and the number of the signal that ended the command; SIGINT where none of ours did."""
    return 128 + _came


@contextmanager
def kept() -> Iterator[None]:
    """The handlers of now stand again afterwards: libraries (Ray) set their own when they start."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if (
                handler is not None
                and signal.getsignal(number) is not handler
                and signal.getsignal(number) != signal.SIG_IGN
            ):
                signal.signal(number, handler)
