"""HTML source to a tree that nothing later can choke on: sizes and depths are bounded here, once.

A page is never given a number of seconds; it is given limits that make the work linear. Three shapes of page break
parsers and extractors: nesting without end (libxml2 stops reading at 2,048 levels and drops the rest), a tag with a
hundred thousand attributes (quadratic), and a tree of millions of nodes (extractors are quadratic in siblings). The
first two are repaired in the source by one linear pass; the third is counted, and `main_text` then takes the linear road.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stages.ingest.html import formulas, tags
from stages.ingest.html.tags import TOKEN

MAX_DEPTH = 200
"""Open elements kept; tags deeper than this lose their tags, not their text. Browsers cap at 512; real pages stay under 60."""
LONG_SOURCE = 65_536
"""Characters from which a source is bounded before it is parsed; shorter ones cannot hold enough attributes to hurt."""
LONG_TAG = 16_384
"""Characters of attributes in one tag from which they are counted."""
MANY_ATTRIBUTES = 1_000
"""Attributes in one long tag from which all of them are dropped."""

MANY_OPTIONS = 1_000
"""Elements inside one `select` from which its words stand in it without them: Resiliparse is quadratic in options (3 s for 13,000)."""

VOID = frozenset(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr".split()
)
IMPLIED = frozenset(
    "p li dt dd tr td th thead tbody tfoot option optgroup rp rt colgroup caption body html head".split()
)
"""Elements that close themselves: their open tags say nothing about depth."""

_ENTRY = re.compile(r"<d[td](?=[\s>])", re.I)
_ENTRY_END = re.compile(r"</d[td](?=[\s>])", re.I)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_CONTROL_REFERENCE = re.compile(
    r"&#(?:0*(?:[0-8]|1[124-9]|2[0-9]|3[01]|6553[45])(?![0-9])|[xX]0*(?:[0-8bBcCeEfF]|1[0-9a-fA-F]|[fF]{3}[eEfF])(?![0-9a-fA-F]));?+"
)
"""Character references of the same; the parser would put the characters into its tree, which then takes no text of ours."""


_OPENING = re.compile("<[a-zA-Z]")
_SPAN = re.compile("[0-9]{1,2}")
"""Columns and rows a cell may span: an extractor lays them all out, real cells or not."""


@dataclass
class Tree:
    """A parsed page: `root` is the one `html` element, `nodes` its elements, `weight` the sum of their depths, `bounded` whether tags had to be taken out."""

    root: Any
    nodes: int
    weight: int
    bounded: bool

    @property
    def body(self) -> Any:
        return self.root.find("body")

    @property
    def head(self) -> Any:
        return self.root.find("head")


def parse(source: str) -> Tree | None:
    """The tree of an HTML source, or None where there is no element in it."""
    source = _CONTROL_REFERENCE.sub(" ", _CONTROL.sub(" ", source))
    bounded = False
    if len(source) > LONG_SOURCE or len(_ENTRY.findall(source)) > len(_ENTRY_END.findall(source)):
        source, bounded = bound(source)
    root, cut = _parse(source)
    if cut:
        source, bounded = bound(source)
        root, _ = _parse(source)
    if root is None:
        return None
    if 2 * sum(1 for _ in root.iter()) < len(_OPENING.findall(source)) and (whole := tags.repaired(source)) != source:
        root, bounded = _parse(bound(whole)[0])[0], True
    root = _whole(root)
    for cell in root.iter("td", "th"):
        for name in ("colspan", "rowspan"):
            if cell.get(name) is not None and not _SPAN.fullmatch(cell.get(name).strip()):
                del cell.attrib[name]
    for menu in list(root.iter("select")):
        if next(islice(menu.iterdescendants(), MANY_OPTIONS, None), None) is not None:
            words, tail = " ".join(menu.itertext()), menu.tail
            menu.clear()
            menu.text, menu.tail, bounded = words, tail, True
    if formulas.HINT.search(source):
        formulas.settle(root)
    return Tree(root, *_measure(root), bounded)


def _measure(root: Any) -> tuple[int, int]:
    from lxml import etree

    nodes = weight = depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        if event == "start":
            nodes += 1
            depth += 1
            weight += depth
        else:
            depth -= 1
    return nodes, weight


def _parse(source: str) -> tuple[Any, bool]:
    """The root, and whether the parser stopped before the end."""
    from lxml import etree, html

    parser = html.HTMLParser(
        collect_ids=False,
        default_doctype=False,
        encoding="utf-8",
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,
    )
    try:
        root = etree.fromstring(source.encode("utf-8", "replace"), parser=parser)
    except (etree.XMLSyntaxError, etree.ParserError, ValueError):
        return None, False
    return root, any(entry.level_name == "FATAL" for entry in parser.error_log)


def _whole(root: Any) -> Any:
    """One `html` with one `head` and one `body`: what follows `</body>` or `</html>` on broken pages is taken in again.

    The parser leaves a second document as a sibling of the root, and text after `</body>` as a sibling of the body.
    """
    from lxml import html

    if root.tag != "html":
        outer = html.Element("html")
        outer.append(root)
        root = outer
    late = [element for element in root.itersiblings() if isinstance(element.tag, str)]
    head, body = root.find("head"), root.find("body")
    if head is None:
        head = html.Element("head")
        root.insert(0, head)
    if body is None:
        body = html.Element("body")
        root.insert(list(root).index(head) + 1, body)
    strays = [child for child in root if child is not head and child is not body]
    following, body.tail = body.tail, None
    _append_text(body, following)
    for element in strays + late:
        _adopt(element, head, body)
    return root


def _adopt(element: Any, head: Any, body: Any) -> None:
    """Take `element` in at the end of the body; the insides of a second html, body or head go where they belong."""
    following, element.tail = element.tail, None
    if element.tag in ("html", "body"):
        _append_text(body, element.text)
        for child in list(element):
            _adopt(child, head, body)
        if element.getparent() is not None:
            element.getparent().remove(element)
    elif element.tag == "head":
        for child in list(element):
            head.append(child)
    else:
        body.append(element)
    _append_text(body, following)


def _append_text(element: Any, text: str | None) -> None:
    if not text or not text.strip():
        return
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def bound(source: str) -> tuple[str, bool]:
    """`source` without the tags that nest deeper than MAX_DEPTH and without monstrous attributes; was anything taken out?

    A `dt` or `dd` left open is closed before the next one, which libxml2 would put inside it. Linear: every token is met
    once, and an unclosed comment, tag or script reaches to the end, as in a browser.
    """
    pieces: list[str] = []
    at = 0
    nest = _Nest()
    changed = False
    for token in TOKEN.finditer(source):
        if token["name"] is None:
            continue
        name, attributes = token["name"].lower(), token["attributes"]
        if token["close"]:
            replacement = nest.close(name)
        elif not nest.open(name, attributes.endswith("/")):
            replacement = " "
        elif len(attributes) > LONG_TAG and _many(attributes):
            replacement = f"<{name}>"
        else:
            replacement = None
        changed = changed or replacement is not None
        if name in ("dt", "dd", "dl") and (ended := nest.entry(name, bool(token["close"]))):
            replacement = f"</{ended}>" + (replacement if replacement is not None else token[0])
        if replacement is not None:
            pieces += (source[at : token.start()], replacement)
            at = token.end()
    if not pieces:
        return source, False
    pieces.append(source[at:])
    return "".join(pieces), changed


def _many(attributes: str) -> bool:
    return next(islice(tags.attributes(attributes), MANY_ATTRIBUTES, None), None) is not None


class _Nest:
    """Elements open so far, by name; those that close themselves are not counted."""

    def __init__(self) -> None:
        self.depth = 0
        self.kept: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.entries: list[str | None] = [None]

    def open(self, name: str, closed: bool) -> bool:
        """May this tag stand?"""
        if closed or name in VOID or name in IMPLIED:
            return True
        if self.depth >= MAX_DEPTH:
            self.dropped[name] = self.dropped.get(name, 0) + 1
            return False
        self.kept[name] = self.kept.get(name, 0) + 1
        self.depth += 1
        return True

    def close(self, name: str) -> str | None:
        """A blank where the closing tag is of one that was dropped."""
        if self.dropped.get(name):
            self.dropped[name] -= 1
            return " "
        if self.kept.get(name):
            self.kept[name] -= 1
            self.depth -= 1
        return None

    def entry(self, name: str, closing: bool) -> str | None:
        """The `dt` or `dd` that must be closed before this tag, if one is open in the same list."""
        if name == "dl":
            if closing and len(self.entries) > 1:
                self.entries.pop()
            elif not closing:
                self.entries.append(None)
            return None
        ended, self.entries[-1] = self.entries[-1], None if closing else name
        return ended if not closing else None
