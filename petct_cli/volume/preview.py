"""One small picture per study, for a person to check a thousand of them: coronal CT, PET projection, fusion.

Radiological convention: head up, the patient's right on the left of the picture. All panels have one scale and stand at
their height along z. The picture holds 256 colours of a fixed palette: greys, and CT greys under PET colours.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.hashing import sha256_array
from petct_cli.volume.geometry import Grid, extent_mm
from petct_cli.volume.render import CT_WINDOW_HU, blend, pet_window
from petct_cli.volume.resample import resample

Bytes = npt.NDArray[np.uint8]

_BOX = (192, 352)
"""Largest width and height of a panel's picture, in pixels."""
_NARROWEST = 112
_MARGIN = 6
_LINE = 13
_GREYS, _FUSED_GREYS, _FUSED_HEATS = 64, 16, 12
_SLAB_MM = 8.0
_MIP_STEP_MM = 2.5
_BAR_MM = (500.0, 200.0, 100.0, 50.0, 20.0, 10.0)
_WHITE, _DIM = _GREYS - 1, 42


@dataclass(frozen=True)
class Preview:
    """The picture as PNG and the SHA-256 of its pixels, which outlives the compression."""

    png: bytes
    sha256: str


_LIKELY_ACROSS_MM, _LIKELY_SLICE_MM = 500.0, 3.27


@dataclass(frozen=True)
class Shown:
    """A volume to show: `array` (z, y, x) on `grid`; `unit` decides the window.

    Where the geometry is not known, `grid` is a likely one (`likely_grid`) and `to_scale` is False.
    """

    array: npt.NDArray[Any]
    grid: Grid
    unit: str
    to_scale: bool = True


