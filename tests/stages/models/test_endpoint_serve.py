"""The endpoint against `transformers serve` with a tiny model, killed again and again: as many calls as distinct rows."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psutil
import pytest

from stages.models.teacher import journal
from stages.models.teacher.base import Request, Sampling, TeacherOptions
from stages.models.teacher.journaled import open_teacher

QUESTIONS = 40
KILLS = 10
IN_FLIGHT = 2

CHILD = """
import sys
sys.path.insert(0, {repo!r})
from stages.models.teacher.base import Request, Sampling, TeacherOptions
from stages.models.teacher.journaled import open_teacher
options = TeacherOptions.build({{"kind": "endpoint", "url": {url!r}, "model": {model!r}, "max_in_flight": {in_flight}}}, "teacher")
teacher = open_teacher(options, {journal!r})
for reply in teacher.answer(Request(str(n), (("user", f"question {{n}}"),), Sampling(max_tokens=6, temperature=0.0)) for n in range({questions})):
    assert reply.reason in (None, "teacher.truncated", "teacher.bad_answer"), reply
"""


@pytest.fixture
def serving(untrained, tmp_path):
    """Base URL of `transformers serve` over the tiny model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = os.path.join(os.path.dirname(sys.executable), "transformers")
    log = open(tmp_path / "serve.log", "wb")
    process = subprocess.Popen(
        [program, "serve", str(untrained), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        while True:
            assert process.poll() is None, (tmp_path / "serve.log").read_text()[-2000:]
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()
        log.close()


@pytest.fixture
def counting(serving):
    """A pass-through before the server that counts: `.asked` bodies in, `.answered` bodies out."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            counted.asked.append(body)
            reply = httpx.post(
                f"{serving}{self.path.removeprefix('/v1')}",
                content=body,
                headers={"Content-Type": "application/json"},
                timeout=120,
            )
            counted.answered.append(body)
            self.send_response(reply.status_code)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *_):
            pass

        def handle_error(self, *_):
            pass

    counted = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    counted.asked, counted.answered, counted.daemon_threads = [], [], True
    counted.handle_error = lambda *_: None
    counted.url = f"http://127.0.0.1:{counted.server_address[1]}/v1"
    threading.Thread(target=counted.serve_forever, daemon=True).start()
    yield counted
    counted.shutdown()
    counted.server_close()


@pytest.mark.slow
def test_killed_ten_times_it_makes_as_many_calls_as_there_are_distinct_rows(counting, untrained, tmp_path, repo):
    """kill -9 of the run and all below it, each time with calls on the wire. The broker stands beside the run."""
    path = tmp_path / "journal.jsonl"
    code = CHILD.format(
        repo=str(repo),
        url=counting.url,
        model=str(untrained),
        journal=str(path),
        in_flight=IN_FLIGHT,
        questions=QUESTIONS,
    )
    kills = under_way = 0
    while True:
        before = len(counting.asked)
        child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
        while child.poll() is None and (kills >= KILLS or len(counting.asked) < before + 3):
            time.sleep(0.002)
        if kills < KILLS and child.poll() is None:
            under_way += len(counting.asked) > len(counting.answered)
            below = psutil.Process(child.pid).children(recursive=True)
            os.killpg(child.pid, signal.SIGKILL)
            for process in below:
                process.kill()
            kills += 1
        assert child.wait() in (0, -9)
        if child.returncode == 0:
            break
    entries = list(journal.read(path))
    assert kills == KILLS and under_way > 0, "no kill met a call on the wire: nothing was shown"
    assert len(counting.asked) == len(counting.answered) == QUESTIONS
    assert len({re.search(r"question \d+", body.decode())[0] for body in counting.asked}) == QUESTIONS
    assert len(entries) == len({entry["key"] for entry in entries}) == QUESTIONS


@pytest.mark.slow
def test_a_real_server_answers_and_its_counts_are_kept(serving, untrained, tmp_path):
    options = TeacherOptions.build({"kind": "endpoint", "url": serving, "model": str(untrained)}, "teacher")
    teacher = open_teacher(options, tmp_path / "journal.jsonl")
    replies = list(
        teacher.answer([Request("1", (("user", "맷돌은 무엇인가요?"),), Sampling(max_tokens=5, temperature=0.0))])
    )
    teacher.close()
    assert replies[0].reason in (None, "teacher.truncated", "teacher.bad_answer") and replies[0].finish_reason in (
        "stop",
        "length",
    )
    assert replies[0].tokens_in > 0 and 0 < replies[0].tokens_out <= 6
