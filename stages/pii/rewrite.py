"""A batch through the detector: what was found in which row and field, the rows rewritten, the ledger rows of all of it.

Rows in which nothing is found are passed on as they lie in memory. The others are edited as Python strings, in rounds,
until a look at the result finds nothing more to edit; blocks that stand in the text follow it through
`pipeline.schema.apply_edits` and are never edited on their own.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.engine.stage import Work
from pipeline.schema import Edit, apply_edits, content_id
from pipeline.storage.ledger import Ledger
from stages.pii.actions import Replacer
from stages.pii.detect import Finding
from stages.pii.drafts import Draft
from stages.pii.json_text import JsonText
from stages.pii.lanes import TEXT, Slot, lanes, text_fields, with_rows
from stages.text.encoding import valid_rows

Find = Callable[[pa.Array], list[Finding]]
ROUNDS = 12
"""More rounds than any text needs: each must find something new in what is left."""
EDITING = ("replace", "mask", "hash", "surrogate")


class RewritePlan(NamedTuple):
    """What is to be done: a finder, an action per entity, the key of the hash, and the most findings a row may have."""

    find: Find
    actions: dict[str, str]
    key: bytes | None = None
    most: int | None = None


class RowDraft:
    """One row with findings: drafts of its strings, the blocks that stand in its text, counts, and what was kept."""

    def __init__(self, row_id: str, values: dict[str, Any], plan: RewritePlan):
        self.values, self.plan = values, plan
        self.replacer = Replacer(row_id, plan.actions, plan.key)
        self.drafts: dict[Slot, Draft] = {}
        self.counts: Counter[str] = Counter()
        self.kept: list[tuple[Slot, Edit]] = []
        self.dropped_by: str | None = None
        self.changed: set[Slot] = set()
        self.blocks: list[dict] | None = values.get("blocks")
        text = values.get("text") or ""
        self.in_text = [
            b["start"] is not None and b["end"] is not None and text[b["start"] : b["end"]] == b["text"]
            for b in self.blocks or ()
        ]

    def take(self, slot: Slot, findings: Sequence[Finding], first: bool) -> set[Slot]:
        """Record findings of one string as it stands now; returns the slots whose text changed."""
        home, shift = slot, 0
        if self.lies_in_text(slot):
            home, shift = TEXT, self._blocks_now()[slot.at]["start"]
        text = self.now(slot)
        seen = JsonText(text) if slot.json else None
        edits: list[Edit] = []
        for finding in findings:
            action = self.plan.actions[finding.entity]
            by = f"{finding.entity} {finding.rule} {finding.score:.2f} {home.path}"
            if seen is not None:
                spots = [
                    spot for spot in seen.values(finding.start, finding.end) if not edits or spot.start >= edits[-1].end
                ]
                if not spots:
                    continue
                where = spots[0].start, spots[-1].end
                if action in EDITING:
                    edits += [
                        Edit(spot.start, spot.end, spot.filled(self.replacer(finding.entity, spot.value)), by)
                        for spot in spots
                    ]
                    continue
            else:
                where = finding.start + shift, finding.end + shift
                if action in EDITING:
                    edits.append(Edit(*where, self.replacer(finding.entity, text[finding.start : finding.end]), by))
                    continue
            if action == "drop":
                self.dropped_by = self.dropped_by or finding.entity
            if first:
                self.kept.append((home, Edit(*where, None, by)))  # type: ignore[arg-type]
                self.counts[finding.entity] += 1
        if not edits:
            return set()
        self.draft(home).add(edits)
        return {home}

    def draft(self, slot: Slot) -> Draft:
        if slot not in self.drafts:
            self.drafts[slot] = Draft(self._given(slot))
        return self.drafts[slot]

    def lies_in_text(self, slot: Slot) -> bool:
        """Is `slot` a block that stands in the text?"""
        return slot.field == "blocks" and self.in_text[slot.at]

    def seen(self, slot: Slot) -> str:
        """The string at `slot` as it is looked at."""
        return JsonText(self.now(slot)).seen if slot.json else self.now(slot)

    def now(self, slot: Slot) -> str:
        """The string at `slot` as it stands now."""
        if self.lies_in_text(slot):
            return self._blocks_now()[slot.at]["text"] or ""
        return self.drafts[slot].text if slot in self.drafts else self._given(slot)

    def _given(self, slot: Slot) -> str:
        value = self.values[slot.field]
        if slot.at < 0:
            return value or ""
        called = _CALLED.fullmatch(slot.part)
        record = value[slot.at]
        return (record["tool_calls"][int(called.group(1))]["arguments"] if called else record[slot.part]) or ""

    def _blocks_now(self) -> list[dict]:
        draft = self.drafts.get(TEXT)
        if draft is None or not draft.edits:
            return self.blocks or []
        return apply_edits(draft.original, draft.edits, self.blocks)[1] or []

    def blocks_in_text(self) -> list[tuple[Slot, str]]:
        """The blocks in the text that have changed with it, or that something was found in, as they are now."""
        found = []
        for k, (now, given, lies_in_text) in enumerate(zip(self._blocks_now(), self.blocks or (), self.in_text)):
            slot = Slot("blocks", k, "text")
            if lies_in_text and (now["text"] != given["text"] or slot in self.changed):
                found.append((slot, now["text"] or ""))
        return found

    def edits(self) -> list[tuple[Slot, Edit]]:
        made = [(slot, edit) for slot, draft in self.drafts.items() for edit in draft.edits]
        return sorted(made + self.kept, key=lambda pair: (pair[0], pair[1].start))

    def finished(self) -> dict[str, Any]:
        """The row's text-bearing fields, rewritten; `content_id` with them when the text changed."""
        out = dict(self.values)
        if "blocks" in out and TEXT in self.drafts:
            out["blocks"] = self._blocks_now()
        for slot, draft in self.drafts.items():
            if slot.at < 0:
                out[slot.field] = draft.text
            else:
                items = list(out[slot.field])
                items[slot.at] = _put(items[slot.at], slot.part, draft.text)
                out[slot.field] = items
        if "content_id" in out and TEXT in self.drafts:
            out["content_id"] = content_id(out["text"])
        return out


