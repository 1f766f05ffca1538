"""One run of the stage: its inputs, options and policy, decided before it begins, and the passes it makes.

A pass is a sub-store `passes/<name>` whose shards are proven by receipts, so that a run that was killed goes on where it
stopped. How many shards it has follows from the input alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.engine import shared
from pipeline.engine.pool import Pool
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError, SourceError
from pipeline.options import digest
from pipeline.schema import shape_of
from pipeline.storage.ledger import Receipt
from pipeline.storage.store import Store
from stages.dedup import decisions
from stages.dedup.corpus import Corpus
from stages.dedup.decisions import Decision
from stages.dedup.fields import are_vectors, chosen
from stages.dedup.keep import Policy
from stages.dedup.passes import PassTask, make, proven, signatures_of
from stages.dedup.signatures.minhash import MinHashOptions
from stages.dedup.spans.turns import TurnFields
from stages.text.minhash.lsh import Banding

if TYPE_CHECKING:
    from stages.dedup import Dedup

FORMAT = 5
"""Of the columns of passes; those of another format are made again."""


@dataclass(frozen=True)
class Run:
    """What one run will do. Tasks carry it."""

    stage: Dedup
    corpus: Corpus
    sink: Store
    key: str
    minhash: MinHashOptions
    banding: Banding
    policy: Policy
    home: Store
    """Where the passes lie: the sink, or beside a plan's file."""
    turns: TurnFields | None = None
    """The turns that `spans` cuts, in chats and pairs."""

    __reduce__ = shared.reduced

    @classmethod
    def of(cls, stage: Dedup, inputs: Inputs, sink: Store, home: Store | None = None) -> Run:
        """SourceError where the inputs are of several shapes, OptionError where options do not fit the rows."""
        corpus = Corpus.of(inputs)
        schemas = {
            path: store.schema
            for path, store in {part.store.path: part.store for part in corpus.parts.values()}.items()
        }
        shapes = {shape_of(schema) for schema in schemas.values()}
        if len(shapes) != 1 or None in shapes:
            raise SourceError(
                "dedup: the inputs are of different shapes: " + ", ".join(sorted(map(str, shapes))),
                "give stores of one shape",
            )
        shape = shapes.pop() or ""
        fields = chosen(stage.fields, shape)
        turns = TurnFields.of(stage.fields, shape) if stage.spans and shape != "DOCUMENT" else None
        _require_vectors(stage.vectors, schemas)
        near = "near" in stage.levels
        banding = stage.banding() if near else Banding(1, 1)
        minhash = MinHashOptions(
            fields,
            shape,
            stage.shingling(),
            max(stage.permutations if near else 1, banding.permutations),
            stage.hash_seed,
            stage.languages(),
        )
        policies = {
            Policy.of(stage.keep, stage.sources, stage.score, schema, corpus.new_rows) for schema in schemas.values()
        }
        if len(policies) > 1:
            raise SourceError(
                f"dedup: not every input has {stage.score!r} as a column",
                "give stores that all have it as a column, or all in `meta`",
            )
        return cls(stage, corpus, sink, stage.key(inputs), minhash, banding, policies.pop(), home or sink, turns)

    @property
    def levels(self) -> list[str]:
        """Levels that run, in their order: `near` compares the representatives of `exact`."""
        wanted = {*self.stage.levels, *(["exact"] if "near" in self.stage.levels else [])}
        return [name for name in ("exact", "near", "url", "semantic") if name in wanted]

    @property
    def signatures(self) -> Store:
        """Shard n: the signatures of part number n (`stages/dedup/signatures/minhash.py`)."""
        return signatures_of(self.home)

    @property
    def new_parts(self) -> list[int]:
        """Numbers of the parts of `of`, which are those of the output's shards."""
        return [number for number, part in self.corpus.parts.items() if not part.old]

    @property
    def contained(self) -> bool:
        """Does containment in the representative decide, and not Jaccard?"""
        return self.stage.measure == "containment"

    def before(self, level: str | None) -> list[str]:
        """The levels before `level` (None: all), in their order."""
        return self.levels[: self.levels.index(level)] if level else self.levels

    @property
    def groups(self) -> list[list[int]]:
        """Runs of parts that one task decides for."""
        return self.corpus.groups(decisions.GROUP_ROWS)

    def group_of(self, docs: np.ndarray) -> np.ndarray:
        """int64: number of the group in which each document lies."""
        return self.corpus.owner_groups(self.groups, docs)

    def table(self, before: str | None) -> Store | None:
        """The pass that holds the decisions table by part, after every level or after those before the level `before`; None
        where there are none."""
        names = self.before(before)
        if not names:
            return None
        return self.store("exact" if before and names == ["exact"] else decisions.name_of(before))

    def decided(self, number: int, before: str | None = None) -> Decision:
        """What became of the documents of part `number`: read from the pass `decided`."""
        return self._decided(number, self.table(before))

    def identical(self, number: int) -> np.ndarray:
        """int64 by document of part `number`: how many have its text, itself included, as the level `exact` counts."""
        return self._decided(number, self.store("exact") if "exact" in self.levels else None).members

    def _decided(self, number: int, table: Store | None) -> Decision:
        part = self.corpus.parts[number]
        if table is None:
            return Decision.none(part.first, part.rows)
        return decisions.decided(table, int(self.group_of(np.array([part.first]))[0]), number, part)

    def store(self, name: str) -> Store:
        """A pass."""
        return self.home.sub(f"passes/{name}")

    def keys(self, name: str, numbers: Collection[int]) -> dict[int, str]:
        """Key per shard of a pass that depends on everything, or of the output (`apply`)."""
        more = {} if name == "apply" else {"format": FORMAT}
        count = len(numbers)
        return {
            number: digest({"stage": self.key, "pass": name, "of": count, "shard": number, **more})
            for number in numbers
        }

    def proven(self, name: str, count: int) -> list[Receipt] | None:
        """The receipts of a pass of `count` shards, if all are there, whole and under their keys."""
        return proven(self.store(name), self.keys(name, range(count)))

    def make(
        self, name: str, fn: Callable[[PassTask], Receipt], given: Sequence[Any] | dict[int, Any], pool: Pool
    ) -> list[Receipt]:
        """Make the shards of a pass that are not proven; the task of shard n carries `given[n]`. Returns all their receipts."""
        return self.make_in(self.store(name), fn, given, pool)

    def make_in(
        self, sink: Store, fn: Callable[[PassTask], Receipt], given: Sequence[Any] | dict[int, Any], pool: Pool
    ) -> list[Receipt]:
        """`make`, of a pass that lies at `sink`."""
        numbers = given if isinstance(given, dict) else range(len(given))
        return make(sink, fn, self.keys(sink.name, numbers), given.__getitem__, pool)

    def of_parts(self, given: Any, new: bool = False) -> dict[int, Any]:
        """`given` for a task of each part (`new`: of `of` alone), by number."""
        return dict.fromkeys(self.new_parts if new else self.corpus.parts, given)


def _require_vectors(name: str | None, schemas: dict[str, Any]) -> None:
    """OptionError where an input lacks the column of vectors, or has something else under its name."""
    for path, schema in schemas.items():
        if name is not None and not (name in schema.names and are_vectors(schema.field(name).type)):
            fault = (
                f"{name!r} of {path} holds {schema.field(name).type}"
                if name in schema.names
                else f"{path} has no column {name!r}"
            )
            raise OptionError(f"dedup: {fault}", "name a column of lists of numbers, or give `encoder`")
