"""Instructions made of instructions, against a server that answers."""

import json

import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError
from pipeline.schema import CHAT
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store
from stages.augment import Augment

QUESTIONS = [
    "How often are the stones dressed?",
    "맷돌의 위짝은 무엇인가요?",
    "Who works at the mill in winter?",
    "Where does the barley come from?",
]


@pytest.fixture
def source(tmp_path):
    rows = [
        {"id": f"{n:032x}", "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": f"answer {n}"}], "lang": "ko" if n == 1 else "en",
         "licence": "CC0-1.0", "doc_id": f"d{n}", "url": f"http://mill.example/{n}", "rule": "faq", "confidence": 0.9, "span_start": 1, "span_end": 9, "meta": []}
        for n, q in enumerate(QUESTIONS)
    ]  # fmt: skip
    store = Store(tmp_path / "in")
    for number in range(2):
        part = pa.Table.from_pylist(
            [dict.fromkeys(CHAT.names) | row for row in rows[2 * number : 2 * number + 2]], schema=CHAT
        )
        store.put(number, part, Ledger.rows(part["id"].to_pylist()), key="test", stage="test", input_ids=part["id"])
    store.commit_manifest({"stage": "test", "shape": "CHAT", "key": "test", "lineage": {}, "schema": []}, [0, 1])
    return store


@pytest.fixture
def run(source, tmp_path):
    def go(server, name="out", **options):
        given = {
            "teacher": {
                "kind": "endpoint",
                "url": getattr(server, "url", server),
                "model": "big",
                "backoff": 0.01,
                "retries": 0,
                "licence": "big-terms",
            },
            "share": 1.0,
            **options,
        }
        sink = Store(tmp_path / name)
        receipts = Augment.build(given, "augment").run(Inputs({"of": [source]}, 17), sink, Inline())
        rows = [row for n in sink.receipts() for row in sink.read(n).to_pylist()]
        ledger = [line for n in sink.receipts() for line in sink.ledger(n).to_pylist()]
        assert {line["id"] for line in ledger} == set(source.table(["id"])["id"].to_pylist())
        assert {line["out"] for line in ledger if line["out"]} == {row["id"] for row in rows}
        return rows, ledger, receipts

    return go


def reply(text):
    return json.dumps({"instruction": text}, ensure_ascii=False)


OTHERWISE = {
    QUESTIONS[0]: "At what intervals does somebody sharpen the millstones?", QUESTIONS[1]: "맷돌에서 위에 놓이는 짝을 설명해 주세요.",
    QUESTIONS[2]: "Who works at the mill in the winter?", QUESTIONS[3]: "How often are the stones dressed?",
}  # fmt: skip


@pytest.fixture
def saying(chat_server, completion):
    """Says each question otherwise: two well, one hardly changed, one as another question that stands."""

    def script(asked, attempt, headers):
        found = next((text for question, text in OTHERWISE.items() if f"]\n{question}\n" in asked), None)
        return 200, {}, completion(reply(found) if found else f"an answer to: {asked}")

    return chat_server(script)


def test_paraphrases_keep_their_answer_and_stay_only_if_unlike(run, saying):
    rows, ledger, receipts = run(saying)
    new = [row for row in rows if row["rule"] == "augment.paraphrase"]
    assert [[m["content"] for m in row["messages"]] for row in new] == [
        [OTHERWISE[QUESTIONS[0]], "answer 0"],
        [OTHERWISE[QUESTIONS[1]], "answer 1"],
    ]
    facts = {entry["key"]: entry["value"] for entry in new[0]["meta"]}
    assert facts["parent"] == f"{0:032x}" and facts["teacher"] == "big" and facts["teacher_licence"] == "big-terms"
    assert (new[0]["doc_id"], new[0]["licence"], new[0]["span_start"], new[0]["confidence"]) == (
        "d0",
        "CC0-1.0",
        1,
        0.6,
    )
    assert (
        len(rows) == 6
        and [line["reasons"] for line in ledger if line["id"] in (f"{2:032x}", f"{3:032x}")] == [["augment.alike"]] * 2
    )
    assert sum(r.notes["ends"].get("paraphrase.augment.alike", 0) for r in receipts) == 2


def test_without_their_parents(run, saying):
    rows, ledger, _ = run(saying, keep=False)
    assert len(rows) == 2 and [line["reason"] for line in ledger] == [None, None, "augment.alike", "augment.alike"]


def test_evolved_and_invented_instructions_are_answered_in_calls_of_their_own(run, chat_server, completion):
    server = chat_server(
        lambda asked, a, h: (
            200,
            {},
            completion(
                reply(f"Compare item {abs(hash(asked)) % 10**6} with {' '.join(sorted(set(asked)))[:40]}")
                if "]\n" in asked
                else "As asked, this is it."
            ),
        )
    )
    rows, ledger, receipts = run(server, methods=["evolve", "self_instruct"], similarity=1.0)
    new = [row for row in rows if row["rule"].startswith("augment.")]
    assert {row["rule"] for row in new} == {"augment.evolve", "augment.self_instruct"}
    assert all(row["messages"][1]["content"] == "As asked, this is it." and row["span_start"] is None for row in new)
    assert len(server.requests) == 2 * len(new) + sum(
        r.notes["ends"].get(f"{m}.augment.alike", 0) for r in receipts for m in ("evolve", "self_instruct")
    )
    shown = next(
        r["body"]["messages"][-1]["content"] for r in server.requests if "1. " in r["body"]["messages"][-1]["content"]
    )
    assert "2. " in shown


def test_done_again_nothing_is_asked_and_the_bytes_are_the_same(run, saying, tmp_path):
    first = run(saying)[2]
    count = len(saying.requests)
    assert run(saying)[2] == first and run("http://127.0.0.1:9/v1")[2] == first and len(saying.requests) == count
    assert [
        r.content_hash
        for r in run(
            "http://127.0.0.1:9/v1",
            teacher={"kind": "recorded", "recorded": str(tmp_path / "out-teacher.jsonl"), "licence": "big-terms"},
            name="again",
        )[2]
    ] == [r.content_hash for r in first]


def test_a_teacher_that_is_down_or_talks_nonsense_is_a_reason(run, chat_server, completion, saying):
    rows, ledger, receipts = run("http://127.0.0.1:9/v1")
    assert (
        len(rows) == 4
        and {tuple(line["reasons"]) for line in ledger} == {("teacher.unreachable",)}
        and sum(r.notes["unfinished"] for r in receipts) == 4
    )
    assert len(run(saying)[0]) == 6
    rows, ledger, _ = run(chat_server(lambda *_: (200, {}, completion("I would rather not."))), name="nonsense")
    assert len(rows) == 4 and {tuple(line["reasons"]) for line in ledger} == {("teacher.bad_answer",)}


def test_it_needs_a_teacher(source, tmp_path):
    with pytest.raises(OptionError, match="needs a teacher"):
        Augment.build({}, "augment").run(Inputs({"of": [source]}, 17), Store(tmp_path / "out"), Inline())
