"""Headings that the extractor left out, put back before the text they stand over.

trafilatura drops headings of many pages (all of them in most manuals): short lines between paragraphs look like furniture to
it. Another reading of the same page has them. A heading goes back where what follows it in that reading begins a line of the
main text, in the order of the page; one whose text the extractor did not keep stays out, and with it the site's furniture.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from stages.ingest.html.render import Rendered, Span
from stages.ingest.metadata.attach import NEAR, SEARCH
from stages.ingest.metadata.letters import key_of, letters_of

ANCHOR = 24
"""Letters of what follows a heading that must stand in the main text."""
LEAST = 10
"""Fewest letters that can be an anchor."""
LINES = 3
"""Lines below a heading that are tried as its anchor."""
TRIES = 64
"""Places with the letters of an anchor that are looked at; those inside a line are none."""
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


def _missing(fine: Rendered, rough: Rendered, own: list[Span]) -> Iterator[Missing]:
    has = {(_key(fine.text[s.start : s.end]), s.start) for s in fine.spans if s.kind == "heading"}
    blocked = sorted(((s.start, s.end) for s in fine.spans if s.kind in TAKES), reverse=True)
    lines = _Lines(fine)
    cursor = reach = 0
    for place, heading in enumerate(own):
        words = rough.text[heading.start : heading.end].strip()
        until = own[place + 1].start if place + 1 < len(own) else len(rough.text)
        found = next(
            filter(None, (lines.begun(wanted, cursor) for wanted in _anchors(rough.text[heading.end : until]))), None
        )
        if found is None or not words or not any(c.isalnum() for c in words):
            continue
        start, cursor = found
        while blocked and blocked[-1][0] < start:
            reach = max(reach, blocked.pop()[1])
        before = _line_before(fine.text, start, 10 * len(words) + 1_000)
        if before is not None and _key(fine.text[before.start : before.end]) == _key(words):
            if (_key(words), before.start) not in has:
                yield Missing(before.start, words, heading.level, before)
        elif start >= reach:
            yield Missing(start, words, heading.level, None)


class _Lines:
    """The lines of the main text by the letters they begin with; the letters searched over are bounded for a page."""

    def __init__(self, fine: Rendered):
        self.text = fine.text
        self.letters, self.at = letters_of(fine.text, fine.marks)
        self.budget = SEARCH

    def begun(self, wanted: str, cursor: int) -> tuple[int, int] | None:
        """(start of the line, place of its first letter) from letter `cursor` on; None where no line begins so."""
        for _ in range(TRIES):
            high = len(self.letters) if self.budget > 0 else min(len(self.letters), cursor + NEAR)
            found = self.letters.find(wanted, cursor, high)
            self.budget -= (found if found >= 0 else high) - cursor
            if found < 0:
                return None
            before = self.at[found - 1] if found else 0
            head = self.text.rfind("\n", before, self.at[found]) + 1
            if head or not found:
                return head, found
            cursor = found + 1
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


def _line_before(text: str, start: int, longest: int) -> Span | None:
    """The last line with words before `start`, where it is not over `longest`."""
    end = start
    while end and text[end - 1].isspace():
        end -= 1
    low = max(0, end - longest)
    head = text.rfind("\n", low, end) + 1
    return Span("heading", head, end) if head or not low else None


def _key(text: str) -> str:
    return key_of(text)


def _put(fine: Rendered, missing: list[Missing]) -> Rendered:
    """Headings without a line of their own are set in front of their text; everything behind moves."""
    pieces: list[str] = []
    fresh: list[Span] = []
    shifts: list[tuple[int, int]] = []
    last = added = 0
    for item in missing:
        if item.stands is not None:
            continue
        gap = "" if item.place == 0 or fine.text.endswith("\n\n", 0, item.place) else "\n"
        pieces += [fine.text[last : item.place], gap, item.text, "\n\n"]
        begin = item.place + added + len(gap)
        fresh.append(Span("heading", begin, begin + len(item.text), item.level))
        added += len(gap) + len(item.text) + 2
        shifts.append((item.place, added))
        last = item.place
    pieces.append(fine.text[last:])
    places = [place for place, _ in shifts]
    fresh += [
        Span("heading", *_moved(item.stands.start, item.stands.end, places, shifts), item.level)
        for item in missing
        if item.stands is not None
    ]
    known = {(span.start, span.end) for span in fresh}
    moved = [Span(s.kind, *_moved(s.start, s.end, places, shifts), s.level) for s in fine.spans]
    spans = [s for s in moved if (s.start, s.end) not in known] + fresh
    spans.sort(key=lambda span: (span.start, -span.end))
    return Rendered("".join(pieces), spans, [_moved(a, b, places, shifts) for a, b in fine.marks])


def _moved(start: int, end: int, places: list[int], shifts: list[tuple[int, int]]) -> tuple[int, int]:
    """Where a span lies after the insertions: one at its start comes before it, one at its end behind it."""
    head, tail = bisect_right(places, start), bisect_left(places, end)
    first = start + (shifts[head - 1][1] if head else 0)
    return first, max(end + (shifts[tail - 1][1] if tail else 0), first)
