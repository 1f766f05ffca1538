"""What is removed, and why: verified against Python sets, real manuals with exact truth, and traps."""

from __future__ import annotations

import random

import pytest

from pipeline.storage.ledger import check


def test_every_removal_is_proven_against_its_representative_and_no_kept_pair_is_alike(
    dedup, make_store, decisions, jaccard, corpus, tmp_path
):
    texts = corpus(200, seed=1)
    source = make_store(tmp_path / "in", texts, shards=3)
    out = dedup(tmp_path / "out", source)
    text = dict(zip(source.table()["id"].to_pylist(), texts))
    found = decisions(out)
    kept = [key for key, (reason, *_) in found.items() if reason is None]
    assert len(kept) < len(texts) * 0.8
    for key, (reason, representative, score, _) in found.items():
        if reason is not None:
            assert found[representative][0] is None, "the representative itself stays"
            assert score == jaccard(text[key], text[representative]) >= 0.8
            assert (reason == "dedup.exact") == (text[key] == text[representative])
            assert len(text[representative]) >= len(text[key])
        else:
            assert representative is None and score is None
    alike = [(a, b) for i, a in enumerate(kept) for b in kept[:i] if jaccard(text[a], text[b]) >= 0.8]
    assert len(alike) <= 1, "the banding finds .995 of the pairs at the threshold"


def test_ledger_accounts_for_every_row_and_cluster_sizes_add_up(dedup, make_store, decisions, corpus, tmp_path):
    source = make_store(tmp_path / "in", corpus(120, seed=2), shards=2)
    out = dedup(tmp_path / "out", source)
    for shard in source.shards():
        check(source.read(shard)["id"], out.read(shard)["id"], out.ledger(shard), "dedup")
    found = decisions(out)
    sizes = dict(zip(out.table()["id"].to_pylist(), out.table()["cluster_size"].to_pylist()))
    for key, size in sizes.items():
        assert size == 1 + sum(representative == key for _, representative, _, _ in found.values()) == found[key][3]
    assert sum(sizes.values()) == len(found)
    assert out.schema.names == [*source.schema.names, "cluster_size"]


def test_installation_guide_removals_are_true_and_99_percent_are_resolved(
    dedup, make_store, decisions, manual, tmp_path
):
    pages, truth = manual
    source = make_store(
        tmp_path / "in", [page["text"] for page in pages], shards=2, lang=[page["lang"] for page in pages]
    )
    found = decisions(dedup(tmp_path / "out", source))
    name = dict(zip(source.table()["id"].to_pylist(), (page["id"] for page in pages)))
    gone = {}
    for key, (reason, representative, score, _) in found.items():
        if reason is not None:
            gone[name[key]] = name[representative]
            assert truth[frozenset((name[key], name[representative]))] >= 0.8
            assert score == pytest.approx(truth[frozenset((name[key], name[representative]))], abs=5e-4)
    partners = {page for pair, alike in truth.items() if alike >= 0.8 for page in pair}
    resolved = {page for page in partners if page in gone or page in gone.values()}
    open_pairs = {page for pair, alike in truth.items() if alike >= 0.8 and not pair & gone.keys() for page in pair}
    assert len(resolved - open_pairs) >= 0.99 * len(partners)
    assert len(gone) > 300


def template_pages(count: int, seed: int) -> list[str]:
    """Pages of one template, 70 % the same words, each with contents of its own."""
    draw = random.Random(seed)
    frame = [f"menu{n}" for n in range(140)]
    return [
        " ".join([*frame[:70], *(f"item{draw.randrange(10**6)}" for _ in range(60)), *frame[70:]]) for _ in range(count)
    ]


