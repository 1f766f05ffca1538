"""Files that are one document."""

from __future__ import annotations

import pytest

from stages.ingest.readers.texts import docstrings, read
from stages.ingest.row import Raw

SOURCE = '''"""Module words.

More of them.
"""
import os
raise SystemExit("never run")

class Mill:
    """A mill.

    >>> Mill()
    """
    def turn(self):
        """Turn it."""
        def inner():
            """not public"""
    def _hidden(self):
        """no"""

async def grind():
    "Grind."
'''


def test_docstrings_are_read_and_nothing_is_run():
    text, spans = docstrings(SOURCE)
    assert (
        text
        == "Module words.\n\nMore of them.\n\nMill\n\nA mill.\n\n>>> Mill()\n\nMill.turn\n\nTurn it.\n\ngrind\n\nGrind."
    )
    shown = [(span.kind, span.level, text[span.start : span.end]) for span in spans]
    assert [s for s in shown if s[0] == "heading"] == [
        ("heading", 2, "Mill"),
        ("heading", 3, "Mill.turn"),
        ("heading", 2, "grind"),
    ]
    assert ("code", None, ">>> Mill()") in shown and ("paragraph", None, "More of them.") in shown


@pytest.mark.parametrize("source", ["def broken(:", "x = 1", "\0", "(" * 2000])
def test_sources_without_docstrings_or_sense(source):
    assert docstrings(source) == ("", [])
    assert read(Raw("python", "", source.encode())).reason in ("ingest.no_main_text", "ingest.empty")


def test_markdown_in_cp949_with_windows_line_ends():
    document = read(Raw("markdown", "", "# 맷돌\r\n\r\n곡식을 가는 돌이다. 아침마다 돌린다.\r\n".encode("cp949")))
    values = document.values
    assert values["text"] == "# 맷돌\n\n곡식을 가는 돌이다. 아침마다 돌린다.\n" and values["title"] == "맷돌"
    assert [(b["kind"], b["text"]) for b in values["blocks"]] == [
        ("heading", "맷돌"),
        ("paragraph", "곡식을 가는 돌이다. 아침마다 돌린다."),
    ]


def test_rst_definitions_are_grouped_blocks():
    values = read(Raw("rst", "", b"Words\n=====\n\nquern\n    a hand mill\n")).values
    assert [(b["kind"], b["text"], b["group"]) for b in values["blocks"] if b["group"] is not None] == [
        ("term", "quern", 0),
        ("definition", "a hand mill", 0),
    ]


def test_plain_text_is_kept_as_it_is_but_for_nfc_and_the_ends_of_lines():
    assert read(Raw("text", "", "e\u0301 <p>\n\n x ".encode())).values["text"] == "é <p>\n\n x"
    assert read(Raw("text", "", b" \n")).reason == "ingest.empty"
    assert read(Raw("text", "", "글자 깨진 자리".encode() * 20 + b"\xff")).note.startswith("ingest.bad_utf8")
