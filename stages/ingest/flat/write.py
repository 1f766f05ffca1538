"""The chosen text of a flat tree to lines and blocks, in one pass over its nodes."""

from __future__ import annotations

import numpy as np

from stages.ingest.flat.names import ATTRIBUTE, TAG, TEXT, table_of
from stages.ingest.flat.pen import (
    AT,
    BAR,
    BLANK,
    BREAKS,
    BULLET,
    CELLS,
    CODE,
    COUNT,
    COUNTED,
    FENCE,
    HASHES,
    HEADING,
    INSIDE,
    KIND,
    LEVEL,
    LINE,
    LIST,
    LISTING,
    LISTS,
    MARK,
    MARKDOWN,
    NODE,
    NUMBER,
    OUTER,
    OWED,
    PARAGRAPH,
    QUOTE,
    QUOTES,
    ROWS,
    SLOT,
    TABLE,
    TABLES,
    VERBATIM,
    WAITING,
    Pen,
    end_code,
    end_line,
    end_run,
    fence,
    line,
    noted,
    put,
    say,
    say_code,
    span,
)  # fmt: skip
from stages.ingest.flat.tree import TREE
from stages.text.compiled import int64, kernel, reads, tuple_of, uncounted, writes

KINDS = ("paragraph", "heading", "list", "quote", "code", "table")

STANDS = table_of(
    "p div section article main header footer nav aside form fieldset figure figcaption address hr dl details summary body html "
    "center h1 h2 h3 h4 h5 h6 ul ol menu dir blockquote pre listing table caption hgroup search legend"
)
"""Elements that stand alone: a blank line before and after."""
LINES = table_of("li tr dt dd thead tbody tfoot option optgroup")
"""Elements that begin a line inside their block."""
OF = np.zeros(len(STANDS), np.int8)
"""Kind of block by tag; 0 is none."""
for _kind, _names in enumerate(("h1 h2 h3 h4 h5 h6", "ul ol menu dir dl", "blockquote", "pre listing", "table"), 1):
    OF[[TAG[name] for name in _names.split()]] = _kind
CELL = table_of("td th")
TOLD = table_of("table h1 h2 h3 h4 ul ol dl pre form article")
"""Elements inside a table that tell one of layout."""
H1, UL, OL, LI, BR, TR, TABLE_TAG, CAPTION, CODE_TAG = (
    TAG[name] for name in ("h1", "ul", "ol", "li", "br", "tr", "table", "caption", "code")
)
P, DIV = TAG["p"], TAG["div"]
START, REVERSED, ROLE = ATTRIBUTE["start"], ATTRIBUTE["reversed"], ATTRIBUTE["role"]
PRESENTATION = np.frombuffer(b"presentation", np.uint8)


@uncounted
def given(tree, node, name):
    """The place of an attribute of a node among the attributes; -1 where it has none of that name."""
    for place in range(tree.first[node], tree.last[node]):
        if tree.attribute[place] == name:
            return place
    return -1


@uncounted
def _equals(tree, place, word):
    begin = tree.begin[place]
    if tree.stop[place] - begin != len(word):
        return False
    for at in range(len(word)):
        if tree.data[begin + at] != word[at]:
            return False
    return True


_ROWS = writes(np.int32, 2)
_PEN = tuple_of(Pen, writes(np.uint8), writes(np.int64), _ROWS, _ROWS, _ROWS, writes(np.int32))


@kernel(TREE, int64, int64)
def layouts(tree, low, high):
    """By node from `low` on: is it a table there for layout? One that holds tables, headings, lists or code, a cell of several
    paragraphs, one row or one column."""
    plain = np.zeros(high - low, np.bool_)
    inner = np.full(high - low, -1, np.int32)  # the table around each element
    rows = np.zeros(high - low, np.int32)
    most = np.zeros(high - low, np.int32)
    inside = np.zeros(high - low, np.int32)  # cells of a row, paragraphs of a cell
    for at in range(low, high):
        tag = tree.tag[at]
        if tag == TEXT:
            continue
        own, above = at - low, tree.parent[at] - low
        table = inner[above] if above >= 0 and at > low else -1
        inner[own] = own if tag == TABLE_TAG else table
        if table >= 0:
            if TOLD[tag]:
                plain[table] = True
            elif CELL[tag]:
                inside[above] += 1
                rows[table] += inside[above] == 1
                most[table] = max(most[table], inside[above])
            elif (tag in (P, DIV)) and CELL[tree.tag[above + low]]:
                inside[above] += 1
                if inside[above] > 1:
                    plain[table] = True
        if tag == TABLE_TAG:
            role = given(tree, at, ROLE)
            plain[own] = role >= 0 and _equals(tree, role, PRESENTATION)
    for own in range(high - low):
        if tree.tag[own + low] == TABLE_TAG and (rows[own] < 2 or most[own] < 2):
            plain[own] = True
    return plain


