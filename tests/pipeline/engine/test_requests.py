"""What steps ask of object storage grows with their shards, and dedup reads its input twice and a little."""

from __future__ import annotations

import importlib.util
import random
import sys

import pytest

SHARDS = 8, 16
ROWS = 6


@pytest.fixture(scope="module")
def bench(repo):
    """tests/bench/engine/count_requests.py as a module."""
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    spec = importlib.util.spec_from_file_location("count_requests", repo / "tests/bench/engine/count_requests.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def costs(bench):
    """`costs(step)` -> for each of SHARDS: cost of the run, cost of a run with nothing to do, bytes of the input."""
    draw = random.Random(11)
    texts = [" ".join(f"word{draw.randrange(50_000)}" for _ in range(10_000)) for _ in range(SHARDS[-1] * ROWS)]
    for at in range(7, len(texts), 12):  # some near copies of a page of another shard, and some copies
        texts[at] = texts[at - 7] if at % 24 == 7 else texts[at - 7].replace(" word1", " sword1", 90)
    with bench.server() as counted:

        def measure(step):
            found = []
            for shards in SHARDS:
                root = f"s3://{bench.BUCKET}/{step}-{shards}"
                lay = bench.poured if step == "ingest" else bench.laid
                source, size = lay(root, texts[: shards * ROWS], ROWS)
                made = bench.measured(counted, root, step, source)
                found.append((made["run"], made["again"], size))
            return found

        yield measure


@pytest.mark.parametrize("step", ["ingest", "quality", "dedup"])
def test_requests_are_linear_and_a_run_with_nothing_to_do_asks_little(costs, step):
    (small, quiet, size), (large, quiet_too, double) = costs(step)
    assert large.total <= 2.2 * small.total
    assert large.read <= 2.2 * small.read * double / size / 2
    assert quiet_too.total <= quiet.total + 2, "what is done is told by the manifest"
    if step == "dedup":
        assert large.read <= 2.5 * double


def test_near_texts_read_by_ranges_give_what_a_local_disk_gives_and_are_held(bench, tmp_path, monkeypatch):
    """Every page has a near copy; a text that is not the one that was signed ends the step."""
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.errors import DamagedStore
    from pipeline.storage.store import Store
    from stages.dedup import Dedup
    from stages.dedup.near import texts as near

    draw = random.Random(4)
    pages = [" ".join(f"word{draw.randrange(5000)}" for _ in range(400)) for _ in range(9)]
    pages += [page + " and more" for page in pages]
    stage, ranged = Dedup.build({}, "dedup"), []
    read = near._ranged
    monkeypatch.setattr(near, "_ranged", lambda *given: ranged.append(1) or read(*given))
    with bench.server():
        made = []
        for root in (f"s3://{bench.BUCKET}/near", str(tmp_path)):
            source = Store(bench.laid(root, pages, 5)[0])
            made.append(stage.run(Inputs({"of": [source]}), Store(f"{root}/out"), Inline()))
            assert bool(ranged) == root.startswith("s3://") and not (ranged.clear())
        remote, local = ([(each.content_hash, each.ledger_hash) for each in receipts] for receipts in made)
        assert remote == local and sum(each.rows for each in made[0]) == 9
        hold = near._hold
        monkeypatch.setattr(near, "_hold", lambda part, data, *rest: hold(part, bytes([data[0] ^ 1]) + data[1:], *rest))
        source = Store(f"s3://{bench.BUCKET}/near/in")
        with pytest.raises(DamagedStore, match="is damaged: a text is not the one that was written"):
            stage.run(Inputs({"of": [source]}), Store(f"s3://{bench.BUCKET}/near/again"), Inline())
