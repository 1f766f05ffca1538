"""How near a text is to a page's gold: words, snippets, shingles, and what is left of the gold's structure."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

WORD = re.compile(r"\w+")
_LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?:[^()]|\([^()]*\))*\)")
_HEADING, _ITEM = re.compile(r"#{1,6}\s+(.*)"), re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(.*)")
_RULE, _OWN = re.compile(r"[\s|:-]+"), re.compile(r"^\s*(?:[-*•·+]|\d+[.)]|#{1,6}|>)\s+")
FEWEST = 3
"""Characters of a heading, item, cell or line of code below which it says nothing."""


class Score(NamedTuple):
    f1: float
    precision: float
    recall: float


def words(found: str, gold: str) -> Score:
    """Words as a bag; 1 where both are empty."""
    return _score(Counter(WORD.findall(found.lower())), Counter(WORD.findall(gold.lower())))


def shingles(found: str, gold: str, size: int = 4) -> Score:
    """Runs of four words as a bag, the measure of the article extraction benchmark."""
    return _score(_runs(found, size), _runs(gold, size))


def _runs(text: str, size: int) -> Counter:
    tokens = WORD.findall(text.lower())
    return Counter(tuple(tokens[at : at + size]) for at in range(max(1, len(tokens) - size + 1)) if tokens)


def _score(found: Counter, gold: Counter) -> Score:
    if not found and not gold:
        return Score(1.0, 1.0, 1.0)
    both = (found & gold).total()
    return Score(
        2 * both / max(1, found.total() + gold.total()), both / max(1, found.total()), both / max(1, gold.total())
    )


def share(snippets: list[str], text: str) -> float | None:
    """Share of the snippets that stand in the text, white space aside; None where there are none."""
    plain = " ".join(text.split())
    return sum(" ".join(each.split()) in plain for each in snippets) / len(snippets) if snippets else None


class Structure(Counter):
    """Counts by name: `headings`, `headings kept`, `headings on a line` and so on for `items`, `cells`, `code`."""


def structure(markdown: str, found: str) -> Structure:
    """What the gold's Markdown has by way of headings, list items, table cells and lines of code, and what of it stands in `found`.

    Texts are compared by their words. A heading and an item are on a line where a line is that text, marks of lists and headings aside; a
    cell where one line is the words of its row; a line of code where it is a line unchanged, blanks at its end aside.
    """
    counts, whole = Structure(), f" {_plain(found)} "
    lines = {_plain(part) for line in found.split("\n") for part in (line, _OWN.sub("", line))}
    exact, flat = {line.rstrip() for line in found.split("\n")}, " ".join(found.split())
    code = False
    for line in markdown.split("\n"):
        if line.lstrip().startswith("```"):
            code = not code
        elif code:
            if len(line.strip()) >= FEWEST:
                _count(counts, "code", " ".join(line.split()) in flat, line.rstrip() in exact)
        elif line.lstrip().startswith("|"):
            if not _RULE.fullmatch(line):
                is_row = _plain(line.replace("|", " ")) in lines
                for cell in map(_plain, re.split(r"(?<!\\)\|", line.strip().strip("|"))):
                    if len(cell) >= FEWEST:
                        _count(counts, "cells", f" {cell} " in whole, is_row)
        elif (match := _HEADING.fullmatch(line.strip()) or _ITEM.fullmatch(line)) and len(_plain(match[1])) >= FEWEST:
            text = _plain(match[1])
            _count(counts, "headings" if match.re is _HEADING else "items", f" {text} " in whole, text in lines)
    return counts


def _plain(text: str) -> str:
    """The words of Markdown, addresses of links aside."""
    return " ".join(WORD.findall(_LINK.sub(r"\1", text).replace("_", " ").lower()))


def _count(counts: Structure, what: str, is_kept: bool, is_line: bool) -> None:
    counts[what] += 1
    counts[f"{what} kept"] += is_kept
    counts[f"{what} on a line"] += is_line
