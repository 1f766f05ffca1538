"""Parquet and Arrow files, read from the whole to the part: a batch, of a damaged one its columns, of a bad column its values.

What cannot be read is accounted for: a row group or batch says how many rows it has, and those that are lost have ledger rows.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Container, Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stages.ingest.readers import messages, pages, values
from stages.ingest.readers.values import LEFT_OUT, NO_TEXT, plain_column
from stages.ingest.row import Raw, apart

BATCH = 256
"""Rows turned to Python at a time."""
BATCH_BYTES = 32 << 20
"""Bytes of a row group, as its footer has them unpacked, read at a time: fewer rows where they are large on the average."""
REPEATED = 1 << 20
"""Bytes that a dictionary, or buffers to which rows point as they like, may have before fewer rows are taken at a time."""
TEXT_BYTES = 64 << 20
"""Most bytes of a text, where no other limit is given."""
LOST = 1 << 16
"""Rows lost in one stretch that each have a ledger row; those beyond have one together, with their count."""
ROWS_PER_BYTE = 1_000
"""Rows read of a row group for each packed byte of it: pyarrow writes 700 nulls a byte, deflate packs 1,032 to one."""
FOOTER = {"thrift_string_size_limit": 64 << 20, "thrift_container_size_limit": 1 << 20, "schema_depth_limit": 128}
"""Most that a Parquet footer is believed: bytes of one string, entries of one list, levels of nesting."""
READING = {"pre_buffer": False, "buffer_size": 1 << 20, "page_checksum_verification": True, **FOOTER}
"""How Parquet is read: in pieces of 1 MiB, pages held against their checksums where they have one."""
FAULTS = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, KeyError)
"""What Arrow raises over a damaged file; where object storage failed it is a TimeoutError or a ConnectionError."""

Piece = tuple[int, dict[str, pa.Array], tuple[str, ...]]
"""How many rows, their columns, and the names of those that could not be read."""


def read_parquet(handle: BinaryIO, max_bytes: int = TEXT_BYTES) -> Iterator[Raw]:
    """Rows of a Parquet file. Of a damaged row group what can be read is kept, column by column. `max_bytes` is the most that
    the packed values of a row may take unpacked."""
    try:
        source = pq.ParquetFile(handle, **READING)
        _ = source.schema_arrow.names  # which raises where they are no UTF-8
        counts = [max(0, source.metadata.row_group(group).num_rows) for group in range(source.num_row_groups)]
    except (TimeoutError, ConnectionError):
        raise
    except FAULTS as fault:
        yield Raw("fault", "row:0", reason="ingest.broken_file", note=f"Parquet: {type(fault).__name__} in its footer")
        return
    try:
        chunks = pages.chunks(handle)
        sound = [len(columns) for columns in chunks] == [source.metadata.num_columns] * len(counts)
    except ValueError:
        sound = False
    first = 0
    for group, count in enumerate(counts):
        if sound:
            yield from _group(source, handle, group, first, count, chunks[group], max_bytes)
        else:
            yield from lost_rows(first, count, "Parquet: the footer does not say where its columns are")
        first += count


def _group(
    source: pq.ParquetFile,
    handle: BinaryIO,
    group: int,
    first: int,
    count: int,
    chunks: list[pages.Chunk],
    max_bytes: int,
) -> Iterator[Raw]:
    """The `count` rows of a row group: whole batches, from the damaged position on by columns, then those that are lost."""
    packed = min(handle.seek(0, 2), sum(chunk.packed for chunk in chunks))
    most = messages.FREE + ROWS_PER_BYTE * packed
    done, why, at_a_time = 0, f"the footer names {count} rows here", 1
    wrong: dict[str, str] = {}
    try:
        if wrong := pages.refused(chunks, handle):
            raise ValueError(*wrong.values())
        at_a_time = _at_a_time(source, group, max((pages.dictionary(handle, chunk) for chunk in chunks), default=0))
        for batch in source.iter_batches(batch_size=at_a_time, row_groups=[group], use_threads=False):
            columns = dict(zip(apart(batch.schema.names), batch.columns))
            yield from rows((len(batch), columns, ()), first + done, max_bytes)
            done += len(batch)
            if done >= most:
                why = f"Parquet: {count} rows in {packed} bytes"
                break
    except (TimeoutError, ConnectionError):
        raise
    except FAULTS as fault:
        why, at = f"Parquet: {next(iter(wrong.values()), type(fault).__name__)} in this row group", 0
        readable = [chunk for chunk in chunks if chunk.name not in wrong]
        at_a_time = _at_a_time(source, group, max((pages.dictionary(handle, chunk) for chunk in readable), default=0))
        for size, columns, lost in _by_column(source, handle, group, wrong, at_a_time):
            if at + size > done:
                skip = max(0, done - at)
                yield from rows(
                    (size - skip, {name: column.slice(skip) for name, column in columns.items()}, lost),
                    first + at + skip,
                    max_bytes,
                )
                done = at + size
            at += size
            if done >= most:
                break
    yield from lost_rows(first + done, count - done, why)


def _at_a_time(source: pq.ParquetFile, group: int, dictionary: int) -> int:
    """Rows of a row group to read at a time; `dictionary`: bytes of its largest one, every value of which may stand in every row."""
    about = source.metadata.row_group(group)
    return min(_repeating(dictionary), max(1, BATCH_BYTES * max(1, about.num_rows) // max(1, about.total_byte_size)))


def _repeating(size: int) -> int:
    """Rows at a time of columns whose rows may each stand for all of `size` bytes."""
    return max(1, min(BATCH, BATCH * REPEATED // max(1, size)))


def _by_column(
    source: pq.ParquetFile, handle: BinaryIO, group: int, wrong: Container[str], size: int
) -> Iterator[Piece]:
    """A row group read one column at a time, abreast, those in `wrong` left out; a column ends where its damage begins."""
    names = source.schema_arrow.names
    # Made a dictionary by Arrow, a column with one value of bad UTF-8 cannot be had; as plain text it can.
    plain = _without_dictionaries(handle) if any(map(pa.types.is_dictionary, source.schema_arrow.types)) else source
    of = {
        name: plain if pa.types.is_dictionary(kind) else source for name, kind in zip(names, source.schema_arrow.types)
    }
    streams = {
        name: of[name].iter_batches(batch_size=size, row_groups=[group], columns=[name], use_threads=False)
        for name in names
        if name not in wrong
    }
    held: dict[str, pa.Array] = {}
    while streams:
        for name in list(streams):
            if len(held.get(name, ())):
                continue
            try:
                held[name] = next(streams[name]).column(name)
            except (TimeoutError, ConnectionError):
                raise
            except (StopIteration, *FAULTS):
                del streams[name]
                held.pop(name, None)
        size = min(map(len, held.values()), default=0)
        if size:
            yield (
                size,
                {name: column.slice(0, size) for name, column in held.items()},
                tuple(name for name in names if name not in held),
            )
        held = {name: column.slice(size) for name, column in held.items()}


def fields(handle: BinaryIO, head: bytes) -> list[pa.Field]:
    """The columns of a Parquet or Arrow file that begins with `head`; one of FAULTS where they cannot be read."""
    if head.startswith(b"PAR1"):
        return list(pq.ParquetFile(handle, **READING).schema_arrow)
    source = pa.PythonFile(handle, mode="r")
    return list((pa.ipc.open_file(source) if head == b"ARROW1" else pa.ipc.open_stream(source)).schema)


def _without_dictionaries(handle: BinaryIO) -> pq.ParquetFile:
    """The file read by Parquet's own types: the Arrow schema that its footer may hold has another name for once."""
    handle.seek(-8, 2)
    size = int.from_bytes(handle.read(4), "little")
    handle.seek(-8 - size, 2)
    footer = handle.read(size).replace(b"ARROW:schema", b"-----:schema") + size.to_bytes(4, "little") + b"PAR1"
    return pq.ParquetFile(handle, metadata=pq.read_metadata(io.BytesIO(b"PAR1" + footer)), **READING)


