"""Lines, paragraphs and substrings against a slow obvious reference, in pieces of any size, and in bounded memory."""

from __future__ import annotations

import ctypes
import gc
import random
import re
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.pool import Inline
from stages.dedup.spans import keys as spans
from stages.dedup.spans import level as span_level
from stages.text.minhash.shingles import table

WORD = re.compile(r"\w+")
UNITS = {
    "line": re.compile(r"[^\n]*\n(?:[ \t\r]*\n)*(?:[ \t\r]*\Z)?|[^\n]+"),
    "paragraph": re.compile(r".*?\n(?:[ \t\r]*\n)+(?:[ \t\r]*\Z)?|.+", re.DOTALL),
}
CLASSES = table("word", False)
TEXTS = st.lists(
    st.tuples(
        st.sampled_from("a A b c 가 나다 é x1".split()), st.sampled_from([" ", ". ", "\n", "\n\n", " \n \n  ", "-"])
    ),
    min_size=1,
    max_size=40,
).map(lambda pieces: "".join(word + gap for word, gap in pieces))


def spans_of(text: str, level: str, least: int) -> list[tuple[tuple[str, ...], int, int]]:
    """(words, first, last) of every span of a text, by the definition."""
    found = [(match[0].lower(), match.start()) for match in WORD.finditer(text)]
    if level == "substring":
        starts = [start for _, start in found] + [len(text)]
        return [
            (tuple(w for w, _ in found[at : at + least]), starts[at], starts[at + least])
            for at in range(len(found) - least + 1)
        ]
    units = (
        (tuple(w.lower() for w in WORD.findall(unit[0])), unit.start(), unit.end())
        for unit in UNITS[level].finditer(text)
    )
    return [unit for unit in units if len(unit[0]) >= least]


def expected(texts: dict[str, str], level: str, least: int) -> dict[str, str]:
    """What is left of each text: of every repeated span the copy in the longest text stays, the first of several there."""
    order = sorted(texts, key=lambda key: (-len(texts[key]), key))
    found = [
        (words, order.index(key), first, last, key)
        for key in texts
        for words, first, last in spans_of(texts[key], level, least)
    ]
    occurrences: dict[tuple, list] = {}
    for words, *occurrence in found:
        occurrences.setdefault(words, []).append(tuple(occurrence))
    goes, stays = {key: set() for key in texts}, {key: set() for key in texts}
    for copies in (sorted(held) for held in occurrences.values() if len(held) > 1):
        for number, (_, first, last, key) in enumerate(copies):
            (goes if number else stays)[key].update(range(first, last))
    left = {
        key: "".join(char for at, char in enumerate(text) if at not in goes[key] - stays[key])
        for key, text in texts.items()
    }
    return {key: text for key, text in left.items() if text == texts[key] or WORD.search(text)}


@pytest.mark.parametrize("level", ["line", "paragraph", "substring"])
def test_what_is_left_is_what_the_definition_leaves(dedup, make_store, tmp_path_factory, monkeypatch, level):
    """The stage over hypothesis's corpora, its tasks so small that texts are cut into pieces and keys into ranges."""
    numbers = count()

    @settings(max_examples=12, deadline=None)
    @given(st.lists(TEXTS, min_size=1, max_size=5), st.integers(1, 4), st.integers(5, 60))
    def holds(texts, least, most):
        monkeypatch.setattr(span_level, "most_spans", lambda memory: most)
        folder = tmp_path_factory.mktemp(f"{level}{next(numbers)}")
        source = make_store(folder / "in", texts, shards=2)
        # Level url removes no row without an address: every text has its say.
        out = dedup(folder / "out", source, levels=["url"], spans=level, span_tokens=least)
        ids = source.table()["id"].to_pylist()
        assert dict(zip(*(out.table()[name].to_pylist() for name in ("id", "text")))) == expected(
            dict(zip(ids, texts)), level, least
        )

    holds()


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 30))
def test_windows_of_pieces_are_the_windows_of_the_text(texts, width, piece):
    data = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, data)]).astype(np.int64)
    flat = np.frombuffer(b"".join(data), np.uint8)
    for row, raw in enumerate(data):
        whole = spans.windows(flat, offsets, np.array([row]), CLASSES, width)
        parts = [
            spans.windows_between(flat, offsets, row, CLASSES, width, low, min(low + piece, len(raw)))
            for low in range(0, len(raw), piece)
        ]
        for name, column in zip(spans.Spans._fields, whole):
            assert np.concatenate([getattr(part, name) for part in parts]).tolist() == column.tolist()
        occurrences = [
            (len(texts[row][:first].encode()), len(texts[row][:last].encode()))
            for _, first, last in spans_of(texts[row], "substring", width)
        ]
        assert list(zip(whole.firsts.tolist(), whole.lasts.tolist())) == occurrences


