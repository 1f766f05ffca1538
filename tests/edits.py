"""Edits of any order and overlap, made such as `apply_edits` takes them."""

from collections.abc import Iterable

from pipeline.schema import Edit


def merge_edits(edits: Iterable[Edit]) -> list[Edit]:
    """Sorted edits without overlaps: of two that overlap the earlier, then the longer, stands."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda e: (e.start, -e.end, e.replacement)):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept
