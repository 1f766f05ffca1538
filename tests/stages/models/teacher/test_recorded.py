"""Replaying a journal, and answers a person wrote."""

import json

import pytest

from pipeline.errors import OptionError
from stages.models.teacher.base import Reply, Request, Sampling, TeacherOptions
from stages.models.teacher.journal import Journal
from stages.models.teacher.journaled import open_teacher

ITEM = {
    "url": "http://Mill.example/about/",
    "task": "qa",
    "instruction": "언제 여나요?",
    "answer": "아홉 시에 엽니다.",
    "lang": "ko",
    "written_by": "hand",
}


def recorded(path, **more):
    return open_teacher(TeacherOptions.build({"kind": "recorded", "recorded": str(path), **more}, "teacher"), "unused")


@pytest.fixture
def journaled(tmp_path, asked):
    path = tmp_path / "calls.jsonl"
    journal = Journal(path)
    for model, text, more in (
        ("big", "yes", {}),
        ("big", None, {"reason": "teacher.truncated"}),
        ("big", None, {"reason": "teacher.unreachable"}),
    ):
        request = asked(f"q{len(path.read_bytes().splitlines())}")
        journal.append([(request, Reply("", request.key(model), text, model=model, **more))])
    journal.close()
    return path


def test_replayed_by_key(journaled, asked):
    teacher = recorded(journaled)
    replies = list(
        teacher.answer([asked("q0"), asked("q1"), asked("q2"), asked("q0", sampling=Sampling(temperature=0))])
    )
    assert [(r.text, r.reason) for r in replies] == [
        ("yes", None),
        (None, "teacher.truncated"),
        (None, "teacher.not_recorded"),
        (None, "teacher.not_recorded"),
    ]
    assert teacher.name == "big" and replies[0].journaled


def test_a_journal_of_several_models_wants_a_name(journaled, asked):
    journal = Journal(journaled)
    request = asked("q9")
    journal.append([(request, Reply("", request.key("small"), "no", model="small"))])
    journal.close()
    with pytest.raises(OptionError) as fault:
        recorded(journaled)
    assert "big, small" in str(fault.value)
    assert [r.text for r in recorded(journaled, model="small").answer([request])] == ["no"]
    with pytest.raises(OptionError):
        recorded(journaled, model="absent")


def write(path, items):
    path.write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    return path


def test_by_hand_by_page_and_task(tmp_path):
    teacher = recorded(
        write(tmp_path / "a.yaml", [ITEM, ITEM | {"instruction": "어디인가요?", "answer": "솔내읍입니다."}])
    )
    ask = Request("1", (("user", "x"),), task="qa", url="http://mill.example/about#top")
    reply = next(iter(teacher.answer([ask])))
    assert [pair["instruction"] for pair in json.loads(reply.text)] == ["언제 여나요?", "어디인가요?"]
    assert reply.written_by == "hand" and reply.model == "hand"
    assert teacher.has(ask.url, "qa") and not teacher.has(ask.url, "title")
    other = next(iter(teacher.answer([Request("2", (("user", "x"),), task="title", url=ask.url)])))
    assert other.reason == "teacher.not_recorded"


@pytest.mark.parametrize(
    "items,word",
    [
        ([{"url": "u"}], "item 1 lacks"),
        ([ITEM, ITEM | {"extra": 1}], "item 2 has unknown"),
        ([ITEM | {"answer": ""}], "empty"),
        ({"other": 1}, "no list"),
        ([ITEM | {"answer": 5}], "non-text"),
    ],
)
def test_an_item_that_is_not_whole_is_named(tmp_path, items, word):
    with pytest.raises(OptionError) as fault:
        recorded(write(tmp_path / "a.yaml", items))
    assert word in str(fault.value)


def test_other_files(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(OptionError):
        recorded(tmp_path / "a.csv")
    (tmp_path / "b.yaml").write_bytes(b"\xff: [")
    with pytest.raises(OptionError):
        recorded(tmp_path / "b.yaml")


def test_the_projects_own_answers_are_whole(repo):
    from stages.models.teacher.recorded import hand_items
    from stages.sft.teacher.asks import TASKS

    items = hand_items(repo / "configs" / "site" / "answers.yaml")
    assert (
        items and {item["task"] for item in items} <= set(TASKS) and {item["written_by"] for item in items} == {"hand"}
    )
