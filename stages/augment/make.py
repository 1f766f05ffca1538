"""The work: draw rows, ask for instructions, hold them to the gate, have the new ones answered, write the shard."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.engine.stage import Inputs, input_shards
from pipeline.engine.tasks import valid_receipts
from pipeline.errors import OptionError
from pipeline.schema import CHAT, bare, child_id
from pipeline.storage.files import is_remote
from pipeline.storage.ledger import Ledger, Receipt
from pipeline.storage.store import Store
from stages.augment import wanted
from stages.augment.gate import DiversityGate, rouge_l, stems
from stages.models.teacher.base import UNFINISHED, Reply, Request, Teacher
from stages.models.teacher.journaled import open_teacher
from stages.models.teacher.structured import fault_in, pairs_in

if TYPE_CHECKING:
    from stages.augment import Augment


@dataclass
class Born:
    """A new instruction under way: its parent row, what it became, or why it fell."""

    parent: dict[str, Any]
    method: str
    id: str
    request: Request
    instruction: str = ""
    answer: str = ""
    reason: str | None = None
    model: str = ""
    calls: list[str] = field(default_factory=list)
    unfinished: bool = False


def make(stage: Augment, inputs: Inputs, sink: Store) -> list[Receipt]:
    """Every output shard in order; the gate is filled with all instructions given and with the new ones of shards before."""
    shards = list(input_shards(inputs))
    keys = {number: stage.key(inputs, number) for number, *_ in shards}
    done = {n: receipt for n, receipt in valid_receipts(sink, keys).items() if not receipt.notes.get("unfinished")}
    if len(done) == len(shards):
        return list(done.values())
    given = [
        text for _, store, shard, _ in shards for row in store.read(shard).to_pylist() if (text := question_of(row))
    ]
    gate = DiversityGate(stage.similarity)
    for text in given:
        gate.add(text)
    with closing(open_teacher(stage.teacher, _journal(stage, sink))) as teacher:
        for number, store, shard, _ in shards:
            if number not in done:
                done[number] = _shard(
                    stage, inputs, teacher, store.read(shard), gate, given, sink, number, keys[number]
                )
            else:
                for row in sink.read(number).to_pylist():
                    if (row["rule"] or "").startswith("augment."):
                        gate.add(question_of(row))
    return [done[number] for number in keys]


def _journal(stage: Augment, sink: Store) -> str:
    if is_remote(sink.path) and not stage.teacher.journal and stage.teacher.kind != "recorded":
        raise OptionError(
            "the journal of calls must lie on a local disk", "set teacher.journal to a path on this machine"
        )
    return f"{sink.path.rstrip('/')}-teacher.jsonl"


def question_of(row: dict[str, Any]) -> str:
    """The instruction of a conversation of one turn; empty for others."""
    messages = row["messages"] or []
    return messages[0]["content"] if [m["role"] for m in messages] == ["user", "assistant"] else ""


def _shard(
    stage: Augment,
    inputs: Inputs,
    teacher: Teacher,
    table: pa.Table,
    gate: DiversityGate,
    given: list[str],
    sink: Store,
    number: int,
    key: str,
) -> Receipt:
    rows = table.to_pylist()
    born = list(_drawn(stage, rows, given, inputs.seed))
    replies = {reply.id: reply for reply in teacher.answer(item.request for item in born)}
    for item in born:
        _read(stage, item, replies[item.id], gate)
    _answer(stage, teacher, [item for item in born if item.reason is None and item.method != "paraphrase"])
    return _write(stage, rows, born, sink, number, key)


def _drawn(stage: Augment, rows: list[dict[str, Any]], given: list[str], seed: int) -> Iterator[Born]:
    for row in rows:
        text, lang = question_of(row), row["lang"]
        tooled = bool(row.get("tools")) or any(turn.get("tool_calls") for turn in row["messages"] or ())
        if not text or lang not in ("ko", "en") or len(text) > stage.max_instruction:
            continue
        for method in stage.methods:
            dice = random.Random(f"{seed}/{row['id']}/{method}")
            # A teacher that is not given the tools cannot answer a new question as these rows do.
            if dice.random() >= stage.share or (tooled and method != "paraphrase"):
                continue
            new = child_id(row["id"], "augment", method, 0)
            yield Born(
                row,
                method,
                new,
                Request(
                    new,
                    _messages(stage, method, lang, text, given, dice),
                    stage.teacher.sampling,
                    method,
                    row["url"] or "",
                    row["doc_id"] or "",
                ),
            )


def _messages(stage: Augment, method: str, lang: str, text: str, given: list[str], dice: random.Random):
    if method == "paraphrase":
        return wanted.paraphrase(lang, text)
    if method == "evolve":
        return wanted.evolve(lang, text, dice.randrange(len(wanted.EVOLVE[lang])))
    short = [
        other for other in (dice.choice(given) for _ in range(6 * stage.shots)) if len(other) <= 300 and other != text
    ]
    return wanted.invent(lang, [text, *dict.fromkeys(short)][: stage.shots])


def _read(stage: Augment, item: Born, reply: Reply, gate: DiversityGate) -> None:
    """The instruction of a reply, or the reason why it falls. What stays is in the gate from then on."""
    item.calls.append(reply.key)
    item.model, item.unfinished = reply.model, reply.reason in UNFINISHED
    if reply.reason:
        item.reason = reply.reason
        return
    pairs, _ = pairs_in(reply.text or "")
    item.instruction = pairs[0][0] if pairs and len(pairs) == 1 else ""
    source = question_of(item.parent)
    item.reason = fault_in(item.instruction, "-")
    if (
        item.reason is None
        and item.method == "paraphrase"
        and rouge_l(stems(item.instruction), stems(source)) >= stage.own_similarity
    ):
        item.reason = "augment.alike"
    if item.reason is None and gate.alike(item.instruction, source if item.method == "paraphrase" else ""):
        item.reason = "augment.alike"
    if item.reason is None:
        gate.add(item.instruction)
        item.answer = item.parent["messages"][1]["content"] if item.method == "paraphrase" else ""


def _answer(stage: Augment, teacher: Teacher, fresh: list[Born]) -> None:
    """The teacher's own answers to instructions it evolved or thought up."""
    by_id = {item.id: item for item in fresh}
    requests = (
        Request(
            item.id,
            wanted.answer(item.parent["lang"], item.instruction),
            stage.teacher.sampling,
            "answer",
            "",
            item.request.doc_id,
        )
        for item in fresh
    )
    for reply in teacher.answer(requests):
        item = by_id[reply.id]
        item.calls.append(reply.key)
        item.unfinished = reply.reason in UNFINISHED
        item.answer = reply.text or ""
        item.reason = reply.reason or fault_in(item.instruction, item.answer)


