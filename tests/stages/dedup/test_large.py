"""Large things: a component that does not fit a piece, one long document, and a run killed for real."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from stages.dedup.near import resolve


def pages(count: int, seed: int) -> list[str]:
    """Pages of one template (nine tenths of their words, exact similarity about .75), some of them near-copies of an earlier one."""
    draw = random.Random(seed)
    frame = [f"menu{n}" for n in range(180)]
    made: list[list[str]] = []
    while len(made) < count:
        if made and draw.random() < 0.3:
            own = list(draw.choice(made))
            own[draw.randrange(len(own))] = f"edit{draw.randrange(10**6)}"
        else:
            own = [f"item{draw.randrange(10**6)}" for _ in range(25)]
        made.append(own)
    return [" ".join([*frame[:40], *own, *frame[40:]]) for own in made]


def test_a_component_resolved_through_the_index_is_resolved_as_pair_by_pair(
    dedup, make_store, decisions, tmp_path, monkeypatch
):
    source = make_store(tmp_path / "in", pages(500, seed=12))
    pairwise = dedup(tmp_path / "pairs", source)
    cluster = pairwise.sub("passes/cluster").receipt(0).notes
    assert cluster["documents"] / cluster["components"] > 50, "the template draws its pages together"
    monkeypatch.setattr(resolve, "LARGE_DOCS", 20)
    monkeypatch.setattr(resolve, "PIECE_BYTES", 20_000)
    indexed = dedup(tmp_path / "index", source)
    assert decisions(indexed) == decisions(pairwise)
    assert indexed.hashes() == pairwise.hashes()


def test_one_long_document_and_its_near_copy(dedup, make_store, decisions, tmp_path):
    words = [f"w{n * 7919 % 100_003}" for n in range(200_000)]
    text = " ".join(words)
    source = make_store(tmp_path / "in", [text, " ".join(words[:-40]), "short one"])
    found = list(decisions(dedup(tmp_path / "out", source)).values())
    assert [decision[0] for decision in found] == [None, "dedup.near", None]
    assert found[1][2] > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minhash", "exact", "band", "link", "cluster", "near", "statistics", "shards"])
def test_kill_minus_nine_in_each_pass_and_rerun_gives_the_same_bytes(make_store, corpus, tmp_path, repo, name):
    from pipeline.storage.store import Store

    make_store(tmp_path / "in", corpus(1500, seed=21), shards=6)
    command = [sys.executable, "-m", "pipeline.cli", "dedup", str(tmp_path / "in")]
    environment = os.environ | {"PYTHONPATH": str(repo)}
    subprocess.run([*command, str(tmp_path / "whole")], env=environment, check=True, capture_output=True)
    process = subprocess.Popen(
        [*command, str(tmp_path / "cut")], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    folder = tmp_path / "cut" / ("shards" if name == "shards" else f"passes/{name}/shards")
    while process.poll() is None and not (folder.is_dir() and any(folder.iterdir())):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*command, str(tmp_path / "cut")], env=environment, check=True, capture_output=True)
    assert Store(tmp_path / "cut").content_hash == Store(tmp_path / "whole").content_hash
