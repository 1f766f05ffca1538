"""Level `url`: one row an address, by the keep policy; what a row stands for is not lost with it."""

from __future__ import annotations

import random

import pytest

from pipeline.urls import canonical
from stages.dedup.url import level as url


def words(seed: int, count: int = 40) -> str:
    draw = random.Random(seed)
    return " ".join(f"w{draw.randrange(10**6)}" for _ in range(count))


def test_one_row_an_address_by_the_keep_policy(dedup, make_store, decisions, tmp_path):
    urls = [
        "http://a.example/p",
        "HTTP://A.example:80/p/#x",
        "http://a.example/p?utm_source=m",
        "http://a.example/q",
        None,
        None,
        "",
    ]
    dates = ["2024-01-01", "2024-03-01", "2024-02-01", None, None, None, None]
    source = make_store(tmp_path / "in", [words(n) for n in range(7)], shards=2, url=urls, date=dates)
    ids = source.table()["id"].to_pylist()
    found = decisions(dedup(tmp_path / "out", source, levels=["url"], keep="newest"))
    assert [found[key][0] for key in ids] == ["dedup.url", None, "dedup.url", None, None, None, None]
    assert [found[key][1] for key in ids[:3]] == [ids[1], None, ids[1]]
    assert [found[key][2] for key in ids[:3]] == [1.0, None, 1.0] and found[ids[1]][3] == found[ids[0]][3] == 3
    oldest = decisions(dedup(tmp_path / "oldest", source, levels=["url"], keep="oldest"))
    assert [key for key in ids[:3] if oldest[key][0] is None] == [ids[0]]
    assert {decision[0] for decision in decisions(dedup(tmp_path / "plain", source)).values()} == {None}, (
        "not one of the defaults"
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_goes_matches_its_own_representative_at_every_level_and_equals_brute_force_alone(
    dedup, make_store, decisions, jaccard, tmp_path, monkeypatch, seed
):
    monkeypatch.setattr(url, "MOST", 7)
    draw = random.Random(seed)
    texts, urls = [], []
    for _n in range(120):
        texts.append(words(draw.randrange(40), 40) + draw.choice(["", "", " tail", " other tail"]))
        urls.append(
            draw.choice(["HTTP", "http"])
            + f"://a.example/{draw.randrange(30)}{draw.choice(['', '/', '?gclid=1', '#x'])}"
            if draw.random() < 0.9
            else None
        )
    source = make_store(tmp_path / "in", texts, shards=4, url=urls)
    ids = source.table()["id"].to_pylist()
    number_of = {key: n for n, key in enumerate(ids)}

    alone = decisions(dedup(tmp_path / "alone", source, levels=["url"]))
    for key, (reason, representative, *_) in alone.items():
        mates = [
            k
            for k in ids
            if urls[number_of[key]]
            and urls[number_of[k]]
            and canonical(urls[number_of[k]]) == canonical(urls[number_of[key]])
        ]
        best = min(mates, key=lambda k: (-len(texts[number_of[k]]), k), default=key)
        assert (reason, representative) == ((None, None) if best == key else ("dedup.url", best))

    out = dedup(tmp_path / "all", source, levels=["exact", "near", "url"])
    together = decisions(out)
    assert {"dedup.exact", "dedup.near", "dedup.url", None} == {decision[0] for decision in together.values()}
    sizes = dict.fromkeys(ids, 1)
    for key, (reason, representative, score, _) in together.items():
        if reason is None:
            continue
        sizes[representative] += 1
        a, b = number_of[key], number_of[representative]
        assert together[representative][0] is None, "the representative itself stays"
        if reason == "dedup.url":
            assert canonical(urls[a]) == canonical(urls[b]) and score == 1.0
        else:
            assert score == jaccard(texts[a], texts[b]) >= 0.8
    assert all(together[key][3] == sizes[together[key][1] or key] for key in ids), "cluster sizes, for kept and removed"


def test_a_row_that_stands_for_others_stays_unless_they_share_the_address(dedup, make_store, decisions, tmp_path):
    old, new = words(1), words(2) + " and longer than the other"
    page, other = "http://a.example/p", "http://a.example/q"
    source = make_store(
        tmp_path / "held", [old, old, new], url=[page, other, page], source=["first", "second", "third"]
    )
    ids = source.table()["id"].to_pylist()
    policy = {"keep": "source", "sources": ["third", "first", "second"], "levels": ["exact", "near", "url"]}
    out = dedup(tmp_path / "out", source, **policy)
    found = decisions(out)
    assert [found[key][0] for key in ids] == [None, "dedup.exact", None], "the text of q would be lost with p's"
    assert out.receipt(0).notes["url"]["held"] == 1
    source = make_store(tmp_path / "free", [old, old, new], url=[page, page, page], source=["first", "second", "third"])
    found = decisions(dedup(tmp_path / "out2", source, **policy))
    assert [(found[key][0], found[key][1]) for key in ids] == [
        ("dedup.url", ids[2]),
        ("dedup.url", ids[2]),
        (None, None),
    ]


def test_against_an_older_store_and_drop_all(dedup, make_store, decisions, tmp_path):
    page = "http://a.example/p"
    old = make_store(tmp_path / "old", [words(1), words(2)], url=[page, page + "#again"])
    new = make_store(
        tmp_path / "new",
        [words(3) + " a longer one", words(4)],
        url=[page + "/", "http://a.example/q"],
        id=["1" * 32, "2" * 32],
    )
    found = decisions(dedup(tmp_path / "out", new, against=[old], levels=["url"]))
    assert (
        found["1" * 32][0] == "dedup.url"
        and found["1" * 32][1] in old.table()["id"].to_pylist()
        and found["2" * 32][0] is None
    )
    found = decisions(dedup(tmp_path / "all", old, levels=["url"], copies="drop-all"))
    assert sorted(decision[0] for decision in found.values()) == ["dedup.has_copies", "dedup.url"]


def test_the_same_rows_for_any_layout(dedup, make_store, decisions, tmp_path):
    draw = random.Random(5)
    texts = [words(draw.randrange(50)) for _ in range(90)]
    urls = [f"http://a.example/{draw.randrange(30)}" for _ in texts]
    ids = [f"{n:032x}" for n in range(90)]
    order = draw.sample(range(90), 90)
    one = make_store(tmp_path / "one", texts, shards=1, url=urls, id=ids)
    many = make_store(
        tmp_path / "many", [texts[n] for n in order], shards=7, url=[urls[n] for n in order], id=[ids[n] for n in order]
    )
    levels = ["exact", "near", "url"]
    assert decisions(dedup(tmp_path / "a", one, levels=levels)) == decisions(dedup(tmp_path / "b", many, levels=levels))