@kernel(TREE, int64, int64, reads(np.bool_), reads(np.int32), reads(np.bool_), _PEN, counted=False)
def write(tree, low, high, chosen, before, plain, pen):
    """Write the text nodes of `low` to `high` that are chosen; `before` counts the chosen ones before each node. Both begin at `low`."""
    at = low
    while at < high:
        while pen.state[LEVEL] and tree.end[pen.held[pen.state[LEVEL] - 1, NODE]] <= at:
            _shut(tree, pen)
        tag = tree.tag[at]
        if tag == TEXT:
            if chosen[at - low]:
                if pen.state[VERBATIM]:
                    say_code(pen, tree.data, tree.first[at], tree.last[at])
                else:
                    say(pen, tree.data, tree.first[at], tree.last[at])
        elif before[tree.end[at] - low] == before[at - low]:  # nothing in it
            if at > low and not pen.state[VERBATIM]:
                _pass(tree, pen, at, tag)
            elif tag == BR and pen.state[VERBATIM]:
                _line_of_code(pen)
            at = tree.end[at]
            continue
        elif not pen.state[VERBATIM]:
            _open(tree, pen, at, tag, plain[at - low])
        at += 1
    while pen.state[LEVEL]:
        _shut(tree, pen)
    end_run(pen, PARAGRAPH)


@uncounted
def _line_of_code(pen):
    if pen.state[VERBATIM] == 2:
        end_line(pen)
    else:
        pen.state[WAITING] = 0


@uncounted
def _pass(tree, pen, at, tag):
    """An element without chosen text: it parts what stands before and behind it, and counts as an item."""
    state = pen.state
    if tag == BR:
        _break(pen)
    elif CELL[tag]:
        _cell(pen)
    elif STANDS[tag]:
        _apart(pen, LINE if tag == CAPTION else PARAGRAPH, tag == CAPTION)
    elif LINES[tag]:
        _apart(pen, LINE, tag != LI)
        if tag == LI and state[LIST] >= 0 and pen.held[state[LIST], COUNT] >= 0:
            pen.held[state[LIST], COUNT] += 1


@uncounted
def _break(pen):
    state = pen.state
    state[BREAKS] += 1
    if state[TABLE] >= 0:
        state[OWED] = max(state[OWED], BLANK)
    elif state[BREAKS] >= 2:
        end_run(pen, PARAGRAPH)
    else:
        state[OWED] = max(state[OWED], LINE)


@uncounted
def _apart(pen, size, row):
    """Part what comes from what was: by a line inside lists, by a blank inside a cell unless a `row` begins."""
    if pen.state[TABLE] >= 0 and not row:
        pen.state[OWED] = max(pen.state[OWED], BLANK)
    else:
        end_run(pen, min(size, LINE) if pen.state[LISTS] or pen.state[TABLE] >= 0 else size)


@uncounted
def _cell(pen):
    state = pen.state
    if state[TABLE] < 0:
        end_run(pen, PARAGRAPH)
        return
    table = pen.held[state[TABLE]]
    table[CELLS] += 1
    state[MARK] = BAR
    state[OWED] = max(state[OWED], BLANK)


@uncounted
def _open(tree, pen, at, tag, plain):
    state = pen.state
    if tag == BR:
        _break(pen)
        return
    stands = STANDS[tag]
    if not stands and not LINES[tag] and not CELL[tag]:
        return
    if CELL[tag]:
        _cell(pen)
    elif tag == TR:
        if state[TABLE] >= 0:
            end_run(pen, LINE)
            pen.held[state[TABLE], CELLS] = pen.held[state[TABLE], COUNT] = 0
        else:
            end_run(pen, PARAGRAPH)
    elif stands:
        _apart(pen, LINE if tag == CAPTION else PARAGRAPH, tag == CAPTION)
    else:
        _apart(pen, LINE, tag != LI)
        if tag == LI and state[TABLE] < 0:
            _bullet(pen)
    kind = 0 if plain else OF[tag]
    level = state[LEVEL]
    own = pen.held[level]
    own[NODE], own[SLOT], own[KIND], own[OUTER] = at, -1, kind, -2
    state[LEVEL] += 1
    if kind:
        pen.counts[kind] += 1
        state[INSIDE] += 1
    if tag in (UL, OL):
        own[OUTER], own[COUNT], own[CELLS] = state[LIST], (_first(tree, at) if tag == OL else -1), 0
        state[LIST] = level
        state[LISTS] += 1
    elif tag == TABLE_TAG:
        own[OUTER], own[COUNT], own[CELLS], own[ROWS] = state[TABLE], 0, 0, 0
        state[TABLE] = -1 if plain else level
    elif kind == CODE:
        state[VERBATIM], state[WAITING], state[FENCE] = 1, 0, _ticks(tree, at) if state[MARKDOWN] else 0
    elif state[MARKDOWN]:
        if kind == HEADING and not state[MARK]:
            state[MARK], state[NUMBER] = HASHES, tag - H1 + 1
        state[QUOTES] += kind == QUOTE


