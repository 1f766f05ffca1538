"""The endpoint against a real server that rate-limits, lies and hangs up."""

import json
import os
import subprocess
import sys
import time
from email.utils import formatdate

import pytest

from pipeline.errors import WorkError
from stages.models.teacher import endpoint, journal
from stages.models.teacher.base import Request, Sampling, TeacherOptions
from stages.models.teacher.journaled import open_teacher


def ask(server, tmp_path, requests, **more):
    given = {
        "kind": "endpoint",
        "url": server if isinstance(server, str) else server.url,
        "model": "tiny",
        "backoff": 0.01,
        "retries": 2,
        "timeout": 5.0,
        "broker": False,
        **more,
    }
    teacher = open_teacher(TeacherOptions.build(given, "teacher"), tmp_path / "journal.jsonl")
    try:
        return {reply.id: reply for reply in teacher.answer(requests)}
    finally:
        teacher.close()


def test_many_in_flight_and_everything_sent(chat_server, completion, asked, tmp_path):
    def script(question, attempt, headers):
        time.sleep(0.05)
        return 200, {}, completion(f"re: {question}", prompt_tokens=3, completion_tokens=4)

    server = chat_server(script)
    sampling = Sampling(
        temperature=0.2, frequency_penalty=0.5, presence_penalty=0.25, stop=("END",), seed=9, max_tokens=50
    )
    replies = ask(server, tmp_path, [asked(f"질문 {n}", sampling=sampling) for n in range(24)], max_in_flight=8)
    assert {i: r.text for i, r in replies.items()} == {f"질문 {n}": f"re: 질문 {n}" for n in range(24)}
    assert 4 <= server.most_in_flight <= 8 and len(server.requests) == 24
    sent = server.requests[0]
    assert sent["path"] == "/v1/chat/completions" and sent["body"]["model"] == "tiny"
    assert {k: sent["body"][k] for k in sampling.sent()} == json.loads(json.dumps(sampling.sent()))
    assert replies["질문 3"].tokens_out == 4 and replies["질문 3"].finish_reason == "stop"


def test_rate_limits_are_waited_out(chat_server, completion, asked, tmp_path):
    server = chat_server(
        lambda q, attempt, h: (
            (429, {"Retry-After": "0.2"}, "slow down") if attempt == 1 else (200, {}, completion("ok"))
        )
    )
    began = time.monotonic()
    replies = ask(server, tmp_path, [asked("a")])
    assert replies["a"].text == "ok" and time.monotonic() - began >= 0.2 and server.tries["a"] == 2


def test_one_retry_after_holds_everybody_back(chat_server, completion, asked, tmp_path):
    server = chat_server(
        lambda q, attempt, h: (
            (429, {"Retry-After": "0.4"}, "") if q == "a" and attempt == 1 else (200, {}, completion("ok"))
        )
    )
    ask(server, tmp_path, [asked(str(q)) for q in "abcdef"], max_in_flight=1)
    gaps = [later["at"] - earlier["at"] for earlier, later in zip(server.requests, server.requests[1:])]
    assert max(gaps) >= 0.35 and len(server.requests) == 7


@pytest.mark.parametrize(
    "answer,reason,tries",
    [
        ((429, {}, ""), "teacher.rate_limited", 3),
        ((429, {"Retry-After": "86400"}, ""), "teacher.rate_limited", 1),
        ((503, {}, "busy"), "teacher.unreachable", 3),
        (None, "teacher.unreachable", 3),
        ((400, {}, '{"error": "too long"}'), "teacher.refused", 1),
        ((200, {}, "<html>welcome</html>"), "teacher.bad_answer", 1),
        ((200, {}, "[1, 2"), "teacher.bad_answer", 1),
        ((200, {}, "[" * 100_000), "teacher.bad_answer", 1),
        ((200, {}, '{"choices": []}'), "teacher.bad_answer", 1),
        ((200, {}, '{"choices": [{"message": null}]}'), "teacher.bad_answer", 1),
        ((200, {}, b"\xff\xfe"), "teacher.bad_answer", 1),
    ],
)
def test_what_a_server_may_do_instead_of_answering(chat_server, completion, asked, tmp_path, answer, reason, tries):
    server = chat_server(lambda q, attempt, h: (200, {}, completion("fine")) if q == "good" else answer)
    replies = ask(server, tmp_path, [asked("bad"), asked("good")])
    assert replies["good"].text == "fine"
    assert (replies["bad"].reason, replies["bad"].text, server.tries["bad"]) == (reason, None, tries)
    assert replies["bad"].note


