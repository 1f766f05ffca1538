"""A command that keeps nothing says why and what to set, and fails unless that is allowed."""

from __future__ import annotations

import json

import pytest

from pipeline.cli import cli

WRONG = [{"body": "words", "headline": "H"}]
ALPACA = [{"instruction": "Ask", "input": "", "output": "Answer"}]


@pytest.mark.parametrize("rows, flags, code, says", [
    (WRONG, [], 1, ["ingest.wrong_columns", "no column 'text' among: body, headline", "--columns '{text: body}'"]),
    (WRONG, ["--allow-empty"], 0, []),
    (WRONG, ["--columns", "{text: body}"], 0, []),
    (ALPACA, [], 1, ["--as chat"]),
    (ALPACA, ["--as", "chat"], 0, []),
])  # fmt: skip
def test_nothing_kept(tmp_path, capsys, rows, flags, code, says):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (
        cli.main(["ingest", str(tmp_path / "a.jsonl"), str(tmp_path / "out"), "-q", *flags], standalone_mode=False)
        == code
    )
    said = capsys.readouterr().err
    assert all(word in said for word in says)
