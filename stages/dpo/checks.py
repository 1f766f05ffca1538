"""Is a pair worth training on? Pure checks of two answers, each with its own reason and its own number.

The reasons, in the order they are asked: `dpo.empty`, `dpo.equal`, `dpo.near_equal`, `dpo.truncated`, `dpo.wrong_language`,
`dpo.length_ratio`, `dpo.unrelated`, `dpo.refusal`. The first that applies is the row's reason, the ledger keeps all.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pipeline.unicode import compared
from stages.models.answer_checks import refuses, same_script

GRAM = 3
"""Characters a shingle has: short answers of two words still have some."""
SENTENCE_END = re.compile(r"[.!?。！？…](?=[\"'”’)\]」』]*(?:\s|$))[\"'”’)\]」』]*|\n")


class Limits(NamedTuple):
    """What a pair must keep to; see the stage's options for what each means and where its default comes from."""

    similarity_min: float = 0.0
    similarity_max: float = 0.95
    length_ratio: float = 2.0
    same_language: bool = True
    refusals: bool = False


class AnswerCheck(NamedTuple):
    """The reasons against a pair (none: it stands), and the numbers behind them."""

    reasons: list[str]
    similarity: float
    """Jaccard similarity of the answers' character 3-grams, 0..1."""
    length_ratio: float
    """Characters of the rejected answer over those of the chosen one."""


def check(chosen: str, rejected: str, truncated: bool, limits: Limits) -> AnswerCheck:
    """Hold a pair of answers to `limits`; `truncated` says that one was cut and is not to be used as it is."""
    one, two = plain(chosen), plain(rejected)
    alike = similarity(one, two)
    ratio = len(two) / len(one) if one else 0.0
    found = {
        "dpo.empty": not one or not two,
        "dpo.equal": bool(one) and one == two,
        "dpo.near_equal": one != two and alike >= limits.similarity_max,
        "dpo.truncated": truncated,
        "dpo.wrong_language": limits.same_language and bool(two) and not same_script(chosen, rejected),
        "dpo.length_ratio": bool(one and two) and not 1 / limits.length_ratio <= ratio <= limits.length_ratio,
        "dpo.unrelated": bool(one and two) and alike < limits.similarity_min,
        "dpo.refusal": not limits.refusals and refuses(chosen),
    }
    return AnswerCheck([reason for reason, holds in found.items() if holds], alike, ratio)


def plain(text: str) -> str:
    """As texts are compared (NFC), case folded, runs of white space as one blank."""
    return " ".join(compared(text).casefold().split())


def similarity(one: str, two: str) -> float:
    """Jaccard similarity of the sets of character 3-grams (a shorter text is one gram); 0 where both are empty.

    >>> similarity("abcd", "abcx")
    0.3333333333333333
    """
    left, right = grams(one), grams(two)
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def grams(text: str) -> set[str]:
    if len(text) <= GRAM:
        return {text} if text else set()
    return {text[at : at + GRAM] for at in range(len(text) - GRAM + 1)}


def whole(text: str, cut: bool, truncated: Literal["drop", "keep", "trim"]) -> tuple[str, bool]:
    """An answer as it is to be used, and whether it is to be refused as truncated; `cut` says it reached its length limit."""
    if not cut or truncated == "keep":
        return text.strip(), False
    ended = trim(text).strip() if truncated == "trim" else ""
    return (ended, False) if ended else (text.strip(), True)


def trim(text: str) -> str:
    """A cut answer up to the end of its last whole sentence or line; empty where it has none.

    >>> trim("One. Two is long. Thr"), trim("no end")
    ('One. Two is long.', '')
    """
    last = None
    for last in SENTENCE_END.finditer(text):
        pass
    return text[: last.end()].rstrip() if last else ""


def as_long_as(text: str, label: str, draw: float) -> str:
    """`text` cut to the label's length times 0.7 to 1.7 (`draw`, 0..1, decides; 1.2 in the middle); a shorter one as it is.

    A student too small to end its answers writes until its limit: without this, length alone would tell the sides apart.
    """
    return text[: max(1, round(len(label) * (0.7 + draw)))].rstrip()
