"""Options, keys, budget, and one call for one question."""

import pytest
from pydantic import ValidationError

from pipeline.errors import OptionError
from stages.models.teacher.base import Reply, Sampling, TeacherOptions, secret
from stages.models.teacher.journal import Journal
from stages.models.teacher.journaled import Journaled


class Backend:
    """Answers at once, in groups of two, and remembers what it was asked."""

    def __init__(self, text=lambda q: f"answer to {q}", reason=None):
        self.text, self.reason, self.asked = text, reason, []

    def replies(self, requests):
        held = []
        for key, request in requests:
            question = request.messages[-1][1]
            self.asked.append(question)
            held.append(
                Reply(
                    request.id,
                    key,
                    None if self.reason else self.text(question),
                    reason=self.reason,
                    tokens_in=10,
                    tokens_out=5,
                    model="m",
                )
            )
            if len(held) == 2:
                yield held
                held = []
        if held:
            yield held


def options(**more):
    return TeacherOptions.build(
        {"kind": "endpoint", "url": "http://127.0.0.1:1/v1", "model": "m", **more}, "sft.teacher"
    )


def teacher(tmp_path, backend, **more):
    return Journaled(backend, Journal(tmp_path / "j.jsonl"), options(**more))


def test_the_same_question_is_asked_once(tmp_path, asked):
    backend = Backend()
    with_twins = [asked("a"), asked("b"), asked("a", id="a again"), asked("c")]
    first = teacher(tmp_path, backend)
    replies = {r.id: r.text for r in first.answer(with_twins)}
    first.close()
    assert replies == {
        "a": "answer to a",
        "b": "answer to b",
        "a again": "answer to a",
        "c": "answer to c",
    } and backend.asked == ["a", "b", "c"]
    second = teacher(tmp_path, backend)
    again = list(second.answer(with_twins))
    assert {r.id: r.text for r in again} == replies and all(r.journaled for r in again) and len(backend.asked) == 3


def test_the_key_is_model_prompt_and_parameters(asked):
    key = asked("a").key("m")
    assert key == asked("a", id="other", url="http://elsewhere", task="qa").key("m")
    assert (
        len(
            {
                key,
                asked("a").key("n"),
                asked("b").key("m"),
                asked("a", sampling=Sampling(temperature=0)).key("m"),
                asked("a", sampling=Sampling(seed=None)).key("m"),
            }
        )
        == 5
    )


@pytest.mark.parametrize("text,note", [("a", "the prompt"), (" A\n", None), ("   ", "empty")])
def test_a_teacher_that_gives_the_prompt_back_has_answered_nothing(tmp_path, asked, text, note):
    reply = next(iter(teacher(tmp_path, Backend(lambda q: text)).answer([asked("a")])))
    assert (reply.reason, note in reply.note) == ("teacher.bad_answer", True) if note else reply.reason is None


def test_the_budget_stops_cleanly_and_a_rerun_stops_at_the_same_call(tmp_path, asked):
    questions = [asked(str(n)) for n in range(6)]
    for _ in range(2):
        backend = Backend()
        some = teacher(tmp_path, backend, budget={"calls": 4})
        reasons = {r.id: r.reason for r in some.answer(questions)}
        some.close()
        assert [reasons[q.id] for q in questions] == [None] * 4 + ["teacher.budget"] * 2
    assert backend.asked == []
    more = teacher(tmp_path, backend := Backend(), budget={"calls": 6})
    assert all(r.reason is None for r in more.answer(questions)) and backend.asked == ["4", "5"]


def test_budgets_of_tokens_and_money(tmp_path, asked):
    questions = [asked(f"{n} " + "word " * 100, sampling=Sampling(max_tokens=100)) for n in range(10)]
    tokens = teacher(tmp_path, Backend(), budget={"tokens": 500})
    assert sum(r.reason == "teacher.budget" for r in tokens.answer(questions)) > 5
    tokens.close()
    money = Journaled(
        Backend(), Journal(tmp_path / "k.jsonl"), options(budget={"price": 0.5}, price_in=1000.0, price_out=1000.0)
    )
    assert 0 < sum(r.reason == "teacher.budget" for r in money.answer(questions)) < 10


