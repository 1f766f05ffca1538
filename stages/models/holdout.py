"""Which rows are held out of training: one pure function, so that train and evaluate cannot disagree.

A row is held out when the hash of its key falls into the lowest `share` of the hash range. The key decides what can leak:

- DOCUMENT: its `content_id`, so that copies of one text, repeated by `mix` under ids of their own, stand on one side. `pack`
  gives held-out documents rows of their own and marks them (`heldout`); token shards without that mark are parted by the
  document ids they name.
- CHAT and PAIR: the prompt, that is the first user message reduced to its letters and digits, case folded. All rows that ask
  the same thing, in SFT and in DPO, in any spelling of blanks and punctuation, stand on one side, whatever their answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.unicode import normalised

SHARE = 0.05
"""Share of keys held out by default: every twentieth document or prompt."""
_SALT = b"maetdol holdout 1\0"


def held_out(keys: Iterable[str] | pa.Array, share: float = SHARE) -> np.ndarray:
    """bool per key: is it held out? Pure: depends on the key and the share alone. 0 holds nothing out.

    >>> float(held_out([str(n) for n in range(10_000)], 0.05).mean().round(2))
    0.05
    """
    return (hashes(keys) >> np.uint64(11)) < np.uint64(min(max(share, 0.0), 1.0) * 2.0**53)


def hashes(keys: Iterable[str] | pa.Array) -> np.ndarray:
    """uint64 per key (XXH3 of the salted UTF-8)."""
    import xxhash

    salted = (
        _salted(keys) if isinstance(keys, pa.Array) else [_SALT + key.encode("utf-8", "surrogatepass") for key in keys]
    )
    return np.fromiter(map(xxhash.xxh3_64_intdigest, salted), np.uint64, len(salted))


def _salted(keys: pa.Array) -> list[bytes]:
    """Joined as columns: strings of Python's would cost more than their hashes."""
    binary = keys.cast(pa.large_binary())
    salt = pa.scalar(_SALT, pa.large_binary())
    return pc.binary_join_element_wise(salt, binary, pa.scalar(b"", pa.large_binary())).to_pylist()


def document_keys(batch: pa.RecordBatch | pa.Table) -> pa.Array:
    """The key of every DOCUMENT row: its content_id, its id where it has none."""
    ids = batch.column("id")
    if "content_id" in batch.schema.names:
        content = batch.column("content_id")
        ids = pc.if_else(pc.fill_null(pc.not_equal(content, ""), False), content, ids)
    return ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids


def prompt_key(messages: Sequence[dict[str, str]] | None) -> str:
    """The key of a CHAT or PAIR row from its messages (or its prompt): what the first user asks, reduced.

    >>> prompt_key([{"role": "user", "content": "What is  rice?"}]) == prompt_key([{"role": "user", "content": "what is rice"}])
    True
    """
    messages = messages or []
    question = next((m["content"] for m in messages if m["role"] == "user"), None)
    if question is None:
        question = messages[0]["content"] if messages else ""
    folded = normalised("NFKC", question or "").casefold()
    kept = "".join(ch for ch in folded if ch.isalnum())
    return kept or folded
