"""Removes what stands under a news article: reporter, copyright, related links."""

import re

import numpy as np

from stages.text.lines.flags import TERMINATED
from stages.text.lines.rules import LineRule
from stages.text.lines.table import Lines

TAIL = re.compile(
    r"^\s*[▶☞■◆●※▲△▷→]|[ⓒ©]|무단\s?전재|재배포\s?금지|저작권자|Copyright|All rights reserved"
    r"|[가-힣]{2,4}\s?(인턴|선임|수습|객원)?\s?기자(\s|$|=)|기자\s*[=:(]|[가-힣]+@|\S+@\S+\.(com|net|kr|co\.kr)"
    r"|^\[?(사진|영상|그래픽)\s?[=ㅣ|:]|(관련|추천|인기|많이 본)\s?(기사|뉴스)|기사\s?제보|구독\s?신청|네이버에서|카카오톡에서"
    r"|^(Reporting|Editing|Writing|Additional reporting) by |^(Read more|Related|Follow us)\b",
    re.IGNORECASE,
)


class NewsTails(LineRule):
    """Drops reporter, copyright and related-article lines at the end of a text. Patterns of our own, Korean and English."""

    window: int = 10
    "Only the last so many lines are looked at."

    def drop(self, table: Lines) -> np.ndarray:
        near = (table.from_end < self.window) & (table.from_end < np.diff(table.bounds)[table.row] - 1)
        gone = np.zeros(table.n, bool)
        gone[near] = [bool(TAIL.search(text)) for text in table.texts(near)]
        loose = near & ~table.has(TERMINATED) & (table.words <= 8)
        for line in np.flatnonzero(loose).tolist():  # short lines after a tail line are of the tail
            gone[line] |= bool(gone[line - 1]) and table.row[line - 1] == table.row[line]
        return gone