def _write(stage: Augment, rows: list[dict[str, Any]], born: list[Born], sink: Store, number: int, key: str) -> Receipt:
    children: dict[str, list[Born]] = {}
    for item in born:
        children.setdefault(item.parent["id"], []).append(item)
    kept, ids, outs, reason, every = [], [], [], [], []
    for row in rows:
        fallen = [item.reason for item in children.get(row["id"], ()) if item.reason]
        made = [_row(stage, item) for item in children.get(row["id"], ()) if item.reason is None]
        mine = ([row] if stage.keep else []) + made
        kept += mine
        for made_number, out in enumerate(mine or [None]):
            ids.append(row["id"])
            outs.append(out["id"] if out else None)
            reason.append(None if out else fallen[0] if fallen else "augment.not_drawn")
            every.append(fallen if made_number == 0 and out else [reason[-1]] if not out else [])
    ends: dict[str, int] = {}
    for item in born:
        word = f"{item.method}.{item.reason or 'kept'}"
        ends[word] = ends.get(word, 0) + 1
    notes = {
        "ends": ends,
        "calls": len({call for item in born for call in item.calls}),
        "unfinished": sum(item.unfinished for item in born),
    }
    ledger = Ledger.rows(ids, out=outs, reason=reason, reasons=every)
    return sink.put(
        number,
        pa.Table.from_pylist(kept, schema=CHAT),
        ledger,
        key=key,
        stage="augment",
        input_ids=pa.array([row["id"] for row in rows], pa.large_string()),
        notes=notes,
    )


def _row(stage: Augment, item: Born) -> dict[str, Any]:
    parent = item.parent
    facts = {entry["key"]: entry["value"] for entry in parent["meta"] or [] if entry["key"] in ("task", "licence")}
    facts |= {"parent": parent["id"], "teacher": item.model, "calls": ",".join(item.calls), "method": item.method}
    if stage.teacher.licence:
        facts["teacher_licence"] = stage.teacher.licence
    own = item.method == "paraphrase"
    return parent | {
        "id": item.id,
        "messages": [
            {**(bare(parent["messages"][0]) if own else {"role": "user"}), "content": item.instruction},
            {**(bare(parent["messages"][1]) if own else {"role": "assistant"}), "content": item.answer},
        ],
        "span_start": parent["span_start"] if own else None,
        "span_end": parent["span_end"] if own else None,
        "rule": f"augment.{item.method}",
        "confidence": min(stage.confidence, parent["confidence"])
        if parent["confidence"] is not None
        else stage.confidence,
        "meta": [{"key": name, "value": value} for name, value in sorted(facts.items())],
    }
