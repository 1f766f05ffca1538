"""The measures of the extractors' benchmark on texts small enough to count by hand."""

from __future__ import annotations

from tests.bench.ingest.measures import Score, share, shingles, structure, words

MARKDOWN = """## A [linked](x) heading

- first **item**
- second item

| Name | Size |
| --- | --- |
| mill | 12 cm |

```
def f():
    return 1
```
"""


def test_words_and_shingles():
    assert words("a b c", "a b d d") == Score(4 / 7, 2 / 3, 2 / 4)
    assert words("", "") == Score(1, 1, 1) and words("", "a") == Score(0, 0, 0)
    assert shingles("a b c d e", "a b c d f") == Score(1 / 2, 1 / 2, 1 / 2)


def test_snippets():
    assert share(["a  b", "z"], "x a\nb") == 0.5 and share([], "x") is None


def test_structure_kept_and_on_lines():
    kept = "A linked heading\n- first item\nsecond item\nName | Size\nmill | 12 cm\ndef f():\n    return 1"
    found = structure(MARKDOWN, kept)
    assert {what: found[what] for what in ("headings", "items", "cells", "code")} == {
        "headings": 1,
        "items": 2,
        "cells": 4,
        "code": 2,
    }
    assert all(
        found[f"{what} kept"] == found[f"{what} on a line"] == found[what]
        for what in ("headings", "items", "cells", "code")
    )


def test_structure_that_ran_together_is_kept_and_on_no_line():
    found = structure(MARKDOWN, "A linked heading first item second item Name Size mill 12 cm def f(): return 1")
    assert all(
        found[f"{what} kept"] == found[what] and not found[f"{what} on a line"]
        for what in ("headings", "items", "cells", "code")
    )


def test_what_is_not_there_is_not_kept():
    found = structure(MARKDOWN, "another text")
    assert not any(count for name, count in found.items() if " " in name)
