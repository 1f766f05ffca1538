"""Lists of a page: every word once, an item a line, whichever way the page is read."""

from __future__ import annotations

import pytest

from stages.ingest.html import lists
from stages.ingest.html.tree import parse

MODES = ("main", "trafilatura", "all", "resiliparse")
ITEMS = (
    "One thing to do in the morning before the mill is started",
    "Another thing to do at noon while the stones are turning",
    "A last thing to do in the evening after the mill is stopped",
)
SHAPES = {
    "ul": "<ul>{}</ul>", "ol": "<ol>{}</ol>", "menu": "<menu>{}</menu>", "li alone": "{}", "div of li": "<div>{}</div>", "nested": "<ul><li>Head of the inner list of things<ul>{}</ul></li></ul>",
    "ul in ul": "<ul><ul>{}</ul></ul>", "ul in table": "<table><tr><td><ul>{}</ul></td></tr></table>",
}  # fmt: skip
FILLS = {
    "plain": "<li>{}</li>",
    "paragraphs": "<li><p>{}</p></li>",
    "unclosed": "<li>{}",
    "bold": "<li>{}</li>",
    "divs": "<li><div>{}</div></li>",
    "spans": "<li><span>{}</span></li>",
}


def check(text: str) -> None:
    lines = [line.strip() for line in text.split("\n")]
    for item in ITEMS:
        assert text.count(item) == 1, (item, text)
        assert sum(line.endswith(item) and len(line) <= len(item) + 4 for line in lines) == 1, (item, text)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_items_of_a_list_in_an_article(page, prose, mode, fill, shape):
    listed = SHAPES[shape].format("".join(FILLS[fill].format(item) for item in ITEMS))
    check(
        page(
            f"<html><body><article><h1>List</h1><p>{prose(4)}</p>{listed}<p>{prose(6)}</p></article></body></html>",
            mode,
        ).values["text"]
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_page_that_is_a_list(page, mode, shape):
    check(page(SHAPES[shape].format("".join(f"<li>{item}</li>" for item in ITEMS)), mode).values["text"])


@pytest.mark.parametrize("mode", MODES)
def test_other_lists(page, prose, mode):
    terms = "<dl>" + "".join(f"<dt>Term {n} of the list</dt><dd>{item}</dd>" for n, item in enumerate(ITEMS)) + "</dl>"
    text = page(f"<article><p>{prose(4)}</p>{terms}<p>{prose(6)}</p></article>", mode).values["text"]
    check(text)
    assert all(text.count(f"Term {n} of the list") == 1 for n in range(3))
    text = page(terms, mode).values["text"]
    check(text)
    beside = (
        "<ul>Words before the first item" + "".join(f"<li>{item}</li>" for item in ITEMS) + "</ul>Words behind the list"
    )
    text = page(f"<body>{beside}</body>", mode).values["text"]
    check(text)
    assert text.count("Words before the first item") == 1 and text.count("Words behind the list") == 1


@pytest.mark.parametrize("mode", MODES)
def test_links_between_paragraphs_are_part_of_the_text_and_a_menu_is_not(page, prose, mode):
    links = "<ul>" + "".join(f'<li><a href="/{n}">Link {n} of three</a></li>' for n in range(3)) + "</ul>"
    text = page(
        f"<nav>{links.replace('Link', 'Place')}</nav><article><p>{prose(4)}</p>{links}<p>{prose(6)}</p></article>", mode
    ).values["text"]
    assert [line for line in text.split("\n") if "of three" in line and "Place" not in line] == [
        f"- Link {n} of three" for n in range(3)
    ]
    assert mode == "all" or "Place" not in text


def test_prose_of_lists():
    links = "<ul><li><a href=a>Link one</a></li></ul>"
    words = "<p>" + "words of a paragraph " * 5 + "</p>"

    def found(source: str) -> list[bool]:
        return [links for _, links in lists.prose(parse(source).body)]

    assert (
        found(f"{links}{words}") == []
        and found(f"{words}{links}{words}") == [True]
        and found(f"<nav>{words}<ul><li>a</ul>{words}</nav>") == []
    )
    assert found("<ul><li>much more than the <a href=a>link</a></li></ul>") == [False]
