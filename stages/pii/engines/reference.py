"""The rule book read by a regular-expression engine, one rule at a time: what the kernels are held to.

Everything that the kernels decide is decided here again by other means: the patterns run in the `regex` module, sides are
look-arounds, checks are `reference_checks`, labels are searched word by word, folding and the address rules are written
anew over Python strings. Slow, and meant to be.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import regex

from stages.pii.engines.reference_checks import verdict
from stages.pii.entities import BY_NAME
from stages.pii.kernels.address import BRANCHES, BUILDINGS, DISTRICTS, NO_LOTS, NO_ROADS, PROVINCES, UNITS
from stages.pii.kernels.labels import KINDS, NEGATIVE, WORDS, bits_of
from stages.pii.kernels.mail import HANGUL_ENDINGS, NO_DOMAINS
from stages.pii.kernels.rules import LEFT_SIDES, RIGHT_SIDES, PatternRule
from stages.pii.spelled import ENDINGS

DIGITS_BEGIN, LETTERS_BEGIN = "(?<![0-9])(?=[{}])", "(?<![0-9A-Za-z_])(?=[{}])"
SIGN_BEGINS, COLONS_BEGIN = "(?=[+(][0-9+])", "(?<![0-9A-Za-z_:])(?=::)"
"""Where a match may begin: the first digit of a run, the first letter of a word, a sign before a digit, two colons."""


class FoundSpan(NamedTuple):
    """`text[start:end]` (code points) by `rule`, `score` a percentage."""

    start: int
    end: int
    rule: PatternRule
    score: int


# -- folding -------------------------------------------------------------------------------------------------------------


_DROPPED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_JAMO = re.compile("[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?")


_WIDE = "[0-9A-Za-z０-９Ａ-Ｚａ-ｚ]"
_BETWEEN = rf"(?:(?<={_WIDE})[{{0}}](?={_WIDE})|(?<=[0-9] )[{{0}}](?= [0-9]))"
_JOINED = re.compile(
    _BETWEEN.format("\u02d7\u05be\u1806\u2043\u207b\u208b\u2500\u2501\u2e3a\u2e3b\u301c\u3030\u30fc\u3161\uff70")
)
_DOTTED = re.compile(
    _BETWEEN.format("\u00b7\u0387\u119e\u2022\u2024\u2027\u2219\u22c5\u25cf\u25e6\u3002\u30fb\u318d\ufe52\uff61\uff65")
)
_BREAK = re.compile(
    r"(?<=[0-9]-)\n(?=[0-9])|(?<=[0-9A-Za-z]@)\n(?=[0-9A-Za-z])|(?<=[0-9])\n(?=-[0-9])|(?<=[0-9]-[0-9])\n(?=[0-9]{1,3}-[0-9])"
    r"|(?<=[0-9]-[0-9]{2})\n(?=[0-9]{1,2}-[0-9])|(?<=[0-9]-[0-9]{3})\n(?=[0-9]-[0-9])"
)
_PLAIN = re.compile(r"[\x00-\x09\x0b-\x7f\u3400-\ud7a3]*")


@lru_cache(maxsize=4)
def plain(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """The folded text, and per sign of it where its original begins and ends."""
    if _PLAIN.fullmatch(text):
        return text, range(len(text)), range(1, len(text) + 1)
    out, begins, ends = [], [], []
    at = 0
    while at < len(text):
        syllable = _JAMO.match(text, at)
        stop = syllable.end() if syllable else at + 1
        sign = unicodedata.normalize("NFC", syllable.group()) if syllable else _one(text, at)
        if sign:
            out.append(sign)
            begins.append(at)
            ends.append(stop)
        at = stop
    return "".join(out), tuple(begins), tuple(ends)


def _one(text: str, at: int) -> str:
    sign = text[at]
    if sign < "\u0080":
        return "" if sign == "\n" and _BREAK.match(text, at) else sign
    if _JOINED.match(text, at) or _DOTTED.match(text, at):
        return "-" if _JOINED.match(text, at) else "."
    if _DROPPED.match(sign):
        return ""
    if "\u2000" <= sign <= "\u200a" or sign in "\u00a0\u202f\u205f\u2800\u3000":
        return " "
    if "\u2010" <= sign <= "\u2015" or sign in "\u2212\ufe63\ufe58":
        return "-"
    if "\uff01" <= sign <= "\uff5e" or "\U0001d7ce" <= sign <= "\U0001d7ff":
        return unicodedata.normalize("NFKC", sign)
    if "\u0660" <= sign <= "\u0669" or "\u06f0" <= sign <= "\u06f9":
        return str(unicodedata.digit(sign))
    return sign


# -- labels --------------------------------------------------------------------------------------------------------------


@cache
def _labels() -> list[tuple[bytes, str]]:
    return [(word.replace("_", " ").encode(), kind) for kind, words in WORDS.items() for word in words.split()]


def _occurs(window: bytes, word: bytes, low: int, high: int) -> Iterator[int]:
    """Where `word` stands in `window`, a Latin one as a whole word; the window's neighbours count as no letters."""
    at = window.find(word, low)
    while 0 <= at and at + len(word) <= high:
        whole = (
            word[0] >= 128
            or not (window[at - 1 : at].isalpha() if at else False)
            and not window[at + len(word) : at + len(word) + 1].isalpha()
        )
        if whole:
            yield at
        at = window.find(word, at + 1)