def test_what_was_not_finished_is_asked_again(tmp_path, asked):
    down = teacher(tmp_path, Backend(reason="teacher.unreachable"))
    assert [r.reason for r in down.answer([asked("a")])] == ["teacher.unreachable"]
    down.close()
    up = teacher(tmp_path, Backend())
    assert [r.text for r in up.answer([asked("a")])] == ["answer to a"]


def test_a_bad_answer_was_paid_and_is_not_bought_again(tmp_path, asked):
    for backend in (Backend(reason="teacher.truncated"), Backend()):
        one = teacher(tmp_path, backend)
        assert [r.reason for r in one.answer([asked("a")])] == ["teacher.truncated"]
        one.close()
    assert backend.asked == []


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 2.1}, {"temperature": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"frequency_penalty": 3}, {"presence_penalty": -3},
        {"max_tokens": 0}, {"seed": -1}, {"stop": ["a"] * 5}, {"stop": [""]}, {"tempature": 1},
    ],
)  # fmt: skip
def test_sampling_is_validated(given):
    with pytest.raises(ValidationError):
        Sampling.model_validate(given)


def test_only_what_is_set_is_sent():
    assert Sampling(seed=None).sent() == {"temperature": 0.5, "top_p": 0.95, "max_tokens": 598}
    assert Sampling(frequency_penalty=0.5, presence_penalty=-0.5, stop=("x",)).sent() | {} == {
        "temperature": 0.5, "top_p": 0.95, "max_tokens": 598, "seed": 0, "frequency_penalty": 0.5, "presence_penalty": -0.5, "stop": ["x"],
    }  # fmt: skip


def test_a_literal_key_is_refused_without_being_repeated():
    with pytest.raises(OptionError) as fault:
        options(key_env="sk-verysecret123")
    assert "verysecret" not in str(fault.value) and "NAME" in str(fault.value)


@pytest.mark.parametrize("url", ["http://user:pass@host/v1", "ftp://host", "host:80", "http://host/v1?key=1"])
def test_a_url_with_secrets_or_of_another_kind_is_refused(url):
    with pytest.raises(OptionError):
        options(url=url)


def test_url_without_a_path_gets_v1():
    assert options(url="http://h:8000").url == options(url="http://h:8000/").url == "http://h:8000/v1"
    assert options(url="http://h/api/v2/").url == "http://h/api/v2"


def test_the_secret_comes_from_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", " s3cret ")
    assert secret("TEACHER_KEY") == "s3cret"
    (tmp_path / "key").write_text("t0ken\n")
    assert secret(str(tmp_path / "key")) == "t0ken" and secret(None) is None
    for name in ("NOT_SET_ANYWHERE", str(tmp_path / "absent")):
        with pytest.raises(OptionError):
            secret(name)


def test_where_and_how_do_not_enter_the_fingerprint():
    base = options()
    assert (
        base.fingerprint()
        == options(
            url="http://other:9/v1", max_in_flight=2, retries=0, journal="/elsewhere.jsonl", key_env="KEY"
        ).fingerprint()
    )
    assert base.fingerprint() != options(model="n").fingerprint() != options(sampling={"temperature": 1}).fingerprint()


@pytest.mark.parametrize(
    "given,word",
    [
        ({"kind": "endpoint"}, "url and model"),
        ({"kind": "local"}, "folder"),
        ({"kind": "recorded"}, "recorded"),
        ({"kind": "oracle"}, "endpoint"),
    ],
)
def test_incomplete_options_name_what_is_missing(given, word):
    with pytest.raises(OptionError) as fault:
        TeacherOptions.build(given, "sft.teacher")
    assert word in str(fault.value)


@pytest.mark.parametrize("given,words", [
    ({"kind": "endpoint", "url": "http://h/v1", "model": "m", "extra_body": {"stream": True}}, "must not hold stream"),
    ({"kind": "endpoint", "url": "http://h/v1", "model": "m", "extra_body": {"x": float("nan")}}, "plain JSON"),
    ({"kind": "local", "folder": ".", "extra_body": {"x": 1}}, "sends no request"),
])  # fmt: skip
def test_extra_fields_of_a_body_are_checked_before_anything_is_sent(given, words):
    with pytest.raises(OptionError, match=words):
        TeacherOptions.build(given, "teacher")
