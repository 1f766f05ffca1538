"""The broker: what is on the wire when a run is killed is finished, journaled, and found by the rerun."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipeline.errors import DamagedStore, RootLocked, WorkError
from stages.models.teacher import journal
from stages.models.teacher.base import TeacherOptions
from stages.models.teacher.broker_client import socket_path
from stages.models.teacher.journal import Journal
from stages.models.teacher.journaled import open_teacher

CHILD = """
import sys
sys.path.insert(0, {repo!r})
from stages.models.teacher.base import Request, TeacherOptions
from stages.models.teacher.journaled import open_teacher
options = TeacherOptions.build({given!r}, "teacher")
teacher = open_teacher(options, {journal!r})
for reply in teacher.answer(Request(str(n), (("user", f"question {{n}}"),)) for n in range({questions})):
    assert reply.text == f"answer {{reply.id}}", reply
teacher.close()
"""


@pytest.fixture
def path(tmp_path):
    """The journal's; no broker is left at it when the test ends."""
    path = tmp_path / "journal.jsonl"
    yield path
    until(lambda: not socket_path(path).exists(), "a broker is left")


def until(holds, otherwise: str, patience: float = 60.0) -> None:
    for _ in range(int(patience / 0.02)):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError(otherwise)


def given(server, **more):
    return {
        "kind": "endpoint",
        "url": getattr(server, "url", server),
        "model": "tiny",
        "backoff": 0.01,
        "max_in_flight": 4,
        **more,
    }


def teacher_of(server, path, **more):
    return open_teacher(TeacherOptions.build(given(server, **more), "teacher"), path)


@pytest.fixture
def child(repo, tmp_path):
    """`child(given, journal, questions)` -> a run in a process of its own."""
    return lambda options, path, questions: subprocess.Popen(
        [sys.executable, "-c", CHILD.format(repo=str(repo), given=options, journal=str(path), questions=questions)],
        cwd=tmp_path,
        start_new_session=True,
    )


@pytest.fixture
def answering(chat_server, completion):
    """`answering(seconds)` -> a server that takes its time."""

    def start(seconds):
        def script(question, attempt, headers):
            time.sleep(seconds)
            return 200, {}, completion(f"answer {question.split()[-1]}")

        return chat_server(script)

    return start


def test_killed_again_and_again_it_makes_exactly_as_many_calls_as_there_are_questions(answering, child, path):
    server = answering(0.1)
    kills = 0
    while True:
        before = len(server.requests)
        run = child(given(server), path, 40)
        while run.poll() is None and (kills >= 5 or len(server.requests) < before + 6):
            time.sleep(0.002)
        if kills < 5 and run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            kills += 1
        assert run.wait() in (0, -9)
        if run.returncode == 0:
            break
    assert kills == 5 and len(server.requests) == 40
    assert len({line["key"] for line in journal.read(path)}) == len(list(journal.read(path))) == 40


def test_a_call_on_the_wire_outlives_its_run_and_the_broker_ends_after_it(answering, child, path):
    server = answering(1.0)
    run = child(given(server), path, 3)
    until(lambda: len(server.requests) == 3, "nothing was asked")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not list(journal.read(path))
    until(lambda: not socket_path(path).exists(), "the broker does not end")
    assert sorted(line["text"] for line in journal.read(path)) == ["answer 0", "answer 1", "answer 2"]
    Journal(path).close()


def test_the_rerun_waits_for_the_same_answer(answering, child, path, asked):
    server = answering(1.5)
    run = child(given(server), path, 3)
    until(lambda: len(server.requests) == 3, "nothing was asked")
    os.killpg(run.pid, signal.SIGKILL)
    teacher = teacher_of(server, path)
    replies = list(teacher.answer([asked(f"question {n}") for n in range(3)]))
    teacher.close()
    assert sorted(reply.text for reply in replies) == ["answer 0", "answer 1", "answer 2"] and len(server.requests) == 3


def test_requests_that_wait_for_another_try_are_let_go(chat_server, child, path):
    server = chat_server(lambda *_: (429, {"Retry-After": "50"}, ""))
    run = child(given(server), path, 2)
    until(lambda: len(server.requests) == 2, "nothing was asked")
    time.sleep(0.3)
    os.killpg(run.pid, signal.SIGKILL)
    until(lambda: not socket_path(path).exists(), "the broker waits for a try that nobody wants", patience=20)
    assert len(server.requests) == 2


def test_with_other_options_the_earlier_calls_are_waited_for(answering, child, path, asked, capfd):
    server = answering(1.0)
    run = child(given(server), path, 2)
    until(lambda: len(server.requests) == 2, "nothing was asked")
    os.killpg(run.pid, signal.SIGKILL)
    teacher = teacher_of(server, path, max_in_flight=1)
    replies = {reply.text: reply.journaled for reply in teacher.answer([asked(f"question {n}") for n in range(3)])}
    teacher.close()
    assert replies == {"answer 0": True, "answer 1": True, "answer 2": False} and len(server.requests) == 3
    assert "still under way" in capfd.readouterr().err


def test_a_second_run_on_the_same_journal_is_told(answering, path, asked):
    server = answering(0.0)
    first = teacher_of(server, path)
    with pytest.raises(RootLocked, match="another run"):
        teacher_of(server, path)
    assert next(iter(first.answer([asked("question 7")]))).text == "answer 7"
    first.close()


