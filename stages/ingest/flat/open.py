"""The elements that are open while a source is read, and its formatting elements, as the standard's tree construction keeps them.

An approximation that errs towards more open elements: what is ignored inside a `select` or a frameset is taken as open here. The
adoption agency takes a formatting element out of the stack and puts no clone of it in (WHATWG HTML, 13.2.6.4.7).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.ingest.flat.cut import same
from stages.ingest.flat.names import ELEMENTS, TAG, TEXT, UNKNOWN, table_of
from stages.text.compiled import uncounted

FORMATTING = table_of("a b big code em font i nobr s small strike strong tt u")
SVG_POINTS, MATH_POINTS = table_of("foreignobject desc title"), table_of("mi mo mn ms mtext annotation-xml")
INTEGRATION = SVG_POINTS | MATH_POINTS
"""Elements of SVG and MathML whose content is HTML again; `annotation-xml` only where it says so."""
SCOPE = table_of("applet caption html table td th marquee object template select") | INTEGRATION
BUTTON_SCOPE, LIST_SCOPE = SCOPE | table_of("button"), SCOPE | table_of("ol ul")
TABLE_SCOPE, NOTHING = table_of("html table template"), table_of("")
MARKERS = table_of("applet object marquee template td th caption")
HEADINGS = table_of("h1 h2 h3 h4 h5 h6")
CLOSES_P = HEADINGS | table_of(
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer header hgroup main menu nav "
    "ol p search section summary ul pre listing form li dd dt plaintext table hr xmp"
)
SPECIAL = (
    HEADINGS
    | INTEGRATION
    | table_of(
        "address applet area article aside base basefont bgsound blockquote body br button caption center col colgroup dd details dir "
        "div dl dt embed fieldset figcaption figure footer form frame frameset head header hgroup hr html iframe img input keygen li "
        "link listing main marquee menu meta nav noembed noframes noscript object ol p param plaintext pre script search section select "
        "source style summary table tbody td template textarea tfoot th thead tr track ul wbr xmp"
    )
)
ENDED = table_of(
    "address article aside blockquote button center details dialog dir div dl fieldset figcaption figure footer header hgroup listing "
    "main menu nav ol pre search section select summary ul applet marquee object dd dt"
)
"""Elements that their end tag closes with all that is open inside; one of another name closes nothing behind a special element."""
PASSED = table_of("address div p")
"""Special elements behind which an open `li`, `dd` or `dt` is still closed by the next."""
BREAKOUT = HEADINGS | table_of(
    "b big blockquote body br center code dd div dl dt em embed head hr i img li listing menu meta nobr ol p pre ruby s small span "
    "strong strike sub sup table tt u ul var"
)
"""Elements that end the SVG or MathML around them."""
IMPLIED = table_of("dd dt li optgroup option p rb rp rt rtc")
"""Elements whose end tags may be left out, which the parts of a ruby annotation close."""
CELLS, RUBY_PARTS = table_of("td th"), table_of("rb rtc rp rt")
TABLE_PARTS = CELLS | table_of("tr caption col colgroup tbody tfoot thead")
ROW_HOLDERS = table_of("tbody tfoot thead table template html")
ROWS = table_of("tr table tbody tfoot thead template html")
A, ANNOTATION, BUTTON, DD, DT, FORM, LI, MATH, NOBR, OPTGROUP, OPTION, P, RP, RT, RTC, RUBY, SELECT, SVG, TABLE, TEMPLATE, TR = (
    TAG[name]
    for name in "a annotation-xml button dd dt form li math nobr optgroup option p rp rt rtc ruby select svg table template tr".split()
)  # fmt: skip

(
    PUT,
    FROM,
    DROPPED,
    STACKED,
    LISTED,
    SERIALS,
    REBUILT,
    SPENT,
    OPTIONS,
    ROOTS,
    FRAMES,
    TAGS,
    HIDES,
    KNOWN,
    KNOWN_TOO,
    STATES,
) = range(16)
"""Places in `Open.state`: bytes written; first byte of the source not yet written or left; changes; open elements; formatting elements
in the list; the last serial number; bytes of formatting elements written again, and are they too many; options of the open `select`;
`html`, `head` and `body` tags; framesets met, at first -1 where none may stand; start tags; does an unclosed token reach to the end; unknown names of elements and of attributes met."""
NAMED, BEGIN, STOP, SERIAL, FOREIGN = range(5)
"""Columns of `Open.stack`: tag, of what is not HTML and not `svg`, `math` or an integration point UNKNOWN; its name's place in the
source; serial number of a formatting element, or 0; what it is (below).
Of `Open.active`: tag, or MARKER; the start tag's place; serial number; STANDS: is it on the stack?"""
STANDS, MARKER = 4, -1
OURS, SVGS, MATHS, BETWEEN = range(4)
"""HTML; SVG; MathML; an integration point, which is SVG or MathML and whose content is HTML."""
NAME_SIZE = np.array([0, 0, *map(len, ELEMENTS)], np.int32)
CLONES = 3
"""Formatting elements with the same attributes in the list between two markers, at most (the standard's Noah's Ark clause)."""


