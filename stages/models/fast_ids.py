"""Columns of text to ids by gigatoken, some hundred times as fast as `tokenizers`, where its ids are proven to be the same.

It has implementations of its own for the expressions of known models, so it may differ from the tokenizer it was made of. Three
checks stand between it and a corpus: difficult strings and a part of the first texts are encoded both ways before it is used,
and some texts of every later batch. At the first difference it is left and not used again.

Special tokens are taken out of its copy of the tokenizer, so that a page that spells one never makes one; tokens that were added
and are not special stay, since the tokenizer finds those in text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

PROBE = 1 << 18
"""Bytes of the first texts that are encoded both ways."""
EACH = 1 << 15
"""Bytes of texts of every later batch that are."""
DIFFICULT = (
    "", " ", "  a   b    c     ", "\n\n\n", "\t\tx\r\n y", "\r\r\n\n ", "<s></s><|user|><|endoftext|><|im_start|><|begin_of_text|>", "<0x0A><0x41>▁▁ a▁b",
    "it's IT'S we'll WE'LL 'tis ''s ſ's K'S", "1234567890 3.14159 ２０２６ ①②③ ½ ٣٤٥ 12a34", "HelloWorld helloWORLD XMLHttp ÀÉî ǅ ʰ", "가" * 50, "힣뷁꿻 ㅋㅋㅋ ㄱㅏ",
    "\u1112\u1161\u11ab\u1100\u1173\u11af e\u0301 n\u0303 \u0301", "👩‍👩‍👧‍👦🌾🇰🇷👍🏽", "\x00\x01\x02\x1f\x7f\x85\x1c a\x0bb\x0cc", "\u200b\u200d\ufeff\u3000\xa0\u2028\u2029\u180e x\ufffd", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢\U0010ffff",
    "العربية עברית ไทย 日本語 中文 हिन्दी", "https://example.org/a?b=c&d=%EC%BD%A9#x", "def f(a):\n\t\treturn {a: 1}  # x\n\n\n\n    y", "!" * 33 + "..." * 9 + "-" * 70, "a" * 300 + "1" * 300,
)  # fmt: skip

Ids = tuple[np.ndarray, np.ndarray]


class FastIds:
    """A tokenizer as gigatoken reads it, and the tokenizer's own `encode`, which it is held against."""

    def __init__(self, backend: Any, encode: Callable[[Sequence[str]], list[np.ndarray]]):
        self._backend, self._own = backend, encode
        self._proven: bool | None = None

    @property
    def used(self) -> bool:
        """Has it been proven, and never been found different?"""
        return bool(self._proven)

    def encode(self, text: pa.LargeStringArray) -> Ids:
        """(ids int32 end to end, bounds int64) of a column without nulls: gigatoken's where it is proven, else the tokenizer's."""
        if self._proven is None:
            self._proven = self._same(pa.array(DIFFICULT, pa.large_string()), PROBE) is not None
            budget = PROBE
        else:
            budget = EACH
        found = self._same(text, budget) if self._proven else None
        if found is not None:
            return found
        self._proven = False
        return joined(self._own(text.to_pylist()))

    def _same(self, text: pa.LargeStringArray, budget: int) -> Ids | None:
        """Its ids of a column, if those of texts of about `budget` bytes, evenly spread, are the tokenizer's; else None."""
        ids, bounds = self._fast(text)
        rows = spread(text, budget)
        own = self._own([text[row].as_py() for row in rows])
        if all(np.array_equal(ids[bounds[row] : bounds[row + 1]], one) for row, one in zip(rows, own)):
            return ids, bounds
        return None

    def _fast(self, text: pa.LargeStringArray) -> Ids:
        import awkward

        _, offsets, data = text.buffers()
        if not len(text) or data is None:
            return np.zeros(0, np.int32), np.zeros(len(text) + 1, np.int64)
        ends = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
        letters = awkward.contents.NumpyArray(np.frombuffer(data, np.uint8), parameters={"__array__": "char"})
        column = awkward.contents.ListOffsetArray(
            awkward.index.Index64(ends), letters, parameters={"__array__": "string"}
        )
        made = awkward.to_packed(self._backend.encode_batch(awkward.Array(column), parallel=False)).layout
        return np.asarray(made.content.data).astype(np.int32), np.asarray(made.offsets.data).astype(np.int64)


def faster(hub: Any, encode: Callable[[Sequence[str]], list[np.ndarray]]) -> FastIds | None:
    """gigatoken on `hub` (a `tokenizers.Tokenizer`); None where it is not installed or does not read such a tokenizer."""
    try:
        from gigatoken.gigatoken_rs import load_hf_json
    except ImportError:
        return None
    page = json.loads(hub.to_str())
    page["added_tokens"] = [token for token in page["added_tokens"] if not token["special"]]
    page["post_processor"] = None
    try:
        return FastIds(load_hf_json(json.dumps(page)), encode)
    except (RuntimeError, ValueError):
        return None


def spread(text: pa.LargeStringArray, budget: int) -> list[int]:
    """Rows of about `budget` bytes together, evenly spread over the column; long texts count and may be the only one.

    >>> spread(pa.array(["ab"] * 10, pa.large_string()), 6)
    [0, 3, 6, 9]
    """
    if not len(text):
        return []
    offsets = np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]
    step = max(1, int((offsets[-1] - offsets[0]) // budget))
    found, spent = [], 0
    for row in range(0, len(text), step):
        size = int(offsets[row + 1] - offsets[row])
        if size <= max(budget - spent, budget // 4):
            found.append(row)
            spent += size
    return found


def joined(parts: Sequence[np.ndarray]) -> Ids:
    """(ids int32 end to end, bounds int64)."""
    sizes = np.asarray([len(part) for part in parts], dtype=np.int64)
    ids = np.concatenate([*parts, np.zeros(0, np.int32)]).astype(np.int32, copy=False)
    return ids, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
