"""Answers as rows of tokens: a conversation, or both sides of a preference, masked so that only answers are asked for.

Training and evaluation go through the same two functions, so that what is measured is what was trained. Nothing is cut to
fit: a conversation longer than the context would lose its answer, so it is refused with a reason.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from stages.models.chat.rows import IGNORED, EncodedSegment, Row, join, segment
from stages.models.chat.templates import Chat, ChatFault


class Pair(NamedTuple):
    """Both sides of a preference, each one segment: the prompt as context, the answer asked for."""

    chosen: Row
    rejected: Row


def encode_pair(
    chat: Chat, prompt: list[dict], chosen: list[dict], rejected: list[dict], width: int, tools: str | None = None
) -> tuple[Pair | None, str | None]:
    """Both sides as rows of one segment, or the reason why not (`pair.equal` beside those of one conversation)."""
    compared = ("content", "reasoning", "tool_calls")
    if [[m.get(name) for name in compared] for m in chosen] == [[m.get(name) for name in compared] for m in rejected]:
        return None, "pair.equal"
    sides = []
    for answer in (chosen, rejected):
        turns = sum(m["role"] == "assistant" for m in answer)
        part, reason = encode_chat(chat, [*prompt, *answer], width, turns, tools) if turns else (None, "chat.no_answer")
        if part is None or reason:
            return None, reason
        sides.append(join([part]))
    return Pair(*sides), None


def trained_tokens(part: Any) -> int:
    """Tokens asked for in a segment or row."""
    return 0 if part is None else int((part.labels != IGNORED).sum())


def encode_chat(
    chat: Chat, messages: list[dict], width: int, turns: int | None, tools: str | None = None
) -> tuple[EncodedSegment | None, str | None]:
    try:
        encoded = chat.encode(messages, turns, tools)
    except ChatFault as fault:
        return None, fault.reason
    if len(encoded.ids) > width:
        return None, "chat.over_context"
    part = segment(encoded.ids, encoded.trained, encoded.unseen)
    return (part, None) if trained_tokens(part) else (None, "chat.all_masked")
