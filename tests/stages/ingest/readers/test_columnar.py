"""Parquet and Arrow: from batch to column to value; damage costs what it hits, and every row lost is accounted for."""

from __future__ import annotations

import decimal
import gzip
import io
import lzma
import random
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from stages.ingest import table_row
from stages.ingest.readers import columnar
from stages.ingest.readers.columnar import read_arrow, read_parquet


def ints(kind: pa.DataType, *values: int) -> pa.Array:
    return pa.array(values, pa.int64() if kind.bit_width == 64 else pa.int32()).view(kind)


def texts(*values: bytes) -> pa.Array:
    """A column of type string that holds whatever bytes."""
    return pa.array(values, pa.binary()).view(pa.string())


def written(table: pa.Table, form: str) -> bytes:
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink)
    else:
        with (pa.ipc.new_stream if form == "stream" else pa.ipc.new_file)(sink, table.schema) as out:
            out.write_table(table)
    return sink.getvalue()


def read(table: pa.Table, form: str) -> list:
    return list((read_parquet if form == "parquet" else read_arrow)(io.BytesIO(written(table, form))))


FAR = 2**62
ODD = {
    "date32": (ints(pa.date32(), 10, 2**31 - 1), ["1970-01-11", None]),
    "date64": (ints(pa.date64(), 86_400_000, FAR), ["1970-01-02", None]),
    "time32": (ints(pa.time32("s"), 3661, -5), ["01:01:01", None]),
    "time64": (ints(pa.time64("ns"), 1001, 10**17), ["00:00:00.000001001", None]),
    "timestamp of nanoseconds": (ints(pa.timestamp("ns"), 1001, 10**18), ["1970-01-01T00:00:00.000001001", "2001-09-09T01:46:40"]),
    "timestamp far away": (ints(pa.timestamp("us"), -5, FAR), ["1969-12-31T23:59:59.999995", None]),
    "timestamp of an unknown zone": (ints(pa.timestamp("us", tz="Mars/Base"), 1_000_000, FAR), ["1970-01-01T00:00:01Z", None]),
    "timestamp of a known zone": (ints(pa.timestamp("ms", tz="Asia/Seoul"), 1_500, FAR), ["1970-01-01T00:00:01.500Z", None]),
    "duration": (ints(pa.duration("ms"), 1_000, 1_500), [1, 1.5]),
    "decimal": (pa.array([decimal.Decimal("12.50"), decimal.Decimal("1234567890.12345678901234567890")]), [12.5, "1234567890.12345678901234567890"]),
    "interval": (pa.array([(1, 2, 3), None], pa.month_day_nano_interval()), [{"months": 1, "days": 2, "nanoseconds": 3}, None]),
    "dictionary": (pa.DictionaryArray.from_arrays(pa.array([0, 1]), texts(b"ok", b"r\xc9union"), safe=False), ["ok", "r\ufffdunion"]),
    "nested": (pa.StructArray.from_arrays([pa.ListArray.from_arrays([0, 1, 2], texts(b"ok", b"\xff")), ints(pa.date32(), 1, 2**31 - 1)], ["a", "d"]),
               [{"a": ["ok"], "d": "1970-01-02"}, {"a": ["\ufffd"], "d": None}]),
    "two fields of one name": (pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"]), [{"a": 1, "a_2": 3}, {"a": 2, "a_2": 4}]),
    "binary": (pa.array([b"words", b"\x89PNG\x00\x01\xff"]), ["words", None]),
    "binary Korean": (pa.array(["한국어로 쓴 글이다".encode("cp949"), "가".encode()]), ["한국어로 쓴 글이다", "가"]),
    "map": (pa.array([[("k", 1)], [("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())), [{"k": 1}, [["k", 1], ["k", 2]]]),
    "union": (pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), texts(b"x", b"\xff")]), [1, "\ufffd"]),
    "run ends": (pa.RunEndEncodedArray.from_arrays([1, 2], ["a", "b"]), ["a", "b"]),
    "string view": (pa.array([b"a" * 20, b"b" * 15 + b"\xff"], pa.binary_view()).view(pa.string_view()), ["a" * 20, "b" * 15 + "\ufffd"]),
    "large string": (texts(b"a", b"\xff").cast(pa.binary()).cast(pa.large_binary()).view(pa.large_string()), ["a", "\ufffd"]),
    "uuid": (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=7).bytes, None], pa.binary(16))), [str(uuid.UUID(int=7)), None]),
    "json": (pa.ExtensionArray.from_storage(pa.json_(), texts(b"{}", b"\xff").view(pa.string())), ["{}", "\ufffd"]),
    "bool8": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8())), [True, None]),
    "half": (pa.array([1.5, None], pa.float16()), [1.5, None]),
}  # fmt: skip
NO_PARQUET = {"interval", "union", "run ends"}
SILENT = {
    "timestamp of nanoseconds",
    "duration",
    "decimal",
    "interval",
    "two fields of one name",
    "map",
    "run ends",
    "uuid",
    "bool8",
    "half",
}
"""Columns whose second value is right or null in the file."""


