"""Elements of a page, whichever tree they are of: a walk over those that matter, and those that have an attribute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def walk(root: Any, nodes: Callable[[Any], Iterable[int]]) -> Any:
    """Events (`start` or `end`, element) in document order; `skip_subtree()` passes what is below the element just started.

    Of a flat tree (`flat.element`) only `nodes(root)` are met; of the other all are, which the caller must pass over.
    """
    if (flat := getattr(root, "walk", None)) is not None:
        return flat(nodes(root))
    from lxml import etree

    return etree.iterwalk(root, events=("start", "end"))


def having(root: Any, attribute: str, part: str = "") -> Iterable[Any]:
    """`root` and elements below it that have the attribute, with `part` (in small letters) in its value, in document order."""
    if (flat := getattr(root, "having", None)) is not None:
        return flat(attribute, part)
    return (each for each in root.xpath(f"descendant-or-self::*[@{attribute}]") if part in each.get(attribute).lower())


def attributes(root: Any, tag: str) -> list[Mapping[str, str]]:
    """The attributes of each element of this name at or below `root`, in document order."""
    if (flat := getattr(root, "attributes", None)) is not None:
        return flat(tag)
    return [dict(element.attrib) for element in root.iter(tag)]
