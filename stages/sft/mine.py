"""Mining one shard: every rule over every page, candidates checked, told apart, and turned into rows with their provenance.

What a later pass needs to judge a row across pages (hashes of its question and answer, its host) stands in extra columns of
the pass's store and not in the final one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import xxhash

from pipeline.schema import CHAT, STR, child_id
from pipeline.storage.ledger import Ledger
from stages.sft.page import Page, comparison_key, language
from stages.sft.rule import Candidate, MiningRule

FOUND = pa.schema(
    [
        *CHAT,
        ("question_hash", pa.uint64()),
        ("answer_hash", pa.uint64()),
        ("page_hash", pa.uint64()),
        ("host", STR),
        ("markup", pa.bool_()),
        ("covers", pa.bool_()),
    ]
)
"""A CHAT row as found, with what the passes over all pages need."""
NO_INSTRUCTION = "sft.no_instruction"
STAGE = "sft"


@dataclass
class Yield:
    """What one document gave: rows that stand, and drop reasons of those that do not, in rule order."""

    id: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)
    found: Counter = field(default_factory=Counter)
    """Candidates by rule, kept or not."""
    notes: list[str] = field(default_factory=list)
    """What a teacher's answer failed on; no words of it."""


def hashed(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def mine(rules: Sequence[MiningRule], row: dict[str, Any], seed: int) -> Yield:
    """Every rule over one DOCUMENT row, in order of rank."""
    page = Page(row, seed)
    out = Yield(page.id)
    seen_questions: dict[str, tuple[str, set[str]]] = {}
    for rule in sorted(rules, key=lambda rule: (rule.rank, rule.word)):
        name = rule.word
        for ordinal, candidate in enumerate(rule.find(page)):
            resolve_span(candidate, page)
            rule.checked(candidate, page)
            out.found[name] += 1
            if candidate.drop is None and repeated(candidate, name, seen_questions):
                candidate.drop = "duplicate"
            if candidate.drop:
                out.drops.append(f"{name}.{candidate.drop}")
            else:
                out.rows.append(found_row(page, rule, ordinal, candidate))
    return out


def resolve_span(candidate: Candidate, page: Page) -> None:
    """Trim both sides; where the answer has a span, the answer is what stands there."""
    candidate.instruction = candidate.instruction.strip()
    if candidate.span is not None:
        candidate.span = page.trimmed(candidate.span)
        candidate.answer = page.cut(candidate.span)
    else:
        candidate.answer = candidate.answer.strip()
    candidate.keys = comparison_key(candidate.instruction), comparison_key(candidate.answer)


def repeated(candidate: Candidate, name: str, seen_questions: dict[str, tuple[str, set[str]]]) -> bool:
    """Whether this page has asked the same before: the same question by an earlier rule, or the same pair by this one."""
    question, answer = candidate.keys
    first, answers = seen_questions.setdefault(question, (name, set()))
    if first != name or answer in answers:
        return True
    answers.add(answer)
    return False


SHORT = 40
"""Letters below which a task's answer (a blanked word, a rating, a title) says nothing without its question."""


def answer_key(candidate: Candidate, rule: MiningRule) -> str:
    """What an answer is known by across pages: itself, or with its question where many questions have that answer."""
    question, answer = candidate.keys
    return answer if rule.covers or len(answer) >= SHORT else f"{question} {answer}"


def found_row(page: Page, rule: MiningRule, ordinal: int, candidate: Candidate) -> dict[str, Any]:
    """A row of FOUND."""
    row, span, name = page.row, candidate.span, rule.word
    meta = {"task": candidate.task, **candidate.facts}
    return {
        "id": child_id(page.id, STAGE, name, ordinal),
        "messages": [
            {"role": "user", "content": candidate.instruction},
            {"role": "assistant", "content": candidate.answer},
        ],
        "lang": language(candidate.instruction + "\n" + candidate.answer)
        if page.lang in ("ko", "en")
        else row.get("lang"),
        "source": row.get("source"),
        "url": row.get("url"),
        "licence": row.get("licence"),
        "doc_id": page.id,
        "span_start": span.start if span else None,
        "span_end": span.end if span else None,
        "rule": name,
        "confidence": round(float(candidate.confidence), 4),
        "meta": [{"key": key, "value": value} for key, value in sorted(meta.items())],
        "question_hash": hashed(candidate.keys[0]),
        "answer_hash": hashed(answer_key(candidate, rule)),
        "page_hash": hashed(page.url or page.id),
        "host": page.host,
        "markup": rule.markup,
        "covers": rule.covers,
    }


def table_of(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def ledger_of(yields: Iterable[Yield], names: Sequence[str]) -> pa.Table:
    """One row per (document, output row); a document without rows has the reason of its first dropped candidate, or
    `sft.no_instruction`. A document's first row carries every drop in `reasons` (repeats included), the note, and the
    counters `<rule>.found` and `<rule>.kept`."""
    ids, outs, reasons, every, spans, notes = [], [], [], [], [], []
    counters: dict[str, list[float]] = {f"{name}.{word}": [] for name in names for word in ("found", "kept")}
    for item in yields:
        kept = Counter(row["rule"] for row in item.rows)
        reason = None if item.rows else (item.drops[0] if item.drops else NO_INSTRUCTION)
        for number, row in enumerate(item.rows or [None]):
            first = number == 0
            ids.append(item.id)
            outs.append(row["id"] if row else None)
            reasons.append(reason)
            every.append((item.drops or ([reason] if reason else [])) if first else [])
            spans.append((row["span_start"], row["span_end"]) if row and row["span_start"] is not None else None)
            notes.append("; ".join(item.notes[:20]) or None if first else None)
            for name in names:
                counters[f"{name}.found"].append(float(item.found[name]) if first else 0.0)
                counters[f"{name}.kept"].append(float(kept[name]) if first else 0.0)
    return Ledger.rows(ids, out=outs, reason=reasons, reasons=every, span=spans, note=notes, metrics=counters)


def yields_of(rows: pa.Table, ledger: pa.Table, names: Sequence[str]) -> Iterator[Yield]:
    """What `ledger_of` and the rows say, read back: documents in the order of the ledger."""
    by_id = {row["id"]: row for row in rows.to_pylist()}
    item: Yield | None = None
    for line in ledger.to_pylist():
        if item is None or item.id != line["id"]:
            if item is not None:
                yield item
            drops = [reason for reason in line["reasons"] or [] if reason != NO_INSTRUCTION]
            item = Yield(
                line["id"],
                drops=drops,
                found=Counter({name: int(line[f"{name}.found"]) for name in names if line[f"{name}.found"]}),
            )
        if line["out"]:
            item.rows.append(by_id[line["out"]])
    if item is not None:
        yield item


def tally(yields: Iterable[Yield]) -> dict[str, dict[str, int]]:
    """For the receipt: per rule what was found, kept, and dropped by which word."""
    rules: dict[str, Counter] = {}
    for item in yields:
        for name, count in item.found.items():
            rules.setdefault(name, Counter())["found"] += count
        for row in item.rows:
            rules.setdefault(row["rule"], Counter())["kept"] += 1
        for reason in item.drops:
            name, _, word = reason.rpartition(".")
            rules.setdefault(name, Counter())[word] += 1
    return {name: dict(sorted(counts.items())) for name, counts in sorted(rules.items())}
