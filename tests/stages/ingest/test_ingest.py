"""The stage as a user meets it: a folder of everything, labelled sets, the crawl, the command line."""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.errors import OptionError, SourceError
from pipeline.schema import CHAT, DOCUMENT, PAIR, content_id, doc_id
from stages.ingest import Ingest
from stages.ingest.row import REASONS


@pytest.fixture
def folder(tmp_path, prose):
    """One file of each kind, some of them broken."""
    root = tmp_path / "in"
    (root / "site").mkdir(parents=True)
    korean = "아침마다 방앗간에서는 맷돌이 돌고 곡식이 곱게 갈린다. " * 8
    (root / "site/page.html").write_text(
        f"<html lang=en><title>Mill</title><body><article><h1>Mill</h1><p>{prose()}</p></article></body></html>"
    )
    (root / "site/korean").write_bytes(f"<html><body><h1>방앗간</h1><p>{korean}</p></body></html>".encode("cp949"))
    (root / "site/style.css").write_text("a {}")
    (root / "site/empty.html").write_text("")
    (root / "site/shell.html").write_text("<html><body><div id=app></div></body></html>")
    (root / "notes.md").write_text("# Notes\n\nwords\n")
    (root / "manual.rst").write_text("Manual\n======\n\nwords\n")
    (root / "plain.txt").write_text("plain words")
    (root / "mill.py").write_text('"""Docstring words."""\n')
    rows = [{"id": "a", "text": "x"}, {"text": None}, {"body": 1}, {"id": "a", "text": "e\u0301", "stars": 5}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (root / "rows.jsonl.gz").write_bytes(gzip.compress(lines))
    (root / "rows.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(lines))
    (root / "rows.jsonl.xz").write_bytes(lzma.compress(lines))
    (root / "cut.jsonl.gz").write_bytes(gzip.compress(lines)[:-12])
    (root / "table.csv").write_bytes("text,이름\n글,하나\n".encode("cp949"))
    table = pa.table({"text": ["parquet words"], "n": [1]})
    pq.write_table(table, root / "table.parquet")
    with pa.ipc.new_file(root / "table.arrow", table.schema) as out:
        out.write_table(table)
    (root / "broken.parquet").write_bytes(b"PAR1 no table")
    return root


def test_a_folder_of_everything(folder, ingest, rows, reasons):
    store = ingest(folder)
    found = {(row["source"], row["text"]): row for row in rows(store)}
    sources = {source for source, _ in found}
    assert {
        "site/page.html",
        "site/korean",
        "notes.md",
        "manual.rst",
        "plain.txt",
        "mill.py",
        "table.csv",
        "table.parquet",
        "table.arrow",
    } <= sources
    assert {"rows.jsonl.gz", "rows.jsonl.zst", "rows.jsonl.xz"} <= sources
    assert "갈린다." in next(text for source, text in found if source == "site/korean")
    assert ("rows.jsonl.gz", "é") in found and found["table.csv", "글"]["meta"] == [
        {"key": "이름", "value": "하나", "type": None}
    ]
    assert found["plain.txt", "plain words"]["id"] == doc_id("plain.txt", "") and found["plain.txt", "plain words"][
        "content_id"
    ] == content_id("plain words")
    why = reasons(store)
    assert (
        why["ingest.unknown_kind"] == 1
        and why["ingest.empty"] == 1
        and why["ingest.no_main_text"] == 1
        and why["ingest.broken_file"] == 1
    )
    assert why["ingest.null_text"] >= 3 and why["ingest.wrong_columns"] >= 3 and why["ingest.truncated_gzip"] == 1
    assert set(why) - {None} <= set(REASONS) and store.read(store.shards()[0]).schema == DOCUMENT


def test_the_same_bytes_from_another_folder_and_in_any_order_of_sources(folder, ingest, tmp_path):
    first = ingest([folder / "site", folder / "notes.md", folder / "table.csv"], "one")
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    again = ingest([moved / "table.csv", moved / "site", moved / "notes.md"], "two")
    assert first.content_hash == again.content_hash and [first.receipt(s).ledger_hash for s in first.shards()] == [
        again.receipt(s).ledger_hash for s in again.shards()
    ]


def test_what_is_in_the_key_and_what_is_not(folder, tmp_path):
    from pipeline.engine.stage import Inputs

    def key(path, **options):
        return Ingest.build({"from": str(path), **options}, "ingest").key(Inputs())

    before = key(folder)
    assert key([str(folder)][0]) == before and key(folder, extract="all") != before
    (folder / "plain.txt").write_text("other words")
    assert key(folder) != before


def test_limits_are_sizes(folder, ingest, reasons, rows):
    store = ingest(folder / "plain.txt", max_bytes=1024)
    assert len(rows(store)) == 1
    (folder / "plain.txt").write_text("x" * 2000)
    (folder / "two.jsonl").write_text(json.dumps({"text": "글" * 400}) + "\n" + json.dumps({"text": "글" * 300}) + "\n")
    store = ingest([folder / "plain.txt", folder / "two.jsonl"], "again", max_bytes=1024)
    assert reasons(store) == {"ingest.too_large": 2, None: 1}


def test_a_saved_dataset(ingest, rows, tmp_path):
    import datasets

    splits = {
        "train": datasets.Dataset.from_dict({"text": ["one", "two"], "label": [0, 1]}),
        "test": datasets.Dataset.from_dict({"text": ["three"], "label": [1]}),
    }
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "set"))
    found = rows(ingest(tmp_path / "set"))
    assert [row["text"] for row in found] == ["three", "one", "two"] and found[1]["source"].startswith("train/data-")
    assert [(entry["key"], entry["value"]) for entry in found[2]["meta"]] == [("label", "1")]


