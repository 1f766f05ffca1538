"""Labels at the head of a line: `Q:`, `[질문]`, `답변 2.`, `**Answer**`."""

from __future__ import annotations

import re
from typing import NamedTuple

from stages.sft.page import Page

ASKS = "question q 질문 물음 문의 문 묻다 묻습니다 물어봅니다".split()
ANSWERS = "answer ans a 답변 대답 응답 답 답하다 답합니다".split()
_LABEL = re.compile(
    r"^[ \t>*_#\-–—•·▶▷■□◆◇●○※]{0,8}(?P<open>[\[【(（<〈]?)[ \t]*"
    rf"(?P<label>{'|'.join([*ASKS, *ANSWERS])})[ \t]*(?P<dot>\.?)[ \t]*(?P<number>\d{{0,3}})[ \t]*"
    r"(?P<close>[\])】）>〉]?)(?P<mark>[*_]{0,2}[ \t]*[:：.)]?[*_]{0,2})(?P<gap>[ \t]+|$|(?<=[:：\])】）>〉]))",
    re.MULTILINE | re.IGNORECASE,
)


class Label(NamedTuple):
    """A label at the head of a line: `asks` or answers, its number (may be empty), where its line starts and its text."""

    asks: bool
    number: str
    start: int
    text: int


def labels(page: Page) -> list[Label]:
    """Every label in the text. A bare word is no label: it needs brackets, a mark, a number, bold, or a line of its own."""
    found = []
    for match in _LABEL.finditer(page.text):
        word = match["label"].lower()
        alone = page.text[match.end() : match.end() + 1] in ("", "\n")
        bracketed = bool(match["open"] and match["close"])
        bold = (
            match["mark"].startswith(("*", "_"))
            and page.text[match.start() : match.start("label")].strip()[-1:] in "*_"
        )
        numbered = bool(match["number"]) and len(word) > 1 or bool(match["number"]) and match["label"] in "QA문답"
        if not (
            bracketed
            or match["dot"]
            or match["mark"].strip(" \t*_")
            or bold
            or numbered
            or (alone and (len(word) > 1 or match["label"] in "QA"))
        ):
            continue
        if not page.in_code(match.start()):
            found.append(Label(word in ASKS, match["number"], match.start(), match.end()))
    return found
