"""From windows found to items found: candidates by windows, certainty by alignment, and what that amounts to.

Windows that follow each other in the text as they do in the item say where to look; the question is then aligned with that
position letter by letter. The shorter a question, the more of it must stand there, and short ones count beside their answer
alone: short sentences are met by chance (영화를 보고 눈물을 흘렸다 in film reviews), beside their answers they are not.
"""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

import numpy as np

from pipeline.unicode import compared
from stages.decontaminate.index import QUESTION, Hits, Index, Templates
from stages.decontaminate.windows import WEIGHT, Location, locate, marks, weights

ANSWERED, QUESTION_FOUND, QUOTED, TEMPLATE = "answered", "question", "quoted", "template"
TIERS = (ANSWERED, QUESTION_FOUND, QUOTED, TEMPLATE)
"""Question and answer together; the question alone; public text an item quotes or its worked solution alone; what many items share."""
NO_ITEM = -1
TEMPLATE_RUN = 2 * WEIGHT
"""Weight of a run of template windows that is reported: 48 letters, 16 syllables."""

GAP = 48
"""Counted characters of an item that edits may tear out between two windows."""
SLACK = 12
"""Counted characters by which one edit may shift the rest of a quotation against the item."""
NEAR = 400
"""Code points around a question in which its answer is looked for."""
LONG, MIDDLE, SHORT = 3 * WEIGHT, 2 * WEIGHT, WEIGHT
"""Weights of questions: 72, 48 and 24 letters (24, 16 and 8 syllables)."""
ANSWER_SIMILARITY = 0.75
"""An answer of half a window and more stands there when this much of it does."""
SENTENCE = 0.7
"""A short question counts alone where so much of it stands as a sentence of its own."""
WORD = 5
"""Least weight of an answer that may be edited."""
STOPS = ".?!:…。\n\r"
TOGETHER = 24
"""Least weight of a short question and its answer."""
HEAVY_RUN = 2.5 * WEIGHT
"""An exact run must weigh this besides its number of words, or "a b c d e f g ..." would be a quotation."""


class Match(NamedTuple):
    """An item in a text: code points of where its question (or passage) stands, and how much of it does."""

    item: int
    """`NO_ITEM` where it is a template."""
    tier: str
    start: int
    end: int
    share: float


class Needs(NamedTuple):
    """What it takes: a share of a long question, or so many words in a row."""

    coverage: float
    words: int


class Chain(NamedTuple):
    """A stretch of text that follows an item's part, and the longest piece of it without a gap (code points)."""

    part: int
    start: int
    end: int
    windows: int
    run: tuple[int, int]


def found_in(index: Index, text: str, hits: Hits, needs: Needs) -> list[Match]:
    """The items found in one text, best first. `hits` are this text's alone, sorted by part."""
    chains: dict[int, dict[int, Chain]] = {}
    bounds = np.flatnonzero(np.diff(hits.part, prepend=-1, append=-1))
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist()):
        part = int(hits.part[first])
        windows = zip(
            *(column[first:last].tolist() for column in (hits.at, hits.start, hits.end, hits.first, hits.length))
        )
        best = max(_chains(part, list(windows)), key=lambda chain: chain.windows)
        if best.windows >= index.needed[part]:
            chains.setdefault(int(index.owner[part]), {})[int(index.kind[part])] = best
    found = (_evaluated(index, item, own, text, needs) for item, own in chains.items())
    return sorted((one for one in found if one), key=lambda one: (TIERS.index(one.tier), -one.share, one.item))


def template_in(text: str, templates: Templates, row: int) -> list[Match]:
    """The longest run of template windows of a text, where it is long enough to be reported."""
    if not templates.length[row]:
        return []
    start, end = templates.run[row].tolist()
    heavy = int(weights()[marks(text[start:end])].sum()) >= TEMPLATE_RUN
    return [Match(NO_ITEM, TEMPLATE, start, end, 0.0)] if heavy else []


def _chains(part: int, windows: list[tuple[int, int, int, int, int]]) -> list[Chain]:
    """Windows of one part, in text order, as chains. Few are open at once: a part seldom stands in a text twice over."""
    open_: list[_Chain] = []
    for window in windows:
        for chain in reversed(open_[-8:]):
            if chain.takes(window):
                break
        else:
            open_.append(_Chain(window))
    return [Chain(part, c.start, c.end, c.windows, c.best) for c in open_]


class _Chain:
    """A chain under way."""

    def __init__(self, window: tuple[int, int, int, int, int]):
        self.at, self.start, self.end, self.last, _ = window
        self.run, self.best, self.windows = self.start, (self.start, self.end), 1

    def takes(self, window: tuple[int, int, int, int, int]) -> bool:
        """Append `window` if it goes on where the chain should."""
        at, start, end, first, length = window
        ahead, along = first - self.last, at - self.at
        if not (0 <= ahead <= GAP and 0 <= along <= GAP + SLACK and abs(ahead - along) <= SLACK):
            return False
        if ahead != along or ahead > length:
            self.run = start
        self.end, self.last, self.at = max(self.end, end), first, at
        self.windows += 1
        if end - self.run > self.best[1] - self.best[0]:
            self.best = (self.run, end)
        return True


