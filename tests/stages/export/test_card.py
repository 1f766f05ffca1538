"""The card of an export is read by huggingface_hub's own parser and says what manifests and receipts say; a hub gets the files."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.cli import cli
from pipeline.errors import OptionError, UsageError
from stages.export.card import upstream
from stages.export.commands import StoreExport
from tests.stages.export.test_tables import export

TOKEN = "hf_" + "S3cr3t" * 5


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root of ingest, dedup and pii over twelve documents: two alike, one with a mail address, one without a licence."""
    folder = tmp_path_factory.mktemp("root")
    texts = [
        f"Document {n} tells how {n} stones grind {n * 7} kinds of grain in mill number {n * 3}." for n in range(11)
    ]
    rows = [
        {"id": str(n), "text": text, "lang": "en", "licence": "CC-BY-4.0"} for n, text in enumerate([*texts, texts[0]])
    ]
    rows[3]["text"] += " Write to miller@maetdol.example for more."
    rows[5]["licence"] = None
    (folder / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for line in (
        ["ingest", f"{folder}/raw.jsonl", f"{folder}/run/site"],
        ["dedup", f"{folder}/run/site", f"{folder}/run/unique"],
        ["pii", f"{folder}/run/unique", f"{folder}/run/safe"],
    ):
        assert cli.main([*line, "--quiet"], standalone_mode=False) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def safe(root):
    from pipeline.storage.store import Store

    return Store(root / "safe")


def test_the_hubs_parser_reads_the_card(safe, tmp_path):
    from huggingface_hub import DatasetCard

    export(safe, tmp_path / "out", to="parquet")
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert card.data.to_dict() == {
        "pretty_name": "safe", "language": ["en"], "license": "other", "size_categories": ["n<1K"],
        "task_categories": ["text-generation"], "tags": ["maetdol"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    }  # fmt: skip
    for line in (
        "| site | ingest | 12 | 12 | 0 |",
        "| unique | dedup | 12 | 11 | 1 |",
        "| CC-BY-4.0 | 10 | 90.91% |",
        "| not stated | 1 | 9.09% |",
        "- No quality filter was run.",
        "- No evaluation set was looked for: scores on public benchmarks may be inflated.",
        "- 1 of 11 rows (9.1%) state no licence.",
    ):
        assert line in card.text, line
    assert "threshold: 0.8" in card.text and "1 rows removed" in card.text and "email 1" in card.text
    assert "miller@" not in card.text and str(tmp_path) not in card.content and "deduplication was run" not in card.text


def test_datasets_finds_the_files_by_the_card(safe, tmp_path):
    from datasets import load_dataset

    export(safe, tmp_path / "out", to="jsonl.zst", size=500)
    data = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert data["id"] == [i for shard in safe.shards() for i in safe.read(shard)["id"].to_pylist()]


def test_one_licence_is_named_in_the_head(make_store, tmp_path):
    from huggingface_hub import DatasetCard

    for number, (licences, said) in enumerate(
        ((["MIT", "MIT"], "mit"), (["MIT", None], "other"), ([None, None], "unknown"))
    ):
        store = make_store(tmp_path / f"s{number}", ["a", "b"], licence=licences)
        export(store, tmp_path / f"out{number}", to="csv")
        assert DatasetCard.load(tmp_path / f"out{number}" / "README.md").data["license"] == said


def test_a_store_that_was_made_anew_is_not_taken_for_the_one_behind(root, safe, tmp_path):
    assert [store.name for store in upstream(safe)] == ["site", "unique", "safe"]
    manifest = (root / "unique" / "manifest.json").read_bytes()
    shards = json.loads(manifest)
    shards["shards"][0]["content_hash"] = "0" * 32
    shards.pop("hash", None)
    from pipeline.storage.store import Store

    Store(root / "unique").write_manifest(shards)
    try:
        assert [store.name for store in upstream(safe)] == ["safe"]
        export(safe, tmp_path / "out", to="csv")
        assert "were not beside the store" in (tmp_path / "out" / "README.md").read_text()
    finally:
        (root / "unique" / "manifest.json").write_bytes(manifest)


def test_a_readme_of_ones_own_stays(safe, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    export(safe, tmp_path / "out", to="csv")
    export(safe, tmp_path / "out", to="parquet")
    assert (tmp_path / "out" / "README.md").read_text() == "mine"


# -- the hub -------------------------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as an upload of small files asks for."""

    def do_POST(self):
        hub = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        hub.asked.append((self.path, self.headers.get("Authorization")))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.say({"error": "Invalid credentials"}, 401)
        if self.path == "/api/repos/create":
            hub.made.append(json.loads(body))
            return self.say({"url": f"http://127.0.0.1:{hub.server_port}/datasets/lab/corpus"})
        if self.path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self.say({"files": files})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.say(
                {
                    "commitUrl": f"http://127.0.0.1:{hub.server_port}/datasets/lab/corpus/commit/{40 * chr(48)}",
                    "commitOid": "0" * 40,
                    "success": True,
                }
            )
        return self.say({}, 404)

    def do_GET(self):
        self.say({"error": "Invalid credentials"}, 401)

    def say(self, page, code=200):
        data = json.dumps(page).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_): ...


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.made, server.files = [], [], {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def pushed(hub, store, out, token=TOKEN, **env):
    line = ["export", store.path, str(out), "--to", "jsonl.zst", "--push", "hf://datasets/lab/corpus", "--debug"]
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *line, "--token-env", "LAB_TOKEN"],
        env={
            **os.environ,
            "LAB_TOKEN": token,
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HUB_OFFLINE": "0",
            **env,
        },
        capture_output=True,
        text=True,
    )


def test_an_export_is_pushed_with_its_card(hub, safe, tmp_path, repo, monkeypatch):
    monkeypatch.chdir(repo)
    done = pushed(hub, safe, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (
        hub.made[0]["name"] == "corpus"
        and hub.made[0]["organization"] == "lab"
        and hub.made[0]["visibility"] == "private"
    )
    there = {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()
    }
    assert hub.files == there and "README.md" in there and "export.json" in there
    assert TOKEN not in done.stdout + done.stderr and not any(TOKEN.encode() in data for data in there.values())


def test_a_token_that_is_refused_stands_in_no_line(hub, safe, tmp_path, repo, monkeypatch):
    monkeypatch.chdir(repo)
    wrong = "hf_" + "Wr0ng" * 6
    done = pushed(hub, safe, tmp_path / "out", token=wrong)
    assert done.returncode == 2 and "the hub answered 401" in done.stderr and "--token-env" in done.stderr
    assert wrong not in done.stdout + done.stderr and hub.files == {}


def test_what_cannot_be_pushed_is_refused_before_work(safe, tmp_path, monkeypatch):
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    with pytest.raises(OptionError, match="LAB_TOKEN"):
        StoreExport(store=safe.path, out=str(tmp_path / "o"), push="hf://datasets/a/b", token_env="LAB_TOKEN").run()
    with pytest.raises(UsageError, match="only a local folder"):
        StoreExport(store=safe.path, out="memory://x/y", push="hf://datasets/a/b").run()
    with pytest.raises(OptionError, match="hf://datasets/ORG/NAME"):
        StoreExport.build({"store": "a", "out": "b", "push": "hf://a/b"}, "export")
    assert not (tmp_path / "o").exists()
