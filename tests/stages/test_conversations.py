"""Every stage that gives out conversations or pairs gives them out with all they hold.

The stages are asked of the catalog, so that a new one fails here until it is walked through or named with a reason.
"""

import json

import pyarrow as pa
import pytest

from pipeline.engine import catalog
from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.schema import CHAT, PAIR, child_id, speaks, words_of
from pipeline.storage.ledger import COLUMNS
from pipeline.storage.store import Store
from stages.augment.make import Born, _row
from stages.mix.passes import sizes_of
from stages.models.teacher.base import Request
from stages.select import Select
from stages.select.checks import reasons
from stages.select.choose import compared
from stages.text.view import text_view
from tests.stages.dpo.conftest import Scripted

EXEMPT = {
    "ingest": "reads files, no rows: tests/stages/dpo/test_tools.py reads what is written",
    "sft": "makes its rows of documents, which have none of it",
    "train": "takes rows and gives a model",
}
OPTIONS = {
    "augment": {"teacher": {"kind": "endpoint", "url": "http://127.0.0.1:9", "model": "m"}},
    "dedup": {"levels": ["exact"]},
    "quality": {"filters": [{"word_count": {"min": 1}}]},
    "split": {"share": 1.0},
}
SCHEMAS = '[{"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {}}}}]'
CALL = {"id": "call_1", "name": "weigh", "arguments": '{"grain": "barley"}'}
BEFORE = [
    {"role": "system", "content": "Answer in one sentence.", "train": False},
    {"role": "user", "content": "How heavy is the barley that the miller brought this morning?", "name": "minji"},
    {
        "role": "assistant",
        "content": "Let me weigh it.",
        "reasoning": "The scales will say.",
        "tool_calls": [CALL],
        "train": False,
    },
    {"role": "tool", "content": "three kilograms", "name": "weigh", "tool_call_id": "call_1"},
]
ANSWER = {
    "role": "assistant",
    "content": "The barley that the miller brought weighs three kilograms.",
    "reasoning": "The scales show three.",
    "train": True,
}
WORSE = {
    "role": "assistant",
    "content": "The barley that the miller brought weighs a lot, perhaps.",
    "reasoning": "No idea at all.",
    "train": True,
}
PROVENANCE = {
    "lang": "en", "source": "mill", "url": "http://mill.example/7", "licence": "CC0-1.0", "doc_id": "d" * 32, "span_start": 3, "span_end": 30,
    "rule": "labelled", "meta": [{"key": "weight", "value": "3", "type": "json"}], "tools": SCHEMAS,
}  # fmt: skip
ROWS = {
    "CHAT": {"id": child_id("d", "test", "chat", 0), "messages": [*BEFORE, ANSWER], "confidence": 0.5, **PROVENANCE},
    "PAIR": {
        "id": child_id("d", "test", "pair", 0), "prompt": BEFORE, "chosen": [ANSWER], "rejected": [WORSE], "chat_id": "c" * 32, "method": "given",
        "score_chosen": 2.0, "score_rejected": 1.0, "in_sft": False, **PROVENANCE,
    },
}  # fmt: skip


def walks():
    """(stage, shape) of every stage of the catalog that gives out CHAT or PAIR."""
    for name in catalog.stage_names():
        stage = catalog.stage(name)
        if name in EXEMPT or not (stage.output_shape is None or stage.output_shape in ROWS):
            continue
        for shape in ROWS:
            if shape in stage.ports["of"].shape.split("|"):
                yield name, shape


@pytest.fixture
def walked(tmp_path, make_rows_store, monkeypatch):
    """`walked(stage, shape)` -> (the row that went in, the rows that came out)."""

    def run(name, shape):
        of = make_rows_store(shape, [ROWS[shape]])
        ports, options = {"of": [of]}, dict(OPTIONS.get(name, {}))
        if name == "exclude_overlap":
            ports["against"] = [
                make_rows_store(
                    "CHAT",
                    [
                        {
                            "id": "e" * 32,
                            "messages": [
                                {"role": "user", "content": "Something else was asked here, of which nothing is known."}
                            ],
                        }
                    ],
                )
            ]
        if name == "decontaminate":
            asked = tmp_path / "asked.jsonl"
            asked.write_text(
                json.dumps(
                    {
                        "question": "Which of the seven hills of the old town is the highest one, measured from the sea?",
                        "answer": "the third",
                    }
                )
                + "\n"
            )
            options["against"] = [str(asked)]
        if name == "dpo":
            monkeypatch.setattr("stages.dpo.student._student", lambda *_: Student(lambda *_: WORSE["content"]))
            (tmp_path / "weights").mkdir()
            (tmp_path / "weights" / "model.bin").write_bytes(b"weights")
            ports["student"] = [Store(tmp_path / "model")]
            ports["student"][0].put_artefact(tmp_path / "weights", COLUMNS.empty_table(), key="test")
        sink = Store(tmp_path / "out")
        receipts = catalog.stage(name).build(options, name).run(Inputs(ports, 17), sink, Inline())
        return of.table().to_pylist()[0], [row for receipt in receipts for row in sink.read(receipt.shard).to_pylist()]

    return run


