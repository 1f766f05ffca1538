"""`maetdol forget` on the finished quickstart, small: one of three hosts goes, and every byte on disk is looked at."""

import gzip
import io
import json
import shutil
import sqlite3

import pyarrow.compute as pc
import pytest

from pipeline import cli
from pipeline.deletion import forgotten, lineage, takedown
from pipeline.errors import UsageError
from pipeline.storage.files import filesystem
from pipeline.storage.store import Store
from stages.ingest.takedown import members

HOST = "en.maetdol.example"
ARTEFACTS = ("tokenizer", "pretrain", "sft-model", "dpo-model")
"""Listed and left as they are."""


def tables(root):
    """(store or pass, shard) -> (rows, ledger) of the whole root."""
    found = {}
    for store in lineage.stores_of(str(root)):
        for name, part in lineage.parts_of(store):
            for number, receipt in lineage.receipts_of(part):
                found[name, number] = lineage.rows_of(part, number, receipt), lineage.ledger_of(part, number)
    return found


@pytest.fixture(scope="module")
def forgot(quickstart, tmp_path_factory):
    """(root before, root after, what was found): a copy of the finished run from which the host was taken."""
    root = tmp_path_factory.mktemp("forget") / "run"
    shutil.copytree(quickstart, root)
    (root / "terminal.log").unlink(missing_ok=True)  # the terminal of the fixture, not the run's
    (root / "sft-teacher.jsonl").write_bytes(journal())
    marks = [("domain", forgotten.mark("domain", HOST))]
    lost = takedown.find(str(root), marks).lost
    assert not cli.cli.main(["forget", str(root), "--domain", HOST], standalone_mode=False)
    return quickstart, root, lost


def journal():
    """Three calls as a journal holds them: two of pages of other hosts, one of the host that goes."""
    rows = [("http://maetdol.example/a", "a" * 32), (f"http://{HOST}/about", "b" * 32), (None, "c" * 32)]
    return b"".join(
        json.dumps({"format": 1, "key": key, "url": url, "doc_id": None, "text": "소금"}).encode() + b"\n"
        for url, key in rows
    )


def test_no_id_no_address_and_no_sentence_of_it_is_left(forgot):
    before, root, lost = forgot
    documents = [
        row
        for (name, _), (rows, _) in tables(before).items()
        if name in ("site", "packages")
        for row in rows.to_pylist()
    ]
    others = "\n".join(row["text"] for row in documents if row["id"] not in lost.ids)
    mine = [row for row in documents if row["id"] in lost.ids]
    assert len(mine) > 20 and {row["url"].split("/")[2] for row in mine} == {HOST}
    sentences = {line.strip() for row in mine for line in row["text"].splitlines() if len(line.strip()) >= 40}
    sentences = {line for line in sentences if line not in others}
    assert len(sentences) > 50
    needles = [text.encode() for text in (*lost.ids, *sentences)]
    found = []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        data = path.read_bytes()
        data = gzip.GzipFile(fileobj=io.BytesIO(data)).read() if path.suffix == ".gz" else data
        where = path.relative_to(root)
        found += [(str(where), needle) for needle in needles if needle in data]
        # The crawl's own configuration names the hosts it may visit; pages of others may hold links to it.
        if HOST.encode() in data and path.name != "config.json" and path.suffix != ".gz":
            found.append((str(where), HOST))
    assert not found


def test_no_run_of_its_tokens_is_left_and_rows_keep_their_length(forgot):
    before, root, lost = forgot
    old, new = (Store(folder / "pack") for folder in (before, root))
    rows = {row["id"]: row for shard in new.shards() for row in new.read(shard).to_pylist()}
    masked = 0
    for shard in old.shards():
        for row in old.read(shard).to_pylist():
            docs = [doc for doc in row["docs"] if doc["id"] in lost.ids]
            if len(docs) == len(row["docs"]):
                assert row["id"] not in rows
                continue
            now = rows.pop(row["id"])
            assert len(now["input_ids"]) == len(row["input_ids"]) and now["docs"] == [
                doc for doc in row["docs"] if doc not in docs
            ]
            expected = list(row["input_ids"])
            for doc in docs:
                expected[doc["start"] : doc["end"]] = [0] * (doc["end"] - doc["start"])
                masked += 1
            assert now["input_ids"] == expected
    assert masked and not rows


def test_no_other_row_changes(forgot):
    before, root, lost = forgot
    gone = lost.value_set()
    after = tables(root)
    compared = 0
    for key, (rows, ledger) in tables(before).items():
        if key not in after:
            passes = {
                "minhash",
                "exact",
                "link",
                "cluster",
                "weigh",
                "near",
                "statistics",
                "measures",
                "names",
                "decided",
                "count",
            }
            assert "/passes/" in key[0] and key[0].split("/")[-1] in passes, key
            continue
        now, told = after[key]
        if rows is not None and "docs" not in rows.column_names and "id" in rows.column_names:
            kept = rows.filter(pc.invert(takedown._names(rows, gone)))
            assert now.to_pylist() == kept.to_pylist(), key
            compared += len(kept)
        if key[0] != "pack":
            kept = ledger.filter(
                pc.invert(
                    pc.or_(
                        pc.is_in(ledger["id"], value_set=gone), pc.is_in(ledger["out"], value_set=gone, skip_nulls=True)
                    )
                )
            )
            columns = [name for name in kept.column_names if name not in ("duplicate_of", "note")]
            # repr: a metric that was not taken is NaN, and NaN is not itself
            assert repr(told.select(columns).to_pylist()) == repr(kept.select(columns).to_pylist()), key
    assert compared > 1000