@pytest.mark.parametrize(
    "text,finish,reason",
    [
        ("half an ans", "length", "teacher.truncated"),
        ("  ", "stop", "teacher.bad_answer"),
        (None, "stop", "teacher.bad_answer"),
        ("x", None, "teacher.bad_answer"),
        ("x", "content_filter", "teacher.bad_answer"),
        (["x"], "stop", "teacher.bad_answer"),
    ],
)
def test_answers_that_are_none(chat_server, completion, asked, tmp_path, text, finish, reason):
    server = chat_server(lambda *_: (200, {}, completion(text, finish)))
    assert ask(server, tmp_path, [asked("q")])["q"].reason == reason


def test_an_endless_answer_is_cut(chat_server, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "MAX_BODY", 1 << 16)
    server = chat_server(lambda *_: (200, {}, b"x" * (1 << 18)))
    reply = ask(server, tmp_path, [asked("q")])["q"]
    assert reply.reason == "teacher.bad_answer" and "larger than" in reply.note


def test_a_slow_server_is_given_up(chat_server, asked, tmp_path):
    server = chat_server(lambda *_: time.sleep(3))
    reply = ask(server, tmp_path, [asked("q")], timeout=0.2, retries=0)["q"]
    assert reply.reason == "teacher.unreachable" and "0.2 s" in reply.note


def test_nobody_there(asked, tmp_path):
    replies = ask("http://127.0.0.1:9/v1", tmp_path, [asked(str(n)) for n in range(40)], retries=1, max_in_flight=4)
    assert {r.reason for r in replies.values()} == {"teacher.unreachable"} and len(replies) == 40


def test_a_dead_server_is_not_asked_for_ever(chat_server, asked, tmp_path):
    server = chat_server(lambda *_: None)
    replies = ask(server, tmp_path, [asked(str(n)) for n in range(60)], retries=1, max_in_flight=2)
    assert len(replies) == 60 and len(server.requests) < 2 * (endpoint.LOST + 4)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 407, 301])
def test_a_refusal_that_meets_everybody_ends_the_work_and_keeps_what_is_paid(
    chat_server, completion, asked, tmp_path, status
):
    server = chat_server(lambda q, attempt, h: (200, {}, completion("paid")) if q == "first" else (status, {}, "no"))
    with pytest.raises(WorkError) as fault:
        ask(server, tmp_path, [asked("first"), asked("second")], max_in_flight=1)
    assert str(status) in str(fault.value) and fault.value.hint
    assert [line["text"] for line in journal.read(tmp_path / "journal.jsonl")] == ["paid"]


@pytest.mark.parametrize("body,note", [
    ({"error": {"code": "unsupported_parameter", "param": "max_tokens", "message": "q"}}, "HTTP 400: unsupported_parameter max_tokens"),
    ({"error": {"type": "invalid_request_error", "code": None}}, "HTTP 400: invalid_request_error"),
    ({"error": {"code": "the secret prompt", "param": "q q"}}, "HTTP 400"),
    ({"error": "q"}, "HTTP 400"),
    ([], "HTTP 400"),
])  # fmt: skip
def test_a_refusal_names_the_servers_code_and_no_word_of_its_message(chat_server, asked, tmp_path, body, note):
    server = chat_server(lambda *_: (400, {}, json.dumps(body)))
    reply = ask(server, tmp_path, [asked("q")])["q"]
    assert (reply.reason, reply.note) == ("teacher.refused", note)


def test_extra_fields_of_the_body_are_sent_and_null_leaves_one_out(chat_server, completion, asked, tmp_path):
    server = chat_server(lambda *_: (200, {}, completion("ok")))
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "max_tokens": None, "max_completion_tokens": 7}
    ask(server, tmp_path, [asked("q")], extra_body=extra)
    body = server.requests[0]["body"]
    assert body["chat_template_kwargs"] == {"enable_thinking": False} and body["max_completion_tokens"] == 7
    assert "max_tokens" not in body and body["temperature"] == 0.5 and body["model"] == "tiny"


