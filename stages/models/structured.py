"""What a teacher writes when it is asked for instructions and answers: read strictly, repaired once, checked on sight."""

from __future__ import annotations

import json
import re
from typing import Any


def pairs_in(text: str) -> tuple[list[tuple[str, str]] | None, str]:
    """(instruction, answer) pairs of a teacher's reply, or None and what is wrong. One repair: fences and words around the
    one JSON value are cut away."""
    value, fault = _json(text)
    if fault:
        return None, fault
    if isinstance(value, dict):
        value = value.get("pairs", [value])
    if not isinstance(value, list):
        return None, "the answer is not a JSON list"
    pairs = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("instruction"), str) or not isinstance(item.get("answer", ""), str):
            return None, "an item lacks `instruction` or `answer` as text"
        pairs.append((item["instruction"].strip(), item.get("answer", "").strip()))
    return pairs, ""


def _json(text: str) -> tuple[Any, str]:
    bare = re.sub(r"^\s*```[a-zA-Z]*\s*|\s*```\s*$", "", text)
    spans = [(bare.find(a), bare.rfind(b)) for a, b in ("[]", "{}")]
    first = min(((a, b) for a, b in spans if 0 <= a < b), default=None)
    for attempt in (text, bare[first[0] : first[1] + 1] if first else ""):
        try:
            return json.loads(attempt), ""
        except (ValueError, RecursionError):
            continue
    return None, "the answer is not JSON"


REFUSAL = re.compile(
    r"\b(?:as an ai|i(?:'m| am) sorry,? but|i cannot (?:help|assist|answer|provide)|i can't (?:help|assist|answer|provide)|language model)\b|"
    r"죄송하지만|죄송합니다만|답변(?:을|해)? ?드릴 수 없|도와드릴 수 없|인공지능(?: 언어 모델)?(?:로서|이므로)|AI 언어 ?모델",
    re.IGNORECASE,
)
LEAK = re.compile(r"\[(?:입력|출력|맥락|Input|Output|Context)\]|<\|[a-z_]+\|>|\[/?INST\]|###\s*(?:Instruction|Response|Input)", re.IGNORECASE)
DEICTIC = re.compile(r"(?:위|이|아래|본|주어진|제시된|해당) (?:글|본문|문서|문단|지문|텍스트)|\b(?:the|this) (?:text|passage|article|input|document)\b|\babove\b", re.IGNORECASE)


def fault_in(instruction: str, answer: str) -> str | None:
    """The ledger word of what makes a generated pair unfit on sight; None when nothing does."""
    if not instruction or not answer:
        return "teacher.bad_answer"
    if LEAK.search(instruction) or LEAK.search(answer):
        return "teacher.template_leak"
    if REFUSAL.search(answer[:300]):
        return "teacher.refusal"
    if DEICTIC.search(instruction):
        return "teacher.unclear"
    return None
