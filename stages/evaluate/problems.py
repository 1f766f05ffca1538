"""Problems whose answer is a number, by generation: the model writes, the last number it writes is compared (GSM8K).

Forms of a row: `question` and `answer` with the result after `####` (GSM8K), or `context`, `chain_of_thought` and `answer` (llm-foundry).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import SourceError, UsageError
from pipeline.table_files import rows_in
from stages.models.final_number import number_of, plain


class Problem(NamedTuple):
    """A question, how it is worked out (shown in examples), and the number it comes to."""

    question: str
    worked: str
    answer: str


class Problems(NamedTuple):
    """A named set of problems."""

    name: str
    problems: list[Problem]
    shots: int = 0


def load(path: str | Path, shots: int = 0, most: int | None = None) -> Problems:
    """Problems of a JSONL, JSON, TSV or Parquet file, `most` of them by hash. SourceError for a row of no known form."""
    import hashlib

    found = []
    for number, row in enumerate(rows_in(Path(path)), 1):
        problem = _problem(row)
        if problem is None:
            raise SourceError(
                f"{path} row {number}: no problem with a number for an answer",
                "give question and answer (`#### 42`), or context, chain_of_thought, answer",
            )
        found.append(problem)
    if not found:
        raise SourceError(f"{path} holds no problem", "give a file of problems")
    if shots >= len(found):
        raise UsageError(f"{path} has too few problems to show {shots} of them first", "ask for fewer `shots`")
    found.sort(key=lambda problem: hashlib.blake2b(problem.question.encode(), digest_size=8).hexdigest())
    name = Path(path).stem
    return Problems(f"{name}, {shots} shots" if shots else name, found[: (most + shots) if most else None], shots)


def _problem(row: dict[str, Any]) -> Problem | None:
    if "chain_of_thought" in row and "context" in row:
        found = Problem(
            str(row["context"] or ""),
            f"{row['chain_of_thought']}\n#### {row.get('answer')}",
            plain(str(row.get("answer"))),
        )
    elif "question" in row and "####" in str(row.get("answer", "")):
        found = Problem(str(row["question"] or ""), row["answer"], plain(row["answer"].rpartition("####")[2]))
    else:
        return None
    return found if found.question.strip() and found.answer else None


def prompts(problems: Problems) -> tuple[list[str], list[Problem]]:
    """A prompt per problem asked; the first `shots` problems are the examples and are not asked."""
    examples, questions = problems.problems[: problems.shots], problems.problems[problems.shots :]
    front = "".join(f"Question: {one.question}\nAnswer: {one.worked}\n\n" for one in examples)
    return [f"{front}Question: {one.question}\nAnswer:" for one in questions], questions


def solved(generator: Any, problems: Problems, max_new_tokens: int) -> tuple[np.ndarray, list[str]]:
    """Per problem asked: 1 where the number is right, else 0; and what was written."""
    from stages.models.inference.generate import SamplingParams

    texts, questions = prompts(problems)
    made = [
        answers[0].text
        for answers in generator.complete(texts, SamplingParams(max_new_tokens, stop=("\n\n", "Question:")))
    ]
    return scores(made, questions), made


def scores(made: Sequence[str], questions: Sequence[Problem]) -> np.ndarray:
    """1 where the number written is the right one."""
    return np.asarray([float(number_of(text) == one.answer != "") for text, one in zip(made, questions)])
