"""Both orders, agreement only, ties as ties: the mapping from letters to answers."""

import json

import pytest

from stages.models.teacher.base import Reply
from stages.models.teacher.judge import DISAGREES, UNPARSED, Comparison, PairJudge, letter, resolve

SAID = {"A": '{"verdict": "A"}', "B": '{"verdict": "B"}', "tie": '{"verdict": "tie"}', "?": "I like both."}


def reply(letter):
    return Reply("x", "k", SAID[letter])


@pytest.mark.parametrize(
    "forward,backward,winner,reason",
    [
        ("A", "B", "one", None), ("B", "A", "two", None), ("tie", "tie", "tie", None), ("A", "A", None, DISAGREES), ("B", "B", None, DISAGREES),
        ("A", "tie", None, DISAGREES), ("tie", "B", None, DISAGREES), ("?", "A", None, UNPARSED),
    ],
)  # fmt: skip
def test_resolve(forward, backward, winner, reason):
    verdict = resolve("x", reply(forward), reply(backward))
    assert (verdict.winner, verdict.reason) == (winner, reason)


def test_a_teacher_that_fails_gives_its_reason():
    assert resolve("x", Reply("x", "k", reason="teacher.truncated"), reply("A")).reason == "teacher.truncated"


@pytest.mark.parametrize(
    "text,word",
    [
        ('{"verdict": "A"}', "A"),
        ('Sure: {"verdict": "b"}.', "B"),
        ('{"verdict": "A"}, no: {"verdict": "B"}', "B"),
        ("A", None),
        ('{"verdict": 1}', None),
        ('["A"]', None),
    ],
)
def test_the_last_whole_object_counts(text, word):
    assert letter(text) == word


class Reader:
    """A teacher that really reads the two answers: `better(a, b)` -> A, B or tie."""

    name = "reader"

    def __init__(self, better):
        self.better, self.asked = better, []

    def answer(self, requests):
        for request in requests:
            shown = request.messages[-1][1]
            self.asked.append(shown)
            a, b = shown.split("Answer A:\n")[1].split("\n\n[Output]")[0].split("\n\nAnswer B:\n")
            yield Reply(request.id, "k", json.dumps({"verdict": self.better(a, b)}))


PAIRS = [Comparison("1", "q", "good", "bad"), Comparison("2", "q", "bad", "good"), Comparison("3", "q", "good", "good")]


def test_the_better_answer_wins_wherever_it_stands():
    judge = PairJudge(Reader(lambda a, b: "tie" if a == b else ("A" if a == "good" else "B")))
    assert [v.winner for v in judge.compare(PAIRS)] == ["one", "two", "tie"]
    assert judge.tally.judged == 3 and judge.tally.ties == 1 and judge.tally.flip_rate == 0.0
    assert len(judge.teacher.asked) == 6


def test_a_judge_that_takes_the_first_is_seen_through():
    judge = PairJudge(Reader(lambda a, b: "A"))
    assert [v.winner for v in judge.compare(PAIRS)] == [None] * 3 and judge.tally.flip_rate == 1.0


def test_a_judge_that_likes_length_is_reported():
    judge = PairJudge(Reader(lambda a, b: "A" if len(a) > len(b) else "B"))
    pairs = [Comparison(str(n), "q", "x" * (1 + n % 5 * 20), "y" * 41) for n in range(40) if n % 5 != 2]
    list(judge.compare(pairs))
    assert judge.tally.length_correlation > 0.8 and judge.tally.notes()["length_correlation"].startswith("0.")


def test_scores():
    class Rater:
        name = "rater"

        def answer(self, requests):
            texts = iter(['{"score": 4}', '{"score": 9}', "good"])
            for request in requests:
                yield Reply(request.id, "k", next(texts))

    scored = list(PairJudge(Rater()).score([Comparison(str(n), "q", "a", "") for n in range(3)]))
    assert scored == [("0", 4.0, None), ("1", None, UNPARSED), ("2", None, UNPARSED)]
