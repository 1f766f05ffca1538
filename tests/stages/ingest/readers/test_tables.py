"""CSV and TSV in any charset."""

from __future__ import annotations

import io

import pytest

from stages.ingest.readers.tables import read_csv
from stages.ingest.unpack import Unpacked


def csv_of(data: bytes, limit: int = 1 << 16, tabs: bool = False):
    return [(raw.locator, raw.reason or raw.body) for raw in read_csv(Unpacked(io.BytesIO(data)), limit, tabs)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_csv_charsets(encoding):
    data = '이름,본문\n하나,"여러 줄\n본문, 쉼표"\n둘,한국어로 쓴 글이다\n'.encode(encoding)
    assert csv_of(data) == [
        ("row:1", {"이름": "하나", "본문": "여러 줄\n본문, 쉼표"}),
        ("row:2", {"이름": "둘", "본문": "한국어로 쓴 글이다"}),
    ]


@pytest.mark.parametrize("data, tabs", [(b"a;b\n1;2\n", False), (b"a\tb\n1\t2\n", True), (b"a\tb\n1\t2\n", False)])
def test_other_marks(data, tabs):
    assert csv_of(data, tabs=tabs) == [("row:1", {"a": "1", "b": "2"})]


def test_rows_of_other_lengths_are_kept_and_noted():
    found = list(read_csv(Unpacked(io.BytesIO(b"a,b\n1\n1,2,3\n\n4,5\n")), 1 << 16))
    assert [raw.body for raw in found] == [{"a": "1"}, {"a": "1", "b": "2", "_3": "3"}, {"a": "4", "b": "5"}]
    assert [bool(raw.note) for raw in found] == [True, True, False]


def test_a_field_over_the_limit_is_a_row_and_reading_goes_on():
    found = csv_of(b'a,b\n1,"' + b"x" * 5000 + b'"\n2,ok\n', limit=1000)
    assert found[0] == ("row:1", "ingest.too_large") and found[-1][1] == {"a": "2", "b": "ok"}


@pytest.mark.parametrize("data", [b"\n", b" , \n1,2\n"])
def test_no_names_no_rows(data):
    assert csv_of(data) == [("", "ingest.empty")]