@pytest.mark.parametrize(
    "name, form",
    [
        (name, form)
        for name in ODD
        for form in ("parquet", "file", "stream")
        if form != "parquet" or name not in NO_PARQUET
    ],
)
def test_an_odd_value_costs_itself_alone(name, form):
    """Neither its row nor its neighbours: repaired (U+FFFD) or null, and said so in that row's note."""
    column, expected = ODD[name]
    found = read(pa.table({"text": ["one", "two"], "c": column}), form)
    assert [raw.body for raw in found] == [{"text": "one", "c": expected[0]}, {"text": "two", "c": expected[1]}]
    if name != "binary Korean":
        assert [bool(raw.note) for raw in found] == [False, name not in SILENT]


def test_what_was_replaced_is_counted():
    found = read(pa.table({"text": texts(b"a\xff\xfe", "가\ufffd".encode(), b"\xed\xa0\x80")}), "parquet")
    assert [raw.note for raw in found] == [
        "column 'text': 2 characters unreadable as utf-8",
        None,
        "column 'text': 3 characters unreadable as utf-8",
    ]


PAGE = "<html><head><title>글</title></head><body><p>맷돌은 곡식을 가는 도구이다. Café, crème brûlée.</p></body></html>"
KOREAN = PAGE.replace("é", "e").replace("è", "e").replace("û", "u")
BODIES = {
    "page in CP949": (KOREAN.encode("cp949"), KOREAN, None),
    "page of a declared charset": (
        b'<meta charset="iso-8859-1">' + "<p>Café, crème brûlée.</p>".encode("latin-1"),
        '<meta charset="iso-8859-1"><p>Café, crème brûlée.</p>',
        None,
    ),
    "text in UTF-16": ("한국어로 쓴 글이다.".encode("utf-16"), "한국어로 쓴 글이다.", None),
    "text in UTF-16 without a mark": ("The mill turns slowly.".encode("utf-16-le"), "The mill turns slowly.", None),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n", None, "ingest.pdf"),
    "PDF that is all ASCII": (b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n", None, "ingest.pdf"),
    "gzip": (gzip.compress(PAGE.encode(), mtime=0), PAGE, None),
    "gzip of CP949 in two members": (
        gzip.compress(KOREAN[:30].encode("cp949")) + gzip.compress(KOREAN[30:].encode("cp949")),
        KOREAN,
        None,
    ),
    "zstandard": (zstandard.ZstdCompressor().compress(PAGE.encode()), PAGE, None),
    "gzip in gzip": (gzip.compress(gzip.compress(PAGE.encode())), PAGE, None),
    "gzip of a PDF": (gzip.compress(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"), None, "ingest.pdf"),
    "damaged gzip": (
        gzip.compress(random.Random(1).randbytes(3_000))[:20] + bytes(3_000),
        None,
        "ingest.content_coding",
    ),
    "xz": (lzma.compress(PAGE.encode()), None, "ingest.archive"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(20), None, "ingest.image"),
    "hash": (bytes.fromhex("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"), None, "ingest.binary"),
    "null": (None, None, "ingest.null_text"),
}


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_bodies_given_as_bytes_are_what_their_bytes_are(form):
    """The column that is read as text: decoded, or set apart with the reason a file of these bytes has; elsewhere noted alone."""
    bodies = pa.array([body for body, _, _ in BODIES.values()], pa.binary())
    found = read(pa.table({"content": bodies, "url": [f"http://x.example/{n}" for n in range(len(BODIES))]}), form)
    for raw, (_, text, reason) in zip(found, BODIES.values(), strict=True):
        document = table_row.read(raw, {"text": "content"})
        assert (document.reason, raw.body["content"]) == (reason, text)
        assert bool(raw.note) == (reason not in (None, "ingest.null_text")) and (
            reason is not None or document.values["text"] == text
        )
        assert table_row.read(raw, {"text": "url"}).reason is None


TABLE = pa.table(
    {"text": [f"글 {i}" for i in range(600)] + [None], "n": list(range(601)), "deep": [{"a": [i]} for i in range(601)]}
)


def arrow_bytes(stream: bool, table: pa.Table = TABLE) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as out:
        out.write_table(table, max_chunksize=200)
    return sink.getvalue()


@pytest.mark.parametrize("stream", [True, False])
def test_arrow(stream):
    found = list(read_arrow(io.BytesIO(arrow_bytes(stream))))
    assert [raw.body for raw in found] == TABLE.to_pylist() and found[-1].locator == "row:600"


def test_arrow_that_is_cut_or_wrong():
    data = arrow_bytes(True)
    found = list(read_arrow(io.BytesIO(data[: len(data) // 2])))
    assert [raw.reason for raw in found] == [None] * 200 + ["ingest.broken_record"] * 200
    assert [raw.reason for raw in read_arrow(io.BytesIO(b"ARROW1" + b"\0" * 40))] == ["ingest.broken_file"]


@pytest.mark.parametrize("stream", [True, False])
def test_an_offset_that_leads_out_of_the_buffer_costs_its_column_in_its_batch(stream):
    """400 of the rows are whole, 200 have no text any more, and each of those says so."""
    data = bytearray(arrow_bytes(stream))
    plain = (
        pa.table({"text": TABLE["text"].slice(200, 200)}).combine_chunks()["text"].chunk(0).buffers()[1].to_pybytes()
    )
    offsets = bytes(pa.concat_arrays(TABLE["text"].slice(200, 200).chunks).buffers()[1])[: 201 * 4]
    at = data.find(offsets[4:400], 1)
    assert plain and at > 0
    data[at + 40 : at + 44] = (2**30).to_bytes(4, "little")
    found = list(read_arrow(io.BytesIO(bytes(data))))
    assert [raw.locator for raw in found] == [f"row:{n}" for n in range(601)]
    hit = [n for n, raw in enumerate(found) if raw.note]
    assert len(hit) in (200, 201) and all(found[n].facts["lost"] == ("text",) and found[n].body["n"] == n for n in hit)


def parquet_bytes(rows: int = 2000, **options) -> bytes:
    dice = random.Random(3)
    table = pa.table({
        "text": [f"row {n} {dice.randbytes(30).hex()}" for n in range(rows)], "n": list(range(rows)),
        "vector": pa.array([[float(n)] * 4 for n in range(rows)], pa.list_(pa.float32())),
    })  # fmt: skip
    sink = io.BytesIO()
    pq.write_table(
        table, sink, row_group_size=1000, data_page_size=4096, write_batch_size=64, use_dictionary=False, **options
    )
    return sink.getvalue()


def test_parquet_and_a_cut_one():
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, row_group_size=100)
    assert [raw.body for raw in read_parquet(io.BytesIO(sink.getvalue()))] == TABLE.to_pylist()
    assert [raw.reason for raw in read_parquet(io.BytesIO(sink.getvalue()[:-100]))] == ["ingest.broken_file"]


@pytest.mark.parametrize(
    "options",
    [{"compression": "snappy"}, {"compression": "zstd"}, {"compression": "none", "write_page_checksum": True}],
)
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_damaged_page_costs_its_column_behind_it_in_its_row_group(options, column):
    data = bytearray(parquet_bytes(**options))
    chunk = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(0).column(column)
    name = chunk.path_in_schema.split(".")[0]
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    data[middle : middle + chunk.total_compressed_size // 4] = b"\xff" * (chunk.total_compressed_size // 4)
    found = list(read_parquet(io.BytesIO(bytes(data))))
    assert [raw.locator for raw in found] == [f"row:{n}" for n in range(2000)] and all(
        raw.kind == "row" for raw in found
    )
    hit = [n for n, raw in enumerate(found) if raw.note]
    assert hit and hit == list(range(hit[0], 1000)) and hit[0] <= 512 + columnar.BATCH
    assert all(found[n].facts["lost"] == (name,) and name not in found[n].body for n in hit)
    assert all(
        set(raw.body) == {"text", "n", "vector"} and raw.body["n"] == n for n, raw in enumerate(found) if not raw.note
    )


def test_large_rows_are_read_a_few_at_a_time():
    """By the sizes in the footer: 256 rows of 1 MiB are never read at once, small ones are."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a" * (1 << 20)] * 40}), sink, compression="zstd", use_dictionary=False)
    source = pq.ParquetFile(io.BytesIO(sink.getvalue()))
    assert (
        columnar._at_a_time(source, 0, 0) <= 32
        and columnar._at_a_time(pq.ParquetFile(io.BytesIO(parquet_bytes())), 0, 0) == columnar.BATCH
    )
    raws = list(read_parquet(io.BytesIO(sink.getvalue())))
    assert [raw.locator for raw in raws] == [f"row:{n}" for n in range(40)]
    assert all(raw.body["text"] == "a" * (1 << 20) for raw in raws)


@pytest.mark.parametrize("lengths", [(4 << 20, 1), (100, 100)])
def test_a_value_that_many_rows_share_is_read_a_few_at_a_time(lengths, monkeypatch):
    """A dictionary of 4 MiB packed to a few KB, of which every row is: never 256 rows of it at once."""
    sink, sizes = io.BytesIO(), []
    texts = ["a" * lengths[0], "b" * lengths[1]] * 150
    pq.write_table(pa.table({"text": texts}), sink, compression="zstd", dictionary_pagesize_limit=1 << 30)
    assert len(sink.getvalue()) < 20_000
    rows = columnar.rows
    monkeypatch.setattr(columnar, "rows", lambda piece, *more: sizes.append(piece[0]) or rows(piece, *more))
    assert [raw.body["text"] for raw in read_parquet(io.BytesIO(sink.getvalue()))] == texts
    assert max(sizes) == (columnar.BATCH if lengths[0] == 100 else columnar.BATCH * columnar.REPEATED // (4 << 20) - 1)


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_what_a_row_unpacks_is_bounded(form, pack):
    """Bombs beside a page: over `max_bytes` they are left out with their reason, all packed values of a row together."""
    bomb, page = pack(bytes(1 << 22)), pack(PAGE.encode())
    table = pa.table({
        "content": pa.array([page, bomb, page], pa.binary()), "more": pa.array([page, None, bomb], pa.binary()),
        "deep": pa.array([[page], [bomb], [page] * 9], pa.list_(pa.binary())),
    })  # fmt: skip
    limit = 6 * len(PAGE.encode())
    found = list((read_parquet if form == "parquet" else read_arrow)(io.BytesIO(written(table, form)), limit))
    assert [table_row.read(raw, {"text": "content"}).reason for raw in found] == [None, "ingest.too_large", None]
    assert found[0].body == {"content": PAGE, "more": PAGE, "deep": [PAGE]}
    assert found[2].body["deep"] == [PAGE] * 5 + [None] * 4 and found[2].body["more"] is None
    assert "too_large values left out" in found[1].note and "4 too_large" in found[2].note


def test_a_row_group_of_which_nothing_can_be_read_has_a_row_for_each_of_its_rows():
    data = bytearray(parquet_bytes())
    group = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1)
    for column in range(3):
        chunk = group.column(column)
        data[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = (
            b"\xff" * chunk.total_compressed_size
        )
    found = list(read_parquet(io.BytesIO(bytes(data))))
    assert [raw.locator for raw in found] == [f"row:{n}" for n in range(2000)]
    assert [raw.reason for raw in found] == [None] * 1000 + ["ingest.broken_record"] * 1000


def test_rows_lost_beyond_a_number_stand_together(monkeypatch):
    monkeypatch.setattr(columnar, "LOST", 3)
    found = list(columnar.lost_rows(10, 2**60, "why"))
    assert [raw.locator for raw in found] == ["row:10", "row:11", "row:12", "row:13"] and found[
        -1
    ].note == f"{2**60 - 3} more rows; why"


def thrift(number: int) -> bytes:
    """A zigzag varint, as Parquet's footer writes counts."""
    number, found = number * 2, b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


@pytest.mark.parametrize("claimed", [601, 2**30, 2**60])
def test_a_footer_that_claims_rows_there_are_not(claimed, monkeypatch):
    """The rows that are there are read; what is claimed beyond is said, and costs no memory."""
    monkeypatch.setattr(columnar, "LOST", 50)
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"] * 600}), sink)
    data = sink.getvalue()
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8].replace(thrift(600), thrift(claimed))
    found = list(read_parquet(io.BytesIO(data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")))
    assert len(found) <= 651 and sum(raw.reason is None for raw in found) in (0, 600) and found[-1].reason is not None


def test_rows_that_take_no_bytes_are_not_read_without_end(monkeypatch):
    monkeypatch.setattr(columnar, "LOST", 50)
    monkeypatch.setattr(columnar, "BATCH", 100)
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array([None] * 5_000, pa.string())}), sink)
    assert len(list(read_parquet(io.BytesIO(sink.getvalue())))) == 5_000
    monkeypatch.setattr(columnar, "ROWS_PER_BYTE", 0)
    monkeypatch.setattr(columnar.messages, "FREE", 200)
    found = list(read_parquet(io.BytesIO(sink.getvalue())))
    assert [raw.locator for raw in found] == [f"row:{number}" for number in range(251)]
    assert found[-2].reason == "ingest.broken_record" and found[-1].note.startswith(
        "4750 more rows; Parquet: 5000 rows in "
    )


@pytest.mark.parametrize(
    "footer",
    [
        b"",
        b"\x15\x04\x19\xfc" + b"\xff" * 8 + b"\x7f",
        b"\x19\xfc\xff\xff\xff\xff\x07" + b"\x00" * 64,
        b"\x1c" * 200_000,
    ],
)
def test_a_footer_of_nonsense_is_one_row(footer):
    """Lists of two thousand million entries, structs a hundred thousand deep."""
    data = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    assert [raw.reason for raw in read_parquet(io.BytesIO(data))] == ["ingest.broken_file"]


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_names_of_columns_that_are_no_utf8_are_one_row(form):
    data = written(pa.table({"text": ["a"], "qqqqqqqq": [1]}), form).replace(b"qqqqqqqq", b"qq\xedqqqqq")
    found = list((read_parquet if form == "parquet" else read_arrow)(io.BytesIO(data)))
    assert [raw.reason for raw in found] == ["ingest.broken_file"]