def lost_rows(first: int, count: int, why: str) -> Iterator[Raw]:
    """Fault rows of `count` rows that cannot be read, from the row `first` on."""
    for number in range(first, first + min(count, LOST)):
        yield Raw("fault", f"row:{number}", reason="ingest.broken_record", note=why)
    if count > LOST:
        yield Raw(
            "fault", f"row:{first + LOST}", reason="ingest.broken_record", note=f"{count - LOST} more rows; {why}"
        )


class LostBatch(NamedTuple):
    """A batch that is not read: why, and how many rows it has, where that can be believed."""

    why: str
    rows: int | None = None


def read_arrow(handle: BinaryIO, max_bytes: int = TEXT_BYTES) -> Iterator[Raw]:
    """Rows of an Arrow IPC file or stream; every batch is validated, since its offsets come from outside. `max_bytes` as above."""
    number = broken = 0
    for batch in _batches(handle):
        if isinstance(batch, LostBatch):
            if batch.rows is not None:
                yield from lost_rows(number, batch.rows, f"Arrow: {batch.why}")
                number += batch.rows
                continue
            # Not even how many rows it has can be read: one row stands for it.
            yield Raw(
                "fault",
                f"batch:{broken}:row:{number}",
                reason="ingest.broken_file",
                note=f"Arrow: {batch.why} after {number} rows",
            )
            broken += 1
            continue
        sound, lost = _sound(batch)
        repeating = [column.get_total_buffer_size() for column in sound.values() if values.repeats(column.type)]
        step = _repeating(max(repeating, default=0))
        for start in range(0, len(batch), step):
            size = min(step, len(batch) - start)
            piece = size, {name: column.slice(start, size) for name, column in sound.items()}, lost
            yield from rows(piece, number, max_bytes)
            number += size


