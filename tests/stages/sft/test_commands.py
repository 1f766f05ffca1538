"""`maetdol sft A B --dry-run` and `maetdol teacher compare`."""

import json

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import OptionError
from pipeline.storage.store import Store
from stages.sft import Sft
from stages.sft.commands import CompareTeachers, DryRunSft
from stages.sft.teacher.estimate import estimate

PASSAGE = "The mill of {town} began in the spring of {year}, when twenty-three households put in fifty thousand won each. Today sixty-one households are members, and four people work at the mill from Tuesday to Saturday. The stones are dressed once every three months."
TEXTS = [
    PASSAGE.format(town=town, year=year) for town, year in (("Solnae", 2009), ("Garim", 1998), ("Wolgok", 2015))
] + ["Q: Is this covered by a rule already?\nA: It is, because the question and its answer are labelled in the text."]
GOOD = [
    {"instruction": "How many households are members of the mill?", "answer": "Today sixty-one households are members."}
]
BAD = [{"instruction": "Who built it?", "answer": "It was built by Harold Whitcombe in 1850."}]


@pytest.fixture
def source(tmp_path, make_store):
    return make_store(tmp_path / "in", TEXTS, url=[f"http://mill.example/{n}" for n in range(4)], lang=["en"] * 4)


@pytest.fixture
def serve(chat_server, completion):
    return lambda pairs: chat_server(
        lambda q, a, h: (200, {}, completion(json.dumps(pairs), prompt_tokens=200, completion_tokens=20))
    )


def options(server, model="m", **more):
    return {
        "kind": "endpoint",
        "url": getattr(server, "url", server),
        "model": model,
        "backoff": 0.01,
        "retries": 0,
        **more,
    }


def test_the_plan_counts_and_asks_nothing(source, serve, tmp_path, capsys):
    server = serve(GOOD)
    teacher = options(server, price_in=1.0, price_out=2.0, journal=str(tmp_path / "calls.jsonl"))
    plan = DryRunSft.build(
        {"dry_run": True, "kinds": ["qa_text"], "teacher_tasks": ["qa"], "teacher": teacher}, "sft --dry-run"
    )
    inputs = Inputs({"of": [source]}, 17)
    assert (
        plan.run(inputs, Store(tmp_path / "out"), Inline()) == 0
        and server.requests == []
        and not (tmp_path / "calls.jsonl").exists()
    )
    said = capsys.readouterr().out
    assert said.startswith("3 calls for 3 documents; 0 are journaled, 3 would be made") and "unknown" in said
    cost = estimate(plan, inputs)
    assert cost.tokens_out == 3 * 598 and cost.price == pytest.approx((cost.tokens_in + 2 * cost.tokens_out) / 1e6)


def test_what_is_journaled_costs_nothing_again(source, serve, tmp_path):
    teacher = options(serve(GOOD), journal=str(tmp_path / "calls.jsonl"), budget={"calls": 2})
    stage = Sft.build({"kinds": ["qa_text"], "teacher_tasks": ["qa"], "teacher": teacher}, "sft")
    stage.run(Inputs({"of": [source]}, 17), Store(tmp_path / "out"), Inline())
    cost = estimate(stage, Inputs({"of": [source]}, 17))
    assert (cost.calls, cost.journaled, cost.within_budget) == (3, 2, 2) and cost.seconds is not None
    assert "the budget stops after 2" in cost.summary()


def test_a_dry_run_from_the_command_line_writes_nothing(source, serve, tmp_path):
    server = serve(GOOD)
    words = [
        "sft",
        source.path,
        str(tmp_path / "out"),
        "--kinds",
        "qa_text",
        "--teacher-tasks",
        "qa",
        "--teacher",
        json.dumps(options(server)),
        "--dry-run",
    ]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 0 and "3 calls for 3 documents" in done.output, done.exception
    assert server.requests == [] and not (tmp_path / "out").exists()


def test_a_dry_run_without_a_teacher(source, tmp_path):
    with pytest.raises(OptionError):
        DryRunSft.build({"dry_run": True}, "sft --dry-run").run(
            Inputs({"of": [source]}, 17), Store(tmp_path / "out"), Inline()
        )


def test_teachers_side_by_side(source, serve, tmp_path, capsys):
    good, bad = serve(GOOD), serve(BAD)
    given = {
        "source": source.path,
        "teachers": [options(good, "good"), options(bad, "bad")],
        "probes": 2,
        "journals": str(tmp_path / "calls"),
    }
    assert CompareTeachers.build(given, "teacher compare").run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert "answered 2/2  usable 2/2 (100%)" in lines[0] and lines[0].startswith("good")
    assert "usable 0/2 (0%)" in lines[1] and "grounding." in lines[1]
    assert len(good.requests) == len(bad.requests) == 2
    CompareTeachers.build(given, "teacher compare").run()
    assert len(good.requests) == 2


def test_teachers_from_a_file_and_bad_ones(source, tmp_path):
    path = tmp_path / "teachers.yaml"
    path.write_text(json.dumps([options("http://a:1"), options("http://b:1", "n")]))
    assert [
        t.model
        for t in CompareTeachers.build({"source": source.path, "teachers": [str(path)]}, "teacher compare").teachers
    ] == ["m", "n"]
    for bad in (["no-such-file.yaml"], [5]):
        with pytest.raises(OptionError):
            CompareTeachers.build({"source": source.path, "teachers": bad}, "teacher compare")
    with pytest.raises(OptionError):
        CompareTeachers.build({"source": source.path, "teachers": [options("http://a:1")]}, "teacher compare").run()
