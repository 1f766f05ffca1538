"""Where a piece of structure stands in the main text.

Text is compared by its letters and digits alone: white space, bullets, bars and punctuation differ between a page's
markup and its rendering without meaning anything. A fact that stands in the text takes its words from there, so that
`text[start:end] == block["text"]` holds for every block with a position; one that is not in the text keeps its own words and no position.
"""

from __future__ import annotations

from typing import Any

from stages.ingest.html.render import Rendered
from stages.ingest.metadata.facts import Fact
from stages.ingest.metadata.letters import key_of, letters_of

SEARCH = 256 << 20
"""Letters that may be searched over for one page; facts beyond it are sought only near the last one found."""
NEAR = 65_536
"""Letters searched from the last position found, before the whole text."""


def blocks(rendered: Rendered, facts: list[Fact]) -> list[dict[str, Any]]:
    """The text's own blocks and the facts with their positions, in text order; those without a position come last."""
    own = [
        {
            "kind": s.kind,
            "text": rendered.text[s.start : s.end],
            "start": s.start,
            "end": s.end,
            "level": s.level,
            "group": None,
        }
        for s in rendered.spans
    ]
    if not facts:
        return own
    letters = Letters(rendered)
    located = [letters.locate(fact) for fact in facts]
    in_text = own + [block for block in located if block["start"] is not None]
    in_text.sort(key=lambda block: (block["start"], -block["end"]))
    return in_text + [block for block in located if block["start"] is None]


class Letters:
    """The letters and digits of a text in lower case, and where each stands."""

    def __init__(self, rendered: Rendered):
        self.text = rendered.text
        self.letters, self.at = letters_of(rendered.text, rendered.marks)
        self.cursor = 0
        self.budget = SEARCH

    def locate(self, fact: Fact) -> dict[str, Any]:
        """A block of `fact`, with its position in the text where it has one."""
        block = {
            "kind": fact.kind,
            "text": fact.text,
            "start": None,
            "end": None,
            "level": fact.level,
            "group": fact.group,
        }
        wanted = key_of(fact.text)
        found = self._find(wanted) if wanted else -1
        if found >= 0:
            self.cursor = found
            first, last = int(self.at[found]), int(self.at[found + len(wanted) - 1])
            start, end = self._widen(first, last + 1, fact.text)
            block |= {"text": self.text[start:end], "start": start, "end": end}
        return block

    def _find(self, wanted: str) -> int:
        near = self._word(wanted, self.cursor, min(len(self.letters), self.cursor + NEAR + len(wanted)))
        if near >= 0 or self.budget < len(self.letters):
            return near
        self.budget -= len(self.letters)
        after = self._word(wanted, self.cursor, len(self.letters))
        return after if after >= 0 else self._word(wanted, 0, len(self.letters))

    def _word(self, wanted: str, low: int, high: int) -> int:
        """The first position where `wanted` begins and ends at a word's border: `art` is not found in `start`."""
        for _ in range(64):
            found = self.letters.find(wanted, low, high)
            if found < 0 or (self._border(found) and self._border(found + len(wanted))):
                return found
            low = found + 1
        return -1

    def _border(self, position: int) -> bool:
        """Does a word begin or end before letter `position`? Anything between two letters parts them."""
        if position <= 0 or position >= len(self.at):
            return True
        return bool(self.at[position] > self.at[position - 1] + 1)

    def _widen(self, start: int, end: int, text: str) -> tuple[int, int]:
        """Take in the signs that belong: those the fact itself begins and ends with, where they stand in the text."""
        first = next(i for i, c in enumerate(text) if c.isalnum())
        last = next(i for i in range(len(text), 0, -1) if text[i - 1].isalnum())
        for sign in reversed("".join(text[:first].split())):
            if start > 0 and self.text[start - 1] == sign:
                start -= 1
        for sign in "".join(text[last:].split()):
            if end < len(self.text) and self.text[end] == sign:
                end += 1
        return start, end