def _names(between: bytes) -> bool:
    """Does a label name the number that `between` parts it from?"""
    rest = re.sub(rb"\A[A-Za-z\x80-\xff]+", b"", between)
    behind = re.split(rb"[0-9]", rest)[-1]
    past_another = len(re.findall(rb"[0-9]", rest)) >= 4 and re.search(rb"[A-Za-z\x80-\xff]", behind)
    return not past_another and not (b"\n" in rest and re.search(rb"[0-9A-Za-z\x80-\xff]", rest))


def situation(text: str, start: int, end: int, kinds: int) -> tuple[int, int]:
    """(0, 1 or 2, start): no label, one of `kinds`, another kind of number's; the start with a region's name before it."""
    whole = text[max(0, start - 80) : start].encode()
    behind = text[end : end + 60].partition("\n")[0].encode().lower()
    before = whole.lower() + behind
    found = []
    for word, kind in _labels():
        bit, reach, _ = KINDS[kind]
        for at in _occurs(before, word, max(0, len(whole) - 64), len(whole)):
            if len(whole) - at - len(word) <= reach and _names(whole[at + len(word) :]):
                found.append((at + len(word), len(word), bit, at))
    if found:
        last, size, _, at = max(found)
        bit = sum({b for e, n, b, _ in found if (e, n) == (last, size)})  # a city is a region's name and a bank's
        if bit & kinds:
            return 1, start - len(whole[at:].decode()) if bit & kinds & KINDS["region"][0] else start
        if bit & NEGATIVE:
            return 2, start
    found = []
    joined = text[max(0, end - 4) : end].encode().lower()
    after = joined + behind
    for word, kind in _labels():
        bit, _, reach = KINDS[kind]
        for at in _occurs(after, word, len(joined), min(len(after), len(joined) + 48)):
            if at - len(joined) <= reach:
                found.append((at + len(word), -len(word), bit))
    for _, _, bit in sorted(found):
        if bit & kinds:
            return 1, start
        if bit & NEGATIVE:
            return 2, start
    return 0, start


# -- rules ---------------------------------------------------------------------------------------------------------------


def _begin(pattern: str) -> str:
    """The positions where `pattern` may begin. Only the signs that can be its first are named: an engine skips the rest at once."""
    whole = regex.compile(pattern)
    firsts = [sign for sign in map(chr, range(128)) if whole.match(sign, partial=True)]
    digits = "".join(sign for sign in firsts if sign.isdigit())
    letters = "".join(sign for sign in firsts if sign.isalpha())
    kinds = [DIGITS_BEGIN.format(digits)] * bool(digits) + [LETTERS_BEGIN.format(letters)] * bool(letters)
    kinds += [SIGN_BEGINS] * ("+" in firsts or "(" in firsts) + [COLONS_BEGIN] * (":" in firsts)
    return f"(?:{'|'.join(kinds)})" if len(kinds) > 1 else kinds[0]


@cache
def _compiled(rule: PatternRule) -> tuple[regex.Pattern, regex.Pattern, regex.Pattern]:
    left = "".join(side for mask, side in LEFT_SIDES.items() if rule.left & mask)
    right = "".join(side for mask, side in RIGHT_SIDES.items() if rule.right & mask)
    return (
        regex.compile(f"(?p){_begin(rule.pattern)}{left}(?:{rule.pattern})"),
        regex.compile(rule.pattern),
        regex.compile(right or "(?=)"),
    )


