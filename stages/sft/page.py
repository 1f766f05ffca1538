"""A document as the miner sees it: its text, its blocks, its sections, its language, and dice of its own.

Everything is computed once and on demand; offsets are code points of the text. Structure comes from the blocks that ingest
kept; a text without heading blocks (JSON lines, plain files) shows its Markdown headings instead.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from pipeline.urls import host_of
from stages.text.language.particles import fold

T = TypeVar("T")
_MARKDOWN_HEADING = re.compile(r"^(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_BLANK = re.compile(r"\n[ \t]*\n+")
_LATIN = bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B))
_HANGUL = b"\xea\xeb\xec\xed"
_KANA_HAN = bytes(range(0xE3, 0xEA))
"""UTF-8 lead bytes: each stands for one letter of its script (a few signs of the same blocks aside)."""
_NO_WORD = re.compile(r"[\W_]+")
_SPACE = re.compile(r"\s+")


class TextSpan(NamedTuple):
    """A half-open range of code points."""

    start: int
    end: int


@dataclass(frozen=True)
class PageBlock:
    """One typed block; `start` and `end` are None where it does not stand in the text."""

    kind: str
    text: str
    start: int | None
    end: int | None
    level: int
    group: int | None

    @property
    def span(self) -> TextSpan | None:
        return TextSpan(self.start, self.end) if self.start is not None and self.end is not None else None


@dataclass(frozen=True)
class PageSection:
    """A heading and what stands below it. `own` ends at the next heading of any level, `body` at the next of the same or a
    higher one."""

    heading: str
    level: int
    head: TextSpan
    own: TextSpan
    body: TextSpan


def language(text: str) -> str | None:
    """`ko` where Hangul makes a fifth of the letters, `en` for Latin, None for other scripts or no letters.

    Latin languages other than English are told apart by the page's own `lang`, which knows more than the letters do.
    """
    head = text[:4000].encode("utf-8", "replace")
    hangul, latin, other = (len(head) - len(head.translate(None, letters)) for letters in (_HANGUL, _LATIN, _KANA_HAN))
    total = hangul + latin + other
    if not total:
        return None
    if hangul >= 0.2 * total:
        return "ko"
    return "en" if latin >= 0.6 * total else None


KOREAN = 0.62
"""Characters Korean needs to say what English says in one: 20,000 sentence pairs of the Python manual."""


def least(characters: int, lang: str | None) -> int:
    """A shortest length, given for English, in the language's own characters."""
    return max(1, round(characters * KOREAN)) if lang == "ko" else characters


_ENGLISH = re.compile(r"(?:\b[A-Za-z][A-Za-z'’-]*,?[ \n]+){5,}[A-Za-z'’-]+\s*[.!?:](?=\s|$|[가-힣])")
"""Six Latin words and the end of a sentence: in Korean text something left untranslated."""


_ENGLISH_LINE = re.compile(
    r"^(?=[^가-힣\n]*[.:!?][\"'”’)]*$)(?=(?:[^A-Za-z가-힣\n]*\b[A-Za-z][A-Za-z'’]*\b){4})[A-Z\"'“‘(][^가-힣=;{}$#<>|\\\n]*$",
    re.MULTILINE,
)
"""A line without Hangul that reads like a sentence of four words or more, and not like code."""


def untranslated(text: str) -> bool:
    """Whether a Korean text holds an English sentence."""
    return bool(_ENGLISH.search(text) or _ENGLISH_LINE.search(text))


def squeeze(text: str) -> str:
    """White space as single blanks, trimmed: one line."""
    return _SPACE.sub(" ", text).strip()


def comparison_key(text: str) -> str:
    """What two wordings of one question share: folded letters and digits only."""
    return _NO_WORD.sub("", fold(text))


