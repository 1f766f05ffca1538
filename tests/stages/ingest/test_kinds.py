"""What a file is, by content, then name."""

from __future__ import annotations

import pytest

from stages.ingest.kinds import ending, kind


@pytest.mark.parametrize(
    "name, head, found",
    [
        ("x", b"WARC/1.1\r\n", "warc"),
        ("pages.html", b"WARC/1.0\r\n", "warc"),
        ("x.gz", b"filedesc://a.arc 127.0.0.1 20140216050221 text/plain 75\n", "arc"),
        ("x", b"PAR1....", "parquet"),
        ("x.bin", b"ARROW1\0\0", "arrow"),
        ("state", b"\xff\xff\xff\xff\x78\x01\0\0", "arrow"),
        ("a.jsonl.zst", b'{"text": 1}\n', "jsonl"),
        ("a.json", b'[{"text": 1}]', "json"),
        ("a.json", b'{"text": "a"}\n{"text": "b"}\n', "jsonl"),
        ("a.json", b'{\n  "data": [', "json"),
        ("a.tsv.gz", b"a\tb\n", "tsv"),
        ("index", b"\n<!DOCTYPE html><html>", "html"),
        ("page?id=3&x=y", b"<html lang=ko>", "html"),
        ("README", b"Words of a file.", "text"),
        ("data", b'{"text": "a"}', "jsonl"),
        ("data", b'[ {"text": "a"}]', "json"),
        ("notes.md", b"# x", "markdown"),
        ("notes.rst~2", b"x", "rst"),
        ("m.py", b'"""x"""', "python"),
        ("style.css", b"a {}", None),
        ("logo", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", None),
        ("model.pkl", b"\x80\x04", None),
        ("utf16", "글".encode("utf-16"), "text"),
    ],
)
def test_kinds(name, head, found):
    assert kind(name, head) == found


def test_endings_below_their_packing():
    assert [ending(n) for n in ("a/b.WARC.gz", "x.tar.gz", "none", "a.b/none", "x.jsonl~3")] == [
        ".warc",
        ".tar",
        "",
        "",
        ".jsonl",
    ]
