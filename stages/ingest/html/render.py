"""A tree to text, and the structure of that text by code-point span, in one pass.

The same walk renders a whole page, the body an extractor returns, or one answer. Blocks are parted by a blank line,
lines of one list, table or address by a newline; white space inside is one blank. What the rendering adds of its own
(list bullets and numbers, cell bars) is listed in `marks`, so that text can be compared without it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.unicode import normalised

HIDDEN = frozenset(
    "script style noscript template head title svg math button select option input textarea iframe object embed canvas audio "
    "video map area source track graphic img link meta datalist dialog".split()
)
"""Elements without text of the page."""
SAME = {"list": "ul", "item": "li", "quote": "blockquote", "row": "tr", "cell": "td", "lb": "br", "q": "span"}
"""Names of the extractor's own vocabulary for HTML's."""
BREAKS = frozenset(
    "p div section article main header footer nav aside form fieldset figure figcaption address hr dl details summary body html "
    "center h1 h2 h3 h4 h5 h6 ul ol menu dir blockquote pre listing table caption hgroup search legend".split()
)
"""Elements that stand alone: a blank line before and after."""
LINES = frozenset("li tr dt dd thead tbody tfoot".split())
"""Elements that begin a line inside their block."""
KINDS = {
    "h1": "heading", "h2": "heading", "h3": "heading", "h4": "heading", "h5": "heading", "h6": "heading", "head": "heading",
    "ul": "list", "ol": "list", "menu": "list", "dir": "list", "dl": "list", "blockquote": "quote", "pre": "code", "listing": "code",
    "table": "table",
}  # fmt: skip
VERBATIM = frozenset(("pre", "listing", "code_block"))
_GONE = dict.fromkeys(map(ord, "\u200b\ufeff\u00ad\u2060"))
"""Zero-width spaces, byte order marks and soft hyphens: layout, not text."""

BLANK, LINE, PARAGRAPH = 1, 2, 3
SEPARATORS = ("", " ", "\n", "\n\n")


class Span(NamedTuple):
    """A block of the rendered text: `text[start:end]`."""

    kind: str
    start: int
    end: int
    level: int | None = None


@dataclass
class Rendered:
    """`text`, its blocks in order, and the spans of it that stand for layout."""

    text: str
    spans: list[Span] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)


def render(root: Any, omit: Any = None, skip: frozenset[str] = frozenset(), until: Any = None) -> Rendered:
    """The text below `root`, up to the element `until`; the element `omit` and elements named in `skip` are left out.

    `root` is an lxml element, or one of a flat tree, for which `omit` alone may be given.
    """
    if (flat := getattr(root, "rendered", None)) is not None:
        return flat(omit)
    from lxml import etree

    writer = _Writer()
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if not isinstance(tag, str):
            if event == "end" and element is not root:
                writer.say(element.tail)
            continue
        if element is until:
            break
        name = _name(tag, element)
        hidden = ((name in HIDDEN or name in skip) and element is not root) or element is omit
        if event == "start":
            if hidden:
                walk.skip_subtree()
                continue
            writer.open(name, element)
            writer.say(element.text)
        else:
            if not hidden:
                writer.close(name)
            if element is not root:
                writer.say(element.tail)
    return writer.done()


def _name(tag: str, element: Any) -> str:
    if tag == "head" and element.get("rend", "").startswith("h"):
        return element.get("rend")[:2]
    if tag == "list":
        return element.get("rend") if element.get("rend") in ("ol", "dl") else "ul"
    if tag == "item" and (element.get("rend") or "")[:2] in ("dt", "dd"):
        return element.get("rend")[:2]
    if tag == "code" and _is_block(element):
        return "code_block"
    return SAME.get(tag, tag)


def _is_block(code: Any) -> bool:
    """A `code` element is a block where it holds line ends, or nothing but another `code`."""
    text = (code.text or "").strip()
    return "\n" in text or (not text and len(code) == 1 and code[0].tag == "code")


class _Open(NamedTuple):
    name: str
    kind: str
    level: int | None
    slot: list[int]
    """Where its text began; empty while it has none."""


class _Writer:
    """Pieces of text under way, the separator owed before the next, and the elements open around it."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.at = 0
        self.owed = 0
        self.owed_mark = ""
        self.breaks = 0
        self.spans: list[Span] = []
        self.marks: list[tuple[int, int]] = []
        self.stack: list[_Open] = []
        self.fresh: list[list[int]] = []
        self.lists: list[list[int]] = []
        self.tables: list[tuple[bool, list[bool]]] = []
        self.verbatim = 0
        self.held: list[str] = []
        self.run: int | None = None
        self.inside = 0
        self.composed = True

    # -- elements --------------------------------------------------------------------------------------------------

    def open(self, name: str, element: Any) -> None:
        if self.verbatim:
            if name == "br":
                self.held.append("\n")
            elif name in VERBATIM:
                self.verbatim += 1
            return
        if name == "br":
            self.breaks += 1
            if self.breaks >= 2:
                self._part(PARAGRAPH)
            else:
                self.owed = max(self.owed, LINE)
            return
        if name == "table":
            self.tables.append((_layout(element), [False]))
        if name in BREAKS or name == "code_block":
            self._part(LINE if self._in_list() else PARAGRAPH)
        elif name == "li":
            self._part(LINE)
            self.owed_mark = self._bullet()
        elif name in ("td", "th"):
            self._cell()
        elif name == "tr" and self.tables:
            self._part(PARAGRAPH if self.tables[-1][0] else LINE)
            self.tables[-1][1][0] = False
        elif name in LINES:
            self._part(LINE)
        if name in ("ul", "ol"):
            self.lists.append([0 if name == "ul" else 1])
        self._begin(name)
        if name in VERBATIM:
            self.verbatim = 1
            self.held = []

    def _begin(self, name: str) -> None:
        kind = "code" if name == "code_block" else KINDS.get(name)
        if kind is None or (name == "table" and self.tables[-1][0]) or (name == "dl"):
            return
        slot: list[int] = []
        level = int(name[1]) if kind == "heading" and name[1:].isdigit() else None
        self.stack.append(_Open(name, kind, level, slot))
        self.fresh.append(slot)
        self.inside += 1

    def close(self, name: str) -> None:
        if self.verbatim:
            if name not in VERBATIM:
                return
            self.verbatim -= 1
            if self.verbatim:
                return
            self._code("".join(self.held))
        if name in BREAKS or name == "code_block":
            self._part(LINE if self._in_list(name) else PARAGRAPH)
        elif name in LINES:
            self._part(LINE)
            if name == "li":
                self.owed_mark = ""
        if self.stack and self.stack[-1].name == name:
            self._end(self.stack.pop())
        if name in ("ul", "ol") and self.lists:
            self.lists.pop()
        if name == "table" and self.tables:
            self.tables.pop()

    def _end(self, block: _Open) -> None:
        self.inside -= 1
        if not block.slot:
            self.fresh = [slot for slot in self.fresh if slot is not block.slot]
            return
        nested = any(outer.kind == block.kind for outer in self.stack) or (
            block.kind != "code"
            and block.kind != "heading"
            and any(outer.kind in ("list", "table") for outer in self.stack)
        )
        if not nested and self.at > block.slot[0]:
            self.spans.append(Span(block.kind, block.slot[0], self.at, block.level))

    def _part(self, size: int) -> None:
        """The end of a run of text: what stood loose before it is a paragraph."""
        if self.run is not None:
            if not self.inside and self.at > self.run:
                self.spans.append(Span("paragraph", self.run, self.at))
            self.run = None
        self.owed = max(self.owed, size)

    def _in_list(self, closing: str = "") -> bool:
        depth = len(self.lists) - (1 if closing in ("ul", "ol") else 0)
        return depth > 0 or bool(self.tables and not self.tables[-1][0] and closing != "table")

    def _bullet(self) -> str:
        if not self.lists:
            return "- "
        indent = "  " * (min(len(self.lists), 8) - 1)
        count = self.lists[-1]
        if count[0] == 0:
            return indent + "- "
        count[0] += 1
        return f"{indent}{count[0] - 1}. "

    def _cell(self) -> None:
        if not self.tables or self.tables[-1][0]:
            self._part(PARAGRAPH)
        elif self.tables[-1][1][0]:
            self.owed_mark = " | "
        else:
            self.owed = max(self.owed, BLANK)

    # -- text ------------------------------------------------------------------------------------------------------

    def say(self, text: str | None) -> None:
        if not text:
            return
        if self.verbatim:
            self.held.append(text)
            return
        text = text.translate(_GONE)
        words = text.split()
        if not words:
            if text:
                self.owed = max(self.owed, BLANK)
            return
        if text[0].isspace():
            self.owed = max(self.owed, BLANK)
        self._put(" ".join(words))
        if text[-1].isspace():
            self.owed = BLANK

    def _code(self, text: str) -> None:
        lines = [line.rstrip() for line in text.translate(_GONE).splitlines()]
        while lines and not lines[0]:
            lines.pop(0)
        while lines and not lines[-1]:
            lines.pop()
        if lines:
            self._put("\n".join(lines))

    def _put(self, text: str) -> None:
        text = normalised("NFC", text)
        if self.at:
            gap = SEPARATORS[self.owed]
            if self.owed_mark == " | " and self.owed < LINE:
                gap = ""
            if gap:
                self.pieces.append(gap)
                self.at += len(gap)
            elif not text[0].isascii() and _joins(text[0]):
                self.composed = False
        mark = self.owed_mark if self.at or self.owed_mark != " | " else ""
        if mark and not (mark == " | " and self.owed >= LINE):
            self.marks.append((self.at, self.at + len(mark)))
            self._start()
            self.pieces.append(mark)
            self.at += len(mark)
        self._start()
        self.pieces.append(text)
        self.at += len(text)
        self.owed = self.breaks = 0
        self.owed_mark = ""
        if self.tables and not self.tables[-1][0]:
            self.tables[-1][1][0] = True

    def _start(self) -> None:
        for slot in self.fresh:
            slot.append(self.at)
        self.fresh.clear()
        if self.run is None:
            self.run = self.at

    def done(self) -> Rendered:
        self._part(PARAGRAPH)
        while self.stack:
            self._end(self.stack.pop())
        text = "".join(self.pieces)
        self.spans.sort(key=lambda span: (span.start, -span.end))
        if not self.composed and not unicodedata.is_normalized("NFC", text):
            return recomposed(text, self.spans, self.marks)
        return Rendered(text, self.spans, self.marks)