def _batches(handle: BinaryIO) -> Iterator[pa.RecordBatch | LostBatch]:
    """The batches of a file or stream, each after its metadata said what memory it asks for."""
    head = handle.read(6)
    handle.seek(0)
    name = getattr(handle, "name", None)
    try:
        source = pa.memory_map(name) if isinstance(name, str) else pa.PythonFile(handle, mode="r")
        reader = pa.ipc.open_file(source) if head == b"ARROW1" else pa.ipc.open_stream(source)
        _ = reader.schema.names
        layout = messages.blocks(source) if head == b"ARROW1" else None
        if layout is not None and len(layout[1]) != reader.num_record_batches:
            raise ValueError("the footer is damaged")
    except (TimeoutError, ConnectionError):
        raise
    except FAULTS as fault:
        yield LostBatch(type(fault).__name__)
        return
    yield from _of_stream(source, reader) if layout is None else _of_file(source, reader, *layout)


def _of_file(source: pa.NativeFile, reader: Any, dictionaries: list[int], batches: list[int]) -> Iterator[Any]:
    """The batches of a file; Arrow reads all dictionaries before the first of them."""
    memory, why = messages.Memory(), None
    for position in dictionaries:
        try:
            message = messages.at(source, position)
            why = why or (memory.refused(message) if message is not None else "a dictionary is missing")
        except ValueError as fault:
            why = why or str(fault)
    for index, position in enumerate(batches):
        try:
            message = messages.at(source, position)
            if message is None or message.kind != messages.BATCH:
                raise ValueError("a batch is missing")
        except ValueError as fault:
            yield LostBatch(str(fault))
            continue
        yield _batch(partial(reader.get_batch, index), message, why or memory.refused(message))


def _of_stream(source: pa.NativeFile, reader: Any) -> Iterator[pa.RecordBatch | LostBatch]:
    """The batches of a stream. Behind a dictionary that was not read, or a message without sound metadata, none is."""
    memory, gone = messages.Memory(), None
    position = source.tell()
    while True:
        begun, message = position, None
        try:
            while (message := messages.at(source, position)) is not None and message.kind != messages.BATCH:
                gone = gone or (memory.refused(message) if message.kind == messages.DICTIONARY else None)
                position = message.end
        except ValueError as fault:
            yield LostBatch(str(fault))
            return
        if message is None:
            return
        why = gone or memory.refused(message)
        gone = gone or (why if position > begun else None)
        source.seek(begun)
        yield _batch(reader.read_next_batch, message, why)
        position = message.end
        if position > source.size():
            return
        source.seek(position)


