"""The stage with a teacher: a server that answers, one that is down, a person's answers."""

import json

import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.storage.store import Store
from stages.models.teacher import journal
from stages.sft import Sft

PASSAGE = "The mill of Solnae began in the spring of 2009, when twenty-three households put in fifty thousand won each. Today sixty-one households are members, and four people work at the mill from Tuesday to Saturday. The stones are dressed once every three months by Mr Moon, who learned it from his father in Garam."
COVERED = "Q: When does the mill open on a normal working day?\nA: It opens at nine in the morning and closes at six in the evening, from Tuesday to Saturday."
TEXTS = [PASSAGE, COVERED, PASSAGE.replace("Solnae", "Garim").replace("2009", "1998"), "Short."]
GOOD = [
    {
        "instruction": "How many households are members of the mill today?",
        "answer": "Today sixty-one households are members.",
    }
]


def answers(question: str) -> str:
    """A teacher that extracts one pair, invents another, and rates backtranslations."""
    if "score" in question:
        return '{"score": 5}' if "Solnae" in question else '{"score": 2}'
    if "one instruction" in question or "empty string" in question:
        return json.dumps([{"instruction": "Tell me about a village mill and its members.", "answer": ""}])
    return json.dumps(
        [
            *GOOD,
            {
                "instruction": "Who dresses the stones?",
                "answer": "The stones are dressed once every three months by Harold Whitcombe.",
            },
        ]
    )


@pytest.fixture
def serve(chat_server, completion):
    return lambda: chat_server(lambda q, a, h: (200, {}, completion(answers(q), prompt_tokens=7, completion_tokens=3)))


@pytest.fixture
def run(tmp_path, make_store):
    urls = [f"http://mill.example/{n}" for n in range(len(TEXTS))]
    source = make_store(tmp_path / "in", TEXTS, shards=2, url=urls, lang=["en"] * 4)

    def go(server, name="out", **options):
        given = {
            "kinds": ["qa_text"],
            "teacher": {
                "kind": "endpoint",
                "url": getattr(server, "url", server),
                "model": "big",
                "backoff": 0.01,
                "retries": 0,
                **options.pop("teacher", {}),
            },
            **options,
        }
        sink = Store(tmp_path / name)
        receipts = Sft.build(given, "sft").run(Inputs({"of": [source]}, 17), sink, Inline())
        rows = [row for n in sink.receipts() for row in sink.read(n).to_pylist()]
        ledger = [line for n in sink.receipts() for line in sink.ledger(n).to_pylist()]
        assert {line["id"] for line in ledger} == set(source.table(["id"])["id"].to_pylist())
        assert {line["out"] for line in ledger if line["out"]} == {row["id"] for row in rows}
        return rows, ledger, receipts, sink

    return go


def test_passages_that_no_rule_covered_are_asked_about_and_grounded(run, serve, fact):
    server = serve()
    rows, ledger, receipts, sink = run(server, teacher_tasks=["qa"], teacher={"licence": "big-terms-1.0"})
    assert [row["rule"] for row in rows] == ["teacher.qa", "qa_text", "teacher.qa"]
    assert len(server.requests) == 2
    assert rows[0]["messages"][1]["content"] == "Today sixty-one households are members."
    assert (
        fact(rows[0], "teacher_licence") == "big-terms-1.0"
        and json.loads(fact(rows[0], "sampling"))["temperature"] == 0.5
    )
    assert "grounding.name" in ledger[0]["reasons"] and "Whitcombe" not in str(ledger)
    assert ledger[0]["teacher.qa.found"] == 2.0 and ledger[0]["teacher.qa.kept"] == 1.0
    assert ledger[3]["reason"] == "sft.no_instruction"
    assert receipts[0].notes["teacher"]["tokens_out"] == 3 and receipts[0].notes["teacher"]["unfinished"] == 0
    assert len(list(journal.read(f"{sink.path}-teacher.jsonl"))) == 2


def test_backtranslation_is_curated_by_the_teacher_itself(run, serve):
    server = serve()
    rows, ledger, _, _ = run(server, teacher_tasks=["backtranslate"])
    assert [(row["rule"], row["messages"][1]["content"]) for row in rows if row["rule"] != "qa_text"] == [
        ("teacher.backtranslate", PASSAGE)
    ]
    assert ledger[2]["reason"] == "teacher.low_rating" and len(server.requests) == 4


def test_persona_and_examples_reach_the_prompt_and_change_its_key(run, serve):
    server = serve()
    run(server, teacher_tasks=["qa"])
    run(server, name="other", teacher_tasks=["qa"], persona="You are a patient librarian.", shots=0)
    first, second = server.requests[0]["body"]["messages"], server.requests[-1]["body"]["messages"]
    assert [m["role"] for m in first] == ["system", "user", "assistant", "user"] and [m["role"] for m in second] == [
        "system",
        "user",
    ]
    assert second[0]["content"].startswith("You are a patient librarian.") and len(server.requests) == 4


