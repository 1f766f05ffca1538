"""The endpoint as clients see it: OpenAI's own client, httpx, and the teacher of this project."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from pipeline.errors import UsageError
from stages.models.inference.generate import Generation, SamplingParams
from stages.models.teacher.base import Request, Sampling, TeacherOptions
from stages.models.teacher.journaled import open_teacher
from stages.serve.answering import SpokenPiece
from stages.serve.app import ChatApi, ServedReply, listening, streamed
from stages.serve.jobs import AnswerEvent, ChatJob
from stages.serve.replies import ChatChoice
from stages.serve.requests import ChatRequest

REPO = Path(__file__).resolve().parents[3]
ASKED = [{"role": "user", "content": "3: how do you call 콩?"}]
KEY = "a-key-for-a-test"


def started(*words, **env):
    """(process, base URL) of a running server."""
    code = "import sys; from pipeline.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", *words, "--port", "0", "--threads", "1"], cwd=REPO, env={**os.environ, **env},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:"), process.communicate()
    return process, line.split()[0]


@pytest.fixture(scope="module")
def url(base_store, sft_store):
    process, url = started(
        base_store.path, sft_store.path, "--name", "mill", "--temperature", "0", "--max-new-tokens", "16"
    )
    yield url
    process.terminate()
    assert process.wait() == 143, process.stderr.read()


@pytest.fixture(scope="module")
def expected(answering):
    return answering.chat([ASKED], SamplingParams(16))[0][0]


def test_the_client_of_openai_gets_the_answer(url, expected):
    from openai import NotFoundError, OpenAI

    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["mill"]
    done = client.chat.completions.create(model="mill", messages=ASKED)
    assert done.choices[0].message.content == expected.text.lstrip() and done.choices[0].finish_reason == "stop"
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (expected.prompt_tokens, expected.tokens)
    with pytest.raises(NotFoundError, match="is not served here"):
        client.chat.completions.create(model="other", messages=ASKED)


def test_streamed_pieces_are_the_answer(url, expected):
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    chunks = list(
        client.chat.completions.create(
            model="mill", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == expected.text.lstrip() and sum(map(bool, pieces)) > 2
    assert chunks[-2].choices[0].finish_reason == "stop" and chunks[-1].usage.completion_tokens == expected.tokens
    assert len({chunk.id for chunk in chunks}) == 1


def test_what_is_asked_for_is_done(url, answering):
    sampling = {"temperature": 1.5, "seed": 5, "max_tokens": 12, "n": 3, "top_p": 0.9, "stop": [" is"]}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": ASKED[0]["content"]}]}], **sampling}
    choices = httpx.post(f"{url}/chat/completions", json=body, timeout=None).json()["choices"]
    made = answering.chat([ASKED], SamplingParams(12, 1.5, 0.9, 5, (" is",)), n=3)[0]
    assert [choice["message"]["content"] for choice in choices] == [one.text.lstrip() for one in made]
    assert [choice["finish_reason"] for choice in choices] == [one.finish for one in made]


TOOLS = [
    {
        "type": "function",
        "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
    }
]
STRICT = [{"type": "function", "function": {**TOOLS[0]["function"], "strict": True}}]
REFUSED = [
    ({"messages": []}, 400, "messages"),
    ({"messages": ASKED, "tools": [{}]}, 400, "tools.0.type: Field required"),
    ({"messages": ASKED, "tools": TOOLS}, 400, "tools: the model's template shows none"),
    ({"messages": ASKED, "top_logprobs": 2}, 400, "top_logprobs is for requests with logprobs: true"),
    ({"messages": ASKED, "logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
    ({"messages": ASKED, "response_format": {"type": "grammar"}}, 400, "response_format"),
    ({"messages": ASKED, "tools": TOOLS, "tool_choice": "required"}, 400, "tools: the model's template shows none"),
    (
        {"messages": ASKED, "tools": TOOLS, "tool_choice": "sometimes"},
        400,
        "tool_choice: it is auto, none, required or",
    ),
    (
        {"messages": ASKED, "tools": TOOLS, "tool_choice": {"type": "allowed_tools"}},
        400,
        "tool_choice: it is auto, none",
    ),
    ({"messages": ASKED, "tool_choice": "required"}, 400, "tool_choice is for requests with tools"),
    (
        {"messages": ASKED, "tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}},
        400,
        "there is no tool 'x'",
    ),
    ({"messages": ASKED, "tools": TOOLS, "parallel_tool_calls": False}, 400, "parallel_tool_calls"),
    ({"messages": ASKED, "tools": STRICT}, 400, "tools.0.function.strict"),
    ({"messages": ASKED, "tools": TOOLS, "response_format": {"type": "json_object"}}, 400, "response_format and tools"),
    ({"messages": ASKED, "temperature": "hot"}, 400, "temperature"),
    ({"messages": ASKED, "seed": 10**80}, 400, "seed"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "not valid Unicode"),
    ({"messages": ASKED, "stop": [""]}, 400, "none of them empty"),
    ({"messages": [{"role": "user", "content": "x </s> y"}]}, 400, "spells a control token"),
    ({"messages": [{"role": "user", "content": "콩 " * 300}]}, 400, "tokens, the context"),
    ({"messages": [{"role": "user", "content": " "}]}, 400, "empty message"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("body, status, words", REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_cannot_be_done_is_refused_by_name(url, body, status, words, stream):
    sent = json.dumps({**body, "stream": stream})
    got = httpx.post(
        f"{url}/chat/completions", content=sent, headers={"content-type": "application/json"}, timeout=None
    )
    assert got.status_code == status and words in got.json()["error"]["message"]


def test_bodies_that_are_no_requests_are_refused(url):
    post = f"{url}/chat/completions"
    typed = {"content-type": "application/json"}
    assert httpx.post(post, content=b"{", headers=typed).status_code == 400
    assert httpx.post(post, content=b"[" * 100_000, headers=typed).status_code == 400
    assert httpx.post(post, content=json.dumps({"messages": ASKED})).status_code == 415
    assert httpx.post(post, content=b" " * ((8 << 20) + 1), headers=typed).status_code == 413
    assert httpx.get(f"{url}/models", headers={"host": "elsewhere.example"}).status_code == 400
    assert httpx.get(url.replace("/v1", "/health")).json() == {"status": "ok"}


def test_the_teacher_of_this_project_asks_it(url, answering, tmp_path):
    options = TeacherOptions.build({"kind": "endpoint", "url": url, "model": "mill", "max_in_flight": 6}, "teacher")
    questions = [f"{n}: how do you call 쌀?" for n in range(12)]
    requests = [
        Request(str(n), (("user", text),), Sampling(max_tokens=16, temperature=0.0)) for n, text in enumerate(questions)
    ]
    with closing(open_teacher(options, tmp_path / "journal")) as teacher:
        replies = {reply.id: reply for reply in teacher.answer(iter(requests))}
    made = answering.chat([[{"role": "user", "content": text}] for text in questions], SamplingParams(16))
    for number, [answer] in enumerate(made):
        reply = replies[str(number)]
        assert (reply.text or "") == (answer.text.strip() if answer.finish == "stop" else ""), reply
        assert (reply.tokens_in, reply.tokens_out) == (answer.prompt_tokens, answer.tokens)
    assert sum(reply.reason is None for reply in replies.values()) >= 10


def test_a_client_that_goes_away_wants_no_more():
    """What Starlette does with the body of a stream whose client is gone: it closes it."""

    async def go():
        told: asyncio.Queue = asyncio.Queue()
        job = ChatJob(SamplingParams(), 0, 1, told.put_nowait, ASKED)
        asked, choice = ChatRequest(messages=ASKED, stream=True), ChatChoice(0, str.encode, False)
        reply = ServedReply("id", "whole", "chunk", asked, [choice])
        body = streamed(AnswerEvent(0, SpokenPiece("a", False)), told, job, {}, reply)
        first = [await anext(body) for _ in range(2)]
        assert b'"content": "a"' in first[1] and job.wanted
        await body.aclose()
        return job.wanted

    assert asyncio.run(go()) is False


def test_a_client_that_goes_away_ends_an_answer_that_is_not_streamed():
    """However fast its pieces come."""
    jobs, sent = [], []

    class Talker:
        def submit(self, job):
            jobs.append(job)
            threading.Thread(target=self.talk, args=(job,)).start()
            return True

        def talk(self, job):
            for _ in range(2000):
                if job.wanted:
                    job.tell(AnswerEvent(0, SpokenPiece("a", False)))
                    time.sleep(0.001)
            job.tell([Generation("a", "stop", 1, 1)])

    body = json.dumps({"messages": ASKED}).encode()
    coming = iter([{"type": "http.request", "body": body}, {"type": "http.disconnect"}])

    async def receive():
        return next(coming)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": [(b"content-type", b"application/json")]}  # fmt: skip
    asyncio.run(ChatApi(Talker(), SamplingParams(), "mill", None).app(False)(scope, receive, send))
    assert sent[0]["status"] == 499 and not jobs[0].wanted


def test_a_key_is_asked_for(base_store, tmp_path):
    (tmp_path / "key").write_text(KEY)
    process, url = started(base_store.path, "--key-env", str(tmp_path / "key"))
    try:
        assert httpx.get(f"{url}/models").status_code == 401
        assert httpx.get(f"{url}/models", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert httpx.post(f"{url}/chat/completions", json={"messages": ASKED}).status_code == 401
        assert httpx.get(f"{url}/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
    finally:
        process.kill()
        _, errors = process.communicate()
    assert KEY not in errors


def test_other_machines_need_a_key_and_a_taken_port_is_said(base_store):
    from stages.serve.commands import Serve

    with pytest.raises(UsageError, match="can be reached by other machines"):
        Serve(model=base_store.path, host="0.0.0.0").run()
    with closing(listening("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="cannot listen at 127.0.0.1"):
        listening("127.0.0.1", taken.getsockname()[1])
