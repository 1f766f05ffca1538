"""teacher_vs_student, best_of_n and the judge over student_reject; calls that were not finished."""

import json

import pytest

from pipeline.errors import WorkError
from stages.models.teacher.base import Reply, TeacherOptions

SOME = TeacherOptions(kind="endpoint", url="http://127.0.0.1:9", model="m")


class ScriptedTeacher:
    """Replies by a function of the request; a string is an answer, a Reply is taken as it is."""

    name = "scripted"

    def __init__(self, say):
        self.say, self.calls, self.closed = say, 0, False

    def answer(self, requests):
        for request in requests:
            self.calls += 1
            said = self.say(request)
            reason = None if isinstance(said, str) else said[0]
            yield Reply(
                request.id,
                request.key("scripted"),
                said if reason is None else None,
                reason,
                model="scripted",
                finish_reason="stop",
            )

    def close(self):
        self.closed = True


@pytest.fixture
def teacher(monkeypatch):
    def put(say):
        made = ScriptedTeacher(say)
        monkeypatch.setattr("stages.dpo.make.open_teacher", lambda options, journal: made)
        return made

    return put


def reasons(of, pairs):
    by_id = {entry["id"]: entry for entry in pairs.ledgers().to_pylist()}
    return [by_id[name]["reason"] for name in of.table()["id"].to_pylist()]


def test_the_teacher_writes_the_chosen_side(chats, make_pairs, scripted, teacher):
    scripted()
    said = teacher(
        lambda r: (
            ("teacher.truncated",) if "2번째" in r.messages[-1][1] else f"맷돌은 이렇게 씁니다. {r.messages[-1][1]}"
        )
    )
    of = chats(range(4))
    pairs = make_pairs(of, method="teacher_vs_student", teacher=SOME)
    assert reasons(of, pairs) == [None, None, "teacher.truncated", None]
    row = pairs.table().to_pylist()[0]
    assert row["chosen"][0]["content"].startswith("맷돌은 이렇게 씁니다.") and row["method"] == "teacher_vs_student"
    assert {"key": "teacher", "value": "scripted", "type": None} in row["meta"] and said.closed


def test_best_of_n_takes_best_and_worst(chats, make_pairs, scripted, teacher):
    scripted(
        lambda prompt, k: ["맷돌은 곡식을 가는 돌입니다.", "맷돌은 던지는 돌이라고 합니다.", "맷돌은 아마 돌이겠지요."][
            k
        ]
    )
    scores = {"가는": 5, "던지는": 1, "아마": 3}
    teacher(
        lambda r: json.dumps(
            {"score": next(v for word, v in scores.items() if word in r.messages[-1][1].rsplit("답변:", 1)[-1])}
        )
    )
    of = chats(range(3))
    pairs = make_pairs(of, method="best_of_n", samples=3, judge=SOME)
    for row in pairs.table().to_pylist():
        assert "가는" in row["chosen"][0]["content"] and "던지는" in row["rejected"][0]["content"]
        assert (row["score_chosen"], row["score_rejected"]) == (5.0, 1.0)


def test_best_of_n_ties_and_too_few(chats, make_pairs, scripted, teacher):
    scripted(lambda prompt, k: "" if "0번째" in prompt and k else f"맷돌은 {k}번 도는 돌입니다.")
    teacher(lambda r: '{"score": 4}' if "2번째" not in r.messages[-1][1] else "no json")
    of = chats(range(3))
    pairs = make_pairs(of, method="best_of_n", samples=2, judge=SOME)
    assert reasons(of, pairs) == ["dpo.empty", "dpo.tie", "judge.unparsed"]


def verdict_for(winner):
    """What a judge says who finds `winner` (a word of one answer) better, whatever order it is shown in."""

    def say(request):
        shown = request.messages[-1][1]
        first = shown.split("답변 A:")[1].split("답변 B:")[0]
        return json.dumps({"verdict": "tie" if winner is None else "A" if winner in first else "B"})

    return say


@pytest.mark.parametrize("winner, reason", [("곡식을", None), ("무거운", "dpo.student_wins"), (None, "dpo.tie")])
def test_the_judge_drops_what_beats_or_equals_the_label(chats, make_pairs, scripted, teacher, winner, reason):
    scripted()
    said = teacher(verdict_for(winner))
    of = chats(range(3))
    pairs = make_pairs(of, judge=SOME)
    assert reasons(of, pairs) == [reason] * 3 and said.calls == 6
    assert pairs.receipt(0).notes["judge"]["judged"] == 3


def test_a_judge_of_positions_makes_no_pair(chats, make_pairs, scripted, teacher):
    scripted()
    teacher(lambda request: '{"verdict": "A"}')
    of = chats(range(3))
    pairs = make_pairs(of, judge=SOME)
    assert reasons(of, pairs) == ["judge.disagrees"] * 3 and pairs.receipt(0).notes["judge"]["flips"] == 3


def test_the_judge_is_not_asked_about_what_fell_already(chats, make_pairs, scripted, teacher):
    scripted(lambda *_: "")
    said = teacher(verdict_for("곡식을"))
    of = chats(range(3))
    assert reasons(of, make_pairs(of, judge=SOME)) == ["dpo.empty"] * 3
    assert said.calls == 0


def test_calls_not_finished_fail_the_run_and_are_asked_again(chats, make_pairs, scripted, teacher):
    student = scripted()
    of = chats(range(3))
    teacher(lambda request: ("teacher.unreachable",))
    with pytest.raises(WorkError, match="run again"):
        make_pairs(of, method="teacher_vs_student", teacher=SOME)
    teacher(lambda request: "맷돌은 천천히 돌리는 것이 좋다고 합니다.")
    pairs = make_pairs(of, method="teacher_vs_student", teacher=SOME)
    assert pairs.table().num_rows == 3 and len(student.asked) == 3


def test_a_spent_budget_stops_cleanly(chats, make_pairs, scripted, teacher):
    scripted()
    teacher(
        lambda r: ("teacher.budget",) if "1번째" in r.messages[-1][1] else "맷돌은 천천히 돌리는 것이 좋다고 합니다."
    )
    of = chats(range(3))
    assert reasons(of, make_pairs(of, method="teacher_vs_student", teacher=SOME)) == [None, "teacher.budget", None]
