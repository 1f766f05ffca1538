"""Plain text to token ids, fast and without ever forging a control token.

A tokenizer made by this house is read by SentencePiece itself: on lists of texts it is four to ten times as fast as the
Hugging Face tokenizer beside it, with the same ids (a test holds them equal). Any other tokenizer folder goes through its Hugging
Face fast tokenizer; columns through gigatoken where it is installed and gives the same ids (`stages.models.fast_ids`). Either way the text is data: `</s>` or `<|user|>` spelled out in a web page becomes ordinary pieces, so
that no page can end a document or open a turn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from stages.models import byte_letters
from stages.models.byte_letters import is_part
from stages.models.fast_ids import faster

FORMAT = "maetdol-tokenizer-1"
"""`format` in the card of a tokenizer whose two files, SentencePiece's and Hugging Face's, give equal ids."""

BYTE_LEVEL = {
    "tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": False, "add_bos_token": False, "add_eos_token": False,
    "clean_up_tokenization_spaces": False,
}  # fmt: skip
"""How the tokenizer_config.json of a byte-level tokenizer of this house begins: all of the tokenizer is in tokenizer.json."""
UNITS, ROOM = 1 << 20, 64 << 20
"""Words remembered, and bytes of them."""
LINES = 64
"""New words tokenised together: BPE slows down with the length of a text."""
PART = 1 << 18
"""Code points after which a long text may be cut at the next line break."""


class ByteWidths(NamedTuple):
    """What the bytes of a token are: int32 per id."""

    bytes: np.ndarray
    characters: np.ndarray
    """Characters whose first byte is in it."""
    inside: np.ndarray
    """1 where its first byte is a later one of a character, which counts as the token's beginning; else 0."""


