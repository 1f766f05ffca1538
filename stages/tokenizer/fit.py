"""Training with SentencePiece, made repeatable and exact.

Four settings decide that a Hugging Face copy gives the same ids: no normalisation, no dummy blank in front, runs of blanks
kept, bytes for what is not in the vocabulary. Two decide that the same text gives the same bytes: the model is written
through `model_writer` (a file prefix would stand in it), and the number of threads is a constant.

Unigram scores are rounded to 1/64: sums of such numbers are exact in the 32-bit floats SentencePiece adds them in, up to
2^18, some thirty thousand tokens. Unrounded, "!!!!!!!" is "!!!!"+"!!!" for one library and "!!!"+"!!!!" for the other, by
the last bit of a sum (measured: 782 of 60,972 texts differed, 0 after rounding).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.errors import OptionError, WorkError

THREADS = 4
"""SentencePiece's result depends on it, so it is a constant of the stage, not of the machine."""
GRAIN = 64
BASE = ("<unk>", "<s>", "</s>", "<pad>")
"""Ids 0 to 3, in this order; the chat symbols follow, then 256 bytes, then pieces."""
_BIG = 1 << 30
"""Bytes of text from which SentencePiece needs its 64-bit path."""


class TrainerPlan(NamedTuple):
    """What the trainer is asked for."""

    vocab_size: int
    model_type: str
    symbols: tuple[str, ...]
    character_coverage: float
    split_digits: bool
    hard_limit: bool
    size: int
    """Bytes of text that will come."""


def fit(plan: TrainerPlan, lines: Iterable[str]) -> bytes:
    """The trained model's bytes. OptionError or WorkError with the hint when the text does not support the plan."""
    import sentencepiece

    out = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=out,
            model_type=plan.model_type,
            vocab_size=plan.vocab_size,
            hard_vocab_limit=plan.hard_limit,
            character_coverage=plan.character_coverage,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,
            required_chars=required(plan.symbols),
            split_digits=plan.split_digits,
            num_threads=THREADS,
            max_sentence_length=1 << 20,
            train_extremely_large_corpus=plan.size > _BIG,
            control_symbols=list(plan.symbols),
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            minloglevel=2,
        )
    except RuntimeError as fault:
        raise _explained(plan, str(fault)) from None
    return rounded(out.getvalue()) if plan.model_type == "unigram" else out.getvalue()


def required(symbols: tuple[str, ...]) -> str:
    """Characters that get a piece whatever the text: printable ASCII, and those the symbols are spelled with.

    The Hugging Face unigram model would match a spelled-out `<0x41>` or `<s>` rather than fall back to bytes inside it; with
    a piece for each of their characters it never has to.
    """
    return "".join(sorted({chr(code) for code in range(0x21, 0x7F)} | set("".join(symbols))))


def rounded(model: bytes) -> bytes:
    """The model with the scores of its pieces rounded to 1/64."""
    from sentencepiece import sentencepiece_model_pb2 as proto

    parsed = proto.ModelProto()
    parsed.ParseFromString(model)
    for piece in parsed.pieces:
        piece.score = round(piece.score * GRAIN) / GRAIN
    return parsed.SerializeToString(deterministic=True)


def _explained(plan: TrainerPlan, message: str) -> OptionError | WorkError:
    """SentencePiece's message as one with a hint."""
    most = re.search(r"too high \((\d+)\)\. Please set it to a value <= (\d+)", message)
    if most:
        return OptionError(
            f"tokenizer: the sample supports {most[2]} pieces, not {most[1]}",
            f"set vocab_size to at most {most[2]}, give more text, or leave out hard_limit",
        )
    if "smaller than required_chars" in message or "Vocabulary size is smaller" in message:
        needed = re.search(r"required_chars\.?\s*\D*?(\d+)\s*vs\s*(\d+)", message)
        least = f" (at least {max(int(needed[1]), int(needed[2]))})" if needed else ""
        return OptionError(
            f"tokenizer: vocab_size {plan.vocab_size} does not hold the single characters of the sample{least}",
            "raise vocab_size, or lower character_coverage: rarer characters are then spelled in bytes",
        )
    if "sentences_.empty()" in message:
        return WorkError(
            "tokenizer: no text to learn from",
            "give a store whose documents have text; see the ledger for why each was left out",
        )
    return WorkError(
        f"tokenizer: SentencePiece failed: {message[:200]}", "lower sample_mb or vocab_size, then run again"
    )
