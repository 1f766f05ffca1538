"""n-gram language models in the ARPA format (KenLM's `lmplz`, SRILM): read as text, asked with back-off.

KenLM itself has no wheels for current Pythons, and its binary files can be read by it alone; the ARPA file it makes them from
can be read by anyone. Models are read into a dictionary: for the sizes that quality filters use (some million n-grams).
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import OptionError

OPEN, CLOSE, UNKNOWN = "<s>", "</s>", "<unk>"
NEVER = -99.0
LN10 = math.log(10.0)


class Ngrams(NamedTuple):
    """`known[words]` is (log10 probability, log10 back-off)."""

    order: int
    known: dict[tuple[str, ...], tuple[float, float]]

    def logp(self, words: Sequence[str]) -> float:
        """Natural logarithm of the probability of a sentence's words and of its end."""
        context: tuple[str, ...] = (OPEN,) if (OPEN,) in self.known else ()
        total = 0.0
        for word in (*words, CLOSE):
            word = word if (word,) in self.known else UNKNOWN
            total += self._one(context, word)
            context = (*context, word)[-(self.order - 1) :] if self.order > 1 else ()
        return total * LN10

    def _one(self, context: tuple[str, ...], word: str) -> float:
        back = 0.0
        while True:
            found = self.known.get((*context, word))
            if found is not None:
                return back + found[0]
            if not context:
                return back + NEVER
            back += self.known.get(context, (0.0, 0.0))[1]
            context = context[1:]


@cache
def read(path: str) -> Ngrams:
    """The model in an ARPA file, also gzipped. OptionError where it is none."""
    opener = gzip.open if path.endswith(".gz") else open
    known: dict[tuple[str, ...], tuple[float, float]] = {}
    order = 0
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                line = line.strip("\r\n")
                if line.startswith("\\") and line.endswith("-grams:"):
                    order = int(line[1 : -len("-grams:")])
                elif order and line and not line.startswith("\\"):
                    cells = line.split("\t")
                    words = tuple(cells[1].split(" "))
                    if len(words) != order:
                        raise ValueError(f"{line[:60]!r} is no {order}-gram")
                    known[words] = (float(cells[0]), float(cells[2]) if len(cells) > 2 else 0.0)
    except (OSError, ValueError, IndexError, EOFError) as fault:
        raise OptionError(
            f"{Path(path).name} is no ARPA file: {fault}",
            "give the .arpa (or .arpa.gz) that KenLM's lmplz writes, not its binary",
        ) from None
    if not known:
        raise OptionError(
            f"{Path(path).name} holds no n-grams",
            "give the .arpa (or .arpa.gz) that KenLM's lmplz writes, not its binary",
        )
    return Ngrams(order, known)