class Encoder:
    """A tokenizer folder as a batch encoder.

    `size` is the number of ids, `bos`, `eos`, `pad` are ids or None. UsageError when the folder holds no tokenizer or one
    without an end-of-sequence token.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._pieces = self._hub = self._fast = None
        self._units: Units | None = None
        if ours(self.folder):
            self._open_pieces()
        else:
            self._open_hub()
        if self.eos is None:
            raise UsageError(
                f"the tokenizer in {self.folder.name} has no end-of-sequence token",
                "add an eos_token to its tokenizer_config.json",
            )

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One int32 array of ids per text, nothing added before or after."""
        if not texts:
            return []
        if self._pieces is not None:
            return self._encode_pieces(texts)
        return [
            np.asarray(done.ids, dtype=np.int32)
            for done in self._hub.encode_batch_fast(list(texts), add_special_tokens=False)
        ]

    @property
    def left(self) -> bool:
        """Was gigatoken found different from the tokenizer, after it may have encoded columns?"""
        return self._fast is not None and self._fast.left

    def encode_column(self, text: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32 end to end, bounds int64): text i is `ids[bounds[i]:bounds[i + 1]]`. A null reads as empty."""
        if self._units is None:
            if self._fast is not None:
                return self._fast.encode(pc.fill_null(text, "") if text.null_count else text)
            made = self.encode([one or "" for one in text.to_pylist()])
            ids = np.concatenate([*made, np.zeros(0, np.int32)]).astype(np.int32, copy=False)
            return ids, _bounds([len(one) for one in made])
        if text.null_count:
            text = pc.fill_null(text, "")
        _, offsets, data = text.buffers()
        offsets = (
            np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
            if len(text)
            else np.zeros(1, np.int64)
        )
        return self._units.encode(np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), offsets)

    def _encode_pieces(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Long texts go in parts cut behind a line break, which is always a token of its own: the ids are the same, memory is bounded."""
        parts, counts = [], []
        for text in texts:
            cut = _parts(text) if len(text) > 2 * PART else [text]
            parts += cut
            counts.append(len(cut))
        done = iter(self._pieces.encode(parts, return_type="numpy", num_threads=1))
        return [next(done) if count == 1 else np.concatenate([next(done) for _ in range(count)]) for count in counts]

    def marks(self, text: str, ids: np.ndarray) -> np.ndarray:
        """int64, length len(ids) + 1: the code point of `text` at which each token begins; the last is len(text).

        A character spelled in bytes begins with its first byte: the tokens of its other bytes begin after it.
        """
        found = self.begins(ids, len(text.encode()), np.arange(len(ids)))
        if found is None:
            found = [start for start, _ in self._hub.encode(text, add_special_tokens=False).offsets]
        return np.asarray([*found, len(text)], dtype=np.int64)

    def begins(self, ids: np.ndarray, size: int, at: np.ndarray) -> np.ndarray | None:
        """int64: the code points at which the tokens `at` (ascending, int64) of a text of `size` bytes begin; None where the ids alone
        do not say it."""
        from stages.models.token_starts import sums_before

        found = np.empty(len(at), np.int64)
        if self._pieces is not None:
            sums_before(ids, at, self._width, self._width, found)
            return found
        if (
            not self._whole_offsets
            or sums_before(ids, at, self._byte_widths.characters, self._byte_widths.bytes, found) != size
        ):
            return None
        return found - self._byte_widths.inside[ids[at]]

    def piece(self, number: int) -> str:
        """The vocabulary's own spelling of an id."""
        return self._pieces.id_to_piece(number) if self._pieces is not None else self._hub.id_to_token(number)

    def decode(self, ids: np.ndarray) -> str:
        """The text of `ids`, control tokens as they are written."""
        if self._pieces is not None:
            return self._pieces.decode(ids.tolist())
        return self._hub.decode(ids.tolist(), skip_special_tokens=False)

    def byte_pieces(self) -> np.ndarray:
        """bool per id: is it a single byte of a character the vocabulary has no token for? A line break is none."""
        if self._pieces is not None:
            found = np.asarray([self._pieces.is_byte(number) for number in range(self.size)], dtype=bool)
            found[self._pieces.piece_to_id("<0x0A>")] = False
            return found
        if self.byte_level:
            tokens = [self.token_bytes(number) for number in range(self.size)]
            return np.asarray([len(token) == 1 and token[0] > 0x7F for token in tokens], dtype=bool)
        words = [self._hub.id_to_token(number) or "" for number in range(self.size)]
        return np.asarray(
            [len(word) == 6 and word.startswith("<0x") and word[3:5] != "0A" and word.endswith(">") for word in words],
            dtype=bool,
        )

    def part_pieces(self) -> np.ndarray:
        """bool per id: does it begin or end inside a character? For byte fallback those are `byte_pieces`."""
        if not self.byte_level:
            return self.byte_pieces()
        return np.asarray([is_part(self.token_bytes(number)) for number in range(self.size)], dtype=bool)

    @cached_property
    def byte_level(self) -> bool:
        """Are its tokens spelled in letters for bytes?"""
        return self._hub is not None and '"ByteLevel"' in _part(self._hub.decoder)

    @cached_property
    def _whole_offsets(self) -> bool:
        """Is a token's offset that of its first byte's character? Not where the tokenizer leaves out the blank it begins with."""
        return self.byte_level and '"trim_offsets":true' not in _part(self._hub.post_processor)

    @cached_property
    def _byte_widths(self) -> ByteWidths:
        tokens = [self.token_bytes(number) for number in range(self.size)]
        ends = np.cumsum([len(token) for token in tokens])
        starts = np.concatenate([[0], ends[:-1]])
        later = np.frombuffer(b"".join(tokens), np.uint8) & 0xC0 == 0x80
        before = np.concatenate([[0], np.cumsum(later)])
        inside = before[np.minimum(starts + 1, ends)] - before[starts]
        characters = ends - starts - (before[ends] - before[starts])
        return ByteWidths(*(column.astype(np.int32) for column in (ends - starts, characters, inside)))

    def token_bytes(self, number: int) -> bytes:
        """What an id of a byte-level tokenizer writes."""
        word = self._hub.id_to_token(number) or ""
        read = byte_letters.read(word) if number not in self._added else None
        return word.encode() if read is None else read

    def _open_pieces(self) -> None:
        import sentencepiece

        self._pieces = pieces = sentencepiece.SentencePieceProcessor(model_file=str(self.folder / "tokenizer.model"))
        self.size = pieces.get_piece_size()
        self.bos, self.eos, self.pad = (
            value if value >= 0 else None for value in (pieces.bos_id(), pieces.eos_id(), pieces.pad_id())
        )
        self._width = np.asarray([_width(pieces, number) for number in range(self.size)], dtype=np.int32)
        if not any(
            _crosses(pieces.id_to_piece(number)) for number in range(self.size) if not pieces.is_control(number)
        ):
            self._units = Units(self._encode_pieces, pieces.piece_to_id("<0x0A>"))

    def _open_hub(self) -> None:
        found = own_library(self.folder) or _by_transformers(self.folder)
        self._hub: Any = found.hub
        self.bos, self.eos, self.pad = found.bos, found.eos, found.pad
        self.size = self._hub.get_vocab_size(with_added_tokens=True)
        self._hub.encode_special_tokens = True
        self._added = self._hub.get_added_tokens_decoder()
        self._hub.no_truncation()
        self._hub.no_padding()
        self._fast = faster(self._hub, self.encode)


