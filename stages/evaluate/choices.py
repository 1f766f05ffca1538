"""Multiple choice by log-likelihood, from local files in the common forms: which answer does the model find likeliest?

A file holds one question per line (JSON), in any of these forms, told apart by their fields:

    KoBEST BoolQ      paragraph, question, label; or Text, Question, Answer      answers 아니오, 예
    KoBEST COPA       premise, question, alternative_1, alternative_2, label; or sentence, question, 1, 2, Answer
    KoBEST HellaSwag  context, ending_1 .. ending_4, label; or context, choice1 .. choice4, label
    KoBEST WiC        word, context_1, context_2, label
    KoBEST SentiNeg   sentence, label
    ARC               question (a string, or {stem, choices}), choices {text, label}, answerKey
    llm-foundry       query, choices, gold
    HellaSwag, PIQA   ctx and endings, or goal, sol1, sol2, label
    plain             prompt, choices (a list), answer (its index)

Likelihoods are compared per UTF-8 byte of the answer (`acc_norm` of lm-evaluation-harness), so that longer answers are not
held back for their length. `shots` questions of the same file, drawn by hash and never the one asked, stand in front.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np

from pipeline.errors import SourceError
from stages.models.rows import join, segment


class Question(NamedTuple):
    """A prompt, its possible answers as continuations of it, and which is right."""

    prompt: str
    answers: tuple[str, ...]
    right: int


class Choices(NamedTuple):
    """A named set of questions."""

    name: str
    questions: list[Question]
    shots: int = 0


class Answered(NamedTuple):
    """Per question: was the likeliest answer the right one (1, 0), by bytes and by sums; and was it read whole."""

    right: np.ndarray
    right_sums: np.ndarray
    whole: np.ndarray


LINKS = {"원인": " 왜냐하면", "결과": " 그래서"}
"""What joins the two halves of a KoBEST COPA question."""


def load(path: str | Path, shots: int = 0, most: int | None = None) -> Choices:
    """Questions of a JSONL, JSON (a list), TSV or Parquet file. SourceError names the first line of no known form."""
    path = Path(path)
    questions = []
    for number, row in enumerate(rows_of(path), 1):
        found = _question(row)
        if found is None:
            raise SourceError(f"{path} row {number}: no known form of a question (fields {', '.join(sorted(map(str, row)))[:120]})", "see `stages/evaluate/choices.py` for the forms; plain: prompt, choices, answer")
        questions.append(found)
    if not questions:
        raise SourceError(f"{path} holds no question", "give a file of questions")
    order = sorted(range(len(questions)), key=lambda n: _hash(questions[n]))
    kept = [questions[n] for n in order[: most or None]]
    return Choices(f"{path.stem}, {shots} shots" if shots else path.stem, kept, shots)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL, JSON, TSV, CSV or Parquet file. SourceError where it cannot be read."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path).to_pylist()
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix in (".tsv", ".csv"):
            return list(csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ","))
        return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]
    except OSError as fault:
        raise SourceError(f"cannot read {path}: {fault.strerror}", "give the path of a readable file") from None
    except ValueError as fault:
        raise SourceError(f"{path} is no JSON: {fault}", "one JSON object per line, or one list") from None


def _question(row: dict[str, Any]) -> Question | None:
    """One row in whichever form it has; None for none of them."""
    has = row.keys().__contains__
    if has("prompt") and has("choices") and has("answer"):
        return Question(row["prompt"], tuple(" " + str(c) for c in row["choices"]), int(row["answer"]))
    if has("alternative_1") and has("premise"):
        return Question(row["premise"] + LINKS.get(row.get("question", ""), ""), tuple(" " + row[f"alternative_{n}"] for n in (1, 2)), int(row["label"]))
    if has("sentence") and has("1") and has("2") and has("Answer"):
        return Question(row["sentence"] + LINKS.get(row["question"], ""), (" " + row["1"], " " + row["2"]), int(row["Answer"]) - 1)
    if has("choice1") and has("context"):
        return Question(row["context"], tuple(" " + row[f"choice{n}"] for n in (1, 2, 3, 4)), int(row["label"]))
    if has("Text") and has("Question") and has("Answer"):
        return Question(f"{row['Text']} 질문: {row['Question']} 답변:", (" 아니오", " 예"), int(str(row["Answer"]).lower() in ("true", "1")))
    if has("query") and has("choices") and has("gold"):
        asked = row["query"] + ("\nAnswer:" if row["query"].startswith("Question:") else "")
        return Question(asked, tuple(" " + c for c in row["choices"]), int(row["gold"]))
    if has("ending_1") and has("context"):
        return Question(row["context"], tuple(" " + row[f"ending_{n}"] for n in (1, 2, 3, 4)), int(row["label"]))
    if has("paragraph") and has("question"):
        return Question(f"{row['paragraph']} 질문: {row['question']} 답변:", (" 아니오", " 예"), int(row["label"]))
    if has("context_1") and has("word"):
        asked = f"문장1: {row['context_1']} 문장2: {row['context_2']} 두 문장에서 {row['word']}가 같은 뜻으로 쓰였나? 답변:"
        return Question(asked, (" 아니오", " 예"), int(row["label"]))
    if has("sentence") and has("label"):
        return Question(f"문장: {row['sentence']} 긍부정:", (" 부정", " 긍정"), int(row["label"]))
    if has("endings") and (has("ctx") or has("context")):
        return Question(row.get("ctx") or row["context"], tuple(" " + e for e in row["endings"]), int(row["label"]))
    if has("goal") and has("sol1"):
        return Question(f"Question: {row['goal']}\nAnswer:", (" " + row["sol1"], " " + row["sol2"]), int(row["label"]))
    return _arc(row)


def _arc(row: dict[str, Any]) -> Question | None:
    asked, given = row.get("question"), row.get("choices")
    if isinstance(asked, dict):
        asked, given = asked.get("stem"), asked.get("choices")
    if not isinstance(asked, str) or not given or "answerKey" not in row:
        return None
    if isinstance(given, dict):
        texts, labels = list(given["text"]), list(given["label"])
    else:
        texts, labels = [one["text"] for one in given], [one["label"] for one in given]
    if row["answerKey"] not in labels:
        return None
    return Question(f"Question: {asked}\nAnswer:", tuple(" " + text for text in texts), labels.index(row["answerKey"]))


def _hash(question: Question) -> str:
    return hashlib.blake2b(question.prompt.encode(), digest_size=8).hexdigest()


def prompts(choices: Choices) -> list[str]:
    """Every question's prompt, with `shots` answered ones of the same set in front."""
    if not choices.shots:
        return [question.prompt for question in choices.questions]
    made = []
    for number, question in enumerate(choices.questions):
        rng = np.random.default_rng(int(_hash(question), 16))
        others = [n for n in rng.permutation(len(choices.questions)) if n != number and choices.questions[n].prompt != question.prompt]
        shown = [choices.questions[n] for n in others[: choices.shots]]
        made.append("\n\n".join([*(one.prompt + one.answers[one.right] for one in shown), question.prompt]))
    return made


