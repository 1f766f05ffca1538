"""How often phrases stand in stretches of text: one Aho-Corasick automaton over bytes, ASCII letters in one case.

The automaton works on byte classes (bytes that no phrase uses share one), so that a list of some hundred phrases fits
the first cache. A phrase counts wherever it stands, or, with `whole_words`, only where no letter or digit touches it;
Hangul may follow it in any case, because Korean particles are written on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from stages.text.characters import classes


@dataclass(frozen=True)
class PhraseMatcher:
    """A compiled list of phrases in groups."""

    columns: np.ndarray
    """uint16, 256: the class of every byte."""
    step: np.ndarray
    """int32, states x classes."""
    ends: np.ndarray
    """int32 per state: the phrase that ends there, or -1."""
    next_end: np.ndarray
    """int32 per state: the next shorter suffix state at which a phrase ends, or -1."""
    sizes: np.ndarray
    """int32 per phrase: bytes."""
    groups: np.ndarray
    """int32 per phrase."""
    n_groups: int


def folded(phrase: str) -> bytes:
    """UTF-8 with ASCII letters in lower case: what is compared."""
    return phrase.encode().lower()


@cache
def automaton(groups: tuple[tuple[str, ...], ...]) -> PhraseMatcher:
    """Compile `groups` of phrases. ValueError on an empty phrase. A phrase in two groups counts for the last."""
    phrases = {folded(phrase): group for group, members in enumerate(groups) for phrase in members}
    if b"" in phrases:
        raise ValueError("a phrase must not be empty")
    used = sorted({byte for phrase in phrases for byte in phrase})
    columns = np.zeros(256, np.uint16)
    columns[used] = np.arange(1, len(used) + 1)
    columns[ord("A") : ord("Z") + 1] = columns[ord("a") : ord("z") + 1]
    step, ends = _trie(list(phrases), columns, len(used) + 1)
    next_end = _link(step, ends)
    return PhraseMatcher(
        columns,
        np.array(step, np.int32),
        np.array(ends, np.int32),
        np.array(next_end, np.int32),
        np.array([len(phrase) for phrase in phrases], np.int32),
        np.array(list(phrases.values()), np.int32),
        len(groups),
    )


def _trie(phrases: list[bytes], columns: np.ndarray, width: int) -> tuple[list[list[int]], list[int]]:
    step, ends = [[-1] * width], [-1]
    for number, phrase in enumerate(phrases):
        state = 0
        for byte in phrase:
            column = int(columns[byte])
            if step[state][column] < 0:
                step[state][column] = len(step)
                step.append([-1] * width)
                ends.append(-1)
            state = step[state][column]
        ends[state] = number
    return step, ends


def _link(step: list[list[int]], ends: list[int]) -> list[int]:
    """Close the trie so that every state steps on every class; where each state's shorter matches end."""
    fall = [0] * len(step)
    next_end = [-1] * len(step)
    queue = []
    for column, child in enumerate(step[0]):
        if child < 0:
            step[0][column] = 0
        else:
            queue.append(child)
    for state in queue:
        back = fall[state]
        next_end[state] = back if ends[back] >= 0 else next_end[back]
        for column, child in enumerate(step[state]):
            if child < 0:
                step[state][column] = step[back][column]
            else:
                fall[child] = step[back][column]
                queue.append(child)
    return next_end


def tally(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, phrases: PhraseMatcher, *, whole_words: bool = False
) -> np.ndarray:
    """Occurrences per stretch and group: int32, len(starts) x n_groups. Stretches are byte ranges of `data`."""
    from stages.text.phrasescan import scan

    counts = np.zeros((len(starts), phrases.n_groups), np.int32)
    scan(
        data, starts, ends, classes(), phrases.columns, phrases.step, phrases.ends, phrases.next_end, phrases.sizes,
        phrases.groups, whole_words, counts,
    )  # fmt: skip
    return counts
