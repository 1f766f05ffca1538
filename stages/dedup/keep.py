"""Who stays: the keep policy, read from one line and turned into an order of documents.

    keep: longest                                    one rule
    keep: source > score > longest > oldest          the first rule that tells two documents apart decides

Documents that every rule finds equal are ordered by id, so that the order is total and the same anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import OptionError
from pipeline.paths import number, values_at

RULES = ("source", "score", "longest", "shortest", "newest", "oldest")


def parse(line: str) -> tuple[str, ...]:
    """The rules of a keep line; ValueError names an unknown one."""
    rules = tuple(word.strip() for word in line.split(">"))
    for rule in rules:
        if rule not in RULES:
            raise ValueError(f"{rule!r} is no keep rule; write one or more of {', '.join(RULES)}, joined by ' > '")
    return rules


class Policy(NamedTuple):
    """Keep rules with what they need to know: the order of sources, the column or `meta` key of the score, the columns read."""

    rules: tuple[str, ...]
    sources: tuple[str, ...]
    score: str | None
    columns: tuple[str, ...]
    limit: int
    """Documents from this number on are of `against`: they stay, and come first."""

    @classmethod
    def of(cls, line: str, sources: Sequence[str], score: str | None, schema: pa.Schema, limit: int) -> Policy:
        """The policy of a keep line over rows of `schema`; OptionError where the rows lack what a rule reads."""
        rules = parse(line)
        return cls(rules, tuple(sources), score, tuple(_columns(rules, score, schema)), limit)

    @property
    def worths(self) -> tuple[str, ...]:
        """Rules that ask more of a row than the length of its text."""
        return tuple(rule for rule in self.rules if rule not in ("longest", "shortest"))

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the pass `measures` that `order` takes."""
        return ("name", "length", *self.worths)

    def measured(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """A number per row (float64) for each of `worths`, smaller is better; what is missing or cannot be read comes last."""
        return {rule: self._worth(rule, rows).astype(np.float64) for rule in self.worths}

    def order(self, docs: np.ndarray, marks: Mapping[str, np.ndarray], groups: np.ndarray) -> np.ndarray:
        """Positions in `docs`, by group ascending, then the best representative first.

        `marks` are columns of the pass `measures`: `name` (the id), `length` (code points of the compared text) and `worths`. The last word
        has the id.
        """
        lengths = {"longest": -marks["length"], "shortest": marks["length"]}
        keys = [docs, *_byte_keys(marks["name"])]
        keys += [lengths[rule] if rule in lengths else marks[rule] for rule in reversed(self.rules)]
        return np.lexsort([*keys, docs < self.limit, groups])

    def _worth(self, rule: str, rows: pa.Table) -> np.ndarray:
        if rule == "source":
            return _source_ranks(rows["source"], self.sources)
        found = (
            -_scores(rows, self.score or "")
            if rule == "score"
            else _dates(rows["date"]) * (1 if rule == "oldest" else -1)
        )
        return np.where(np.isnan(found), np.inf, found)


def _byte_keys(words: np.ndarray) -> list[np.ndarray]:
    """Keys for `lexsort` (the last decides first) by which words (dtype S) are in the order of their bytes."""
    width = -(-words.dtype.itemsize // 8)
    halves = words.astype(f"S{8 * width}").view(">u8").reshape(len(words), width)
    return [halves[:, at].astype(np.uint64) for at in reversed(range(width))]


def _column(score: str, names: Sequence[str]) -> str:
    """The column a score is read from: its own, that its path begins with, or `meta` for a key of it."""
    first = score.split(".")[0].split("[")[0]
    return score if score in names else first if first in names else "meta"


def _columns(rules: Sequence[str], score: str | None, schema: pa.Schema) -> list[str]:
    needed = ["id"]
    for rule in rules:
        if rule == "source":
            needed.append("source")
        elif rule in ("newest", "oldest"):
            if "date" not in schema.names:
                raise OptionError(
                    f"dedup: keep rule {rule!r} needs a `date` column, which these rows lack",
                    "use longest, score or source",
                )
            needed.append("date")
        elif rule == "score":
            if score is None:
                raise OptionError(
                    "dedup: keep rule 'score' needs to know which", "set `score:` to a column or a key of `meta`"
                )
            if score not in schema.names and "meta" not in schema.names:
                raise OptionError(f"dedup: no column {score!r} in these rows", "give `score:` a column of the input")
            needed.append(_column(score, schema.names))
    return list(dict.fromkeys(needed))


def _source_ranks(values: pa.ChunkedArray, sources: Sequence[str]) -> np.ndarray:
    """Place in `sources` of the first entry that a row's source equals or begins with; unlisted sources come last."""
    words = pc.fill_null(values.cast(pa.large_string()), "").combine_chunks().dictionary_encode()
    ranks = [
        next((rank for rank, wanted in enumerate(sources) if name.startswith(wanted)), len(sources))
        for name in words.dictionary.to_pylist()
    ]
    return (
        np.array(ranks, np.int64)[words.indices.to_numpy(zero_copy_only=False)]
        if ranks
        else np.zeros(len(values), np.int64)
    )


def _scores(rows: pa.Table, name: str) -> np.ndarray:
    if name in rows.column_names:
        found = pc.cast(rows[name], pa.float64(), safe=False)
        return pc.fill_null(found, float("nan")).to_numpy()
    path = name if _column(name, rows.column_names) != "meta" or name.startswith("meta.") else f"meta.{name}"
    return np.array([number(value) for value in values_at(rows, path, "dedup")], np.float64)


def _dates(values: pa.ChunkedArray) -> np.ndarray:
    """Seconds since 1970 of ISO 8601 dates (no zone: UTC); NaN where none can be read."""
    words = values.cast(pa.large_string()).combine_chunks().dictionary_encode()
    stamps = np.array([_stamp(word) for word in words.dictionary.to_pylist()] + [np.nan], np.float64)
    ranks = pc.fill_null(words.indices, len(stamps) - 1).to_numpy(zero_copy_only=False)
    return stamps[ranks]


def _stamp(word: str) -> float:
    try:
        moment = datetime.fromisoformat(word.strip())
    except ValueError:
        return float("nan")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
