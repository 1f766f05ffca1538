"""Splits keep groups together, are complements of each other, and lose nothing."""

import pyarrow as pa
import pytest

from pipeline.errors import OptionError, ShardFailed, UsageError
from pipeline.schema import CHAT, PAIR, TOKENS, child_id
from pipeline.storage.ledger import check
from stages.models.holdout import held_out, prompt_key
from stages.split import Split
from stages.split.sides import kept


def chats(n):
    """n rows over n // 3 prompts in three spellings, and n // 5 documents."""
    forms = ("What is stone {0}?", "what is  stone {0}", "WHAT IS STONE {0}!")
    rows = [
        dict.fromkeys(CHAT.names)
        | {
            "id": child_id(str(k), "sft", "t", k),
            "messages": [
                {"role": "user", "content": forms[k % 3].format(k // 3)},
                {"role": "assistant", "content": f"stone {k}"},
            ],
            "doc_id": f"doc{k // 5}",
        }
        for k in range(n)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=CHAT)


@pytest.mark.parametrize("by", ["prompt", "document", "row"])
def test_the_two_sides_are_complements(by):
    batch = chats(900)
    one, two = Split(share=0.3, by=by).work(batch), Split(share=0.3, by=by, rest=True).work(batch)
    first, second = one.kept.column("id").to_pylist(), two.kept.column("id").to_pylist()
    assert not set(first) & set(second) and sorted(first + second) == sorted(batch.column("id").to_pylist())
    assert abs(len(first) / 900 - 0.3) < 0.08
    for made in (one, two):
        check(batch.column("id"), made.kept.column("id"), made.ledger, "split")
        assert set(made.ledger["reason"].to_pylist()) == {None, "split.other_side"}


def test_a_prompt_stands_on_one_side_in_any_spelling():
    work = Split(share=0.5).work(chats(600))
    sides: dict[str, set] = {}
    inside = set(work.kept.column("id").to_pylist())
    for row in chats(600).to_pylist():
        sides.setdefault(prompt_key(row["messages"]), set()).add(row["id"] in inside)
    assert all(len(side) == 1 for side in sides.values()) and len(sides) == 200


def test_pairs_fall_where_their_prompts_fall():
    pairs = pa.RecordBatch.from_pylist(
        [
            dict.fromkeys(PAIR.names)
            | {"id": f"{n:032x}", "prompt": [{"role": "user", "content": f"what is stone {n}"}]}
            for n in range(200)
        ],
        schema=PAIR,
    )
    stones = {row["prompt"][0]["content"].lower() for row in Split(share=0.5).work(pairs).kept.to_pylist()}
    asked = {
        row["messages"][0]["content"].lower().rstrip("?!").replace("  ", " ")
        for row in Split(share=0.5).work(chats(600)).kept.to_pylist()
    }
    assert stones == asked


def test_sides_do_not_follow_the_held_out_rows_and_salt_changes_them():
    names = [str(n) for n in range(20_000)]
    held, inside = held_out(names, 0.1), kept(names, 0.5)
    assert abs(inside[held].mean() - 0.5) < 0.03
    assert abs((kept(names, 0.5, "other") == inside).mean() - 0.5) < 0.03
    assert not kept(names, 0.0).any() and kept(names, 1.0).all()


def test_packed_rows_cannot_be_split_by_document():
    tokens = pa.RecordBatch.from_pylist([], schema=TOKENS)
    with pytest.raises((UsageError, ShardFailed), match="before pack"):
        Split(by="document").work(tokens)
    assert Split(by="row").work(tokens).kept.num_rows == 0


@pytest.mark.parametrize("given", [{"share": 1.5}, {"by": "host"}])
def test_bad_options_are_refused(given):
    with pytest.raises(OptionError):
        Split.build(given, "split")
