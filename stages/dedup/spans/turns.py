"""Repeated spans in chats and pairs: which turns lose text, which rows go, and which are left as they are.

A turn is a text of its own: no span reaches from one into the next. What a user says is met with what users say, what an
assistant says with what assistants say, in `chosen` and `rejected` alike; system and tool turns are the same in many rows for a
reason and are left alone. The row that the keep policy prefers keeps every copy it has, and a span that one row alone repeats is
not touched (a second version of the code under discussion is no duplicate); every other row loses all its copies, so that no span
goes from one answer of a pair and stays in the other.

A row goes where one of its turns would lose its last word, or where the answers of a pair would become equal. If such a row keeps
spans that others lost to it, it stays as it is: nothing is lost altogether. Offsets of spans are bytes of the row's turns, one below
the other; those of edits are code points of the turn that their `by` names, such as `dedup.line messages[1].content`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.docs import Docs
from pipeline.errors import OptionError
from pipeline.schema import STR, Edit, apply_edits, content_id, words_of
from stages.dedup.spans.removal import WORD, Edited, Removals, replaced

USER, ASSISTANT = "user", "assistant"
ANSWERS = ("chosen", "rejected")
ROLES = {"messages": (USER, ASSISTANT), "prompt": (USER,), **dict.fromkeys(("answer", *ANSWERS), (ASSISTANT,))}
"""Field word -> the roles whose turns lose text."""
SALTS = {USER: 0, ASSISTANT: 0x9E3779B97F4A7C15}
"""Added to the keys of a role's spans, so that they meet no others."""
LEFT = "left as it is: spans cut from other rows stay here"


class TurnFields(NamedTuple):
    """The turns that take part: (column, roles) in the order of the shape."""

    columns: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, fields: Sequence[str], shape: str) -> TurnFields:
        """OptionError where the fields are not named, or are one answer of a pair without the other."""
        if not fields:
            words = "prompt, answer" if shape == "CHAT" else "prompt, or chosen and rejected"
            raise OptionError(
                f"dedup: `spans` in {shape} rows needs to know what may lose text", f"set `fields`: {words}"
            )
        if len(set(fields) & set(ANSWERS)) == 1:
            fault = "dedup: a span cut from one answer only would be what tells the answers of a pair apart"
            raise OptionError(fault, "name `chosen` and `rejected`")
        if shape == "CHAT":
            return cls((("messages", tuple(sorted({role for word in fields for role in ROLES[word]}))),))
        return cls(tuple((word, ROLES[word]) for word in ("prompt", *ANSWERS) if word in fields))


class TurnTexts(NamedTuple):
    """Turns of a batch, by row and then in their order."""

    texts: Docs
    rows: np.ndarray
    """int64: row of the batch."""
    bases: np.ndarray
    """int64: byte of the row at which the turn begins; a turn ends one byte before the next."""
    salts: np.ndarray
    """uint64, to be added to keys."""
    columns: np.ndarray
    """int64: which of the columns taken."""
    slots: np.ndarray
    """int64: position in the column's list."""


def turns_of(batch: pa.RecordBatch, taken: TurnFields) -> TurnTexts:
    """The turns that take part."""
    found = [_column(batch.column(name), roles) for name, roles in taken.columns]
    contents = pa.concat_arrays([each[0] for each in found]) if len(found) > 1 else found[0][0]
    rows, slots, salts = (np.concatenate(values) for values in list(zip(*found))[1:])
    columns = np.repeat(np.arange(len(found)), [len(each[0]) for each in found])
    order = np.argsort(rows, kind="stable")
    # One column of turns is in order as it is: texts are not copied once more.
    texts = Docs(pa.record_batch({"text": contents.take(pa.array(order)) if len(found) > 1 else contents}))
    rows = rows[order]
    sizes = np.diff(texts.offsets) + 1
    ends = np.cumsum(sizes) if len(sizes) else sizes
    opening = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else rows
    before = np.repeat((ends - sizes)[opening], np.diff(np.r_[opening, len(rows)]))
    return TurnTexts(texts, rows, ends - sizes - before, salts[order], columns[order], slots[order])


