"""The diversity gate: ROUGE-L of a new instruction with every one that stands, exactly, without trying them all.

ROUGE-L's F of two texts of m and n words is 2L/(m+n), and L, the longest common subsequence, is at most the words they share.
So only those that share enough words are compared; an index by word finds them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stages.text.language.particles import stem, words


class DiversityGate:
    """Instructions that stand, and whether another is unlike all of them."""

    def __init__(self, similarity: float):
        self.similarity = similarity
        self._texts: list[list[str]] = []
        self._counts: list[Counter] = []
        self._postings: dict[str, list[int]] = {}

    def add(self, text: str) -> None:
        tokens = stems(text)
        number = len(self._texts)
        self._texts.append(tokens)
        self._counts.append(Counter(tokens))
        for token in set(tokens):
            self._postings.setdefault(token, []).append(number)

    def alike(self, text: str, apart_from: str = "") -> bool:
        """Whether the text's ROUGE-L with any that stands reaches `similarity`; one equal to `apart_from` is left out."""
        tokens, own = stems(text), stems(apart_from) if apart_from else None
        counts = Counter(tokens)
        shared: Counter = Counter()
        for token, count in counts.items():
            for number in self._postings.get(token, ()):
                shared[number] += min(count, self._counts[number][token])
        for number, most in shared.items():
            other = self._texts[number]
            if (
                2 * most >= self.similarity * (len(tokens) + len(other))
                and other != own
                and rouge_l(tokens, other) >= self.similarity
            ):
                return True
        return False


def stems(text: str) -> list[str]:
    """Words without Korean particles, in lower case."""
    return [stem(word) for word in words(text)]


def rouge_l(one: Sequence[str], two: Sequence[str]) -> float:
    """F1 of the longest common subsequence."""
    if not one or not two:
        return float(not one and not two)
    row = [0] * (len(two) + 1)
    for token in one:
        before = 0
        for number, other in enumerate(two, 1):
            before, row[number] = row[number], before + 1 if token == other else max(row[number], row[number - 1])
    return 2 * row[-1] / (len(one) + len(two))
