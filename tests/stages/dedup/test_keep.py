"""The keep policy is a list of rules: the first that tells two rows apart decides, then the id; each mode with its reasons."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

SOURCES = ["gov", "press", "blog"]
TEXT = " ".join(f"word{n}" for n in range(60))


@pytest.fixture
def rows(make_store, tmp_path):
    """A store of copies and near-copies of one text whose sources, scores, lengths and dates often tie or are missing."""
    draw = random.Random(6)
    count = 40
    columns = {
        "source": [draw.choice(["gov/a", "press", "press/b", "blog", "else", ""]) for _ in range(count)],
        "date": [
            draw.choice(["2024-01-01", "2024-03-01", "2023-12-31T23:00:00-05:00", "no date", None])
            for _ in range(count)
        ],
        "meta": [
            draw.choice([None, [{"key": "score", "value": draw.choice(["0.5", "0.9", "x", "-1"])}]])
            for _ in range(count)
        ],
        "id": [f"{draw.getrandbits(128):032x}" for _ in range(count)],
    }
    texts = [TEXT + draw.choice(["", " more", " yet more"]) for _ in range(count)]
    return make_store(tmp_path / "in", texts, shards=3, **columns), list(
        zip(columns["source"], columns["date"], columns["meta"], columns["id"], texts)
    )


def worth(rule: str, row: tuple) -> float:
    """Smaller is better; what is missing comes last. The reference: plain Python."""
    source, date, meta, _, text = row
    if rule == "source":
        return next((n for n, wanted in enumerate(SOURCES) if source.startswith(wanted)), len(SOURCES))
    if rule in ("longest", "shortest"):
        return -len(text) if rule == "longest" else len(text)
    if rule == "score":
        value = meta[0]["value"] if meta else "x"
        return float("inf") if value == "x" else -float(value)
    stamp = {"2024-01-01": 1, "2024-03-01": 3, "2023-12-31T23:00:00-05:00": 2}.get(date)
    return float("inf") if stamp is None else stamp if rule == "oldest" else -stamp


LINES = [
    *map(" > ".join, permutations(("source", "score", "longest", "newest"), 2)),
    "source > score > longest > oldest",
    "newest",
    "shortest > oldest",
]


@pytest.mark.parametrize("line", LINES)
def test_the_first_rule_that_tells_two_rows_apart_decides(rows, dedup, decisions, tmp_path, line):
    source, given = rows
    best = min(given, key=lambda row: (*(worth(rule, row) for rule in line.split(" > ")), row[3]))
    found = decisions(dedup(tmp_path / "out", source, keep=line, sources=SOURCES, score="score"))
    assert {key: (reason, representative) for key, (reason, representative, *_) in found.items() if key == best[3]} == {
        best[3]: (None, None)
    }
    for _, _, _, key, text in given:
        reason, representative, score, size = found[key]
        assert size == len(given)
        if key != best[3]:
            assert representative == best[3] and (reason == "dedup.exact") == (text == best[4] and score == 1.0)
            assert reason == "dedup.exact" or (reason == "dedup.near" and 0.8 <= score <= 1.0)


def test_every_mode_with_its_reasons(make_store, dedup, decisions, tmp_path):
    texts, dates = (
        [TEXT, TEXT, TEXT + " more", "a text that stands alone"],
        ["2024-01-01", "2024-02-01", "2024-03-01", None],
    )
    ids = [f"{n}" * 32 for n in range(4)]
    source = make_store(tmp_path / "in", texts, date=dates, id=ids)

    def reasons(name: str, **options) -> list[str | None]:
        found = decisions(dedup(tmp_path / name, source, **options))
        return [found[key][0] for key in ids]

    assert reasons("one") == ["dedup.near", "dedup.near", None, None], "keep-one: the longest"
    assert reasons("newest", keep="newest") == ["dedup.near", "dedup.near", None, None]
    assert reasons("oldest", keep="oldest") == [None, "dedup.exact", "dedup.near", None]
    assert reasons("none", copies="drop-all") == ["dedup.near", "dedup.near", "dedup.has_copies", None]
    old = make_store(tmp_path / "old", [TEXT], id=["f" * 32])
    assert reasons("against", against=[old]) == ["dedup.exact", "dedup.exact", "dedup.near", None], (
        "A against B: the old row stays, shorter or not"
    )
    kept = dedup(tmp_path / "sizes", source).table()
    assert dict(zip(kept["id"].to_pylist(), kept["cluster_size"].to_pylist())) == {"2" * 32: 3, "3" * 32: 1}
