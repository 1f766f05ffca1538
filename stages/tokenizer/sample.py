"""Which documents a tokenizer learns from, and how their text reaches the trainer.

The choice depends on ids, languages and lengths alone: documents are taken in the order of a hash of their id until a byte
budget is spent, so that shards, workers and the order of the input do not matter and a slightly larger corpus gives nearly the same sample.
`stages.tokenizer.passes` gathers, shard by shard, the documents that may be taken or measured on; what stands here works on those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import STR
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store

NO_LANGUAGE = "und"
_SALT = b"maetdol tokenizer sample 1\0"
_LINE = 4096
"""Longest line handed to the trainer, in code points: longer ones are cut at a blank where there is one."""
_REFUSED = str.maketrans("", "", "\0▅")
"""NUL ends a string inside the trainer, U+2585 is its own mark for an unknown: it skips lines that hold one."""


REASONS = (None, "tokenizer.budget", "tokenizer.empty", "tokenizer.language")
"""What a verdict's numbers say: taken, or why not."""
TAKEN, BUDGET, EMPTY, LANGUAGE = range(4)
GATHERED = pa.schema(
    [("id", STR), ("hash", pa.uint64()), ("size", pa.int64()), ("lang", STR), ("licence", STR), ("text", STR)]
)
"""Columns of the documents gathered: `hash` of the id, `size` in UTF-8 bytes."""


class Gathered(NamedTuple):
    """The documents of a corpus that may be learnt from or measured on, and what the others are."""

    store: Store
    """Rows of `GATHERED` in the order of the corpus: all documents of each language down to its share and more."""
    shares: dict[str, float]
    """Byte budget per language; none of a language that is left out."""
    documents: int
    bytes: int
    """Of the whole corpus."""
    left_out: dict[str, int]
    """Documents not gathered, by reason; ledgers of the tokenizer's store name them."""


class Roll(NamedTuple):
    """The gathered documents as seen by the sampler: one entry each."""

    ids: pa.ChunkedArray
    keys: np.ndarray
    """uint64, a hash of the id: the order in which documents are taken."""
    sizes: np.ndarray
    """int64, UTF-8 bytes of the text; none is empty."""
    codes: np.ndarray
    """int32, numbers of the languages in `languages`."""
    languages: list[str]
    """Codes of languages, `und` where none is known."""

    def of(self, lang: str) -> np.ndarray:
        """bool per row: is it in that language?"""
        return self.codes == self.languages.index(lang)


def hashes(ids: pa.Array) -> np.ndarray:
    """uint64 per id."""
    import xxhash

    return np.fromiter(
        (xxhash.xxh3_64_intdigest(_SALT + name.encode()) for name in ids.to_pylist()), np.uint64, len(ids)
    )


def sizes(batch: pa.RecordBatch) -> np.ndarray:
    """int64, UTF-8 bytes of the text per row; 0 for null. Of the texts only their lengths are read."""
    return pc.fill_null(pc.binary_length(batch.column("text")), 0).to_numpy(zero_copy_only=False).astype(np.int64)


def languages(batch: pa.RecordBatch) -> pa.DictionaryArray:
    """The language per row."""
    return pc.fill_null(batch.column("lang"), NO_LANGUAGE).dictionary_encode()