def _patterned(rule: PatternRule, text: str) -> Iterator[tuple[int, int, int]]:
    """(start, end, quality): per start the longest text of the pattern with a free right side and a check that passes."""
    begins, whole, right = _compiled(rule)
    for match in begins.finditer(text, overlapped=True):
        start = match.start()
        for end in range(match.end(), start, -1):
            if not right.match(text, end) or (end < match.end() and not whole.fullmatch(text, start, end)):
                continue
            quality = verdict(rule.check, text[start:end], text[end : end + 3])
            if quality >= 0:
                yield start, end, quality
                break


_KEY_END = re.compile(r".{5}END[^-\n]*-*", re.DOTALL)


def _key_block(text: str, start: int, end: int) -> tuple[int, int]:
    if start >= 5 and text[start - 5] == "-" and text[start - 1] == "-":
        start -= 5
    body = re.compile(r"[^\u0080-\U0010ffff<>`]*").match(text, end, end + 16_384).group()  # type: ignore[union-attr]
    for i in re.finditer(r"-...-END", body, re.DOTALL):
        stop = _KEY_END.match(body, i.start())
        return start, end + (stop.end() if stop else i.end())
    return start, end + len(re.sub(r"[\x00-\x20]+\Z", "", body))


_LABEL = re.compile("[A-Za-z0-9-]+")
_HANGUL_LABEL = re.compile("[가-힣][가-힣A-Za-z0-9-]*")
_HANGUL_ENDING = re.compile("|".join(HANGUL_ENDINGS))


_QUOTED = re.compile(r'(?:^|(?<=[\x00-\x20(<\[{,;:\u0080-\U0010ffff]))"([^\x00-\x1f\x7f]*)"\Z', re.DOTALL)
_ESCAPED = re.compile(r'(?:^|(?<=[\x00-\x20"(<\[{,;:\u0080-\U0010ffff]))\\"([^\x00-\x1f\x7f]*)\\"\Z', re.DOTALL)


def _quoted_start(text: str, at: int) -> int | None:
    """Where the quoted mailbox of at most 64 bytes before `at` begins: at the last quote that is escaped as the closing one is."""
    escaped = text[:at].endswith('\\"')
    closing = at - 1 - escaped
    opening = closing - 1
    while opening >= 0 and len(text[opening:at].encode()) <= 64:
        if text[opening] == '"' and (opening > 0 and text[opening - 1] == "\\") == escaped:
            start = opening - escaped
            inside = text[opening + 1 : closing]
            sides = _ESCAPED if escaped else _QUOTED
            return start if sides.match(text, start, at) and re.search(r"[A-Za-z0-9-]|[^\x00-\x7f]", inside) else None
        if re.match(r"[\x00-\x1f\x7f]", text[opening]):
            return None
        opening -= 1
    return None


def _mail(text: str) -> Iterator[tuple[int, int]]:
    for sign in re.finditer("@|%40", text):
        before = text[max(0, sign.start() - 65) : sign.start()]
        if before.endswith('"'):
            start = _quoted_start(text, sign.start())
            end = _host_end(text, sign.end())
            if start is not None and end:
                yield start, end
            continue
        run = re.search(
            r"[A-Za-z0-9._%+가-힣-]*\Z" if re.search(r"[가-힣]\Z", before) else r"[A-Za-z0-9._%+-]*\Z", before
        ).group()  # type: ignore[union-attr]
        local = run.lstrip(".%+-")
        if len(run.encode()) > 64 or not local or local.endswith("."):
            continue
        end = _host_end(text, sign.end())
        if end:
            yield sign.start() - len(local), end


def _host_end(text: str, at: int) -> int | None:
    end = i = None
    limit = min(len(text), at + 253)
    while True:
        if i and (ending := _HANGUL_ENDING.match(text, at, limit)):
            return ending.end()
        if hangul := _HANGUL_LABEL.match(text, at, limit):
            stop = hangul.end()
            if text[stop : stop + 1] != "." or hangul.group().endswith("-") or stop + 1 >= limit:
                return end
            at, i = stop + 1, True
            continue
        label = _LABEL.match(text, at, limit)
        word = label.group().rstrip("-") if label else ""
        if not label or not word or word.startswith("-"):
            return end
        if i and (re.fullmatch("[A-Za-z]{2,24}", word) or re.match("(?i)xn-..", word)):
            end = None if word.lower() in NO_DOMAINS else at + len(word)
        stop = at + len(word)
        if (
            word != label.group()
            or not re.match(r"\.[A-Za-z0-9-]" if end else r"\.[A-Za-z0-9가-힣-]", text[stop : stop + 2])
            or stop + 1 >= limit
        ):
            return end
        at, i = stop + 1, True


