"""What pages are made of, as data: charts, tables, text. `templates/parts.jinja` draws them, in the report and wherever else
a stage shows pages.

Charts are inline SVG in the page's colours: no script, no font, no network, no inline style. Parts hold plain text; templates escape it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

COLOURS = 6
"""Classes c1 to c6 of `parts.css`: so many series are drawn of a chart."""
POINTS = 400
"""Points that are drawn of a line."""


def number(value: float) -> str:
    """1234567 -> 1,234,567; 0.01234 -> 0.0123; large floats without decimals."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def size(count: float) -> str:
    """Bytes in a unit a person reads."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


class Part:
    """Something on a page. `kind`: the macro of `parts.jinja` that draws it."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class PageHeading(Part):
    """A heading inside a section."""

    kind = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph(Part):
    """A few sentences; `style`: `soft` or `strong`."""

    kind = "paragraph"
    text: str
    style: str = ""


@dataclass(frozen=True)
class Listing(Part):
    """Lines as they are, in a fixed width."""

    kind = "listing"
    text: str


@dataclass(frozen=True)
class Fold(Part):
    """Parts that open at a click, and in print."""

    kind = "fold"
    summary: str
    parts: Sequence[Part]
    is_open: bool = False


@dataclass(frozen=True)
class Beside(Part):
    """Groups of parts beside each other, where there is room."""

    kind = "beside"
    groups: Sequence[Sequence[Part]]


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    value: float | None = None
    """Of a figure: it is aligned right and sorted by this."""
    share: float | None = None
    """From 0 to 1, drawn beside the text."""
    style: str = ""
    """`code`, `id` or `strong`."""
    lang: str | None = None
    """Language of the text."""


def figure(value: float, text: str | None = None, share: float | None = None) -> Cell:
    """A number in a table, sorted by its value whatever is written."""
    return Cell(number(value) if text is None else text, value, share)


@dataclass(frozen=True)
class Table(Part):
    """A table that a script of the page can sort; numbers among the cells are figures."""

    kind = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str | float | Cell]]
    total: Sequence[str | float | Cell] = ()
    """A last row that stays where it is."""

    @cached_property
    def cells(self) -> list[list[Cell]]:
        return [_cells(row) for row in self.rows]

    @property
    def foot(self) -> list[Cell]:
        return _cells(self.total)

    @cached_property
    def figures(self) -> list[bool]:
        """Which columns are of numbers."""
        return [any(row[i].value is not None for row in self.cells) for i in range(len(self.head))]


def _cells(row: Sequence[str | float | Cell]) -> list[Cell]:
    return [each if isinstance(each, Cell) else Cell(each) if isinstance(each, str) else figure(each) for each in row]


@dataclass(frozen=True)
class Bars(Part):
    """Horizontal bars, one per (label, value), in the order given; those beyond `most` are summed into one."""

    kind = "bars"
    counts: Sequence[tuple[str, float]]
    unit: str = ""
    most: int = 20

    @property
    def rows(self) -> list[tuple[str, float, float]]:
        """Label, value, and the width of the bar in percent."""
        counts = list(self.counts)
        if len(counts) > self.most:
            rest = counts[self.most - 1 :]
            counts = [*counts[: self.most - 1], (f"+ {len(rest):,}", sum(value for _, value in rest))]
        top = max((value for _, value in counts), default=0) or 1
        return [(label, value, round(max(100 * value / top, 0.4), 2) if value else 0) for label, value in counts]


