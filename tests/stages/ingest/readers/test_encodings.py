"""Every reader of text in every charset: decoded right, or what could not be read is counted and said."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from stages.ingest.readers import arrays, lines, read_file, tables, texts
from stages.ingest.row import Raw
from stages.ingest.sources import File
from stages.ingest.unpack import Unpacked

KOREAN = [
    "맷돌은 곡식을 갈아 가루를 만드는 도구이다",
    "물레방아는 흐르는 물의 힘으로 돌아가는 방아이다",
    "가루는 고운 체로 한 번 더 쳐서 나누어 담는다",
]
UTF16 = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
EVERY = ["utf-8", "utf-8-sig", "cp949", "iso2022_kr", *UTF16]


def jsonl_of(data: bytes) -> list[Raw]:
    return list(lines.read_jsonl(Unpacked(io.BytesIO(data)), 1 << 20))


def json_of(data: bytes) -> list[Raw]:
    return list(arrays.read_json(Unpacked(io.BytesIO(data)), 1 << 20))


def csv_of(data: bytes) -> list[Raw]:
    return list(tables.read_csv(Unpacked(io.BytesIO(data)), 1 << 20))


READERS = {
    "jsonl": (jsonl_of, lambda rows: "".join(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in rows)),
    "json": (json_of, lambda rows: json.dumps([{"text": row} for row in rows], ensure_ascii=False)),
    "json, indented": (json_of, lambda rows: json.dumps([{"text": row} for row in rows], ensure_ascii=False, indent=1)),
    "csv": (csv_of, lambda rows: "text,n\r\n" + "".join(f'"{row}, ""so""",1\r\n' for row in rows)),
}


def said(row: str, reader: str) -> str:
    return f'{row}, "so"' if reader == "csv" else row


@pytest.mark.parametrize("encoding", EVERY)
@pytest.mark.parametrize("reader", list(READERS))
def test_every_charset_is_read_right(reader, encoding):
    read, write = READERS[reader]
    found = read(write(KOREAN).encode(encoding))
    assert [raw.body["text"] for raw in found] == [said(row, reader) for row in KOREAN]
    assert (
        all((raw.note or "").endswith("0 characters unreadable") for raw in found)
        if encoding == "cp949"
        else not any(raw.note for raw in found)
    )


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "utf-16-le"])
@pytest.mark.parametrize("reader", list(READERS))
def test_what_cannot_be_read_is_counted_for_its_own_record(reader, encoding):
    """One byte sequence of the second record is spoiled; U+FFFD that stood in the file (first record) is no loss."""
    read, write = READERS[reader]
    rows = KOREAN if encoding == "cp949" else ["\ufffd" + KOREAN[0], *KOREAN[1:]]
    data = write(rows).encode(encoding)
    where = data.index("물".encode(encoding))
    spoiled = b"\x00\xd8" if encoding == "utf-16-le" else b"\xff"
    data = data[:where] + spoiled + data[where + len("물".encode(encoding)) :]
    found = read(data)
    assert [raw.body["text"] for raw in found] == [
        said(rows[0], reader),
        said("\ufffd" + rows[1][1:], reader),
        said(rows[2], reader),
    ]
    assert found[1].note.endswith(" 1 characters unreadable") and all(
        "1 char" not in (found[n].note or "") for n in (0, 2)
    )


@pytest.mark.parametrize("reader", list(READERS))
def test_korean_that_comes_after_a_mebibyte(reader):
    """The charset is learnt where it shows, not at the head of the file."""
    read, write = READERS[reader]
    rows = ["plain words " * 20] * 6000 + KOREAN
    found = read(write(rows).encode("cp949"))
    assert len(found) == len(rows) and [raw.body["text"] for raw in found[-3:]] == [said(row, reader) for row in KOREAN]


def test_lines_of_two_charsets_in_one_file():
    found = jsonl_of(
        b"".join(
            json.dumps({"text": row}, ensure_ascii=False).encode(code) + b"\n"
            for row, code in zip(KOREAN, ("utf-8", "cp949", "utf-8"))
        )
    )
    assert [raw.body["text"] for raw in found] == KOREAN and [bool(raw.note) for raw in found] == [False, True, False]


