"""Bar charts as small PNGs, drawn with what draws everything else here (pillow)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 40, 48
_COLOURS = ("#3b6ea5", "#d9822b", "#7a8b99", "#b8c4ce")
_INK, _GRID = "#222222", "#dddddd"
_TICKS = 4
_FONT_PX, _SMALL_FONT_PX = 13, 10


@dataclass(frozen=True)
class Series:
    """The bars of one colour: a value per label, None where it is not told."""

    name: str
    values: Sequence[int | None]


def bar_chart(title: str, labels: Sequence[str], series: Sequence[Series], axis: str = "") -> bytes:
    """Return a chart of grouped bars as PNG.

    Parameters
    ----------
    labels
        Below each group, on one line or two; where they are many only some are written.
    series
        One value per label each; a value that is not told is a hatched stub.
    axis
        What the labels are.
    """
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_FONT_PX)
    draw.text((_LEFT, 10), title, fill=_INK, font=font)
    top = _nice(max((value or 0 for one in series for value in one.values), default=0))
    _grid(draw, font, top)
    group = (WIDTH - _LEFT - _RIGHT) / max(1, len(labels))
    bar = max(1.0, group * 0.8 / max(1, len(series)))
    for place in range(len(labels)):
        for number, one in enumerate(series):
            x = _LEFT + place * group + group * 0.1 + number * bar
            _bar(draw, x, bar, one.values[place], top, _COLOURS[number % len(_COLOURS)])
    _labels(draw, labels, group)
    if axis:
        draw.text((WIDTH / 2, HEIGHT - 8), axis, fill=_INK, font=font, anchor="ms")
    if len(series) > 1:
        _legend(draw, font, series)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _nice(value: int) -> int:
    """Return the end of an axis: at least `value`, and its quarters are whole."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if _TICKS * step * factor >= value:
                return _TICKS * step * factor
        step *= 10


def _y(value: float, top: int) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


def _grid(draw: ImageDraw, font: FreeTypeFont | ImageFont, top: int) -> None:
    for tick in range(_TICKS + 1):
        value = top * tick // _TICKS
        y = _y(value, top)
        draw.line((_LEFT, y, WIDTH - _RIGHT, y), fill=_INK if tick == 0 else _GRID)
        draw.text((_LEFT - 6, y), f"{value:,}", fill=_INK, font=font, anchor="rm")


def _bar(draw: ImageDraw, x: float, width: float, value: int | None, top: int, colour: str) -> None:
    base = _y(0, top)
    if value is None:
        for shift in range(0, int(width), 4):
            draw.line((x + shift, base - 1, min(x + shift + 6, x + width), base - 7), fill=colour)
    elif value > 0:
        draw.rectangle((x, min(_y(value, top), base - 1), x + width - 1, base - 1), fill=colour)


def _labels(draw: ImageDraw, labels: Sequence[str], group: float) -> None:
    from PIL import ImageFont

    lines = [line for label in labels for line in label.split("\n")]
    for size in (_FONT_PX, _SMALL_FONT_PX):
        font = ImageFont.load_default(size)
        every = max(1, -int(-(max((draw.textlength(line, font=font) for line in lines), default=0) + 2) // group))
        if every == 1:
            break
    for place in range(0, len(labels), every):
        for number, line in enumerate(labels[place].split("\n")):
            at = (_LEFT + (place + 0.5) * group, HEIGHT - _BOTTOM + 5 + number * _FONT_PX)
            draw.text(at, line, fill=_INK, font=font, anchor="ma")


def _legend(draw: ImageDraw, font: FreeTypeFont | ImageFont, series: Sequence[Series]) -> None:
    x = float(WIDTH - _RIGHT)
    for number in reversed(range(len(series))):
        name = series[number].name
        x -= draw.textlength(name, font=font)
        draw.text((x, 10), name, fill=_INK, font=font)
        x -= 16
        draw.rectangle((x, 12, x + 10, 22), fill=_COLOURS[number % len(_COLOURS)])
        x -= 14