def likely_grid(shape: tuple[int, ...]) -> Grid:
    """Return a grid for a whole-body volume of unknown geometry: 500 mm across, slices 3.27 mm apart."""
    across = _LIKELY_ACROSS_MM / shape[2]
    affine = np.array([[0, 0, across, 0], [0, across, 0, 0], [_LIKELY_SLICE_MM, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    return Grid((shape[0], shape[1], shape[2]), affine)


@dataclass(frozen=True)
class _Panel:
    """Palette indices (rows, columns) before scaling, one channel per index to combine, and where they lie."""

    caption: str
    channels: tuple[Bytes, ...]
    step_mm: tuple[float, float]
    top_mm: float

    @property
    def size_mm(self) -> tuple[float, float]:
        rows, columns = self.channels[0].shape
        return rows * self.step_mm[0], columns * self.step_mm[1]


def render_preview(title: str, ct: Shown | None, pet: Shown | None) -> Preview:
    """Return the picture of a study: the panels that its volumes allow.

    Parameters
    ----------
    title
        Written above: the id of the record, never anything of a header.
    ct, pet
        Volumes with axes (z, y, x) towards head, back and left; on one grid or each on its own.
    """
    panels = []
    if ct is not None:
        panels.append(_ct_panel(ct))
    if pet is not None:
        projection = _projection(pet)
        window = pet_window(pet.unit, projection)
        panels.append(_mip_panel(pet, projection, window))
        if ct is not None:
            panels.append(_fused_panel(ct, pet, window))
    pixels = _draw(title, panels, to_scale=all(one.to_scale for one in (ct, pet) if one is not None))
    return Preview(_encode(pixels), sha256_array(pixels))


def _ct_panel(ct: Shown) -> _Panel:
    low, high = CT_WINDOW_HU
    plane = _slab(ct, _middle(ct))
    return _panel(f"CT {low:.0f} to {high:.0f} HU", (_levels(plane, CT_WINDOW_HU),), ct.grid)


def _mip_panel(pet: Shown, projection: npt.NDArray[np.float32], window: tuple[float, float]) -> _Panel:
    name = f"MIP 0 to {window[1]:.3g} {pet.unit}"
    return _panel(name, (255 - _levels(projection, window),), pet.grid, projection.shape)


def _fused_panel(ct: Shown, pet: Shown, window: tuple[float, float]) -> _Panel:
    y = _middle(ct)
    base = _slab(ct, y)
    if pet.array.shape == ct.array.shape and np.allclose(pet.grid.affine, ct.grid.affine, atol=1e-6):
        uptake = _slab(pet, y)
    else:
        affine = ct.grid.affine.copy()
        affine[:3, 3] += y * affine[:3, 1]
        plane = Grid((ct.grid.shape[0], 1, ct.grid.shape[2]), affine)
        uptake = resample(pet.array, pet.grid, plane, 0.0)[:, 0]
    return _panel("CT + PET", (_levels(base, CT_WINDOW_HU), _levels(uptake, window)), ct.grid)


def _panel(caption: str, channels: tuple[Bytes, ...], grid: Grid, shape: tuple[int, ...] | None = None) -> _Panel:
    rows, columns = channels[0].shape if shape is None else shape
    dz, _, dx = grid.spacing_mm
    # Planes that were stepped over count: the picture is as large as the volume.
    step = (dz * grid.shape[0] / rows, dx * grid.shape[2] / columns)
    return _Panel(caption, tuple(np.ascontiguousarray(one[::-1]) for one in channels), step, extent_mm(grid)[1][2])


def _middle(ct: Shown) -> int:
    """Return the coronal plane through the middle of what is soft or bone."""
    dz, dy, dx = (max(1, round(6.0 / step)) for step in ct.grid.spacing_mm)
    rows = (ct.array[::dz, ::dy, ::dx] > CT_WINDOW_HU[0]).sum(axis=(0, 2))
    if not rows.any():
        return int(ct.array.shape[1]) // 2
    middle = int(np.searchsorted(np.cumsum(rows), rows.sum() / 2)) * dy
    return min(middle, int(ct.array.shape[1]) - 1)


def _slab(shown: Shown, y: int) -> npt.NDArray[np.float32]:
    """Return the mean of some coronal planes around one: less noise than one has."""
    half = int(_SLAB_MM / shown.grid.spacing_mm[1] / 2)
    planes = shown.array[:, max(0, y - half) : y + half + 1]
    return np.asarray(planes.mean(axis=1, dtype=np.float32), np.float32)


def _projection(pet: Shown) -> npt.NDArray[np.float32]:
    """Return the maximum along y; planes closer than a PET can resolve are stepped over."""
    dz, dy, _ = (max(1, int(_MIP_STEP_MM / step)) for step in pet.grid.spacing_mm)
    planes = pet.array[::dz, ::dy]
    if planes.dtype == np.float16:
        # The bits of positive halves are in the order of their values, and integers compare ten times as fast;
        # where there are negative ones only, any of them is below the window.
        return np.asarray(planes.view(np.int16).max(axis=1).view(np.float16), np.float32)
    return np.asarray(planes.max(axis=1), np.float32)


def _levels(values: npt.NDArray[np.float32], window: tuple[float, float]) -> Bytes:
    low, high = window
    scaled = np.clip((np.nan_to_num(values) - low) * (255.0 / (high - low)), 0.0, 255.0)
    return np.asarray(np.rint(scaled), np.uint8)


@cache
def _palette() -> bytes:
    greys = np.repeat(np.linspace(0, 255, _GREYS)[:, None], 3, axis=1)
    grey = np.repeat(np.linspace(0, 1, _FUSED_GREYS), _FUSED_HEATS).astype(np.float32)
    heat = np.tile(np.linspace(0, 1, _FUSED_HEATS), _FUSED_GREYS).astype(np.float32)
    colours = np.concatenate([greys, 255.0 * blend(grey, heat)])
    palette: bytes = np.rint(colours).astype(np.uint8).tobytes()
    return palette


def _indices(levels: list[Bytes]) -> Bytes:
    """Return palette indices of levels 0..255: of a grey, or of a grey and a heat."""
    if len(levels) == 1:
        return _quantised(levels[0], _GREYS)
    grey, heat = _quantised(levels[0], _FUSED_GREYS), _quantised(levels[1], _FUSED_HEATS)
    return np.asarray(_GREYS + grey * _FUSED_HEATS + heat, np.uint8)


def _quantised(levels: Bytes, count: int) -> Bytes:
    return np.asarray((levels.astype(np.uint16) * (count - 1) + 127) // 255, np.uint8)


def _draw(title: str, panels: list[_Panel], *, to_scale: bool) -> Bytes:
    from PIL import Image, ImageDraw, ImageFont

    top = max(panel.top_mm for panel in panels)
    bottom = min(panel.top_mm - panel.size_mm[0] for panel in panels)
    width_mm = max(panel.size_mm[1] for panel in panels)
    pixel_mm = max(width_mm / _BOX[0], (top - bottom) / _BOX[1])
    widths = [max(_NARROWEST, round(panel.size_mm[1] / pixel_mm)) for panel in panels]
    height = max(_LINE + 3, round((top - bottom) / pixel_mm))
    head, foot = _LINE + 3, 2 * _LINE + 3
    canvas = Image.new("P", (sum(widths) + _MARGIN * (len(panels) + 1), head + height + foot), 0)
    canvas.putpalette(_palette())
    pen = ImageDraw.Draw(canvas)
    pen.fontmode = "1"
    font = ImageFont.load_default_imagefont()
    pen.text((_MARGIN, 2), _fitting(title, canvas.width - 2 * _MARGIN), _WHITE, font)
    left = _MARGIN
    for panel, width in zip(panels, widths, strict=True):
        paper = panel.caption.startswith("MIP")
        pen.rectangle((left, head, left + width - 1, head + height - 1), _WHITE if paper else 0)
        rows, columns = (max(1, round(size / pixel_mm)) for size in panel.size_mm)
        scaled = [_resized(channel, (columns, rows)) for channel in panel.channels]
        place = (left + (width - columns) // 2, head + round((top - panel.top_mm) / pixel_mm))
        canvas.paste(Image.fromarray(_indices(scaled)), place)
        for letter, x in (("R", left + 3), ("L", left + width - 9)):
            pen.text((x, head + 1), letter, 0 if paper else _WHITE, font, stroke_width=0)
        pen.text((left, head + height + 2), _fitting(panel.caption, width), _DIM, font)
        left += width + _MARGIN
    if to_scale:
        _scale_bar(pen, font, pixel_mm, (_MARGIN, head + height + _LINE + 8), canvas.width - 2 * _MARGIN)
    else:
        pen.text((_MARGIN, head + height + _LINE + 2), "size unknown", _DIM, font)
    return np.asarray(canvas, np.uint8)


def _resized(levels: Bytes, size: tuple[int, int]) -> Bytes:
    from PIL import Image

    return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC), np.uint8)


def _scale_bar(pen: Any, font: Any, pixel_mm: float, place: tuple[int, int], room: int) -> None:
    fitting = [size for size in _BAR_MM if size / pixel_mm <= min(_NARROWEST, room - 50)]
    size = fitting[0] if fitting else _BAR_MM[-1]
    x, y = place
    end = x + round(size / pixel_mm)
    pen.line((x, y, end, y), _WHITE)
    pen.line((x, y - 3, x, y + 3), _WHITE)
    pen.line((end, y - 3, end, y + 3), _WHITE)
    pen.text((end + 5, y - 6), f"{size / 10:g} cm", _DIM, font)


def _fitting(text: str, width: int) -> str:
    """Return as much of a text as fits in a width, six pixels a letter; of an id both ends."""
    plain = text.encode("ascii", "replace").decode()
    most = max(width // 6, 5)
    if len(plain) <= most:
        return plain
    tail = (most - 2) // 2
    return f"{plain[: most - 2 - tail]}..{plain[len(plain) - tail :]}"


def _encode(pixels: Bytes) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.putpalette(_palette())
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=6)
    return out.getvalue()
