"""Texts made to be slow, up to two megabytes of each: every stage that reads text takes at most 2.3 times as long for twice as much.

Processor time of this process, measured again where that is over; a stage that takes under a tenth of a second for two
megabytes is not held to a ratio. `tests/bench/hostile/RESULTS.md` has the figures. Pages are mined with 2,000 blocks at most, and once without any. By default all
stages read a short text of each.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.schema import DOCUMENT
from pipeline.storage.ledger import Ledger
from pipeline.storage.store import Store

QUESTION = "A farmer has 17 sheep and buys 25 more at the market, then sells 9 of them to a neighbour. How many sheep has the farmer now?"
SEEDS = {
    "marks": "e\u0301\u0323", "one word": "word", "letters on lines": "a\n", "one character": "x", "one syllable": "가", "letters": "a ", "digits": "1",
    "separated digits": "010-1234-", "ones": "1-1-1-1", "dots": "1.", "opening": "(", "nested": "([{<", "closing": ")", "addresses": "http://a.b/c?d=e ",
    "glued addresses": "http://", "at": "@", "mail": "a@b.", "bullets": "• ", "list": "- item\n", "korean list": "·항목\n", "n-grams": "one two three four five ",
    "scripts": "a가", "scripts apart": "word 낱말 слово λόγος ", "postal": "주소: ", "street": "강남구 로 1 ", "blanks": " ", "tabs": "\t", "unseen": "\u200b", "joined": "👨\u200d👩\u200d👧",
    "family chain": "👩\u200d", "questions": "Q: Why?\nA: So.\n", "asked only": "Q: Why?\n", "answers only": "A: So.\n", "headings": "# Head\n\n", "benchmark": QUESTION + " ", "half the benchmark": QUESTION[:60] + " ",
    "sentences": "This is one. ", "korean sentences": "맷돌은 돌이다. ", "ellipses": "... ", "quotes": "\"'", "braces": "{}", "lorem": "lorem ipsum ", "stretched": "ㅋㅋㅋ", "jamo": "\u1112\u1161\u11ab", "backslashes": "\\", "hashes": "#",
    "citations": "[1]", "empty lines": "\n\n", "definition": "X is a Y: ", "commas": "a, b; ", "copyright": "Copyright 2026\n", "controls": "\x01", "broken": "Ã©â€™",
}  # fmt: skip
WITH_MODELS = {"llm_judge", "perplexity", "quality_model", "score_buckets"}
"""Filters whose work is a model's."""


def text_of(seed: str, size: int) -> str:
    """`size` bytes of a seed over and over."""
    return seed * -(-size // len(seed.encode()))


def batch_of(*texts: str) -> pa.RecordBatch:
    rows = [
        dict.fromkeys(DOCUMENT.names) | {"id": f"{n:032x}", "source": "test", "text": text, "meta": [], "blocks": []}
        for n, text in enumerate(texts)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DOCUMENT)


@pytest.fixture(scope="module")
def stages(tmp_path_factory, repo) -> dict[str, Callable[[str], int]]:
    return stages_in(tmp_path_factory.mktemp("hostile"), repo)


def stages_in(folder: Path, repo: Path) -> dict[str, Callable[[str], int]]:
    """Each stage as a function of a text: how many ledger rows or findings it makes."""
    from stages.decontaminate import Decontaminate
    from stages.dedup import Dedup
    from stages.pii import Pii
    from stages.quality import Quality
    from stages.sft import rule_of
    from stages.sft.mine import mine

    (folder / "math.jsonl").write_text(json.dumps({"question": QUESTION, "answer": "33"}), "utf-8")
    filters = sorted({file.stem for file in (repo / "stages/quality/filters").glob("[a-z]*.py")} - WITH_MODELS)
    rules = [rule_of(file.stem, {}) for file in sorted((repo / "stages/sft/rules").glob("[a-z]*.py"))]
    known = {
        "decontaminate": Decontaminate.build({"against": [str(folder / "math.jsonl")]}, "decontaminate"),
        "pii": Pii.build({}, "pii"),
    }
    (folder / "bad.txt").write_text("lorem\n낱말", "utf-8")
    needed = {"bad_words": {"files": [str(folder / "bad.txt")]}}
    known |= {
        f"quality {name}": Quality.build({"filters": [{name: needed.get(name, {})}]}, "quality") for name in filters
    }
    numbers = iter(range(10**6))

    def dedup(text: str) -> int:
        number = next(numbers)
        table = batch_of(text, text + " end", text)
        source, sink = Store(folder / f"in{number}"), Store(folder / f"out{number}")
        source.put(
            0,
            pa.Table.from_batches([table]),
            Ledger.rows(table.column("id")),
            key="test",
            stage="test",
            input_ids=table.column("id"),
        )
        source.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": "test", "lineage": {}, "schema": []}, [0])
        receipts = Dedup.build({"levels": ["exact", "near"]}, "dedup").run(Inputs({"of": [source]}), sink, Inline())
        return sum(len(sink.ledger(receipt.shard)) for receipt in receipts) - 2

    def mining(text: str) -> int:
        lines = text.split("\n")[:2_000]
        kinds = ["heading", "paragraph", "question", "answer"]
        (row,) = batch_of(text).to_pylist()
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line) + 1)
        row["blocks"] = [
            {
                "kind": kinds[n % 4],
                "text": line,
                "start": starts[n],
                "end": starts[n] + len(line),
                "level": 1,
                "group": n // 2,
            }
            for n, line in enumerate(lines)
        ]
        mine(rules, row, 17)
        row["blocks"] = []
        mine(rules, row, 17)
        return 1

    made = {name: lambda text, stage=stage: len(stage.work(batch_of(text)).ledger) for name, stage in known.items()}
    return made | {"dedup": dedup, "sft": mining}


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_every_stage_reads_it(stages, seed):
    assert all(read(text_of(seed, 4_000)) == 1 for name, read in stages.items() if name != "dedup")


LEAST, MOST = 0.15, 2_000_000
"""Texts are doubled until a stage takes so many seconds, or has so many bytes."""
HELD = 0.1
"""Seconds: a stage that takes less for the longest text is not held to a ratio."""


def spent(read: Callable[[str], int], text: str) -> float:
    """Processor seconds of our own code: what the system takes to hand out memory depends on who else uses the machine."""
    began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    read(text)
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - began


class Growth(NamedTuple):
    """Seconds for `size` bytes, and by how much that is more than for half of them."""

    size: int
    seconds: float
    ratio: float


def growth(read: Callable[[str], int], seed: str, limit: float = 2.3) -> Growth | None:
    """What the last doubling of the text costs, measured again while it is over `limit`; None where all of it is soon read."""
    size = 32_000
    once, twice = (spent(read, text_of(seed, of)) for of in (size // 2, size))
    while twice < LEAST and size < MOST:
        size *= 2
        once, twice = twice, spent(read, text_of(seed, size))
    if twice < HELD:
        return None
    rounds = 1
    while twice > limit * once and rounds < 8:  # together: the system counts user time in steps of some milliseconds
        twice += spent(read, text_of(seed, size))
        once += spent(read, text_of(seed, size // 2))
        rounds += 1
    return Growth(size, twice / rounds, twice / once)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_twice_the_text_is_at_most_about_twice_the_work(stages, seed):
    over = {}
    for name, read in stages.items():
        read(text_of(seed, 2_000))  # what is loaded and compiled at the first text
        found = growth(read, seed)
        if found is not None and found.ratio > 2.3:
            over[name] = found
    assert not over
