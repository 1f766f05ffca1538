"""The learnt model: two tables of words and two forests, kept as plain arrays (.npz without pickle), and how a page is read with it."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.errors import SourceError
from stages.ingest.extractor.blocks import FLAGS, Blocks, blocks_of
from stages.ingest.extractor.choice import as_wanted, made_whole, most_expected
from stages.ingest.extractor.comments import are_answers, are_comments
from stages.ingest.extractor.containers import below, extremes, know
from stages.ingest.extractor.features import COLUMNS, fill_features
from stages.ingest.extractor.hashing import open_table
from stages.ingest.extractor.scan import BYTES, LINKS, OWNER
from stages.ingest.extractor.second import SECOND_COLUMNS, fill_second
from stages.ingest.extractor.tables import FLAG
from stages.ingest.extractor.trees import Forest, add_odds, probabilities, steps_of
from stages.ingest.flat.tree import Flat

FORMAT = 2
"""Number of the features and of the file's layout: a model of another number is refused."""
SHIPPED = Path(__file__).parent / "model"
NAME = "model.npz"
PROSE = 200
"""Bytes beside readers' comments from which they are not the page itself."""
MIXED = 1, 2
"""Share of either stage's log odds in the answer: their mean (out of fold: .8758 for the first alone, .8774 for the second, .8787)."""


class Words(NamedTuple):
    """Log odds of hashed words, in hundredths, as an open table for `hashing.find`."""

    keys: np.ndarray
    """uint32: a power of two of slots; 0 for a free one."""
    values: np.ndarray
    """int16 per slot."""


class Model(NamedTuple):
    classes: Words
    """Words of class names and ids."""
    texts: Words
    """First words of short blocks."""
    first: Forest
    second: Forest


def known_of(blocks: Blocks, classes: Words) -> np.ndarray:
    """What is known of each container, as `containers.know`."""
    return know(blocks.block, blocks.container, blocks.class_words, blocks.signature, *classes)


def features_of(blocks: Blocks, known: np.ndarray, texts: Words, out: np.ndarray) -> None:
    """Fill the first COLUMNS columns of `out` (int32, a row a block)."""
    odds, alike = extremes(blocks.container, known)
    fill_features(
        blocks.block, blocks.container, known, odds, alike, blocks.text, blocks.words, blocks.stated, *texts, out
    )


def odds_of(forest: Forest, features: np.ndarray) -> np.ndarray:
    """int64 per row: log odds in 1/65,536."""
    odds = np.zeros(len(features), np.int64)
    add_odds(forest.masked, features, odds)
    return odds


def thousandths(odds: np.ndarray) -> np.ndarray:
    """int32 per row: the probability of those log odds."""
    out = np.empty(len(odds), np.int32)
    probabilities(odds, steps_of(), out)
    return out


def mixed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """int32 per row: the probability of both stages' log odds together, in thousandths."""
    return thousandths((first + second) * MIXED[0] // MIXED[1])


def scored(blocks: Blocks, model: Model) -> np.ndarray:
    """int32 per block: the probability that it is main text, in thousandths."""
    known = known_of(blocks, model.classes)
    # Zeros, as in training: neighbours of the first and last blocks that there are none of are not written.
    features = np.zeros((len(blocks.block), COLUMNS + SECOND_COLUMNS), np.int32)
    features_of(blocks, known, model.texts, features)
    first = odds_of(model.first, features)
    fill_second(blocks.block, blocks.container, known, blocks.signature, thousandths(first), features, COLUMNS)
    return mixed(first, odds_of(model.second, features))


def chosen(tree: Flat, model: Model, comments: bool = True) -> np.ndarray:
    """Booleans by node: the text nodes that are the page's main text, with readers' `comments`; without them where there is more than those."""
    blocks = blocks_of(tree)
    linked = blocks.block[:, LINKS].any()
    kept = np.zeros(len(blocks.block) + 1, np.bool_)  # the last stands for text of no block
    kept[:-1] = taken(tree, blocks, scored(blocks, model) if linked else None, comments)
    return kept[blocks.home]


def taken(tree: Flat, blocks: Blocks, said: np.ndarray | None, comments: bool) -> np.ndarray:
    """Booleans by block: the page's main text, by what was `said` of each (thousandths); None where no block has a link."""
    size = blocks.block[:, BYTES]
    if said is None:  # without a link there is no furniture, or it is named
        rows = blocks.container
        kept = ~below(rows, (rows[:, FLAGS] >> FLAG["nav"]) & 1 > 0)[blocks.block[:, OWNER]]
        kept = kept if kept.any() else ~kept
    else:
        if comments and (answers := are_answers(tree, blocks)).any():
            said = as_wanted(said, size, answers)
        kept = made_whole(most_expected(said, size), said, blocks.block, blocks.container)
    if not comments:
        own = kept & ~are_comments(tree, blocks)
        if size[own].sum() >= PROSE:
            return own
    return kept


def packed(model: Model) -> bytes:
    """The bytes of a model's file: the same for the same arrays."""
    arrays = {"format": np.array([FORMAT, COLUMNS, SECOND_COLUMNS], np.int32)}
    for name, part in zip(Model._fields, model):
        for field, array in zip(part._fields, part):
            arrays[f"{name}.{field}"] = array
        if isinstance(part, Words):
            held = part.keys > 0
            arrays[f"{name}.keys"], arrays[f"{name}.values"] = part.keys[held], part.values[held]
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@cache
def load(file: str | None = None) -> Model:
    """The model in a file of `maetdol extractor train`, or the shipped one. SourceError where it is none."""
    path = file or str(SHIPPED / NAME)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if arrays["format"].tolist() != [FORMAT, COLUMNS, SECOND_COLUMNS]:
                raise SourceError(
                    f"{path} was made for other features than this version computes",
                    "train it again: maetdol extractor train",
                )
            forests = [Forest(*(arrays[f"{name}.{field}"] for field in Forest._fields)) for name in ("first", "second")]
            for forest in forests:
                _ = forest.masked  # one of too many leaves is no model
            tables = [
                Words(*open_table(arrays[f"{name}.keys"], arrays[f"{name}.values"])) for name in ("classes", "texts")
            ]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"{path} holds no extractor's model", "give the `model.npz` of `maetdol extractor train`"
        ) from error
    return Model(*tables, *forests)
