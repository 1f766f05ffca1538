"""A recording is proven by hashes: what is damaged is found, named and given up; nothing damaged is read as if it were sound."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.deletion.forgotten import Forgotten, mark
from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import DamagedStore
from pipeline.storage import recordings
from pipeline.storage.store import Store
from stages.ingest import Ingest
from stages.ingest.crawl import finish, summary_of
from stages.ingest.takedown import clean

URL = "http://mill.example/{}"


def member(number: int) -> bytes:
    body = f"Grain number {number} is ground between two stones at the river.".encode()
    head = f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: {URL.format(number)}\r\nWARC-Record-ID: <urn:uuid:{number}>\r\n"
    head += f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    return gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0)


class NoFrontier:
    """What `finish` asks of a frontier."""

    def skipped(self):
        return [{"url": URL.format("private"), "reason": "crawl.robots"}]

    def summary(self):
        return {"recorded": 4, "skipped": {"crawl.robots": 1}, "outside": 0, "beyond": 0}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A finished group of four pages below the store `root/site`, which the stage takes for its crawl."""
    folder = tmp_path / "root/site/passes/crawl/0123/mill.example"
    folder.mkdir(parents=True)
    (folder / "00000.warc.gz").write_bytes(b"".join(map(member, range(4))))
    finish.finish(folder, "mill.example", NoFrontier(), {})
    monkeypatch.setattr("stages.ingest.crawl.crawl", lambda *_: [summary_of(folder)])
    return folder


def ingested(root: Path) -> list[str]:
    store = Store(root / "site")
    stage = Ingest.build({"crawl": {"seeds": [URL.format(0)]}}, "ingest")
    receipts = stage.run(Inputs({}, 1), store, Inline())
    store.commit_manifest({"stage": "ingest", "shape": "DOCUMENT", "key": "k"}, [r.shard for r in receipts])
    return [row["reason"] or "kept" for row in store.ledgers().to_pylist()]


def verified(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["verify", *words], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.output


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1
    path.write_bytes(bytes(data))


def test_a_sound_recording_holds(folder, tmp_path):
    assert ingested(tmp_path / "root") == ["kept"] * 4 + ["crawl.robots"]
    code, said = verified(str(tmp_path / "root"))
    assert code == 0 and "0 damaged" in said
    assert finish.finished(folder)["recorded"] == 4


@pytest.mark.parametrize(("name", "left"), [
    ("00000.warc.gz", ["ingest.broken_record", "kept"]), ("skipped.jsonl", ["kept"]), ("finished.json", None),
])  # fmt: skip
def test_one_flipped_byte_is_found_named_and_given_up(folder, tmp_path, name, left):
    root = tmp_path / "root"
    ingested(root)
    flip(folder / name, 0.4)
    code, said = verified(str(root))
    assert code == 1 and f"damaged  {folder / name}: " in said and "verify --repair" in said and "refresh: true" in said
    with pytest.raises(DamagedStore, match=f"{name} is damaged"):
        ingested(root)
    assert verified("--repair", str(root / "site"))[0] == 0
    if left is None:
        assert finish.finished(folder) is None, "the crawl goes on where it stood, and finishes anew"
        return
    assert set(left) <= set(ingested(root))
    assert verified(str(root))[0] == 0


def test_a_takedown_proves_what_it_rewrote_and_nothing_else(folder, tmp_path):
    wanted = Forgotten(frozenset([mark("url", URL.format(2))]))
    flip(folder / "skipped.jsonl", 0.4)
    clean(folder.parents[1], wanted)
    assert URL.format(2).encode() not in gzip.decompress((folder / "00000.warc.gz").read_bytes())
    assert recordings.wrong(folder) == (2, {"skipped.jsonl": ("damaged", "its bytes are not those that were recorded")})


def test_a_page_that_was_forgotten_before_is_taken_out_and_the_rest_read(folder, tmp_path, monkeypatch):
    wanted = Forgotten(frozenset([mark("url", URL.format(2))]))
    monkeypatch.setattr("pipeline.deletion.forgotten.load", lambda *_: wanted)
    monkeypatch.setattr("stages.ingest.crawl.summaries", lambda *_: [summary_of(folder)])
    assert sorted(ingested(tmp_path / "root")) == ["crawl.robots"] + ["kept"] * 3
    assert verified(str(tmp_path / "root"))[0] == 0


def test_a_takedown_that_is_killed_is_done_again(folder, tmp_path, monkeypatch):
    wanted = Forgotten(frozenset([mark("url", URL.format(2))]))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("stages.ingest.takedown._lines", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        clean(folder.parents[1], wanted)
    assert recordings.read(folder)["renew"] == ["00000.warc.gz", "skipped.jsonl"]
    (folder / "skipped.jsonl").write_bytes(b"{}\n")  # as if it had been rewritten before the kill
    clean(folder.parents[1], wanted)
    assert recordings.wrong(folder) == (3, {}) and "renew" not in recordings.read(folder)


def test_recordings_of_before_are_read(folder, tmp_path):
    """They name no hashes."""
    page = json.loads((folder / "finished.json").read_text())
    (folder / "finished.json").write_text(json.dumps({k: v for k, v in page.items() if k not in ("hashes", "hash")}))
    assert ingested(tmp_path / "root") == ["kept"] * 4 + ["crawl.robots"]
    flip(folder / "00000.warc.gz", 0.4)
    assert "ingest.broken_record" in ingested(tmp_path / "root")
    assert verified(str(tmp_path / "root"))[0] == 0