def _joins(character: str) -> bool:
    """Could it compose with what stands before it? A combining mark, or a Hangul vowel or final."""
    return unicodedata.combining(character) != 0 or "\u1161" <= character <= "\u11ff"


def recomposed(text: str, spans: list[Span], marks: list[tuple[int, int]]) -> Rendered:
    """NFC where a mark follows its letter from another element: every offset is moved by composing what precedes it."""
    places = sorted(
        {place for span in spans for place in (span.start, span.end)} | {place for mark in marks for place in mark}
    )
    moved, pieces, at, last = {}, [], 0, 0
    for place in places + [len(text)]:
        # A border that would part a letter from its mark moves behind the mark.
        while place < len(text) and _joins(text[place]):
            place += 1
        piece = normalised("NFC", text[last:place]) if place > last else ""
        pieces.append(piece)
        at += len(piece)
        last = max(last, place)
        moved[place] = at
    ends = {original: moved[_past(text, original)] for original in places}
    return Rendered(
        "".join(pieces),
        [Span(s.kind, ends[s.start], ends[s.end], s.level) for s in spans if ends[s.end] > ends[s.start]],
        [(ends[a], ends[b]) for a, b in marks],
    )


def _past(text: str, place: int) -> int:
    while place < len(text) and _joins(text[place]):
        place += 1
    return place


def _layout(table: Any) -> bool:
    """Is a table there for layout? It holds tables, headings, lists or code, a cell of several paragraphs, one row or one column."""
    if table.get("role") == "presentation":
        return True
    for _element in table.iterdescendants(
        "table", "h1", "h2", "h3", "h4", "ul", "ol", "dl", "pre", "form", "article", "list", "head"
    ):
        return True
    rows: dict[Any, int] = {}
    for cell in table.iterdescendants("td", "th", "cell"):
        if sum(1 for child in cell if child.tag in ("p", "div")) > 1:
            return True
        rows[cell.getparent()] = rows.get(cell.getparent(), 0) + 1
    return len(rows) < 2 or max(rows.values()) < 2
