"""Headers of Parquet pages: read as the library writes them, and what asks for too much memory is not read."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.ingest.readers import pages
from stages.ingest.readers.columnar import READING, read_parquet
from tests.stages.ingest.mutation_fuzz.hunt import mutate
from tests.stages.ingest.mutation_fuzz.test_mutation_rows import parquet


def written(table: pa.Table, **how) -> io.BytesIO:
    sink = io.BytesIO()
    pq.write_table(table, sink, **how)
    return sink


def opened(file: io.BytesIO) -> pq.ParquetFile:
    return pq.ParquetFile(file, **READING)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_headers_are_those_the_library_wrote(compression, version, dictionary):
    """The footer has the bytes of each column with its headers, packed and unpacked."""
    dice = random.Random(1)
    rows = [
        {"text": "x" * dice.randrange(90) + str(dice.random()), "n": dice.randrange(3), "deep": [{"a": n, "b": ["y"] * n} for n in range(dice.randrange(4))]}
        for _ in range(3_000)
    ]  # fmt: skip
    file = written(
        pa.Table.from_pylist(rows), compression=compression, data_page_version=version, use_dictionary=dictionary,
        data_page_size=4_096, write_page_checksum=True, row_group_size=1_000,
    )  # fmt: skip
    about, found = opened(file).metadata, pages.chunks(file)
    assert [len(group) for group in found] == [about.num_columns] * about.num_row_groups
    for group, chunks in enumerate(found):
        for number, chunk in enumerate(chunks):
            said = about.row_group(group).column(number)
            assert said.path_in_schema.partition(".")[0] == chunk.name and said.num_values == chunk.values
            sizes = list(pages._pages(file, chunk))
            at, headers, packed = chunk.start, 0, 0
            for _ in sizes:
                header, length = pages._header(file, at)
                headers, packed, at = headers + length, packed + header[3], at + length + header[3]
            assert headers + packed == said.total_compressed_size
            assert headers + sum(size for _, size in sizes) == said.total_uncompressed_size
            assert [kind for kind, _ in sizes].count(pages.DICTIONARY) == said.has_dictionary_page
        assert pages.refused(chunks, file) == {}


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_column_whose_pages_take_too_much_is_left_out_with_a_note(dictionary, monkeypatch):
    monkeypatch.setattr(pages, "MEMORY", 1 << 20)
    table = pa.table({"text": ["a", "b"], "big": ["x" * (1 << 20), "x"], "more": ["c", "d"]})
    file = written(table, use_dictionary=dictionary, compression="zstd", dictionary_pagesize_limit=1 << 30)
    assert len(file.getvalue()) < 10_000, "a small file"
    found = list(read_parquet(file))
    assert [raw.body for raw in found] == [{"text": "a", "more": "c"}, {"text": "b", "more": "d"}]
    assert all(raw.note == "column 'big': cannot be read" for raw in found)


def test_columns_are_held_to_the_memory_together(monkeypatch):
    monkeypatch.setattr(pages, "MEMORY", 5_000)
    table = pa.table({name: ["x" * 2_000 + name] for name in "abcd"})
    file = written(table, use_dictionary=False)
    assert list(pages.refused(pages.chunks(file)[0], file)) == ["c", "d"]


def test_nothing_is_read_where_all_is_too_large(monkeypatch):
    monkeypatch.setattr(pages, "MEMORY", 10)
    file = written(pa.table({"text": ["x" * 100] * 3}), use_dictionary=False)
    found = list(read_parquet(file))
    assert [(raw.locator, raw.reason) for raw in found] == [(f"row:{n}", "ingest.broken_record") for n in range(3)]
    assert "bytes unpacked" in found[0].note


def test_a_damaged_header_that_asks_for_gigabytes_is_refused():
    """A mutant of six kilobytes for which Arrow took two gigabytes and seven seconds."""
    dice = random.Random("parquet/5/32")
    data, _ = mutate(parquet(dice).data, dice)
    file = io.BytesIO(data)
    assert "deep" in pages.refused(pages.chunks(file)[1], file)
    before = pa.default_memory_pool().max_memory()
    assert [raw.reason for raw in read_parquet(file)] == ["ingest.broken_record"] * 12
    assert pa.default_memory_pool().max_memory() < max(before, 1 << 28) + 1


@pytest.mark.parametrize(
    "data",
    [b"", b"\x15", b"\x15\x80", b"\x15" + b"\xff" * 20, b"\x19" * 400, b"\x1c" * 400, b"\x18\xff\xff\xff\xff\x0f", b"\x1f\x00"],
)  # fmt: skip
def test_headers_that_are_none(data):
    with pytest.raises(ValueError):
        pages._header(io.BytesIO(data), 0)


def test_a_header_longer_than_the_first_look():
    header = (
        b"\x15\x00\x15\x08\x15\x06\x78\x80\x89\x7a" + bytes(2_000_000) + b"\x00"
    )  # statistics of long values stand in one
    assert pages._header(io.BytesIO(header), 0) == ({1: 0, 2: 4, 3: 3, 10: bytes(2_000_000)}, len(header))
