"""RefinedWeb's line rules."""

import re

import numpy as np

from stages.text.characters import DIGIT, UPPER
from stages.text.lines.rules import LineRule
from stages.text.lines.table import Lines

COUNTER = re.compile(
    r"\W*(\d[\d.,]*\s?[kmb천만]?\+?\s*(likes?|shares?|comments?|retweets?|reposts?|quotes?|bookmarks?|upvotes?|downvotes?"
    r"|downloads?|views?|followers?|replies|reply)"
    r"|(좋아요|싫어요|공유|댓글|조회(수)?|추천(수)?|비추천|스크랩|팔로워|구독자)\s*:?\s*\d[\d.,]*\s?[천만]?\s*(개|명|회|건)?"
    r"|\d[\d.,]*\s?[천만]?\s*(개|명|회|건)?의?\s*(좋아요|댓글|공유|조회|추천))\W*",
    re.IGNORECASE,
)
"""A line that is only a counter of a social site, such as "3 likes" or "조회수 1,204회"."""


class RefinedwebLines(LineRule):
    """Drops lines mostly in capitals, of digits alone, of one word, and counters ("3 likes"); then the document that lost much.

    Penedo et al. 2023, section G.2, with the limits of DCLM's reproduction. The Korean counters are ours.
    """

    max_upper: float = 0.5
    "Drop lines with a larger share of capital letters (DCLM: 0.5)."
    max_digits: float = 0.999999
    "Drop lines with at least this share of digits (DCLM: 0.999999)."
    min_words: int = 2
    "Drop lines of fewer words (DCLM: 2)."
    counters: bool = True
    "Drop lines that are only a counter."
    max_removed: float | None = 0.05
    "Drop documents that lose more than this share of their words (RefinedWeb: 0.05)."

    def drop(self, table: Lines) -> np.ndarray:
        size = np.maximum(table.end - table.start, 1)
        upper, digits = table.makeup(UPPER, DIGIT).T
        gone = (upper / size > self.max_upper) | (digits / size >= self.max_digits) | (table.words < self.min_words)
        if self.counters:
            maybe = ~gone & (table.words <= 4) & (digits > 0)
            gone[maybe] = [bool(COUNTER.fullmatch(text)) for text in table.texts(maybe)]
        return gone
