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

from pipeline.storage.store import Store

NO_LANGUAGE = "und"
_SALT = b"maetdol tokenizer sample 1\0"
_LINE = 4096
"""Longest line handed to the trainer, in code points: longer ones are cut at a blank where there is one."""
_REFUSED = str.maketrans("", "", "\0▅")
"""NUL ends a string inside the trainer, U+2585 is its own mark for an unknown: it skips lines that hold one."""


class Roll(NamedTuple):
    """The corpus as seen by the sampler: one entry per row."""

    ids: list[str]
    sizes: np.ndarray
    """int64, UTF-8 bytes of the text; 0 for null."""
    langs: np.ndarray
    """object array of language codes, `und` where none is known."""


def call(stores: list[Store]) -> Roll:
    """Ids, byte sizes and languages of every row of `stores`, in store order."""
    ids: list[str] = []
    sizes, langs = [np.zeros(0, np.int64)], [np.zeros(0, object)]
    for batch in _batches(stores):
        ids += batch.column("id").to_pylist()
        sizes.append(
            pc.fill_null(pc.binary_length(batch.column("text")), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        )
        langs.append(pc.fill_null(batch.column("lang"), NO_LANGUAGE).to_numpy(zero_copy_only=False).astype(object))
    return Roll(ids, np.concatenate(sizes), np.concatenate(langs))


def shares(roll: Roll, balance: str | Mapping[str, float], budget: int) -> dict[str, float]:
    """Byte budget per language.

    `corpus`: in proportion to the corpus. `even`: the same for every language. A mapping: by its weights, nothing for a
    language it does not name. What a language cannot fill goes to the others in the same proportion.
    """
    have = {lang: float(roll.sizes[roll.langs == lang].sum()) for lang in sorted(set(roll.langs.tolist()))}
    have = {lang: size for lang, size in have.items() if size}
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


def choose(roll: Roll, given: Mapping[str, float]) -> list[str | None]:
    """Per row: None where it is taken, else why not: `tokenizer.empty`, `tokenizer.language`, `tokenizer.budget`.

    A document is taken while its language's budget is not yet spent, so that the sample may exceed it by one document.
    """
    verdict: list[str | None] = ["tokenizer.budget"] * len(roll.ids)
    spent = dict.fromkeys(given, 0.0)
    for row in ranks(roll.ids):
        size, lang = int(roll.sizes[row]), roll.langs[row]
        if size == 0:
            verdict[row] = "tokenizer.empty"
        elif lang not in given:
            verdict[row] = "tokenizer.language"
        elif spent[lang] < given[lang]:
            verdict[row] = None
            spent[lang] += size
    return verdict


def ranks(ids: list[str]) -> np.ndarray:
    """Row numbers in the order of the hash of their ids."""
    import xxhash

    keys = np.asarray([xxhash.xxh3_64_intdigest(_SALT + i.encode()) for i in ids], dtype=np.uint64)
    return np.argsort(keys, kind="stable")


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
    chosen, spent = np.zeros(len(roll.ids), dtype=bool), 0
    for row in ranks(roll.ids)[::-1]:
        if pool[row] and spent < budget:
            chosen[row] = True
            spent += int(roll.sizes[row])
    return chosen, what


def account(stores: list[Store], roll: Roll, taken: np.ndarray) -> dict[str, Any]:
    """What the sample holds: documents, bytes, languages, stated licences."""
    langs = sorted(set(roll.langs[taken].tolist()))
    by_language = {
        lang: {"documents": int((here := taken & (roll.langs == lang)).sum()), "bytes": int(roll.sizes[here].sum())}
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
