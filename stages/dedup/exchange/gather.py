"""A join by document: tasks ask for columns of documents that lie anywhere, and get them in one piece.

    NAME-requests     the documents that each task wants, to the groups of parts they lie in    one task an asker
    NAME-answers   their columns, to the tasks that asked                                    one task a group

So each group of parts is read once, and not by everybody who wants a row of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.engine.pool import Pool
from pipeline.storage.ledger import Receipt
from stages.dedup.exchange.ranges import Columns, Exchange, put
from stages.dedup.passes import PassTask

if TYPE_CHECKING:
    from stages.dedup.run import Run

Fetch = Callable[[Any, int, np.ndarray], tuple[np.ndarray, Columns]]
"""(what it needs, number of the group, documents of that group, ascending) -> (positions of those that it knows, their columns)."""


class Gather(NamedTuple):
    """`askers` tasks that ask groups of parts of at most `rows` documents (`Corpus.groups`)."""

    run: Run
    name: str
    askers: int
    rows: int

    @property
    def _holders(self) -> list[list[int]]:
        return self.run.corpus.groups(self.rows)

    @property
    def _requests(self) -> Exchange:
        return Exchange.of(self.run.store(self.passes[0]), self.askers, len(self._holders))

    @property
    def _answers(self) -> Exchange:
        return Exchange.of(self.run.store(self.passes[1]), len(self._holders), self.askers)

    @property
    def passes(self) -> tuple[str, str]:
        """Names of its passes, which lie below the folder `name`."""
        return f"{self.name}/{self.name}-requests", f"{self.name}/{self.name}-answers"

    def ask(self, task: PassTask, docs: np.ndarray, notes: dict[str, Any] | None = None) -> Receipt:
        """What task number `task.number` of the pass NAME-requests writes: it wants `docs` (ascending)."""
        to = self.run.corpus.owner_groups(self._holders, docs)
        columns = {"doc": docs, "asker": np.full(len(docs), task.number, np.uint32)}
        return put(
            task, len(self._holders), to, lambda at: {name: values[at] for name, values in columns.items()}, notes
        )

    def answer(self, pool: Pool, fetch: Fetch, given: Any) -> None:
        """Make the answers, once everybody has asked."""
        self._requests.merge(self.run, pool)
        holders = len(self._holders)
        self.run.make(self.passes[1], _answer, [Answering(self, fetch, given)] * holders, pool)
        self._answers.merge(self.run, pool)

    def pieces(self, asker: int) -> Iterator[Columns]:
        """What a task was answered, by document, a piece at a time."""
        return self._answers.pieces(asker)

    def read(self, asker: int) -> Columns:
        """All that a task was answered, by document."""
        return self._answers.read(asker)


class Answering(NamedTuple):
    """What a task that answers carries."""

    gather: Gather
    fetch: Fetch
    given: Any


def _answer(task: PassTask) -> Receipt:
    """Answer for one group of parts."""
    gather, fetch, given = task.given
    requested = gather._requests.read(task.number)
    nothing = np.zeros(0, np.int64)
    docs, which = np.unique(requested.get("doc", nothing), return_inverse=True)
    known, columns = fetch(given, task.number, docs)
    position = np.full(len(docs), -1)
    position[known] = np.arange(len(known))
    position = position[which]
    answered = np.flatnonzero(position >= 0)
    rows, to = position[answered], requested.get("asker", nothing)[answered].astype(np.int64)
    return put(task, gather.askers, to, lambda at: {name: values[rows[at]] for name, values in columns.items()})
