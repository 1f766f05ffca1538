"""Metadata of Arrow messages: read as the library writes them, and what asks for too much memory is not read."""

from __future__ import annotations

import io
import struct

import pyarrow as pa
import pytest

from stages.ingest.readers import columnar, messages
from stages.ingest.readers.columnar import read_arrow

ROWS = 300
TABLE = pa.table({
    "text": [f"row {n} " * 40 for n in range(ROWS)], "n": list(range(ROWS)), "deep": [[{"a": str(n)}] * (n % 3) for n in range(ROWS)],
    "kind": pa.array(["one", "two", "three"] * 100).dictionary_encode(),
})  # fmt: skip
FORMS = [(compression, stream) for compression in (None, "lz4", "zstd") for stream in (False, True)]


def written(table: pa.Table, compression: str | None, stream: bool, rows: int = 100) -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression, emit_dictionary_deltas=True)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema, options=options) as out:
        out.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def found(data: bytes) -> list[messages.Message]:
    """All messages of a file or stream, walked from one to the next."""
    source, place, held = pa.BufferReader(data), 8 if data.startswith(b"ARROW1") else 0, []
    while (message := messages.at(source, place)) is not None:
        held.append(message)
        place = message.end
    return held


def batches(data: bytes) -> list[messages.Message]:
    return [message for message in found(data) if message.kind == messages.BATCH]


@pytest.mark.parametrize(("compression", "stream"), FORMS)
def test_metadata_is_what_the_library_wrote(compression, stream):
    data = written(TABLE, compression, stream)
    walked = found(data)
    assert [message.rows for message in walked if message.kind == messages.BATCH] == [100, 100, 100]
    assert [(message.rows, message.more) for message in walked if message.kind == messages.DICTIONARY] == [(3, False)]
    for number, message in enumerate(batches(data)):
        reader = (pa.ipc.open_stream if stream else pa.ipc.open_file)(data)
        batch = list(reader)[number] if stream else reader.get_batch(number)
        plain = sum(len(buffer) for column in batch.columns for buffer in column.buffers() if buffer is not None)
        assert (
            plain - 24 * 8 * len(TABLE.columns) <= message.unpacked <= plain if compression else message.unpacked == 0
        )
    if not stream:
        dictionaries, places = messages.blocks(pa.BufferReader(data))
        assert places == [message.start for message in batches(data)] and len(dictionaries) == 1


@pytest.mark.parametrize(("compression", "stream"), FORMS)
def test_what_is_sound_is_read_as_before(compression, stream):
    read = list(read_arrow(io.BytesIO(written(TABLE, compression, stream))))
    assert [raw.body for raw in read] == TABLE.to_pylist() and not any(raw.note for raw in read)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_that_asks_for_too_much_is_lost_and_its_neighbours_are_whole(compression, stream, monkeypatch):
    """64 MiB in a few KB; nothing of that size is taken, and each row stands in the accounts."""
    table = pa.table({"text": ["one", "two", "x" * (64 << 20), "four", "five"]})
    data = written(table, compression, stream, rows=1)
    assert len(data) < 1 << 20
    monkeypatch.setattr(messages, "MEMORY", 1 << 20)
    usual, counted = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(counted)
    try:
        read = list(read_arrow(io.BytesIO(data)))
    finally:
        pa.set_memory_pool(usual)
    assert [raw.body.get("text") if raw.body else raw.reason for raw in read] == [
        "one", "two", "ingest.broken_record", "four", "five",
    ]  # fmt: skip
    assert [raw.locator for raw in read] == [f"row:{n}" for n in range(5)]
    assert f"{(64 << 20)}"[:4] in read[2].note and "bytes unpacked" in read[2].note
    assert counted.max_memory() < 8 << 20


@pytest.mark.parametrize("stream", [False, True])
def test_a_buffer_that_names_a_terabyte_is_not_asked_for(stream):
    data = bytearray(written(TABLE, "zstd", stream))
    second = batches(bytes(data))[1]
    at = next(
        at for at in range(second.start, second.end - 8, 8)
        if 1_000 < struct.unpack_from("<q", data, at)[0] < 40_000 and data[at + 8 : at + 12] == b"\x28\xb5\x2f\xfd"
    )  # fmt: skip
    struct.pack_into("<q", data, at, 1 << 40)
    read = list(read_arrow(io.BytesIO(bytes(data))))
    assert [raw.locator for raw in read] == [f"row:{n}" for n in range(ROWS)]
    assert [raw.reason for raw in read] == [None] * 100 + ["ingest.broken_record"] * 100 + [None] * 100


