"""Pages for the rules: blocks are placed by their text, so that tests read like the page they describe."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def page_row():
    """`page_row(text, blocks=[(kind, text[, group[, level]])], **columns)` -> a DOCUMENT row as a dict.

    A block stands where its text first occurs behind the block before it; one that does not occur has no position.
    """
    from pipeline.schema import DOCUMENT, doc_id

    def make(text: str, blocks: list[tuple] = (), **columns: Any) -> dict[str, Any]:
        listed, cursor = [], 0
        for kind, piece, *rest in blocks:
            group, level = (*rest, None, None)[:2]
            at = text.find(piece, cursor)
            at = text.find(piece) if at < 0 else at
            span = (at, at + len(piece)) if at >= 0 else (None, None)
            cursor = span[0] if at >= 0 else cursor
            listed.append(
                {"kind": kind, "text": piece, "start": span[0], "end": span[1], "level": level, "group": group}
            )
        row = dict.fromkeys(DOCUMENT.names) | {"text": text, "blocks": listed, "source": "test", "meta": []}
        row["id"] = columns.pop("id", None) or doc_id("test", columns.get("url") or text[:50])
        return row | columns

    return make


@pytest.fixture(scope="session")
def mined(page_row):
    """`mined(rule, text, blocks, options={}, **columns)` -> (rows, drop reasons) of one rule over one page.

    Every row is held to its provenance here: where it has a span, the answer is what stands there.
    """
    from stages.sft import rule_of
    from stages.sft.mine import mine

    def run(
        rule: str, text: str, blocks: list[tuple] = (), options: dict | None = None, seed: int = 17, **columns: Any
    ):
        row = page_row(text, blocks, **columns)
        found = mine([rule_of(rule, options or {})], row, seed)
        for made in found.rows:
            assert made["rule"] == rule and made["doc_id"] == row["id"]
            if made["span_start"] is not None:
                assert text[made["span_start"] : made["span_end"]] == made["messages"][1]["content"]
        return found.rows, found.drops

    return run


@pytest.fixture(scope="session")
def said():
    """`said(row)` -> (instruction, answer) of a CHAT row."""
    return lambda row: tuple(message["content"] for message in row["messages"])


@pytest.fixture(scope="session")
def fact():
    """`fact(row, key)` -> value of a row's meta, or None."""
    return lambda row, key: next((item["value"] for item in row["meta"] if item["key"] == key), None)
