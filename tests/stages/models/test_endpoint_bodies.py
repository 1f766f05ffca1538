"""Whatever a server answers is an answer or a reason, sane in the journal and the same on every run."""

import json
from contextlib import closing

import pytest

from stages.models.teacher.base import BAD_ANSWER, Reply, TeacherOptions, echo_checked
from stages.models.teacher.endpoint import MOST_TOKENS, parse, retry_after
from stages.models.teacher.journal import line_of
from stages.models.teacher.journaled import open_teacher

BASE = Reply("x", "0" * 32)


def body_of(**more):
    return json.dumps(
        {"choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}], **more}
    )


@pytest.mark.parametrize(
    "said, tokens",
    [("9" * 401, MOST_TOKENS), ("9" * 5000, MOST_TOKENS), ("-3", None), ("-" + "9" * 5000, None), ("NaN", None), ("Infinity", MOST_TOKENS), ('"12"', None), ("true", None), ("null", None), ("[1]", None), ("12.0", 12), ("1e999", MOST_TOKENS), ("12", 12)],
)  # fmt: skip
def test_counts_of_tokens_that_cannot_be(said, tokens, asked):
    """The answer stands, and what is journaled is a count or nothing."""
    data = (
        body_of()
        .replace('"choices"', f'"usage": {{"completion_tokens": {said}, "prompt_tokens": {said}}}, "choices"')
        .encode()
    )
    found = parse(data, BASE)
    assert (found.text, found.tokens_out, found.tokens_in) == ("yes", tokens, tokens)
    assert json.loads(line_of(asked("q"), found))["tokens_out"] == tokens


@pytest.mark.parametrize(
    "data, text, note",
    [
        (b'{"choices": []}', None, "no choices"), (b'{"error": {"message": "x"}}', None, "error without a status"), (b"[]", None, "not a JSON object"), (b'{"choices": [{"mess', None, "not JSON"), (b"[" * 100_000, None, "not JSON"),
        (b'{"choices": [{"finish_reason": "stop"}]}', None, "empty"), (b'{"choices": [{"message": "yes", "finish_reason": "stop"}]}', None, "empty"), (b'{"choices": [7]}', None, "no choices"), (b'{"choices": {"0": 1}}', None, "no choices"),
        (b'{"choices": [{"message": {"content": null, "reasoning_content": "hm"}, "finish_reason": "stop"}]}', None, "reasoning alone"), (b'{"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}', None, "empty"),
        (b'{"choices": [{"message": {"content": [{"type": "text", "text": "y"}, {"type": "image_url"}, {"type": "text", "text": "es"}]}, "finish_reason": "stop"}]}', "yes", ""),
        (b'{"choices": [{"message": {"content": "yes"}, "finish_reason": ["stop"]}]}', None, "finish_reason"), (b'\xef\xbb\xbf{"choices": [{"message": {"content": "y\xffs"}, "finish_reason": "stop"}]}', "y�s", ""),
    ],
)  # fmt: skip
def test_a_body_of_any_kind_is_an_answer_or_a_reason(data, text, note):
    found = parse(data, BASE)
    assert found.text == text and note in found.note and (found.reason == BAD_ANSWER) == (text is None)


@pytest.mark.parametrize(
    "said",
    [
        "soon",
        "",
        "-5",
        "nan",
        "inf",
        "1e999",
        "99999999999999999999",
        "Wed, 21 Oct",
        "Wed, 99 Oct 99999 99:99:99 GMT",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "\u0661\u0662",
        "0x10",
    ],
)
def test_a_retry_after_of_any_kind(said):
    found = retry_after(said)
    assert found is None or found >= 0


def test_a_lone_surrogate_is_the_replacement_character_on_every_run(chat_server, tmp_path, asked):
    """Written as an escape, it is no text: the journal holds, and both runs give, the same."""
    server = chat_server(
        lambda question, attempt, headers: (
            200,
            {},
            '{"choices": [{"message": {"content": "a\\ud800b \\ud83c\\udf3e"}, "finish_reason": "stop"}]}',
        )
    )
    said = []
    for _ in range(2):
        options = TeacherOptions(kind="endpoint", url=server.url, model="tiny", broker=False)
        with closing(open_teacher(options, tmp_path / "j.jsonl")) as teacher:
            said.append([(reply.text, reply.journaled) for reply in teacher.answer([asked("q")])])
    assert said == [[("a\ufffdb 🌾", False)], [("a\ufffdb 🌾", True)]]


def test_reasoning_in_front_of_an_answer_is_not_the_answer(asked):
    assert echo_checked(Reply("x", "k", "<think>so</think> yes"), asked("q")).text == "yes"
    alone = echo_checked(Reply("x", "k", "<think>so"), asked("q"))
    assert (alone.text, alone.reason, alone.note) == (None, BAD_ANSWER, "the answer is reasoning alone")
