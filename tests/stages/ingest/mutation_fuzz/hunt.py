"""Mutants of sound files, read as a task reads them: whatever was done to the bytes, every record has its row.

A format is a function that makes a sound file and says where its records lie; `survivors` says which of them must come
out whole after given edits (default: those of which no byte was touched). Everything follows from a seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.deletion.forgotten import Forgotten
from pipeline.schema import SHAPES
from pipeline.storage.ledger import check
from pipeline.storage.store import Store
from stages.ingest import Ingest
from stages.ingest import task as tasks
from stages.ingest.shape import SHAPES as SHAPE_OF
from stages.ingest.sources import File

Edit = tuple[int, int]
"""A stretch of the sound file that is no longer there as it was; an empty one is a place where something was put in."""


class Record(NamedTuple):
    """Bytes `start` to `end` of a sound file, and the text that must stand, whole, in a row made of them (None: no row is)."""

    start: int
    end: int
    text: str | None


class Sample(NamedTuple):
    data: bytes
    records: list[Record]


def untouched(sample: Sample, edits: list[Edit]) -> list[Record]:
    """Records of which no byte was touched; something put in before the first or behind the last byte is beside them."""

    def hurt(record: Record) -> bool:
        return any(
            start < record.end and end > record.start if end > start else record.start < start < record.end
            for start, end in edits
        )

    return [record for record in sample.records if not hurt(record)]


def before(sample: Sample, edits: list[Edit]) -> list[Record]:
    """Records that end before the first edit: for formats where damage hides what stands behind it."""
    first = min((start for start, _ in edits), default=len(sample.data) + 1)
    return [record for record in sample.records if record.end <= first]


def none(sample: Sample, edits: list[Edit]) -> list[Record]:
    """No record: for formats where damage anywhere may cost all (an index at the end); the accounts must hold all the same."""
    return sample.records if not edits else []


@dataclass(frozen=True)
class Format:
    """`ending` of the file's name, `make(dice)` a sound file, `survivors(sample, edits)` what must be whole, `options` of ingest."""

    ending: str
    make: Callable[[random.Random], Sample]
    survivors: Callable[[Sample, list[Edit]], list[Record]] = untouched
    options: dict[str, Any] = field(default_factory=dict)
    count: Callable[[bytes], int] | None = None
    """How many rows a mutant must have, counted another way."""


# -- what is done to the bytes -----------------------------------------------------------------------------------------


def mutate(data: bytes, dice: random.Random) -> tuple[bytes, list[Edit]]:
    """One to three edits of random kind; they do not overlap, and positions are those of the sound file."""
    edits: list[tuple[int, int, bytes]] = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        start, end, put = dice.choice(MUTATORS)(data, dice)
        if all(end <= s or start >= e for s, e, _ in edits) and not any(start == s for s, _, _ in edits):
            edits.append((start, end, put))
    made = bytearray(data)
    for start, end, put in sorted(edits, reverse=True):
        made[start:end] = put
    return bytes(made), [(start, end) for start, end, _ in sorted(edits)]


def _stretch(data: bytes, dice: random.Random, longest: int = 4_000) -> Edit:
    start = dice.randrange(len(data))
    return start, min(len(data), start + 1 + int(min(longest, len(data)) * dice.random() ** 4))


