"""Words from lists of the user's own."""

from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from pipeline.docs import Docs
from pipeline.errors import OptionError
from pipeline.options import CONTENT
from stages.text.phrases import PhraseMatcher, automaton, tally
from stages.text.rules import Bound, Rule
from stages.text.words.counts import read, share


class BadWords(Rule):
    """Words of the lists given, one to a line (`#` begins a comment); whole words, Korean particles may follow.

    C4 drops a page at the first such word (Raffel et al. 2020, section 2.2). No list is shipped: give your own.
    """

    files: Annotated[tuple[str, ...], CONTENT] = Field(min_length=1)
    "Text files with a word or phrase per line."
    anywhere: bool = False
    "Count the words inside other words as well."
    max: int | None = 0
    "Most occurrences (C4: none)."
    max_per_thousand: float | None = None
    "Most occurrences per thousand words."
    bounds = (Bound("count", high="max"), Bound("per_thousand", high="max_per_thousand"))

    def measure(self, docs: Docs) -> dict[str, np.ndarray]:
        found = tally(
            docs.data, docs.offsets[:-1], docs.offsets[1:], _compiled(self.files), whole_words=not self.anywhere
        )[:, 0]
        return {"count": found, "per_thousand": np.nan_to_num(1000 * share(found, docs.cached(read).words))}


@cache
def _compiled(files: tuple[str, ...]) -> PhraseMatcher:
    words: dict[str, None] = {}
    for name in files:
        try:
            lines = Path(name).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as fault:
            raise OptionError(
                f"bad_words: cannot read {name}: {fault}", "give UTF-8 text files with a word per line"
            ) from None
        words |= dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not words:
        raise OptionError(f"bad_words: no word in {', '.join(files)}", "write one word or phrase per line")
    return automaton((tuple(words),))
