"""What `maetdol doctor --warm` makes ahead of time beside kernels: the automata of the rule book."""

from __future__ import annotations

from collections.abc import Callable


def warm(expect: Callable[[int], None], done: Callable[[str], None]) -> tuple[str, bool]:
    """Build the automata, or find them kept: a line for the user, and whether they are on disk. Steps are not counted: a second."""
    from stages.pii.kernels.book import book
    from stages.pii.kernels.labels import labels
    from stages.text.compiled import folder

    book.cache_clear()
    labels.cache_clear()
    book()
    kept = len(list(folder().glob("automaton.*.npz"))) >= 2
    return f"rule book  {'kept in' if kept else 'NOT kept: cannot be written:'} {folder()}", kept
