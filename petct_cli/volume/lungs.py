"""Where the lungs lie along the body, from the CT itself: no weights, no order of files, no size of patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import InputError, RecordError
from petct_cli.volume.head import rules
from petct_cli.volume.storage import CHUNK, load_volume, stored_shape

PADDING_HU = -1024
"""A scanner shows nothing thinner than air: what is at or below was not scanned."""
_PLANE_MM = 4.0
_STEP_MM = 3.0
_EDGE_MM = 5.0

Masks = npt.NDArray[np.bool_]
Slabs = Callable[[int, int], npt.NDArray[Any]]


@dataclass(frozen=True)
class LungRun:
    """The slices that show lung, as a half-open range in the order of the stored volume.

    Attributes
    ----------
    cut_first, cut_last
        Whether the CT ends, towards the first and the last slice, before the lungs do.
    peak_cm2
        Largest area of lung in a slice, smoothed.
    """

    start: int
    stop: int
    cut_first: bool
    cut_last: bool
    peak_cm2: float

    def flipped(self, slices: int) -> LungRun:
        """Return the run counted from the other end of a scan of so many slices."""
        return LungRun(slices - self.stop, slices - self.start, self.cut_last, self.cut_first, self.peak_cm2)


def read_slabs(path: Path | str, shape: tuple[int, ...], what: str = "CT") -> Slabs:
    """Return a function that reads the slices ``start..stop`` of a stored volume.

    Only the chunks that are asked for are read of a ``.b2nd``; a NIfTI has none and is read once.

    Raises
    ------
    RecordError
        ``ct_unreadable`` or ``pet_unreadable``, also by the function; ``bad_volume`` for a file of another shape.
    """
    if not str(path).endswith(".b2nd"):
        whole = _or_unreadable(what, lambda: load_volume(path))
        _require_shape(what, whole.shape, shape)
        return lambda start, stop: whole[start:stop]
    _require_shape(what, _or_unreadable(what, lambda: stored_shape(path)), shape)
    return lambda start, stop: _or_unreadable(what, lambda: load_volume(path, (slice(start, stop),)))


def _require_shape(what: str, found: tuple[int, ...], told: tuple[int, ...]) -> None:
    if found != told:
        raise RecordError("bad_volume", f"the {what} on disk is not of the shape that the record says")


def _or_unreadable(what: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except InputError as error:
        why = "no such file" if error.code == "volume_missing" else "damaged, or of an unknown format"
    except OSError as error:
        why = error.strerror or "input/output error"
    except (RuntimeError, ValueError, EOFError):
        why = "damaged"
    raise RecordError(f"{what.lower()}_unreadable", f"the {what} cannot be read: {why}")


def find_lungs(slabs: Slabs, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> LungRun | None:
    """Return the slices that show lung, None for a scan without a chest.

    Per slice the voxels of lung density (-980 to -600 HU) within the largest body component are counted and smoothed
    over 15 mm; the longest run above 15 % of the peak is the chest, and a peak below 80 cm2 is none. Slices at its ends
    that show less than 5 cm2 are taken off.

    Parameters
    ----------
    slabs
        Reads slices ``start..stop`` as ``(z, y, x)`` HU of any dtype, either way up.
    shape, spacing_mm
        Of the volume, ``(z, y, x)``.

    Notes
    -----
    Planes are looked at in pixels of about 4 mm, every 3 mm. A rim of partial volume around gas, a sheet or noise in
    air is thinner than three such pixels and does not count.
    """
    areas, covered = _profile(slabs, shape, spacing_mm)
    return _longest_run(areas, covered, max(1, int(_STEP_MM / spacing_mm[0])), shape[0], spacing_mm[0])


def _profile(
    slabs: Slabs, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> tuple[npt.NDArray[np.float64], Masks]:
    """Return the cm2 of lung in every sampled slice, and whether the CT shows anything there."""
    step = max(1, int(_STEP_MM / spacing_mm[0]))
    strides = [max(1, round(_PLANE_MM / spacing)) for spacing in spacing_mm[1:]]
    pixel_cm2 = spacing_mm[1] * strides[0] * spacing_mm[2] * strides[1] / 100
    thickness = CHUNK[0] * step
    areas, covered = [], []
    for start in range(0, shape[0], thickness):
        planes = _thinned(slabs(start, min(shape[0], start + thickness))[::step], strides)
        shown = planes > PADDING_HU
        covered.append(shown.any(axis=(1, 2)))
        areas.append(_lung_pixels(planes, shown) * pixel_cm2)
    return np.concatenate(areas), np.concatenate(covered)


def _thinned(slab: npt.NDArray[Any], strides: list[int]) -> npt.NDArray[np.int16]:
    """Return every n-th pixel of each plane, averaged with its neighbours: half the noise for little time."""
    rows, columns = strides
    total: npt.NDArray[Any] | None = None
    parts = [(y, x) for y in range(min(rows, 2)) for x in range(min(columns, 2))]
    height, width = slab.shape[1] // rows, slab.shape[2] // columns
    for y, x in parts:
        part = slab[:, y : height * rows : rows, x : width * columns : columns]
        part = part.astype(np.int32) if part.dtype.kind in "iu" else _whole_hu(part)
        np.clip(part, -3 * -PADDING_HU, 3071, out=part)
        total = part if total is None else total + part
    assert total is not None
    return (total // len(parts)).astype(np.int16)


def _whole_hu(values: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    clean = np.nan_to_num(values.astype(np.float32), nan=PADDING_HU, posinf=3071, neginf=PADDING_HU)
    return np.rint(np.clip(clean, -30000, 30000)).astype(np.int32)


def _lung_pixels(planes: npt.NDArray[np.int16], shown: Masks) -> npt.NDArray[np.int64]:
    """Count the pixels of lung in each plane."""
    nothing: npt.NDArray[np.int64] = np.zeros(len(planes), np.int64)
    if not shown.any():
        return nothing
    # What was not scanned is no outside: a chest that the field of view cuts is closed at its border.
    planes = planes[:, _extent(shown, 1), _extent(shown, 2)]
    low, high = rules()["lungs"]["hu"]
    body = _largest(planes > high)
    if not body.any():
        return nothing
    for line in _borders(body):
        line |= _between(line, axis=-1)
    rows, columns = _extent(body, 1), _extent(body, 2)
    planes, body = planes[:, rows, columns], body[:, rows, columns]
    # A couch may touch the body, and encloses foam as light as lung: it is thin, and not between parts of a body.
    thick = _opened(body)
    inside = _enclosed(body) & (_between(thick, 1) | _between(thick, 2))
    lung = (planes >= low) & (planes <= high) & inside
    return np.asarray(np.count_nonzero(_grown(_opened(lung)) & lung, axis=(1, 2)), np.int64)


def _extent(masks: Masks, axis: int = 0) -> slice:
    """Return from where to where along an axis a mask, which is not empty, has pixels."""
    found = np.flatnonzero(np.moveaxis(masks, axis, 0).reshape(masks.shape[axis], -1).any(axis=1))
    return slice(int(found[0]), int(found[-1]) + 1)


def _borders(masks: Masks) -> list[Masks]:
    return [masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]]


def _opened(masks: Masks) -> Masks:
    """Take off, in every plane, what is narrower than three pixels: sheets, a couch's shell, rims of partial volume."""
    return _grown(_shrunk(masks))


