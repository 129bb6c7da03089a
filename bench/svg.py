"""Small charts as SVG text: horizontal bars and lines. No dependency, and small enough to be committed.

In: titles and numbers.  Out: an SVG document.  House rule: every mark has its value as text or on a labelled axis.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
MARGIN = 34.0  # right of a chart of lines: room for half a label
PALETTE = ("#0b7285", "#e8590c", "#5f3dc4", "#2b8a3e", "#c2255c", "#868e96", "#1864ab", "#a68a00")
INK, FAINT, PAPER = "#212529", "#dee2e6", "#ffffff"
FONT = "font-family='system-ui,-apple-system,Segoe UI,sans-serif'"


@dataclass(frozen=True)
class Bar:
    """One bar, and the range it stands for."""

    label: str
    value: float
    low: float
    high: float
    is_ours: bool = False
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A named sequence of points."""

    label: str
    points: Sequence[tuple[float, float]]


def document(width: float, height: float, parts: Sequence[str]) -> str:
    """The frame: a white page, so that it reads on dark ones too."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
        f"viewBox='0 0 {width:g} {height:g}' {FONT} font-size='12' fill='{INK}'>"
        f"<rect width='100%' height='100%' fill='{PAPER}'/>" + "".join(parts) + "</svg>\n"
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, weight: str = "normal") -> str:
    """Words at a place."""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' font-weight='{weight}'>"
        f"{escape(words)}</text>"
    )


def stroke(x1: float, y1: float, x2: float, y2: float, colour: str = FAINT, width: float = 1) -> str:
    """A straight line."""
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' stroke-width='{width:g}'/>"


def bars(
    title: str,
    groups: Sequence[tuple[str, Sequence[Bar]]],
    *,
    mark: float | None = None,
    mark_label: str = "",
    most: float = math.inf,
) -> str:
    """Horizontal bars in titled groups on one scale from zero; `mark` is a line to compare with (such as nginx = 1).

    Bars longer than `most` end there, broken off, so that one of them does not make the others too short to tell apart.
    """
    left, right, row, top = 190.0, 150.0, 20.0, 52.0
    every = [bar for _, group in groups for bar in group]
    scale = (WIDTH - left - right) / max([min(bar.high, most) for bar in every] + [mark or 0.0, 1e-9])
    parts, y = [text(16, 28, title, size=16, weight="600")], top
    for heading, group in groups:
        if heading:
            parts.append(text(16, y + 12, heading, weight="600"))
            y += row
        for bar in group:
            parts += _bar(bar, left, y, row, scale, most)
            y += row
        y += 8
    if mark is not None:
        parts.append(stroke(left + mark * scale, top, left + mark * scale, y - 6, INK, 1))
        parts.append(text(left + mark * scale, top - 6, mark_label, anchor="middle", size=11))
    return document(WIDTH, y + 8, parts)


def figure(value: float) -> str:
    """Two decimals of a small number, none of a large one."""
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _bar(bar: Bar, left: float, y: float, row: float, scale: float, most: float) -> list[str]:
    colour = PALETTE[0] if bar.is_ours else "#adb5bd"
    end, middle = left + min(bar.value, most) * scale, y + row / 2 - 1
    low, high = (left + min(edge, most) * scale for edge in (bar.low, bar.high))
    broken = [text(end - 14, y + 13, "//", weight="600")] if bar.value > most else []
    return [
        text(left - 8, y + 13, bar.label, anchor="end", weight="600" if bar.is_ours else "normal"),
        f"<rect x='{left:.1f}' y='{y + 2:.1f}' width='{end - left:.1f}' height='{row - 6:.1f}' fill='{colour}'/>",
        stroke(low, middle, high, middle, INK, 1.5),
        *broken,
        text(max(end, high) + 8, y + 13, " · ".join(filter(None, (figure(bar.value), bar.note)))),
    ]


@dataclass(frozen=True)
class Axis:
    """One axis: values to pixels, and where its ticks are."""

    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def linear(low: float, high: float, start: float, end: float) -> Axis:
    """Evenly spaced; ticks at 1, 2 or 5 times a power of ten."""
    span = (high - low) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first = math.ceil(low / step)
    ticks = [(i * step, f"{i * step:,.10g}") for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return Axis(lambda value: start + (value - low) / span * (end - start), ticks)


def logarithmic(low: float, high: float, start: float, end: float) -> Axis:
    """Each power of ten takes the same room; low > 0."""
    first, last = math.log10(low), math.log10(high)
    if last - first < 1:
        first, last = math.floor(first), math.ceil(last + 1e-9)
    ticks = [(10.0**i, f"{10.0**i:,g}") for i in range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)]
    return Axis(lambda value: start + (math.log10(max(value, 1e-12)) - first) / (last - first) * (end - start), ticks)


def percentiles(highest: float, start: float, end: float) -> Axis:
    """For shares from 0 to 1: each further nine takes the same room, up to that of `highest`."""
    nines = max(1.0, -math.log10(max(1 - highest, 1e-9)))
    labels = [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")]
    return Axis(
        lambda share: start + min(-math.log10(max(1 - share, 1e-9)), nines) / nines * (end - start),
        [(share, label) for share, label in labels if share <= highest],
    )


def lines(
    title: str,
    series: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    x_axis: Callable[[float, float, float, float], Axis] = linear,
    y_axis: Callable[[float, float, float, float], Axis] = linear,
    from_zero: bool = True,
    height: float = 320,
) -> str:
    """Lines over a common axis each way, with a legend."""
    left, right, top, bottom = 70.0, MARGIN, 64.0, height - 44
    xs = [x for line in series for x, _ in line.points] or [0.0]
    ys = [y for line in series for _, y in line.points] or [0.0]
    low = 0.0 if from_zero and y_axis is linear else min(ys)
    across = x_axis(min(xs), max(xs), left, WIDTH - right)
    up = y_axis(low, max(ys) * 1.05 or 1.0, bottom, top)
    parts = [text(16, 26, title, size=16, weight="600"), *_grid(across, up, left, top, bottom)]
    parts += [text(WIDTH - right, height - 10, x_label, anchor="end"), text(16, 46, y_label)]
    for number, line in enumerate(series):
        colour = PALETTE[number % len(PALETTE)]
        points = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in line.points)
        parts.append(f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.8'/>")
        parts += _legend(number, line.label, colour)
    return document(WIDTH, height, parts)


def _grid(across: Axis, up: Axis, left: float, top: float, bottom: float) -> list[str]:
    parts = []
    for value, label in up.ticks:
        y = up.place(value)
        parts += [stroke(left, y, WIDTH - MARGIN, y), text(left - 8, y + 4, label, anchor="end", size=11)]
    for value, label in across.ticks:
        x = across.place(value)
        parts += [stroke(x, top, x, bottom), text(x, bottom + 16, label, anchor="middle", size=11)]
    return parts


def _legend(number: int, label: str, colour: str) -> list[str]:
    x, y = 200 + (number % 4) * 140, 46 + (number // 4) * 14
    return [f"<rect x='{x}' y='{y - 9}' width='10' height='10' fill='{colour}'/>", text(x + 15, y, label, size=11)]


def stack(charts: Sequence[str]) -> str:
    """Several charts below each other."""
    parts, y = [], 0.0
    for chart in charts:
        found = re.search(r"height='([\d.]+)'", chart)
        assert found is not None
        parts.append(f"<g transform='translate(0 {y:g})'>{chart.strip()}</g>")
        y += float(found[1])
    return document(WIDTH, y, parts)
