"""The structure of plain-text markup: Markdown and reStructuredText sources keep their text, and get blocks over it.

These are scanners of lines, not renderers: a block is a span of the source as it stands, linear in its length, and what
they do not know stays a paragraph. Definition lists of reST come as facts (term and definition, grouped).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stages.ingest.html.render import Span
from stages.ingest.metadata.facts import Fact, Group

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)]|#\.)[ \t]+\S")
_RULE = re.compile(r"[ \t]*(?:[-*_][ \t]*){3,}$")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-{1,}:?[ \t]*(?:\|[ \t]*:?-{1,}:?[ \t]*)*\|?[ \t]*$")
_RST_LINE = re.compile(r"""([=\-~`:'"^_*+#<>.!])\1{2,}[ \t]*$""")
_RST_TABLE = re.compile(r"[ \t]*(?:\+[-=]{2,}(?:\+[-=]{2,})*\+|={2,}(?:[ ]+={2,})+)[ \t]*$")
_RST_CODE = re.compile(r"[ \t]*\.\. (?:code-block|code|sourcecode|highlight|parsed-literal|doctest|testcode|prompt)::")


class Line(NamedTuple):
    start: int
    end: int
    text: str

    @property
    def blank(self) -> bool:
        return not self.text.strip()

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip(" \t"))


def lines_of(text: str) -> list[Line]:
    found, at = [], 0
    for line in text.split("\n"):
        found.append(Line(at, at + len(line), line))
        at += len(line) + 1
    return found


def title(text: str, spans: list[Span]) -> str | None:
    """The words of the first heading, if it stands in the first thousand characters."""
    first = next((span for span in spans if span.kind == "heading"), None)
    if first is None or first.start > 1000:
        return None
    return " ".join(text[first.start : first.end].split())[:1000] or None


def markdown(text: str) -> list[Span]:
    """Blocks of a Markdown source: headings, fenced and indented code, lists, quotes, tables, paragraphs."""
    lines = lines_of(text)
    found: list[Span] = []
    at = _front_matter(lines)
    while at < len(lines):
        line = lines[at]
        if line.blank:
            at += 1
        elif fence := _FENCE.match(line.text):
            at = _fenced(lines, at, fence.group(1), found)
        elif (heading := _ATX.match(line.text)) and (heading.group(2) or "").strip():
            start = line.start + heading.start(2)
            found.append(Span("heading", start, start + len(heading.group(2).rstrip()), len(heading.group(1))))
            at += 1
        elif line.text.startswith(("    ", "\t")):
            at = _while(lines, at, found, "code", lambda each: each.blank or each.text.startswith(("    ", "\t")))
        elif line.text.lstrip().startswith(">"):
            at = _while(lines, at, found, "quote", lambda each: not each.blank)
        elif _RULE.match(line.text):
            at += 1
        elif _ITEM.match(line.text):
            at = _list(lines, at, found)
        elif (
            "|" in line.text
            and at + 1 < len(lines)
            and "-" in lines[at + 1].text
            and _TABLE_RULE.match(lines[at + 1].text)
        ):
            at = _while(lines, at, found, "table", lambda each: "|" in each.text)
        else:
            at = _paragraph(lines, at, found)
    return found


def _front_matter(lines: list[Line]) -> int:
    """YAML between two `---` at the very beginning is no text."""
    if lines and lines[0].text.strip() == "---":
        for place in range(1, min(len(lines), 200)):
            if lines[place].text.strip() in ("---", "..."):
                return place + 1
    return 0


def _fenced(lines: list[Line], at: int, fence: str, found: list[Span]) -> int:
    close = at + 1
    while close < len(lines) and not (
        lines[close].text.strip().startswith(fence) and not lines[close].text.strip().strip(fence[0])
    ):
        close += 1
    if any(not line.blank for line in lines[at + 1 : close]):
        found.append(Span("code", lines[at + 1].start, lines[close - 1].end))
    return close + 1


def _while(lines: list[Line], at: int, found: list[Span], kind: str, belongs) -> int:
    """Lines from `at` on for which `belongs`; trailing blank ones are given back."""
    last = at
    while last + 1 < len(lines) and belongs(lines[last + 1]):
        last += 1
    following = last + 1
    while last > at and lines[last].blank:
        last -= 1
    found.append(Span(kind, lines[at].start + (0 if kind == "code" else lines[at].indent), lines[last].end))
    return following


def _list(lines: list[Line], at: int, found: list[Span]) -> int:
    """Items and what is indented under them; a blank line does not end a list that goes on."""
    first = lines[at].indent

    def goes_on(place: int) -> bool:
        line = lines[place]
        return bool(_ITEM.match(line.text)) or line.indent > first

    last = at
    while last + 1 < len(lines):
        if not lines[last + 1].blank:
            if not goes_on(last + 1) and lines[last].blank:
                break
            if (
                _ATX.match(lines[last + 1].text)
                or _FENCE.match(lines[last + 1].text)
                and lines[last + 1].indent <= first
            ):
                break
            last += 1
            continue
        place = last + 1
        while place < len(lines) and lines[place].blank:
            place += 1
        if place >= len(lines) or not goes_on(place):
            break
        last = place
    found.append(Span("list", lines[at].start + lines[at].indent, lines[last].end))
    return last + 1


def _paragraph(lines: list[Line], at: int, found: list[Span]) -> int:
    """Lines up to a blank one; one or two lines over `===` or `---` are a heading."""
    last = at
    while last + 1 < len(lines):
        text = lines[last + 1].text
        if lines[last + 1].blank or _FENCE.match(text) or _ATX.match(text):
            break
        under = text.strip()
        if len(under) >= 2 and set(under) in ({"="}, {"-"}):
            found.append(
                Span("heading", lines[at].start + lines[at].indent, lines[last].end, 1 if under[0] == "=" else 2)
            )
            return last + 2
        last += 1
    found.append(Span("paragraph", lines[at].start + lines[at].indent, lines[last].end))
    return last + 1


# -- reStructuredText --------------------------------------------------------------------------------------------------


def rst(text: str) -> tuple[list[Span], list[Group]]:
    """Blocks of a reST source, and its definition lists as groups of facts."""
    lines = lines_of(text)
    found: list[Span] = []
    groups: list[Group] = []
    styles: list[tuple[str, bool]] = []
    at = 0
    literal = False
    while at < len(lines):
        line = lines[at]
        if line.blank:
            at += 1
            continue
        if literal and line.indent:
            at = _while(lines, at, found, "code", lambda each: each.blank or each.indent)
            literal = False
            continue
        literal = False
        heading = _rst_heading(lines, at, styles)
        if heading is not None:
            found.append(heading[0])
            at = heading[1]
        elif _RST_TABLE.match(line.text):
            at = _rst_table(lines, at, found)
        elif line.text.lstrip().startswith(".. ") or line.text.strip() == "..":
            literal, at = bool(_RST_CODE.match(line.text)), _directive(lines, at)
        elif line.text.lstrip().startswith(">>> "):
            at = _while(lines, at, found, "code", lambda each: not each.blank)
        elif _ITEM.match(line.text):
            at = _list(lines, at, found)
        elif _is_term(lines, at):
            at = _definition(lines, at, groups, found)
        else:
            last = at
            while last + 1 < len(lines) and not lines[last + 1].blank:
                last += 1
            literal = lines[last].text.rstrip().endswith("::")
            found.append(Span("paragraph", line.start + line.indent, lines[last].end))
            at = last + 1
    return found, groups


def _rst_heading(lines: list[Line], at: int, styles: list[tuple[str, bool]]) -> tuple[Span, int] | None:
    """A title line with an underline as long as it (an overline too where there is one); levels by first use."""
    over = (
        bool(_RST_LINE.match(lines[at].text))
        and at + 2 < len(lines)
        and lines[at + 2].text.strip() == lines[at].text.strip()
    )
    words = at + 1 if over else at
    if words + 1 >= len(lines) or lines[words].blank or (lines[words].indent and not over):
        return None
    under = lines[words + 1].text.rstrip()
    if (
        not _RST_LINE.match(under)
        or 2 * len(under) < len(lines[words].text.strip())
        or _RST_LINE.match(lines[words].text)
    ):
        return None
    style = (under[0], over)
    if style not in styles:
        styles.append(style)
    start = lines[words].start + lines[words].indent
    return Span("heading", start, start + len(lines[words].text.strip()), min(styles.index(style) + 1, 6)), words + 2


def _rst_table(lines: list[Line], at: int, found: list[Span]) -> int:
    """A grid or simple table: to the last ruled line before a blank one that no ruled line follows."""
    last = at
    place = at + 1
    while place < len(lines):
        if _RST_TABLE.match(lines[place].text):
            last = place
        elif lines[place].blank and (
            place + 1 >= len(lines) or lines[place + 1].blank or lines[last].text[:1] == "+" or last > at + 1
        ):
            break
        place += 1
    found.append(Span("table", lines[at].start, lines[last].end))
    return last + 1


def _directive(lines: list[Line], at: int) -> int:
    """Past a directive or comment; the body of a note or of code is read as what it is, options are passed over."""
    at += 1
    while at < len(lines) and lines[at].indent and lines[at].text.lstrip().startswith(":"):
        at += 1
    return at


def _is_term(lines: list[Line], at: int) -> bool:
    return (
        at + 1 < len(lines)
        and not lines[at + 1].blank
        and lines[at + 1].indent > lines[at].indent
        and not lines[at].text.rstrip().endswith("::")
    )


def _definition(lines: list[Line], at: int, groups: list[Group], found: list[Span]) -> int:
    """One line and what is indented under it."""
    base = lines[at].indent
    last = at + 1
    while last + 1 < len(lines) and (
        lines[last + 1].indent > base or (lines[last + 1].blank and _goes_on(lines, last + 1, base))
    ):
        last += 1
    term = lines[at].text.strip()
    meaning = "\n".join(line.text.strip() for line in lines[at + 1 : last + 1]).strip()
    found.append(Span("paragraph", lines[at].start + base, lines[last].end))
    groups.append(Group((Fact("term", term), Fact("definition", meaning))))
    return last + 1


def _goes_on(lines: list[Line], at: int, base: int) -> bool:
    following: Iterator[Line] = (line for line in lines[at : at + 3] if not line.blank)
    first = next(following, None)
    return first is not None and first.indent > base
