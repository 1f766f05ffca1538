"""Values of Arrow columns as plain Python: what JSON can say, with dates as ISO 8601 text; one bad value spoils no other.

A column is turned whole where its type allows that and all of it is sound, else value by value. Nothing here asks a time
zone database or pandas: an instant of a known zone is written in UTC, so that every machine gives the same text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyarrow import types

from stages.ingest import charset, kinds
from stages.ingest.readers import codings
from stages.ingest.row import SET_APART, apart
from stages.ingest.unpack import packing

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
LEFT_OUT, RANGE = "{} values left out", "dates or times out of range left out"
"""What a note says of a value; the first with one of `NO_TEXT`."""
CODINGS = ("gzip", "zstd")
"""Packings that a value's bytes are believed to show."""
NO_TEXT = (*SET_APART, "too_large", "content_coding")
"""Kinds of value that are left out, each a reason of a row whose text it was to be."""
EPOCH = datetime(1970, 1, 1)


class Room:
    """Bytes that packed values may yet take unpacked."""

    def __init__(self, left: int):
        self.left = left


def plain_column(array: pa.Array, room: Room) -> tuple[list[Any], dict[int, Counter]]:
    """The values of `array`, and per index (of those that had any) what was wrong there, counted by kind."""
    if _is_plain(array.type):
        try:
            return array.to_pylist(), {}
        except (UnicodeDecodeError, ValueError):
            pass  # not UTF-8, or two fields of one name: value by value
    values, faults = [], {}
    for index, scalar in enumerate(array):
        noted: Counter = Counter()
        values.append(_plain(scalar, noted, room))
        if noted:
            faults[index] = noted
    return values, faults


def packed(array: pa.Array) -> bool:
    """May it hold values that take more bytes unpacked?"""
    if _is_binary(array.type):
        return any(scalar.is_valid and packing(bytes(scalar.as_buffer()[:8])) in CODINGS for scalar in array)
    return not _is_plain(array.type) and _within(array.type, _is_binary)


def repeats(kind: pa.DataType) -> bool:
    """Can rows of this type share bytes, so that they take more one by one than all together?"""
    return _within(
        kind,
        lambda inner: (
            types.is_dictionary(inner)
            or types.is_run_end_encoded(inner)
            or types.is_string_view(inner)
            or types.is_binary_view(inner)
            or types.is_list_view(inner)
            or types.is_large_list_view(inner)
        ),
    )


def _within(kind: pa.DataType, is_such: Callable[[pa.DataType], bool]) -> bool:
    """Is it, or a type that it is made of, such a one?"""
    if is_such(kind):
        return True
    if isinstance(kind, pa.BaseExtensionType):
        return _within(kind.storage_type, is_such)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _within(kind.value_type, is_such)
    return any(_within(kind.field(index).type, is_such) for index in range(kind.num_fields))


