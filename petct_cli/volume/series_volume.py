"""One DICOM series to one array: HU for CT, SUV for PET, axes (z, y, x) towards head, back and left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.dicom.read import Instance, stored_values
from petct_cli.dicom.values import number
from petct_cli.volume.geometry import Grid, Stack, canonical_axes, stack_slices, to_canonical
from petct_cli.volume.resample import even_slices
from petct_cli.volume.series_choice import slice_plane
from petct_cli.volume.suv import SUV_BW, SuvResult, SuvRule, pet_headers

_RESCALE_BELOW = 1e9
AIR_HU = -1024
"""What lies outside of a CT, and stands in for its padding."""


@dataclass(frozen=True)
class SeriesVolume:
    """A series as stored: `array` on `stack`'s grid made canonical; `suv` of a PET, `per_slice` along its slices.

    Attributes
    ----------
    unit
        Of the values, where it is neither HU of a CT nor the SUV of `suv`: ``Bq/ml``, ``stored``.
    lacks
        Code of why there is no SUV, where one was to be had.
    """

    array: npt.NDArray[Any]
    grid: Grid
    stack: Stack
    suv: SuvResult | None = None
    unit: str | None = None
    lacks: str | None = None

    @property
    def has_geometry(self) -> bool:
        """Whether anything says where the voxels lie; if not, `grid` only counts them."""
        return self.stack.verdict != "unknown"


def read_ct(instances: Sequence[Instance]) -> SeriesVolume:
    """Return a CT in HU, int16.

    Values that Pixel Padding Value (0028,0120) declares to be none become air.

    Raises
    ------
    RecordError
        ``geometry_*`` (`stack_slices`), ``dicom_truncated``, ``dicom_undecodable``, ``missing_rescale``,
        ``absurd_rescale``.
    """
    stack, ordered = _ordered(instances, "CT")
    volume = np.empty((len(ordered), *ordered[0].shape), np.int16)
    for z, instance in enumerate(ordered):
        slope, intercept = _rescale(instance)
        volume[z] = _hounsfield(stored_values(instance), slope, intercept, instance)
    return _volume(volume, stack, None)


def read_pet(instances: Sequence[Instance], suv: SuvRule = SUV_BW) -> SeriesVolume:
    """Return a PET in the SUV that is wanted, float32: (stored x slope of the slice + intercept) x factor.

    Raises
    ------
    RecordError
        As `read_ct`, and ``suv_*`` (`suv_factors`).
    """
    stack, ordered = _ordered(instances, "PET")
    found = suv.factors(pet_headers([instance.header for instance in ordered]))
    volume = np.empty((len(ordered), *ordered[0].shape), np.float32)
    for z, (instance, factor) in enumerate(zip(ordered, found.factors(len(ordered)), strict=True)):
        slope, intercept = _rescale(instance)
        np.multiply(stored_values(instance), np.float32(slope * factor), out=volume[z])
        if intercept:
            volume[z] += np.float32(intercept * factor)
    return _volume(volume, stack, found)


def _ordered(instances: Sequence[Instance], what: str) -> tuple[Stack, list[Instance]]:
    for number_read, instance in enumerate(instances, start=1):
        if instance.is_truncated:
            raise RecordError(
                "dicom_truncated",
                f"{instance.path}: file {number_read} of {len(instances)} of the {what} ends before its pixels do",
                "copy the series again",
            )
    planes = [plane for plane in map(slice_plane, instances) if plane is not None]
    if len(planes) != len(instances):
        raise RecordError("geometry_missing_position", "a slice has no position, orientation or pixel spacing")
    stack = stack_slices(planes)
    return stack, [instances[i] for i in stack.order]


def _volume(array: npt.NDArray[Any], stack: Stack, suv: SuvResult | None) -> SeriesVolume:
    if stack.verdict == "uneven":
        array = even_slices(array, stack.positions, stack.grid.shape[0])
    array, grid = to_canonical(array, stack.grid)
    _, order, flips = canonical_axes(stack.grid)
    if suv is not None and suv.per_slice is not None and flips[order.index(0)]:
        suv = replace(suv, per_slice=suv.per_slice[::-1])
    return SeriesVolume(array, grid, stack, suv)


def _rescale(instance: Instance) -> tuple[float, float]:
    slope, intercept = number(instance.header, "RescaleSlope"), number(instance.header, "RescaleIntercept")
    if slope is None or intercept is None or slope == 0:
        raise RecordError("missing_rescale", f"{instance.path}: no Rescale Slope and Intercept (0028,1053)")
    if slope < 0 or abs(slope) > _RESCALE_BELOW or abs(intercept) > _RESCALE_BELOW:
        raise RecordError("absurd_rescale", f"{instance.path}: Rescale Slope or Intercept (0028,1053) is out of range")
    return slope, intercept


def _as_stored(padding: float, stored: npt.NDArray[Any]) -> float:
    """Return a padding value with the sign of the stored values: files write -2000 as 63536 and the other way round."""
    limits = np.iinfo(stored.dtype)
    span = int(limits.max) - int(limits.min) + 1
    return padding - span if padding > limits.max else padding + span if padding < limits.min else padding


def _hounsfield(stored: npt.NDArray[Any], slope: float, intercept: float, instance: Instance) -> npt.NDArray[Any]:
    limits = np.iinfo(np.int16)
    if slope == 1.0 and intercept == int(intercept) and abs(intercept) <= limits.max:
        hu = stored.astype(np.int32) + int(intercept)
    else:
        hu = np.clip(np.rint(stored * slope + intercept), -_RESCALE_BELOW, _RESCALE_BELOW).astype(np.int32)
    padding = number(instance.header, "PixelPaddingValue")
    if padding is not None:
        limit = number(instance.header, "PixelPaddingRangeLimit")
        low, high = sorted(_as_stored(value, stored) for value in (padding, padding if limit is None else limit))
        # Some files declare a value that their tissue has too: only what can be none counts as padding.
        hu[(stored >= low) & (stored <= high) & ((hu < AIR_HU) | (hu > limits.max))] = AIR_HU
    return np.clip(hu, limits.min, limits.max).astype(np.int16)
