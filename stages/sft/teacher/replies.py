"""The teacher's part: which passages it is asked about, and what becomes of its replies.

Only passages that no mined row covers are asked about (hand-written answers are taken wherever their page turns up). Replies
are kept raw in a pass of their own, so that parsing, grounding and checking can change without a call being made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.schema import STR, child_id
from stages.models.teacher.base import NOT_RECORDED, Reply, Request, Sampling
from stages.sft.grounding import Grounding, Passage, supporting
from stages.sft.mine import STAGE, hashed
from stages.sft.page import Page, TextSpan, comparison_key, language
from stages.sft.passages import prose
from stages.sft.rule import other_language
from stages.sft.teacher import asks
from stages.text.language.particles import stem, words

REPLIES = pa.schema(
    [
        pa.field("id", STR, nullable=False),
        ("doc_id", STR),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("task", STR),
        ("text", STR),
        ("reason", STR),
        ("note", STR),
        ("key", STR),
        ("model", STR),
        ("written_by", STR),
        ("rating", pa.float64()),
    ]
)
"""One raw reply per (document, passage, task)."""


class Ask(NamedTuple):
    """One question to the teacher about one passage."""

    id: str
    page: Page
    span: TextSpan
    task: str


def free_passages(page: Page, taken: Iterable[tuple[int, int]], least: int, most: int, count: int) -> list[TextSpan]:
    """Up to `count` runs of prose that no taken span touches, each of `least` to `most` characters, in the order of the text."""
    spans = sorted(taken)
    free = [s for s in prose(page, 40) if not any(a < s.end and s.start < b for a, b in spans)]
    out: list[TextSpan] = []
    run: TextSpan | None = None
    for span in free:
        if run is not None and span.end - run.start <= most and not any(run.end <= a < span.start for a, _ in spans):
            run = TextSpan(run.start, span.end)
            continue
        if run is not None and run.end - run.start >= least:
            out.append(run)
        run = span if span.end - span.start <= most else None
    if run is not None and run.end - run.start >= least:
        out.append(run)
    return out[:count]


def request_of(
    ask: Ask, sampling: Sampling, pairs: int, persona: str = "", shots: int = 1, steps: bool = False
) -> Request:
    page = ask.page
    prompt = asks.prompt_for(ask.task, page.lang, pairs, persona, shots, steps)
    return Request(ask.id, prompt.render(page.cut(ask.span)), sampling, ask.task, page.url, page.id)


def asks_per_task(page: Page, spans: Sequence[TextSpan], tasks: Sequence[str]) -> Iterator[Ask]:
    if page.lang is None:
        return
    for number, span in enumerate(spans):
        for task in tasks:
            yield Ask(child_id(page.id, STAGE, f"teacher.{task}", number), page, span, task)


def reply_row(ask: Ask, reply: Reply, rating: float | None = None) -> dict[str, Any]:
    return {
        "id": ask.id, "doc_id": ask.page.id, "start": ask.span.start, "end": ask.span.end, "task": ask.task, "text": reply.text,
        "reason": reply.reason, "note": reply.note, "key": reply.key, "model": reply.model, "written_by": reply.written_by, "rating": rating,
    }  # fmt: skip


class Parsed(NamedTuple):
    """What one reply gave: rows, and drop reasons with notes (never words of the answer)."""

    rows: list[dict[str, Any]]
    drops: list[str]
    notes: list[str]


def read_reply(
    page: Page, reply: dict[str, Any], gate: Grounding, least_rating: int, facts: dict[str, str], confidence: float
) -> Parsed:
    """Parse, check and ground one raw reply."""
    if reply["reason"]:
        drops = [] if reply["reason"] == NOT_RECORDED else [reply["reason"]]
        return Parsed([], drops, [reply["note"]] if reply["note"] and drops else [])
    span = TextSpan(reply["start"], reply["end"])
    passage = page.cut(span)
    pairs, fault = asks.pairs_in(reply["text"] or "")
    if pairs is None and reply["task"] == "backtranslate":
        pairs, fault = [(" ".join((reply["text"] or "").split()), "")], ""
    if pairs is None:
        return Parsed([], ["teacher.bad_answer"], [fault])
    if reply["task"] == "backtranslate":
        if reply["rating"] is not None and reply["rating"] < least_rating:
            return Parsed([], ["teacher.low_rating"], [f"rated {reply['rating']:g}"])
        pairs = [(instruction, passage) for instruction, _ in pairs[:1]]
    parsed = Parsed([], [], [])
    ground = Passage(passage)
    for number, (instruction, answer) in enumerate(pairs):
        reason, note, coverage = _evaluated(instruction, answer, passage, ground, gate, bool(reply["written_by"]))
        if reason:
            parsed.drops.append(reason)
            parsed.notes.extend([note] if note else [])
            continue
        own = {
            **facts,
            "task": reply["task"],
            "grounding": f"{coverage:.3f}",
            "teacher": reply["model"],
            "call": reply["key"],
        }
        if reply["written_by"]:
            own["written_by"] = reply["written_by"]
        parsed.rows.append(
            _row(page, reply, number, instruction, answer, _source_span(page, span, answer, ground), own, confidence)
        )
    return parsed


def _evaluated(
    instruction: str, answer: str, passage: str, ground: Passage, gate: Grounding, by_hand: bool
) -> tuple[str | None, str, float]:
    """(reason, note, coverage). What a person wrote for the page is measured and not dropped."""
    if answer == passage:
        return asks.fault_in(instruction, answer), "", 1.0
    fault = asks.fault_in(instruction, answer) or (
        "teacher.other_language" if other_language(instruction, answer) else None
    )
    if fault is None and comparison_key(instruction) == comparison_key(answer):
        fault = "teacher.bad_answer"
    if fault and not by_hand:
        return fault, "", 0.0
    found = gate.check(answer, ground)
    if found.reason and not by_hand:
        return found.reason, found.faults[0].note(), found.coverage
    return None, "", found.coverage


def _source_span(page: Page, span: TextSpan, answer: str, ground: Passage) -> TextSpan:
    """Where the answer stands: itself, else the sentences that support it, else the passage."""
    found = page.text.find(answer, span.start, span.end)
    if found >= 0:
        return TextSpan(found, found + len(answer))
    rows = supporting([stem(w) for w in words(answer)], ground)
    if not rows:
        return span
    return TextSpan(
        span.start + min(ground.spans[r][0] for r in rows), span.start + max(ground.spans[r][1] for r in rows)
    )


def _row(
    page: Page,
    reply: dict[str, Any],
    number: int,
    instruction: str,
    answer: str,
    span: TextSpan,
    facts: dict[str, str],
    confidence: float,
) -> dict[str, Any]:
    rule = f"teacher.{reply['task']}"
    return {
        "id": child_id(reply["id"], STAGE, rule, number),
        "messages": [{"role": "user", "content": instruction}, {"role": "assistant", "content": answer}],
        "lang": language(instruction + "\n" + answer) or page.lang,
        "source": page.row.get("source"),
        "url": page.row.get("url"),
        "licence": page.row.get("licence"),
        "doc_id": page.id,
        "span_start": span.start,
        "span_end": span.end,
        "rule": rule,
        "confidence": confidence,
        "meta": [{"key": key, "value": value} for key, value in sorted(facts.items())],
        "question_hash": hashed(comparison_key(instruction)),
        "answer_hash": hashed(comparison_key(answer)),
        "page_hash": hashed(page.url or page.id),
        "host": page.host,
        "markup": False,
        "covers": True,
    }


def sampling_fact(sampling: Sampling) -> str:
    """Sampling parameters as they stand in a row's meta."""
    return json.dumps(sampling.sent(), sort_keys=True)
