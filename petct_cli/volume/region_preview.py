"""A picture to check regions by: the CT as a film, the PET as a projection, and where each region begins and ends."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from petct_cli.volume.lungs import Slabs
from petct_cli.volume.regions import RegionBounds
from petct_cli.volume.render import PET_WINDOW_SUV
from petct_cli.volume.storage import CHUNK

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

PIXEL_MM = 2.0
FILM_HU = (-1000.0, 500.0)
_GUTTER, _MARGIN, _LINE, _BAR = 190, 8, 14, 10
_TEXT_LINES = 4
_COLOURS = {"head_neck": (0, 110, 200), "chest": (200, 60, 0), "abdomen_pelvis": (0, 130, 70)}
_OTHER = (110, 60, 160)

Picture = npt.NDArray[np.float32]


def coronal_film(slabs: Slabs, slices: int) -> Picture:
    """Return the mean of a CT from front to back, ``(z, x)`` in 0..1, bone white as on a film of the chest.

    Parameters
    ----------
    slabs
        Reads slices ``start..stop`` as ``(z, y, x)`` HU.
    """

    def film(planes: npt.NDArray[Any]) -> Picture:
        low, high = FILM_HU
        clean = np.nan_to_num(planes.astype(np.float32), nan=low, posinf=high, neginf=low)
        scaled = (np.clip(clean, low, high) - low) / (high - low)
        # Air in front of a thin patient must not darken what a thick one shows bright.
        depth = np.maximum((scaled > (-300.0 - low) / (high - low)).sum(axis=1), 0.25 * planes.shape[1])
        return np.asarray(np.clip(scaled.sum(axis=1) / depth, 0, 1), np.float32)

    return _by_slabs(slabs, slices, film)


def coronal_mip(slabs: Slabs, slices: int, window: tuple[float, float] | None = PET_WINDOW_SUV) -> Picture:
    """Return the maximum of a PET from front to back, ``(z, x)`` in 0..1, uptake dark on white.

    `window` is in the unit of the PET; None takes it from the values, for a PET that is not in SUV.
    """
    highest = _by_slabs(slabs, slices, lambda planes: np.nan_to_num(planes.astype(np.float32)).max(axis=1))
    low, high = window or (0.0, max(1e-6, float(np.percentile(highest, 99))))
    return np.asarray(1 - np.clip((highest - low) / (high - low), 0, 1), np.float32)


def _by_slabs(slabs: Slabs, slices: int, project: Any) -> Picture:
    parts = [project(slabs(start, min(slices, start + CHUNK[0]))) for start in range(0, slices, CHUNK[0])]
    return np.concatenate(parts)


def draw_regions(
    views: Sequence[Picture],
    bounds: Sequence[RegionBounds],
    spacing_mm: tuple[float, float],
    positions_mm: Sequence[float | None],
    *,
    upright: bool = True,
) -> bytes:
    """Draw two views beside each other with the regions between them, as PNG, head up.

    Parameters
    ----------
    views
        Two pictures ``(z, x)`` in 0..1 on one grid.
    bounds
        In slices of the views.
    spacing_mm
        Distance of slices and of columns.
    positions_mm
        Where each slice lies; None where nobody knows.
    upright
        Whether slices ascend towards the head.
    """
    from PIL import Image, ImageDraw, ImageFont

    slices, columns = views[0].shape
    width, height = (max(1, round(n * mm / PIXEL_MM)) for n, mm in ((columns, spacing_mm[1]), (slices, spacing_mm[0])))
    notes = sorted({one.warning for one in bounds if one.warning})
    # A scan may be so short that what is said of its regions is higher.
    inner = max(height, _TEXT_LINES * _LINE * len(bounds))
    page = Image.new("RGB", (2 * width + _GUTTER, inner + 2 * _MARGIN + _LINE * len(notes)), "white")
    for view, left in zip(views, (0, width + _GUTTER), strict=True):
        levels = (np.clip(view, 0, 1) * 255).round().astype(np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(levels[::-1] if upright else levels))
        page.paste(picture.resize((width, height), Image.Resampling.BILINEAR), (left, _MARGIN))
    draw = ImageDraw.Draw(page)
    draw.font = ImageFont.load_default(11)
    free = _MARGIN
    for place, one in enumerate(bounds):
        first, last = (one.start, one.stop) if upright else (slices - one.stop, slices - one.start)
        top, bottom = (round(_MARGIN + height * (1 - edge / slices)) for edge in (last, first))
        _draw_extent(draw, one, place, (top, bottom), width)
        text = [
            one.name.replace("_", "-") + (" (partial)" if one.partial else ""),
            f"slices {one.start} to {one.stop - 1}",
            _positions(positions_mm[one.start], positions_mm[one.stop - 1]),
            one.method,
        ]
        middle = (top + bottom - _LINE * len(text)) // 2
        free = max(free, min(middle, _MARGIN + inner - _TEXT_LINES * _LINE * (len(bounds) - place)))
        for line in text:
            draw.text((width + 4 * (_BAR + 2), free), line, fill=_COLOURS.get(one.name, _OTHER))
            free += _LINE
    for number, note in enumerate(notes):
        draw.text((_MARGIN, inner + 2 * _MARGIN - 4 + number * _LINE), note, fill=(180, 0, 0))
    out = io.BytesIO()
    page.save(out, "PNG", optimize=True)
    return out.getvalue()


def _positions(first: float | None, last: float | None) -> str:
    return "size unknown" if first is None or last is None else f"{first:.0f} to {last:.0f} mm"


def _draw_extent(draw: ImageDraw, region: RegionBounds, place: int, rows: tuple[int, int], width: int) -> None:
    """Draw a bar beside the views and lines over them where a region begins and ends."""
    colour = _COLOURS.get(region.name, _OTHER)
    top, bottom = rows
    left = width + 3 + place * (_BAR + 2)
    draw.rectangle((left, top, left + _BAR, bottom - 1), fill=colour)
    for row in (top, bottom - 1):
        for start in (0, width + _GUTTER):
            draw.line((start, row, start + width, row), fill=colour)
