"""Table files of others: every kind and packing gives the same rows, and what is damaged is one error that names the file."""

from __future__ import annotations

import bz2
import doctest
import gzip
import json
import lzma
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline import table_files
from pipeline.errors import SourceError
from pipeline.table_files import KINDS, rows_in

ROWS = [
    {"name": "맷돌", "text": 'a "mill"'},
    {"name": "두부", "text": "soft\u2028line"},
    {"name": "", "text": "x" * 200_000},
]
PACKERS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def written(kind: str) -> bytes:
    if kind in (".jsonl", ".ndjson", ".other"):
        return b"\n".join(json.dumps(row, ensure_ascii=False).encode() for row in ROWS) + b"\n\n"
    if kind == ".json":
        return json.dumps(ROWS, indent=1).encode()
    if kind == ".tsv":
        return "\n".join("\t".join(line) for line in (ROWS[0], *(row.values() for row in ROWS))).encode()
    if kind == ".csv":
        quoted = (",".join('"' + word.replace('"', '""') + '"' for word in row.values()) for row in ROWS)
        return "\r\n".join(["name,text", *quoted]).encode("utf-8-sig")
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(ROWS)
    if kind == ".parquet":
        pq.write_table(table, sink, row_group_size=2)
    else:
        with (pa.ipc.new_file if kind == ".arrow" else pa.ipc.new_stream)(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", [".jsonl", ".ndjson", ".json", ".tsv", ".csv", ".other"])
def test_every_kind_gives_the_same_rows(tmp_path, kind, packing):
    path = tmp_path / f"set.v1{kind}{packing}"
    path.write_bytes(PACKERS[packing](written(kind)))
    assert list(rows_in(path)) == ROWS


@pytest.mark.parametrize(("kind", "name"), [(".parquet", "a.parquet"), (".arrow", "a.arrow"), ("stream", "b.arrow")])
def test_columns_give_the_same_rows(tmp_path, kind, name):
    (tmp_path / name).write_bytes(written(kind))
    assert list(rows_in(tmp_path / name)) == ROWS


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"a": 1,\n "b": 2}', [{"a": 1, "b": 2}]),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("[]", []),
        ("", []),
    ],
)
def test_json_is_a_list_an_object_or_an_object_per_line(tmp_path, text, rows):
    (tmp_path / "a.json").write_text(text)
    assert list(rows_in(tmp_path / "a.json")) == rows


def test_a_line_of_plain_text_is_a_row(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("하나\r\n\n둘".encode()))
    assert list(rows_in(tmp_path / "a.txt.gz")) == [{"text": "하나"}, {"text": ""}, {"text": "둘"}]


@pytest.mark.parametrize(
    ("text", "where"), [('{"a": 1}\n[2]', "a.jsonl row 2"), ("[[" * 100_000, "cannot read .*a.jsonl as rows")]
)
def test_what_is_no_row_is_named(tmp_path, text, where):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(SourceError, match=where):
        list(rows_in(tmp_path / "a.jsonl"))


def test_damaged_files_are_rows_or_one_error(tmp_path):
    draw = random.Random(3)
    for kind in KINDS:
        for packing, pack in PACKERS.items():
            whole = pack(written(".jsonl" if kind == ".txt" else kind))
            for _ in range(6):
                data = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.5 else whole)
                for _ in range(draw.randrange(4) if data else 0):
                    data[draw.randrange(len(data))] = draw.randrange(256)
                path = tmp_path / f"a{kind}{packing}"
                path.write_bytes(data)
                try:
                    assert all(isinstance(row, dict) for row in rows_in(path))
                except SourceError as fault:
                    assert path.name in fault.message


def test_docstring_examples():
    outcome = doctest.testmod(table_files)
    assert outcome.attempted == 1 and not outcome.failed