def test_an_unreadable_file_is_a_row(ingest, reasons, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    (root / "a.txt").write_text("words")
    (root / "gone.txt").symlink_to(root / "nowhere")
    assert reasons(ingest(root)) == {None: 1, "ingest.open_failed": 1}


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "nothing to read"),
        ({"from": "x", "extrakt": "main"}, "no option 'extrakt'"),
        ({"from": "x", "columns": {"txt": "body"}}, "no column of ours"),
        ({"from": "x", "as": "chats"}, "as"),
    ],
)
def test_wrong_options_are_one_clear_error(options, words):
    with pytest.raises(OptionError, match=words):
        Ingest.build(options, "ingest")


def test_a_source_that_is_not_there(ingest, tmp_path):
    with pytest.raises(SourceError, match="names no file"):
        ingest(tmp_path / "nowhere")


# -- labelled sets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file, options, schema, fewest",
    [
        ("llamafactory/data/alpaca_en_demo.json", {"as": "chat"}, CHAT, 990),
        ("llamafactory/data/glaive_toolcall_en_demo.json", {"as": "chat"}, CHAT, 300),
        ("llamafactory/data/dpo_en_demo.json", {"as": "pair"}, PAIR, 290),
        ("llamafactory/data/dpo_en_demo.json", {"as": "ranking"}, PAIR, 290),
        ("ko-chatbot/ChatbotData.csv", {"as": "chat", "columns": {"prompt": "Q", "completion": "A"}}, CHAT, 11_823),
    ],
)
def test_real_labelled_sets(unpacked, ingest, rows, reasons, file, options, schema, fewest):
    path = next(p for p in unpacked("D-sft-pref-open").rglob("*") if p.as_posix().endswith(file))
    store = ingest(path, **options)
    found = rows(store)
    assert (
        len(found) >= fewest and store.read(0).schema == schema and sum(reasons(store).values()) == len(store.ledgers())
    )
    sides = ("messages",) if schema is CHAT else ("prompt", "chosen", "rejected")
    assert all(turn["content"].strip() for row in found[:300] for side in sides for turn in row[side][-1:])


def test_kto_answers_to_one_prompt_become_pairs(ingest, rows, reasons, tmp_path):
    answers = [
        ("P", "good", True),
        ("Q", "lonely", True),
        ("P", "good too", True),
        ("P", "bad", False),
        ("P", "bad too", False),
        ("R", "same", True),
        ("R", "same", False),
    ]
    path = tmp_path / "kto.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": p, "completion": c, "label": label}) + "\n" for p, c, label in answers)
    )
    store = ingest(path, **{"as": "pair"})
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"], row["rule"]) for row in rows(store)] == [
        ("good", "bad", "ingest.kto"),
        ("good too", "bad too", "ingest.kto"),
    ]
    assert reasons(store) == {None: 4, "ingest.unpaired": 3}
    assert len(set(store.ledgers()["id"].to_pylist())) == 7


def test_ranked_answers_become_pairs_of_one_input(ingest, rows, tmp_path):
    path = tmp_path / "ranked.jsonl"
    path.write_text(
        json.dumps({"prompt": "P", "answers": ["a", "b", "c"], "scores": [1, 3, 2], "lang": "ko", "extra": 1}) + "\n"
    )
    store = ingest(path, **{"as": "ranking", "ranking": "best-rest"})
    found = rows(store)
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in found] == [("b", "c"), ("b", "a")]
    assert (
        found[0]["lang"] == "ko"
        and [(entry["key"], entry["value"]) for entry in found[0]["meta"]] == [("extra", "1")]
        and found[0]["score_chosen"] == 3
    )
    assert store.ledgers()["id"].to_pylist() == [doc_id("ranked.jsonl", "line:1")] * 2


