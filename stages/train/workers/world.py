"""Several workers of one run: who this is, and what they add up."""

from __future__ import annotations

from typing import Any, NamedTuple


class World(NamedTuple):
    """Which of how many workers this is."""

    rank: int = 0
    size: int = 1

    def sum(self, tensor: Any) -> Any:
        """`tensor` summed over all workers, in place."""
        if self.size > 1:
            import torch

            torch.distributed.all_reduce(tensor)
        return tensor

    def gather(self, value: Any) -> list[Any]:
        """`value` of every worker, by rank; plain Python values."""
        if self.size == 1:
            return [value]
        import torch

        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Go on when all workers are here."""
        if self.size > 1:
            import torch

            torch.distributed.barrier()