def _shrunk(masks: Masks) -> Masks:
    out = masks.copy()
    out[:, 1:] &= masks[:, :-1]
    out[:, :-1] &= masks[:, 1:]
    out[:, :, 1:] &= masks[:, :, :-1]
    out[:, :, :-1] &= masks[:, :, 1:]
    return out


def _grown(masks: Masks) -> Masks:
    out = masks.copy()
    out[:, 1:] |= masks[:, :-1]
    out[:, :-1] |= masks[:, 1:]
    out[:, :, 1:] |= masks[:, :, :-1]
    out[:, :, :-1] |= masks[:, :, 1:]
    return out


def _labelled(masks: Masks, connectivity: int) -> tuple[npt.NDArray[np.int32], int]:
    """Label the components of each plane; planes share none. Pixels join by their sides (1) or also corners (2)."""
    from scipy.ndimage import generate_binary_structure, label

    within = np.zeros((3, 3, 3), np.bool_)
    within[1] = generate_binary_structure(2, connectivity)
    labels, count = label(masks, within)
    return labels, int(count)


def _largest(masks: Masks) -> Masks:
    """Keep the largest component of each plane."""
    labels, count = _labelled(masks, 2)
    keep = np.zeros(count + 1, np.bool_)
    for plane, mask in zip(labels, masks, strict=True):
        found = plane[mask]
        if len(found):
            keep[np.bincount(found).argmax()] = True
    return np.asarray(keep[labels])


def _enclosed(masks: Masks) -> Masks:
    """Return the pixels that a mask encloses in its plane, without the mask."""
    labels, count = _labelled(~masks, 1)
    keep = np.ones(count + 1, np.bool_)
    keep[0] = False
    for border in _borders(labels):  # type: ignore[arg-type]
        keep[border.ravel()] = False
    return np.asarray(keep[labels])


def _between(masks: Masks, axis: int) -> Masks:
    """Return what lies between the first and the last pixel of a mask along an axis."""
    axis %= masks.ndim
    length = masks.shape[axis]
    some = masks.any(axis=axis)
    first = np.where(some, masks.argmax(axis=axis), length)
    last = length - 1 - np.flip(masks, axis).argmax(axis=axis)
    place = np.arange(length).reshape([-1 if other == axis else 1 for other in range(masks.ndim)])
    return np.asarray((place >= np.expand_dims(first, axis)) & (place <= np.expand_dims(last, axis)))


def _longest_run(
    areas: npt.NDArray[np.float64], covered: Masks, step: int, slices: int, spacing_mm: float
) -> LungRun | None:
    from scipy.ndimage import uniform_filter1d

    limits = rules()["lungs"]
    if not covered.any():
        return None
    seen = _extent(covered)
    width = 2 * round((limits["smooth"] / (step * spacing_mm) - 1) / 2) + 1
    smooth = uniform_filter1d(areas[seen], max(1, width), mode="nearest")
    peak = float(smooth.max())
    if peak < limits["smallest_peak"]:
        return None
    above = np.concatenate([[False], smooth > limits["share"] * peak, [False]]).astype(np.int8)
    runs = np.flatnonzero(np.diff(above)).reshape(-1, 2) + seen.start
    first, stop = (int(edge) for edge in runs[int(np.argmax(runs[:, 1] - runs[:, 0]))])
    # Smoothing carries a blunt end beyond itself: a slice that shows no lung is no end of it.
    shows = np.flatnonzero(areas[first:stop] >= limits["tip"])
    if len(shows):
        first, stop = first + int(shows[0]), first + int(shows[-1]) + 1
    reach = max(1.0, _EDGE_MM / (step * spacing_mm))
    return LungRun(
        start=max(0, first * step - step // 2),
        stop=min(slices, (stop - 1) * step + step // 2 + 1),
        cut_first=first - seen.start < reach,
        cut_last=seen.stop - stop < reach,
        peak_cm2=round(peak, 1),
    )
