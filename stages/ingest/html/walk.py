"""A walk over a page's elements, whichever tree they are of."""

from __future__ import annotations

from typing import Any

from stages.ingest.flat.element import Element


def walk(root: Any) -> Any:
    """Events (`start` or `end`, element) in document order; `skip_subtree()` passes what is below the element just started."""
    from lxml import etree

    return root.walk() if isinstance(root, Element) else etree.iterwalk(root, events=("start", "end"))