def chains(count: int, seed: int) -> list[tuple[str, str, str]]:
    """Chains A ~ B ~ C: A and C are alike to B (.84) and not to each other (.7)."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        words = [f"w{draw.randrange(10**7)}" for _ in range(130)]
        made.append((" ".join(words[:110]), " ".join(words[10:120]), " ".join(words[20:130])))
    return made


def components(pairs: set[tuple[int, int]], count: int) -> list[int]:
    """Smallest document of each document's component: what deletion by candidates and closure keeps."""
    root = list(range(count))
    for _ in range(count):
        before = list(root)
        for a, b in pairs:
            root[a] = root[b] = min(root[a], root[b])
        if root == before:
            break
    return root


def test_templates_and_chains_are_not_merged_where_closure_would(
    dedup, make_store, decisions, jaccard, tmp_path, capsys
):
    import numpy as np

    from stages.text.minhash import lsh
    from stages.text.minhash import signatures as minhash
    from stages.text.minhash.shingles import Shingling

    texts = [*template_pages(60, seed=3), *(text for chain in chains(40, seed=4) for text in chain)]
    source = make_store(tmp_path / "in", texts)
    found = decisions(dedup(tmp_path / "out", source))
    ids = source.table()["id"].to_pylist()
    number_of = {key: number for number, key in enumerate(ids)}
    removed = {
        number_of[key]: number_of[representative] for key, (reason, representative, *_) in found.items() if reason
    }
    wrong = [pair for pair in removed.items() if jaccard(texts[pair[0]], texts[pair[1]]) < 0.8]

    pieces = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, pieces)]).astype(np.int64)
    values = minhash.compute_minhash(np.frombuffer(b"".join(pieces), np.uint8), offsets, Shingling(), 112).values
    keys = lsh.band_keys(values, lsh.FINEWEB)
    meet = {(a, b) for a in range(len(texts)) for b in range(a) if (keys[a] == keys[b]).any()}
    root = components(meet, len(texts))
    by_closure = [(n, r) for n, r in enumerate(root) if r != n and jaccard(texts[n], texts[r]) < 0.8]
    with capsys.disabled():
        print(
            f"\n  wrongly removed: {len(wrong)} of {len(removed)} verified; {len(by_closure)} of {sum(r != n for n, r in enumerate(root))} by candidates and closure"
        )
    assert wrong == [] and len(removed) >= 35
    assert len(by_closure) > 10


def test_chain_keeps_the_far_end(dedup, make_store, decisions, tmp_path):
    ((a, b, c),) = chains(1, seed=9)
    source = make_store(tmp_path / "in", [a + " tail end", b, c], date=["2024-01-01", "2024-02-01", "2024-03-01"])
    ids = source.table()["id"].to_pylist()
    first = decisions(dedup(tmp_path / "oldest", source, keep="oldest"))
    assert [first[key][0] for key in ids] == [None, "dedup.near", None] and first[ids[1]][1] == ids[0]
    middle = decisions(dedup(tmp_path / "mid", make_store(tmp_path / "in2", [a, b + " longest of all", c])))
    assert [decision[0] for decision in middle.values()].count("dedup.near") == 2


def test_keep_rules_decide_in_order_and_ids_break_ties(dedup, make_store, decisions, tmp_path):
    base = " ".join(f"word{n}" for n in range(60))
    texts = [base, base + " more", base, base]
    columns = {
        "source": ["blog/a", "news/b", "gov/c", "blog/d"],
        "date": ["2024-05-01", "2023-01-01T00:00:00Z", "2024-05-01T01:00:00+09:00", None],
        "meta": [[{"key": "score", "value": v}] for v in ("0.2", "x", "0.9", "0.9")],
    }
    source = make_store(tmp_path / "in", texts, **columns)
    ids = source.table()["id"].to_pylist()

    def representative(**options) -> int:
        kept = [
            key
            for key, decision in decisions(
                dedup(tmp_path / "-".join(map(str, options.values())).replace("/", "_"), source, **options)
            ).items()
            if decision[0] is None
        ]
        assert len(kept) == 1
        return ids.index(kept[0])

    assert representative(keep="longest") == 1
    assert representative(keep="source", sources=["gov", "news"]) == 2
    assert representative(keep="newest") == 0
    assert representative(keep="oldest") == 1
    assert representative(keep="score > oldest", score="score") == 2
    assert representative(keep="score", score="score") == (2 if ids[2] < ids[3] else 3)
    assert representative(keep="shortest") == min((ids[n], n) for n in (0, 2, 3))[1]


