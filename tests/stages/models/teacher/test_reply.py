"""One reader of replies: reasoning cut away, the last whole object with the name, numbers where they are plain."""

import json
from pathlib import Path

import pytest

from stages.models.teacher.judge import letter
from stages.models.teacher.reply import DEPTH, named, rating, spoken, values
from stages.models.teacher.structured import pairs_in

SHARED = Path(__file__).parents[5] / "shared/faults/inputs/37-judge-replies.jsonl"


@pytest.mark.parametrize(
    "text, score",
    [
        ('{"score": 3}', 3), ("```json\n{\"score\": 3.5}\n```", 3.5), ('{"score": "3"}', 3), ('{"score": "3/5"}', 3), ('{"score": "3점"}', 3), ('{"score": "8/10"}', None),
        ('{"score": "three"}', None), ('{"score": "3 or 4"}', None), ('{"score": true}', None), ('{"score": null}', None), ('{"score": [3]}', None), ('{"score": Infinity}', None),
        ('{"score": ' + "9" * 5000 + "}", None), ('{"score": 0}', None), ('{"score": 6}', None), ("점수: 3", None), ("3", None), ("a score of 3 for 5 reasons", None), ("", None),
        ('```\n{"why": "a {brace} and \\"}\\" in it", "score": 2}\n```', 2), ('{"why": {"a": {"b": [1]}}, "score": 2} 이상입니다.', 2), ('{"why": "line\nbreak", "score": 2}', 2),
        ('First {"score": 1}, no: {"score": 4}', 4), ('{"score": 4}\nDone: {"status": "ok"}', 4), ('{"score": 4} {"score": 5', 4), ('{"result": {"score": 4}}', 4), ('[{"score": 4}]', 4),
        ('{"a": {"score": 1}, "b": {"score": 2}}', None), ("{'score': 4}", None), ('{"Score": 4}', None),
        ('<think>{"score": 1}</think>{"score": 5}', 5), ('<think>{"score": 1}', None), ('{"score": 1}</think>{"score": 5}', 5), ('{"score": 1} so</think> five', None),
        ('<THINKING>{"score": 1}</THINKING> {"score": 5}', 5), ('[THINK]{"score": 1}[/THINK]{"score": 5}', 5), ('Hm. <think>{"score": 1}', None),
        ('<think>a</think><think>{"score": 1}</think>{"score": 5}', 5), ('{"why": "it quotes </think> and <think>", "score": 2}', 2), ("<think>if {x} or {y}</think>\n{\"score\": 5}", 5),
    ],
)  # fmt: skip
def test_a_rating(text, score):
    assert rating(text) == score


def test_the_shared_replies():
    if not SHARED.is_file():
        pytest.skip("../shared is not beside this checkout")
    for line in SHARED.read_text("utf-8").splitlines():
        row = json.loads(line)
        found, right = rating(row["reply"]), row["right"]
        allowed = (
            {None}
            if right == "unparsed" or str(right).startswith("refused")
            else {4, None}
            if right == "4 or unparsed"
            else {right}
        )
        assert found in allowed, row


@pytest.mark.parametrize(
    "text, said",
    [
        ("<think>why</think> yes", "yes"),
        ("why</think>yes", "yes"),
        ("<think>why", ""),
        ("It opens with <think>.", "It opens with <think>."),
        ("plain", "plain"),
    ],
)
def test_reasoning_in_front_is_cut_away(text, said):
    assert spoken(text) == said


def test_a_verdict_in_words_and_reasoning():
    assert letter('<think>{"verdict": "A"}?</think>```json\n{"verdict": "tie"}\n```') == "tie"
    assert named("[" * 50 + '{"verdict": "B"}', "verdict") == "B"


PAIR = '{"instruction": "a?", "answer": "b"}'


@pytest.mark.parametrize(
    "text, pairs",
    [
        (f"[{PAIR}]", [("a?", "b")]), (f'<think>[{{"instruction": "draft"}}]</think>```json\n{{"pairs": [{PAIR}]}}\n```', [("a?", "b")]), ("[]", []), (f"{PAIR}\n{PAIR}\n", [("a?", "b")] * 2),
        (f"Here [1] it is: [{PAIR}] (see {{x}})", [("a?", "b")]), (f'[{PAIR}]\nnote: {{"lang": "ko"}}', [("a?", "b")]), ("no JSON", None), ('{"question": "a"}', None),
    ],
)  # fmt: skip
def test_pairs_of_a_teacher(text, pairs):
    assert pairs_in(text)[0] == pairs


@pytest.mark.parametrize(
    "unit", ['{"', '{"a":', '[{"a":1},', "{ ", "[[", '{"a":{"b":', "<think>", '<think>{"a":1}</think>', '{"a": 1} ']
)
def test_the_cost_is_linear(unit, monkeypatch):
    """Counted: characters the JSON reader goes through, attempts that fail included."""
    whole, read = json.JSONDecoder.raw_decode, [0]

    def counted(self, text, at=0):
        try:
            value, end = whole(self, text, at)
        except json.JSONDecodeError as fault:
            read[0] += fault.pos - at + 1
            raise
        except RecursionError:
            read[0] += DEPTH
            raise
        read[0] += end - at
        return value, end

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", counted)
    spent = []
    for size in (100_000, 200_000):
        read[0] = 0
        values(unit * (size // len(unit)))
        spent.append(read[0])
    assert spent[1] <= 2.3 * spent[0] + 1000 and spent[1] <= 8 * 200_000
