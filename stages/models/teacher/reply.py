"""What a model's reply says: reasoning cut away, JSON found among words, numbers read where they are plain.

One reader for judges, ratings and teachers. Models think aloud (`<think>`, closed or not, or opened by the template so that only
its end stands in the reply), put fences and words around what was asked for, and correct themselves: the last whole value counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

TAG = re.compile(r"<(/?)(?:think|thinking|thought|reasoning|seed:think)>|\[(/?)THINK\]|◁(/?)think▷", re.IGNORECASE)
"""Marks around reasoning; a group holds `/` where it ends."""
START = re.compile(r"\{\s*[\"}]|\[\s*[\[\]{\"\-\dtfn]")
"""Where a JSON object or list may begin."""
DIGITS = 400
"""Digits of an integer that is read; a longer one is not a number."""
DEPTH = 1000
"""Characters charged for a value nested too deeply to be read."""
NUMBER = re.compile(r"\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*(?:/\s*(\d{1,9}(?:\.0{1,9})?))?\s*점?\s*")


class ParsedJson(NamedTuple):
    """A JSON value of a reply and where it stands (code points)."""

    start: int
    end: int
    value: Any


def spoken(text: str) -> str:
    """The reply without the reasoning in front of it: up to the end mark, all of it where the mark never comes.

    >>> spoken("<think>two and two</think> 4"), spoken("two and two</think> 4"), spoken("<think>two and"), spoken("the tag <think> opens")
    ('4', '4', '', 'the tag <think> opens')
    """
    depth, at = 0, 0
    for tag in TAG.finditer(text):
        if not any(tag.groups()):
            if depth == 0 and text[at : tag.start()].strip():
                return text[at:].strip()
            depth += 1
        else:
            depth, at = max(0, depth - 1), tag.end()
    return "" if depth else text[at:].strip()


def values(text: str) -> list[ParsedJson]:
    """Whole JSON objects and lists in a reply, outermost ones, in order; none of those inside reasoning.

    Linear: what fruitless beginnings may cost is bounded by the length of the reply.
    """
    return list(_scan(text))


def objects(text: str) -> list[list[Any]]:
    """The values of `values`, those with nothing but blanks and commas between them as one group (JSON lines are one)."""
    groups: list[list[Any]] = []
    end = -1
    for found in values(text):
        if groups and not text[end : found.start].strip(" \t\r\n,"):
            groups[-1].append(found.value)
        else:
            groups.append([found.value])
        end = found.end
    return groups


def named(text: str, name: str) -> Any:
    """`name` of the last object of a reply that has it; one that stands alone inside another counts. None where none does.

    >>> named('<think>{"score": 1}</think> So: {"score": 5} done', "score")
    5
    """
    for found in reversed(values(text)):
        inside = _holders(found.value, name)
        if len(inside) == 1:
            return inside[0][name]
    return None


def rating(text: str, name: str = "score", low: float = 1, high: float = 5) -> float | None:
    """A number from `low` to `high` under `name`: a JSON number, or text that is one ("4", "4/5" where `high` is 5, "4점").

    >>> rating('{"score": "4/5"}'), rating('{"score": 9}'), rating('{"score": true}'), rating('{"score": NaN}')
    (4.0, None, None, None)
    """
    value = named(text, name)
    if isinstance(value, str) and (read := NUMBER.fullmatch(value)) and (read[2] is None or float(read[2]) == high):
        value = float(read[1])
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    return float(value) if good else None


def _holders(value: Any, name: str) -> list[dict[str, Any]]:
    """Objects with `name`: the value itself, else those inside it, at any depth."""
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict) and name in one:
            found.append(one)
        elif isinstance(one, (dict, list)):
            waiting += one.values() if isinstance(one, dict) else one
    return found


def _scan(text: str) -> Iterator[ParsedJson]:
    decoder = json.JSONDecoder(strict=False, parse_int=_whole)
    tags = list(TAG.finditer(text))
    found: list[ParsedJson] = []
    depth, at, tag, budget = 0, 0, 0, 4 * len(text) + 65_536
    while budget > 0:
        while tag < len(tags) and tags[tag].start() < at:  # stood inside a value
            tag += 1
        start = None if depth else START.search(text, at)
        if tag < len(tags) and (start is None or tags[tag].start() < start.start()):
            if any(tags[tag].groups()):
                depth = max(0, depth - 1)
                found = [] if depth == 0 else found  # what stood before the end of reasoning was reasoning
            else:
                depth += 1
            at = tags[tag].end()
            continue
        if start is None:
            break
        try:
            value, at = decoder.raw_decode(text, start.start())
            found.append(ParsedJson(start.start(), at, value))
        except json.JSONDecodeError as fault:
            at = start.start() + 1
            budget -= fault.pos - at + fault.pos // 64 + 1  # the error counts the lines before it
        except RecursionError:
            at = start.start() + 1
            budget -= DEPTH
    yield from found


def _whole(digits: str) -> float | int:
    return int(digits) if len(digits) <= DIGITS else float("nan")
