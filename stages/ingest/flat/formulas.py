"""Formulas of a flat tree as TeX, each once, as `html.formulas` settles them in the other tree.

A node of text stands in the tree where the formula stood, with its TeX behind the arena's end; what shows it a second time is gone.
"""

from __future__ import annotations

import numpy as np

from stages.ingest.flat.find import having, holding
from stages.ingest.flat.names import ATTRIBUTE, TAG, TEXT, names_of
from stages.ingest.flat.tree import Flat, children, name, value, words
from stages.ingest.html.formulas import BEYOND, DEEPEST, FRAMES, LAYOUT, PICTURES, SHAPES

MATH, SCRIPT, IMG, SPAN, ANNOTATION, CONTAINER = (
    TAG[each] for each in ("math", "script", "img", "span", "annotation", "mjx-container")
)
STYLE = ATTRIBUTE["style"]
SAYS = LAYOUT | PICTURES | {"katex-display"}
"""Class words that say something of formulas."""
WORDS = names_of(tuple(sorted({word.lower() for word in SAYS})))
NEAR, WITHIN = 3, 64
"""Elements beside a layout, and nodes inside each of them, that are looked at for its source."""


def settled(tree: Flat) -> Flat:
    """The tree with a text of TeX for each of its formulas; the very tree given where it has none."""
    page = _Page(tree)
    passed = 0
    for at in page.candidates:
        if at >= passed:
            passed = page.settle(at)
    return page.made()


