"""Questions with choices from local files, in the forms the common sets come in.

A file (`pipeline/table_files.py`) holds one question per row, in any of these forms, told apart by their fields:

    KoBEST BoolQ      paragraph, question, label; or Text, Question, Answer      answers 아니오, 예
    KoBEST COPA       premise, question, alternative_1, alternative_2, label; or sentence, question, 1, 2, Answer
    KoBEST HellaSwag  context, ending_1 .. ending_4, label; or context, choice1 .. choice4, label
    KoBEST WiC        word, context_1, context_2, label
    KoBEST SentiNeg   sentence, label
    ARC               question (a string, or {stem, choices}), choices {text, label}, answerKey
    llm-foundry       query, choices, gold
    HellaSwag, PIQA   ctx and endings, or goal, sol1, sol2, label
    plain             prompt, choices (a list), answer (its index)

Prompts are worded as lm-evaluation-harness words them (0.4.13: `tasks/kobest`, `tasks/arc`), but for HellaSwag's "문장: ". A row that
is none of these, has no two answers, or names a right answer that is not there, ends the reading with its number and its fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import SourceError
from pipeline.table_files import rows_in


class Question(NamedTuple):
    """A prompt, its possible answers as continuations of it, and which is right."""

    prompt: str
    answers: tuple[str, ...]
    right: int


class Unfit(ValueError):
    """A row that cannot be asked; says why."""


Row = Mapping[str, Any]
LINKS = {"원인": " 왜냐하면", "결과": " 그래서"}
"""What joins the two halves of a KoBEST COPA question."""
NO_YES = (" 아니오", " 예")


def questions(path: str | Path) -> list[Question]:
    """The questions of a file. SourceError names the first row that cannot be asked, and why."""
    path, found = Path(path), []
    for number, row in enumerate(rows_in(path), 1):
        try:
            found.append(question_of(row))
        except Unfit as fault:
            raise SourceError(
                f"{path} row {number}: {fault}",
                "fix or remove the row; `stages/evaluate/forms.py` lists the forms; plain: prompt, choices, answer",
            ) from None
    if not found:
        raise SourceError(f"{path} holds no question", "give a file of questions")
    return found


def question_of(row: Row) -> Question:
    """One row in whichever form it has. Unfit says what is wrong with it."""
    for fields, make in FORMS:
        if all(field in row for field in fields):
            prompt, answers, right = make(row)
            return _checked(prompt, answers, right)
    raise Unfit(f"no known form of a question (fields {', '.join(sorted(map(str, row)))[:120]})")


def _checked(prompt: str, answers: tuple[str, ...], right: int) -> Question:
    if len(answers) < 2:
        raise Unfit(f"{len(answers)} answers to choose from")
    if not all(answer.strip() for answer in answers):
        raise Unfit(f"answer {next(n for n, answer in enumerate(answers) if not answer.strip())} is empty")
    if not 0 <= right < len(answers):
        raise Unfit(f"the right answer is number {right}, there are {len(answers)}")
    if not prompt.strip():
        raise Unfit("the question is empty")
    return Question(prompt, answers, right)


def _text(row: Row, field: str) -> str:
    value = row.get(field)
    if value is None:
        raise Unfit(f"{field} is missing")
    return str(value)


def _number(row: Row, field: str) -> int:
    value = row.get(field)
    try:
        number = int(value)  # type: ignore[arg-type]
        if number != float(value):  # type: ignore[arg-type]
            raise ValueError
        return number
    except (TypeError, ValueError, OverflowError):
        raise Unfit(f"{field} is {value!r}, which is no whole number") from None


def _listed(row: Row, field: str) -> tuple[str, ...]:
    value = row.get(field)
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, (str, int, float)) for one in value):
        raise Unfit(f"{field} is no list of answers")
    return tuple(f" {one}" for one in value)


def _answers(row: Row, *fields: str) -> tuple[str, ...]:
    return tuple(f" {_text(row, field)}" for field in fields)


def _truth(row: Row, field: str) -> int:
    word = _text(row, field).strip().lower()
    if word not in ("true", "false", "1", "0"):
        raise Unfit(f"{field} is {word!r}, neither true nor false")
    return int(word in ("true", "1"))


def _joined(row: Row, field: str) -> str:
    """A COPA question: the sentence and the word that asks for its cause or its effect."""
    word = _text(row, "question").strip()
    if word not in LINKS:
        raise Unfit(f"question is {word!r}, neither {' nor '.join(LINKS)}")
    return _text(row, field) + LINKS[word]


def _foundry(row: Row) -> tuple[str, tuple[str, ...], int]:
    question = _text(row, "query")
    return (
        question + ("\nAnswer:" if question.startswith("Question:") else ""),
        _listed(row, "choices"),
        _number(row, "gold"),
    )


def _arc(row: Row) -> tuple[str, tuple[str, ...], int]:
    question, given = row["question"], row.get("choices")
    if isinstance(question, Mapping):
        question, given = question.get("stem"), question.get("choices")
    try:
        if isinstance(given, Mapping):
            texts, labels = list(given["text"]), list(given["label"])
        else:
            texts, labels = [one["text"] for one in given], [one["label"] for one in given]  # type: ignore[union-attr]
    except (TypeError, KeyError):
        raise Unfit("choices have no text and label") from None
    if not isinstance(question, str):
        raise Unfit("the question has no text")
    if len(texts) != len(labels) or row["answerKey"] not in labels:
        raise Unfit(f"answerKey {row['answerKey']!r} is none of the labels {', '.join(map(str, labels))}")
    return f"Question: {question}\nAnswer:", tuple(f" {text}" for text in texts), labels.index(row["answerKey"])


FOUR = ("1", "2", "3", "4")
FORMS: tuple[tuple[tuple[str, ...], Callable[[Row], tuple[str, tuple[str, ...], int]]], ...] = (
    (("prompt", "choices", "answer"), lambda r: (_text(r, "prompt"), _listed(r, "choices"), _number(r, "answer"))),
    (("premise", "question", "alternative_1"), lambda r: (_joined(r, "premise"), _answers(r, "alternative_1", "alternative_2"), _number(r, "label"))),
    (("sentence", "1", "2", "Answer"), lambda r: (_joined(r, "sentence"), _answers(r, "1", "2"), _number(r, "Answer") - 1)),
    (("context", "choice1"), lambda r: (_text(r, "context"), _answers(r, *(f"choice{n}" for n in FOUR)), _number(r, "label"))),
    (("Text", "Question", "Answer"), lambda r: (f"{_text(r, 'Text')} 질문: {_text(r, 'Question')} 답변:", NO_YES, _truth(r, "Answer"))),
    (("query", "choices", "gold"), _foundry),
    (("context", "ending_1"), lambda r: (_text(r, "context"), _answers(r, *(f"ending_{n}" for n in FOUR)), _number(r, "label"))),
    (("paragraph", "question"), lambda r: (f"{_text(r, 'paragraph')} 질문: {_text(r, 'question')} 답변:", NO_YES, _number(r, "label"))),
    (
        ("word", "context_1", "context_2"),
        lambda r: (
            f"문장1: {_text(r, 'context_1')} 문장2: {_text(r, 'context_2')} 두 문장에서 {_text(r, 'word')}가 같은 뜻으로 쓰였나?", NO_YES, _number(r, "label"),
        ),
    ),
    (("sentence", "label"), lambda r: (f"문장: {_text(r, 'sentence')} 긍부정:", (" 부정", " 긍정"), _number(r, "label"))),
    (("ctx", "endings"), lambda r: (_text(r, "ctx"), _listed(r, "endings"), _number(r, "label"))),
    (("context", "endings"), lambda r: (_text(r, "context"), _listed(r, "endings"), _number(r, "label"))),
    (("goal", "sol1"), lambda r: (f"Question: {_text(r, 'goal')}\nAnswer:", _answers(r, "sol1", "sol2"), _number(r, "label"))),
    (("question", "answerKey"), _arc),
)  # fmt: skip
"""Fields that tell a form, and how its rows are read; the first that fits."""