@uncounted
def _first(tree, at):
    """The first number of an ordered list."""
    place = given(tree, at, START)
    number = 0
    if place < 0 or given(tree, at, REVERSED) >= 0 or tree.stop[place] - tree.begin[place] > 6:
        return 1
    for each in range(tree.begin[place], tree.stop[place]):
        digit = tree.data[each] - 48
        if digit < 0 or digit > 9:
            return 1
        number = 10 * number + digit
    return number if tree.stop[place] > tree.begin[place] else 1


@uncounted
def _bullet(pen):
    state = pen.state
    state[MARK] = BULLET
    if state[LIST] >= 0 and pen.held[state[LIST], COUNT] >= 0:
        state[MARK], state[NUMBER] = COUNTED, pen.held[state[LIST], COUNT]
        pen.held[state[LIST], COUNT] += 1


@uncounted
def _shut(tree, pen):
    """The innermost open element ends."""
    state = pen.state
    own = pen.held[state[LEVEL] - 1]
    tag, kind = tree.tag[own[NODE]], own[KIND]
    stop = _shut_code(pen) if kind == CODE else state[AT]
    if tag == TR and state[TABLE] >= 0 and state[MARKDOWN]:
        _ruled(pen)
    if tag == TABLE_TAG:
        state[TABLE] = own[OUTER]
        if state[MARK] == BAR:  # of a last cell without text
            state[MARK] = 0
    elif own[OUTER] != -2:
        state[LIST] = own[OUTER]
        state[LISTS] -= 1
    if STANDS[tag]:
        _apart(pen, LINE if tag == CAPTION else PARAGRAPH, tag == CAPTION)
    elif LINES[tag]:
        _apart(pen, LINE, tag != LI)
        if tag == LI:
            state[MARK] = 0
    state[LEVEL] -= 1
    if not kind:
        return
    state[INSIDE] -= 1
    pen.counts[kind] -= 1
    if kind == QUOTE and state[MARKDOWN]:
        state[QUOTES] -= 1
    held = pen.counts[LISTING] + pen.counts[TABLES]
    if own[SLOT] >= 0 and stop > own[SLOT] and not pen.counts[kind] and (kind in (CODE, HEADING) or not held):
        span(pen, kind, own[SLOT], stop, tag - H1 + 1 if kind == HEADING else 0)


@uncounted
def _ticks(tree, at):
    """Backticks of a fence around the text of a node: three, or one more than stand in it in a row."""
    most, run = 2, 0
    for node in range(at, tree.end[at]):
        if tree.tag[node] == TEXT:
            for place in range(tree.first[node], tree.last[node]):
                run = run + 1 if tree.data[place] == 96 else 0
                most = max(most, run)
    return most + 1


@uncounted
def _shut_code(pen):
    """Where its text ends; in Markdown a fence stands behind that."""
    state = pen.state
    stop = state[AT]
    if state[VERBATIM] == 2:
        end_code(pen)
        stop = state[AT]
        if state[MARKDOWN]:
            line(pen)
            fence(pen)
    state[VERBATIM] = 0
    return stop


@uncounted
def _ruled(pen):
    """The end of a row in Markdown, and the rule below the first."""
    state = pen.state
    table = pen.held[state[TABLE]]
    if not table[COUNT]:
        return
    start = state[AT]
    for _ in range(table[COUNT], table[CELLS] + 1):
        put(pen, 32)
        put(pen, 124)
    if not table[ROWS]:
        put(pen, 10)
        put(pen, 124)
        for _ in range(table[CELLS]):
            for byte in (32, 45, 45, 45, 32, 124):
                put(pen, byte)
    table[ROWS] += 1
    noted(pen, start)
