"""What a run took: its highest memory, and its share of the card's peak."""

from __future__ import annotations

from typing import Any

from pipeline.estimate import peak


class Gauge:
    """The highest memory of this process (or of its card) since it was begun; None where the system does not say."""

    def __init__(self, device: Any):
        import torch

        self.cuda = device.type == "cuda"
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(device)
            return
        self.before = peak.begin()

    def peak(self) -> int | None:
        """Bytes: of the card, all that was allocated; of a process, what it grew by."""
        import torch

        if self.cuda:
            return int(torch.cuda.max_memory_allocated())
        highest = peak.highest()
        return None if self.before is None or highest is None else max(0, highest - self.before)


def utilisation(flops_per_token: float, tokens_per_second: float, peak: float | None) -> float | None:
    """MFU: the share of the card's peak that goes into the model's own arithmetic; None where the peak is not known."""
    return flops_per_token * tokens_per_second / peak if peak else None
