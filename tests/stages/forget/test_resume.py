"""The verb killed in the middle: SIGKILL at moments of its own choosing, and the same command again."""

import random
import shutil
import signal
import subprocess
import sys

import pytest

from pipeline.deletion import forgotten, lineage, takedown
from pipeline.storage.files import filesystem
from stages.forget.commands import Forget

HOST = "http://shop.example/"


@pytest.fixture
def root(tmp_path, make_store):
    """Two ingests of twelve shards; every third document is the shop's."""
    texts = [f"Text {n} of a page about grain." for n in range(240)]
    urls = [(HOST if n % 3 == 0 else "http://other.example/") + str(n) for n in range(240)]
    for name in ("one", "two"):
        store = make_store(tmp_path / "root" / name, texts, shards=12, url=urls)
        store.commit_manifest({**store.require(), "stage": "quality"}, store.shards())
    return tmp_path / "root"


def bytes_of(root):
    skipped = (forgotten.PENDING, "lock.json")
    kept = {
        path.relative_to(root): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in skipped
    }
    return {name: data for name, data in kept.items() if name.parts[0] != "takedowns"}


def stamps(root):
    """What lies in the root just now; a file may go while it is looked at."""
    found = set()
    for path in [*root.glob("*/receipts/*"), *root.glob("*/shards/*"), *root.glob("*/ledger/*"), *root.glob("*.json*")]:
        try:
            found.add((path, path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def test_what_was_begun_is_finished_by_the_bare_verb(root, capsys):
    marks = [("domain", forgotten.mark("domain", "shop.example"))]
    takedown.begin(filesystem(root), takedown.find(str(root), marks), marks)
    assert Forget(root=str(root)).run() == 0
    assert "80 rows gone" in capsys.readouterr().out and not (root / forgotten.PENDING).exists()
    assert not [path for path in root.rglob("*.arrow") if b"shop.example" in path.read_bytes()]


def test_a_second_takedown_keeps_the_first(root):
    Forget(root=str(root), domain=("shop.example",)).run()
    Forget(root=str(root), url=("http://other.example/1",)).run()
    assert len(forgotten.entries(filesystem(root))) == 2 and len(list((root / "takedowns").iterdir())) == 2
    stores = lineage.stores_of(str(root))
    assert [len(store.require()["takedowns"]) for store in stores] == [2, 2] and {
        store.require()["rows"] for store in stores
    } == {159}
    before = bytes_of(root)
    Forget(root=str(root), domain=("shop.example",)).run()
    assert bytes_of(root) == before, "a takedown done again changes nothing"


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bytes(root, tmp_path, repo):
    whole = tmp_path / "whole"
    shutil.copytree(root, whole)
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "forget"]
    subprocess.run([*command, str(whole), "--domain", "shop.example"], cwd=repo, check=True)
    rng, kills = random.Random(6), 0
    for _ in range(30):
        # The moment is counted in files that have changed, not in seconds.
        before, aim = stamps(root), rng.randrange(1, 14)
        process = subprocess.Popen([*command, str(root), "--domain", "shop.example"], cwd=repo)
        while process.poll() is None and len(stamps(root) - before) < aim:
            pass
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
    assert kills >= 3
    subprocess.run([*command, str(root), "--domain", "shop.example"], cwd=repo, check=True)
    assert bytes_of(root) == bytes_of(whole)