def test_files_without_such_rows_are_not_touched(forgot):
    before, root, lost = forgot
    for path in sorted(p for name in ("packages", *ARTEFACTS) for p in (before / name).rglob("*") if p.is_file()):
        card = path.name == "README.md" and path.parent.parent.name != "tokenizer"  # written anew with the report
        passes = "passes" in path.parts  # what a sample was counted by: counted anew where it is wanted
        if path.name not in ("manifest.json", "artefact.json", "artefact.arrow") and not card and not passes:
            assert (root / path.relative_to(before)).read_bytes() == path.read_bytes(), path


def test_records_make_room_for_nothing_and_no_offset_moves(forgot):
    before, root, _ = forgot
    for path in sorted((before / "site/passes/crawl").rglob("*.warc.gz")):
        now = root / path.relative_to(before)
        assert now.stat().st_size == path.stat().st_size
        old, new = list(members(path)), list(members(now))
        assert [listed[1:] for listed in new] == [listed[1:] for listed in old]
        assert [head for head, *_ in new if head] == [
            head for head, *_ in old if HOST.encode() not in head.partition(b"\r\n\r\n")[0]
        ]


def test_the_crawl_remembers_every_other_address_as_before(forgot):
    before, root, _ = forgot
    for path in sorted((before / "site/passes/crawl").rglob("frontier.sqlite")):
        old, new = (urls_of(one) for one in (path, root / path.relative_to(before)))
        assert old and new == {url: facts for url, facts in old.items() if HOST not in url}


def urls_of(frontier):
    with sqlite3.connect(frontier) as db:
        return {url: facts for url, *facts in db.execute('SELECT url, state, reason, warc, "end" FROM urls')}


def test_calls_made_for_it_are_gone_and_the_others_stand_byte_for_byte(forgot):
    lines = journal().splitlines(keepends=True)
    assert (forgot[1] / "sft-teacher.jsonl").read_bytes() == lines[0] + lines[2]


def test_the_list_names_what_saw_it(forgot):
    told = json.loads(next((forgot[1] / "takedowns").iterdir()).read_text())
    assert {"tokenizer", "pretrain"} <= set(told["saw"]) and set(told["saw"]) | set(told["depends_on"]) >= set(
        ARTEFACTS
    )
    assert told["rows"]["sft"] and told["rows"]["site"] and told["masked"]["pack"] and told["calls"] == 1


def test_the_run_has_nothing_to_do(forgot, maetdol_run):
    before, root, _ = forgot
    assert "nothing to do" in maetdol_run(before, words=("--dry-run",)).log
    assert "nothing to do" in maetdol_run(root, words=("--dry-run",)).log


def test_reading_it_again_does_not_bring_it_back(forgot, tmp_path):
    """The site crawled anew into the same root, and the same pages read from a folder of HTML."""
    from pipeline.engine.recipe import parse
    from pipeline.engine.run import run

    _, root, _ = forgot
    shutil.copy(root / forgotten.NAME, tmp_path / forgotten.NAME)
    steps = [{"ingest": {"name": "site", "crawl": {"site": "configs/site", "delay": 0.0}}}]
    run(parse({"name": "again", "root": str(tmp_path), "steps": steps, "run": {"pool": "inline"}}))
    urls = Store(tmp_path / "site").table(["url"])["url"].to_pylist()
    assert len(urls) > 20 and not [url for url in urls if HOST in url] and "http://maetdol.example/" in urls
    for path in sorted((tmp_path / "site/passes/crawl").rglob("*.warc.gz")):
        assert HOST.encode() not in b"".join(head.partition(b"\r\n\r\n")[0] for head, *_ in members(path))


def test_a_list_of_pages_by_id_and_by_address(quickstart, tmp_path):
    root = str(quickstart)
    row = next(
        row for row in Store(quickstart / "site").read(0).to_pylist() if row["url"] == "http://maetdol.example/about"
    )
    by_id = takedown.find(root, [("id", row["id"])])
    by_url = takedown.find(root, [("url", forgotten.mark("url", "https://maetdol.example/about/"))])
    assert by_id.lost.ids == by_url.lost.ids >= {row["id"]}


def test_nothing_named_is_a_usage_error_and_a_dry_run_writes_nothing(quickstart, tmp_path, capsys):
    root = tmp_path / "run"
    shutil.copytree(quickstart, root)
    with pytest.raises(UsageError, match="nothing is named"):
        cli.cli.main(["forget", str(root)], standalone_mode=False)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    cli.cli.main(["forget", str(root), "--url", "http://maetdol.example/about", "--dry-run"], standalone_mode=False)
    assert "would go" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before and not filesystem(
        root
    ).exists(forgotten.NAME)


def test_an_evaluation_keeps_no_numbers_of_a_lost_document(quickstart, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(quickstart, root)
    file = root / "evaluate" / "artefact" / "rows.json"
    before = json.loads(file.read_text())
    gone = before["documents"]["ids"][1]
    assert not cli.cli.main(["forget", str(root), "--id", gone], standalone_mode=False)
    documents, old = json.loads(file.read_text())["documents"], before["documents"]
    at = [n for n, name in enumerate(old["ids"]) if name in documents["ids"]]
    assert gone not in documents["ids"] and 0 < len(at) < len(old["ids"])
    assert documents == {
        "ids": [old["ids"][n] for n in at],
        "bytes": [old["bytes"][n] for n in at],
        "bits": {model: [bits[n] for n in at] for model, bits in old["bits"].items()},
    }
    assert cli.cli.main(["verify", str(root)], standalone_mode=False) == 0
