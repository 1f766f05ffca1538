"""Levels that look at the documents the earlier ones left: what they decided is laid over what stood before.

Levels run in the order exact, near, url, semantic. A pass of a later level names only documents whose fate it changes, in
the columns of `verify`: `doc`, `keeper`, `score`, `members`, sorted by `doc`. A document that stands for others goes only if
each of these matches its new keeper too; otherwise it stays, for what it stands for was compared with it and nothing else.
So no level turns an earlier removal into one through a chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.storage.store import Store
from stages.dedup.columns import between, lookup

if TYPE_CHECKING:
    from stages.dedup.apply import Fate

COLUMNS = ("doc", "keeper", "score", "members")


class Later(NamedTuple):
    """One later level: its verdicts, and the number of its reason."""

    store: Store
    why: int

    def lay_over(self, fate: Fate, first: int, rows: int) -> None:
        """Change the fate of the documents `first` to `first + rows - 1` in place."""
        for shard in (self.store.read(number) for number in self.store.shards()):
            docs, keeper, score, members = between(shard, "doc", first, first + rows - 1, *COLUMNS)
            self._move(fate, docs - first, docs != keeper, keeper, score, members)
            # A document without a row of its own stands where its keeper does: identical texts share one verdict.
            gone = np.flatnonzero(fate.keeper != np.arange(first, first + rows))
            hit, keeper, score, members = lookup(shard, "doc", fate.keeper[gone], "keeper", "score", "members")
            at = gone[hit]
            self._move(fate, at, fate.keeper[at] != keeper, keeper, score, members)

    def _move(
        self,
        fate: Fate,
        at: np.ndarray,
        moved: np.ndarray,
        keeper: np.ndarray,
        score: np.ndarray,
        members: np.ndarray,
    ) -> None:
        fate.members[at] = members
        fate.keeper[at[moved]], fate.score[at[moved]], fate.why[at[moved]] = keeper[moved], score[moved], self.why