def _batch(
    read: Callable[[], pa.RecordBatch], message: messages.Message, why: str | None
) -> pa.RecordBatch | LostBatch:
    """The batch, or why it is lost: `why` says so before it is read."""
    if why is not None:
        return LostBatch(why, message.believed)
    try:
        return read()
    except (TimeoutError, ConnectionError):
        raise
    except (StopIteration, *FAULTS) as fault:
        return LostBatch(type(fault).__name__, message.believed)


def _sound(batch: pa.RecordBatch) -> tuple[dict[str, pa.Array], tuple[str, ...]]:
    """The columns that are safe to read, and the names of the others.

    Arrow's full check takes bad UTF-8 for as grave as an offset that leads out of the buffer: a column is looked at as bytes,
    and its texts are decoded one by one later.
    """
    sound, lost = {}, []
    for name, column in zip(apart(batch.schema.names), batch.columns):
        try:
            column.view(_as_bytes(column.type)).validate(full=True)
            sound[name] = column
        except FAULTS:
            lost.append(name)
    return sound, tuple(lost)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The type with every text in it as bytes, and every date, time and decimal as its bare number: their ranges are looked at later."""
    types = pa.types
    if types.is_date64(kind) or types.is_time64(kind):
        return pa.int64()
    if types.is_time32(kind):
        return pa.int32()
    if types.is_decimal(kind):
        return pa.binary(kind.byte_width)
    if types.is_string(kind):
        return pa.binary()
    if types.is_large_string(kind):
        return pa.large_binary()
    if types.is_string_view(kind):
        return pa.binary_view()
    if isinstance(kind, pa.BaseExtensionType):
        return _as_bytes(kind.storage_type)
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _as_bytes(kind.value_type), kind.ordered)
    if types.is_run_end_encoded(kind):
        return pa.run_end_encoded(kind.run_end_type, _as_bytes(kind.value_type))
    if types.is_map(kind):
        return pa.map_(_as_bytes(kind.key_type), _as_bytes(kind.item_type), kind.keys_sorted)
    if types.is_struct(kind):
        return pa.struct(
            [
                kind.field(position).with_type(_as_bytes(kind.field(position).type))
                for position in range(kind.num_fields)
            ]
        )
    for is_such, make in (
        (types.is_list, pa.list_),
        (types.is_large_list, pa.large_list),
        (types.is_list_view, pa.list_view),
        (types.is_large_list_view, pa.large_list_view),
    ):
        if is_such(kind):
            return make(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_as_bytes(kind.value_type)), kind.list_size)
    if types.is_union(kind):
        fields = [
            kind.field(position).with_type(_as_bytes(kind.field(position).type)) for position in range(kind.num_fields)
        ]
        return pa.union(fields, kind.mode, kind.type_codes)
    return kind


def rows(piece: Piece, first: int, max_bytes: int = TEXT_BYTES) -> Iterator[Raw]:
    """The rows of a piece, the first of them numbered `first`; what had to be repaired or left out stands in their notes.

    Values that are packed are unpacked, row by row, so that one row's are in memory.
    """
    size, columns, lost = piece
    step = 1 if any(map(values.packed, columns.values())) else size
    for start in range(0, size, step):
        part = {name: column.slice(start, step) for name, column in columns.items()} if step < size else columns
        yield from _rows((min(step, size - start), part, lost), first + start, values.Room(max_bytes))


def _rows(piece: Piece, first: int, room: values.Room) -> Iterator[Raw]:
    size, columns, lost = piece
    found = {}
    for name, column in columns.items():
        try:
            found[name] = plain_column(column, room)
        except FAULTS:
            lost = (*lost, name)
    general = [f"column {name!r}: cannot be read" for name in lost]
    for position in range(size):
        notes = general + [
            fault_note(name, faults[position]) for name, (_, faults) in found.items() if position in faults
        ]
        raw = Raw(
            "row",
            f"row:{first + position}",
            {name: held[position] for name, (held, _) in found.items()},
            note="; ".join(notes) or None,
        )
        if lost:
            raw.facts["lost"] = lost
        if apart_here := {
            name: kind
            for name, (_, faults) in found.items()
            for kind in NO_TEXT
            if LEFT_OUT.format(kind) in faults.get(position, ())
        }:
            raw.facts["apart"] = apart_here
        yield raw


def fault_note(name: str, faults: Counter) -> str:
    """What was wrong in a value of a column."""
    return f"column {name!r}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(faults.items()))