class _Page:
    def __init__(self, tree: Flat) -> None:
        self.tree = tree
        self.put: dict[int, bytes] = {}
        """TeX by node; empty where nothing is to stand."""
        self.math = np.flatnonzero(tree.tag == MATH)
        self.classes = self._classes()
        tex = [at for at in holding(tree, "type", "math/tex").tolist() if self.is_tex(at)]
        self.sources = {value(tree, at, "id") for at in tex}
        containers = np.flatnonzero(tree.tag == CONTAINER)
        self.candidates = sorted({*self.math.tolist(), *containers.tolist(), *tex, *self.classes})
        """Nodes that may be a formula, or one's layout."""

    def _classes(self) -> dict[int, set[str]]:
        """Class words by node, of nodes with one that says something of formulas."""
        found = {
            at: set((value(self.tree, at, "class") or "").split()) for at in having(self.tree, "class", WORDS).tolist()
        }
        return {at: given for at, given in found.items() if given & SAYS}

    def settle(self, at: int) -> int:
        """See to one node; the next one to be seen to."""
        tree, tag = self.tree, self.tree.tag[at]
        if tag == MATH:
            self._put(at, self.tex(at), self._is_display(at))
        elif self.is_tex(at):
            self._put(at, words(tree, at).strip(), "mode=display" in (value(tree, at, "type") or ""))
        elif tag == CONTAINER or not LAYOUT.isdisjoint(self.classes.get(at, ())):
            self._laid_out(at)
        elif tag == IMG and not PICTURES.isdisjoint(self.classes.get(at, ())):
            alternative = (value(tree, at, "alt") or "").strip()
            if alternative and not self._has_source_beside(at):
                self._put(at, alternative, "display" in " ".join(self.classes[at]))
        return int(tree.end[at]) if at in self.put else at + 1

    def is_tex(self, at: int) -> bool:
        return self.tree.tag[at] == SCRIPT and (value(self.tree, at, "type") or "").strip().lower().startswith(
            "math/tex"
        )

    def _is_display(self, math: int) -> bool:
        around, above = set(), int(self.tree.parent[math])
        for _ in range(3):
            if above >= 0:
                around |= self.classes.get(above, set())
                above = int(self.tree.parent[above])
        return value(self.tree, math, "display") == "block" or not around.isdisjoint(
            ("katex-display", "MathJax_Display")
        )

    def tex(self, math: int) -> str:
        """TeX of a `math` element: its annotation, its alttext, or its elements written as TeX."""
        tree = self.tree
        for note in (np.flatnonzero(tree.tag[math : tree.end[math]] == ANNOTATION) + math).tolist():
            if "tex" in (value(tree, note, "encoding") or "").lower() and (found := words(tree, note).strip()):
                return found
        return (value(tree, math, "alttext") or "").strip() or self._written(math, 0).strip()

    def _written(self, node: int, depth: int) -> str:
        tree = self.tree
        if tree.tag[node] == TEXT:
            return "".join(BEYOND.get(c, c) for c in " ".join(words(tree, node).split()))
        own = name(tree, node)
        if own in ("annotation", "annotation-xml"):
            return ""
        if depth > DEEPEST:
            return words(tree, node)
        below = list(children(tree, node))
        inner = [self._written(child, depth + 1) for child in below]
        elements = [written for child, written in zip(below, inner) if tree.tag[child] != TEXT]
        shape = SHAPES.get(own)
        if shape is not None and len(elements) == (3 if "{2}" in shape else 2):
            return shape.format(*elements)
        if own == "msqrt":
            return r"\sqrt{{{}}}".format("".join(inner))
        if own == "mtr":
            return " & ".join(elements) + r" \\ "
        return "".join(inner)

    def _laid_out(self, at: int) -> None:
        """A layout goes where its source stands beside or in it; where there is none it stays, for it is all there is."""
        tree = self.tree
        place = int(np.searchsorted(self.math, at))
        math = int(self.math[place]) if place < len(self.math) and self.math[place] < tree.end[at] else None
        is_display = value(tree, at, "display") == "true"
        if (value(tree, at, "id") or "").removesuffix("-Frame") in self.sources - {None, ""}:
            self._put(at, "", False)
        elif math is not None:
            self._put(at, self.tex(math), self._is_display(math) or is_display)
        elif said := value(tree, at, "data-tex") or (tree.tag[at] == CONTAINER and value(tree, at, "aria-label")):
            self._put(at, said, is_display)
        elif self._has_source_beside(at):
            self._put(at, "", False)

    def _has_source_beside(self, at: int) -> bool:
        """Is one of the next or last three elements, or what follows the parent, the formula itself?"""
        above = int(self.tree.parent[at])
        near = [*self._following(at), *self._preceding(at)]
        if above > 0:
            near += list(self._following(above))[:1]
        return any(self._says(other) for other in near)

    def _following(self, at: int) -> list[int]:
        tree, found = self.tree, []
        other, end = int(tree.end[at]), int(tree.end[tree.parent[at]])
        for _ in range(3 * NEAR):
            if other >= end or len(found) == NEAR:
                break
            if tree.tag[other] != TEXT:
                found.append(other)
            other = int(tree.end[other])
        return found

    def _preceding(self, at: int) -> list[int]:
        tree, found = self.tree, []
        above, other = int(tree.parent[at]), at
        for _ in range(3 * NEAR):
            other -= 1
            if other <= above or len(found) == NEAR:
                break
            while tree.parent[other] != above:
                other = int(tree.parent[other])
            if tree.tag[other] != TEXT:
                found.append(other)
        return found

    def _says(self, node: int) -> bool:
        if self.is_tex(node) or self.tree.tag[node] == MATH or self.put.get(node):
            return True
        last = min(int(self.tree.end[node]), node + WITHIN)
        return any(self.tree.tag[at] == MATH or self.put.get(at) for at in range(node + 1, last))

    def _put(self, node: int, found: str, is_display: bool) -> None:
        if found and (inside := FRAMES.match(found)):
            found = next((part for part in inside.groups() if part is not None), found).strip()
        self.put[node] = (rf"\[{found}\]" if is_display else rf"\({found}\)").encode() if found else b""

    def made(self) -> Flat:
        """The tree without what was settled, and with its TeX."""
        tree = self.tree
        if not self.put:
            return tree
        stays = np.ones(len(tree.tag), np.bool_)
        tag, first, last, stop = tree.tag.copy(), tree.first.copy(), tree.last.copy(), tree.stop.copy()
        pieces, size = [tree.data], len(tree.data)
        for node, found in self.put.items():
            stays[node : tree.end[node]] = False
            if found:
                stays[node], tag[node] = True, TEXT
                first[node], last[node] = size, size + len(found)
                pieces.append(np.frombuffer(found, np.uint8))
                size += len(found)
                self._unhide(node, stop)
        number = np.zeros(len(stays) + 1, np.int32)
        np.cumsum(stays, out=number[1:])
        parent = tree.parent[stays]
        parent[1:] = number[parent[1:]]
        return Flat(
            np.concatenate(pieces), tag[stays], parent, number[tree.end[stays]], tree.depth[stays], first[stays], last[stays],
            tree.attribute, tree.begin, stop, np.where(stays[tree.owner], number[tree.owner], -1).astype(np.int32),
        )  # fmt: skip

    def _unhide(self, node: int, stop: np.ndarray) -> None:
        """The source is hidden where its picture is shown: the styles of the two elements around it go."""
        above = int(self.tree.parent[node])
        for _ in range(2):
            if above >= 0:
                for place in range(self.tree.first[above], self.tree.last[above]):
                    if self.tree.attribute[place] == STYLE:
                        stop[place] = self.tree.begin[place]
                above = int(self.tree.parent[above])
