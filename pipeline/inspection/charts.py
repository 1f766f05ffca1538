"""Small charts as inline SVG: no script, no font, no network; they take the page's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

PALETTE = ("var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)")


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


def bars(counts: Sequence[tuple[str, float]], *, unit: str = "", most: int = 20) -> str:
    """Horizontal bars, one per (label, value), longest first as given; the rest is summed into one line."""
    counts = list(counts)
    if len(counts) > most:
        rest = counts[most - 1 :]
        counts = counts[: most - 1] + [(f"{len(rest)} more", sum(v for _, v in rest))]
    top = max((value for _, value in counts), default=0) or 1
    rows = []
    for label, value in counts:
        width = max(100 * value / top, 0.4) if value else 0
        rows.append(
            f'<div class="bar"><span class="label" title="{escape(label)}">{escape(label)}</span>'
            f'<span class="track"><span class="fill" style="width:{width:.2f}%"></span></span>'
            f'<span class="value">{number(value)}{escape(unit)}</span></div>'
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def histogram(edges: Sequence[float], groups: dict[str, Sequence[int]], *, x: str, limit: float | None = None) -> str:
    """Stacked columns per bin; `edges` has one more entry than each group's counts. `limit`: a line of class `limit` stands there
    (at the nearest end where it lies outside), with the ends of the axis beside it (`data-low`, `data-high`, `data-left`,
    `data-right`) for scripts that move it."""
    width, height, left, bottom = 640, 190, 46, 34
    bins = len(edges) - 1
    totals = [sum(counts[i] for counts in groups.values()) for i in range(bins)]
    top = max(totals, default=0) or 1
    step = (width - left - 8) / max(bins, 1)
    parts = []
    for i in range(bins):
        y = height - bottom
        for colour, (name, counts) in zip(PALETTE, groups.items()):
            tall = (height - bottom - 12) * counts[i] / top
            y -= tall
            title = f"{name}: {counts[i]:,} of {number(edges[i])} to {number(edges[i + 1])} {x}"
            parts.append(
                f'<rect x="{left + i * step + 1:.1f}" y="{y:.1f}" width="{max(step - 2, 1):.1f}" height="{tall:.1f}" fill="{colour}"><title>{escape(title)}</title></rect>'
            )
    for i in range(0, bins + 1, max(1, bins // 6)):
        anchor = "middle" if i < bins else "end"
        parts.append(
            f'<text x="{left + i * step:.1f}" y="{height - bottom + 14}" text-anchor="{anchor}">{number(edges[i])}</text>'
        )
    parts.append(f'<text x="{(width + left) / 2:.0f}" y="{height - 4}" text-anchor="middle">{escape(x)}</text>')
    parts.append(f'<text x="{left - 6}" y="16" text-anchor="end">{number(top)}</text>')
    parts.append(f'<line x1="{left}" y1="{height - bottom}" x2="{width - 8}" y2="{height - bottom}" class="axis"/>')
    if limit is not None:
        low, high = edges[0], edges[-1]
        at = left + (min(max(limit, low), high) - low) / ((high - low) or 1) * (width - left - 8)
        parts.append(
            f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="{height - bottom}" data-low="{low!r}" data-high="{high!r}" data-left="{left}" data-right="{width - 8}"/>'
        )
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>{_legend(list(groups))}'


def lines(series: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str) -> str:
    """A line per series of (x, y) points."""
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    width, height, left, bottom = 640, 220, 56, 34
    xs = [p[0] for points in series.values() for p in points]
    ys = [p[1] for points in series.values() for p in points]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def at(px: float, py: float) -> str:
        return f"{left + (px - x0) / (x1 - x0) * (width - left - 12):.1f},{12 + (y1 - py) / (y1 - y0) * (height - bottom - 18):.1f}"

    parts = []
    for i in range(5):
        level = y0 + (y1 - y0) * i / 4
        height_at = at(x0, level).split(",")[1]
        parts.append(f'<line x1="{left}" y1="{height_at}" x2="{width - 12}" y2="{height_at}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{float(height_at) + 4:.1f}" text-anchor="end">{number(level)}</text>')
    for i in range(5):
        height_at = x0 + (x1 - x0) * i / 4
        parts.append(
            f'<text x="{at(height_at, y0).split(",")[0]}" y="{height - bottom + 14}" text-anchor="middle">{number(round(height_at))}</text>'
        )
    for colour, (name, points) in zip(PALETTE, series.items()):
        path = " ".join(at(*p) for p in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"><title>{escape(name)}</title></polyline>'
        )
        if len(points) < 3:
            parts += [
                f'<circle cx="{at(*p).split(",")[0]}" cy="{at(*p).split(",")[1]}" r="3" fill="{colour}"/>'
                for p in points
            ]
    parts.append(f'<text x="{(width + left) / 2:.0f}" y="{height - 4}" text-anchor="middle">{escape(x)}</text>')
    return f'<figure><figcaption>{escape(y)}</figcaption><svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>{_legend(list(series))}</figure>'


def _legend(names: list[str]) -> str:
    if len(names) < 2:
        return ""
    keys = "".join(f'<span><i style="background:{c}"></i>{escape(n)}</span>' for c, n in zip(PALETTE, names))
    return f'<div class="legend">{keys}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """Cells are HTML already; `numeric` columns are aligned right."""

    def cells(row, tag):
        return "".join(f"<{tag}{' class=n' if i in numeric else ''}>{c}</{tag}>" for i, c in enumerate(row))

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells(head, "th")}</tr></thead><tbody>{body}</tbody></table></div>'
