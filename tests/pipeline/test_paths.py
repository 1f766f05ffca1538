"""A path leads to what stands there, and nowhere where nothing does."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.paths import number, parsed, values_at, word
from pipeline.schema import META

ENTRIES = [
    {"key": "score", "value": "0.5", "type": "json"},
    {"key": "site", "value": "a.example", "type": None},
    {"key": "author", "value": '{"name": "김", "tags": ["a", {"x": 1}]}', "type": "json"},
    {"key": "author.born", "value": "1950", "type": "json"},
    {"key": "tags", "value": "[1, null, 3]", "type": "json"},
    {"key": "broken", "value": '{"a": "<EMAIL>', "type": "json"},
    {"key": "text that is JSON", "value": "[1]", "type": None},
]
ROWS = pa.table({
    "lang": ["ko", None], "meta": pa.array([ENTRIES, None], META),
    "deep": pa.array([{"a": [{"b": 1}]}, None], pa.struct([("a", pa.list_(pa.struct([("b", pa.int64())])))])), "a.b": [7, 8],
})  # fmt: skip


@pytest.mark.parametrize(
    "path, expected",
    [
        ("lang", "ko"), ("meta.score", 0.5), ("meta.site", "a.example"), ("meta.author.name", "김"), ("meta.author.tags[0]", "a"),
        ("meta.author.tags[1].x", 1), ("meta.author.born", 1950), ("meta.tags[-1]", 3), ("meta.tags[1]", None), ("meta.tags[9]", None),
        ("meta.tags.a", None), ("meta.none", None), ("meta.sco", None), ("meta.score.x", None), ("meta.broken", '{"a": "<EMAIL>'),
        ("meta.text that is JSON", "[1]"), ("meta.text that is JSON[0]", None), ("deep.a[0].b", 1), ("deep.a[0]", {"b": 1}), ("a.b", 7),
    ],
)  # fmt: skip
def test_values(path, expected):
    assert values_at(ROWS, path, "mix")[0] == expected
    assert path == "a.b" or values_at(ROWS, path, "mix")[1] is None


@pytest.mark.parametrize("path", ["none", "nome.x", "", ".lang", "[0]"])
def test_no_such_column(path):
    with pytest.raises(UsageError, match="mix: there is no column"):
        values_at(ROWS, path, "mix")


def test_numbers_and_groups():
    assert [number(v) for v in (1, 0.5, "2")] == [1.0, 0.5, 2.0] and all(
        math.isnan(number(v)) for v in (None, "x", [1], True, 10**400)
    )
    assert [word(v) for v in ("a", None, 3, True, [1, "가"])] == ["a", None, "3", "true", '[1, "가"]']
    assert parsed({"key": "of before", "value": "1"}) == "1"


def test_inspect_shows_paths_alone(make_store, tmp_path, capsys):
    from pipeline.cli import cli

    meta = [[{"key": "author", "value": '{"name": "Ada"}', "type": "json"}], None]
    make_store(tmp_path / "s", ["one", "two"], meta=meta)
    assert cli.main(["inspect", str(tmp_path / "s"), "--columns", "text,meta.author.name"], standalone_mode=False) == 0
    shown = capsys.readouterr().out
    assert "Ada" in shown and "two" in shown and "content_id" not in shown
    with pytest.raises(UsageError, match="inspect: there is no column 'txt'"):
        cli.main(["inspect", str(tmp_path / "s"), "--columns", "txt"], standalone_mode=False)
