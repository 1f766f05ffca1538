"""Elements of a flat tree as readers of the other tree know them: names, attributes, children, text, and a walk over what is below.

As much of lxml's interface as the readers of items, structure, cards, licences and signals use, so that one parse serves them all.
An element is a number in the arrays: two of the same number are equal.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stages.ingest.flat.names import ATTRIBUTE, TAG, TEXT, table_of
from stages.ingest.flat.render import Rendered, render, shown
from stages.ingest.flat.tree import Flat, children, name, value, words


class Element:
    __slots__ = ("node", "tree")

    def __init__(self, tree: Flat, node: int = 0) -> None:
        self.tree, self.node = tree, node

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
        found = value(self.tree, self.node, attribute) if attribute in ATTRIBUTE else None
        return default if found is None else found

    def find(self, tag: str) -> Element | None:
        """The first element of this name right below."""
        return next((child for child in self if child.tag == tag), None)

    def iter(self, *tags: str) -> Iterator[Element]:
        """This element and all below it of these names, or of any."""
        inside = self.tree.tag[self.node : self.tree.end[self.node]]
        found = np.isin(inside, [TAG[tag] for tag in tags if tag in TAG]) if tags else inside != TEXT
        return (Element(self.tree, at) for at in (np.flatnonzero(found) + self.node).tolist())

    def itertext(self) -> Iterator[str]:
        """All text below, scripts and styles included."""
        inside = np.flatnonzero(self.tree.tag[self.node : self.tree.end[self.node]] == TEXT) + self.node
        return (words(self.tree, at) for at in inside.tolist())

    def has(self, attribute: str) -> bool:
        """Has any element of the page this attribute?"""
        return bool((self.tree.attribute == ATTRIBUTE[attribute]).any())

    def walk(self) -> Walk:
        return Walk(self)

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
    """Events (`start` or `end`, element) in document order; what is below the element just started may be skipped."""

    def __init__(self, root: Element) -> None:
        self.tree, self.at, self.last = root.tree, root.node, int(root.tree.end[root.node])
        self.open: list[int] = []

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> tuple[str, Element]:
        tree = self.tree
        while self.at < self.last and tree.tag[self.at] == TEXT and not self._ends():
            self.at += 1
        if self._ends():
            return "end", Element(tree, self.open.pop())
        if self.at >= self.last:
            raise StopIteration
        node = self.at
        self.open.append(node)
        self.at += 1
        return "start", Element(tree, node)

    def _ends(self) -> bool:
        return bool(self.open) and int(self.tree.end[self.open[-1]]) <= self.at

    def skip_subtree(self) -> None:
        if self.open:
            self.at = int(self.tree.end[self.open[-1]])
