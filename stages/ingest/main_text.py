"""The main text of a page: trafilatura first, Resiliparse where trafilatura finds little, the whole page on request.

Measured on 228 annotated pages of seven kinds (WCXB development sample, word F1 / must-have snippets / must-not): see
`tests/bench/ingest`. trafilatura's fast cascade is the most precise on articles and manuals but returns a fraction of
forum threads, listings and shop pages; Resiliparse's main content finds those and costs a twentieth. Where the first
covers less than half of the second, the second is taken.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, NamedTuple

from stages.ingest.render import Rendered, render
from stages.ingest.tree import Tree, parse

Extract = Literal["main", "all", "resiliparse"]

COVERS = 0.5
"""Share of Resiliparse's main content below which trafilatura's text counts as too little."""
MAX_NODES = 50_000
"""Elements from which trafilatura is not asked: it is quadratic in siblings (70 s for 200,000 in one parent)."""


class Main(NamedTuple):
    rendered: Rendered
    by: str
    """`trafilatura`, `resiliparse` or `all`."""


def extract(tree: Tree, mode: Extract = "main", comments: bool = True) -> Main:
    """Main text of a page with its blocks; empty text where there is none."""
    if mode == "all":
        return Main(render(tree.body), "all")
    rough = _resiliparse(tree)
    if mode == "resiliparse":
        return Main(rough, "resiliparse")
    if tree.nodes <= MAX_NODES:
        fine = _trafilatura(tree, comments)
        if fine.text and len(fine.text) >= COVERS * len(rough.text):
            return Main(fine, "trafilatura")
        if len(fine.text) > len(rough.text):
            return Main(fine, "trafilatura")
    return Main(rough, "resiliparse")


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
    """A copy: trafilatura prunes the tree it is given."""
    from copy import deepcopy

    return deepcopy(root)


def _resiliparse(tree: Tree) -> Rendered:
    """Resiliparse's main content as a small tree, rendered here. It reads the bounded tree, not the source."""
    from lxml import etree
    from resiliparse.extract.html2text import extract_plain_text

    source = etree.tostring(tree.root, encoding="unicode", method="html")
    kept = extract_plain_text(source, main_content=True, preserve_formatting="minimal_html", alt_texts=False)
    small = parse(kept) if kept.strip() else None
    return render(small.body) if small is not None else Rendered("")
