"""Documents that carry structure are not dropped for being short or shaped like a list.

A FAQ page is a list of short lines by nature, and worth more than its length says. It is exempt only where every reason
against it is one of length or shape: an exempt page is still dropped for its language, its repetition or its words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KINDS = {
    "faq": ("question", "answer", "accepted_answer"),
    "code": ("code",),
    "list": ("list", "step", "table", "term", "definition"),
}
SHAPE = re.compile(
    r"text\.(blank|null)"
    r"|(word_count|short_lines|line_punctuation|newline_ratio|bullet_lines|sentence_count|c4_paragraphs)\.(\w+\.)?(low|high|empty)"
    r"|gopher_quality\.(words\.low|bullet_lines\.\w+|stop_words\.low|mean_length\.empty|\w+\.empty)"
    r"|gopher_repetition\.\w+\.empty"
    r"|(gopher_repetition|top_ngrams)\.top_\d\.high"
    r"|fineweb\.(ended_lines|short_lines|newlines)\.\w+|fineweb\.repeated_characters\.empty"
    r"|c4\.(sentences\.low|curly\.high)"
    r"|stop_words\.low"
)
"""Reasons of length and shape. The commonest n-gram is among them: in a text of thirty words any pair is a large share."""


def structure(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """Blocks of each exempting kind per row, as ledger metrics (float64)."""
    return {f"document.{word}": blocks_of(batch, kinds).astype(np.float64) for word, kinds in KINDS.items()}


def blocks_of(batch: pa.RecordBatch, kinds: tuple[str, ...]) -> np.ndarray:
    """Blocks of any of `kinds` per row (int64); 0 where rows have no blocks."""
    count = np.zeros(len(batch), np.int64)
    if "blocks" not in batch.schema.names:
        return count
    column = batch.column("blocks")
    found = pc.is_in(column.flatten().field("kind"), value_set=pa.array(kinds, pa.large_string()))
    owners = pc.list_parent_indices(column).filter(found).to_numpy(zero_copy_only=False)
    np.add.at(count, owners, 1)
    return count


def exempted(
    metrics: Mapping[str, np.ndarray], exempt: tuple[str, ...], reasons: Sequence[Sequence[str]]
) -> np.ndarray:
    """Which failed rows are kept all the same: they carry blocks that `exempt` names, and failed by length or shape alone.

    Decided from the ledger's numbers and reasons, so that what-if decides alike.
    """
    carries = np.zeros(len(reasons), bool)
    for word in exempt:
        carries |= metrics[f"document.{word}"] > 0
    if not carries.any():
        return carries
    return carries & np.array([bool(why) and all(map(SHAPE.fullmatch, why)) for why in reasons], bool)
