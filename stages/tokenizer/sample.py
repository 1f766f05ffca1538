"""Which documents a tokenizer learns from, and how their text reaches the trainer.

The choice depends on ids, languages and lengths alone: documents are taken in the order of a hash of their id until a byte
budget is spent, so that shards, workers and the order of the input do not matter and a slightly larger corpus gives nearly the same sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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


class Roll(NamedTuple):
    """The corpus as seen by the sampler: one entry per row, 18 bytes of memory each where shards are mapped."""

    ids: pa.ChunkedArray
    """Those of the shards themselves, a chunk per batch: not copied from a mapped file."""
    keys: np.ndarray
    """uint64, a hash of the id: the order in which documents are taken."""
    sizes: np.ndarray
    """int64, UTF-8 bytes of the text; 0 for null."""
    codes: np.ndarray
    """int16, numbers of the languages in `languages`."""
    languages: list[str]
    """Codes of languages, `und` where none is known."""

    def of(self, lang: str) -> np.ndarray:
        """bool per row: is it in that language?"""
        return self.codes == self.languages.index(lang)


def call(stores: list[Store]) -> Roll:
    """Ids, byte sizes and languages of every row of `stores`, in store order. Of the texts only their lengths are read."""
    import xxhash

    ids, languages = [], dict[str, int]()
    keys, sizes, codes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int16)]
    for batch in _batches(stores):
        ids.append(batch.column("id").cast(pa.large_string()))
        hashes = (xxhash.xxh3_64_intdigest(_SALT + name.encode()) for name in ids[-1].to_pylist())
        keys.append(np.fromiter(hashes, np.uint64, len(batch)))
        length = pc.fill_null(pc.binary_length(batch.column("text")), 0)
        sizes.append(length.to_numpy(zero_copy_only=False).astype(np.int64))
        coded = pc.fill_null(batch.column("lang"), NO_LANGUAGE).dictionary_encode()
        known = [languages.setdefault(lang, len(languages)) for lang in coded.dictionary.to_pylist()]
        codes.append(np.asarray([*known, 0], np.int16)[coded.indices.to_numpy(zero_copy_only=False)])
    return Roll(
        pa.chunked_array(ids, pa.large_string()),
        np.concatenate(keys),
        np.concatenate(sizes),
        np.concatenate(codes),
        list(languages),
    )


def shares(roll: Roll, balance: str | Mapping[str, float], budget: int) -> dict[str, float]:
    """Byte budget per language.

    `corpus`: in proportion to the corpus. `even`: the same for every language. A mapping: by its weights, nothing for a
    language it does not name. What a language cannot fill goes to the others in the same proportion.
    """
    totals = np.bincount(roll.codes, weights=roll.sizes, minlength=len(roll.languages))
    have = {lang: float(size) for lang, size in sorted(zip(roll.languages, totals.tolist())) if size}
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
            sizes = roll.sizes[rows]
            verdict[rows] = np.where(np.cumsum(sizes) - sizes < given[lang], TAKEN, BUDGET)
    verdict[roll.sizes == 0] = EMPTY
    return verdict


def ledger(roll: Roll, verdict: np.ndarray) -> pa.Table:
    """The ledger of a sample: nothing comes out of a row; its reason where it was not taken."""
    parts, at = [Ledger.rows([])], 0
    for ids in roll.ids.chunks:
        reasons = [REASONS[number] for number in verdict[at : at + len(ids)].tolist()]
        parts.append(Ledger.rows(ids, out=pa.nulls(len(ids), pa.large_string()), reason=reasons))
        at += len(ids)
    return Ledger.concat(parts)


def texts(stores: list[Store], wanted: np.ndarray) -> Iterator[tuple[str, str]]:
    """(language, text) of the rows where `wanted` (bool per row, in store order) says so."""
    at = 0
    for batch in _batches(stores):
        rows = batch.filter(pa.array(wanted[at : at + len(batch)]))
        at += len(batch)
        yield from zip(pc.fill_null(rows.column("lang"), NO_LANGUAGE).to_pylist(), rows.column("text").to_pylist())


def probe(roll: Roll, taken: np.ndarray, budget: int) -> tuple[np.ndarray, str]:
    """Rows (bool) to measure on, and what they are: up to `budget` bytes outside the sample, by hash of id from the far
    end, or of the sample itself where it is the whole corpus."""
    outside = ~taken & (roll.sizes > 0)
    pool, what = (
        (outside, "documents the tokenizer was not trained on")
        if outside.any()
        else (taken, "documents of the sample itself")
    )
    order = np.argsort(roll.keys, kind="stable")[::-1]
    rows = order[pool[order]]
    sizes = roll.sizes[rows]
    chosen = np.zeros(len(pool), dtype=bool)
    chosen[rows[np.cumsum(sizes) - sizes < budget]] = True
    return chosen, what


def account(stores: list[Store], roll: Roll, taken: np.ndarray) -> dict[str, Any]:
    """What the sample holds: documents, bytes, languages, stated licences."""
    langs = sorted(roll.languages[code] for code in np.unique(roll.codes[taken]).tolist())
    by_language = {
        lang: {"documents": int((here := taken & roll.of(lang)).sum()), "bytes": int(roll.sizes[here].sum())}
        for lang in langs
    }
    return {
        "documents": int(taken.sum()),
        "of_documents": len(roll.ids),
        "bytes": int(roll.sizes[taken].sum()),
        "of_bytes": int(roll.sizes.sum()),
        "by_language": by_language,
        "licences": _licences(stores, taken),
    }


def _licences(stores: list[Store], taken: np.ndarray) -> dict[str, int]:
    """Documents of the sample per stated licence, most first."""
    found: Counter[str] = Counter()
    at = 0
    for batch in _batches(stores, "licence"):
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


def _batches(stores: list[Store], *columns: str) -> Iterator[pa.RecordBatch]:
    for store in stores:
        for shard in store.shards():
            for batch in store.batches(shard):
                yield batch.select(list(columns) or ["id", "lang", "text"])