_CALLED = re.compile(r"tool_calls\[(\d+)\]\.arguments")


def _put(record: dict[str, Any], part: str, text: str) -> dict[str, Any]:
    """The record with one part changed."""
    called = _CALLED.fullmatch(part)
    if called is None:
        return {**record, part: text}
    calls = list(record["tool_calls"])
    calls[int(called.group(1))] = {**calls[int(called.group(1))], "arguments": text}
    return {**record, "tool_calls": calls}


def findings(batch: pa.RecordBatch, find: Find) -> dict[int, dict[Slot, list[Finding]]]:
    """Row to slot to findings, over every text-bearing field; rows without any are not in it."""
    found: dict[int, dict[Slot, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for lane in lanes(batch):
        for finding in find(lane.texts):
            found[int(lane.rows[finding.item])][lane.slot(finding.item)].append(finding)
    return dict(sorted(found.items()))


def rewritten(batch: pa.RecordBatch, plan: RewritePlan, readable: np.ndarray) -> Work:
    """The batch after the plan and its ledger. `readable` bool[n]: rows that are UTF-8; the others are dropped.

    Ledger: reasons `pii.not_utf8`, `pii.count`, `pii.<entity>`; a metric `pii.<entity>` per kind and `pii.found`; every
    edit with offsets into the field as it came, `by` = entity, rule, score and field, replacement null where it was left.
    """
    whole = bool(readable.all())
    view = batch if whole else batch.filter(pa.array(readable))
    positions = np.flatnonzero(readable)
    found = findings(view, plan.find)
    rows = _rows(view, found, plan)
    for row, by_slot in found.items():
        _first_round(rows[row], by_slot)
    _further_rounds(rows, plan)
    reason: list[str | None] = [None if ok else "pii.not_utf8" for ok in readable.tolist()]
    edits: list[list[Edit] | None] = [None] * len(batch)
    counts = {entity: np.zeros(len(batch)) for entity in plan.actions}
    total: Counter[str] = Counter()
    for row, work in rows.items():
        at = int(positions[row])
        made = work.edits()
        for _slot, edit in made:
            if edit.replacement is not None:
                work.counts[edit.by.split(" ", 1)[0]] += 1
        edits[at] = [edit for _, edit in made]
        for entity, n in work.counts.items():
            counts[entity][at] = n
        total += work.counts
        reason[at] = _reason(work, plan)
    kept = _kept(view, rows, [reason[int(positions[row])] is None for row in range(len(view))])
    metrics = {f"pii.{entity}": values for entity, values in counts.items()}
    metrics["pii.found"] = np.sum(list(counts.values()), axis=0) if counts else np.zeros(len(batch))
    ledger = Ledger.rows(batch.column("id"), reason=reason, edits=edits, metrics=metrics)
    return Work(kept, ledger, {"entities": dict(sorted(total.items()))})


def _rows(batch: pa.RecordBatch, found: dict[int, Any], plan: RewritePlan) -> dict[int, RowDraft]:
    fields = [*text_fields(batch.schema), *(["content_id"] if "content_id" in batch.schema.names else [])]
    wanted = pa.array(list(found), pa.int64())
    columns = {name: batch.column(name).take(wanted).to_pylist() for name in fields}
    ids = batch.column("id").take(wanted).to_pylist()
    return {row: RowDraft(ids[k], {name: columns[name][k] for name in fields}, plan) for k, row in enumerate(found)}


def _first_round(row: RowDraft, by_slot: dict[Slot, list[Finding]]) -> None:
    """Findings of the row as it came. Those of standing blocks come last: most are the text's own, replaced by then."""
    later = []
    for slot, found in by_slot.items():
        if row.lies_in_text(slot):
            later.append(slot)
        else:
            row.take(slot, found, True)
    row.changed = set(row.drafts) | set(later)


def _further_rounds(rows: dict[int, RowDraft], plan: RewritePlan) -> None:
    """Look at what was edited until nothing is found there."""
    pending = {key: row for key, row in rows.items() if row.changed}
    for _ in range(ROUNDS):
        strings: list[tuple[int, Slot, str]] = []
        for key, row in pending.items():
            strings += [(key, slot, row.seen(slot)) for slot in sorted(row.changed) if not row.lies_in_text(slot)]
            if any(row.in_text):
                strings += [(key, slot, text) for slot, text in row.blocks_in_text()]
        if not strings:
            return
        again: dict[tuple[int, Slot], list[Finding]] = defaultdict(list)
        for finding in plan.find(pa.array([text for _, _, text in strings], pa.large_string())):
            key, slot, _ = strings[finding.item]
            again[key, slot].append(finding)
        for row in pending.values():
            row.changed = set()
        for (key, slot), found in again.items():
            row = rows[key]
            # A block is read again where its text was edited in this round: its offsets were those of before.
            row.changed |= {slot} if row.lies_in_text(slot) and TEXT in row.changed else row.take(slot, found, False)
        pending = {key: row for key, row in pending.items() if row.changed}


def _reason(row: RowDraft, plan: RewritePlan) -> str | None:
    if row.dropped_by:
        return f"pii.{row.dropped_by}"
    if plan.most is not None:
        edited = sum(n for entity, n in row.counts.items() if plan.actions[entity] != "keep")
        if edited > plan.most:
            return "pii.count"
    return None


def _kept(batch: pa.RecordBatch, rows: dict[int, RowDraft], stays: list[bool]) -> pa.RecordBatch:
    changed = [row for row, work in rows.items() if work.drafts and stays[row]]
    values: dict[str, list] = defaultdict(list)
    for row in changed:
        for field, value in rows[row].finished().items():
            values[field].append(value)
    out = with_rows(batch, changed, values)
    return out if all(stays) else out.filter(pa.array(stays))


def readable_rows(batch: pa.RecordBatch) -> np.ndarray:
    """bool[n]: rows whose text-bearing fields all are UTF-8 as Python reads it."""
    good = np.ones(len(batch), bool)
    for lane in lanes(batch):
        valid = valid_rows(lane.texts)
        if not valid.all():
            good[lane.rows[~valid]] = False
    return good
