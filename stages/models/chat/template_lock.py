"""The template lock: what a probe conversation becomes, token by token, kept with every model that was trained on it.

A model fine-tuned under one template and used under another gives worse answers and no error. So the tokens of one fixed
conversation (both languages, three roles, blanks, line breaks, an emoji, an open answer) are written into the artefact, and
whoever loads it renders the probe again: a difference is refused with the first tokens that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.errors import UsageError
from pipeline.options import digest

PROBE = (
    {"role": "system", "content": "You answer briefly. 짧게 답합니다."},
    {"role": "user", "content": "맷돌은 무엇에 씁니까?\n\n  What is a millstone for? 🌾"},
    {"role": "assistant", "content": "곡식을 갑니다. It grinds grain."},
    {"role": "user", "content": "1 + 1 = ?"},
)
"""The conversation; a template that refuses system messages is probed without the first."""


ACTING = (
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": "", "reasoning": "I look.", "tool_calls": [{"id": "c12345678", "name": "look", "arguments": '{"at": "Seoul"}'}]},
    {"role": "tool", "content": "21 C", "name": "look", "tool_call_id": "c12345678"},
    {"role": "assistant", "content": "21 C.", "reasoning": "I say it."},
    {"role": "user", "content": "thanks"},
)  # fmt: skip
"""The second one: a tool called, its result, reasoning before both. A template that shows no tools has none."""
TOOLS = '[{"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}}]'


def lock_of(chat: Any) -> dict[str, Any]:
    """`{"hash": 32 hex, "tokens": [...], "ids": [...]}` of the probe under `chat` (a `stages.models.chat.templates.Chat`); with `acting`,
    the same of the second probe (None where the template shows no tools), and `date`, the day every template takes for today."""
    from stages.models.chat.templates import DATE, ChatFault

    try:
        lock = _rendered(chat, PROBE)
    except ChatFault:
        lock = _rendered(chat, PROBE[1:])
    try:
        acting = _rendered(chat, ACTING, TOOLS)
    except ChatFault:
        acting = None
    return {**lock, "acting": acting, "date": DATE.date().isoformat()}


def _rendered(chat: Any, messages: Sequence[dict[str, Any]], tools: str | None = None) -> dict[str, Any]:
    ids = chat.prompt(messages, tools).tolist()
    tokens = chat.tokenizer.convert_ids_to_tokens(ids)
    return {"hash": digest([ids, tokens]), "ids": ids, "tokens": tokens}


def check_lock(held: dict[str, Any] | None, chat: Any, what: str) -> None:
    """UsageError that shows the first differing tokens when `chat` renders the probe otherwise than `held`. None passes."""
    if held is None:
        return
    now = lock_of(chat)
    differs = difference(held["tokens"], now["tokens"]) if now["hash"] != held["hash"] else ""
    if not differs and "acting" in held:  # not in cards of before
        before, after = held["acting"] or {"hash": "", "tokens": []}, now["acting"] or {"hash": "", "tokens": []}
        differs = difference(before["tokens"], after["tokens"]) if before["hash"] != after["hash"] else ""
        differs = f"with tools, {differs}" if differs else ""
    if not differs:
        return
    raise UsageError(
        f"{what} was trained under another chat template or tokenizer: {differs}",
        "give the tokenizer that stands in the model's own artefact folder, or fine-tune again under this one",
    )


def difference(held: list[str], now: list[str], around: int = 4) -> str:
    """Where two token lists part, with a few tokens of each: `at token 7: trained on [...], given [...]`."""
    at = next((i for i, (a, b) in enumerate(zip(held, now)) if a != b), min(len(held), len(now)))
    return f"at token {at}: trained on {held[at : at + around]}, given {now[at : at + around]}"