def roll(gathered: Store) -> Roll:
    """Ids, sizes and languages of the documents gathered."""
    known = dict[str, int]()
    ids, keys, lengths, codes = [], [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for batch in _batches(gathered):
        ids.append(batch.column("id"))
        keys.append(batch.column("hash").to_numpy())
        lengths.append(batch.column("size").to_numpy())
        coded = languages(batch)
        numbers = [known.setdefault(lang, len(known)) for lang in coded.dictionary.to_pylist()]
        codes.append(np.asarray([*numbers, 0], np.int32)[coded.indices.to_numpy(zero_copy_only=False)])
    arrays = (np.concatenate(parts) for parts in (keys, lengths, codes))
    return Roll(pa.chunked_array(ids, STR), *arrays, languages=list(known))


def shares(have: Mapping[str, float], balance: str | Mapping[str, float], budget: int) -> dict[str, float]:
    """Byte budget per language, of a corpus that has `have` bytes of each.

    `corpus`: in proportion to the corpus. `even`: the same for every language. A mapping: by its weights, nothing for a
    language it does not name. What a language cannot fill goes to the others in the same proportion.
    """
    have = {lang: float(size) for lang, size in sorted(have.items()) if size}
    if isinstance(balance, str):
        weights = have if balance == "corpus" else dict.fromkeys(have, 1.0)
    else:
        weights = {lang: float(balance[lang]) for lang in have if balance.get(lang, 0) > 0}
    given: dict[str, float] = {}
    room, open_ = float(budget), dict(weights)
    while open_:
        total = sum(open_.values())
        full = {lang for lang, weight in open_.items() if room * weight / total >= have[lang]}
        if not full:
            given |= {lang: room * weight / total for lang, weight in open_.items()}
            break
        for lang in full:
            given[lang] = have[lang]
        room = max(0.0, room - sum(have[lang] for lang in full))
        open_ = {lang: weight for lang, weight in open_.items() if lang not in full}
    return given


def choose(roll: Roll, given: Mapping[str, float]) -> np.ndarray:
    """Per row (int8, numbers of `REASONS`): is it taken, and why not?

    A document is taken while its language's budget is not yet spent, so that the sample may exceed it by one document.
    """
    verdict = np.full(len(roll.sizes), LANGUAGE, np.int8)
    order = np.argsort(roll.keys, kind="stable")
    for code, lang in enumerate(roll.languages):
        if lang in given:
            rows = order[roll.codes[order] == code]
            lengths = roll.sizes[rows]
            verdict[rows] = np.where(np.cumsum(lengths) - lengths < given[lang], TAKEN, BUDGET)
    return verdict


def ledger(ids: pa.ChunkedArray | pa.Array, verdict: np.ndarray) -> pa.Table:
    """The ledger of documents that nothing comes out of, with the reason where one was not taken."""
    names: list[str | None] = [REASONS[number] for number in verdict.tolist()]
    return Ledger.rows(ids, out=pa.nulls(len(ids), STR), reason=names)


def texts(gathered: Store, wanted: np.ndarray) -> Iterator[tuple[str, str]]:
    """(language, text) of the rows where `wanted` (bool per row gathered) says so."""
    at = 0
    for batch in _batches(gathered):
        rows = batch.filter(pa.array(wanted[at : at + len(batch)]))
        at += len(batch)
        yield from zip(rows.column("lang").to_pylist(), rows.column("text").to_pylist())


def probe(roll: Roll, taken: np.ndarray, budget: int) -> tuple[np.ndarray, str]:
    """Rows (bool) to measure on, and what they are: up to `budget` bytes outside the sample, by hash of id from the far
    end, or of the sample itself where it is the whole corpus."""
    outside = ~taken
    pool, what = (
        (outside, "documents the tokenizer was not trained on")
        if outside.any()
        else (taken, "documents of the sample itself")
    )
    order = np.argsort(roll.keys, kind="stable")[::-1]
    rows = order[pool[order]]
    lengths = roll.sizes[rows]
    chosen = np.zeros(len(pool), dtype=bool)
    chosen[rows[np.cumsum(lengths) - lengths < budget]] = True
    return chosen, what


def account(gathered: Gathered, roll: Roll, taken: np.ndarray) -> dict[str, Any]:
    """What the sample holds: documents, bytes, languages, stated licences."""
    langs = sorted(roll.languages[code] for code in np.unique(roll.codes[taken]).tolist())
    by_language = {
        lang: {"documents": int((here := taken & roll.of(lang)).sum()), "bytes": int(roll.sizes[here].sum())}
        for lang in langs
    }
    return {
        "documents": int(taken.sum()),
        "of_documents": gathered.documents,
        "bytes": int(roll.sizes[taken].sum()),
        "of_bytes": gathered.bytes,
        "by_language": by_language,
        "licences": _licences(gathered.store, taken),
    }


def _licences(gathered: Store, taken: np.ndarray) -> dict[str, int]:
    """Documents of the sample per stated licence, most first."""
    found: Counter[str] = Counter()
    at = 0
    for batch in _batches(gathered):
        found.update(batch.filter(pa.array(taken[at : at + len(batch)])).column("licence").drop_null().to_pylist())
        at += len(batch)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def lines(text: str) -> Iterator[str]:
    """The lines of a text as the trainer takes them: no line break, at most 4,096 code points, nothing it would skip."""
    for line in text.translate(_REFUSED).split("\n"):
        while len(line) > _LINE:
            at = line.rfind(" ", _LINE // 2, _LINE)
            at = at if at > 0 else _LINE
            yield line[:at]
            line = line[at:]
        if line:
            yield line


def _batches(gathered: Store) -> Iterator[pa.RecordBatch]:
    for shard in gathered.shards():
        yield from gathered.batches(shard)
