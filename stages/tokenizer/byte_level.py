"""Byte-level BPE: trained with the `tokenizers` library, written so that it, tiktoken and transformers give the same ids.

    tokenizer.json             the vocabulary with every way to make a token of two others as a merge, in the order of the ids
    tokenizer_config.json      what `AutoTokenizer` reads
    ranks.tiktoken             the same tokens as tiktoken's ranks; tiktoken.json holds the expression and the special tokens

tiktoken merges whatever makes a token, the lowest id first, and takes a whole match that is a token as it is. So the merges written
here are not the trained ones alone but all of them (as transformers converts tiktoken's files), with `ignore_merges`.

With `characters` other than `bytes` it is trained over characters, not bytes: those covered get the merges that put them together
first, so that nothing is merged across a half character. Ids: 256 bytes, tokens in the order they were learnt, special tokens last.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import OptionError, UsageError, WorkError
from stages.models.byte_letters import spelled
from stages.models.encoder import BYTE_LEVEL

BASE = ("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>")
"""Special tokens after the learnt ones, in this order; the chat symbols follow."""
SYLLABLES = range(0xAC00, 0xD7A4)
_UNKNOWN = "\0"
"""Stands for a character that gets no token while the trainer reads characters: nothing is learnt across it."""
TWICE = 2
"""A pair is merged from this often on."""


class BytePlan(NamedTuple):
    """What the trainer is asked for."""

    vocab_size: int
    """Special tokens included."""
    expression: str
    """Cuts texts before anything is learnt."""
    symbols: tuple[str, ...]
    characters: str
    """`bytes`, `whole`, `hangul`."""
    character_coverage: float
    hard_limit: bool

    @property
    def room(self) -> int:
        """Tokens that are not special."""
        return self.vocab_size - len(BASE) - len(self.symbols)


def fit(plan: BytePlan, texts: Callable[[], Iterable[str]]) -> list[bytes]:
    """The tokens by id, special ones left out: 256 bytes, then what was learnt, at most `plan.room`. `texts` gives them anew each time.

    OptionError where characters alone need more room, or where fewer are learnt and `hard_limit` is set; WorkError where there is
    no text.
    """
    seen: Counter[str] = Counter()
    if plan.characters != "bytes":
        for text in texts():
            seen.update(text)
    characters = covered(seen, plan) if plan.characters != "bytes" else []
    tokens = [bytes([byte]) for byte in range(256)] + assembled(characters)
    if len(tokens) > plan.room:
        raise OptionError(
            f"tokenizer: vocab_size {plan.vocab_size} does not hold the characters of the sample (at least {len(tokens) + plan.vocab_size - plan.room})",
            "raise vocab_size, lower character_coverage, or use `characters: bytes`",
        )
    known = set(tokens)
    for token in learnt(plan, texts(), characters, plan.room - len(tokens)):
        if token not in known:
            known.add(token)
            tokens.append(token)
    if len(tokens) == 256:
        raise WorkError(
            "tokenizer: no text to learn from",
            "give a store whose documents have text; see the ledger for why each was left out",
        )
    if len(tokens) < plan.room and plan.hard_limit:
        most = len(tokens) + plan.vocab_size - plan.room
        raise OptionError(
            f"tokenizer: the sample supports {most} tokens, not {plan.vocab_size}",
            f"set vocab_size to at most {most}, give more text, or leave out hard_limit",
        )
    return tokens


def covered(seen: Counter[str], plan: BytePlan) -> list[str]:
    """Characters that get a token: the most frequent until `character_coverage` of all is reached, with `hangul` every syllable too; in
    the order of their code points."""
    total, reached, found = sum(seen.values()), 0, set()
    for char, count in sorted(seen.items(), key=lambda item: (-item[1], item[0])):
        if reached >= plan.character_coverage * total:
            break
        reached += count
        found.add(char)
    if plan.characters == "hangul":
        found |= {chr(code) for code in SYLLABLES}
    return sorted(found - {_UNKNOWN})


def assembled(characters: list[str]) -> list[bytes]:
    """The tokens that lead from bytes to each character: its first two bytes, three, four.

    >>> assembled(["콩", "콪"]) == ["콩".encode()[:2], "콩".encode(), "콪".encode()]
    True
    """
    found: dict[bytes, None] = {}
    for char in characters:
        raw = char.encode()
        for end in range(2, len(raw) + 1):
            found[raw[:end]] = None
    return sorted(found, key=lambda token: (len(token), token))


def learnt(plan: BytePlan, texts: Iterable[str], characters: list[str], count: int) -> list[bytes]:
    """The next `count` tokens in the order they are learnt, or as many as the texts support."""
    try:
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    except ImportError:
        raise UsageError("byte_bpe needs tokenizers, which is not installed", "pip install 'maetdol[train]'") from None
    from stages.models.byte_letters import read

    if count <= 0:
        return []
    made = Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(plan.expression), "isolated")
    alphabet = characters + [chr(byte) for byte in range(128) if chr(byte) not in set(characters)]
    if characters:
        kept = set(alphabet)
        made.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.Split(_UNKNOWN, "removed")])
        texts = ("".join([char if char in kept else _UNKNOWN for char in text]) for text in texts)
    else:
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + count,
        min_frequency=TWICE,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    made.train_from_iterator(iter(texts), trainer)
    words = [left + right for left, right in json.loads(made.to_str())["model"]["merges"]]
    return [word.encode() if characters else read(word) or b"" for word in words]


def merges(tokens: list[bytes]) -> list[list[str]]:
    """Every way to make a token of two others, in the order of the tokens, then of their parts.

    >>> merges([b"a", b"b", b"c", b"ab", b"bc", b"abc"])
    [['a', 'b'], ['b', 'c'], ['a', 'bc'], ['ab', 'c']]
    """
    ids = {token: number for number, token in enumerate(tokens)}
    found = []
    for token in tokens:
        ways = [
            (ids[token[:cut]], ids[token[cut:]])
            for cut in range(1, len(token))
            if token[:cut] in ids and token[cut:] in ids
        ]
        found += [[spelled(tokens[left]), spelled(tokens[right])] for left, right in sorted(ways)]
    return found


def write(tokens: list[bytes], plan: BytePlan, folder: Path, template: str) -> None:
    """Fill `folder` (created) with the files named above and the chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    special = {symbol: len(tokens) + number for number, symbol in enumerate((*BASE, *plan.symbols))}
    _json(folder / "tokenizer.json", library(tokens, plan.expression, special))
    _json(folder / "tokenizer_config.json", config(plan.symbols))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    ranks = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    (folder / "ranks.tiktoken").write_text("".join(ranks), encoding="ascii")
    _json(folder / "tiktoken.json", {"pat_str": plan.expression, "special_tokens": special})


def library(tokens: list[bytes], expression: str, special: dict[str, int]) -> dict[str, Any]:
    """The `tokenizer.json` of the `tokenizers` library."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
        "vocab": {spelled(token): number for number, token in enumerate(tokens)}, "merges": merges(tokens),
    }  # fmt: skip
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number, "content": text, **flags} for text, number in special.items()],
        "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": None, "decoder": level, "model": model,
    }  # fmt: skip


def config(symbols: tuple[str, ...]) -> dict[str, Any]:
    """The `tokenizer_config.json`: nothing is added before or after a text."""
    begin, end, pad = BASE
    return {
        **BYTE_LEVEL,
        "bos_token": begin,
        "eos_token": end,
        "pad_token": pad,
        "extra_special_tokens": list(symbols),
        "model_max_length": 1 << 30,
    }


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