class Student(Scripted):
    def chat(self, conversations, sampling, n=1, tools=None):
        assert tools == [SCHEMAS]
        return super().chat(conversations, sampling, n)


def test_the_rows_have_every_field_set():
    for shape, schema in (("CHAT", CHAT), ("PAIR", PAIR)):
        assert {name for name, value in ROWS[shape].items() if value is not None} == set(schema.names)
        turns = [turn for name in ("messages", "prompt", "chosen", "rejected") for turn in ROWS[shape].get(name, ())]
        kind = schema.field("messages" if shape == "CHAT" else "prompt").type.value_type
        assert {name for turn in turns for name in turn} == {part.name for part in kind.fields}


def test_every_stage_is_walked_or_exempt():
    names = {name for name, _ in walks()}
    assert (
        names
        == {"augment", "decontaminate", "dedup", "dpo", "mix", "pii", "quality", "select", "split", "exclude_overlap"}
        and not names & EXEMPT.keys()
    )
    assert EXEMPT.keys() <= set(catalog.stage_names())


@pytest.mark.parametrize("name, shape", list(walks()))
def test_nothing_is_lost_on_the_way(name, shape, walked):
    given, rows = walked(name, shape)
    assert len(rows) == 1
    if name == "dpo":
        assert rows[0]["prompt"] == given["messages"][:-1] and rows[0]["chosen"] == given["messages"][-1:]
        assert rows[0]["chat_id"] == given["id"]
        kept = ("tools", "lang", "source", "url", "licence", "doc_id", "span_start", "span_end", "rule")
        assert {field: rows[0][field] for field in kept} == {field: given[field] for field in kept}
    else:
        assert {field: rows[0][field] for field in given} == given


# -- counted and judged ------------------------------------------------------------------------------------------------------


def batch(*rows, shape=CHAT):
    return pa.RecordBatch.from_pylist([{name: row.get(name) for name in shape.names} for row in rows], shape)


def test_what_is_judged_holds_reasoning_and_arguments():
    text = text_view(batch(ROWS["CHAT"]), (), 1 << 20)[0].column("text")[0].as_py()
    assert [
        text.count(word) for word in ("The scales will say.", 'barley"}', "three kilograms", "minji", "call_1")
    ] == [1, 1, 2, 1, 0]
    bare = {"id": "a", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]}
    assert text_view(batch(bare), (), 1 << 20)[0].column("text")[0].as_py() == "a\n", "as it was for chats without them"


def test_mix_counts_every_word():
    words = sum(len(text.encode()) for turn in ROWS["CHAT"]["messages"] for text in words_of(turn))
    without = {
        **ROWS["CHAT"],
        "tools": None,
        "messages": [{"role": turn["role"], "content": turn["content"]} for turn in ROWS["CHAT"]["messages"]],
    }
    sizes = sizes_of(batch(ROWS["CHAT"], without))
    assert sizes.tolist() == [words + len(SCHEMAS), sum(len(turn["content"]) for turn in ROWS["CHAT"]["messages"])]
    assert sizes_of(batch(ROWS["PAIR"], shape=PAIR))[0] > sizes[0]


def test_an_answer_that_only_calls_a_tool_is_an_answer():
    call = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    row = {**ROWS["CHAT"], "messages": [*BEFORE[:2], call]}
    assert speaks(call) and reasons(row, Select()) == ([], 0.0)
    assert reasons({**row, "messages": [*BEFORE[:2], {**call, "tool_calls": None}]}, Select())[0] == [
        "select.no_answer"
    ]
    assert reasons(row, Select(min_chars=100))[0] == ["select.short"]
    other = {**call, "tool_calls": [{**CALL, "arguments": '{"grain": "rye"}'}]}
    assert compared([*BEFORE[:2], call], "answer") != compared([*BEFORE[:2], other], "answer")


def test_a_paraphrase_keeps_the_answers_reasoning_and_calls():
    from stages.augment import Augment

    stage = Augment.build(OPTIONS["augment"], "augment")
    parent = {**ROWS["CHAT"], "messages": [BEFORE[1], {**ANSWER, "tool_calls": [CALL]}]}
    born = Born(parent, "paraphrase", "f" * 32, Request("f" * 32, ()))
    born.instruction, born.answer = "What does this barley weigh?", ANSWER["content"]
    made = _row(stage, born)
    assert (
        made["messages"] == [{**BEFORE[1], "content": "What does this barley weigh?"}, parent["messages"][1]]
        and made["tools"] == SCHEMAS
    )
