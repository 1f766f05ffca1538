"""What is measured and how texts are cut: containment, shingles by language, FineWeb's preset."""

from __future__ import annotations

import random

import pytest

from pipeline.errors import OptionError
from stages.dedup.near import resolve
from stages.text.minhash.shingles import Shingling, shingles


def words(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [f"w{draw.randrange(10**6)}" for _ in range(count)]


def contained(a: str, b: str) -> float:
    """Share of a's shingles that b has, with Python sets."""
    left, right = set(shingles(a)), set(shingles(b))
    return len(left & right) / len(left)


def test_a_page_inside_a_longer_one_goes_by_containment_and_stays_by_jaccard(dedup, make_store, decisions, tmp_path):
    page = words(1, 100)
    source = make_store(tmp_path / "in", [" ".join(page), " ".join([*words(2, 20), *page, *words(3, 20)])])
    by_jaccard = list(decisions(dedup(tmp_path / "jaccard", source)).values())
    inside = list(decisions(dedup(tmp_path / "inside", source, measure="containment")).values())
    assert [decision[0] for decision in by_jaccard] == [None, None]
    assert [decision[0] for decision in inside] == ["dedup.near", None] and inside[0][2] == 1.0
    shortest = list(decisions(dedup(tmp_path / "shortest", source, measure="containment", keep="shortest")).values())
    assert [decision[0] for decision in shortest] == [None, None], "the longer one is not contained in the shorter"


@pytest.mark.parametrize("large", [False, True])
def test_every_removal_by_containment_is_true_and_directed(dedup, make_store, decisions, tmp_path, monkeypatch, large):
    if large:
        monkeypatch.setattr(resolve, "LARGE_DOCS", 3)
    draw = random.Random(5)
    texts = [words(seed, draw.randrange(30, 90)) for seed in range(40)]
    for _ in range(80):
        base = list(draw.choice(texts[:40]))
        at = draw.randrange(len(base))
        texts.append([*base[:at], *words(draw.randrange(10**9), draw.randrange(1, 25)), *base[at:]])
    pages = [" ".join(text) for text in texts]
    source = make_store(tmp_path / "in", pages, shards=2)
    text = dict(zip(source.table()["id"].to_pylist(), pages))
    found = decisions(dedup(tmp_path / "out", source, measure="containment"))
    gone = {key: decision for key, decision in found.items() if decision[0]}
    assert len(gone) > 30
    for key, (_, representative, score, _) in gone.items():
        assert score == contained(text[key], text[representative]) >= 0.8 and found[representative][0] is None
    kept = [key for key in found if key not in gone]
    missed = [
        key
        for key in kept
        if any(
            contained(text[key], text[other]) >= 0.8 and len(text[other]) > len(text[key])
            for other in kept
            if other != key
        )
    ]
    assert len(missed) <= 0.1 * len(gone), "a page much shorter than its representative may not meet it in a band"


ZH = "石磨是用于把米麦豆等粮食加工成粉浆的一种机械通常由两个圆石做成磨是平面的两层两层的接合处都有纹理粮食从上方的孔进入两层中间沿着纹理向外运移"


def test_text_without_spaces_is_cut_into_characters(dedup, make_store, decisions, tmp_path):
    texts = [ZH * 2 + "磨盘", ZH * 2 + "在水", ZH[:60] + "完全不同的内容写在这里为了让页面有别"]
    source = make_store(tmp_path / "in", texts, lang=["zh"] * 3)
    found = list(decisions(dedup(tmp_path / "out", source)).values())
    assert sorted(str(decision[0]) for decision in found) == ["None", "None", "dedup.near"] and found[2][0] is None
    how = Shingling("char", 24)
    left, right = (set(shingles(text, how)) for text in texts[:2])
    assert [decision[2] for decision in found if decision[2]] == [len(left & right) / len(left | right)]
    as_words = decisions(dedup(tmp_path / "words", source, by_language=[]))
    assert [decision[0] for decision in as_words.values()] == [None] * 3, (
        "a sentence is one word and a page one shingle"
    )


def test_each_language_has_its_own_shingles_and_signatures_are_kept_by_them(
    dedup, make_store, decisions, jaccard, tmp_path
):
    ko = "맷돌은 곡식을 가는 데 쓰는 기구이다, 둥글넓적한 돌 두 짝을 포개고 아가리에 곡식을 넣으면서 손잡이를 돌려서 간다."
    texts = [ko, ko.replace(",", ""), " ".join(words(9, 40)), " ".join(words(9, 39)), "plain", None]
    langs = ["ko", "ko", "en", "en", None, "ko"]
    source = make_store(tmp_path / "in", texts, shards=2, lang=langs)
    ids = source.table()["id"].to_pylist()
    folder = str(tmp_path / "signatures")
    plain = decisions(dedup(tmp_path / "plain", source, signatures=folder))
    assert [plain[key][0] for key in ids] == ["dedup.near" if n in (1, 3) else None for n in range(6)] and plain[
        ids[1]
    ][2] == 1.0
    options = {"by_language": ["ko=eojeol:3"], "threshold": 0.6}
    found = decisions(dedup(tmp_path / "out", source, **options))
    score = jaccard(texts[0], texts[1], Shingling("eojeol", 3))
    assert 0.6 < score < 1 and found[ids[1]][2] == score and found[ids[3]][2] == jaccard(texts[2], texts[3])
    kept = dedup(tmp_path / "kept", source, signatures=folder, **options)
    assert kept.content_hash == dedup(tmp_path / "again", source, signatures=folder, **options).content_hash
    assert decisions(kept) == found


@pytest.mark.parametrize("entry", ["zh", "zh=syllable", "zh=char:0", "=char"])
def test_a_shingle_that_is_none_is_refused(dedup, make_store, tmp_path, entry):
    with pytest.raises(OptionError, match="shingle"):
        dedup(tmp_path / "out", make_store(tmp_path / "in", ["a"]), by_language=[entry])


def test_fineweb_has_its_bands_and_reads_digits_alike(dedup, make_store, decisions, tmp_path):
    page = " ".join(words(4, 60))
    other = "".join("9" if char.isdigit() else char for char in page)
    source = make_store(tmp_path / "in", [page, other])
    assert [decision[0] for decision in decisions(dedup(tmp_path / "plain", source)).values()] == [None, None]
    out = dedup(tmp_path / "fineweb", source, preset="fineweb")
    assert sorted(str(decision[0]) for decision in decisions(out).values()) == ["None", "dedup.near"]
    notes = out.receipt(0).notes
    assert (notes["bands"], notes["rows"]) == (14, 8)