def test_what_is_done_is_looked_up_and_nothing_is_left_behind(answering, path, asked):
    server = answering(0.0)
    for journaled in (False, True):
        teacher = teacher_of(server, path)
        assert [reply.journaled for reply in teacher.answer([asked("question 1"), asked("question 2")])] == [
            journaled
        ] * 2
        teacher.close()
        assert not socket_path(path).exists()
    assert len(server.requests) == 2


def test_a_reader_that_stops_early_loses_nothing(answering, path, asked):
    server = answering(0.2)
    teacher = teacher_of(server, path)
    replies = teacher.answer([asked(f"question {n}") for n in range(4)])
    assert next(replies).text
    replies.close()
    assert sorted(r.text for r in teacher.answer([asked(f"question {n}") for n in range(4)])) == [
        f"answer {n}" for n in range(4)
    ]
    teacher.close()
    assert len(server.requests) == 4


def test_errors_cross_the_socket(chat_server, completion, path, asked):
    refusing = teacher_of(chat_server(lambda *_: (401, {}, "")), path)
    with pytest.raises(WorkError, match="401") as fault:
        list(refusing.answer([asked("q")]))
    assert "key_env" in fault.value.hint
    refusing.close()
    held = Journal(path)
    with pytest.raises(RootLocked):
        teacher_of("http://127.0.0.1:9/v1", path)
    held.close()
    path.write_text("no journal\n")
    with pytest.raises(DamagedStore):
        teacher_of("http://127.0.0.1:9/v1", path)


def test_a_call_that_fails_in_a_way_nobody_foresaw_is_said_to_the_run(path, monkeypatch, tmp_path, asked):
    (tmp_path / "sitecustomize.py").write_text(
        "from stages.models.teacher import endpoint\n"
        "async def _try(*_):\n    raise ZeroDivisionError('sk-' + 'hidden')\nendpoint.Endpoint._try = _try\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    teacher = teacher_of("http://127.0.0.1:9/v1", path)
    teacher.journal._client._socket.settimeout(
        15
    )  # without word from the broker this is a red test, not one that hangs
    with pytest.raises(WorkError, match="ZeroDivisionError") as fault:
        next(teacher.answer([asked("question 1")]))
    teacher.close()
    told = fault.value.hint.removeprefix("see ")
    assert "_try" in open(told).read() and "sk-hidden" not in open(told).read()
    os.unlink(told)


def test_a_broker_that_is_killed_is_one_clear_error_and_the_next_run_goes_on(answering, path, asked):
    server = answering(30.0)
    teacher = teacher_of(server, path)
    replies = teacher.answer([asked("question 1")])
    broker = teacher.journal._client.broker_pid
    os.kill(broker, signal.SIGKILL)
    with pytest.raises(WorkError, match="has ended") as fault:
        next(replies)
    assert "run again" in fault.value.hint
    teacher.close()
    again = teacher_of(answering(0.0), path)
    assert next(iter(again.answer([asked("question 1")]))).text == "answer 1"
    again.close()


def test_told_to_end_it_finishes_what_is_on_the_wire(answering, path, asked):
    server = answering(0.5)
    teacher = teacher_of(server, path, max_in_flight=2)
    with pytest.raises(WorkError, match="told to end"):
        for number, _reply in enumerate(teacher.answer([asked(f"question {n}") for n in range(8)])):
            if number == 0:
                os.kill(teacher.journal._client.broker_pid, signal.SIGTERM)
    teacher.close()
    until(lambda: not socket_path(path).exists(), "the broker does not end")
    assert len(list(journal.read(path))) == len(server.requests) < 8


def test_told_to_end_before_a_call_was_sent_the_run_hears_of_it(chat_server, path, asked):
    busy = chat_server(lambda *_: (503, {"Retry-After": "50"}, ""))
    teacher = teacher_of(busy, path, max_in_flight=1, retries=5)
    teacher.journal._client._socket.settimeout(
        15
    )  # without word from the broker this is a red test, not one that hangs
    broker, replies = teacher.journal._client.broker_pid, teacher.answer([asked("question 1")])
    threading.Timer(1.5, os.kill, (broker, signal.SIGTERM)).start()  # it waits for a second try: nothing is on the wire
    with pytest.raises(WorkError, match="told to end"):
        next(replies)
    teacher.close()
    until(lambda: not socket_path(path).exists(), "the broker does not end")


def test_the_key_is_in_no_file_and_on_no_command_line(chat_server, completion, path, asked, monkeypatch):
    monkeypatch.setenv("TEACHER_TEST_KEY", "sk-hidden-43")
    server = chat_server(
        lambda q, a, headers: (
            (200, {}, completion("ok")) if headers["Authorization"] == "Bearer sk-hidden-43" else (401, {}, "")
        )
    )
    teacher = teacher_of(server, path, key_env="TEACHER_TEST_KEY")
    assert next(iter(teacher.answer([asked("q")]))).text == "ok"
    written = [path, *socket_path(path).parent.glob(socket_path(path).stem + ".log")]
    assert not any("sk-hidden" in file.read_text() for file in written)
    teacher.close()
    assert "sk-hidden" not in json.dumps(list(journal.read(path)))
