"""Lists of prose, as the extractors must meet them to keep them.

trafilatura takes a list of links for a menu, and Resiliparse drops every `ul` less than four levels below the body. Here a
list is prose where fewer than half of its letters are links, or where it stands between two paragraphs.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from stages.ingest.html.structure import BOILERPLATE

LEVELS = 4
"""Levels below the body from which Resiliparse keeps a `ul`."""
PARAGRAPH = 60
"""Letters of a paragraph beside a list of links that make it part of a text."""
BLOCKS = ("p", "div", "ul", "ol", "dl", "table", "pre", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6")
LIST = ("ul", "ol", "menu")


def prose(root: Any) -> Iterator[tuple[Any, bool]]:
    """Outermost lists that are prose, and whether each is one of links between paragraphs."""
    from lxml import etree

    walk = etree.iterwalk(root, events=("start",))
    for _, element in walk:
        if element.tag in BOILERPLATE or element.tag == "header":
            walk.skip_subtree()
        elif element.tag in LIST:
            walk.skip_subtree()
            linked, letters = _letters(element)
            between = _is_paragraph(element.getprevious()) and _is_paragraph(element.getnext())
            if letters and (between or 2 * linked < letters):
                yield element, between and 2 * linked >= letters


def _letters(element: Any) -> tuple[int, int]:
    """Letters inside links, and all."""
    linked = sum(len("".join(link.itertext())) for link in element.iter("a"))
    return linked, sum(len(words.strip()) for words in element.itertext())


def _is_paragraph(element: Any) -> bool:
    return element is not None and element.tag == "p" and len("".join(element.itertext()).strip()) >= PARAGRAPH


def plain(root: Any) -> None:
    """Lists below `root` in the form that trafilatura knows: `ul` for `menu` and for items without a list, words for the links
    of lists between paragraphs, and no table around a single cell."""
    for found, links in list(prose(root)):
        if links:
            _unlink(found)
    for item in list(root.iter("menu", "dir", "li", "table")):
        if item.tag in ("menu", "dir"):
            item.tag = "ul"
        elif item.tag == "table":
            _uncell(item)
        elif item.getparent() is not None and item.getparent().tag not in (*LIST, "dir"):
            _gather(item)


def _gather(item: Any) -> None:
    """An item without a list and those that follow it at once get one."""
    listing = item.makeelement("ul")
    item.addprevious(listing)
    while item is not None and item.tag == "li":
        after = item.getnext() if not (item.tail or "").strip() else None
        if after is None:
            listing.tail, item.tail = item.tail, None
        listing.append(item)
        item = after


def _uncell(table: Any) -> None:
    cells = [cell for _, cell in zip(range(2), table.iter("td", "th"))]
    if len(cells) == 1:
        part = cells[0]
        while part is not table:
            part.tag, part = "div", part.getparent()
        table.tag = "div"


def deepened(root: Any) -> Any:
    """`root`, or a copy in which lists of prose that stand high in the page are put LEVELS below the body, without links, and
    entries of definition lists, which Resiliparse writes without tags, are paragraphs."""
    if next(prose(root), None) is None and next(root.iter("dl"), None) is None:
        return root
    copied = deepcopy(root)
    for entry in list(copied.iter("dt", "dd")):
        if not any(True for _ in entry.iter(*BLOCKS)):
            entry.tag = "p"
    for found, links in list(prose(copied)):
        if links:
            _unlink(found)
        above = sum(
            1 for _, parent in zip(range(LEVELS + 2), found.iterancestors()) if parent.tag not in ("body", "html")
        )
        for _ in range(LEVELS - 1 - above):
            _wrap(found)
    return copied


def _unlink(listing: Any) -> None:
    for link in list(listing.iter("a")):
        link.tag = "span"


def _wrap(element: Any) -> None:
    frame = element.makeelement("div")
    frame.tail, element.tail = element.tail, None
    element.getparent().replace(element, frame)
    frame.append(element)
