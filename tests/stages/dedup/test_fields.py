"""What is compared in each shape of row, and options that do not fit."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.errors import OptionError, SourceError
from pipeline.schema import CHAT, PAIR
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.dedup import Dedup, fields
from stages.text.minhash.lsh import Banding
from stages.text.minhash.shingles import Shingling


def message(role: str, content: str | None) -> dict:
    return {"role": role, "content": content}


def store_of(path, rows: list[dict], shape: pa.Schema, name: str, **vectors: list) -> Store:
    full = [{field.name: None for field in shape} | {"id": f"{n:032x}"} | row for n, row in enumerate(rows)]
    table = pa.Table.from_pylist(full, schema=shape)
    for column, values in vectors.items():
        table = table.append_column(column, pa.array(values, pa.list_(pa.float32())))
    store = Store(path)
    store.put(0, table, Ledger.rows(table["id"].to_pylist()), key="test", input_ids=table["id"])
    store.commit_manifest({"stage": "test", "shape": name, "key": "test", "lineage": {}, "schema": []}, [0])
    return store


QUESTION = "맷돌로 곡식을 어떻게 갈고 어디에 담아 두는지 알려 줘"
CHATS = [
    [
        message("system", "be kind"),
        message("user", QUESTION),
        message("assistant", "위짝 구멍에 곡식을 넣고 손잡이를 돌립니다"),
    ],
    [
        message("system", "be kind"),
        message("user", QUESTION),
        message("assistant", "a wholly different answer in another language altogether"),
    ],
    [message("user", "how does a mill turn"), message("assistant", "위짝 구멍에 곡식을 넣고 손잡이를 돌립니다")],
    [
        message("system", "be kind"),
        message("user", QUESTION),
        message("assistant", "위짝 구멍에 곡식을 넣고 손잡이를 돌립니다"),
    ],
    None,
    [],
]


@pytest.mark.parametrize(
    ("word", "groups"),
    [
        ((), [[0, 3], [1], [2]]),
        (("prompt",), [[0, 1, 3], [2]]),
        (("answer",), [[0, 2, 3], [1]]),
        (("messages",), [[0, 3], [1], [2]]),
    ],
)
def test_chats_are_alike_by_all_messages_by_prompt_or_by_answer(dedup, decisions, tmp_path, word, groups):
    source = store_of(tmp_path / "in", [{"messages": messages} for messages in CHATS], CHAT, "CHAT")
    found = decisions(dedup(tmp_path / "out", source, fields=list(word)))
    ids = source.table()["id"].to_pylist()
    representative = [found[key][1] or key for key in ids]
    assert [[n for n in range(4) if representative[n] == head] for head in dict.fromkeys(representative[:4])] == groups
    assert [found[key][0] for key in ids[4:]] == [None, None]


def test_pairs_are_alike_by_all_three_or_by_prompt(dedup, decisions, tmp_path):
    def pair(prompt: str, chosen: str, rejected: str) -> dict:
        return {
            name: [message(role, text)]
            for name, role, text in (
                ("prompt", "user", prompt),
                ("chosen", "assistant", chosen),
                ("rejected", "assistant", rejected),
            )
        }

    rows = [
        pair(QUESTION, "one answer", "bad"),
        pair(QUESTION, "one answer", "worse"),
        pair(QUESTION, "one answer", "bad"),
    ]
    source = store_of(tmp_path / "in", rows, PAIR, "PAIR")
    assert [decision[0] for decision in decisions(dedup(tmp_path / "out", source)).values()].count(None) == 2
    assert [
        decision[0] for decision in decisions(dedup(tmp_path / "prompts", source, fields=["prompt"])).values()
    ].count(None) == 1


def test_pairs_of_one_sense_and_chats_of_one_address(dedup, decisions, tmp_path):
    prompts = [
        {
            "prompt": [message("user", text)],
            "chosen": [message("assistant", "예")],
            "rejected": [message("assistant", "아니요")],
        }
        for text in "가나다라"
    ]
    pairs = store_of(
        tmp_path / "pairs",
        prompts,
        PAIR,
        "PAIR",
        v=[[1.0, 0.0, 0.1], [0.0, 1.0, 0.0], [2.0, 0.0, 0.21], [0.0, 0.0, 1.0]],
    )
    found = decisions(dedup(tmp_path / "sense", pairs, levels=["semantic"], vectors="v", cosine=0.95, cells=1))
    assert [decision[0] for decision in found.values()].count("dedup.semantic") == 1 and {
        decision[3] for decision in found.values()
    } == {1, 2}
    urls = ["http://a.example/x?utm_source=z", "http://A.example:80/x", "http://a.example/y", None]
    chats = store_of(
        tmp_path / "chats", [{"messages": [message("user", url or "없음")], "url": url} for url in urls], CHAT, "CHAT"
    )
    assert [decision[0] for decision in decisions(dedup(tmp_path / "address", chats, levels=["url"])).values()].count(
        "dedup.url"
    ) == 1


def test_text_of_joins_fields_and_keeps_null_apart_from_empty():
    batch = pa.record_batch(
        {
            "messages": pa.array(
                [
                    [message("user", "가"), message("assistant", None), message("user", "나")],
                    None,
                    [],
                    [message("assistant", "다")],
                ],
                CHAT.field("messages").type,
            )
        }
    )
    assert fields.text_of(batch, ("messages",), "CHAT").to_pylist() == ["가\n\n나", None, "", "다"]
    assert fields.text_of(batch, ("prompt",), "CHAT").to_pylist() == ["가\n나", None, "", ""]
    assert fields.text_of(batch.slice(2), ("answer",), "CHAT").to_pylist() == ["", "다"]
    documents = pa.record_batch(
        {"title": pa.array(["t", None, None], pa.large_string()), "text": pa.array(["x", "y", None], pa.large_string())}
    )
    assert fields.text_of(documents, ("title", "text"), "DOCUMENT").to_pylist() == ["t\nx", "y", None]
    assert fields.text_of(
        pa.Table.from_batches([documents, documents]).slice(2, 2), ("text",), "DOCUMENT"
    ).to_pylist() == [None, "x"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": "largest"}, "no keep rule"),
        ({"keep": "source"}, "sources"),
        ({"bands": 3}, "together"),
        ({"weights": [0.9, 0.9]}, "add up to 1"),
        ({"levels": []}, "at least one"),
        ({"threshold": 1.5}, "threshold"),
        ({"treshold": 0.8}, "treshold"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, words):
    with pytest.raises(OptionError, match=words):
        Dedup.build(options, "dedup")


def test_options_that_do_not_fit_the_rows_are_refused_before_anything_is_written(dedup, make_store, tmp_path):
    documents = make_store(tmp_path / "documents", ["one two three"])
    chats = store_of(tmp_path / "chats", [{"messages": CHATS[0]}], CHAT, "CHAT")
    for sources, options, fault in (
        ([documents], {"fields": ["txet"]}, "no field 'txet'"),
        ([chats], {"keep": "newest"}, "date"),
        ([documents], {"keep": "score"}, "which"),
        ([chats], {"threshold": 0.05, "permutations": 8}, "no banding"),
    ):
        with pytest.raises(OptionError, match=fault):
            dedup(tmp_path / "out", *sources, **options)
    with pytest.raises(SourceError, match="different shapes"):
        dedup(tmp_path / "out", documents, chats)
    assert not (tmp_path / "out").exists()


def test_banding_follows_from_recall_weights_preset_or_is_given():
    assert Dedup().banding() == Banding(18, 6)
    assert Dedup(recall=0.9).banding().rows > 6
    assert Dedup(bands=9, rows=13).banding() == Banding(9, 13)
    fineweb = Dedup(preset="fineweb")
    assert fineweb.banding() == Banding(14, 8) and fineweb.shingling() == Shingling("word", 5, True)
    assert Dedup(preset="fineweb", bands=20, rows=8).banding() == Banding(20, 8)
    assert Dedup(weights=[0.5, 0.5], threshold=0.7).banding().rows > 6


def test_shingles_of_characters_and_folded_digits_change_what_is_alike(dedup, make_store, decisions, tmp_path):
    texts = [
        "page 17 of the mill book with many words",
        "page 93 of the mill book with many words",
        "맷돌을 돌려 곡식을 곱게 갈아 그릇에 담는다",
        "맷돌을 돌려 곡식을 곱게 갈아 그릇에 담았다",
    ]
    source = make_store(tmp_path / "in", texts)

    def gone(**options) -> int:
        return sum(
            decision[0] is not None
            for decision in decisions(dedup(tmp_path / f"out{len(str(options))}", source, **options)).values()
        )

    assert gone() == 0
    assert gone(fold_digits=True) == 1
    assert gone(shingle="char", width=2, threshold=0.75) == 2
    assert gone(preset="fineweb") == 1


# -- what few chats have -----------------------------------------------------------------------------------------------------

CALLING = [{"id": "call_1", "name": "weigh", "arguments": '{"grain": "콩"}'}]
ASKED, ANSWERED = message("user", QUESTION), message("assistant", "위짝 구멍에 곡식을 넣고 손잡이를 돌립니다")
SCHEMAS = '[{"name": "weigh"}]'
TOLD_APART = [
    {"messages": [ASKED, ANSWERED]},
    {"messages": [ASKED, {**ANSWERED, "reasoning": "손잡이부터 본다"}]},
    {"messages": [ASKED, {**ANSWERED, "reasoning": "구멍부터 본다"}]},
    {"messages": [ASKED, {**ANSWERED, "tool_calls": CALLING}]},
    {"messages": [ASKED, {**ANSWERED, "tool_calls": [{**CALLING[0], "arguments": '{"grain": "쌀"}'}]}]},
    {"messages": [ASKED, {**ANSWERED, "tool_calls": [{**CALLING[0], "name": "grind"}]}]},
    {"messages": [{**ASKED, "name": "minji"}, ANSWERED]},
    {"messages": [ASKED, ANSWERED], "tools": SCHEMAS},
    {"messages": [ASKED, ANSWERED], "tools": '[{"name": "grind"}]'},
]
ALIKE = [
    {"messages": [ASKED, {**ANSWERED, "tool_calls": [{**CALLING[0], "id": "call_2"}]}]},
    {"messages": [ASKED, {**ANSWERED, "train": True}]},
    {"messages": [ASKED, ANSWERED], "tools": SCHEMAS.replace(" ", "  ")},
]
"""The same as the fourth, the first and the eighth: ids, words on training and blanks are no words."""


@pytest.mark.parametrize("shape", ["CHAT", "PAIR"])
def test_chats_that_differ_in_what_few_have_are_no_duplicates(shape, dedup, tmp_path):
    rows = [*TOLD_APART, *ALIKE]
    if shape == "PAIR":
        worse = [message("assistant", "모릅니다")]
        rows = [
            {"prompt": row["messages"][:1], "chosen": row["messages"][1:], "rejected": worse, "tools": row.get("tools")}
            for row in rows
        ]
    store = store_of(tmp_path / "in", rows, {"CHAT": CHAT, "PAIR": PAIR}[shape], shape)
    out = dedup(tmp_path / "out", store, levels=["exact"])
    kept = {int(name, 16) for name in out.table()["id"].to_pylist()}
    assert len(kept) == len(TOLD_APART)
    for twin, of in zip(range(len(TOLD_APART), len(rows)), (3, 0, 7)):
        assert len(kept & {twin, of}) == 1


def test_the_text_of_other_chats_is_what_it_was():
    rows = [{**dict.fromkeys(CHAT.names), "id": "a", **row} for row in TOLD_APART]
    texts = fields.text_of(pa.RecordBatch.from_pylist(rows, CHAT), ("messages",), "CHAT").to_pylist()
    assert texts[0] == f"{ASKED['content']}\n{ANSWERED['content']}"
    assert texts[0] == fields.text_of(pa.RecordBatch.from_pylist(rows[:1], CHAT), ("messages",), "CHAT")[0].as_py()
    assert [text.startswith(texts[0]) for text in texts] == [True] * 6 + [False] + [True] * 2
    answers = fields.text_of(pa.RecordBatch.from_pylist(rows, CHAT), ("answer",), "CHAT").to_pylist()
    assert answers[0] == answers[6] == answers[7] and len(set(answers)) == 6
    assert "tools" in fields.columns(("messages",), "CHAT") and "tools" not in fields.columns(("answer",), "CHAT")


def test_long_schemas_do_not_make_other_questions_alike(dedup, tmp_path):
    import json

    tools = json.dumps([{"name": f"tool_{n}", "description": f"what number {n} does"} for n in range(200)])
    rows = [
        {"messages": [message("user", ask), message("assistant", reply)], "tools": tools}
        for ask, reply in ((QUESTION, "위짝을 돌립니다"), ("how does a mill turn", "by hand"))
    ]
    assert (
        dedup(tmp_path / "out", store_of(tmp_path / "in", rows, CHAT, "CHAT"), levels=["exact", "near"])
        .table()
        .num_rows
        == 2
    )
