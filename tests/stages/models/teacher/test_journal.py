"""The journal: what is fsynced stands, what was torn is cut away, one run at a time."""

import json
import os

import pytest

from pipeline.errors import DamagedStore, RootLocked
from stages.models.teacher.base import Reply
from stages.models.teacher.journal import Journal, read

MODEL = "m"


def reply(request, text="yes", **more):
    return Reply(request.id, request.key(MODEL), text, model=MODEL, **more)


def test_what_was_appended_is_there_again(tmp_path, asked):
    path = tmp_path / "deep" / "journal.jsonl"
    request = asked("무엇인가요?", url="http://a.example/1", task="qa", doc_id="d" * 32)
    journal = Journal(path)
    journal.append(
        [(request, reply(request, "예, 맷돌입니다.", finish_reason="stop", tokens_in=5, tokens_out=7, seconds=0.5))]
    )
    assert journal.get(request.key(MODEL)).text == "예, 맷돌입니다."
    journal.close()
    again = Journal(path)
    found = again.get(request.key(MODEL))
    assert (found.text, found.finish_reason, found.tokens_in, found.tokens_out) == ("예, 맷돌입니다.", "stop", 5, 7)
    line = next(read(path))
    assert (line["url"], line["task"], line["doc_id"], line["model"]) == ("http://a.example/1", "qa", "d" * 32, MODEL)
    assert line["messages"] == [["user", "무엇인가요?"]] and line["sampling"]["temperature"] == 0.5


def test_a_torn_line_is_cut_away_and_the_rest_stands(tmp_path, asked):
    path = tmp_path / "j.jsonl"
    one, two = asked("one"), asked("two")
    journal = Journal(path)
    journal.append([(one, reply(one)), (two, reply(two))])
    journal.close()
    whole = path.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:cut])
        torn = Journal(path)
        assert torn.get(one.key(MODEL)) is not None and torn.get(two.key(MODEL)) is None and len(torn) == 1
        torn.append([(two, reply(two))])
        torn.close()
        assert [json.loads(line)["text"] for line in path.read_bytes().splitlines()] == ["yes", "yes"]


def test_calls_that_were_not_finished_answer_nothing(tmp_path, asked):
    path = tmp_path / "j.jsonl"
    request = asked("x")
    journal = Journal(path)
    journal.append([(request, reply(request, None, reason="teacher.unreachable", note="HTTP 503"))])
    assert journal.get(request.key(MODEL)) is None
    journal.append([(request, reply(request, None, reason="teacher.bad_answer"))])
    journal.close()
    assert Journal(path).get(request.key(MODEL)).reason == "teacher.bad_answer"


def test_one_run_at_a_time(tmp_path):
    first = Journal(tmp_path / "j.jsonl")
    with pytest.raises(RootLocked):
        Journal(tmp_path / "j.jsonl")
    first.close()
    Journal(tmp_path / "j.jsonl").close()


@pytest.mark.parametrize(
    "line", [b"not json\n", b'{"key": "short"}\n', b'{"format": 99, "key": "' + b"a" * 32 + b'"}\n', b"[]\n", b"\n"]
)
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "j.jsonl"
    path.write_bytes(line)
    with pytest.raises(DamagedStore) as fault:
        Journal(path)
    assert "byte 0" in str(fault.value)


def test_it_is_on_disk_before_append_returns(tmp_path, asked, monkeypatch):
    order = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append(os.fstat(handle).st_size), real(handle))[1])
    journal = Journal(tmp_path / "j.jsonl")
    request = asked("x")
    journal.append([(request, reply(request))])
    assert order[-1] == (tmp_path / "j.jsonl").stat().st_size > 0
    journal.append([])
    assert len(order) == 2