def _evaluated(index: Index, item: int, chains: dict[int, Chain], text: str, needs: Needs) -> Match | None:
    """What an item's chains amount to."""
    question = chains.get(QUESTION)
    if question is not None:
        location = _located(index, question, text)
        load = int(index.weight[question.part])
        quoted = _long_run(question, text, needs.words)
        if _likely(load, location.share, needs.coverage) or quoted:
            answer = _answer_weight(index, item, location, text)
            alone = (
                quoted
                or _alone(load, location.share, needs.coverage)
                or (location.share >= SENTENCE and _is_sentence(location, text))
            )
            if alone and answer or _together(load, location.share, answer, needs.coverage):
                return Match(item, ANSWERED, location.start, location.end, round(location.share, 3))
            if alone:
                return Match(item, QUESTION_FOUND, location.start, location.end, round(location.share, 3))
    others = [chain for kind, chain in chains.items() if kind != QUESTION]
    locations = {chain: _located(index, chain, text) for chain in others if index.weight[chain.part] >= MIDDLE}
    good = [
        c
        for c, location in locations.items()
        if location.share >= max(needs.coverage, 0.6) or _long_run(c, text, needs.words)
    ]
    if not good:
        return None
    best = max(good, key=lambda chain: locations[chain].share)
    return Match(item, QUOTED, best.start, best.end, round(locations[best].share, 3))


def _alone(load: int, share: float, coverage: float) -> bool:
    """Does this much of a question count without its answer?"""
    return load >= MIDDLE and share >= max(coverage, 0.6 if load >= LONG else 0.8)


def _is_sentence(location: Location, text: str) -> bool:
    """Does it stand there as a sentence of its own? Beyond quotes and brackets comes a stop, a line break or nothing."""
    before = itertools.dropwhile(_is_wrapping, reversed(text[max(0, location.start - 8) : location.start]))
    after = itertools.dropwhile(_is_wrapping, text[location.end : location.end + 8])
    return next(before, "\n") in STOPS and next(after, "\n") in STOPS


def _is_wrapping(char: str) -> bool:
    return not char.isalnum() and char not in STOPS


def _likely(load: int, share: float, coverage: float) -> bool:
    """May this question count, with or without its answer?"""
    return share >= (min(coverage, 0.5) if load >= LONG else 0.6)


def _together(load: int, share: float, answer: float, coverage: float) -> bool:
    """Do question and answer count together? `answer` is the weight of the answer that stands beside it (0: none does)."""
    if not answer:
        return False
    if answer < WEIGHT // 2:  # yes, no, 42: such words stand beside anything
        return (load >= SHORT and share >= 0.8) or (load + answer >= TOGETHER and share >= 0.95)
    return load * share + answer >= TOGETHER and share >= (min(coverage, 0.5) if load >= LONG else 0.6)


def _located(index: Index, chain: Chain, text: str) -> Location:
    """Where the part stands near the position the chain found, and how much of it."""
    wanted = index.marks[chain.part]
    first = max(0, chain.start - 2 * len(wanted) - 32)
    found = locate(wanted, text[first : chain.end + 2 * len(wanted) + 32])
    return (
        Location(found.share, found.start + first, found.end + first)
        if found.share
        else Location(0.0, chain.start, chain.end)
    )


def _long_run(chain: Chain, text: str, words: int) -> bool:
    stretch = text[chain.run[0] : chain.run[1]]
    return len(stretch.split()) >= words and int(weights()[marks(stretch)].sum()) >= HEAVY_RUN


def _answer_weight(index: Index, item: int, question: Location, text: str) -> float:
    """Weight of the heaviest answer (or solution) that stands beside the question; 0 where none does."""
    known = index.items[item]
    answers = (known.solution, *known.answers)
    reach = NEAR + 2 * max(map(len, answers)) + 16  # never the rest of the text: a text may hold many items
    before, after = (
        compared(text[max(0, question.start - NEAR) : question.start]),
        compared(text[question.end : question.end + reach]),
    )
    best = 0.0
    for answer in answers:
        wanted = marks(answer)
        load = float(weights()[wanted].sum())
        if load <= best:
            continue
        if load < WEIGHT // 2 and _occurs(answer, before[-NEAR // 4 :] + "\n" + after[:NEAR]):
            best = load
        elif load < WEIGHT // 2:  # a word, edited: it counts right behind the question alone
            if load >= WORD and locate(wanted, after[: 2 * len(answer) + 16]).share >= ANSWER_SIMILARITY:
                best = load
        elif locate(wanted, before + "\n" + after[: NEAR + 2 * len(answer)]).share >= ANSWER_SIMILARITY:
            best = load
    return best


def _occurs(answer: str, beside: str) -> bool:
    """Does a short answer stand there as words of its own?"""
    word = compared(answer).strip().lower().rstrip(".")
    return (
        bool(word)
        and re.search(rf"(?<![a-z0-9가-힣.,]){re.escape(word)}(?![a-z0-9]|[.,]\d)", beside.lower()) is not None
    )
