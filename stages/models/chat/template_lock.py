"""The template lock: what a probe conversation becomes, token by token, kept with every model that was trained on it.

A model fine-tuned under one template and used under another gives worse answers and no error. So the tokens of one fixed
conversation (both languages, three roles, blanks, line breaks, an emoji, an open answer) are written into the artefact, and
whoever loads it renders the probe again: a difference is refused with the first tokens that differ.
"""

from __future__ import annotations

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


def lock_of(chat: Any) -> dict[str, Any]:
    """`{"hash": 32 hex, "tokens": [...], "ids": [...]}` of the probe under `chat` (a `stages.models.chat.templates.Chat`)."""
    from stages.models.chat.templates import ChatFault

    try:
        ids = chat.prompt(PROBE)
    except ChatFault:
        ids = chat.prompt(PROBE[1:])
    tokens = chat.tokenizer.convert_ids_to_tokens(ids.tolist())
    return {"hash": digest([ids.tolist(), tokens]), "ids": ids.tolist(), "tokens": tokens}


def check_lock(held: dict[str, Any] | None, chat: Any, what: str) -> None:
    """UsageError that shows the first differing tokens when `chat` renders the probe otherwise than `held`. None passes."""
    if held is None:
        return
    now = lock_of(chat)
    if now["hash"] == held["hash"]:
        return
    raise UsageError(
        f"{what} was trained under another chat template or tokenizer: {difference(held['tokens'], now['tokens'])}",
        "give the tokenizer that stands in the model's own artefact folder, or fine-tune again under this one",
    )


def difference(held: list[str], now: list[str], around: int = 4) -> str:
    """Where two token lists part, with a few tokens of each: `at token 7: trained on [...], given [...]`."""
    at = next((i for i, (a, b) in enumerate(zip(held, now)) if a != b), min(len(held), len(now)))
    return f"at token {at}: trained on {held[at : at + around]}, given {now[at : at + around]}"
