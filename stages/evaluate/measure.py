"""What is measured of one model: arrays per row, so that models can be compared row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from stages.models.chat.answers import encode_chat, encode_pair
from stages.models.chat.rows import IGNORED, Row, collate, join, segment
from stages.models.chat.templates import Chat
from stages.models.encoder import Encoder
from stages.models.inference.score import token_logps


class Reader(NamedTuple):
    """A model ready to be asked for log-probabilities."""

    model: Any
    device: Any
    dtype: Any
    batch: int
    pad: int

    def sums(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """Summed log-probability and number of the tokens asked for, per row (float64, int64)."""
        total, count = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        longest_first = sorted(range(len(rows)), key=lambda n: (-len(rows[n].ids), n))
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16),
        ):
            for at in range(0, len(rows), self.batch):
                some = longest_first[at : at + self.batch]
                batch = collate([rows[n] for n in some], self.pad, self.device)
                total[some] = token_logps(self.model, batch).double().sum(dim=1).cpu().numpy()
                count[some] = (batch.labels != IGNORED).sum(dim=1).cpu().numpy()
        return total, count


class DocumentWindows(NamedTuple):
    """Documents as windows of tokens. Arrays run over documents."""

    windows: list[Row]
    owner: np.ndarray
    """int64 per window: which document it belongs to."""
    bytes: np.ndarray
    langs: list[str]
    sources: list[str]
    """The folder of its source (`source_of`)."""


def source_of(source: str | None) -> str:
    """Where a document came from, as it is grouped: the first two folders of its source, or the file where there is none.

    >>> source_of("crawl/site.example/00000.warc.gz"), source_of("docs/a/b/c.html"), source_of("pages.jsonl"), source_of(None)
    ('crawl/site.example', 'docs/a', 'pages.jsonl', 'unknown')
    """
    *folders, last = (source or "unknown").replace("://", "/").split("/")
    return "/".join(folders[:2]) or last


def cut_documents(rows: Sequence[dict[str, Any]], encoder: Encoder, width: int, bos: bool) -> DocumentWindows:
    """Every token of a document's text is asked for once.

    A window begins with the last token of the one before, so that nothing but the first token of the document (where no
    begin-of-sequence token stands in front) goes unasked; its bytes are then not counted either.
    """
    windows, owner, sizes = [], [], []
    front = [encoder.bos] if bos and encoder.bos is not None else []
    for ids, row in zip(encoder.encode([row["text"] or "" for row in rows]), rows):
        tokens = np.asarray([*front, *ids], dtype=np.int32)
        skipped = 0
        if not front and len(ids):
            marks = encoder.marks(row["text"], np.asarray(ids))
            skipped = len(row["text"][: marks[1]].encode())
        for at in range(0, max(len(tokens) - 1, 0), width - 1):
            windows.append(join([segment(tokens[at : at + width])]))
            owner.append(len(sizes))
        sizes.append(len((row["text"] or "").encode()) - skipped)
    langs, sources = [row["lang"] or "und" for row in rows], [source_of(row.get("source")) for row in rows]
    return DocumentWindows(
        windows, np.asarray(owner, dtype=np.int64), np.asarray(sizes, dtype=np.int64), langs, sources
    )


def bits(reader: Reader, documents: DocumentWindows) -> np.ndarray:
    """Bits of every document's text under the model (float64)."""
    sums, _ = reader.sums(documents.windows)
    return np.bincount(documents.owner, weights=-sums / np.log(2.0), minlength=len(documents.bytes))


class ConversationRows(NamedTuple):
    """Conversations that fit, as rows, and the reasons of those that do not (by id)."""

    rows: list[Row]
    refused: dict[str, str]


def encode_conversations(found: Sequence[dict[str, Any]], chat: Chat, width: int) -> ConversationRows:
    rows, refused = [], {}
    for row in found:
        part, reason = encode_chat(chat, row["messages"] or [], width, None, row.get("tools"))
        if part is None:
            refused[row["id"]] = reason or "chat.empty"
        else:
            rows.append(join([part]))
    return ConversationRows(rows, refused)


class PairRows(NamedTuple):
    """Pairs that fit, both sides as rows, and the reasons of those that do not (by id)."""

    chosen: list[Row]
    rejected: list[Row]
    longer: np.ndarray
    """+1 where the chosen answer is longer (code points), -1 where shorter, 0 where equal."""
    refused: dict[str, str]


def encode_pairs(found: Sequence[dict[str, Any]], chat: Chat, width: int) -> PairRows:
    chosen, rejected, longer, refused = [], [], [], {}
    for row in found:
        pair, reason = encode_pair(
            chat, row["prompt"] or [], row["chosen"] or [], row["rejected"] or [], width, row.get("tools")
        )
        if pair is None:
            refused[row["id"]] = reason or "chat.empty"
            continue
        chosen.append(pair.chosen)
        rejected.append(pair.rejected)
        longer.append(np.sign(_length(row["chosen"]) - _length(row["rejected"])))
    return PairRows(chosen, rejected, np.asarray(longer, dtype=np.int64), refused)


def _length(messages: list[dict]) -> int:
    return sum(len(message["content"] or "") for message in messages)


class Preferences(NamedTuple):
    """Per pair: log-probability per token and as a sum, of both sides (float64)."""

    chosen: np.ndarray
    rejected: np.ndarray
    chosen_sum: np.ndarray
    rejected_sum: np.ndarray


def preferences(reader: Reader, pairs: PairRows) -> Preferences:
    good, good_count = reader.sums(pairs.chosen)
    bad, bad_count = reader.sums(pairs.rejected)
    return Preferences(good / good_count, bad / bad_count, good, bad)


def wins(difference: np.ndarray) -> np.ndarray:
    """1 where above zero, 0.5 where equal, 0 otherwise (float64)."""
    return (difference > 0) + 0.5 * (difference == 0)


def guess_by_length(longer: np.ndarray) -> np.ndarray:
    """Per pair, is the better of two blind guesses right: "the longer is chosen", "the shorter is chosen"?"""
    up, down = wins(longer.astype(np.float64)), wins(-longer.astype(np.float64))
    return up if up.sum() >= down.sum() else down
