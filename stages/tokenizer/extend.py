"""More tokens for a tokenizer that is there, learnt on top of how it cuts text today.

Texts are cut by the base; what stands side by side within a word and is frequent becomes a token, as in training. The new merges come
after all of the base's: whatever it merges is merged first, so no id moves, and a text in which no new token stands is cut as before.
What a word is: what the base's own expression cuts apart (byte-level), or letters with the blank before them (SentencePiece). The
latter spells characters it has no piece for in bytes, which are never merged: such characters become pieces first.

Learning is the `tokenizers` library's, on texts in which each of the base's tokens is one character. A pair is left out where the base
has a token of the same letters that it reaches by other ways: to merge it would cut texts without new tokens otherwise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import SourceError, UsageError
from stages.tokenizer.byte_level import TWICE

_BLANK = "▁"
_CUT = "\1"
"""Stands between words of the texts that are learnt from."""
_BATCH = 256


class Base(NamedTuple):
    """A tokenizer that can be extended."""

    page: dict[str, Any]
    """Its tokenizer.json."""
    byte_level: bool
    library: Any
    """The `tokenizers.Tokenizer`; special tokens in text are ordinary text to it."""

    @property
    def vocabulary(self) -> dict[str, int]:
        return self.page["model"]["vocab"]

    @property
    def added(self) -> dict[str, int]:
        """Tokens beside the model, control tokens among them."""
        return {token["content"]: token["id"] for token in self.page["added_tokens"]}

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return max([*self.vocabulary.values(), *self.added.values()]) + 1


class Extension(NamedTuple):
    """What is added, in the order of the new ids; the first is the base's size."""

    tokens: list[str]
    """As the vocabulary spells them."""
    merges: list[list[str]]
    """To be put behind the base's."""
    characters: int
    """How many are single characters that the base has no piece for (SentencePiece alone): the first."""
    left_out: int
    """Pairs left out because the base has their token, and what would have been built on them."""
    steps: int
    """Tokens that no text learnt from is cut into, nor their own: merged on the way to others that are."""


