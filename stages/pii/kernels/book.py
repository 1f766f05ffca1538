"""The rule book as arrays, the form in which kernels read it. Built once per process, about half a second."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from stages.pii.kernels.automaton import compile_patterns, kept
from stages.pii.kernels.labels import bits_of, labels
from stages.pii.kernels.rules import NUMBER, PatternRule, rule_book

OTHER, DIGIT, LETTER, LOW_LINE, AT, PLUS_SIGN, PAREN, COLON_SIGN, PERCENT = range(9)
PASS, START, MAIL, SIGNED, DOUBLE_COLON, ENCODED = range(6)
"""What the scanner does at a byte, given its class and that of the byte before."""


CHECK, LEFT, RIGHT, KINDS, REGION, SCORES = range(6)
"""Columns of `Book.rules`; from SCORES on: weak without label, with one, against one, then strong likewise."""
BIT, SIZE, BEFORE, BEHIND, ALONE = range(5)
"""Columns of `Book.words`."""


class Book(NamedTuple):
    """Tables of the scanner; few and wide, because every table a kernel is handed costs compile time.

    signs uint8[3, 256]: class of a byte for the scanner, for the patterns' automaton, for the labels' automaton.
    act uint8[81]: what to do at (class of the byte before) * 9 + class. moves int32, width, first int32, accepts int32: the
    automaton of all patterns, accepting states naming rules. rules int64[rules, 11] and words int64[labels, 5]: columns as
    named above. label_moves, label_width, label_first, label_words: the automaton of the labels.
    """

    signs: np.ndarray
    act: np.ndarray
    moves: np.ndarray
    width: int
    first: np.ndarray
    accepts: np.ndarray
    rules: np.ndarray
    label_moves: np.ndarray
    label_width: int
    label_first: np.ndarray
    label_words: np.ndarray
    words: np.ndarray


def _signs() -> np.ndarray:
    sign = np.zeros(256, np.uint8)
    sign[48:58] = DIGIT
    sign[65:91] = LETTER
    sign[97:123] = LETTER
    for mark, kind in (("_", LOW_LINE), ("@", AT), ("+", PLUS_SIGN), ("(", PAREN), (":", COLON_SIGN), ("%", PERCENT)):
        sign[ord(mark)] = kind
    return sign


def _acts() -> np.ndarray:
    act = np.zeros((9, 9), np.uint8)
    act[:, DIGIT] = START
    act[DIGIT, DIGIT] = PASS
    act[:, LETTER] = START
    act[(DIGIT, LETTER, LOW_LINE), LETTER] = PASS
    act[:, AT] = MAIL
    act[:, (PLUS_SIGN, PAREN)] = SIGNED
    act[:, COLON_SIGN] = DOUBLE_COLON
    act[(DIGIT, LETTER, LOW_LINE, COLON_SIGN), COLON_SIGN] = PASS
    act[:, PERCENT] = ENCODED
    return act.reshape(-1)


@cache
def book() -> Book:
    """The compiled rule book of this process."""
    rules = rule_book()
    patterned = [index for index, rule in enumerate(rules) if rule.pattern]
    automaton = kept(compile_patterns, [rules[index].pattern for index in patterned])
    words = labels()
    return Book(
        signs=np.stack([_signs(), automaton.classes, words.automaton.classes]),
        act=_acts(),
        moves=automaton.moves,
        width=automaton.width,
        first=automaton.first,
        accepts=np.array(patterned, np.int32)[automaton.rules],
        rules=np.array([_columns(rule) for rule in rules], np.int64),
        label_moves=words.automaton.moves,
        label_width=words.automaton.width,
        label_first=words.automaton.first,
        label_words=words.automaton.rules,
        words=np.stack([words.bit, words.size, words.before, words.behind, words.alone.astype(np.int64)], axis=1),
    )


def _columns(rule: PatternRule) -> list[int]:
    return [NUMBER[rule.check], rule.left, rule.right, bits_of(rule.labels), int(rule.region), *rule.weak, *rule.strong]


@cache
def rule_number(name: str) -> np.int64:
    """Place of the rule called `name`; int64, so that a kernel is not compiled anew for each value."""
    return np.int64(next(index for index, rule in enumerate(rule_book()) if rule.name == name))


@cache
def switched_on(entities: frozenset[str]) -> np.ndarray:
    """bool[r]: the rules of `entities`."""
    on = np.array([rule.entity in entities for rule in rule_book()], np.bool_)
    on.flags.writeable = False
    return on