def test_pages_are_no_labelled_rows(folder, ingest, reasons):
    assert reasons(ingest(folder / "notes.md", **{"as": "chat"})) == {"ingest.wrong_columns": 1}


PAGE = (
    '<html lang=en><head><title>Mill</title><script type=\'application/ld+json\'>{"@type": "Question", "name": "How fine?", '
    '"acceptedAnswer": {"text": "As fine as <b>flour</b>."}}</script></head><body><h2>How fine?</h2><p>As fine as flour.</p>'
    "<ol><li>Dress the stone<li>Turn it</ol><pre>turn()\n  again()</pre><table><tr><th>grain<th>kg<tr><td>rye<td>3</table></body></html>"
)


@pytest.mark.parametrize("extract", ["main", "learned", "all"])
def test_a_page_as_markdown_with_its_blocks_in_place(tmp_path, ingest, rows, extract):
    (tmp_path / "a.html").write_text(PAGE)
    plain = rows(ingest(tmp_path / "a.html", "plain", extract=extract))[0]
    marked = rows(ingest(tmp_path / "a.html", "marked", extract=extract, markup="markdown"))[0]
    assert marked["text"] == (
        "## How fine?\n\nAs fine as flour.\n\n1. Dress the stone\n2. Turn it\n\n```\nturn()\n  again()\n```\n\n"
        "| grain | kg |\n| --- | --- |\n| rye | 3 |"
    )
    assert (
        plain["text"]
        == "How fine?\n\nAs fine as flour.\n\n1. Dress the stone\n2. Turn it\n\nturn()\n  again()\n\ngrain | kg\nrye | 3"
    )
    for row in (plain, marked):
        assert all(row["text"][b["start"] : b["end"]] == b["text"] for b in row["blocks"])
        assert {
            b["text"]: b["group"] for b in row["blocks"] if b["kind"] in ("question", "answer", "accepted_answer")
        } == {
            "How fine?": 0,
            "As fine as flour.": 0,
        }
    words = [[(b["kind"], b["text"]) for b in row["blocks"] if b["kind"] != "table"] for row in (plain, marked)]
    assert words[0] == words[1] and len(words[0]) == 6


def test_markdown_is_refused_where_nothing_writes_it(tmp_path):
    with pytest.raises(OptionError, match="extract: resiliparse writes no Markdown") as refused:
        Ingest.build({"from": str(tmp_path), "extract": "resiliparse", "markup": "markdown"}, "ingest")
    assert "extract: main" in str(refused.value) + (refused.value.hint or "")


# -- the crawl, the command line ---------------------------------------------------------------------------------------


def test_a_crawled_site_is_read_and_what_was_left_out_stands_in_the_ledger(repo, tmp_path, reasons, rows):
    from pipeline.engine.pool import Inline
    from pipeline.engine.stage import Inputs
    from pipeline.storage.store import Store

    pages = tmp_path / "site" / "pages" / "mill.example"
    pages.mkdir(parents=True)
    words = "아침마다 방앗간에서는 맷돌이 돌고 곡식이 곱게 갈린다. " * 8
    (pages / "index.html").write_text(
        f'<html lang=ko><body><h1>방앗간</h1><p>{words}</p><a href="/closed/x">x</a><a href="/gone">y</a></body></html>'
    )
    (pages / "robots.txt").write_text("User-agent: *\nDisallow: /closed/\n")
    stage = Ingest.build({"crawl": {"site": str(tmp_path / "site"), "delay": 0, "retries": 0}}, "ingest")
    store = Store(tmp_path / "out")
    stage.run(Inputs(), store, Inline())
    found = reasons(store)
    assert found[None] == 1 and found["crawl.robots"] == 1 and found["crawl.http_404"] == 1
    row = rows(store)[0]
    assert row["url"] == "http://mill.example/" and row["date"] and "갈린다" in row["text"]
    assert doc_id("http://mill.example/closed/x", "crawl") in store.ledgers()["id"].to_pylist()
    hashes = store.hashes()
    stage.run(Inputs(), store, Inline())
    assert store.hashes() == hashes


def test_the_command_line(repo, tmp_path):
    (tmp_path / "in.txt").write_text("words of a file")
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    run = subprocess.run(
        [*command, "ingest", "in.txt", "out", "--extract", "all", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(repo), "PATH": ""},
    )
    assert run.returncode == 0 and "1 rows, 0 dropped" in run.stdout, run.stderr
    run = subprocess.run(
        [*command, "ingest", "nowhere.txt", "out2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(repo), "PATH": ""},
    )
    assert run.returncode == 2 and "names no file" in run.stderr and "hint" in run.stderr