@pytest.mark.parametrize("stream", [False, True])
def test_a_dictionary_that_asks_for_too_much_costs_the_batches_behind_it(stream, monkeypatch):
    table = pa.table({"text": pa.array(["x" * (4 << 20), "y", "z"] * 3).dictionary_encode()})
    monkeypatch.setattr(messages, "MEMORY", 1 << 20)
    read = list(read_arrow(io.BytesIO(written(table, "zstd", stream, rows=3))))
    assert [(raw.locator, raw.reason) for raw in read] == [(f"row:{n}", "ingest.broken_record") for n in range(9)]


def test_dictionaries_count_together():
    one = messages.Message(messages.DICTIONARY, 0, 100, 1, messages.MEMORY // 2, None, 1)
    memory = messages.Memory()
    assert memory.refused(one) is None and memory.refused(one) is None, "in the place of the first"
    assert memory.refused(one._replace(more=True)) is None, "behind it: all of what there is"
    assert memory.refused(one._replace(dictionary=2, unpacked=1)) == "buffers of 1 bytes unpacked"


def test_rows_that_no_bytes_stand_for_are_not_believed():
    """A column of nulls alone takes no byte a row: a hundred bytes would name rows without end."""
    sink = io.BytesIO()
    schema = pa.schema([("text", pa.null())])
    with pa.ipc.new_stream(sink, schema) as out:
        out.write_batch(pa.RecordBatch.from_arrays([pa.nulls(1 << 24)], schema=schema))
        out.write_batch(pa.RecordBatch.from_arrays([pa.nulls(3)], schema=schema))
    read = [(raw.locator, raw.reason) for raw in read_arrow(io.BytesIO(sink.getvalue()))]
    assert read == [("batch:0:row:0", "ingest.broken_file")] + [(f"row:{n}", None) for n in range(3)]


@pytest.mark.parametrize("rows", [3, 1_000])
def test_values_that_rows_share_are_read_a_few_at_a_time(rows, monkeypatch):
    """One value of 4 MiB for every row: in a dictionary, in runs, in views."""
    long = "x" * (4 << 20)
    seen = []
    monkeypatch.setattr(
        columnar, "rows", lambda piece, *_: seen.append(piece[0]) or [piece[0]] * piece[0] if piece else []
    )
    for column in (
        pa.array([long] * rows).dictionary_encode()
        if rows < 10
        else pa.DictionaryArray.from_arrays([0] * rows, [long]),
        pa.RunEndEncodedArray.from_arrays([rows], [long]),
    ):
        seen.clear()
        assert len(list(read_arrow(io.BytesIO(written(pa.table({"text": column}), None, False, rows=rows))))) == rows
        assert max(seen) * len(long) <= columnar.BATCH * columnar.REPEATED


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\xff\xff\xff\xff", b"\xff" * 40, b"\xff\xff\xff\xff\x10\0\0\0" + bytes(16), b"\xff\xff\xff\xff\x04\0\0\0\xff\xff\xff\xff", b"\x05\0\0\0abc"],
)  # fmt: skip
def test_messages_that_are_none(data):
    with pytest.raises(ValueError):
        messages.at(io.BytesIO(data), 0)


@pytest.mark.parametrize("place", [-1, 4, 1 << 60])
def test_places_outside_of_the_file_are_no_fault_of_reading(place, tmp_path):
    """An OSError would be taken for a disk that fails."""
    (tmp_path / "a").write_bytes(b"abc")
    for source in (pa.memory_map(str(tmp_path / "a")), pa.PythonFile(io.BytesIO(b"abc"), mode="r")):
        with pytest.raises(ValueError):
            messages.at(source, place)


@pytest.mark.parametrize("data", [b"", b"ARROW1", b"ARROW1\0\0" + b"\xff" * 20 + b"ARROW1", bytes(60)])
def test_footers_that_are_none(data):
    with pytest.raises(ValueError):
        messages.blocks(io.BytesIO(data))
