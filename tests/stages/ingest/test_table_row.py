"""A structured row keeps its text; known columns find their field, all others go into meta."""

from __future__ import annotations

from datetime import datetime

import pytest

from stages.ingest.row import Raw
from stages.ingest.table_row import own_id, read


def made(row: dict, **columns: str):
    return read(Raw("row", "line:1", row), columns)


def test_known_and_unknown_columns():
    document = made(
        {"id": 7, "text": " e\u0301\r\n한글 ", "title": "T", "language": "ko-KR", "license": "MIT License", "timestamp": datetime(2024, 5, 6),
         "url": "http://x.example", "score": 0.5, "tags": ["가", None], "none": None, "site": "5"}
    )  # fmt: skip
    values = document.values
    assert values["text"] == " é\n한글" and (values["title"], values["lang"], values["licence"]) == ("T", "ko", "MIT")
    assert values["date"] == "2024-05-06T00:00:00" and values["url"] == "http://x.example"
    assert values["meta"] == [
        {"key": "id", "value": "7", "type": "json"}, {"key": "score", "value": "0.5", "type": "json"},
        {"key": "tags", "value": '["가", null]', "type": "json"}, {"key": "site", "value": "5", "type": None},
    ]  # fmt: skip


def test_a_column_map():
    document = made({"body": "words", "text": "other", "headline": "H"}, text="body", title="headline")
    assert document.values["text"] == "words" and document.values["title"] == "H"
    assert (
        own_id({"uid": "a"}, {"id": "uid"}) == "a"
        and own_id({"id": True}, {}) is None
        and own_id({"id": ""}, {}) is None
    )


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"body": "x"}, "ingest.wrong_columns"),
        ({"text": None}, "ingest.null_text"),
        ({"text": 5}, "ingest.wrong_columns"),
        ({"text": ["a"]}, "ingest.wrong_columns"),
        ({"text": " \n"}, "ingest.empty"),
    ],
)
def test_reasons(row, reason):
    assert made(row).reason == reason


def test_nothing_is_dropped_for_being_short_and_half_a_pair_of_surrogates_is_repaired():
    assert made({"text": "x"}).values["text"] == "x"
    assert made({"text": "a\ud800b", "k": "\udfff"}).values["text"] == "a\ufffdb"


@pytest.mark.parametrize(
    "value, said",
    [
        (float("nan"), None),
        (float("inf"), None),
        ({"b": [1, float("nan")], "a": True}, '{"a": true, "b": [1, null]}'),
        ({"a": "\ud800"}, '{"a": "\ufffd"}'),
        (False, "false"),
    ],
)
def test_meta_is_canonical_json(value, said):
    entries = made({"text": "x", "k": value}).values["meta"]
    assert entries == ([] if said is None else [{"key": "k", "value": said, "type": "json"}])