class HistogramBar(NamedTuple):
    """A part of a column of a histogram, in the units of its picture."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    title: str


@dataclass(frozen=True)
class Histogram(Part):
    """Stacked columns per bin; `edges` has one more entry than each group's counts.

    `limit`: a line of class `limit` is drawn there (at the nearest end where it lies outside), with the ends of the axis beside it
    (`data-low`, `data-high`, `data-left`, `data-right`) for scripts that move it.
    """

    kind = "histogram"
    edges: Sequence[float]
    groups: Mapping[str, Sequence[int]]
    x: str
    limit: float | None = None
    width: ClassVar[int] = 640
    height: ClassVar[int] = 190
    left: ClassVar[int] = 46
    right: ClassVar[int] = 632
    floor: ClassVar[int] = 156

    @property
    def _bins(self) -> int:
        return len(self.edges) - 1

    @property
    def _step(self) -> float:
        return (self.right - self.left) / max(self._bins, 1)

    @cached_property
    def top(self) -> int:
        """Rows of the tallest column."""
        return max((sum(counts[i] for counts in self.groups.values()) for i in range(self._bins)), default=0) or 1

    @property
    def columns(self) -> list[HistogramBar]:
        found = []
        for i, (start, end) in enumerate(pairwise(self.edges)):
            y = float(self.floor)
            for colour, (name, counts) in enumerate([*self.groups.items()][:COLOURS], 1):
                if counts[i]:
                    tall = (self.floor - 12) * counts[i] / self.top
                    y -= tall
                    title = f"{name}: {counts[i]:,} ({number(start)}–{number(end)} {self.x})"
                    at, wide = self.left + i * self._step + 1, max(self._step - 2, 1)
                    found.append(HistogramBar(round(at, 1), round(y, 1), round(wide, 1), round(tall, 1), colour, title))
        return found

    @property
    def ticks(self) -> list[tuple[float, str, str]]:
        """Position, label and anchor of what is written below the axis."""
        few = range(0, self._bins + 1, max(1, self._bins // 6))
        return [(round(self.left + i * self._step, 1), number(self.edges[i]), "middle" if i < self._bins else "end") for i in few]  # fmt: skip

    @property
    def limit_at(self) -> float | None:
        if self.limit is None:
            return None
        low, high = self.edges[0], self.edges[-1]
        share = (min(max(self.limit, low), high) - low) / ((high - low) or 1)
        return round(self.left + share * (self.right - self.left), 1)


class Curve(NamedTuple):
    """A line of a chart, in the units of its picture."""

    name: str
    colour: int
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Curves(Part):
    """A line per series of (x, y) points; of long ones `POINTS` are drawn, evenly spread, the last among them."""

    kind = "lines"
    series: Mapping[str, Sequence[tuple[float, float]]]
    x: str
    y: str
    width: ClassVar[int] = 640
    height: ClassVar[int] = 220
    left: ClassVar[int] = 56
    right: ClassVar[int] = 628
    floor: ClassVar[int] = 186

    @cached_property
    def _ends(self) -> tuple[float, float, float, float]:
        every = [point for points in self.series.values() for point in points]
        (x0, x1), (y0, y1) = ((min(values), max(values)) for values in zip(*every))
        return x0, x1 if x1 > x0 else x0 + 1, y0, y1 if y1 > y0 else y0 + 1

    def _at(self, x: float, y: float) -> tuple[float, float]:
        x0, x1, y0, y1 = self._ends
        across = self.left + (x - x0) / (x1 - x0) * (self.right - self.left)
        return round(across, 1), round(12 + (y1 - y) / (y1 - y0) * (self.floor - 18), 1)

    @property
    def lines(self) -> list[Curve]:
        drawn = [(name, points) for name, points in self.series.items() if points][:COLOURS]
        return [Curve(name, i, [self._at(*p) for p in _thinned(points)]) for i, (name, points) in enumerate(drawn, 1)]

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        x0, x1, y0, _ = self._ends
        values = [x0 + (x1 - x0) * i / 4 for i in range(5)]
        return [(self._at(value, y0)[0], number(round(value))) for value in values]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        x0, _, y0, y1 = self._ends
        values = [y0 + (y1 - y0) * i / 4 for i in range(5)]
        return [(self._at(x0, value)[1], number(value)) for value in values]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most POINTS of them, the first and the last among them."""
    most = min(len(points), POINTS)
    return [points[round(i * (len(points) - 1) / max(most - 1, 1))] for i in range(most)]


def parts_of(*parts: Any) -> list[Part]:
    """The parts that there are: None and empty lists are left out, lists are taken apart."""
    found: list[Part] = []
    for part in parts:
        found += parts_of(*part) if isinstance(part, (list, tuple)) else [] if part is None else [part]
    return found
