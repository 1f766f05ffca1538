"""The main text of a page: by the learnt extractor (`main`, also called `learned`) or all of it from the flat tree; by trafilatura or
Resiliparse from lxml's.

With `trafilatura`, Resiliparse's main content is taken where trafilatura finds less than half of it: its fast cascade is precise on
articles and manuals but returns a fraction of forum threads, listings and shop pages. What each finds on annotated pages stands in
`tests/bench/ingest`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from stages.ingest.flat import render as flat
from stages.ingest.flat.tree import Flat
from stages.ingest.html import headings, lists, thread
from stages.ingest.html.render import Rendered, render
from stages.ingest.html.tree import Tree, parse
from stages.ingest.metadata.items import StructuredItem
from stages.ingest.metadata.letters import letters_of

Extract = Literal["main", "learned", "trafilatura", "resiliparse", "all"]

COVERS = 0.5
"""Share of Resiliparse's main content below which trafilatura's text counts as too little."""
MAX_NODES = 50_000
"""Elements from which trafilatura is not asked: it is quadratic in siblings (70 s for 200,000 in one parent)."""


MAX_WEIGHT = 4_000_000
"""Sum of all elements' depths from which neither library is asked: both climb to the root from every element (4 s for
10,000 elements 200 deep). 200,000 elements at a usual depth of 20 are still read by Resiliparse."""
FURNITURE = frozenset("nav header footer aside form menu".split())
"""Left out where a page is too heavy for the libraries and is read straight through."""
MAX_TABLES = 16
"""Tables inside tables from which trafilatura is not asked: it walks all of a table once for every table around it. Pages
laid out in tables nest them six or eight deep."""


class Main(NamedTuple):
    rendered: Rendered
    by: str
    """`learned`, `trafilatura`, `resiliparse`, `all`, `thread` for the posts of a discussion, `plain` for what was too heavy for trafilatura and
    Resiliparse, or `stated` for an `articleBody` of a page that shows no text."""


def extract(
    tree: Tree,
    mode: Extract = "trafilatura",
    comments: bool = True,
    items: Sequence[StructuredItem] = (),
    headed: bool = True,
) -> Main:
    """What `trafilatura` and `resiliparse` read, with its blocks; empty text where there is none. `items` are the page's own, to know a thread by;
    `headed` puts headings back that trafilatura left out."""
    main = _extract(tree, mode, comments, headed)
    if mode == "trafilatura" and comments and (posts := thread.read(tree.body, items, main.rendered)) is not None:
        return Main(posts, "thread")
    return main


def _extract(tree: Tree, mode: Extract, comments: bool, headed: bool) -> Main:
    if tree.weight > MAX_WEIGHT:
        return Main(render(tree.body, skip=FURNITURE), "plain")
    rough = resiliparse(tree)
    if mode == "resiliparse":
        return Main(rough, "resiliparse")
    if tree.nodes <= MAX_NODES and _nesting(tree.root, "table") <= MAX_TABLES:
        fine = _trafilatura(tree, comments)
        if fine.text and "\n" not in fine.text and _same(fine, whole := render(tree.body, skip=FURNITURE - {"menu"})):
            return Main(whole, "trafilatura")  # it kept every word and no line
        if fine.text and (len(fine.text) >= COVERS * len(rough.text) or len(fine.text) > len(rough.text)):
            return Main(headings.restored(fine, rough) if headed else fine, "trafilatura")
    return Main(rough, "resiliparse")


def _same(one: Rendered, other: Rendered) -> bool:
    return letters_of(one.text, one.marks)[0] == letters_of(other.text, other.marks)[0]


def _nesting(root: Any, tag: str) -> int:
    """How many `tag` stand inside each other at most."""
    from lxml import etree

    depth = most = 0
    for event, _ in etree.iterwalk(root, events=("start", "end"), tag=tag):
        depth += 1 if event == "start" else -1
        most = max(most, depth)
    return most


def _trafilatura(tree: Tree, comments: bool) -> Rendered:
    """trafilatura's body (and comments) rendered here, so that blocks and text are one. Empty where it finds nothing."""
    from trafilatura import bare_extraction

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    try:
        found = bare_extraction(_as_html(tree.root), fast=True, include_comments=comments, with_metadata=False)
    except (RecursionError, ValueError, TypeError, AttributeError, KeyError, IndexError, AssertionError):
        # Odd trees raise inside the library; the page is then read the other way, and nothing is lost.
        return Rendered("")
    if found is None or found.body is None:
        return Rendered("")
    body = found.body
    if found.commentsbody is not None and len(found.commentsbody):
        body.extend(list(found.commentsbody))
    return render(body)


def _as_html(root: Any) -> Any:
    """A copy, since trafilatura prunes what it is given; every `pre` in it is plain code, which trafilatura knows as such, and
    every summary a paragraph.

    Left as they are, preformatted blocks come back as quotations with their line ends gone.
    """
    from copy import deepcopy

    copied = deepcopy(root)
    lists.plain(copied)
    for summary in copied.iter("summary"):
        summary.tag = "p"  # trafilatura drops what it does not know, and with it the questions of a page of details
    for block in list(copied.iter("pre", "listing", "xmp")):
        if any(above.tag in ("pre", "listing", "xmp") for above in block.iterancestors()):
            continue
        for line in block.iter("br"):
            line.tail = "\n" + (line.tail or "")
        words, tail = "".join(block.itertext()), block.tail
        block.clear()
        block.tag, block.tail = "pre", tail
        block.append(block.makeelement("code"))
        block[0].text = words
    return copied


def of_elements(
    tree: Flat, mode: Extract, comments: bool = True, markdown: bool = False, extractor: str | None = None
) -> Main:
    """What the other readings take of a flat tree: the blocks that the model in the file `extractor`, or the shipped one, takes for main
    text; or, with `all`, all that is shown."""
    from stages.ingest.extractor.model import chosen, load

    kept = None if mode == "all" else chosen(tree, load(extractor), comments)
    return Main(flat.render(tree, kept, markdown=markdown), "all" if mode == "all" else "learned")


def resiliparse(tree: Tree) -> Rendered:
    """Resiliparse's main content as a small tree, rendered here. It reads the bounded tree, not the source."""
    from lxml import etree
    from resiliparse.extract.html2text import extract_plain_text

    source = etree.tostring(lists.deepened(tree.root), encoding="unicode", method="html")
    kept = extract_plain_text(source, main_content=True, preserve_formatting="minimal_html", alt_texts=False)
    small = parse(kept) if kept.strip() else None
    return render(small.body) if small is not None else Rendered("")