def _flip_bit(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    at = dice.randrange(len(data))
    return at, at + 1, bytes([data[at] ^ (1 << dice.randrange(8))])


def _set_byte(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    at = dice.randrange(len(data))
    return at, at + 1, bytes([dice.choice(ODD)])


def _delete(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    return (*_stretch(data, dice), b"")


def _insert(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    at = dice.randrange(len(data) + 1)
    return (
        at,
        at,
        dice.choice((dice.randbytes(1 + dice.randrange(60)), bytes([dice.choice(ODD)]) * (1 + dice.randrange(40)))),
    )


def _duplicate(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    start, end = _stretch(data, dice)
    at = dice.choice((end, dice.randrange(len(data) + 1)))
    return at, at, data[start:end]


def _overwrite(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    start, end = _stretch(data, dice, 200)
    return start, end, dice.randbytes(end - start)


def _swap(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    start, end = _stretch(data, dice, 200)
    middle = (start + end) // 2
    return start, end, data[middle:end] + data[start:middle]


def _cut(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    return dice.randrange(len(data)), len(data), b""


def _behead(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    return 0, 1 + dice.randrange(min(len(data), 600)), b""


def _number(data: bytes, dice: random.Random) -> tuple[int, int, bytes]:
    """A digit in the file becomes another, or several: lengths and offsets written in letters."""
    digits = [at for at in range(len(data)) if 48 <= data[at] < 58]
    if not digits:
        return _flip_bit(data, dice)
    at = dice.choice(digits)
    return at, at + 1, dice.choice((b"0", b"9", b"-1", b"1e9", b"99999", b"", b"12", b"184467440737095516160"))


ODD = b"\x00\x01\x09\x0a\x0d\x1a\x1b\x1f\x20\x22\x27\x2c\x3c\x3e\x5b\x5c\x5d\x7b\x7d\x7f\x80\xc3\xed\xef\xfe\xff"
MUTATORS = (
    _flip_bit,
    _flip_bit,
    _set_byte,
    _set_byte,
    _delete,
    _insert,
    _duplicate,
    _overwrite,
    _swap,
    _cut,
    _behead,
    _number,
)


# -- reading -----------------------------------------------------------------------------------------------------------


class Read(NamedTuple):
    """Raw records read, their ledger, and the texts of the rows made."""

    raws: int
    ledger: pa.Table
    texts: list[str]


def read(path: Path, options: dict[str, Any]) -> Read:
    """The file through the reader, the shaper, the columns and the ledger of a real task; only the store is left out.

    AssertionError where a record has no row, an id stands twice, or a row has neither output nor reason.
    """
    stage = Ingest.build({"from": str(path), **options}, "ingest")
    task = tasks.IngestTask(0, (File(path.name, str(path), 0, ""),), stage, Store(path.parent / "none"), "key")
    found, raws = [], 0
    for _, raw, outcomes in tasks.outcomes(task, Forgotten()):
        raws += raw is not None
        found += outcomes
    schema = SCHEMA[stage.as_]
    batch, found = tasks.batched(found, schema)
    tables = list(tasks.ledger(found))
    table = pa.concat_tables([t.select(["id", "out", "reason", "note"]) for t in tables]) if tables else None
    assert table is not None, "a file without a single row"
    rows = batch if batch is not None else schema.empty_table()
    check(None, rows["id"], table, path.name)
    assert len(set(table["id"].to_pylist())) == raws, "a record without a row, or two of one id"
    assert all(
        (out is None) == (reason is not None)
        for out, reason in zip(table["out"].to_pylist(), table["reason"].to_pylist())
    ), "a row with neither output nor reason"
    return Read(raws, table, _texts(rows, stage.as_))


SCHEMA = {name: SHAPES[shape] for name, shape in SHAPE_OF.items()}


def _texts(rows: Any, shape: str) -> list[str]:
    if shape == "document":
        return rows["text"].to_pylist()
    names = ("messages",) if shape == "chat" else ("prompt", "chosen", "rejected")
    return ["\n".join(turn["content"] for name in names for turn in row[name] or ()) for row in rows.to_pylist()]


def hunt(form: Format, folder: Path, mutants: int, seed: int = 0) -> Counter:
    """Read `mutants` files; how many rows of which reason came of them. AssertionError names the seed of one that breaks the law."""
    seen: Counter = Counter()
    for number in range(mutants):
        dice = random.Random(f"{form.ending}/{seed}/{number}")
        sample = form.make(dice)
        data, edits = mutate(sample.data, dice)
        path = folder / f"mutant.{form.ending}"
        path.write_bytes(data)
        try:
            result = read(path, form.options)
        except Exception as fault:
            raise AssertionError(f"{form.ending} mutant {seed}/{number}: {type(fault).__name__}: {fault}") from fault
        if form.count is not None:
            assert result.raws == form.count(data), (
                f"{form.ending} mutant {seed}/{number}: {result.raws} rows of {form.count(data)} records (edits {edits})"
            )
        texts = Counter(result.texts)
        lost = [
            r
            for r in form.survivors(sample, edits)
            if r.text is not None and not texts[r.text] and not any(r.text in text for text in texts)
        ]
        assert not lost, (
            f"{form.ending} mutant {seed}/{number}: {len(lost)} untouched records are not whole (edits {edits}, records {lost[:2]})"
        )
        seen.update(reason or "kept" for reason in result.ledger["reason"].to_pylist())
        seen["mutants"] += 1
    return seen