class Page:
    """One DOCUMENT row. `seed` is the recipe's; draws depend on it and the row's id alone."""

    def __init__(self, row: dict[str, Any], seed: int):
        self.row = row
        self.seed = seed
        self.id: str = row["id"]
        self.text: str = row.get("text") or ""
        self.title: str = squeeze(row.get("title") or "")
        self.url: str = row.get("url") or ""
        self._memo: dict[Callable[..., Any], Any] = {}

    def cached(self, measure: Callable[[Page], T]) -> T:
        """`measure(self)`, computed at most once per page, like `Docs.cached`."""
        if measure not in self._memo:
            self._memo[measure] = measure(self)
        return self._memo[measure]

    def dice(self, name: str) -> random.Random:
        """Dice for one purpose: seeded by (seed, row id, purpose), never by order or process."""
        return random.Random(f"{self.seed}/{self.id}/{name}")

    @cached_property
    def host(self) -> str:
        """Lower-case host of the URL, else the source's first part."""
        return (host_of(self.url) or (self.row.get("source") or "").split("/", 1)[0]).lower()

    @cached_property
    def lang(self) -> str | None:
        """`ko` or `en` where templates can speak it; None otherwise. The row's `lang` wins over the letters."""
        given = (self.row.get("lang") or "").split("-")[0].split("_")[0].lower()
        if given:
            return given if given in ("ko", "en") else None
        return language(self.text)

    @cached_property
    def meta(self) -> dict[str, str]:
        return {item["key"]: item["value"] for item in self.row.get("meta") or [] if item.get("value") is not None}

    @cached_property
    def blocks(self) -> list[PageBlock]:
        """The row's blocks with usable texts; a span that does not hold the block's text is not trusted."""
        out = []
        for block in self.row.get("blocks") or []:
            start, end = block.get("start"), block.get("end")
            if start is None or end is None or not 0 <= start <= end <= len(self.text):
                start = end = None
            text = block.get("text") or ""
            if start is not None and self.text[start:end] != text:
                text = self.text[start:end] if squeeze(self.text[start:end]) == squeeze(text) else text
                if text != self.text[start:end]:
                    start = end = None
            out.append(
                PageBlock(block.get("kind") or "", text, start, end, block.get("level") or 0, block.get("group"))
            )
        return out

    def of_kind(self, *kinds: str) -> Iterator[PageBlock]:
        return (block for block in self.blocks if block.kind in kinds)

    @cached_property
    def groups(self) -> dict[int, list[PageBlock]]:
        """Blocks by group, in order of first appearance."""
        found: dict[int, list[PageBlock]] = {}
        for block in self.blocks:
            if block.group is not None:
                found.setdefault(block.group, []).append(block)
        return found

    @cached_property
    def code(self) -> list[TextSpan]:
        """Spans of code: nothing is asked about them and no heading is read in them."""
        spans = [block.span for block in self.of_kind("code") if block.span]
        if not any(block.kind == "heading" for block in self.blocks):
            spans += [TextSpan(*m.span()) for m in _FENCE.finditer(self.text)]
        return sorted(spans)

    def in_code(self, position: int) -> bool:
        return any(span.start <= position < span.end for span in self.code)

    @cached_property
    def headings(self) -> list[tuple[str, int, TextSpan]]:
        """(text, level, span of its line) in the order of the text."""
        found = [
            (squeeze(b.text), b.level or 2, b.span)
            for b in self.of_kind("heading")
            if b.span and b.group is None and squeeze(b.text)
        ]
        if not found and "#" in self.text and not self.blocks:
            found = [
                (m[2], len(m[1]), TextSpan(*m.span()))
                for m in _MARKDOWN_HEADING.finditer(self.text)
                if not self.in_code(m.start())
            ]
        return sorted(found, key=lambda item: item[2])

    @cached_property
    def sections(self) -> list[PageSection]:
        """Every heading with its own text and its whole body."""
        out, open_ends = [], {}
        stack: list[int] = []
        for at, (_, level, span) in enumerate(self.headings):
            while stack and self.headings[stack[-1]][1] >= level:
                open_ends[stack.pop()] = span.start
            stack.append(at)
        for at, (text, level, span) in enumerate(self.headings):
            following = self.headings[at + 1][2].start if at + 1 < len(self.headings) else len(self.text)
            own = self.trimmed(TextSpan(span.end, max(following, span.end)))
            body = self.trimmed(TextSpan(span.end, max(open_ends.get(at, len(self.text)), span.end)))
            out.append(PageSection(text, level, span, own, body))
        return out

    def trimmed(self, span: TextSpan) -> TextSpan:
        """`span` without surrounding white space."""
        piece = self.text[span.start : span.end]
        left = len(piece) - len(piece.lstrip())
        return TextSpan(span.start + left, span.start + max(left, len(piece.rstrip())))

    @cached_property
    def paragraphs(self) -> list[TextSpan]:
        """Spans of running text in order: paragraph blocks, else pieces between blank lines (lines where there is none)."""
        spans = [b.span for b in self.of_kind("paragraph") if b.span and b.span.end > b.span.start]
        if spans:
            return sorted(set(spans))
        separator = _BLANK if _BLANK.search(self.text) else re.compile(r"\n+")
        heads = {span.start for _, _, span in self.headings}
        out, at = [], 0
        for cut in [*separator.finditer(self.text), None]:
            end = cut.start() if cut else len(self.text)
            span = self.trimmed(TextSpan(at, end))
            if span.end > span.start and span.start not in heads and not self.in_code(span.start):
                out.append(span)
            at = cut.end() if cut else end
        return out

    def cut(self, span: TextSpan) -> str:
        return self.text[span.start : span.end]

    @cached_property
    def _dense(self) -> tuple[str, list[int]]:
        """The text without white space, and where each remaining character stands."""
        positions = [position for position, letter in enumerate(self.text) if not letter.isspace()]
        return "".join(self.text[p] for p in positions), positions

    def attach(self, piece: str, after: int = 0) -> TextSpan | None:
        """Where `piece` stands in the text, white space aside: first at or behind `after`, else anywhere; None if nowhere."""
        wanted = _SPACE.sub("", piece)
        if not wanted:
            return None
        for position in dict.fromkeys((after, 0)):
            exact = self.text.find(piece, position)
            if exact >= 0:
                return self.trimmed(TextSpan(exact, exact + len(piece)))
            dense, positions = self._dense
            at = dense.find(wanted, bisect_left(positions, position))
            if at >= 0:
                return TextSpan(positions[at], positions[at + len(wanted) - 1] + 1)
        return None
