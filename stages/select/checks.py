"""What speaks against a conversation by itself: pure, with a reason of its own each. The first is the row's, the ledger keeps all."""

from __future__ import annotations

from typing import Any

from pipeline.schema import speaks, words_of
from stages.models.answer_checks import leaks, refuses, repetition, same_script


def reasons(row: dict[str, Any], stage: Any) -> tuple[list[str], float]:
    """The reasons against a row, and its answer's repetition."""
    messages = row["messages"] or []
    if len(messages) < 2 or messages[-1]["role"] != "assistant" or not speaks(messages[-1]):
        return ["select.no_answer"], 0.0
    answer = (messages[-1]["content"] or "").strip()
    written = len("\n".join(words_of({**messages[-1], "content": answer, "reasoning": None})))
    question = next((m["content"] or "" for m in reversed(messages[:-1]) if m["role"] == "user"), "")
    again = repetition(answer)
    licence = row["licence"] or "none"
    terms = next((entry["value"] for entry in row["meta"] or [] if entry["key"] == "teacher_licence"), None)
    generated = terms is not None or (row["rule"] or "").startswith("teacher.")
    found = {
        "select.short": written < stage.min_chars,
        "select.long": written > stage.max_chars,
        "select.language": bool(stage.languages and row["lang"] not in stage.languages)
        or (stage.same_language and not same_script(question, answer)),
        "select.repetition": again > stage.max_repetition,
        "select.refusal": not stage.refusals and refuses(answer),
        "select.template_leak": not stage.leaks and any(map(leaks, (*words_of(messages[-1]), question))),
        "select.licence": bool(stage.licences and licence not in stage.licences) or licence in stage.without_licences,
        "select.teacher_terms": stage.teacher_licences is not None
        and generated
        and (terms or "none") not in stage.teacher_licences,
    }
    return [reason for reason, holds in found.items() if holds], again
