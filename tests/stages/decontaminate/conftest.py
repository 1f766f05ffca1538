"""A small evaluation set of each kind, and documents to hide its items in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SETS = {
    "math.jsonl": [
        {
            "question": "A farmer has 17 sheep and buys 25 more at the market, then sells 9 of them to a neighbour. How many sheep has the farmer now?",
            "answer": "33",
        },
        {
            "question": "Each of 12 boxes holds 8 red marbles and 5 blue marbles. How many marbles are there in all the boxes together?",
            "answer": "156",
        },
    ],
    "bool.jsonl": [
        {
            "paragraph": "맷돌은 곡식을 가는 데 쓰는 도구로, 둥글넓적한 돌 두 짝을 포개고 위짝 구멍에 곡식을 넣어 손잡이를 돌려 간다.",
            "question": "맷돌은 돌 세 짝을 포개어 쓰는 도구인가요?",
            "label": 0,
        }
    ],
    "copa.jsonl": [
        {
            "premise": "남자가 우산을 집에 두고 나왔다.",
            "question": "결과",
            "alternative_1": "비를 맞아 옷이 젖었다.",
            "alternative_2": "양산을 새로 샀다.",
            "label": 0,
        }
    ],
}


@pytest.fixture(scope="session")
def sets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    for name, rows in SETS.items():
        (folder / name).write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return folder


@pytest.fixture(scope="session")
def search(sets, make_documents):
    """`search(["text", ...], **options)` -> the Work of the stage against the small sets."""
    from stages.decontaminate import Decontaminate

    def run(texts: list[str | None], **options: Any) -> Any:
        stage = Decontaminate.build({"against": [str(sets)], **options}, "decontaminate")
        return stage.work(make_documents(texts).combine_chunks().to_batches()[0])

    return run
