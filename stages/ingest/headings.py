"""Headings that the extractor left out, put back before the text they stand over.

trafilatura drops headings of many pages (all of them in most manuals): short lines between paragraphs look like furniture to
it. Another reading of the same page has them. A heading goes back where what follows it in that reading begins a line of the
main text, in the order of the page; one whose text the extractor did not keep stays out, and with it the site's furniture.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

from stages.ingest.attach import letters_of
from stages.ingest.render import Rendered, Span

ANCHOR = 24
"""Letters of what follows a heading that must stand in the main text."""
LEAST = 10
"""Fewest letters that can be an anchor."""
LINES = 3
"""Lines below a heading that are tried as its anchor."""
TAKES = ("list", "table", "code", "quote")
"""Blocks inside which no heading is put."""


class Missing(NamedTuple):
    """A heading and where it belongs: before the line at `place`, or over the line it already is (`stands`)."""

    place: int
    text: str
    level: int | None
    stands: Span | None


def restored(fine: Rendered, rough: Rendered) -> Rendered:
    """`fine` with the headings of `rough` that it lacks."""
    own = [span for span in rough.spans if span.kind == "heading"]
    if not own or not fine.text:
        return fine
    missing = list(_missing(fine, rough, own))
    return _put(fine, missing) if missing else fine


def _missing(fine: Rendered, rough: Rendered, own: list[Span]):
    letters, at = letters_of(fine.text, fine.marks)
    has = {(_key(fine.text[s.start : s.end]), s.start) for s in fine.spans if s.kind == "heading"}
    blocked = sorted((s.start, s.end) for s in fine.spans if s.kind in TAKES)
    cursor = 0
    for place, heading in enumerate(own):
        words = rough.text[heading.start : heading.end].strip()
        until = next((later.start for later in own[place + 1 :]), len(rough.text))
        found = _anchored(letters, at, fine.text, rough, heading.end, until, cursor)
        if found is None or not words or not any(c.isalnum() for c in words):
            continue
        start, cursor = found
        before = _line_before(fine.text, start)
        if _key(fine.text[before.start : before.end]) == _key(words):
            if (_key(words), before.start) not in has:
                yield Missing(before.start, words, heading.level, before)
        elif not any(a < start < b for a, b in blocked):
            yield Missing(start, words, heading.level, None)


def _anchored(letters: str, at: list[int], text: str, rough: Rendered, start: int, until: int, cursor: int) -> tuple[int, int] | None:
    """(start of the line that follows a heading, cursor behind its place) in the main text; None where nothing of it was kept."""
    for wanted in _anchors(rough.text[start:until]):
        found = letters.find(wanted, cursor)
        while found >= 0:
            head = text.rfind("\n", 0, at[found]) + 1
            if found == 0 or at[found - 1] < head:
                return head, found
            found = letters.find(wanted, found + 1)
    return None


def _anchors(below: str) -> Iterator[str]:
    """Letters that may tell the place of what stands below a heading: from each of its first lines on, across line ends
    (the other reading may break where this one does not), then each line alone (what follows it may have been left out)."""
    places, at = [], 0
    for line in below.split("\n"):
        if line.strip() and len(places) < LINES:
            places.append((at, line))
        at += len(line) + 1
    for start, line in places:
        across, alone = _key(below[start : start + 8 * ANCHOR])[:ANCHOR], _key(line)[:ANCHOR]
        yield from (wanted for wanted in dict.fromkeys((across, alone)) if len(wanted) >= LEAST)


def _line_before(text: str, start: int) -> Span:
    """The last line with words before `start`."""
    end = len(text[:start].rstrip())
    return Span("heading", text.rfind("\n", 0, end) + 1, end)


def _key(text: str) -> str:
    return letters_of(text, [])[0]


def _put(fine: Rendered, missing: list[Missing]) -> Rendered:
    """Headings without a line of their own are set in front of their text; everything behind moves."""
    pieces: list[str] = []
    fresh: list[Span] = []
    shifts: list[tuple[int, int]] = []
    last = added = 0
    for item in missing:
        if item.stands is not None:
            fresh.append(Span("heading", item.stands.start + added, item.stands.end + added, item.level))
            continue
        gap = "" if item.place == 0 or fine.text[:item.place].endswith("\n\n") else "\n"
        pieces += [fine.text[last : item.place], gap, item.text, "\n\n"]
        begin = item.place + added + len(gap)
        fresh.append(Span("heading", begin, begin + len(item.text), item.level))
        added += len(gap) + len(item.text) + 2
        shifts.append((item.place, added))
        last = item.place
    pieces.append(fine.text[last:])
    known = {(span.start, span.end) for span in fresh}
    moved = [Span(s.kind, *_moved(s.start, s.end, shifts), s.level) for s in fine.spans]
    spans = [s for s in moved if (s.start, s.end) not in known] + fresh
    spans.sort(key=lambda span: (span.start, -span.end))
    return Rendered("".join(pieces), spans, [_moved(a, b, shifts) for a, b in fine.marks])


def _moved(start: int, end: int, shifts: list[tuple[int, int]]) -> tuple[int, int]:
    """Where a span lies after the insertions: one at its start comes before it, one at its end behind it."""
    head = next((by for place, by in reversed(shifts) if place <= start), 0)
    tail = next((by for place, by in reversed(shifts) if place < end), 0)
    return start + head, max(end + tail, start + head)
