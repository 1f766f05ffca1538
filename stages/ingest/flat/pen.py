"""What is being written of a page: bytes, the separator owed before the next, the elements open around it, spans and marks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.text.compiled import uncounted

NO_GAP, BLANK, LINE, PARAGRAPH = 0, 1, 2, 3
"""What is owed before the next word."""
SPACE, GONE, LETTER = 0, 1, 2
"""What a character is to a line of text; GONE are zero-width spaces, soft hyphens and byte order marks: layout, not text."""

(
    AT,
    OWED,
    MARK,
    NUMBER,
    BREAKS,
    RUN,
    INSIDE,
    SPANS,
    MARKS,
    LEVEL,
    LISTS,
    LIST,
    TABLE,
    VERBATIM,
    WAITING,
    MARKDOWN,
    QUOTES,
    FENCE,
    STATES,
) = range(19)
"""Places in `Pen.state`: bytes written; separator owed; mark owed (below) and its number; line breaks met in a row; where the run of
text under way began, or -1; open blocks; spans and marks so far; open elements; open lists, the level of the innermost list and table
(-1: none); open `pre`; blanks that wait for the first word of a `pre`; is it Markdown; open quotes; backticks of the fence of the `pre`."""
NO_MARK, BULLET, COUNTED, BAR, HASHES = range(5)
HEADING, LISTING, QUOTE, CODE, TABLES = range(1, 6)
"""Kinds of block (`write.KINDS`); a paragraph is 0."""
NODE, SLOT, KIND, OUTER, COUNT, CELLS, ROWS = range(7)
"""Columns of `Pen.held`: the open element; where its text began, or -1; its kind of block (0: none); the level of the list or table
around it; of a list its next number (-1: bullets), of a table the last cell of the row that has text; of a table the cells of its row,
of a list the column at which its item's text begins; of a table the rows with text so far."""
TAB = 1 << 20
"""What a tabulator adds to `WAITING`, where a blank adds one."""
INDENT = 8
"""Lists inside lists that are indented."""
WIDEST = 4 * INDENT
"""Columns of indentation in Markdown."""


class Pen(NamedTuple):
    out: np.ndarray
    """uint8: the text so far."""
    state: np.ndarray
    """int64: the numbers above."""
    held: np.ndarray
    """int32, a row an open element that is not inline."""
    spans: np.ndarray
    """int32, a row a span: kind, first byte, one past the last, level of a heading or 0."""
    marks: np.ndarray
    """int32, a row a stretch that stands for layout: first byte, one past the last."""
    counts: np.ndarray
    """int32 by kind: open blocks."""


@uncounted
def what(data, at, stop):
    """(kind, bytes) of the character that begins at `at`; white space as `str.split` knows it."""
    byte = data[at]
    if byte < 0x80:
        return (SPACE if byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31 else LETTER), 1
    if byte < 0xE0:
        if byte == 0xC2 and at + 1 < stop:
            low = data[at + 1]
            if low == 0xA0 or low == 0x85:
                return SPACE, 2
            if low == 0xAD:
                return GONE, 2
        return LETTER, min(2, stop - at)
    if byte >= 0xF0:
        return LETTER, min(4, stop - at)
    if at + 2 < stop:
        code = (data[at + 1] << 8) | data[at + 2]
        if byte == 0xE2:
            if 0x8080 <= code <= 0x808A or code == 0x80A8 or code == 0x80A9 or code == 0x80AF or code == 0x819F:
                return SPACE, 3
            if code == 0x808B or code == 0x81A0:
                return GONE, 3
        elif byte == 0xE3:
            if code == 0x8080:
                return SPACE, 3
        elif byte == 0xE1:
            if code == 0x9A80:
                return SPACE, 3
        elif byte == 0xEF and code == 0xBBBF:
            return GONE, 3
    return LETTER, min(3, stop - at)


@uncounted
def put(pen, byte):
    pen.out[pen.state[AT]] = byte
    pen.state[AT] += 1


@uncounted
def noted(pen, start):
    """What was written from `start` on stands for layout."""
    if pen.state[AT] > start:
        pen.marks[pen.state[MARKS], 0], pen.marks[pen.state[MARKS], 1] = start, pen.state[AT]
        pen.state[MARKS] += 1


