"""JSON Lines and JSON files, streamed: bounds, broken lines, bad bytes."""

from __future__ import annotations

import gzip
import io
import json
import random

import pytest

from stages.ingest.readers.arrays import read_json
from stages.ingest.readers.lines import line_limit, lines, read_jsonl
from stages.ingest.unpack import Unpacked

SMALL = 1 << 12


def jsonl(data: bytes, limit: int = SMALL):
    return [(raw.locator, raw.reason or raw.body) for raw in read_jsonl(Unpacked(io.BytesIO(data)), limit)]


def array(data: bytes, limit: int = SMALL):
    return [(raw.locator, raw.reason or raw.body) for raw in read_json(Unpacked(io.BytesIO(data)), limit)]


def test_lines_of_all_kinds():
    data = b'\xef\xbb\xbf{"text": "a"}\r\n\n{"text": \n[1]\nnull\n{"text": "\xea\xb8\x80"}'
    assert jsonl(data) == [
        ("line:1", {"text": "a"}), ("line:3", "ingest.broken_record"), ("line:4", "ingest.wrong_columns"), ("line:5", "ingest.wrong_columns"),
        ("line:6", {"text": "글"}),
    ]  # fmt: skip


@pytest.mark.parametrize("line", [b'{"a":' * 100_000, b"[" * 100_000, b'{"n": ' + b"9" * 10_000 + b"}"])
def test_hostile_lines_are_rows_with_a_reason(line):
    assert [reason for _, reason in jsonl(line + b'\n{"text": "b"}\n', 1 << 20)] == [
        "ingest.broken_record",
        {"text": "b"},
    ]


def test_a_line_over_the_limit_is_never_held():
    """A line of 40 MB through a limit of a megabyte or so: no piece larger than what is read at a time is kept."""
    size = 40 << 20

    class Endless(io.RawIOBase):
        def __init__(self):
            self.left, self.asked = size, 0

        def read(self, count=-1):
            give = min(count, self.left)
            self.left -= give
            self.asked = max(self.asked, count)
            return b"x" * give if give or self.asked < 0 else b""

    source = Endless()
    found = list(lines(Unpacked(source), line_limit(SMALL)))
    assert found == [(None, size)] and source.asked <= 4 << 20


def test_a_large_line_is_counted_and_the_next_is_read():
    data = b'{"text": "' + b"x" * (3 << 20) + b'"}\n{"text": "b"}\n'
    assert jsonl(data) == [("line:1", "ingest.too_large"), ("line:2", {"text": "b"})]


def test_bad_utf8_is_read_and_noted():
    found = list(
        read_jsonl(
            Unpacked(
                io.BytesIO(
                    '{"text": "글자 깨진 '.encode()
                    + b"\xff"
                    + ' 자리 하나"}\n'.encode()
                    + '{"text": "한국어로 쓴 글이다"}'.encode("cp949")
                )
            ),
            SMALL,
        )
    )
    assert found[0].body["text"].replace("\ufffd", "?") == "글자 깨진 ? 자리 하나" and found[0].note.startswith(
        "ingest.bad_utf8"
    )
    assert found[1].body["text"] == "한국어로 쓴 글이다" and "cp949" in found[1].note


def test_a_cut_gzip_keeps_the_lines_before_it():
    dice = random.Random(5)
    data = b"".join(json.dumps({"text": dice.randbytes(40).hex()}).encode() + b"\n" for _ in range(500))
    found = jsonl(gzip.compress(data)[:-2000], 1 << 16)
    kept = [body for _, body in found if isinstance(body, dict)]
    assert len(kept) > 300 and found[-1] == ("end", "ingest.truncated_gzip") and len(kept) >= len(found) - 2


@pytest.mark.parametrize(
    "value",
    [[{"text": "a"}, {"text": "글"}], {"version": 1, "data": [{"text": "a"}, {"text": "글"}]}],
)
def test_json_arrays_and_objects_that_hold_one(value):
    assert array(json.dumps(value, indent=2).encode()) == [("row:0", {"text": "a"}), ("row:1", {"text": "글"})]


def test_one_object_is_one_row():
    assert array(b'{"text": "a"}') == [("row:0", {"text": "a"})]


@pytest.mark.parametrize(
    "data, found",
    [
        (b"[]", []),
        (b"  ", [("", "ingest.empty")]),
        (b'[{"text": "a"}, {"text": }]', [("row:0", {"text": "a"}), ("row:1", "ingest.broken_record")]),
        (b'[{"text": "a"}, {"text": "b', [("row:0", {"text": "a"}), ("row:1", "ingest.broken_record")]),
        (b'[{"text": "a"}', [("row:0", {"text": "a"}), ("end", "ingest.broken_file")]),
        (b"[1, {}]", [("row:0", "ingest.wrong_columns"), ("row:1", {})]),
        (b'[{"text": "' + b"x" * (4 << 20) + b'"}]', [("row:0", "ingest.too_large")]),
    ],
)
def test_broken_arrays(data, found):
    assert array(data) == found


def test_an_array_longer_than_a_read():
    value = [{"text": "글" * 300, "n": n} for n in range(4000)]
    assert [row["n"] for _, row in array(json.dumps(value, ensure_ascii=False).encode(), 1 << 20)] == list(range(4000))


@pytest.mark.parametrize("first", [0, 2])
def test_elements_taken_in_by_an_open_bracket_are_read(first):
    rows = [{"text": f"t{n}", "tags": ["a"], "deep": {"n": [{"x": 1}, {"x": None}]}, "more": n} for n in range(6)]
    pieces = [json.dumps(row) for row in rows]
    pieces[first] = (
        pieces[first].split('{"x": 1}')[0].rstrip("\n") + '{"x": 1}, {"x": 2}'
    )  # no end: what follows is in "n"
    wanted = [(f"row:{n}", rows[n]) for n in range(6)]
    wanted[first] = (f"row:{first}", "ingest.broken_record")
    assert array(f"[{', '.join(pieces)}]".encode(), 1 << 20) == wanted


@pytest.mark.parametrize(
    "element", ['{"text": 1, "n": [1, ', '{"a": 1, "n": [{}, {"a": {}, "n": [1, ', '{"text": [{"text": 1}, ']
)
def test_looking_inside_damaged_elements_is_linear(element, monkeypatch):
    """Characters read as JSON and positions read, for `n` elements each without its end, and for 2 `n`: each takes in all behind it."""
    read = []

    class Counted(json.JSONDecoder):
        def raw_decode(self, text, at=0):
            try:
                value, end = super().raw_decode(text, at)
            except json.JSONDecodeError as fault:
                read.append(fault.pos - at)
                raise
            except RecursionError:
                read.append(1_000 * len(element))
                raise
            read.append(end - at)
            return value, end

    monkeypatch.setattr(json, "JSONDecoder", Counted)
    spent = []
    for n in (1_500, 3_000):
        read.clear()
        data = b"[" + element.encode() * n
        array(data, 1 << 20)
        spent.append(sum(read))
        assert spent[-1] < 80 * len(data), spent
    assert spent[1] < 2.3 * spent[0]
