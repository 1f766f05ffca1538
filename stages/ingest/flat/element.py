"""Elements of a flat tree as readers of the other tree know them: names, attributes, children, text, and a walk over what is below.

As much of lxml's interface as the readers of items, structure, cards, licences and signals use, so that one parse serves them all.
An element is a number in the arrays: two of the same number are equal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import numpy as np

from stages.ingest.flat.find import having, holding
from stages.ingest.flat.names import ATTRIBUTES, TEXT, table_of
from stages.ingest.flat.render import Rendered, render, shown
from stages.ingest.flat.tree import Flat, children, elements, name, spans_of, text_at, words


class Element:
    __slots__ = ("node", "spans", "tree")

    def __init__(self, tree: Flat, node: int = 0) -> None:
        self.tree, self.node = tree, node
        self.spans: dict[str, tuple[int, int]] | None = None
        """Where the value of each of its attributes stands in the arena; taken with the first that is read."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Element) and self.node == other.node and self.tree is other.tree

    def __hash__(self) -> int:
        return hash((id(self.tree), self.node))

    def __iter__(self) -> Iterator[Element]:
        """Elements right below."""
        return (Element(self.tree, at) for at in children(self.tree, self.node) if self.tree.tag[at] != TEXT)

    @property
    def tag(self) -> str:
        """The name in small letters; empty where it is in no table."""
        return name(self.tree, self.node)

    def get(self, attribute: str, default: str | None = None) -> str | None:
        """An attribute's value; attributes that are in no table (`names.ATTRIBUTES`) are not there."""
        if self.spans is None:
            self.spans = spans_of(self.tree, self.node)
        span = self.spans.get(attribute)
        return default if span is None else text_at(self.tree, *span)

    def find(self, tag: str) -> Element | None:
        """The first element of this name right below."""
        return next((child for child in self if child.tag == tag), None)

    def iter(self, *tags: str) -> Iterator[Element]:
        """This element and all below it of these names, or of any."""
        found = elements(self.tree, *tags, low=self.node, high=int(self.tree.end[self.node]))
        return (Element(self.tree, at) for at in found)

    def having(self, attribute: str, part: str = "") -> Iterator[Element]:
        """This element and those below it that have the attribute, with `part` (in small letters) in its value."""
        found = holding(self.tree, attribute, part) if part else having(self.tree, attribute)
        return (Element(self.tree, at) for at in found.tolist() if self.node <= at < self.tree.end[self.node])

    def attributes(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of this name at or below it, those that are in no table aside, in document order."""
        tree = self.tree
        found = elements(tree, tag, low=self.node, high=int(tree.end[self.node]))
        if not found:
            return []
        first, last = tree.first[found], tree.last[found]
        low, high = int(first[0]), int(last[-1])
        names, begins, stops = (array[low:high].tolist() for array in (tree.attribute, tree.begin, tree.stop))
        view = tree.data.data
        return [
            {ATTRIBUTES[names[at]]: str(view[begins[at] : stops[at]], "utf-8", "replace") for at in range(one, other)}
            for one, other in zip((first - low).tolist(), (last - low).tolist())
        ]

    def itertext(self) -> Iterator[str]:
        """All text below, scripts and styles included."""
        inside = np.flatnonzero(self.tree.tag[self.node : self.tree.end[self.node]] == TEXT) + self.node
        return (words(self.tree, at) for at in inside.tolist())

    def walk(self, nodes: Iterable[int]) -> Walk:
        """Events of those of `nodes` that stand at or below it."""
        return Walk(self.tree, sorted({at for at in nodes if self.node <= at < self.tree.end[self.node]}))

    def texts(self, without: str) -> list[str]:
        """Texts below, but for those inside elements of these names (parted by blanks)."""
        low, high = self.node, int(self.tree.end[self.node])
        return [
            words(self.tree, at)
            for at in (np.flatnonzero(shown(self.tree, table_of(without), low, high)) + low).tolist()
        ]

    def rendered(self, omit: Element | None = None) -> Rendered:
        """Its text as it is shown, without the element `omit` in it."""
        if omit is None:
            return render(self.tree, node=self.node)
        chosen = np.zeros(len(self.tree.tag), np.bool_)
        low, high = self.node, int(self.tree.end[self.node])
        chosen[low:high] = shown(self.tree, low=low, high=high)
        chosen[omit.node : self.tree.end[omit.node]] = False
        return render(self.tree, chosen, self.node)


class Walk:
    """Events (`start` or `end`, element) of some elements in document order; what is below the one just started may be skipped."""

    def __init__(self, tree: Flat, nodes: list[int]) -> None:
        """`nodes` in ascending order."""
        self.tree, self.nodes, self.at = tree, nodes, 0
        self.ends: list[int] = tree.end[nodes].tolist()
        self.open: list[int] = []
        """Places in `nodes` of those that are open."""

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> tuple[str, Element]:
        last = self.at == len(self.nodes)
        if self.open and (last or self.ends[self.open[-1]] <= self.nodes[self.at]):
            return "end", Element(self.tree, self.nodes[self.open.pop()])
        if last:
            raise StopIteration
        self.open.append(self.at)
        self.at += 1
        return "start", Element(self.tree, self.nodes[self.at - 1])

    def skip_subtree(self) -> None:
        if self.open:
            self.at = bisect_left(self.nodes, self.ends[self.open[-1]], self.at)
