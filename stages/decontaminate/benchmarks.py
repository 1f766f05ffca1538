"""Evaluation sets from files: what is question, what is answer, in the shapes the known sets come in.

Known: KoBEST (BoolQ, COPA, HellaSwag, WiC, SentiNeg), KLUE (YNAT, STS, NLI, MRC), HumanEval, GSM8K, ARC, MMLU and whatever
names its columns likewise. A set is recognised by its columns, not by its file name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.table_files import KINDS, kind_of, rows_in

SUFFIXES = tuple(kind for kind in KINDS if kind != ".txt")
QUESTION = (
    "question", "query", "prompt", "premise", "sentence", "sentence1", "instruction", "problem", "input", "context", "title",
    "word", "stem", "text",
)  # fmt: skip
PASSAGE = ("paragraph", "passage", "text", "article", "document", "context", "story")
SOLUTION = (
    "canonical_solution",
    "solution",
    "chain_of_thought",
    "rationale",
    "explanation",
    "completion",
    "output",
    "response",
)
ANSWER = ("answer", "answers", "target", "label", "gold", "answerkey", "gold_label", "best_answer", "labels")
CHOICES = ("choices", "endings", "options", "alternatives")
YES, NO = ("yes", "true", "예", "네", "맞다", "참"), ("no", "false", "아니오", "아니요", "아니다", "거짓")


@dataclass(frozen=True)
class Item:
    """One evaluation item. `question` identifies it; `answers` are short right answers, `solution` a worked one."""

    id: str
    question: str
    passage: str = ""
    answers: tuple[str, ...] = ()
    solution: str = ""
    choices: tuple[str, ...] = ()


def items(path: str) -> list[Item]:
    """Every item of a file or of all files in a folder. SourceError names file and columns where none can be read."""
    root = Path(path)
    if not root.exists():
        raise SourceError(
            f"there is no evaluation set at {path}", "give a JSONL, TSV, CSV or Parquet file, or a folder of them"
        )
    if (root / "manifest.json").is_file():
        return list(_of_store(path, root.name))
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file() and kind_of(p) in SUFFIXES)
    found = [item for file in files for item in _of_file(file, root if root.is_dir() else root.parent)]
    if not found:
        raise SourceError(
            f"{path} holds no evaluation items",
            f"give files that end in {', '.join(SUFFIXES)} (also .gz, .xz, .bz2, .zst)",
        )
    return found


def _of_file(path: Path, base: Path) -> Iterator[Item]:
    # two levels of folders tell KoBEST's BoolQ/test.tsv from its COPA/test.tsv; no path of the machine enters
    name = "/".join(path.relative_to(base).parts[-3:]) if path != base else path.name
    for number, row in enumerate(_rows(path)):
        yield item_of(
            row,
            f"{name}#{row.get('task_id') or row.get('guid') or row.get('id') or row.get('ID') or number}",
            str(path),
        )


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if kind_of(path) != ".json":
        return rows_in(path)
    rows = list(rows_in(path))
    return _flattened(rows[0] if len(rows) == 1 else rows)


def _flattened(page: Any) -> Iterator[Mapping[str, Any]]:
    """A list of rows, rows under `data`, or SQuAD's and KLUE-MRC's data > paragraphs > qas."""
    rows = page.get("data", page.get("rows", [page])) if isinstance(page, dict) else page
    for row in rows:
        for paragraph in row.get("paragraphs", ()):
            for qa in paragraph.get("qas", ()):
                yield {**qa, "paragraph": paragraph.get("context", "")}
        if "paragraphs" not in row:
            yield row


def item_of(row: Mapping[str, Any], item_id: str, where: str = "") -> Item:
    """One row as an item. SourceError where no column can be the question."""
    row = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
    question, used = _question(row)
    if not question:
        columns = ", ".join(sorted(row))
        raise SourceError(
            f"{where}: no question among the columns {columns}", "name one of them `question` and one `answer`"
        )
    choices = _choices(row)
    solution = _first(row, SOLUTION, used)
    passage = _first(row, PASSAGE, used)
    answers, worked = _answers(row, choices, used)
    return Item(item_id, question, passage, answers, solution or worked, choices)


def _question(row: Mapping[str, Any]) -> tuple[str, set[str]]:
    """The question, and the columns it was made of: pairs of sentences make one."""
    for name in ("sentence", "premise"):  # COPA: `question` is only 원인 or 결과 (cause or effect)
        if {name, "question"} <= set(row):
            return str(row[name]), {name, "question"}
    for pair in (("premise", "hypothesis"), ("sentence1", "sentence2"), ("context_1", "context_2")):
        if set(pair) <= set(row):
            return "\n".join(str(row[name]) for name in pair), set(pair)
    if "endings" in row or "ending_1" in row or "choice1" in row:
        if "context" in row:
            return str(row["context"]), {"context"}
        if "ctx" in row:
            return str(row["ctx"]), {"ctx"}
    for name in QUESTION:
        value = row.get(name)
        if isinstance(value, Mapping):  # ARC: {"stem": ..., "choices": ...}
            value = value.get("stem")
        if isinstance(value, str) and value.strip():
            return value.removeprefix("Question: "), {name}
    return "", set()


def _choices(row: Mapping[str, Any]) -> tuple[str, ...]:
    for name in CHOICES:
        value = row.get(name)
        if value is None and isinstance(row.get("question"), Mapping):
            value = row["question"].get(name)
        if isinstance(value, Mapping):
            value = value.get("text")
        if isinstance(value, (list, tuple)):
            return tuple(str(c.get("text") if isinstance(c, Mapping) else c) for c in value)
    for stem in ("choice", "ending_", "alternative_", "choice_", "option", ""):
        numbered = [row[f"{stem}{n}"] for n in range(11) if row.get(f"{stem}{n}") not in (None, "")]
        if len(numbered) > 1:
            return tuple(map(str, numbered))
    lettered = [row[letter] for letter in "abcde" if row.get(letter) not in (None, "")]
    return tuple(map(str, lettered)) if len(lettered) > 1 else ()


def _first(row: Mapping[str, Any], names: tuple[str, ...], used: set[str]) -> str:
    for name in names:
        value = row.get(name)
        if name not in used and isinstance(value, str) and value.strip():
            return value
    return ""


def _answers(row: Mapping[str, Any], choices: tuple[str, ...], used: set[str]) -> tuple[tuple[str, ...], str]:
    """Short right answers and a worked one. A label that names a choice is that choice; all of them where it is not clear."""
    column = next((name for name in ANSWER if name not in used and row.get(name) not in (None, "")), "")
    value = row.get(column)
    if choices:
        return _chosen(value, choices), ""
    if isinstance(value, Mapping):
        value = value.get("text", list(value.values()))
    values = value if isinstance(value, (list, tuple)) else [value]
    words = [str(v.get("text") if isinstance(v, Mapping) else v).strip() for v in values if v is not None]
    worked = next((word for word in words if len(word) > 60), "")
    if "####" in worked:  # GSM8K: the worked solution ends in the number
        words = [worked.rsplit("####", 1)[1].strip().replace(",", "")]
    low = {word.lower() for word in words}
    label = column.startswith("label")
    if low == {"true"} or (label and low == {"1"}):
        return YES, ""
    if low == {"false"} or (label and low == {"0"}):
        return NO, ""
    return tuple(word for word in words if word and len(word) <= 60), worked


def _chosen(value: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    word = str(value).strip()
    if word in choices:
        return (word,)
    if len(word) == 1 and word.upper() in "ABCDE" and ord(word.upper()) - 65 < len(choices):
        return (choices[ord(word.upper()) - 65],)
    return (
        choices  # numbers count from 0 in some sets and from 1 in others: any choice beside the question is an answer
    )


def _of_store(path: str, name: str) -> Iterator[Item]:
    """Rows of a store: chats (user asks, assistant answers) or documents (whole texts)."""
    from pipeline.storage.store import Store

    store = Store(path)
    for shard in store.shards():
        for batch in store.batches(shard):
            for row in batch.to_pylist():
                if "messages" in row:
                    by_role = {
                        role: [m["content"] for m in row["messages"] if m["role"] == role]
                        for role in ("user", "assistant")
                    }
                    answer = (by_role["assistant"] or [""])[0]
                    yield Item(
                        f"{name}#{row['id']}",
                        (by_role["user"] or [""])[0],
                        "",
                        (answer,) if len(answer) <= 60 else (),
                        answer,
                    )
                else:
                    yield Item(f"{name}#{row['id']}", row.get("text") or "")
