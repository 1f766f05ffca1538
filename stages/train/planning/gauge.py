"""What a run took: its highest memory, and its share of the card's peak."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Gauge:
    """The highest memory of this process (or of its card) since it was begun; None where the system does not say."""

    def __init__(self, device: Any):
        import torch

        self.cuda = device.type == "cuda"
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self.before = _status("VmRSS")
        except (OSError, StopIteration):
            self.before = None

    def peak(self) -> int | None:
        """Bytes: of the card, all that was allocated; of a process, what it grew by."""
        import torch

        if self.cuda:
            return int(torch.cuda.max_memory_allocated())
        return None if self.before is None else max(0, _status("VmHWM") - self.before)


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def utilisation(flops_per_token: float, tokens_per_second: float, peak: float | None) -> float | None:
    """MFU: the share of the card's peak that goes into the model's own arithmetic; None where the peak is not known."""
    return flops_per_token * tokens_per_second / peak if peak else None
