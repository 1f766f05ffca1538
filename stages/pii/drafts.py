"""A text being edited in rounds, each edit remembered where it stands in the original.

What one replacement leaves behind can be read anew: two numbers glued together are refused, and when one has become a tag
the other stands free. So the edited text is looked at again until nothing more is found, and a second run over the
result has nothing left to do.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from pipeline.schema import Edit, apply_edits


class Draft:
    """`original` and the edits made so far, sorted, apart, with offsets into `original` (code points)."""

    def __init__(self, original: str):
        self.original = original
        self.edits: list[Edit] = []
        self.text = original

    def add(self, edits: Sequence[Edit]) -> None:
        """Make `edits`, whose offsets are into the present `text`. One that touches an earlier replacement swallows it."""
        if not edits:
            return
        if not self.edits and all(a.end <= b.start for a, b in zip(edits, edits[1:])):
            self.edits = list(edits)  # the first look at a text: all of it in one step
        else:
            for edit in sorted((self._original(edit) for edit in edits), key=lambda e: (e.start, -e.end)):
                self._insert(edit)
        self.text = apply_edits(self.original, self.edits)[0]

    def _original(self, edit: Edit) -> Edit:
        starts, ends, shift = [], [], 0
        shifts = [0]
        for done in self.edits:
            starts.append(done.start + shift)
            ends.append(done.start + shift + len(done.replacement))
            shift += len(done.replacement) - (done.end - done.start)
            shifts.append(shift)
        first = bisect_right(ends, edit.start)
        start = edit.start - shifts[first]
        if first < len(starts) and starts[first] < edit.start:
            start = self.edits[first].start
        last = bisect_left(starts, edit.end)
        end = edit.end - shifts[last]
        if last and ends[last - 1] > edit.end:
            end = self.edits[last - 1].end
        return Edit(start, max(start, end), edit.replacement, edit.by)

    def _insert(self, edit: Edit) -> None:
        apart, start, end = [], edit.start, edit.end
        for done in self.edits:
            if done.end <= edit.start or done.start >= edit.end:
                apart.append(done)
            else:
                start, end = min(start, done.start), max(end, done.end)
        apart.append(Edit(start, end, edit.replacement, edit.by))
        self.edits = sorted(apart, key=lambda e: e.start)
