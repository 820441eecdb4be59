"""Points with their intervals as a small inline SVG; colours come from the style sheet of the page around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360
_LEFT, _RIGHT, _TOP, _AXIS = 130, 14, 6, 22
_LINE, _GAP = 15, 9
_TICKS = 4
_LABEL_LETTERS = 18
SHAPES = 6
"""Series that can be told apart by shape alone."""
CONTROL = SHAPES
"""The series of what is shown beside the systems."""


@dataclass(frozen=True)
class Point:
    """One value with its interval; `series` picks colour and shape, `label` says what it is."""

    series: int
    label: str
    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Line:
    """What stands beside one label: a point per series."""

    label: str
    points: Sequence[Point]


def interval_plot(title: str, lines: Sequence[Line], limits: tuple[float, float] | None = None) -> str:
    """Return the plot as an SVG element.

    Parameters
    ----------
    title
        What is plotted, for those who do not see it.
    lines
        From top to bottom; each takes as much room as it has points.
    limits
        Ends of the axis; by default 0 and as far as values and intervals reach.

    Notes
    -----
    The element carries the classes ``plot``, ``axis``, ``grid`` and ``s0``, ``s1`` ... for the series.
    """
    points = [point for line in lines for point in line.points]
    ticks = nice_ticks(*(limits or _reach(points)))
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        inside = min(max(value, low), high)
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (inside - low) / (high - low)

    parts: list[str] = []
    y = float(_TOP)
    for line in lines:
        tall = _LINE * max(1, len(line.points)) + _GAP
        parts.append(f'<text x="{_LEFT - 10}" y="{y + tall / 2 + 4:g}" text-anchor="end">{_label(line.label)}</text>')
        for number, point in enumerate(line.points):
            parts.append(_point(point, x, y + _GAP / 2 + _LINE * (number + 0.5)))
        y += tall
    height = y + _AXIS
    grid = [
        f'<path class="grid" d="M{x(tick):.1f} {_TOP}V{y:g}"/><text class="axis" x="{x(tick):.1f}" y="{y + 16:g}" '
        f'text-anchor="middle">{tick:g}</text>'
        for tick in ticks
    ]
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(_told(title, lines))}">'
        + "".join([*grid, *parts])
        + "</svg>"
    )


def marker(series: int) -> str:
    """Return the mark of a series by itself, for a legend."""
    return f'<svg class="marker" viewBox="0 0 14 14" aria-hidden="true">{_shape(series, 7, 7)}</svg>'


def nice_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, about five of them."""
    if not high > low:
        high = low + 1
    rough = (high - low) / _TICKS
    magnitude: float = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]


def _reach(points: Iterable[Point]) -> tuple[float, float]:
    ends = [end for point in points for end in (point.value, *(point.interval or ()))]
    return min([0.0, *ends]), max([0.0, *ends])


def _point(point: Point, x: Callable[[float], float], y: float) -> str:
    whisker = ""
    if point.interval is not None:
        low, high = (x(end) for end in point.interval)
        whisker = (
            f'<path class="whisker" d="M{low:.1f} {y:g}H{high:.1f}M{low:.1f} {y - 3:g}v6M{high:.1f} {y - 3:g}v6"/>'
        )
    return (
        f'<g class="s{point.series}"><title>{escape(_said(point))}</title>{whisker}'
        f"{_shape(point.series, x(point.value), y)}</g>"
    )


def _shape(series: int, x: float, y: float) -> str:
    """Return a mark: systems differ by shape as well as colour, so that print and any eye can tell them."""
    outlines = (
        "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
        "m-4 -4h8v8h-8z",
        "m0 -5l5 9h-10z",
        "m0 -5.5l5 5.5l-5 5.5l-5 -5.5z",
        "m0 5l5 -9h-10z",
        "m-4.5 -1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3z",
        "m-1.25 -4.5h2.5v9h-2.5z",
    )
    return f'<path class="s{series}" d="M{x:.1f} {y:g}{outlines[series]}"/>'


def _label(text: str) -> str:
    shown = text if len(text) <= _LABEL_LETTERS else text[: _LABEL_LETTERS - 1] + "…"
    return escape(shown) if shown == text else f"<title>{escape(text)}</title>{escape(shown)}"


def _said(point: Point) -> str:
    interval = "" if point.interval is None else f" ({point.interval[0]:.4g} to {point.interval[1]:.4g})"
    return f"{point.label} {point.value:.4g}{interval}"


def _told(title: str, lines: Iterable[Line]) -> str:
    told = [f"{line.label}: {', '.join(_said(point) for point in line.points) or 'none'}" for line in lines]
    return f"{title}. {'; '.join(told)}"
