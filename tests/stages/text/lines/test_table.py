"""The table of lines and what becomes of it as edits, against plain Python."""

import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.docs import Docs
from pipeline.schema import apply_edits
from stages.text.characters import CLOSER, TERMINAL, classes
from stages.text.lines import edits as line_edits
from stages.text.lines import flags
from stages.text.lines import table as table_of

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
PIECES = [*"ab. \n\n\r\t\"'?[1]]{한.\u2028", "[12]", "[edit]", "...", " foo", "[citation needed]"]
TEXTS = st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), min_size=1, max_size=5)


def docs_of(texts: list[str]) -> Docs:
    return Docs(pa.record_batch({"text": pa.array(texts, pa.large_string())}))


def sentences(line: str) -> int:
    count, pending, stopped = 0, False, False
    for char in line:
        kind = classes()[ord(char)]
        if char.isspace():
            count, pending, stopped = (count + 1, False, False) if stopped else (count, pending, stopped)
        elif kind & TERMINAL:
            pending = stopped = True
        elif not (stopped and kind & CLOSER):
            pending, stopped = True, False
    return count + pending


def slow(text: str) -> list[tuple]:
    out = []
    for line in text.splitlines():
        line = line.strip()
        if line:
            bare = CITATION.sub("", line)
            ended = bare.endswith((".", "?", "!", '"', "'")) and not bare.endswith("...")
            words = line.split()
            out.append((line, len(words), max(map(len, words)), sentences(bare), len(CITATION.findall(line)), ended))
    return out


@settings(deadline=None, max_examples=200)
@given(TEXTS)
def test_the_table_is_that_of_plain_python(texts):
    table = docs_of(texts).cached(table_of.lines)
    ended = table.has(flags.ENDED)
    for row, text in enumerate(texts):
        part = range(int(table.bounds[row]), int(table.bounds[row + 1]))
        assert [
            (text[table.start[i] : table.end[i]], *table.numbers[i].tolist(), bool(ended[i])) for i in part
        ] == slow(text)


@settings(deadline=None, max_examples=150)
@given(TEXTS, st.randoms())
def test_edits_leave_exactly_the_kept_lines(texts, random):
    table = docs_of(texts).cached(table_of.lines)
    keep = np.array([random.random() < 0.6 for _ in range(table.n)], bool)
    joined, without = line_edits.joined(table, keep, "x"), line_edits.without(table, ~keep, "x")
    for row, text in enumerate(texts):
        part = slice(int(table.bounds[row]), int(table.bounds[row + 1]))
        kept = [line for (line, *_), stays in zip(slow(text), keep[part]) if stays]
        assert apply_edits(text, joined[row])[0] == "\n".join(CITATION.sub("", line) for line in kept)
        assert [line.strip() for line in apply_edits(text, without[row])[0].splitlines() if line.strip()] == kept


def test_paragraphs_stay_one_blank_line_apart():
    text = "one\n\nmenu\n\ntwo\nmenu\nthree\n\nmenu\n"
    table = docs_of([text]).cached(table_of.lines)
    drop = np.array([line == "menu" for line in table.texts(np.ones(table.n, bool))])
    assert apply_edits(text, line_edits.without(table, drop, "x")[0])[0] == "one\n\ntwo\nthree"


CUTS = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 4), st.sampled_from(["", "X", "YZ"])), max_size=5)


def edits_of(cuts: list[tuple[int, int, str]], size: int) -> list:
    from pipeline.schema import Edit
    from tests.edits import merge_edits

    return merge_edits(
        [Edit(start, min(start + width, size), word, "t") for start, width, word in cuts if start <= size]
    )


@settings(deadline=None, max_examples=300)
@given(st.text("abcdef", max_size=14), CUTS, CUTS)
def test_two_rounds_of_edits_are_one(text, first, second):
    one = edits_of(first, len(text))
    between = apply_edits(text, one)[0]
    two = edits_of(second, len(between))
    assert apply_edits(text, line_edits.composed(one, two, len(text)))[0] == apply_edits(between, two)[0]
