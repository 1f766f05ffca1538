"""How byte-level BPE cuts text before it learns or merges anything: no token crosses a border of these expressions.

They are those of the models they are named after, letter by letter, so that every library that knows the model knows them. With
`hangul` a run of Hangul is cut off from what stands beside it, and with `particle` from its particle: by form alone, so that
고양이 is cut before 이 as 사람이 is. Each expression is read alike by tokenizers (Oniguruma) and tiktoken (fancy-regex).
"""

from __future__ import annotations

from typing import Literal

Family = Literal["gpt4o", "llama3", "qwen"]
Digits = Literal["one", "three"]
Hangul = Literal["pattern", "eojeol", "particle"]

_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_FRONT = r"[^\r\n\p{L}\p{N}]?"
_THREE, _ONE = r"|\p{N}{1,3}|", r"|\p{N}|"
_BREAKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = _SUFFIX + "|" + _FRONT + r"\p{L}+"
PATTERNS: dict[str, str] = {
    "gpt4o": f"{_FRONT}[{_UPPER}]*[{_LOWER}]+{_SUFFIX}?|{_FRONT}[{_UPPER}]+[{_LOWER}]*{_SUFFIX}?"
    + _THREE + r" ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _BREAKS,
    "llama3": _WORDS + _THREE + r" ?[^\s\p{L}\p{N}]+[\r\n]*|" + _BREAKS,
    "qwen": _WORDS + _ONE + r" ?[^\s\p{L}\p{N}]+[\r\n]*|" + _BREAKS,
}  # fmt: skip
"""o200k_base of OpenAI, Llama 3, Qwen 2 to 3."""
PARTICLES = (
    "으로부터", "에서부터", "에서는", "에서도", "에게는", "에게서", "으로는", "으로도", "으로써", "으로서", "까지는", "까지도", "부터는", "이라는", "이라고",
    "에서", "에게", "에는", "에도", "으로", "로는", "로도", "로서", "로써", "부터", "까지", "보다", "처럼", "마다", "조차", "마저", "밖에", "이나", "이며", "이란",
    "라는", "라고", "하고", "만을", "만이", "들은", "들이", "들을", "들의",
    "은", "는", "이", "가", "을", "를", "의", "에", "와", "과", "도", "로", "만",
)  # fmt: skip
"""Case and topic particles and their usual pairs, the longest first."""


def expression(family: Family, digits: Digits | None = None, hangul: Hangul = "pattern") -> str:
    """The regular expression whose matches are cut apart; they cover every text.

    >>> expression("qwen") == PATTERNS["qwen"], expression("llama3", "one") == PATTERNS["qwen"]
    (True, True)
    """
    found = PATTERNS[family]
    if digits is not None:
        found = found.replace(_THREE, _ONE) if digits == "one" else found.replace(_ONE, _THREE)
    if hangul == "pattern":
        return found
    for letters in (f"[{_UPPER}]", f"[{_LOWER}]"):
        found = found.replace(letters, f"[{letters}&&[^\\p{{Hangul}}]]")
    found = found.replace(r"\p{L}+", r"[\p{L}&&[^\p{Hangul}]]+")
    run = r" ?\p{Hangul}+"
    if hangul == "particle":
        named = "|".join(PARTICLES)
        end = rf"(?:{named})(?!\p{{Hangul}})"
        run = rf"(?<=\p{{Hangul}}){end}| ?\p{{Hangul}}+?(?={end})|{run}"
    return f"{run}|{found}"