_SPELLED_SIGN = re.compile(r" ?(?:[\[({] ?(?:[aA][tT]|@|골뱅이) ?[\])}]|골뱅이) ?(?=[A-Za-z0-9])")
_SPELLED_DOT = re.compile(r"\.| ?[\[({] ?(?:[dD][oO][tT]|점|닷) ?[\])}] ?| (?:[dD][oO][tT]|점|닷) ")
_SPELLED_LABEL = re.compile(r"[A-Za-z0-9-]+")


def _spelled_mail(text: str) -> Iterator[tuple[int, int]]:
    for sign in _SPELLED_SIGN.finditer(text):
        run = re.search(r"[A-Za-z0-9._%+-]*\Z", text[max(0, sign.start() - 65) : sign.start()]).group()  # type: ignore[union-attr]
        local = run.lstrip(".%+-")
        if len(run) > 64 or len(local) < 2 or local.endswith("."):
            continue
        at, end = sign.end(), 0
        for i in range(6):
            label = _SPELLED_LABEL.match(text, at)
            if label is None or len(label.group()) > 63 or label.group().startswith("-") or label.group().endswith("-"):
                break
            if i and re.fullmatch(rf"(?i)[a-z]{{2}}|{'|'.join(ENDINGS.split())}", label.group()):
                end = label.end()
            dot = _SPELLED_DOT.match(text, label.end())
            if dot is None:
                break
            at = dot.end()
        if end:
            yield sign.start() - len(local), end


def _credentials(text: str) -> Iterator[tuple[int, int]]:
    secret = r"[!#$%&*+\-.0-9:;=?@A-Z^_a-z~]"
    for sign in re.finditer("@", text):
        run = re.search(rf"{secret}*\Z", text[max(0, sign.start() - 257) : sign.start()]).group()  # type: ignore[union-attr]
        begin = sign.start() - len(run)
        if ":" not in run[:-1] or text[max(0, begin - 3) : begin] != "://":
            continue
        scheme = re.search(r"[A-Za-z0-9+.-]*\Z", text[max(0, begin - 24) : begin - 3]).group().lstrip("0123456789+.-")  # type: ignore[union-attr]
        host = re.compile(r"[A-Za-z0-9.-]*").match(text, sign.end(), sign.end() + 253).group().rstrip(".-")  # type: ignore[union-attr]
        if scheme and host:
            end = sign.end() + len(host)
            port = re.compile(":[0-9]{1,6}").match(text, end)
            yield begin - 3 - len(scheme), port.end() if port else end


# -- addresses -----------------------------------------------------------------------------------------------------------

_PROVINCE, _DISTRICT, _NO_LOT, _NO_ROAD = (set(words.split()) for words in (PROVINCES, DISTRICTS, NO_LOTS, NO_ROADS))
_UNIT = "|".join(sorted(UNITS.split(), key=len, reverse=True))
_BUILDING = "|".join(sorted(BUILDINGS.split(), key=len, reverse=True))
_ANCHOR = re.compile(r"(?<=[ \u0080-\U0010ffff])(?=[0-9])")
_TAIL = re.compile(r"([가-힣0-9]*[로길동리가])(?: 산)? ?\Z")
_HOUSE = re.compile(
    rf"(?!0)[0-9]{{1,5}}(?![0-9])(?:-[0-9]{{1,4}}(?![0-9]))?(?:번지|(?!%|\.[0-9]|:|_|[0-9A-Za-z]|(?:{_UNIT})))"
)
_NUMBERED = re.compile(r"[0-9A-Za-z가-힣-]*?(?:[0-9]|(?<![0-9A-Za-z가-힣-])[A-Za-z-])(?:호실|[동호층])")
_NAMED = re.compile(rf"[0-9A-Za-z가-힣-]*(?:{_BUILDING}) ")
_WORD_FLOOR = re.compile(r"([0-9A-Za-z가-힣-]+) (?:[0-9]{1,5}(?:호실|[호층])|[A-Za-z]동)")
_FLOOR = re.compile("[0-9][호층]")
_BRANCH = re.compile(f"[0-9]+번?[{BRANCHES}]?길")
_DISTRICT_NOTE = re.compile(r"\([^)\n]{0,78}?[동가리][,)]")


