"""Packed rows as a stream of batches for training in torch, which goes on exactly at any step, on any number of workers.

    stream = TokenStream("runs/web-ko/pack", batch=8, rank=rank, world=world)
    loader = TokenLoader(stream, workers=4)
    for batch in loader:
        ...
        torch.save({"loader": loader.state_dict(), ...})       # and later: loader.load_state_dict(...)

Step n of a run is a function of store, seed, batch, world and where the run began. Workers of a DataLoader take the steps in
turn, and it hands them out in turn, so that their number changes nothing; a state speaks of rows, so that batch and world may
change between two runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pipeline.errors import UsageError
from pipeline.storage.packed_rows import PackedRow, PackedRows, Part, Shuffle
from pipeline.storage.store import Store

IGNORED = -100
"""Label of a token that is not asked for, as torch's cross entropy has it."""


class TokenStream(IterableDataset):
    """Batches of packed rows. `batch` rows a step and rank; `epochs` None: without end. The rows at the end of the last epoch that do
    not fill a step are a smaller one, and left out with several ranks.

    It takes the steps of one worker of a DataLoader (`batch_size=None`), and has `state_dict` and `load_state_dict` of its own for a
    DataLoader without workers and for torchdata's StatefulDataLoader.
    """

    def __init__(
        self,
        store: Store | str,
        batch: int,
        *,
        part: Part = "train",
        shuffle: Shuffle = "rows",
        seed: int = 17,
        epochs: int | None = None,
        rank: int = 0,
        world: int = 1,
        collate: Callable[[list[PackedRow]], Any] | None = None,
    ):
        super().__init__()
        if batch < 1 or not 0 <= rank < world:
            raise UsageError(f"batch {batch}, rank {rank} of {world}", "give batch >= 1 and 0 <= rank < world")
        self.packed = PackedRows(Store(store) if isinstance(store, str) else store, part, shuffle, seed)
        self.batch, self.rank, self.world, self.epochs = batch, rank, world, epochs
        self.collate = collate or padded
        self.base = self.step = 0

    @property
    def row(self) -> int:
        """The first row of the next step."""
        return self.base + self.step * self.batch * self.world

    def span(self, step: int) -> tuple[int, int] | None:
        """Numbers of the rows of a step on this rank; None where there is no such step."""
        first = self.base + step * self.batch * self.world
        if self.epochs is None:
            return first + self.rank * self.batch, first + (self.rank + 1) * self.batch
        end = len(self.packed) * self.epochs
        if first >= end or (self.world > 1 and first + self.batch * self.world > end):
            return None
        return first + self.rank * self.batch, min(first + (self.rank + 1) * self.batch, end)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        own, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self.step + (own - self.step) % workers
        while (span := self.span(step)) is not None:
            made = self.collate(self.packed.rows(*span))
            self.step = step + 1
            yield made
            step += workers

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: rows that were given, and of what."""
        return {**self._identity(), "row": self.row, "base": self.base, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken. UsageError where it is of another store, part, order or seed."""
        other = [name for name, value in self._identity().items() if state.get(name) != value]
        if other:
            raise UsageError(
                f"the state is of another {', '.join(other)}", "give the store and options it was taken with"
            )
        # In a worker the steps are counted from where the run began, so that it keeps its own; elsewhere a run begins anew.
        self.base, self.step = (state["base"], state["step"]) if get_worker_info() else (state["row"], 0)

    def _identity(self) -> dict[str, Any]:
        return {
            "store": self.packed.identity,
            "part": self.packed.part,
            "shuffle": self.packed.shuffle,
            "seed": self.packed.seed,
        }


class TokenLoader:
    """A DataLoader over a TokenStream whose state is that of the batches it has given, whatever its workers have read ahead."""

    def __init__(self, stream: TokenStream, workers: int = 0, **options: Any):
        self.stream, self.workers, self.options = stream, workers, options

    def __iter__(self) -> Iterator[Any]:
        stream = self.stream
        stream.base, stream.step = stream.row, 0  # a run of its own: the first worker takes its first step
        for given, batch in enumerate(DataLoader(stream, batch_size=None, num_workers=self.workers, **self.options), 1):
            stream.step = given
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return self.stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stream.load_state_dict(state)


def padded(rows: list[PackedRow]) -> dict[str, Any]:
    """Tensors of (rows, longest row), int64: input_ids (0 where there is none), labels (-100 there and at the first token of every
    document), position_ids (from 0 in every document), documents (number of the document in its row, -1 where there is none),
    attention_mask (1, and 0 where there is none); and ids, a list."""
    width = max((len(row.input_ids) for row in rows), default=0)
    shape = len(rows), width
    made = {name: np.zeros(shape, np.int64) for name in ("input_ids", "position_ids", "attention_mask")}
    made["labels"], made["documents"] = np.full(shape, IGNORED), np.full(shape, -1)
    for at, row in enumerate(rows):
        size, starts = len(row.input_ids), row.starts
        number = np.searchsorted(starts, np.arange(size), side="right") - 1
        made["input_ids"][at, :size] = made["labels"][at, :size] = row.input_ids
        made["labels"][at, starts] = IGNORED
        made["attention_mask"][at, :size] = 1
        made["documents"][at, :size] = number
        made["position_ids"][at, :size] = np.arange(size) - (starts[number] if len(starts) else 0)
    return {"ids": [row.id for row in rows], **{name: torch.from_numpy(values) for name, values in made.items()}}