def test_a_short_line_is_read_as_those_around_it_are():
    rows = ["맷", *KOREAN]
    assert [raw.body["text"] for raw in jsonl_of(READERS["jsonl"][1](rows).encode("cp949"))] == rows


@pytest.mark.parametrize("reader", ["jsonl", "json"])
@pytest.mark.parametrize(
    "escaped, text, halves",
    [
        (r"a\ud800b", "a\ufffdb", 1),
        (r"a\udc00\ud83d", "a\ufffd\ufffd", 2),
        (r"\ud83d\ude00", "\U0001f600", 0),
        (r"\\ud800", r"\ud800", 0),
        (r"\\\ud800", "\\\ufffd", 1),
        (r"a\u0000b", "a\ufffdb", 1),
        (r"\uFFFD", "\ufffd", 0),
    ],
)
def test_escapes_that_are_no_character(reader, escaped, text, halves):
    data = f'{{"text": "{escaped}"}}'
    (raw,) = READERS[reader][0]((data if reader == "jsonl" else f"[{data}]").encode())
    assert raw.body["text"] == text and raw.note == (f"{halves} escapes that are no character" if halves else None)


def test_nul_bytes_are_counted():
    (raw,) = csv_of(b"text,n\na\0b,1\n")
    assert raw.body["text"] == "a\ufffdb" and raw.note.endswith("1 characters unreadable")
    document = texts.read(Raw("text", "", b"words \0 and \0 words"))
    assert document.values["text"] == "words \ufffd and \ufffd words" and "2 characters unreadable" in document.note
    assert jsonl_of(b'{"text": "a\0b"}\n')[0].body == {"text": "a\ufffdb"}


@pytest.mark.parametrize("encoding", EVERY)
def test_texts_of_every_charset(encoding):
    document = texts.read(Raw("text", "", ("\n".join(KOREAN) + "\n").encode(encoding)))
    assert document.values["text"].strip() == "\n".join(KOREAN) and document.note is None


def test_half_a_unit_at_the_end_is_counted():
    document = texts.read(Raw("text", "", "\n".join(KOREAN).encode("utf-16-le")[:-1]))
    assert document.note == "ingest.bad_utf8: 1 characters unreadable as utf-16-le" and document.values[
        "text"
    ].startswith(KOREAN[0])


@pytest.mark.parametrize(
    "ending, data", [("json", "jsonl"), ("jsonl", "jsonl"), ("csv", "csv"), ("json", "json"), ("ndjson.x", "jsonl")]
)
def test_kinds_are_told_in_every_charset(ending, data, tmp_path):
    path = tmp_path / f"file.{ending}"
    path.write_bytes(READERS[data][1](KOREAN).encode("utf-16-le"))
    found = list(read_file(File(path.name, str(path), 0, ""), 1 << 20))
    assert len(found) == 3 and all(raw.kind == "row" for raw in found)


CR = [("jsonl", "\n"), ("csv", "\r\n")]


@pytest.mark.parametrize("reader, end", CR)
@pytest.mark.parametrize("other", ["\r", "\r\n", "\n"])
def test_every_spelling_of_a_line_end(reader, end, other):
    read, write = READERS[reader]
    assert [raw.body["text"] for raw in read(write(KOREAN).replace(end, other).encode())] == [
        said(row, reader) for row in KOREAN
    ]


FILES = Path(__file__).parents[4].parent / "shared" / "faults" / "inputs"


@pytest.mark.skipif(not FILES.is_dir(), reason="../shared/faults is not beside this checkout")
@pytest.mark.parametrize(
    "name, starts",
    [
        ("12-cp949.json", "맷돌은"),
        ("12-utf16.jsonl", "맷돌은"),
        ("u1-utf16le-no-mark.txt", "The millstone"),
        ("u2-iso2022kr.txt", "맷돌은"),
    ],
)
def test_the_files_that_were_met(name, starts):
    for raw in read_file(File(name, str(FILES / name), 0, ""), 1 << 20):
        text = raw.body["text"] if raw.kind == "row" else texts.read(raw).values["text"]
        assert raw.reason is None and "\ufffd" not in text and "\0" not in text and len(text) > 10