@uncounted
def begun(pen):
    """Text begins here: of every open element that had none, and of the run."""
    state, held = pen.state, pen.held
    for level in range(state[LEVEL] - 1, -1, -1):
        if held[level, SLOT] >= 0:
            break
        held[level, SLOT] = state[AT]
    if state[RUN] < 0:
        state[RUN] = state[AT]


@uncounted
def _behind_marks(pen, first):
    """Headings that begin at `first` begin behind what was written there as layout."""
    for level in range(pen.state[LEVEL] - 1, -1, -1):
        if pen.held[level, SLOT] != first:
            break
        if pen.held[level, KIND] == HEADING:
            pen.held[level, SLOT] = pen.state[AT]


@uncounted
def _decimal(pen, number):
    size = 1
    while size < 1_000_000_000 and number >= 10 * size:
        size *= 10
    while size:
        put(pen, 48 + number // size % 10)
        size //= 10


@uncounted
def gap(pen):
    """Write what is owed before a word: separator and mark."""
    state = pen.state
    mark, owed = state[MARK], state[OWED]
    if owed or mark or state[RUN] < 0:
        if state[AT]:
            if owed >= LINE:
                put(pen, 10)
                if owed == PARAGRAPH:
                    put(pen, 10)
            elif owed == BLANK and (mark != BAR or not pen.held[state[TABLE], COUNT]):
                put(pen, 32)
        first = start = state[AT]
        begun(pen)
        if state[QUOTES] and state[MARKDOWN] and (owed >= LINE or not start):
            put(pen, 62)
            put(pen, 32)
            noted(pen, start)
            start = state[AT]
        if mark:
            _mark(pen, mark)
            noted(pen, start)
        _behind_marks(pen, first)
        state[OWED] = state[MARK] = 0
    state[BREAKS] = 0


@uncounted
def _indentation(pen):
    """Blanks before the mark of an item: two a list around it; in Markdown as far as the text of the item around it begins."""
    state = pen.state
    if not state[MARKDOWN]:
        return 2 * (min(state[LISTS], INDENT) - 1)
    outer = pen.held[state[LIST], OUTER] if state[LIST] >= 0 else -1
    return pen.held[outer, CELLS] if outer >= 0 else 0


@uncounted
def _mark(pen, mark):
    state = pen.state
    start = state[AT]
    if mark == HASHES:
        for _ in range(state[NUMBER]):
            put(pen, 35)
    elif mark == BAR:
        _bars(pen)
        return
    else:
        for _ in range(_indentation(pen)):
            put(pen, 32)
        if mark == BULLET:
            put(pen, 45)
        else:
            _decimal(pen, state[NUMBER])
            put(pen, 46)
        if state[LIST] >= 0:
            pen.held[state[LIST], CELLS] = min(state[AT] + 1 - start, WIDEST)
    put(pen, 32)


@uncounted
def _bars(pen):
    """The bar before a cell; in Markdown one before a row's first cell too, and one for each cell without text."""
    table = pen.held[pen.state[TABLE]]
    if table[COUNT]:
        put(pen, 32)
    bars = table[CELLS] - table[COUNT] if pen.state[MARKDOWN] else (1 if table[COUNT] else 0)
    for _ in range(bars):
        put(pen, 124)
        put(pen, 32)
    table[COUNT] = table[CELLS]


@uncounted
def say(pen, data, at, stop):
    """Text of a line: white space as one blank, zero-width characters gone."""
    state, out = pen.state, pen.out
    fresh = True
    to = state[AT]
    escapes = state[MARKDOWN] and state[TABLE] >= 0
    while at < stop:
        byte = data[at]
        if 32 < byte < 0x80:
            kind, size = LETTER, 1
        else:
            kind, size = what(data, at, stop)
        if kind == LETTER:
            if fresh:
                gap(pen)
                to = state[AT]
                fresh = False
            if byte == 124 and escapes:
                out[to] = 92
                to += 1
            for place in range(at, at + size):
                out[to] = data[place]
                to += 1
        elif kind == SPACE and not fresh:
            state[AT] = to
            state[OWED] = BLANK
            fresh = True
        elif kind == SPACE and state[OWED] == NO_GAP:
            state[OWED] = BLANK
        at += size
    state[AT] = to


@uncounted
def _first_of_code(pen):
    """Separator, in Markdown a fence, and the blanks before the first word of a `pre`."""
    state = pen.state
    marked = state[MARK]
    gap(pen)
    if state[MARKDOWN]:
        if not marked:
            _indent(pen)
        fence(pen)
        line(pen)
        pen.held[state[LEVEL] - 1, SLOT] = state[AT]
    for _ in range(state[WAITING] // TAB):
        put(pen, 9)
    for _ in range(state[WAITING] % TAB):
        put(pen, 32)
    state[VERBATIM], state[WAITING] = 2, 0


@uncounted
def _indent(pen):
    """In Markdown: blanks as far as the text of the list's item begins, so that code behind it is of the item."""
    state = pen.state
    if state[MARKDOWN] and state[LIST] >= 0:
        start = state[AT]
        for _ in range(pen.held[state[LIST], CELLS]):
            put(pen, 32)
        noted(pen, start)


@uncounted
def line(pen):
    """A line of code begins: in Markdown inside quotes and items as those go on."""
    state = pen.state
    put(pen, 10)
    if state[QUOTES]:
        start = state[AT]
        put(pen, 62)
        put(pen, 32)
        noted(pen, start)
    _indent(pen)


@uncounted
def _lines_of_code(pen):
    """The line ends that wait for a word behind them."""
    state = pen.state
    for _ in range(state[WAITING] - 1):
        put(pen, 10)
        if state[QUOTES]:
            put(pen, 62)
            noted(pen, state[AT] - 1)
    line(pen)
    state[WAITING] = 0


@uncounted
def fence(pen):
    """The backticks before or behind the lines of a `pre`: layout."""
    start = pen.state[AT]
    for _ in range(pen.state[FENCE]):
        put(pen, 96)
    noted(pen, start)


@uncounted
def say_code(pen, data, at, stop):
    """Text of a `pre`: as it stands, but for blanks at ends of lines and empty lines before the first word."""
    state = pen.state
    while at < stop:
        byte = data[at]
        kind, size = (LETTER, 1) if 32 < byte < 0x80 else what(data, at, stop)
        if kind == GONE:
            at += size
            continue
        if state[VERBATIM] == 1:  # no word yet
            if byte == 10:
                state[WAITING] = 0
            elif kind == SPACE:
                state[WAITING] += TAB if byte == 9 else 1
            else:
                _first_of_code(pen)
        if state[VERBATIM] == 2:
            if byte == 10:
                end_line(pen)
            else:
                if state[WAITING]:
                    _lines_of_code(pen)
                for place in range(at, at + size):
                    put(pen, data[place])
        at += size


@uncounted
def end_line(pen):
    """A line of code ends: the next begins where there is more to say."""
    _trim(pen, False)
    pen.state[WAITING] += 1


@uncounted
def end_code(pen):
    """The text of a `pre` ends with its last word."""
    state = pen.state
    _trim(pen, True)
    while state[MARKS] and pen.marks[state[MARKS] - 1, 1] == state[AT]:  # signs of quotes before lines without a word
        state[AT] = pen.marks[state[MARKS] - 1, 0]
        state[MARKS] -= 1
        _trim(pen, True)
    state[WAITING] = 0


@uncounted
def _trim(pen, lines):
    """Take blanks, and with `lines` line ends, from the end of what is written, and from marks what stood there."""
    out, state, marks = pen.out, pen.state, pen.marks
    while state[AT] and (out[state[AT] - 1] == 32 or out[state[AT] - 1] == 9 or (lines and out[state[AT] - 1] == 10)):
        state[AT] -= 1
    while state[MARKS] and marks[state[MARKS] - 1, 1] > state[AT]:
        if marks[state[MARKS] - 1, 0] >= state[AT]:
            state[MARKS] -= 1
        else:
            marks[state[MARKS] - 1, 1] = state[AT]


@uncounted
def end_run(pen, size):
    """The end of a run of text: what stood loose before it is a paragraph (kind 0)."""
    state = pen.state
    if state[RUN] >= 0:
        if not state[INSIDE] and state[AT] > state[RUN]:
            span(pen, 0, state[RUN], state[AT], 0)
        state[RUN] = -1
    state[OWED] = max(state[OWED], size)


@uncounted
def span(pen, kind, start, stop, level):
    row = pen.state[SPANS]
    pen.spans[row, 0], pen.spans[row, 1], pen.spans[row, 2], pen.spans[row, 3] = kind, start, stop, level
    pen.state[SPANS] += 1