def opened(folder: Path) -> Base:
    """The tokenizer in `folder`. SourceError where there is none; UsageError with the reason where its kind cannot be extended."""
    try:
        page = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        model = page["model"]
    except (OSError, ValueError, KeyError):
        raise SourceError(
            f"{folder} has no tokenizer.json", "save it with `AutoTokenizer.from_pretrained(...).save_pretrained(...)`"
        ) from None
    kind = model.get("type") or ("BPE" if "merges" in model else "Unigram")
    level = '"ByteLevel"' in json.dumps(page.get("decoder"))
    why = WHY.get(kind, "only BPE learns tokens by merges") if kind != "BPE" else None
    if kind == "BPE" and (model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")):
        why = "its tokens are spelled otherwise at the end or inside of a word, so that a merge of two is not their letters"
    elif kind == "BPE" and not level and not model.get("byte_fallback"):
        why = (
            "it is neither byte-level nor has it bytes to fall back to, so it has no way to spell what it does not know"
        )
    elif kind == "BPE" and model.get("dropout"):
        why = "it merges at random (dropout)"
    if why:
        raise UsageError(
            f"{folder.name} cannot be extended: {why}", "extend a byte-level or SentencePiece BPE, or train a new one"
        )
    from tokenizers import Tokenizer as Library

    return Base(page, level, _plain(Library.from_str(json.dumps(page))))


WHY = {
    "Unigram": "it is a unigram model, which weighs all ways to cut a word: one more piece cuts words that do not hold it otherwise",
    "WordPiece": "it is WordPiece, which takes the longest piece from the left: one more piece moves every border behind it",
    "WordLevel": "it knows whole words alone and has no merges",
}


def _plain(library: Any) -> Any:
    library.encode_special_tokens = True
    library.no_truncation()
    library.no_padding()
    library.post_processor = None
    return library


def learn(base: Base, texts: Iterable[str], count: int) -> Extension:
    """`count` new tokens, or as many as `texts` (held in memory, as their ids are) support. Each is what a text is cut into, or a step to one."""
    given = list(texts)
    characters = [] if base.byte_level else unknown_characters(base, given, count)
    grown = base if base.byte_level else Base(page_of(base, characters, []), False, None)
    library = base.library if base.byte_level else _plain(_library(grown.page))
    symbols: dict[str, str] = {}
    rows = list(symbol_rows(grown, library, given, symbols))
    candidates, left_out = _candidates(grown, rows, symbols, count - len(characters))
    dropped: set[str] = set()
    while True:
        kept, merges = ways(grown, candidates, dropped, count - len(characters))
        tokens = characters + kept
        lost = unreached(base, page_of(base, tokens, merges), tokens, given)
        idle = lost - steps(merges, lost)
        if not idle:
            return Extension(tokens, merges, len(characters), left_out, len(lost))
        dropped |= idle
        characters = [char for char in characters if char not in idle]


def unknown_characters(base: Base, texts: list[str], count: int) -> list[str]:
    """Letters and marks the base spells in bytes, seen twice at least, the most frequent first: `count` at most."""
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(text)
    known = base.vocabulary
    wanted = [
        (-times, char)
        for char, times in seen.items()
        if times >= TWICE
        and char not in known
        and char.isalpha()
        and base.library.encode(char, add_special_tokens=False)
    ]
    return [char for _, char in sorted(wanted)][:count]


def symbol_rows(base: Base, library: Any, texts: list[str], symbols: dict[str, str]) -> Iterator[str]:
    """Each text as one character a token, `_CUT` between words; fills `symbols`: character -> the token's spelling."""
    words = {number: word for word, number in base.vocabulary.items()}
    outside = set(base.added.values())
    learns = np.zeros(base.size, bool)
    begins = np.zeros(base.size, bool)
    for number, word in words.items():
        core = word if base.byte_level else word.strip(_BLANK)
        learns[number] = number not in outside and (base.byte_level or all(map(str.isalpha, core)))
        begins[number] = not base.byte_level and word.startswith(_BLANK)
    blank = np.asarray([bool(words.get(n)) and not words[n].strip(_BLANK) for n in range(base.size)])
    codes = np.arange(base.size, dtype=np.uint32) + 256
    codes[codes >= 0xD800] += 0x800
    for at in range(0, len(texts), _BATCH):
        for made in library.encode_batch(texts[at : at + _BATCH], add_special_tokens=False):
            ids = np.asarray(made.ids, np.int64)
            if not len(ids):
                continue
            cut = ~learns[ids]
            cut[1:] |= ~learns[ids[:-1]]
            if base.byte_level:
                word = np.asarray([-1 if n is None else n for n in made.word_ids])
                cut[1:] |= word[1:] != word[:-1]
            else:
                cut[1:] |= begins[ids[1:]] & ~blank[ids[:-1]]
            for number in np.unique(ids).tolist():
                symbols[chr(codes[number])] = words.get(number, "")
            row = np.insert(codes[ids], np.flatnonzero(cut), np.uint32(ord(_CUT)))
            yield row.astype("<u4").tobytes().decode("utf-32-le")


def _candidates(base: Base, rows: list[str], symbols: dict[str, str], count: int) -> tuple[list[str], int]:
    """(new tokens in the order they are learnt, a quarter more than `count`; pairs left out)."""
    from tokenizers import Tokenizer as Library
    from tokenizers import models, pre_tokenizers, trainers

    if count <= 0 or not rows:
        return [], 0
    made = Library(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Split(_CUT, "removed")
    alphabet = sorted(symbols)
    requested = len(alphabet) + count + count // 4 + 64
    trainer = trainers.BpeTrainer(
        vocab_size=requested, min_frequency=TWICE, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(rows, trainer)
    taken = base.vocabulary.keys() | base.added.keys()
    spelled, new, left_out = dict(symbols), dict[str, None](), 0
    for left, right in json.loads(made.to_str())["model"]["merges"]:
        word = spelled[left] + spelled[right] if left in spelled and right in spelled else None
        if word is None or word in taken:
            left_out += 1
            continue
        spelled[left + right] = word
        new[word] = None
    return list(new), left_out


def ways(base: Base, candidates: list[str], dropped: set[str], count: int) -> tuple[list[str], list[list[str]]]:
    """The first `count` candidates that can be made of two tokens that are there before them, and every way to make each: its merges."""
    special = {word for word, number in base.vocabulary.items() if number in set(base.added.values())}
    if not base.byte_level:
        special |= {f"<0x{byte:02X}>" for byte in range(256)}
    known = base.vocabulary.keys() - special
    kept, merges = [], []
    for word in candidates:
        cuts = [[word[:at], word[at:]] for at in range(1, len(word)) if word[:at] in known and word[at:] in known]
        if word in dropped or not cuts or len(kept) == count:
            continue
        kept.append(word)
        merges += cuts
        known.add(word)
    return kept, merges


def page_of(base: Base, new: list[str], merges: list[list[str]]) -> dict[str, Any]:
    """The base's tokenizer.json with `new` tokens and `merges` behind its own.

    Tokens beside the model get an entry in it as well: `tokenizers` numbers those anew, behind the model's, that have none.
    """
    page = json.loads(json.dumps(base.page))
    vocabulary = page["model"]["vocab"]
    for content, number in base.added.items():
        vocabulary.setdefault(content, number)
    for number, word in enumerate(new, base.size):
        vocabulary[word] = number
    old = page["model"]["merges"]
    joined = bool(old) and isinstance(old[0], str)
    page["model"]["merges"] = old + ([" ".join(pair) for pair in merges] if joined else merges)
    return page


def model_of(model: bytes, extension: Extension) -> bytes:
    """SentencePiece's model with the new pieces, scored below all others in their order."""
    from sentencepiece import sentencepiece_model_pb2 as protobuf

    proto = protobuf.ModelProto()
    proto.ParseFromString(model)
    lowest = min(piece.score for piece in proto.pieces)
    for rank, word in enumerate(extension.tokens, 1):
        proto.pieces.add(piece=word, score=lowest - rank)  # type 1, a piece, is the default
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return proto.SerializeToString(deterministic=True)


def parts(base: Base, new: list[str]) -> list[list[int]]:
    """Of each new token, the base's tokens it was written with."""
    model = base.library.model
    return [[piece.id for piece in model.tokenize(word)] for word in new]


def plain(page: dict[str, Any]) -> Any:
    """The `tokenizers.Tokenizer` of a tokenizer.json, to which special tokens in text are text."""
    return _plain(_library(page))


def _library(page: dict[str, Any]) -> Any:
    from tokenizers import Tokenizer as Library

    return Library.from_str(json.dumps(page))


def steps(merges: list[list[str]], lost: set[str]) -> set[str]:
    """Those of `lost` that tokens outside of it are made of, by one merge or several.

    >>> sorted(steps([["a", "b"], ["ab", "c"], ["c", "d"], ["cd", "e"]], {"ab", "cd", "cde"}))
    ['ab']
    """
    needed: set[str] = set()
    for left, right in reversed(merges):
        if left + right not in lost or left + right in needed:
            needed |= {left, right} & lost
    return needed


def unreached(base: Base, page: dict[str, Any], tokens: list[str], texts: Iterable[str]) -> set[str]:
    """Those of `tokens` that neither their own text nor one of `texts` is cut into."""
    new = _plain(_library(page))
    left = {base.size + number: word for number, word in enumerate(tokens)}
    alone = [new.decoder.decode([word]) if new.decoder else word for word in left.values()]
    for made in new.encode_batch_fast(alone, add_special_tokens=False):
        for number in made.ids:
            left.pop(number, None)
    for text in texts:
        if not left:
            break
        for number in set(new.encode(text, add_special_tokens=False).ids) & left.keys():
            del left[number]
    return set(left.values())


def moved(base: Base, page: dict[str, Any], texts: Iterable[str]) -> tuple[int, int]:
    """Of the distinct words of `texts`: (in how many no new token stands, how many are cut otherwise than by the base).

    A word is cut otherwise where no new token stands and its ids differ, or where it is cut in a position in which the base does not cut.
    """
    new = _plain(_library(page))
    words = sorted({word for text in texts for word in _spaced(text)})
    mine, theirs = (
        [one.ids for one in library.encode_batch_fast(words, add_special_tokens=False)]
        for library in (new, base.library)
    )
    sizes = _bytes_of(base, page)
    untouched = sum(max(ids, default=0) < base.size for ids in mine)
    other = sum(
        not _cuts(after, sizes) <= _cuts(before, sizes) or (max(after, default=0) < base.size and after != before)
        for after, before in zip(mine, theirs)
    )
    return untouched, other


def _bytes_of(base: Base, page: dict[str, Any]) -> dict[int, int]:
    """Bytes of the vocabulary's spelling of each id; one for the tokens of bytes."""
    single = {f"<0x{byte:02X}>" for byte in range(256)}
    return {
        number: len(word) if base.byte_level else 1 if word in single else len(word.encode())
        for word, number in page["model"]["vocab"].items()
    }


def _cuts(ids: list[int], sizes: dict[int, int]) -> set[int]:
    return set(accumulate(sizes[number] for number in ids))


def _spaced(text: str) -> Iterator[str]:
    """Words with a blank before each, as they stand in running text."""
    return (" " + word for word in text.split())