@lru_cache(maxsize=1)
def opened(folder: Path, content_hash: str) -> Encoder:
    """The encoder of a folder, opened once in a process: with what it costs to open and prove, and the words it has met.

    `content_hash` is that of the folder's files: another tokenizer at the same place is another encoder.
    """
    return Encoder(folder)


class Units:
    """Tokens of the words seen so far; `encode` is the tokenizer itself on lists of texts, `line_break` the id of a line break."""

    def __init__(self, encode: Any, line_break: int, units: int = UNITS, room: int = ROOM):
        self._encode, self._break, self._size = encode, line_break, (units, room)
        self._fresh()

    def _fresh(self) -> None:
        from stages.models.units import known

        self._known = known(*self._size)
        self._starts, self._tokens, self._learnt = np.zeros(1, np.int64), np.zeros(0, np.int32), 0

    def encode(self, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ids, bounds) of the texts `data[offsets[i]:offsets[i + 1]]`. When the words no longer fit, all are forgotten."""
        from stages.models import units

        parts, sizes, at = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)], 0
        while at < len(offsets) - 1:
            numbers, bounds, done = units.number(data, offsets[at:], self._known)
            if done:
                self._learn()
                sizes.append(units.lengths(numbers, bounds, self._starts))
                parts.append(units.join(numbers, self._starts, self._tokens, int(sizes[-1].sum())))
            elif not self._known.filled[0]:
                parts += self._encode([bytes(data[offsets[at] : offsets[at + 1]]).decode()])
                sizes.append(np.asarray([len(parts[-1])], np.int64))
                done = 1
            at += done
            if at < len(offsets) - 1 and self._known.filled[0]:
                self._fresh()
        return np.concatenate(parts), _bounds(np.concatenate(sizes))

    def _learn(self) -> None:
        """Tokenise the words that are new: as lines of one text, told apart by the token of the line break."""
        first, last = self._learnt, int(self._known.filled[0])
        if first == last:
            return
        ends, arena = self._known.ends[first : last + 1].tolist(), self._known.arena
        words = [arena[a:b].tobytes() for a, b in zip(ends, ends[1:])]
        breaks = [n for n, word in enumerate(words) if word == b"\n"]
        for n in breaks:
            words[n] = b""
        lines = [b"\n".join([*words[n : n + LINES], b""]).decode() for n in range(0, len(words), LINES)]
        ids = np.concatenate(self._encode(lines))
        ends_at = np.flatnonzero(ids == self._break)
        sizes = np.diff(ends_at, prepend=-1) - 1
        sizes[breaks] = 1
        mine = np.ones(len(ids), dtype=bool)
        mine[ends_at] = False
        mine[ends_at[breaks]] = True
        self._starts = _grown(self._starts, last + 1)
        self._starts[first + 1 : last + 1] = self._starts[first] + np.cumsum(sizes)
        self._tokens = _grown(self._tokens, int(self._starts[last]))
        self._tokens[self._starts[first] : self._starts[last]] = ids[mine]
        self._learnt = last


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    """`array` with room for `size`, doubling, so that growing costs little."""
    if size <= len(array):
        return array
    larger = np.zeros(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


def _bounds(sizes: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))]).astype(np.int64)


def _crosses(piece: str) -> bool:
    """Does a piece reach from one word into the next, or over a line break?"""
    return "\n" in piece or "▁" in piece.lstrip("▁")


def ours(folder: Path) -> bool:
    """Does the folder's card promise equal ids from SentencePiece?"""
    return (folder / "tokenizer.model").is_file() and _page(folder / "card.json").get("format") == FORMAT


