"""Structure of Markdown and reST sources: spans over the source as it stands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.ingest.html import outline

MARKDOWN = """---
layout: page
---
# 맷돌 #

First line
second line

Under
-----

- one
  more

  still one
* two

```python
x = 1

y = 2
```
> quoted
> words

| a | b |
|---|---|
| 1 | 2 |

    indented

***
last"""

RST = """======
Querns
======

Words that lead::

    code here

Part
----

quern
    a hand mill

    of stone

- one
- two

.. code-block:: python
   :linenos:

   x = 1

.. note:: careful

   the note

==== ====
A    B
==== ====
1    2
==== ====

>>> 1 + 1
2
"""


def shown(text, spans):
    return [(span.kind, span.level, text[span.start : span.end]) for span in spans]


def test_markdown():
    assert shown(MARKDOWN, outline.markdown(MARKDOWN)) == [
        ("heading", 1, "맷돌"), ("paragraph", None, "First line\nsecond line"), ("heading", 2, "Under"),
        ("list", None, "- one\n  more\n\n  still one\n* two"), ("code", None, "x = 1\n\ny = 2"), ("quote", None, "> quoted\n> words"),
        ("table", None, "| a | b |\n|---|---|\n| 1 | 2 |"), ("code", None, "    indented"), ("paragraph", None, "last"),
    ]  # fmt: skip


def test_rst():
    spans, groups = outline.rst(RST)
    assert shown(RST, spans) == [
        ("heading", 1, "Querns"), ("paragraph", None, "Words that lead::"), ("code", None, "    code here"), ("heading", 2, "Part"),
        ("paragraph", None, "quern\n    a hand mill\n\n    of stone"), ("list", None, "- one\n- two"), ("code", None, "   x = 1"),
        ("paragraph", None, "the note"), ("table", None, "==== ====\nA    B\n==== ====\n1    2\n==== ===="), ("code", None, ">>> 1 + 1\n2"),
    ]  # fmt: skip
    assert [[(fact.kind, fact.text) for fact in group.facts] for group in groups] == [
        [("term", "quern"), ("definition", "a hand mill\n\nof stone")]
    ]


def test_title_is_the_first_heading_near_the_top():
    assert outline.title(MARKDOWN, outline.markdown(MARKDOWN)) == "맷돌"
    late = "x\n" * 900 + "\n# Late\n"
    assert outline.title(late, outline.markdown(late)) is None


def test_an_unclosed_fence_reaches_to_the_end():
    text = "```\ncode\n\n# no heading"
    assert shown(text, outline.markdown(text)) == [("code", None, "code\n\n# no heading")]


LINES = st.lists(
    st.sampled_from(
        [
            "",
            "a b",
            "# h",
            "- x",
            "  y",
            "    z",
            "===",
            "---",
            "```",
            "> q",
            "| a | b |",
            "|--|--|",
            "x::",
            ".. y::",
            "+--+--+",
            "1. n",
            ">>> p",
        ]
    ),
    max_size=25,
)


@pytest.mark.parametrize("scan", [outline.markdown, lambda text: outline.rst(text)[0]])
@settings(deadline=None, max_examples=300)
@given(LINES)
def test_spans_are_of_the_text_apart_and_in_order(scan, lines):
    text = "\n".join(lines)
    last = 0
    for span in scan(text):
        assert last <= span.start < span.end <= len(text) and text[span.start : span.end].strip()
        last = span.end
