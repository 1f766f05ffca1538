"""Signatures kept between runs: what was signed is found by content, and what comes out is the same with and without."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.deletion import takedown
from pipeline.engine import progress
from pipeline.storage import proof
from stages.dedup import corpus as corpora
from stages.dedup.signatures.cache import CachedSignatures
from stages.text.minhash import signatures as minhash


@pytest.fixture
def computed(monkeypatch):
    """How many texts were signed since it was last emptied, counted where the kernel is called."""
    counts: list[int] = []
    real = minhash.compute_minhash

    def counting(data, offsets, *given):
        counts.append(len(offsets) - 1)
        return real(data, offsets, *given)

    monkeypatch.setattr(minhash, "compute_minhash", counting)
    return counts


class Heard(progress.Quiet):
    def __init__(self):
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def took(counts: list[int]) -> int:
    total = sum(counts)
    counts.clear()
    return total


def test_a_new_crawl_joins_without_signing_the_old(dedup, make_store, corpus, decisions, tmp_path, computed):
    texts = corpus(240, seed=31)
    dates = [f"20{20 + n // 80}-01-01" for n in range(240)]
    crawls = [
        make_store(tmp_path / f"crawl{n}", texts[80 * n : 80 * n + 80], shards=2, date=dates[80 * n : 80 * n + 80])
        for n in range(3)
    ]
    folder = str(tmp_path / "signatures")
    for n, crawl in enumerate(crawls):
        dedup(tmp_path / f"out{n}", crawl, against=crawls[:n], keep="oldest", signatures=folder)
        assert took(computed) == sum(text not in texts[: 80 * n] for text in texts[80 * n : 80 * n + 80]), (
            "what the crawls before it had is known"
        )
    without = dedup(tmp_path / "plain", crawls[2], against=crawls[:2], keep="oldest")
    assert took(computed) == 240
    assert (
        without.content_hash
        == dedup(tmp_path / "again", crawls[2], against=crawls[:2], keep="oldest", signatures=folder).content_hash
    )
    assert took(computed) == 0
    assert decisions(without) == decisions(
        dedup(tmp_path / "out2", crawls[2], against=crawls[:2], keep="oldest", signatures=folder)
    )


def test_other_bands_thresholds_and_representatives_compute_nothing(dedup, make_store, corpus, tmp_path, computed):
    source = make_store(tmp_path / "in", corpus(100, seed=32), shards=3)
    folder = str(tmp_path / "signatures")
    dedup(tmp_path / "out", source, signatures=folder)
    assert took(computed) == 100
    for n, options in enumerate([{"bands": 20, "rows": 5}, {"threshold": 0.7}, {"keep": "shortest"}, {"recall": 0.9}]):
        other = dedup(tmp_path / f"other{n}", source, signatures=folder, **options)
        assert took(computed) == 0
        assert other.content_hash == dedup(tmp_path / f"plain{n}", source, **options).content_hash
        assert took(computed) == 100


def test_rebanding_in_place_computes_nothing(dedup, make_store, corpus, tmp_path, computed):
    source = make_store(tmp_path / "in", corpus(60, seed=33))
    dedup(tmp_path / "out", source)
    took(computed)
    dedup(tmp_path / "out", source, bands=14, rows=8)
    assert took(computed) == 0


def test_the_same_pages_in_other_shards_are_found_by_their_text(dedup, make_store, corpus, tmp_path, computed):
    texts = corpus(200, seed=34) + [None, ""]
    folder = str(tmp_path / "signatures")
    dedup(tmp_path / "out", make_store(tmp_path / "in", texts, shards=2), signatures=folder)
    assert took(computed) == 202
    fewer = make_store(tmp_path / "fewer", [*texts[5:190], None, "", "a page that was not there before"], shards=3)
    found = dedup(tmp_path / "out2", fewer, signatures=folder)
    assert took(computed) == 1
    assert found.content_hash == dedup(tmp_path / "plain", fewer).content_hash
    table = [found.sub("passes/minhash").read(n) for n in range(3)]
    plain = [dedup(tmp_path / "plain", fewer).sub("passes/minhash").read(n) for n in range(3)]
    assert [t.to_pydict() for t in table] == [t.to_pydict() for t in plain]


def test_known_shards_are_hashed_once_and_of_them_is_held_what_a_new_one_has(
    dedup, make_store, corpus, tmp_path, monkeypatch
):
    """A page that stands in every shard does not bring all of them into memory."""
    folder, hashed, held = str(tmp_path / "signatures"), [], []
    texts = [f"page {n} {text}" for n, text in enumerate(corpus(120, seed=38))]
    common = "the same words stand on many pages of this place"
    known = [text for n in range(0, 60, 20) for text in (common, *texts[n : n + 19])]
    dedup(tmp_path / "out", make_store(tmp_path / "in", known, shards=3), signatures=folder)
    xxh3, of = proof._xxh3, CachedSignatures.of
    monkeypatch.setattr(proof, "_xxh3", lambda path: hashed.append(path) or xxh3(path))
    monkeypatch.setattr(CachedSignatures, "of", lambda tables: held.append(sum(map(len, tables))) or of(tables))
    monkeypatch.setattr(proof, "_held", set())
    corpora._mapped.cache_clear()
    new = [text for n in range(60, 120, 20) for text in (common, *texts[n : n + 19])]
    dedup(tmp_path / "out2", make_store(tmp_path / "in2", new, shards=3), signatures=folder)
    assert held == [1, 1, 1]
    of_cache = [path for path in hashed if folder in str(path)]
    assert len(of_cache) == len(set(of_cache)) == 3


def test_after_a_takedown_signatures_are_those_of_the_rows_that_are_left(dedup, make_store, corpus, tmp_path, computed):
    """By a cache, and in a store of another root, which a takedown does not reach."""
    root, folder = tmp_path / "root", str(tmp_path / "signatures")
    source = make_store(root / "in", corpus(60, seed=37), shards=2)
    dedup(tmp_path / "out", source, signatures=folder)
    found = takedown.find(str(root), [("id", source.read(0)["id"][3].as_py())])
    takedown.carry_out(str(root), found.lost)
    expected = dedup(tmp_path / "plain", source, threshold=0.7).content_hash
    took(computed)
    assert dedup(tmp_path / "out", source, signatures=folder, threshold=0.7).content_hash == expected
    assert took(computed) == 0, "texts are found one by one"
    assert dedup(tmp_path / "out", source, threshold=0.7).content_hash == expected


def test_signatures_of_other_options_are_named_and_not_used(dedup, make_store, corpus, tmp_path, computed, monkeypatch):
    source = make_store(tmp_path / "in", corpus(40, seed=35))
    folder = str(tmp_path / "signatures")
    dedup(tmp_path / "out", source, signatures=folder)
    heard = Heard()
    monkeypatch.setattr(progress, "current", heard)
    took(computed)
    out = dedup(tmp_path / "wider", source, signatures=folder, width=4)
    assert took(computed) == 40 and any("signatures of other options" in line for line in heard.lines)
    assert out.content_hash == dedup(tmp_path / "plain", source, width=4).content_hash
    took(computed), heard.lines.clear()
    dedup(tmp_path / "back", source, signatures=folder)
    assert took(computed) == 0 and not heard.lines


@pytest.mark.parametrize("hurt", ["shard", "torn", "gone", "receipt"])
def test_damaged_signatures_are_named_and_made_again(dedup, make_store, corpus, tmp_path, computed, monkeypatch, hurt):
    source = make_store(tmp_path / "in", [f"page {n} {text}" for n, text in enumerate(corpus(60, seed=36))], shards=2)
    folder = tmp_path / "signatures"
    expected = dedup(tmp_path / "out", source, signatures=str(folder)).content_hash
    kind = "receipts/*.json" if hurt == "receipt" else "shards/*.arrow"
    victim = sorted(next(folder.iterdir()).glob(kind))[0]
    data = bytearray(victim.read_bytes())
    if hurt == "gone":
        victim.unlink()
    elif hurt == "torn":
        victim.write_bytes(data[: len(data) // 3])
    else:
        data[len(data) // 2] ^= 0xFF
        victim.write_bytes(data if hurt == "shard" else b"{")
    heard = Heard()
    monkeypatch.setattr(progress, "current", heard)
    took(computed)
    assert dedup(tmp_path / "out2", source, signatures=str(folder)).content_hash == expected
    assert took(computed) == 30 and any(victim.stem in line for line in heard.lines)
    heard.lines.clear()
    assert dedup(tmp_path / "out3", source, signatures=str(folder)).content_hash == expected
    assert took(computed) == 0 and not heard.lines


def test_signatures_in_the_folder_load_into_datasketch(dedup, make_store, tmp_path):
    from pipeline.storage.store import Store
    from stages.dedup.columns import matrix

    text = "one two three four five six seven eight"
    dedup(tmp_path / "out", make_store(tmp_path / "in", [text]), signatures=str(tmp_path / "signatures"))
    library = Store(next((tmp_path / "signatures").iterdir()))
    values = matrix(library.read(library.shards()[0]), "values")
    data = text.encode()
    expected = minhash.compute_minhash(
        np.frombuffer(data, np.uint8), np.array([0, len(data)]), minhash.Shingling(), 128
    ).values
    assert (
        np.array_equal(values, expected)
        and minhash.as_datasketch(values[0]).jaccard(minhash.as_datasketch(expected[0])) == 1
    )