def test_null_empty_and_wordless_texts_stay_and_say_why(dedup, make_store, decisions, tmp_path):
    texts = [None, None, "", " \n ", "!!!", "!!!", "???", "one", "One", "한글", "한글 ", "hello world", "hello, world"]
    source = make_store(tmp_path / "in", texts)
    out = dedup(tmp_path / "out", source)
    rows = out.ledgers().to_pylist()
    assert [row["reason"] for row in rows[:4]] == [None] * 4
    assert [row["note"] for row in rows[:7]] == ["text is null"] * 2 + ["text is empty"] * 2 + ["text has no words"] * 3
    assert sorted(str(row["reason"]) for row in rows[4:7]) == ["None", "None", "dedup.exact"]
    assert sorted(str(row["reason"]) for row in rows[7:9]) == ["None", "dedup.near"]
    assert sorted(str(row["reason"]) for row in rows[9:11]) == ["None", "dedup.exact"]
    assert sorted(str(row["reason"]) for row in rows[11:]) == ["None", "dedup.near"]
    merged = decisions(dedup(tmp_path / "merged", source, merge_empty=True))
    assert [decision[0] for decision in merged.values()][:4].count("dedup.exact") == 1


def test_levels_can_be_had_alone(dedup, make_store, decisions, tmp_path):
    base = " ".join(f"word{n}" for n in range(60))
    source = make_store(tmp_path / "in", [base, base + "  ", base + " tail"])
    exact = decisions(dedup(tmp_path / "exact", source, levels=["exact"]))
    assert sorted(str(decision[0]) for decision in exact.values()) == ["None", "None", "dedup.exact"]
    near = decisions(dedup(tmp_path / "near", source, levels=["near"]))
    assert sorted(str(decision[0]) for decision in near.values()) == ["None", "dedup.near", "dedup.near"]


def test_decomposed_hangul_is_the_same_text(dedup, make_store, decisions, tmp_path):
    import unicodedata

    text = "맷돌은 곡식을 가는 데 쓰는 기구이다. 둥글넓적한 돌 두 짝을 포개고 아가리에 곡식을 넣으면서 손잡이를 돌려서 간다."
    source = make_store(tmp_path / "in", [text, unicodedata.normalize("NFD", text)])
    assert sorted(str(decision[0]) for decision in decisions(dedup(tmp_path / "out", source)).values()) == [
        "None",
        "dedup.exact",
    ]


def test_shards_without_rows_and_a_store_without_shards(dedup, make_store, decisions, tmp_path):
    source = make_store(tmp_path / "in", ["a b c d e f", "a b c d e f"], shards=4)
    out = dedup(tmp_path / "out", source)
    assert [len(out.read(shard)) for shard in out.shards()].count(0) >= 3 and len(out.table()) == 1
    nothing = make_store(tmp_path / "nothing", [], shards=1)
    assert len(dedup(tmp_path / "none", nothing).table()) == 0


def test_the_same_id_in_two_stores_with_one_text_is_kept_once(dedup, make_store, tmp_path):
    left = make_store(tmp_path / "left", ["the same words in both of the stores"])
    right = make_store(tmp_path / "right", ["the same words in both of the stores"])
    out = dedup(tmp_path / "out", left, right)
    rows = out.ledgers().to_pylist()
    assert len(out.table()) == 1 and [row["reason"] for row in rows] == [None, "dedup.exact"]
    assert rows[1]["duplicate_of"] == rows[0]["id"] == rows[1]["id"]