class OpenedLibrary(NamedTuple):
    """A `tokenizers.Tokenizer` and the ids of its special tokens."""

    hub: Any
    bos: int | None
    eos: int | None
    pad: int | None


def own_library(folder: Path) -> OpenedLibrary | None:
    """A byte-level tokenizer of this house from its tokenizer.json alone: what transformers makes of the folder, without the two CPU
    seconds that it and torch take to import. None for any other folder, and for one to whose files something was added."""
    from tokenizers import Tokenizer

    if _page(folder / "card.json").get("format") != FORMAT or not (folder / "tokenizer.json").is_file():
        return None
    config = _page(folder / "tokenizer_config.json")
    named = ("bos_token", "eos_token", "pad_token")
    more = {*named, "extra_special_tokens", "model_max_length"}
    if config.keys() - more != BYTE_LEVEL.keys() or not BYTE_LEVEL.items() <= config.items():
        return None
    if any((folder / name).exists() for name in ("special_tokens_map.json", "added_tokens.json")):
        return None
    hub = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [hub.token_to_id(config.get(name) or "") for name in named]
    known = [hub.token_to_id(token) for token in config.get("extra_special_tokens", ())]
    return None if None in (*ids, *known) else OpenedLibrary(hub, *ids)


def _by_transformers(folder: Path) -> OpenedLibrary:
    from stages.models.chat.templates import load_tokenizer

    tokenizer = load_tokenizer(folder)
    if not tokenizer.is_fast:
        raise UsageError(f"the tokenizer in {folder.name} is a slow one", "save it with a tokenizer.json beside it")
    return OpenedLibrary(
        tokenizer.backend_tokenizer, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    )


def _page(path: Path) -> dict[str, Any]:
    """A file of JSON; empty where it is none, or no mapping."""
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return page if isinstance(page, dict) else {}


def _part(part: Any) -> str:
    """A part of a `tokenizers.Tokenizer` as JSON without blanks, as it pickles itself: the whole tokenizer takes a tenth of a second."""
    return "" if part is None else json.dumps(json.loads(part.__getstate__()), separators=(",", ":"))


def _parts(text: str) -> list[str]:
    parts, at = [], 0
    while at < len(text):
        end = text.find("\n", at + PART)
        end = len(text) if end < 0 else end + 1
        parts.append(text[at:end])
        at = end
    return parts


def _width(pieces: Any, number: int) -> int:
    """Code points that begin in a token: a piece's own, one for a byte that opens a character, none for control tokens."""
    if pieces.is_control(number) or pieces.is_unknown(number):
        return 0
    if pieces.is_byte(number):
        return int(int(pieces.id_to_piece(number)[3:5], 16) & 0xC0 != 0x80)
    return len(pieces.id_to_piece(number))