def test_repeats_drawn_together_keep_the_first_of_each_document():
    keys, docs = np.array([1, 1, 1, 1, 1, 2], np.uint64), np.array([0, 0, 0, 0, 5, 5])
    firsts, lasts = np.array([0, 2, 4, 9, 0, 3]), np.array([3, 5, 7, 12, 3, 6])
    found = [column.tolist() for column in spans.merged(keys, docs, firsts, lasts)]
    assert found == [[1, 1, 1, 1, 2], [0, 0, 0, 5, 5], [0, 2, 9, 0, 3], [3, 7, 12, 3, 6]]


class Watched:
    """An Inline pool that keeps the most anonymous memory (MiB; what is mapped from files does not count) each pass takes."""

    workers = 1

    def __init__(self):
        self.most: dict[str, float] = {}

    def each(self, fn, tasks, **_):
        for task in tasks:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # what earlier tasks gave back would hide what this one takes
            before, over = anonymous(), threading.Event()
            watcher = threading.Thread(target=self._watch, args=(task.sink.name, before, over))
            watcher.start()
            yield from Inline().each(fn, [task])
            over.set()
            watcher.join()

    def _watch(self, name: str, before: float, over: threading.Event) -> None:
        while not over.wait(0.002):
            self.most[name] = max(self.most.get(name, 0.0), anonymous() - before)

    def close(self): ...


def anonymous() -> float:
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of the process as Linux tells it")
def test_a_corpus_of_many_times_the_allowance_is_cut_within_it(dedup, make_store, tmp_path, capsys):
    draw = random.Random(4)
    passage = " ".join(f"passage{draw.randrange(10**6)}" for _ in range(80))
    words = [f"w{n}" for n in range(50_000)]
    texts = [" ".join(draw.choices(words, k=4_000_000)) + " " + passage + " own"]
    texts += [" ".join(draw.choices(words, k=2000)) + " " + passage + f" end{n}" for n in range(1000)] + [
        "again " * 2_000_000
    ]
    source = make_store(tmp_path / "in", texts, shards=2)
    size = sum(map(len, texts)) / 1e6
    small = make_store(tmp_path / "small", texts[1:20])
    options = {"levels": ["url"], "spans": "substring"}
    dedup(tmp_path / "warm", small, span_memory=16, **options)
    watched = Watched()
    out = dedup(tmp_path / "out", source, pool=watched, span_memory=16, **options)
    assert len(out.sub("passes/repeats").shards()) > 20
    left = out.table()["text"].to_pylist()
    assert sum(text.count(passage) for text in left) == 1 and left[-1] == "again " * 50
    with capsys.disabled():
        print(
            f"\n  {size:.0f} MB, allowance 16 MiB, MiB a pass:",
            {name: round(most) for name, most in watched.most.items()},
        )
    held = {name: most for name, most in watched.most.items() if name.startswith(("span", "repeats"))}
    assert 4 < max(held.values()) < 24, "half of it more for Arrow and Python; passes that merge included"
