"""Pictures of volumes for people: PET projections and CT-PET fusions as small PNGs.

Radiological convention: the patient's right is on the left of the picture, the head or the front is up.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

PET_WINDOW_SUV = (0.0, 8.0)
CT_WINDOW_HU = (-160.0, 240.0)
PIXEL_MM = 2.0
_BRIGHTER = 0.95

FloatImage = NDArray[np.float32]


def pet_window(unit: str, projection: NDArray[Any]) -> tuple[float, float]:
    """Return the window of a PET: fixed for SUV, up to the brighter parts where the unit says nothing.

    Parameters
    ----------
    unit
        ``pet.unit`` of the record: ``SUVbw``, ``Bq/ml``, ``stored``.
    projection
        Maximum-intensity projection of the whole PET, in that unit.
    """
    if unit.startswith("SUV"):
        return PET_WINDOW_SUV
    top = float(np.quantile(projection, _BRIGHTER))
    return (0.0, top if np.isfinite(top) and top > 0 else 1.0)


def pet_mip(pet: NDArray[Any], window: tuple[float, float] = PET_WINDOW_SUV) -> FloatImage:
    """Return the coronal maximum-intensity projection of a PET volume.

    Parameters
    ----------
    pet
        ``(z, y, x)``, z ascending towards the head.
    window
        Values of white and of black (`pet_window`).

    Returns
    -------
    ndarray
        ``(z, x)`` grey levels in 0..1, head up, uptake dark on white as nuclear physicians read it.
    """
    return 1.0 - _window(pet.max(axis=1)[::-1], window)


def fused_axial(
    ct: NDArray[Any], pet: NDArray[Any], z: int, window: tuple[float, float] = PET_WINDOW_SUV
) -> FloatImage:
    """Return slice `z` of the CT in grey with the PET in colour over it, ``(y, x, 3)`` in 0..1."""
    return fuse(ct[z], pet[z], window)


def fused_coronal(
    ct: NDArray[Any], pet: NDArray[Any], y: int, window: tuple[float, float] = PET_WINDOW_SUV
) -> FloatImage:
    """Return the coronal section at row `y`, CT in grey under PET in colour, ``(z, x, 3)`` in 0..1, head up."""
    return fuse(ct[::-1, y], pet[::-1, y], window)


def fuse(ct: NDArray[Any], pet: NDArray[Any], window: tuple[float, float] = PET_WINDOW_SUV) -> FloatImage:
    """Lay a PET section over a CT section (HU): the hotter, as `window` has it, the more opaque."""
    return blend(_window(ct, CT_WINDOW_HU), _window(pet, window))


def blend(grey: FloatImage, heat: FloatImage) -> FloatImage:
    """Lay heat over grey, both levels in 0..1 of one shape; return RGB in 0..1 along a last axis."""
    colour = np.stack([np.clip(3 * heat - shift, 0, 1) for shift in (0, 1, 2)], axis=-1)
    opacity = np.clip(1.6 * heat, 0, 0.85)[..., None]
    blended: FloatImage = (grey[..., None] * (1 - opacity) + colour * opacity).astype(np.float32)
    return blended


def to_png(picture: FloatImage, spacing_mm: tuple[float, float], pixel_mm: float = PIXEL_MM) -> bytes:
    """Encode a picture as PNG with square pixels.

    Parameters
    ----------
    picture
        ``(rows, columns)`` or ``(rows, columns, 3)`` in 0..1.
    spacing_mm
        Distance of rows and of columns.
    pixel_mm
        Edge of a pixel of the PNG.
    """
    from PIL import Image

    levels = np.ascontiguousarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))
    image = Image.fromarray(levels)
    rows, columns = levels.shape[:2]
    size = (round(columns * spacing_mm[1] / pixel_mm), round(rows * spacing_mm[0] / pixel_mm))
    out = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(out, "PNG", optimize=True)
    return out.getvalue()


def _window(values: NDArray[Any], limits: tuple[float, float]) -> FloatImage:
    low, high = limits
    scaled: FloatImage = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)
    return scaled
