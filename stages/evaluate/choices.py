"""Multiple choice by log-likelihood: which answer does the model find likeliest?

A prompt and an answer are tokenised together and parted where the prompt's own tokens end, as lm-evaluation-harness does
(`TemplateLM._encode_pair`), so that an answer is spelt as it would be written there. Four ways of comparing answers of different
lengths are taken at once: by the sum of log-probabilities (its `acc`), per character (`acc_norm`), per UTF-8 byte (`acc_bytes`) and
per token. Per byte is the one that is reported and compared: it favours neither short answers nor a script nor a tokenizer.

`shots` answered questions of the same file, drawn by the question's hash and never the one asked, stand in front.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import UsageError
from stages.evaluate.forms import Question, questions
from stages.models.chat.rows import Row, join, segment

__all__ = ["Answered", "Choices", "Question", "answered", "chance", "load", "prompts"]


class Choices(NamedTuple):
    """A named set of questions."""

    name: str
    questions: list[Question]
    shots: int = 0


class Answered(NamedTuple):
    """Per question: was the likeliest answer the right one (1, 0; 1/n where n are equally likely), per byte, as a sum, per character and token; and was it read whole."""

    right: np.ndarray
    right_sums: np.ndarray
    right_characters: np.ndarray
    right_tokens: np.ndarray
    whole: np.ndarray


def load(path: str | Path, shots: int = 0, most: int | None = None) -> Choices:
    """Questions of a file, `most` of them by hash. SourceError for what cannot be asked, UsageError for too many `shots`."""
    path = Path(path)
    found = questions(path)
    if shots >= len({question.prompt for question in found}):
        raise UsageError(f"{path} has too few questions to show {shots} others before each", "ask for fewer `shots`")
    order = sorted(range(len(found)), key=lambda n: _hash(found[n]))
    kept = [found[n] for n in order[: max(most, shots + 1) if most else None]]
    return Choices(f"{path.stem}, {shots} shots" if shots else path.stem, kept, shots)


def _hash(question: Question) -> str:
    return hashlib.blake2b(question.prompt.encode(), digest_size=8).hexdigest()


def prompts(choices: Choices) -> list[str]:
    """Every question's prompt, with `shots` answered ones of the same set in front."""
    if not choices.shots:
        return [question.prompt for question in choices.questions]
    made = []
    for number, question in enumerate(choices.questions):
        rng = np.random.default_rng(int(_hash(question), 16))
        others = (choices.questions[n] for n in rng.permutation(len(choices.questions)) if n != number)
        examples = [one for one in others if one.prompt != question.prompt][: choices.shots]
        made.append("\n\n".join([*(one.prompt + one.answers[one.right] for one in examples), question.prompt]))
    return made


def answered(reader: Any, encoder: Any, choices: Choices, width: int) -> Answered:
    """Ask every answer of every question. A prompt longer than `width` loses its beginning, and is counted as not whole."""
    rows: list[Row] = []
    whole = np.ones(len(choices.questions), dtype=bool)
    for number, (prompt, question) in enumerate(zip(prompts(choices), choices.questions)):
        for context, answer in parted(encoder, prompt, question.answers):
            row, fits = _row(context, answer, encoder.bos, width)
            whole[number] &= fits
            rows.append(row)
    sums, counts = reader.sums(rows)
    sums = _alike(sums, choices)
    owner = np.repeat(np.arange(len(choices.questions)), [len(question.answers) for question in choices.questions])
    texts = [answer.strip() for question in choices.questions for answer in question.answers]
    right = np.asarray([question.right for question in choices.questions])
    ways = (
        np.asarray([len(text.encode()) for text in texts]),
        np.ones(len(texts)),
        np.asarray([len(text) for text in texts]),
        np.maximum(counts, 1),
    )
    return Answered(*(_likeliest(sums / lengths, owner, right) for lengths in ways), whole)


def parted(encoder: Any, prompt: str, answers: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tokens of the prompt and of each answer after it. White space that ends the prompt goes to the answer."""
    stem = prompt.rstrip()
    front, *both = encoder.encode([stem, *(prompt + answer for answer in answers)])
    cuts = [min(len(front), len(ids) - 1) for ids in both]
    return [(ids[:cut], ids[cut:]) for ids, cut in zip(both, cuts)]


def _row(context: np.ndarray, answer: np.ndarray, bos: int | None, width: int) -> tuple[Row, bool]:
    """A row that asks for the answer's tokens, and whether all of the prompt is in it."""
    front = [bos] if bos is not None else []
    answer = answer[: width - 1]
    room = width - len(answer) - len(front)
    tokens = np.concatenate([np.asarray(front, np.int32), context[max(0, len(context) - room) :], answer]).astype(
        np.int32
    )
    scored = np.zeros(len(tokens), dtype=bool)
    scored[len(tokens) - len(answer) :] = True
    return join([segment(tokens, scored)]), len(context) <= room


def _alike(sums: np.ndarray, choices: Choices) -> np.ndarray:
    """Equal answers of a question score alike, whatever padding did to their last bits."""
    keys = [
        (number, answer.strip()) for number, question in enumerate(choices.questions) for answer in question.answers
    ]
    first: dict[tuple[int, str], int] = {}
    return sums[[first.setdefault(key, n) for n, key in enumerate(keys)]] if keys else sums


def _likeliest(scores: np.ndarray, owner: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Per question 1 where the answer of the highest score is the right one, 1/n where it is one of n of that score, else 0."""
    bounds = np.searchsorted(owner, np.arange(len(right) + 1))
    highest = (scores[a:b] == scores[a:b].max() for a, b in zip(bounds, bounds[1:]))
    return np.asarray([float(best[one] / max(1, best.sum())) for best, one in zip(highest, right)])


def chance(choices: Choices) -> float:
    """Accuracy of guessing."""
    return float(np.mean([1 / len(question.answers) for question in choices.questions]))
