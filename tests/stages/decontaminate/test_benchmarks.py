"""Evaluation sets in the shapes they come in."""

import gzip
import json

import pytest

from pipeline.errors import SourceError
from stages.decontaminate.benchmarks import NO, YES, item_of, items

SHAPES = {
    "kobest boolq": ({"ID": "1", "Text": "지문", "Question": "맞나요?", "Answer": "False"}, ("맞나요?", "지문", NO)),
    "kobest boolq on the hub": ({"paragraph": "지문", "question": "맞나요?", "label": 1}, ("맞나요?", "지문", YES)),
    "kobest copa": (
        {"sentence": "비가 왔다.", "question": "결과", "1": "우산을 썼다.", "2": "모자를 썼다.", "Answer": "1"},
        ("비가 왔다.", "", ("우산을 썼다.", "모자를 썼다.")),
    ),
    "kobest copa on the hub": (
        {"premise": "비가 왔다.", "question": "결과", "alternative_1": "가.", "alternative_2": "나.", "label": 0},
        ("비가 왔다.", "", ("가.", "나.")),
    ),
    "kobest hellaswag": (
        {"context": "문맥", "choice1": "가", "choice2": "나", "label": "2"},
        ("문맥", "", ("가", "나")),
    ),
    "klue nli": ({"premise": "전제", "hypothesis": "가설", "label": "entailment"}, ("전제\n가설", "", ("entailment",))),
    "klue ynat": ({"guid": "y1", "title": "제목", "label": "경제"}, ("제목", "", ("경제",))),
    "human eval": (
        {"task_id": "HumanEval/0", "prompt": "def f():", "canonical_solution": "    return 1\n"},
        ("def f():", "", ()),
    ),
    "arc": (
        {
            "question": {"stem": "Which?", "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]},
            "answerKey": "B",
        },
        ("Which?", "", ("b",)),
    ),
    "arc on the hub": (
        {"question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"},
        ("Which?", "", ("a",)),
    ),
    "gsm8k": (
        {
            "question": "How many?",
            "answer": "She has 3 and 4, and after that she has twice as many as before.\n#### 14",
        },
        ("How many?", "", ("14",)),
    ),
    "squad": (
        {"context": "Passage.", "question": "Who?", "answers": {"text": ["Kim"], "answer_start": [0]}},
        ("Who?", "Passage.", ("Kim",)),
    ),
    "one digit is a number where it is an answer": (
        {"question": "How many?", "answer": "1"},
        ("How many?", "", ("1",)),
    ),
}


@pytest.mark.parametrize("row, wanted", SHAPES.values(), ids=SHAPES)
def test_known_shapes(row, wanted):
    item = item_of(row, "x")
    assert (item.question, item.passage, item.answers) == wanted


def test_a_worked_solution_is_kept_apart():
    item = item_of(SHAPES["gsm8k"][0], "x")
    assert item.solution.startswith("She has 3")
    assert item_of(SHAPES["human eval"][0], "x").solution == "    return 1\n"


def test_files_of_every_kind(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"question": "How many?", "answer": "14"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n\n")
    (tmp_path / "b.tsv").write_text('question\tanswer\nHow "many?\t14\n')
    (tmp_path / "c.csv").write_text('question,answer\n"How, many?",14\n')
    (tmp_path / "d.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": "P", "qas": [row]}]}]}))
    pq.write_table(pa.table({"question": ["How many?"], "answer": ["14"]}), tmp_path / "e.parquet")
    (tmp_path / "f.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    (tmp_path / "notes.txt").write_text("no items")
    found = items(str(tmp_path))
    assert [item.question for item in found] == [
        "How many?",
        'How "many?',
        "How, many?",
        "How many?",
        "How many?",
        "How many?",
    ]
    assert found[3].passage == "P" and found[0].id == "a.jsonl#0"
    assert not any(str(tmp_path) in item.id for item in found)


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("x.jsonl", b"{broken", "cannot read"),
        ("x.jsonl.gz", b"no gzip", "cannot read"),
        ("x.tsv", b"\xff\xfe\x00", "cannot read"),
        ("x.jsonl", b'{"foo": 1}', "no question among the columns foo"),
        ("x.jsonl", b"", "no evaluation items"),
    ],
)
def test_bad_files_are_named(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=message):
        items(str(tmp_path / name))


def test_an_absent_file_is_named():
    with pytest.raises(SourceError, match="no evaluation set"):
        items("nowhere/none.jsonl")