class Open(NamedTuple):
    out: np.ndarray
    """uint8: room for the source as it passes."""
    state: np.ndarray
    """int64: the numbers above."""
    stack: np.ndarray
    """int32, a row an open element."""
    count: np.ndarray
    """int32 by tag: open elements."""
    gone: np.ndarray
    """int32 by tag: start tags left out, whose end tags are to be left out."""
    active: np.ndarray
    """int32, a row a formatting element or a marker."""
    names: np.ndarray
    """uint64 [2, slots]: hashes of the unknown names met."""


@uncounted
def omit(now, data, begin, stop):
    """Write the source up to `begin`, where there is room for it, and go on behind `stop`."""
    state = now.state
    first, to = state[FROM], state[PUT]
    if to + begin - first <= len(now.out):
        for at in range(begin - first):
            now.out[to + at] = data[first + at]
    state[PUT] += begin - first
    state[FROM] = stop


@uncounted
def leave(now, data, begin, stop):
    """As `omit`, for what passes the limits."""
    omit(now, data, begin, stop)
    now.state[DROPPED] += 1


@uncounted
def put(now, byte):
    if now.state[PUT] < len(now.out):
        now.out[now.state[PUT]] = byte
    now.state[PUT] += 1


@uncounted
def foreign(now):
    """Is the content of the innermost element SVG or MathML?"""
    if not now.state[STACKED]:
        return False
    kind = now.stack[now.state[STACKED] - 1, FOREIGN]
    return kind in (SVGS, MATHS)


@uncounted
def _top(now):
    return now.stack[now.state[STACKED] - 1, NAMED] if now.state[STACKED] else TEXT


@uncounted
def push(now, tag, begin, stop, serial, is_html):
    """An element opens, an `annotation-xml` of which the content `is_html`; where there is no room left it does not."""
    state, level = now.state, now.state[STACKED]
    if level == len(now.stack):
        return
    kind = OURS
    if foreign(now):
        kind = now.stack[level - 1, FOREIGN]
        if (kind == SVGS and SVG_POINTS[tag]) or (
            kind == MATHS and MATH_POINTS[tag] and (tag != ANNOTATION or is_html)
        ):
            kind = BETWEEN
        elif kind == MATHS and tag == SVG and now.stack[level - 1, NAMED] == ANNOTATION:
            kind = SVGS
        elif not (kind == MATHS and tag == ANNOTATION):
            tag = UNKNOWN
    elif tag in (SVG, MATH):
        kind = SVGS if tag == SVG else MATHS
    elif INTEGRATION[tag]:
        tag = UNKNOWN
    row = now.stack[level]
    row[NAMED], row[BEGIN], row[STOP], row[SERIAL], row[FOREIGN] = tag, begin, stop, serial, kind
    state[STACKED] += 1
    now.count[tag] += 1
    if MARKERS[tag] and state[LISTED] < len(now.active):
        now.active[state[LISTED], NAMED] = MARKER
        state[LISTED] += 1


@uncounted
def pop(now, level):
    """Close the elements from `level` up: formatting elements among them are loose, those inside a cell forgotten."""
    state = now.state
    while state[STACKED] > level:
        state[STACKED] -= 1
        row = now.stack[state[STACKED]]
        now.count[row[NAMED]] -= 1
        if MARKERS[row[NAMED]]:
            while state[LISTED] and now.active[state[LISTED] - 1, NAMED] != MARKER:
                state[LISTED] -= 1
            state[LISTED] = max(0, state[LISTED] - 1)
        elif row[SERIAL]:
            place = _place(now, row[SERIAL])
            if place >= 0:
                now.active[place, STANDS] = 0


@uncounted
def _place(now, serial):
    """The place in the list of the formatting element of this number; -1 where it is no longer there."""
    place = now.state[LISTED] - 1
    while place >= 0 and now.active[place, NAMED] != MARKER:
        if now.active[place, SERIAL] == serial:
            return place
        place -= 1
    return -1


@uncounted
def _inner(now, tag, scope):
    """The level of the innermost open `tag` with nothing of `scope` inside it; -1 where there is none."""
    if not now.count[tag]:
        return -1
    for level in range(now.state[STACKED] - 1, -1, -1):
        if now.stack[level, NAMED] == tag:
            return level
        if scope[now.stack[level, NAMED]]:
            return -1
    return -1


