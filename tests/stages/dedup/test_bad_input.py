"""Bad input: every row gets a reason or the run one clear error, at every level."""

from __future__ import annotations

import random

import pytest

from pipeline.errors import DamagedStore, SourceError
from pipeline.storage.ledger import check
from pipeline.storage.store import Store

LEVELS = ["exact", "near", "url"]


def test_empty_one_word_and_null_texts_at_every_level(dedup, make_store, tmp_path):
    texts = [None, "", " \n", "!?", "word", "Word", "word word", None, "맷돌", "맷돌."]
    urls = [None, "", " ", "\x00", "no address", "no address", "http://", "http://", "http://[", "%"]
    source = make_store(tmp_path / "in", texts, url=urls)
    out = dedup(tmp_path / "out", source, levels=LEVELS, spans="line", span_tokens=1, merge_empty=True)
    check(source.table()["id"], out.table()["id"], out.ledger(0), "dedup")
    rows = out.ledger(0).to_pylist()
    assert [row["note"] for row in rows] == [
        "text is null",
        "text is empty",
        "text is empty",
        "text has no words",
        *[None] * 3,
        "text is null",
        None,
        None,
    ]
    gone = {n: row["reason"] for n, row in enumerate(rows) if row["reason"]}
    assert set(gone.values()) <= {"dedup.exact", "dedup.near", "dedup.url"} and 0 not in gone
    assert {rows[5]["reason"], rows[4]["reason"]} == {None, "dedup.near"} and {
        rows[8]["reason"],
        rows[9]["reason"],
    } == {None, "dedup.near"}


def test_an_id_of_two_texts_is_named_and_of_one_text_is_kept_once(dedup, make_store, tmp_path):
    one, other, again = (
        make_store(tmp_path / name, [text, f"more of {name}"], id=["1" * 32, f"{number}" * 32])
        for number, (name, text) in enumerate({"a": "one text", "b": "quite another text", "c": "one text"}.items(), 2)
    )
    for _ in range(2):
        with pytest.raises(SourceError, match="the id 1{32} stands in shards 0 and 1"):
            dedup(tmp_path / "out", one, other)
    assert Store(tmp_path / "out").manifest() is None
    assert sorted(dedup(tmp_path / "fine", one, again).table()["id"].to_pylist()) == ["1" * 32, "2" * 32, "4" * 32]
    assert len(dedup(tmp_path / "old", one, against=[other]).table()) == 2, "of an older store an id may be known"


def test_a_shard_that_is_missing_on_the_other_side_is_one_clear_error(dedup, make_store, tmp_path):
    new = make_store(tmp_path / "new", ["some words of a text"] * 2)
    old = make_store(tmp_path / "old", ["some words of a text", "others"], shards=2)
    (tmp_path / "old/shards/00001.arrow").unlink()
    with pytest.raises(DamagedStore, match=r"old/shards/00001.arrow is missing"):
        dedup(tmp_path / "out", new, against=[old])
    assert not (tmp_path / "out/shards").exists()


@pytest.mark.slow
def test_a_million_identical_documents(dedup, make_store, tmp_path):
    count = 1_000_000
    source = make_store(
        tmp_path / "in",
        ["the very same words on each of a million pages"] * count,
        shards=4,
        url=["http://a.example/"] * count,
    )
    out = dedup(tmp_path / "out", source, levels=LEVELS)
    assert out.table()["cluster_size"].to_pylist() == [count]
    assert sum(out.receipt(n).reasons["dedup.exact"] for n in out.shards()) == count - 1
    alone = dedup(tmp_path / "alone", source, levels=["url"])
    assert alone.table()["cluster_size"].to_pylist() == [count]


@pytest.mark.slow
def test_one_document_of_200_megabytes(dedup, make_store, decisions, tmp_path):
    draw = random.Random(1)
    words = [f"w{n}" for n in range(30_000)]
    long = " ".join(draw.choices(words, k=33_000_000))
    assert len(long) > 190_000_000
    part = long[: 1 << 20].rsplit(" ", 1)[0]
    source = make_store(
        tmp_path / "in",
        [long, part, part + " and a few more", "a short one"],
        url=["http://a.example/"] * 2 + [None] * 2,
    )
    out = dedup(tmp_path / "out", source, levels=LEVELS, spans="substring", span_memory=256)
    assert [decision[0] for decision in decisions(out).values()] == [None, "dedup.near", None, None]
    assert out.table()["text"].to_pylist() == [long, "and a few more", "a short one"], (
        "of the part its own words are left"
    )


def template(count: int, seed: int) -> list[str]:
    """Pages of one template: 40 words shared, 8 of each page's own; a hundredth of them twice with another last word."""
    draw = random.Random(seed)
    frame = " ".join(f"menu{n}" for n in range(40))
    made = [
        f"{frame} {' '.join(f'item{draw.randrange(10**7)}' for _ in range(8))}" for _ in range(count - count // 100)
    ]
    return made + [f"{text} {'x' * 3}" for text in made[: count // 100]]


@pytest.mark.slow
@pytest.mark.parametrize("count", [700_000])
def test_a_bucket_of_template_pages(dedup, make_store, decisions, jaccard, tmp_path, count):
    texts = template(count, 3)
    source = make_store(tmp_path / "in", texts, shards=3)
    text = dict(zip(source.table()["id"].to_pylist(), texts))
    out = dedup(tmp_path / "out", source, threshold=0.9)
    gone = [(key, decision[1]) for key, decision in decisions(out).items() if decision[0]]
    assert len(gone) >= count // 100
    assert all(jaccard(text[key], text[representative]) >= 0.9 for key, representative in gone[:2000])
    assert len(out.table()) + len(gone) == count
