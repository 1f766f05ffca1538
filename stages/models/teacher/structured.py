"""What a teacher writes when it is asked for instructions and answers: found among its words, read strictly, checked on sight."""

from __future__ import annotations

import re
from typing import Any

from stages.models.answer_checks import leaks, refuses
from stages.models.teacher.reply import objects


def pairs_in(text: str) -> tuple[list[tuple[str, str]] | None, str]:
    """(instruction, answer) pairs of a teacher's reply, or None and what is wrong: of its JSON values the last that holds pairs (a
    list, an object with `pairs`, one pair, or pairs line by line); with none that does, what is wrong with the last."""
    fault = "the answer is not JSON"
    for group in reversed(objects(text)):
        pairs, why = _pairs(group)
        if pairs is not None:
            return pairs, ""
        fault = why if fault == "the answer is not JSON" else fault
    return None, fault


def _pairs(group: list[Any]) -> tuple[list[tuple[str, str]] | None, str]:
    value = group[0] if len(group) == 1 else group
    if isinstance(value, dict):
        value = value.get("pairs", [value])
    if not isinstance(value, list):
        return None, "the answer is not a JSON list"
    pairs = []
    for item in value:
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("instruction"), str)
            or not isinstance(item.get("answer", ""), str)
        ):
            return None, "an item lacks `instruction` or `answer` as text"
        pairs.append((item["instruction"].strip(), item.get("answer", "").strip()))
    return pairs, ""


DEICTIC = re.compile(
    r"(?:위|이|아래|본|주어진|제시된|해당) (?:글|본문|문서|문단|지문|텍스트)|\b(?:the|this) (?:text|passage|article|input|document)\b|\babove\b",
    re.IGNORECASE,
)


def fault_in(instruction: str, answer: str) -> str | None:
    """The ledger word of what makes a generated pair unfit on sight; None when nothing does."""
    if not instruction or not answer:
        return "teacher.bad_answer"
    if leaks(instruction) or leaks(answer):
        return "teacher.template_leak"
    if refuses(answer):
        return "teacher.refusal"
    if DEICTIC.search(instruction):
        return "teacher.unclear"
    return None