@uncounted
def _pop_to(now, level):
    if level >= 0:
        pop(now, level)


@uncounted
def _taken_out(rows, place, last):
    """The rows behind `place` move up by one. By numbers, since the copy of a whole row takes numba two seconds to compile."""
    for at in range(place, last):
        for column in range(rows.shape[1]):
            rows[at, column] = rows[at + 1, column]


@uncounted
def _unlisted(now, place):
    now.state[LISTED] -= 1
    _taken_out(now.active, place, now.state[LISTED])


@uncounted
def _unstacked(now, level):
    now.count[now.stack[level, NAMED]] -= 1
    now.state[STACKED] -= 1
    _taken_out(now.stack, level, now.state[STACKED])


@uncounted
def _adopted(now, tag):
    """The end tag of a formatting element; is there one in the list?"""
    place = now.state[LISTED] - 1
    while place >= 0 and now.active[place, NAMED] != tag:
        if now.active[place, NAMED] == MARKER:
            return False
        place -= 1
    if place < 0:
        return False
    if not now.active[place, STANDS]:
        _unlisted(now, place)
        return True
    special, level = False, now.state[STACKED] - 1
    while level >= 0 and now.stack[level, SERIAL] != now.active[place, SERIAL]:
        if SCOPE[now.stack[level, NAMED]]:
            return True  # not in scope: nothing happens
        special = special or SPECIAL[now.stack[level, NAMED]]
        level -= 1
    serial = now.active[place, SERIAL]
    if level >= 0 and special:
        _unstacked(now, level)
    elif level >= 0:
        pop(now, level)
    place = _place(now, serial)
    if place >= 0:
        _unlisted(now, place)
    return True


@uncounted
def settle(now, tag):
    """Close what a start tag closes; does its element open? Not one outside its table, nor a form or select inside another."""
    if foreign(now):
        if not BREAKOUT[tag]:
            return True
        while foreign(now):
            pop(now, now.state[STACKED] - 1)
    if tag == LI:
        _close_item(now, LI, LI)
    elif tag in (DD, DT):
        _close_item(now, DD, DT)
    if CLOSES_P[tag]:
        _pop_to(now, _inner(now, P, BUTTON_SCOPE))
    top = _top(now)
    if HEADINGS[tag] and HEADINGS[top]:
        pop(now, now.state[STACKED] - 1)
    elif RUBY_PARTS[tag]:
        if _inner(now, RUBY, SCOPE) >= 0:
            while IMPLIED[_top(now)] and not (_top(now) == RTC and tag in (RP, RT)):
                pop(now, now.state[STACKED] - 1)
    elif tag in (OPTION, OPTGROUP):
        if top == OPTION:
            pop(now, now.state[STACKED] - 1)
        if tag == OPTGROUP and _top(now) == OPTGROUP and now.count[SELECT]:
            pop(now, now.state[STACKED] - 1)
    elif tag == A:
        _adopted(now, A)
    elif tag == NOBR:
        if _inner(now, NOBR, SCOPE) >= 0:
            _adopted(now, NOBR)
    elif tag == BUTTON:
        _pop_to(now, _inner(now, BUTTON, SCOPE))
    elif tag == TABLE and ROWS[top]:
        _pop_to(now, _inner(now, TABLE, TABLE_SCOPE))
    elif tag == SELECT:
        level = _inner(now, SELECT, SCOPE)
        _pop_to(now, level)
        return level < 0
    elif tag == FORM:
        return now.count[FORM] == 0 or now.count[TEMPLATE] > 0
    elif TABLE_PARTS[tag]:
        return _table_part(now, tag)
    return True


@uncounted
def _close_item(now, one, other):
    """Close the innermost open item of these two names; other special elements hold it."""
    for level in range(now.state[STACKED] - 1, -1, -1):
        tag = now.stack[level, NAMED]
        if tag in (one, other):
            pop(now, level)
            return
        if SPECIAL[tag] and not PASSED[tag]:
            return


@uncounted
def _holder(now):
    """What holds rows and cells here: the innermost table or template; TEXT where there is neither."""
    for level in range(now.state[STACKED] - 1, -1, -1):
        if TABLE_SCOPE[now.stack[level, NAMED]]:
            return now.stack[level, NAMED]
    return TEXT


@uncounted
def _table_part(now, tag):
    holder = _holder(now)
    if holder != TABLE:
        return holder == TEMPLATE  # what a template takes depends on what came first in it: taken as open
    holders = ROWS if CELLS[tag] else ROW_HOLDERS if tag == TR else TABLE_SCOPE
    while not holders[_top(now)]:
        pop(now, now.state[STACKED] - 1)
    return True


