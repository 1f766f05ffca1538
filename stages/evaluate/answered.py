"""What a model is asked besides its held-out rows: questions with choices, problems with numbers, and a judge's view of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.evaluate import choices, problems
from stages.models.teacher.judge import Comparison, PairJudge


def put_choices(stage: Any, subject: Any, reader: Any, encoder: Any, width: int) -> None:
    """Accuracy per file and number of shots into `subject.values`, the particulars into `subject.asked`."""
    for path in stage.choices:
        for shots in stage.shots:
            given = choices.load(path, shots, stage.questions)
            found = choices.answered(reader, encoder, given, width)
            subject.values[f"accuracy ({given.name})"] = (found.right, np.ones(len(found.right)))
            subject.answered.setdefault("choices", {})[given.name] = {
                "questions": len(found.right), "read_whole": int(found.whole.sum()), "accuracy": round(float(found.right.mean()), 5),
                "accuracy_by_sums": round(float(found.right_sums.mean()), 5), "accuracy_by_characters": round(float(found.right_characters.mean()), 5),
                "accuracy_by_tokens": round(float(found.right_tokens.mean()), 5), "chance": round(choices.chance(given), 5),
            }  # fmt: skip


def put_problems(stage: Any, subject: Any, generator: Any) -> None:
    """Accuracy per file and number of shots, with the first solutions as they were written."""
    for path in stage.problems:
        for shots in stage.shots:
            given = problems.load(path, shots, stage.questions)
            right, made = problems.solved(generator, given, stage.solution_tokens)
            subject.values[f"accuracy ({given.name})"] = (right, np.ones(len(right)))
            written = [
                {"question": one.question, "written": text, "answer": one.answer}
                for one, text in zip(given.problems[shots:], made)
            ][: stage.samples]
            subject.answered.setdefault("problems", {})[given.name] = {
                "problems": len(right),
                "accuracy": round(float(right.mean()), 5),
                "written": written,
            }


def judge_all(judge: PairJudge, subjects: Sequence[Any], below: Any) -> None:
    """Every model's written answers against those of the model below it; a tie, and a verdict the two orders do not share, is half."""
    for number, subject in enumerate(subjects):
        before = below(subject, subjects[:number])
        if before is None or not subject.generations or not before.generations:
            continue
        texts = {one["prompt"]: one for one in before.generations}
        pairs = [
            Comparison(f"{subject.name}/{n}", one["prompt"], one["text"], texts[one["prompt"]]["text"], "ko" if one["lang"] == "ko" else "en", one["reference"])
            for n, one in enumerate(subject.generations) if one["prompt"] in texts
        ]  # fmt: skip
        judge.tally = type(judge.tally)()
        verdicts = list(judge.compare(pairs))
        won = np.asarray([{"one": 1.0, "two": 0.0}.get(verdict.winner or "", 0.5) for verdict in verdicts])
        if not len(won):
            continue
        subject.values["win rate"] = (won, np.ones(len(won)))
        subject.answered["judged"] = {
            "against": before.name, "win_rate": round(float(won.mean()), 5), "wins": int((won == 1).sum()), "losses": int((won == 0).sum()),
            "ties": sum(verdict.winner == "tie" for verdict in verdicts), "undecided": sum(verdict.winner is None for verdict in verdicts),
            "flip_rate": round(judge.tally.flip_rate, 5), "length_correlation": round(judge.tally.length_correlation, 5),
        }  # fmt: skip
