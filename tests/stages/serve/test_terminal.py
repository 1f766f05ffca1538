"""`maetdol chat`: between pipes, and in a terminal."""

import codecs
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from stages.models.inference.generate import SamplingParams
from stages.serve.dialogue import Dialogue
from stages.serve.terminal import Terminal, questions
from stages.serve.words import COMMANDS, WORDS, words_of

REPO = Path(__file__).resolve().parents[3]


def terminal(answering, reasoning=False, language="en"):
    dialogue = Dialogue(answering, SamplingParams(16))
    return Terminal(dialogue, WORDS[language], io.StringIO(), io.StringIO(), reasoning)


def maetdol(*words, given=None, **env):
    code = "import sys; from pipeline.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=REPO,
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


def test_a_question_between_pipes_gets_the_answer_alone(base_store, sft_store, answering):
    asked = "3: how do you call 콩?\n"
    done = maetdol("chat", base_store.path, sft_store.path, "--temperature", "0", "--max-new-tokens", "16", given=asked)
    said = answering.chat([[{"role": "user", "content": asked.strip()}]], SamplingParams(16))[0][0].text
    assert (done.stdout, done.stderr, done.returncode) == (f"{said.strip()}\n", "", 0)


def test_an_empty_input_and_a_question_that_cannot_be_asked_are_errors(base_store, sft_store):
    nothing = maetdol("chat", base_store.path, sft_store.path, given=" \n")
    assert nothing.returncode == 2 and "nothing was asked" in nothing.stderr
    forged = maetdol("chat", base_store.path, sft_store.path, "--ask", "x </s> y")
    assert forged.returncode == 1 and "spells a control token" in forged.stderr and forged.stdout.strip() == ""
    missing = maetdol("chat", f"{base_store.path}-none", "--ask", "x")
    assert missing.returncode == 2 and "holds neither a model nor an adapter" in missing.stderr


def test_every_line_is_a_turn_or_a_command(answering):
    session = terminal(answering)
    lines = [
        "3: how do you call 콩?",
        "",
        "/system Be brief.",
        "밀는 영어로?",
        "/nothing",
        "/help",
        "/reset",
        "/quit",
        "never",
    ]
    going = [session.obey(line) for line in lines[:8]]
    assert going == [True] * 7 + [False]
    answers = session.out.getvalue().splitlines()
    assert len(answers) == 2 and all(answer.startswith("It is") for answer in answers)
    assert session.dialogue.turns == [] and session.dialogue.system == "Be brief."
    notes = session.notes.getvalue()
    assert "no command /nothing" in notes and "/system TEXT" in notes and "begins anew" in notes


def test_korean_commands_and_words(answering, monkeypatch):
    session = terminal(answering, language="ko")
    assert session.obey("/시스템 짧게 답합니다.") and session.obey("/처음") and not session.obey("/끝")
    assert session.dialogue.system == "짧게 답합니다." and "대화를 새로 시작합니다." in session.notes.getvalue()
    assert WORDS["en"].keys() == WORDS["ko"].keys()
    fields = {key: [set(re.findall(r"{(\w+)}", WORDS[each][key])) for each in sorted(WORDS)] for key in WORDS["en"]}
    assert all(one == other for one, other in fields.values())
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert words_of("auto") is WORDS["en"]
    monkeypatch.setenv("LANG", "ko_KR.UTF-8")
    assert words_of("auto") is WORDS["ko"] and words_of("en") is WORDS["en"]
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert words_of("auto") is WORDS["en"]
    assert set(COMMANDS.values()) == {"/system", "/reset", "/quit", "/help"}


def test_what_a_model_says_cannot_steer_the_terminal(answering, monkeypatch):
    from stages.models.inference.generate import Generation

    def chat(rows, sampling, on_text):
        on_text(0, 0, "<think>hm</think>a\x1b[2Jb\nc")
        return [[Generation("", "length", 16, 3)]]

    monkeypatch.setattr(answering, "chat", chat)
    hidden, seen = terminal(answering), terminal(answering, reasoning=True)
    hidden.answer("1: how do you call 콩?"), seen.answer("1: how do you call 콩?")
    assert hidden.out.getvalue() == "a\\x1b[2Jb\nc\n" and seen.out.getvalue() == "hma\\x1b[2Jb\nc\n"
    assert "Cut at 16 tokens" in hidden.notes.getvalue()


def test_input_is_one_question_or_lines():
    assert list(questions(io.StringIO("a\nb\n"), False)) == ["a\nb\n"]
    assert list(questions(io.StringIO("a\nb\n"), True)) == ["a\n", "b\n"]
    with pytest.raises(UsageError, match="nothing was asked"):
        list(questions(io.StringIO("\n"), False))


def test_a_conversation_in_a_terminal(base_store, sft_store):
    """Through a pseudo-terminal: prompts, a command, an answer, Ctrl-C at the prompt."""
    main, other = pty.openpty()
    code = "import sys; from pipeline.cli import main; main()"
    words = [
        "chat",
        base_store.path,
        sft_store.path,
        "--temperature",
        "0",
        "--max-new-tokens",
        "16",
        "--language",
        "ko",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=REPO, stdin=other, stdout=other, stderr=other, close_fds=True,
        env={**os.environ, "TERM": "dumb"}, start_new_session=True,
    )  # fmt: skip
    os.close(other)
    seen, characters = "", codecs.getincrementaldecoder("utf-8")()

    def until(mark):
        nonlocal seen
        while mark not in seen:
            seen += characters.decode(os.read(main, 4096))
        before, seen = seen.split(mark, 1)
        return before

    assert "컨텍스트" in until("나> ")
    os.write(main, "3: how do you call 콩?\n".encode())
    until("모델> ")
    assert "It is" in until("나> ")
    os.write(main, b"/reset\n")
    assert "대화를 새로 시작합니다." in until("나> ")
    os.write(main, b"\x04")
    try:
        while os.read(main, 4096):
            pass
    except OSError:
        pass
    assert process.wait() == 0
    os.close(main)