def _column(messages: pa.ListArray, roles: tuple[str, ...]) -> tuple[pa.Array, np.ndarray, np.ndarray, np.ndarray]:
    """(contents, rows, positions in the list, salts) of the turns of these roles in one column."""
    rows = pc.list_parent_indices(messages).to_numpy().astype(np.int64)
    flat = messages.flatten()
    if not len(flat):
        return pa.array([], STR), rows, rows, rows.astype(np.uint64)
    opening = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    slots = np.arange(len(rows)) - np.repeat(opening, np.diff(np.r_[opening, len(rows)]))
    words = pa.array(roles, STR)
    which = pc.index_in(flat.field("role").cast(STR), value_set=words)
    mine = which.is_valid()
    salts = np.array([SALTS[role] for role in roles], np.uint64)[which.drop_null().to_numpy()]
    here = mine.to_numpy(zero_copy_only=False)
    return pc.fill_null(flat.field("content").cast(STR), "").filter(mine), rows[here], slots[here], salts


def edit_turns(batch: pa.RecordBatch, first: int, keep: np.ndarray, removals: Removals, taken: TurnFields) -> Edited:
    """Remove the repeated spans of the rows `keep` (bool) of a batch of chats or pairs whose first row is number `first`."""
    here = removals.by_row(first, keep)
    rows = np.array([row for row, _ in here], np.int64)
    some = batch.select([name for name, _ in taken.columns]).take(pa.array(rows))
    turns = turns_of(some, taken)
    bounds = np.searchsorted(turns.rows, np.arange(len(rows) + 1))
    made, edits = {name: {} for name, _ in taken.columns}, {}
    emptied, alike, left = [], [], []
    for at, (row, mine) in enumerate(here):
        found = _row_edits(turns, slice(bounds[at], bounds[at + 1]), removals, mine)
        lists, emptier = _edited(some, at, found, turns, taken)
        if emptier or _became_alike(some, at, lists):
            (left if removals.holds(first + row) else emptied if emptier else alike).append(row)
            continue
        edits[row] = [
            edit._replace(by=f"{edit.by} {_path(turns, turn, taken)}") for turn, of_turn in found for edit in of_turn
        ]
        for name, values in lists.items():
            made[name][row] = values
    for name, values in made.items():
        batch = replaced(batch, name, values)
    return Edited(batch, edits, np.array(emptied, np.int64), np.array(alike, np.int64), np.array(left, np.int64))


def noted(notes: pa.Array, left: np.ndarray) -> pa.Array:
    """The notes of a batch's rows, with a word on those left as they are."""
    if not len(left):
        return notes
    mask = np.zeros(len(notes), bool)
    mask[left] = True
    return pc.if_else(pa.array(mask), pa.scalar(LEFT, STR), notes)


def _row_edits(turns: TurnTexts, mine: slice, removals: Removals, here: slice) -> list[tuple[int, list[Edit]]]:
    """(turn, its edits) of one row; `mine` are its turns."""
    bases = turns.bases[mine]
    owner = np.searchsorted(bases, removals.firsts[here], side="right") - 1
    found = []
    for number in np.unique(owner).tolist():
        at = np.flatnonzero(owner == number) + here.start
        text = turns.texts.text[mine.start + number].as_py()
        found.append((mine.start + number, removals.edits(text, at, int(bases[number]))))
    return found


def _edited(
    some: pa.RecordBatch, row: int, found: list[tuple[int, list[Edit]]], turns: TurnTexts, taken: TurnFields
) -> tuple[dict, bool]:
    """(column -> its messages after the edits, whether a turn lost its last word) of one row."""
    lists: dict[str, list[dict]] = {}
    emptier = False
    for turn, edits in found:
        name = taken.columns[turns.columns[turn]][0]
        messages = lists.setdefault(name, some.column(name)[row].as_py())
        slot = int(turns.slots[turn])
        text = apply_edits(messages[slot]["content"], edits)[0]
        emptier |= not WORD.search(text) and not messages[slot].get("tool_calls")
        messages[slot] = {**messages[slot], "content": text}
    return lists, emptier


def _became_alike(some: pa.RecordBatch, row: int, lists: dict[str, list[dict]]) -> bool:
    """Do the answers of a pair say the same after the edits, and did not before?"""
    if not set(lists) & set(ANSWERS):
        return False
    before = [some.column(name)[row].as_py() for name in ANSWERS]
    after = [lists.get(name, messages) for name, messages in zip(ANSWERS, before)]
    return _contents(after[0]) == _contents(after[1]) and _contents(before[0]) != _contents(before[1])


def _contents(messages: list[dict] | None) -> list[tuple]:
    return [
        (turn["role"], content_id(turn["content"] or ""), *words_of({**turn, "content": ""})) for turn in messages or ()
    ]


def _path(turns: TurnTexts, turn: int, taken: TurnFields) -> str:
    return f"{taken.columns[turns.columns[turn]][0]}[{turns.slots[turn]}].content"