@uncounted
def closed(now, data, tag, begin, stop):
    """The end tag of the name `data[begin:stop]`."""
    level = now.state[STACKED] - 1
    while level >= 0 and now.stack[level, FOREIGN] != OURS:
        if _is_named(now, data, level, begin, stop):
            pop(now, level)
            return
        level -= 1
    if FORMATTING[tag] and _adopted(now, tag):
        return
    if tag == FORM:
        level = _inner(now, FORM, SCOPE)
        if level >= 0:
            _unstacked(now, level)
    elif tag == P:
        _pop_to(now, _inner(now, P, BUTTON_SCOPE))
    elif tag == LI:
        _pop_to(now, _inner(now, LI, LIST_SCOPE))
    elif TABLE_PARTS[tag]:
        if _holder(now) == TABLE:
            _pop_to(now, _inner(now, tag, TABLE_SCOPE))
    elif tag == TABLE:
        _pop_to(now, _inner(now, TABLE, TABLE_SCOPE))
    elif tag == TEMPLATE:
        _pop_to(now, _inner(now, TEMPLATE, NOTHING))
    elif HEADINGS[tag]:
        _pop_to(now, _inner_heading(now))
    elif ENDED[tag]:
        _pop_to(now, _inner(now, tag, SCOPE))
    else:
        for level in range(now.state[STACKED] - 1, -1, -1):
            if now.stack[level, FOREIGN] == OURS and _is_named(now, data, level, begin, stop):
                pop(now, level)
                return
            if SPECIAL[now.stack[level, NAMED]]:
                return


@uncounted
def _inner_heading(now):
    for level in range(now.state[STACKED] - 1, -1, -1):
        if HEADINGS[now.stack[level, NAMED]]:
            return level
        if SCOPE[now.stack[level, NAMED]]:
            return -1
    return -1


@uncounted
def _is_named(now, data, level, begin, stop):
    """Is the element of this level one of the name `data[begin:stop]`?"""
    row = now.stack[level]
    return row[STOP] - row[BEGIN] == stop - begin and same(data, row[BEGIN], begin, stop - begin)


@uncounted
def room_in_list(now, most):
    """May one more formatting element be left open before the last marker?"""
    if now.state[SPENT] or now.state[LISTED] + 1 >= len(now.active):
        return False
    place = now.state[LISTED] - 1
    while place >= 0 and now.active[place, NAMED] != MARKER:
        place -= 1
    return now.state[LISTED] - 1 - place < most


@uncounted
def listed(now, data, tag, begin, stop):
    """Add a formatting element, whose start tag is `data[begin:stop]`, to the list; its serial number."""
    state = now.state
    alike, earliest = 0, -1
    place = state[LISTED] - 1
    while place >= 0 and now.active[place, NAMED] != MARKER:
        row = now.active[place]
        if row[NAMED] == tag and row[STOP] - row[BEGIN] == stop - begin and same(data, row[BEGIN], begin, stop - begin):
            alike, earliest = alike + 1, place
        place -= 1
    if alike >= CLONES:
        _unlisted(now, earliest)
    state[SERIALS] += 1
    row = now.active[state[LISTED]]
    row[NAMED], row[BEGIN], row[STOP], row[SERIAL], row[STANDS] = tag, begin, stop, state[SERIALS], 1
    state[LISTED] += 1
    return state[SERIALS]


@uncounted
def rebuilt(now, data, at, most):
    """Open the loose formatting elements again before what stands at `at`; end them all where that was done for over `most` bytes."""
    state, active = now.state, now.active
    end = state[LISTED]
    place = end
    while place and active[place - 1, NAMED] != MARKER and not active[place - 1, STANDS]:
        place -= 1
    if place == end:
        return
    if state[SPENT]:
        _ended(now, data, at, place)
        return
    for each in range(place, end):
        row = active[each]
        push(now, row[NAMED], row[BEGIN] + 1, row[BEGIN] + 1 + NAME_SIZE[row[NAMED]], row[SERIAL], False)
        row[STANDS] = 1
        state[REBUILT] += row[STOP] - row[BEGIN]
    state[SPENT] = state[REBUILT] > most


@uncounted
def _ended(now, data, at, place):
    """Write end tags of the loose formatting elements from `place` on."""
    leave(now, data, at, at)
    while now.state[LISTED] > place:
        row = now.active[now.state[LISTED] - 1]
        put(now, 60)
        put(now, 47)
        for each in range(NAME_SIZE[row[NAMED]]):
            put(now, data[row[BEGIN] + 1 + each])
        put(now, 62)
        now.state[LISTED] -= 1
