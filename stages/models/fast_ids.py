"""Columns of text to ids by gigatoken, some hundred times as fast as `tokenizers`, where its ids are proven to be the same.

It has implementations of its own for the expressions of known models, so it may differ from the tokenizer it was made of. Three
checks stand between it and a corpus: difficult strings and a part of the first texts are encoded both ways before it is used,
and some texts of every later batch. At the first difference it is left and not used again in this process; `left` tells whoever
holds ids of before that they are to be made anew.

It remembers every word it has met: some hundred bytes a word, without end. So it is made anew after so many bytes of text.

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
SHARE = 512
"""Of the bytes of every later batch, the part of them that is: a fifth of the time where the tokenizer is a hundredth as fast."""
LEAST = 256
"""Bytes of texts of a batch that are at the least."""
KEPT = 1 << 28
"""Bytes of text after which it forgets its words: a shard's. Texts of new words alone (none is met twice) then cost 1.7 GB."""
DIFFICULT = (
    "", " ", "  a   b    c     ", "\n\n\n", "\t\tx\r\n y", "\r\r\n\n ", "<s></s><|user|><|endoftext|><|im_start|><|begin_of_text|>", "<0x0A><0x41>▁▁ a▁b",
    "it's IT'S we'll WE'LL 'tis ''s ſ's K'S", "1234567890 3.14159 ２０２６ ①②③ ½ ٣٤٥ 12a34", "HelloWorld helloWORLD XMLHttp ÀÉî ǅ ʰ", "가" * 50, "힣뷁꿻 ㅋㅋㅋ ㄱㅏ",
    "\u1112\u1161\u11ab\u1100\u1173\u11af e\u0301 n\u0303 \u0301", "👩‍👩‍👧‍👦🌾🇰🇷👍🏽", "\x00\x01\x02\x1f\x7f\x85\x1c a\x0bb\x0cc", "\u200b\u200d\ufeff\u3000\xa0\u2028\u2029\u180e x\ufffd", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢\U0010ffff",
    "العربية עברית ไทย 日本語 中文 हिन्दी", "https://example.org/a?b=c&d=%EC%BD%A9#x", "def f(a):\n\t\treturn {a: 1}  # x\n\n\n\n    y", "!" * 33 + "..." * 9 + "-" * 70, "a" * 300 + "1" * 300,
)  # fmt: skip

Ids = tuple[np.ndarray, np.ndarray]


class FastIds:
    """A tokenizer as gigatoken reads it (`load` gives one that has met no word), and the tokenizer's own `encode`, which it is held
    against."""

    def __init__(self, load: Callable[[], Any], encode: Callable[[Sequence[str]], list[np.ndarray]]):
        self._load, self._own = load, encode
        self._backend, self._met = load(), 0
        self._proven: bool | None = None

    @property
    def used(self) -> bool:
        """Has it been proven, and never been found different?"""
        return bool(self._proven)

    @property
    def left(self) -> bool:
        """Has it been found different?"""
        return self._proven is False

    def encode(self, text: pa.LargeStringArray) -> Ids:
        """(ids int32 end to end, bounds int64) of a column without nulls: gigatoken's where it is proven, else the tokenizer's."""
        if self._proven is None:
            self._proven = self._same(pa.array(DIFFICULT, pa.large_string()), PROBE) is not None
            budget = PROBE
        else:
            budget = max(_size(text) // SHARE, LEAST)
        found = self._same(text, budget) if self._proven else None
        if found is not None:
            return found
        self._proven = False
        return joined(self._own(text.to_pylist()))

    def _same(self, text: pa.LargeStringArray, budget: int) -> Ids | None:
        """Its ids of a column, if those of texts of about `budget` bytes, evenly spread, are the tokenizer's; else None. Where
        every text is longer, the beginning of one is encoded both ways."""
        found = ids, bounds = self._fast(text)
        rows = spread(text, budget)
        own = self._own([text[row].as_py() for row in rows])
        if not all(np.array_equal(ids[bounds[row] : bounds[row + 1]], one) for row, one in zip(rows, own)):
            return None
        if not rows and _size(text):
            longest = int(np.argmax(np.diff(_ends(text))))
            begun = text[longest].as_buffer()[:budget].to_pybytes().decode(errors="ignore")
            if not np.array_equal(self._fast(pa.array([begun], pa.large_string()))[0], self._own([begun])[0]):
                return None
        return found

    def _fast(self, text: pa.LargeStringArray) -> Ids:
        import awkward

        data = text.buffers()[2]
        if not len(text) or data is None:
            return np.zeros(0, np.int32), np.zeros(len(text) + 1, np.int64)
        if self._met > KEPT:
            self._backend, self._met = self._load(), 0
        ends = _ends(text)
        self._met += _size(text)
        letters = awkward.contents.NumpyArray(np.frombuffer(data, np.uint8), parameters={"__array__": "char"})
        column = awkward.contents.ListOffsetArray(
            awkward.index.Index64(ends), letters, parameters={"__array__": "string"}
        )
        made = awkward.to_packed(self._backend.encode_batch(awkward.Array(column), parallel=False)).layout
        return np.asarray(made.content.data).view(np.int32), np.asarray(made.offsets.data).astype(np.int64, copy=False)


def faster(hub: Any, encode: Callable[[Sequence[str]], list[np.ndarray]]) -> FastIds | None:
    """gigatoken on `hub` (a `tokenizers.Tokenizer`); None where it is not installed or does not read such a tokenizer."""
    try:
        from gigatoken.gigatoken_rs import load_hf_json
    except ImportError:
        return None
    page = json.loads(hub.to_str())
    page["added_tokens"] = [token for token in page["added_tokens"] if not token["special"]]
    page["post_processor"] = None
    read = json.dumps(page)
    try:
        return FastIds(lambda: load_hf_json(read), encode)
    except (RuntimeError, ValueError):
        return None


def spread(text: pa.LargeStringArray, budget: int) -> list[int]:
    """Rows of about `budget` bytes together, evenly spread over the column; long texts count and may be the only one.

    >>> spread(pa.array(["ab"] * 10, pa.large_string()), 6)
    [0, 3, 6, 9]
    """
    if not len(text):
        return []
    offsets = _ends(text)
    step = max(1, _size(text) // budget)
    found, spent = [], 0
    for row in range(0, len(text), step):
        size = int(offsets[row + 1] - offsets[row])
        if size <= max(budget - spent, budget // 4):
            found.append(row)
            spent += size
    return found


def _ends(text: pa.LargeStringArray) -> np.ndarray:
    """int64, one more than texts: where each begins in the column's bytes, and where the last ends."""
    if not len(text):
        return np.zeros(1, np.int64)
    return np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]


def _size(text: pa.LargeStringArray) -> int:
    """Bytes of a column's texts."""
    ends = _ends(text)
    return int(ends[-1] - ends[0])


def joined(parts: Sequence[np.ndarray]) -> Ids:
    """(ids int32 end to end, bounds int64)."""
    sizes = np.asarray([len(part) for part in parts], dtype=np.int64)
    ids = np.concatenate([*parts, np.zeros(0, np.int32)]).astype(np.int32, copy=False)
    return ids, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