def test_other_extra_fields_are_another_call_and_a_recording_finds_each(chat_server, completion, asked, tmp_path):
    thinks = lambda body: "chat_template_kwargs" not in body  # noqa: E731
    server = chat_server(
        lambda *_: (200, {}, completion("thought" if thinks(server.requests[-1]["body"]) else "quick"))
    )
    quick = {"chat_template_kwargs": {"enable_thinking": False}}
    for _ in range(2):
        assert ask(server, tmp_path, [asked("q")])["q"].text == "thought"
        assert ask(server, tmp_path, [asked("q")], extra_body=quick)["q"].text == "quick"
    assert len(server.requests) == 2
    kept = {"kind": "recorded", "recorded": str(tmp_path / "journal.jsonl")}
    for extra, text in (({}, "thought"), (quick, "quick"), ({"top_k": 1}, None)):
        options = TeacherOptions.build({**kept, "extra_body": extra}, "teacher")
        (reply,) = open_teacher(options, tmp_path / "unused.jsonl").answer([asked("q")])
        assert reply.text == text


@pytest.mark.parametrize("url", ["http://[::1:8000/v1", "http://xn--/v1"])
@pytest.mark.parametrize("broker", [False, True])
def test_a_host_that_is_none_ends_the_work_with_one_line(asked, tmp_path, url, broker):
    with pytest.raises(WorkError, match="its host or port") as fault:
        ask(url, tmp_path, [asked("q")], broker=broker)
    assert fault.value.hint == "check `url`"


def test_the_key_goes_into_its_header_and_nowhere_else(chat_server, completion, asked, tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_TEST_KEY", "sk-hidden-42")
    server = chat_server(
        lambda q, a, headers: (
            (200, {}, completion("ok")) if headers["Authorization"] == "Bearer sk-hidden-42" else (401, {}, "")
        )
    )
    assert ask(server, tmp_path, [asked("q")], key_env="TEACHER_TEST_KEY")["q"].text == "ok"
    assert "sk-hidden" not in (tmp_path / "journal.jsonl").read_text()
    dead = ask("http://127.0.0.1:9/v1", tmp_path, [asked("p")], key_env="TEACHER_TEST_KEY", retries=0)
    assert "sk-hidden" not in repr(dead)


@pytest.mark.parametrize(
    "value,seconds", [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), (None, None), ("soon", None), ("nan", None)]
)
def test_retry_after(value, seconds):
    assert endpoint.retry_after(value) == seconds


def test_retry_after_as_a_date():
    assert 8 < endpoint.retry_after(formatdate(time.time() + 10, usegmt=True)) <= 10


CHILD = """
import sys
sys.path.insert(0, {repo!r})
from stages.models.teacher.base import Request, TeacherOptions
from stages.models.teacher.journaled import open_teacher
options = TeacherOptions.build({{"kind": "endpoint", "url": {url!r}, "model": "tiny", "max_in_flight": 4, "broker": False}}, "teacher")
teacher = open_teacher(options, {journal!r})
for reply in teacher.answer(Request(str(n), (("user", f"question {{n}}"),)) for n in range(60)):
    assert reply.text == f"answer {{reply.id}}", reply
"""


def test_killed_again_and_again_no_finished_call_is_made_twice(chat_server, completion, tmp_path, repo):
    """Without a broker, kill -9 while calls are in flight: every question is answered, and only what was in flight is asked again."""

    def script(question, attempt, headers):
        time.sleep(0.02)
        return 200, {}, completion(f"answer {question.split()[1]}")

    server = chat_server(script)
    path = tmp_path / "journal.jsonl"
    code = CHILD.format(repo=str(repo), url=server.url, journal=str(path))
    kills = again = 0
    while True:
        done = {line["key"] for line in journal.read(path)} if path.exists() else set()
        before = len(server.requests)
        child = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        )
        while child.poll() is None and len(server.requests) < before + 12:
            time.sleep(0.005)
        if kills < 4 and child.poll() is None:
            child.kill()
            kills += 1
        assert child.wait() in (0, -9)
        finished = {
            Request("", tuple((m["role"], m["content"]) for m in r["body"]["messages"])).key("tiny")
            for r in server.requests[before:]
        }
        again += len(finished & done)
        if child.returncode == 0:
            break
    assert kills == 4 and again == 0
    assert len({line["key"] for line in journal.read(path)}) == 60
    assert len(server.requests) <= 60 + kills * 4