def answered(reader: Any, encoder: Any, choices: Choices, width: int) -> Answered:
    """Ask every answer of every question. A prompt longer than `width` loses its beginning, and is counted."""
    rows, spans, sizes = [], [], []
    bos = [encoder.bos] if encoder.bos is not None else []
    whole = np.ones(len(choices.questions), dtype=bool)
    contexts = encoder.encode(prompts(choices))
    for number, (context, question) in enumerate(zip(contexts, choices.questions)):
        for answer, ids in zip(question.answers, encoder.encode(list(question.answers))):
            ids = ids[: width - 1]
            room = width - len(ids) - len(bos)
            whole[number] &= len(context) <= room
            tokens = np.concatenate([np.asarray(bos, np.int32), context[max(0, len(context) - room) :], ids]).astype(np.int32)
            asked = np.zeros(len(tokens), dtype=bool)
            asked[len(tokens) - len(ids) :] = True
            rows.append(join([segment(tokens, asked)]))
            spans.append(number)
            sizes.append(len(answer.strip().encode()))
    sums, _ = reader.sums(rows)
    return Answered(*_picked(sums, np.asarray(sizes, float), np.asarray(spans), choices.questions), whole)


def _picked(sums: np.ndarray, sizes: np.ndarray, spans: np.ndarray, questions: Sequence[Question]) -> tuple[np.ndarray, np.ndarray]:
    right, by_sum = np.zeros(len(questions)), np.zeros(len(questions))
    for number, question in enumerate(questions):
        of = spans == number
        right[number] = float(np.argmax(sums[of] / sizes[of]) == question.right)
        by_sum[number] = float(np.argmax(sums[of]) == question.right)
    return right, by_sum


def chance(choices: Choices) -> float:
    """Accuracy of guessing."""
    return float(np.mean([1 / len(question.answers) for question in choices.questions]))