def test_a_teacher_that_reasons_first_is_read_by_its_json(run, chat_server, completion):
    reply = 'The passage gives a date and two counts.\n\n[{"instruction": "How many households are members of the mill?", "answer": "Today sixty-one households are members."}]'
    server = chat_server(lambda q, a, h: (200, {}, completion(reply)))
    rows, *_ = run(server, teacher_tasks=["qa"], step_by_step=True, shots=2)
    assert [row["rule"] for row in rows].count("teacher.qa") == 2 and "date and two counts" not in str(rows)
    asked = server.requests[0]["body"]["messages"]
    assert "step by step" in asked[0]["content"] and [m["role"] for m in asked].count("assistant") == 2


def test_done_again_no_call_is_made(run, serve):
    server = serve()
    first = run(server)
    count = len(server.requests)
    assert run(server)[2] == first[2] and run("http://127.0.0.1:9/v1")[2] == first[2] and len(server.requests) == count


def test_another_recipe_uses_the_same_journal(run, serve, tmp_path):
    server = serve()
    shared = {"journal": str(tmp_path / "calls.jsonl")}
    run(server, teacher_tasks=["qa"], teacher=shared)
    count = len(server.requests)
    rows, *_ = run(server, name="other", teacher_tasks=["qa"], teacher=shared, boilerplate_pages=0)
    assert len(server.requests) == count and [row["rule"] for row in rows] == ["teacher.qa", "qa_text", "teacher.qa"]


def test_a_teacher_that_is_down_loses_nothing_and_is_asked_when_it_is_up(run, serve):
    rows, ledger, receipts, sink = run("http://127.0.0.1:9/v1", teacher_tasks=["qa"])
    assert [row["rule"] for row in rows] == ["qa_text"]
    assert [line["reason"] for line in ledger] == [
        "teacher.unreachable",
        None,
        "teacher.unreachable",
        "sft.no_instruction",
    ]
    assert sum(r.notes["teacher"]["unfinished"] for r in receipts) == 2
    rows, ledger, receipts, _ = run(serve(), teacher_tasks=["qa"])
    assert [row["rule"] for row in rows] == ["teacher.qa", "qa_text", "teacher.qa"]
    assert sum(r.notes["teacher"]["unfinished"] for r in receipts) == 0


@pytest.mark.parametrize(
    "body,reason",
    [
        ((429, {}, ""), "teacher.rate_limited"),
        ((200, {}, "nonsense"), "teacher.bad_answer"),
        ((200, {}, None), "teacher.truncated"),
    ],
)
def test_bad_servers_are_reasons(run, chat_server, completion, body, reason):
    body = body if body[2] is not None else (200, {}, completion("[{", "length"))
    _, ledger, _, _ = run(chat_server(lambda *_: body), teacher_tasks=["qa"])
    assert [line["reason"] for line in ledger] == [reason, None, reason, "sft.no_instruction"]


def test_the_budget_is_a_reason(run, serve):
    server = serve()
    _, ledger, _, _ = run(server, teacher_tasks=["qa"], teacher={"budget": {"calls": 1}})
    assert [line["reason"] for line in ledger] == [None, None, "teacher.budget", "sft.no_instruction"] and len(
        server.requests
    ) == 1


def test_answers_written_by_hand(run, tmp_path, fact):
    items = [
        {
            "url": "http://mill.example/0",
            "task": "summary",
            "instruction": "Sum up the mill of Solnae.",
            "answer": "Sixty-one households run the mill, where four people work.",
            "lang": "en",
            "written_by": "hand",
        },
        {
            "url": "http://mill.example/1",
            "task": "qa",
            "instruction": "When does it close?",
            "answer": "It closes at six in the evening.",
            "lang": "en",
            "written_by": "hand",
        },
        {
            "url": "http://mill.example/1",
            "task": "qa",
            "instruction": "When does the mill open on a normal working day?",
            "answer": "At nine in the morning.",
            "lang": "en",
            "written_by": "hand",
        },
    ]
    path = tmp_path / "answers.yaml"
    path.write_text(json.dumps(items))
    rows, ledger, _, sink = run(
        "http://127.0.0.1:9", teacher={"kind": "recorded", "recorded": str(path), "url": None, "model": None}
    )
    assert [row["rule"] for row in rows] == ["teacher.summary", "qa_text", "teacher.qa"]
    assert {fact(row, "written_by") for row in rows} == {"hand", None} and rows[0]["confidence"] == 0.95
    assert ledger[1]["reasons"] == ["teacher.qa.duplicate"]
    assert [line["reason"] for line in ledger][-2:] == ["sft.no_instruction"] * 2