def _is_plain(kind: pa.DataType) -> bool:
    """Is what Arrow makes of such a value what JSON can say?"""
    if types.is_struct(kind) or _is_list(kind):
        return all(_is_plain(kind.field(index).type) for index in range(kind.num_fields))
    return (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
        or _is_text(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_list(kind: pa.DataType) -> bool:
    return any(
        is_such(kind)
        for is_such in (
            types.is_list,
            types.is_large_list,
            types.is_fixed_size_list,
            types.is_list_view,
            types.is_large_list_view,
        )
    )


def _is_binary(kind: pa.DataType) -> bool:
    return any(
        is_such(kind)
        for is_such in (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    )


def _plain(scalar: pa.Scalar, faults: Counter, room: Room) -> Any:
    """One value, however deep; what is wrong in it is counted in `told`, repaired where it can be and null where not."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if _is_text(kind):
        return _text(scalar.as_buffer().to_pybytes(), faults)
    if _is_binary(kind):
        return _bytes(scalar.as_buffer().to_pybytes(), faults, room)
    if isinstance(scalar, (pa.UuidScalar, pa.Bool8Scalar)):
        found = scalar.as_py()
        return found if isinstance(found, bool) else str(found)
    if isinstance(scalar, (pa.DictionaryScalar, pa.UnionScalar, pa.RunEndEncodedScalar, pa.ExtensionScalar)):
        return None if scalar.value is None else _plain(scalar.value, faults, room)
    if types.is_map(kind):
        pairs = [(_plain(entry[0], faults, room), _plain(entry[1], faults, room)) for entry in scalar.values]
        named = dict(pairs) if all(isinstance(key, str) for key, _ in pairs) else {}
        return named if len(named) == len(pairs) else [list(pair) for pair in pairs]
    if _is_list(kind):
        return [_plain(value, faults, room) for value in scalar.values]
    if types.is_struct(kind):
        return dict(
            zip(
                apart([field.name for field in kind]),
                (_plain(scalar[index], faults, room) for index in range(kind.num_fields)),
            )
        )
    if types.is_decimal(kind):
        return number_of(scalar.as_py())
    if types.is_interval(kind):
        return dict(zip(("months", "days", "nanoseconds"), scalar.as_py()))
    return _time(scalar, kind, faults) if types.is_temporal(kind) else scalar.as_py()


def _text(data: bytes, faults: Counter) -> str:
    """Bytes that a column says are UTF-8: read as CP949 where they plainly are that, else what is unreadable is U+FFFD."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        name = "cp949" if charset.detect(data) == "cp949" else "utf-8"
        text = data.decode(name, "replace")
        own = data.count(b"\xef\xbf\xbd") if name == "utf-8" else 0
        faults[f"characters unreadable as {name}"] += text.count("\ufffd") - own
        return text


def _bytes(data: bytes, faults: Counter, room: Room) -> str | None:
    """Bytes that are text (writers that mark no column as such are common), or nothing: `kinds.apart` tells, as for a file.

    gzip and zstandard are undone, as of a response that does not name its coding.

    Of what is neither UTF-8 nor plainly Korean only a page is believed to be text: short values of other bytes are hashes.
    """
    if packing(data) in CODINGS:
        payload = codings.decoded(data, [], room.left)
        if payload.note is not None:
            faults[payload.note] += 1
        if payload.reason is not None:
            faults[LEFT_OUT.format(payload.reason.removeprefix("ingest."))] += 1
            return None
        data = payload.body
        room.left -= len(data)
    kind, wide = kinds.apart(data), charset.wide(data[: kinds.HEAD])
    if kind in (None, "binary") and wide is None:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    page = kind is None and kinds.is_page(data)
    found = charset.decode(data, html=page) if kind is None else None
    if found is None or not (page or found.learnt == "bom" or wide or found.encoding in ("utf-8", "cp949")):
        faults[LEFT_OUT.format(kind or "binary")] += 1
        return None
    if found.replaced:
        faults[f"characters unreadable as {found.encoding}"] += found.replaced
    return found.text


def number_of(value: Decimal) -> int | float | str:
    """A number where one of JSON's says exactly the same, else its digits.

    >>> number_of(Decimal("12.50")), number_of(Decimal("7.00")), number_of(Decimal("0.1234567890123456789"))
    (12.5, 7, '0.1234567890123456789')
    """
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)


def _time(scalar: pa.Scalar, kind: pa.DataType, faults: Counter) -> Any:
    """ISO 8601 of a date, time or instant; a duration in seconds."""
    count = scalar.value
    try:
        if types.is_date(kind):
            return (
                date(1970, 1, 1) + timedelta(days=count if types.is_date32(kind) else count // 86_400_000)
            ).isoformat()
        parts = PER_SECOND[kind.unit]
        if types.is_duration(kind):
            return count // parts if count % parts == 0 else count / parts
        if types.is_time(kind) and not 0 <= count < 86_400 * parts:
            raise OverflowError(count)
        moment = EPOCH + timedelta(seconds=count // parts)
        words = moment.isoformat() if types.is_timestamp(kind) else moment.time().isoformat()
        rest = f".{count % parts:0{len(str(parts)) - 1}d}" if count % parts else ""
        return words + rest + ("Z" if types.is_timestamp(kind) and kind.tz else "")
    except OverflowError:
        faults[RANGE] += 1
        return None
