"""The highest resident memory of this process since it was asked to begin; Linux alone says it."""

from __future__ import annotations

from pathlib import Path


def begin() -> int | None:
    """Forget the highest so far. Bytes resident now; None where the system does not say."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    except (OSError, StopIteration):
        return None


def highest() -> int | None:
    """Bytes, since `begin`; None where the system does not say."""
    try:
        return _status("VmHWM")
    except (OSError, StopIteration):
        return None


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
