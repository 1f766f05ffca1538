"""The web recipe of the quickstart where storage and nodes fail: the same bytes as a quiet run on one machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.storage.files import filesystem
from pipeline.storage.store import Store
from tests.s3 import faults_of, free_port, served, spoiled

KINDS = {"500", "503", "reset", "lost", "truncated"}
"""Of faults that the proxy puts on."""
SMALL = {"packages": {"max_files": 150, "max_bytes": 900_000}, "vocab_size": 1200, "seq_len": 128}
MAETDOL = [sys.executable, "-c", "from pipeline.cli import main; main()"]
LOST = re.compile(r"(\w+) shard \d+: its node went away; it is done again elsewhere")


def hashes(root: str, names: list[str]) -> dict[str, tuple]:
    """Of each step: hash of the store, and of each shard and its ledger."""
    found = {}
    for name in names:
        store = Store(f"{root}/{name}")
        proofs = {number: (each.content_hash, each.ledger_hash) for number, each in store.receipts().items()}
        found[name] = store.content_hash, proofs
    return found


def pour(raw: str, parts: dict[str, list[Path]]) -> None:
    """Copy the files of each part to `raw/PART`."""
    for part, paths in parts.items():
        for number, path in enumerate(paths):
            filesystem(f"{raw}/{part}").write(f"{number:04d}-{path.name}", path.read_bytes())


def test_two_steps_on_storage_that_fails_leave_what_they_leave_on_a_disk(repo, tmp_path):
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    parts, log = {"docs": sorted((repo / "docs").glob("*.md"))[:5]}, tmp_path / "requests"

    def made(home: str) -> dict[str, tuple]:
        pour(f"{home}/raw", parts)
        with spoiled(0.3, log) if "://" in home else nullcontext():
            steps = [{"ingest": {"from": f"{home}/raw/docs"}}, {"quality": {"filters": [{"word_count": {"min": 500}}]}}]
            run(parse({"name": "web", "root": f"{home}/run", "steps": steps, "run": {"pool": "inline"}}))
        return hashes(f"{home}/run", ["ingest", "quality"])

    with served("mill") as bucket:
        assert made(bucket) == made(str(tmp_path))
    assert set(faults_of(log)) == KINDS | {"-"}


# -- a cluster ---------------------------------------------------------------------------------------------------------


def web_recipe(repo: Path, home: str, parts: list[str], how: dict[str, Any]) -> dict[str, Any]:
    """The steps of configs/quickstart.yaml from ingest to pack, small, over files of a crawl that lie in `home/raw`."""
    page = yaml.safe_load((repo / "configs/quickstart.yaml").read_text("utf-8"))
    steps = page["steps"][: next(at for at, step in enumerate(page["steps"]) if "pack" in step) + 1]
    named = {next(iter(step)): step for step in steps if isinstance(step, dict)}
    site, packages = (step for step in steps if "ingest" in step)
    packages["ingest"]["packages"] = SMALL["packages"]
    named["quality"]["quality"]["of"] = [*parts, "packages"]
    named["tokenizer"]["tokenizer"]["vocab_size"] = SMALL["vocab_size"]
    named["pack"]["pack"]["seq_len"] = SMALL["seq_len"]
    read = [{"ingest": {"name": part, "from": f"{home}/raw/{part}"}} for part in parts]
    steps = [*read, *(step for step in steps if step is not site)]
    return {"name": "web", "root": f"{home}/run", "seed": page["seed"], "steps": steps, "run": how}


@pytest.fixture(scope="module")
def crawled(repo, tmp_path_factory) -> dict[str, list[Path]]:
    """The archives of a crawl of the site of the quickstart, and the pages of the documentation, in parts."""
    root = tmp_path_factory.mktemp("crawl")
    step = {"ingest": {"name": "site", "crawl": {"site": str(repo / "configs/site"), "delay": 0.02}}}
    run(parse({"name": "crawl", "root": str(root), "steps": [step], "run": {"pool": "inline"}}))
    docs = sorted((repo / "docs").rglob("*.md"))
    parts = {f"docs-{number}": docs[number::4] for number in range(4)}
    return {"site": sorted(root.rglob("*.warc.gz")), **parts}


class Raylets:
    """A head that runs the job's driver, and nodes that come and go, on this machine. Each has a folder of its own, as machines
    have: a node that dies takes what it unpacked with it."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.folders: list[str] = []
        self.port = free_port()
        head = {**self._own(), "include_dashboard": True, "dashboard_port": self.port}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        # As `ray start` does: jobs look there for their cluster, and among all processes of the machine where nothing is.
        (Path(self.folders[0]) / "ray_current_cluster").write_text(self.cluster.address)
        self.nodes = [self.add(), self.add()]

    def _own(self) -> dict[str, Any]:
        self.folders.append(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets lie below: their paths must be short
        return {"num_cpus": 1, "object_store_memory": 100 << 20, "temp_dir": self.folders[-1]}

    def add(self) -> Any:
        return self.cluster.add_node(**self._own())

    def shutdown(self) -> None:
        self.cluster.shutdown()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def works(self, node: Any) -> bool:
        """Does a task of the pool run on this node now? Ray names its workers so."""
        raylet = node.all_processes["raylet"][0].process.pid
        said = subprocess.run(["ps", "-o", "args=", "--ppid", str(raylet)], capture_output=True, text=True).stdout
        return "ray::on_ray" in said

    def counted(self) -> set[tuple[str, str]]:
        """(what, stage) of all that Prometheus would be told about stages now, by every node that Ray names to it."""
        found, direct = set(), urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for entry in json.loads((Path(self.folders[0]) / "prom_metrics_service_discovery.json").read_bytes()):
            for target in entry["targets"]:
                try:
                    page = direct.open(f"http://{target}/metrics", timeout=5).read().decode()
                except OSError:  # of a node that was killed
                    continue
                found |= set(re.findall(r'^ray_maetdol_([a-z]+)\w*{.*stage="(\w+)".*} [1-9]', page, re.MULTILINE))
        return found

    def kill(self, node: Any) -> None:
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def token(tmp_path, monkeypatch):
    """Ray asks everybody for a token, as docs/operations.md advises."""
    (tmp_path / "token").write_text("ab" * 32)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_job_on_raylets_that_die_with_storage_that_fails_leaves_what_a_quiet_run_leaves(
    repo, tmp_path, crawled, token, monkeypatch
):
    """`ray job submit` of the web recipe; one node is killed while it works on a shard of `quality`, and another one comes."""
    import ray

    for module in ("moto.server", "aiohttp_cors"):
        pytest.importorskip(module, reason="moto[server] and the extra `cluster` are needed")
    if ray.is_initialized():
        ray.shutdown()
    parts, said, log = list(crawled), tmp_path / "job.log", tmp_path / "requests"
    counted: set[tuple[str, str]] = set()
    monkeypatch.chdir(repo)

    def recipe(home: str, how: dict[str, Any]) -> dict[str, Any]:
        pour(f"{home}/raw", crawled)
        return web_recipe(repo, home, parts, how)

    quiet = parse(recipe(str(tmp_path / "quiet"), {"pool": "inline"}))
    run(quiet)
    names = [step.name for step in quiet.steps]
    with served("mill") as bucket:
        page = recipe(bucket, {"address": "auto", "workers": 3})
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(page, allow_unicode=True))
        quality = Store(f"{bucket}/run/quality").fs
        storage = os.environ["AWS_ENDPOINT_URL"]
        with spoiled(0.1, log) as proxy:
            raylets = Raylets()
            try:
                job = submit(repo, raylets.port, tmp_path / "recipe.yaml", said)
                os.environ["AWS_ENDPOINT_URL"] = storage  # whoever watches is not counted
                while job.poll() is None and not quality.names("receipts"):
                    time.sleep(0.2)
                while job.poll() is None and not quality.exists("manifest.json"):
                    if busy := next((node for node in raylets.nodes if raylets.works(node)), None):
                        raylets.kill(busy)
                        raylets.add()
                        break
                    time.sleep(0.05)
                while job.poll() is None:
                    counted |= raylets.counted()
                    time.sleep(1)
                assert job.wait() == 0 and "Traceback" not in said.read_text("utf-8"), said.read_text("utf-8")
            finally:
                os.environ["AWS_ENDPOINT_URL"] = proxy
                raylets.shutdown()
        loud = hashes(f"{bucket}/run", names)
    assert loud == hashes(quiet.root, names)
    assert set(faults_of(log)) == KINDS | {"-"}
    assert LOST.findall(said.read_text("utf-8")), "no task was on the node that was killed"
    assert {(what, "quality") for what in ("rows", "bytes", "dropped")} <= counted
    print(dict(faults_of(log)), LOST.findall(said.read_text("utf-8")))


def submit(repo: Path, port: int, recipe: Path, said: Path) -> subprocess.Popen:
    """`ray job submit` of a run of this recipe; what it says goes into a file."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", f"http://127.0.0.1:{port}"]
    command = [*ray, "--working-dir", ".", "--", *MAETDOL, "run", str(recipe)]
    with open(said, "wb") as out:
        return subprocess.Popen(command, cwd=repo, stdout=out, stderr=subprocess.STDOUT)