def _address(text: str, at: int) -> tuple[int, int, str] | None:
    """The address whose number begins at `at`."""
    tail = _TAIL.search(text, max(0, at - 80), at)
    house = _HOUSE.match(text, at)
    if tail is None or house is None:
        return None
    word, start = tail.group(1), tail.start(1)
    branch, common = bool(_BRANCH.fullmatch(word)), word in _NO_LOT
    if not branch and (
        len(word.encode()) < 6
        or word.endswith("으로")
        or re.fullmatch("[0-9]+로", word)
        or (word[-1] == "가" and not word[-2].isdigit())
    ):
        return None
    road = word[-1] in "로길"
    if branch:
        before = re.search(r"([가-힣0-9]*로) \Z", text[max(0, start - 80) : start])
        if before is None:
            return None
        start -= len(before.group())
    certain = False
    for turn in range(5):
        if common and turn and not certain:
            break
        token = re.search(r"(?<![가-힣])([가-힣]+) \Z", text[max(0, start - 24) : start])
        if token is None:
            break
        name = token.group(1)
        if name in _DISTRICT:
            certain = True
        elif not (certain and name in _PROVINCE) and (certain or len(name) < 2 or name[-1] not in "읍면동리"):
            break
        start -= len(name) + 1
        if certain and name in _PROVINCE and name not in _DISTRICT:
            break
    end = _details(text, house.end())
    if not certain and common:
        return None
    if not certain:
        start = tail.start(1) if not branch else tail.start(1) - len(before.group())
    floored = road and word not in _NO_ROAD and _FLOOR.search(text, house.end(), end)
    kind = ("road_address" if road else "lot_address") if certain or floored else "labelled_address"
    return start, end, kind


def _details(text: str, end: int) -> int:
    for _ in range(5):
        gap = re.compile(",? {0,2}").match(text, end).group()  # type: ignore[union-attr]
        at = end + len(gap)
        if text[at : at + 1] == "(":
            close = text.find(")", at, at + 80)
            if close < 0 or not _DISTRICT_NOTE.match(text, at, close + 1):
                return end
            end = close + 1
            continue
        if not gap:
            return end
        unit = _NUMBERED.match(text, at)
        named = None if unit else _NAMED.match(text, at)
        if named:
            unit = _NUMBERED.match(text, named.end())
        if (
            unit is None
            and not named
            and (word := _WORD_FLOOR.match(text, at))
            and len(word.group(1)[:-1].encode()) < 42
        ):
            unit = word
        if unit is None:
            return end
        end = unit.end()
    return end


# -- a text under the rules ----------------------------------------------------------------------------------------------


def spans(text: str, rule: PatternRule, floor: int = 50) -> list[FoundSpan]:
    """Every match of `rule` in `text` with a score of `floor` or more; offsets are of the text as given."""
    folded, begins, ends = plain(text)
    found = []
    for start, end, quality in _matches(rule, folded):
        scores = (rule.weak, rule.strong)[quality]
        which = 0
        first = start
        if len(set(scores)) > 1:
            which, first = situation(folded, start, end, bits_of(rule.labels))
        if scores[which] >= floor and scores[which] > 0:
            if rule.name == "private_key":
                first, end = _key_block(folded, start, end)
            found.append(
                FoundSpan(
                    begins[first if rule.region or rule.name == "private_key" else start],
                    ends[end - 1],
                    rule,
                    scores[which],
                )
            )
    return found


def _matches(rule: PatternRule, text: str) -> Iterator[tuple[int, int, int]]:
    if rule.pattern:
        yield from _patterned(rule, text)
    elif rule.name == "mail":
        yield from ((start, end, 1) for start, end in _mail(text))
    elif rule.name == "mail_spelled":
        yield from ((start, end, 1) for start, end in _spelled_mail(text))
    elif rule.name == "credentials":
        yield from ((start, end, 1) for start, end in _credentials(text))
    else:
        for anchor in _ANCHOR.finditer(text):
            found = _address(text, anchor.start())
            if found and found[2] == rule.name:
                yield found[0], found[1], int(rule.name != "labelled_address")


def without_overlaps(found: list[FoundSpan], text: str) -> list[FoundSpan]:
    """Of spans that overlap the longest (in bytes of UTF-8), then the best scored, then the earlier kind in the list."""
    order = list(BY_NAME)
    kept: list[FoundSpan] = []
    for span in sorted(
        found, key=lambda s: (-len(text[s.start : s.end].encode()), -s.score, s.start, order.index(s.rule.entity))
    ):
        if all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda s: s.start)
