"""One DICOM series to one array: HU for CT, SUV for PET, axes (z, y, x) towards head, back and left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.core.threads import in_threads
from petct_cli.dicom.input_files import InputFiles
from petct_cli.dicom.read import Instance, stored_values
from petct_cli.dicom.values import number
from petct_cli.volume.geometry import Grid, Stack, canonical_axes, stack_slices, to_canonical
from petct_cli.volume.resample import even_slices
from petct_cli.volume.series_choice import slice_plane
from petct_cli.volume.suv import SUV_BW, SuvResult, SuvRule, pet_headers

_RESCALE_BELOW = 1e9
AIR_HU = -1024
"""What lies outside of a CT, and stands in for its padding."""


Plane = npt.NDArray[Any]


@dataclass(frozen=True)
class Slices:
    """A volume that is read slice by slice, when a slice is asked for.

    Attributes
    ----------
    read
        Returns slice z, shape ``shape[1:]``; threads may call it.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    read: Callable[[int], Plane]

    def __getitem__(self, z: int) -> Plane:
        return self.read(z)

    def whole(self, threads: int) -> npt.NDArray[Any]:
        """Return all slices as one array."""
        array = np.empty(self.shape, self.dtype)

        def fill(z: int) -> None:
            array[z] = self.read(z)

        in_threads(fill, range(len(array)), threads)
        return array


@dataclass(frozen=True)
class SeriesVolume:
    """A series on `stack`'s grid made canonical; `suv` of a PET, `per_slice` along its slices.

    Attributes
    ----------
    slices
        The voxels, read when they are asked for: faults of the pixels show only then.
    unit
        Of the values, where it is neither HU of a CT nor the SUV of `suv`: ``Bq/ml``, ``stored``.
    lacks
        Code of why there is no SUV, where one was to be had.
    """

    slices: Slices
    grid: Grid
    stack: Stack
    suv: SuvResult | None = None
    unit: str | None = None
    lacks: str | None = None
    threads: int = 1

    @classmethod
    def of_array(
        cls,
        array: npt.NDArray[Any],
        grid: Grid,
        stack: Stack,
        suv: SuvResult | None = None,
        unit: str | None = None,
        lacks: str | None = None,
    ) -> SeriesVolume:
        """Return a volume whose voxels are there already."""
        shape = (array.shape[0], array.shape[1], array.shape[2])
        volume = cls(Slices(shape, array.dtype, array.__getitem__), grid, stack, suv, unit, lacks)
        vars(volume)["array"] = array
        return volume

    @cached_property
    def array(self) -> npt.NDArray[Any]:
        """All voxels, axes (z, y, x)."""
        return self.slices.whole(self.threads)

    def load(self) -> None:
        """Read all voxels now.

        Raises
        ------
        RecordError
            ``dicom_truncated``, ``dicom_undecodable``, ``missing_rescale``, ``absurd_rescale``, ``input_changed``.
        """
        assert self.array.shape == self.grid.shape

    @property
    def is_in_memory(self) -> bool:
        """Whether all voxels were asked for before."""
        return "array" in vars(self)

    @property
    def has_geometry(self) -> bool:
        """Whether anything says where the voxels lie; if not, `grid` only counts them."""
        return self.stack.verdict != "unknown"


def read_ct(instances: Sequence[Instance], files: InputFiles | None = None) -> SeriesVolume:
    """Return a CT in HU, int16.

    Values that Pixel Padding Value (0028,0120) declares to be none become air.

    Parameters
    ----------
    files
        What reads the files, and with how many threads.

    Raises
    ------
    RecordError
        ``geometry_*`` (`stack_slices`), ``dicom_truncated``, ``dicom_undecodable``, ``missing_rescale``,
        ``absurd_rescale``.
    """
    files = files or InputFiles()
    stack, ordered = _ordered(instances, "CT")

    def read(z: int) -> Plane:
        instance = ordered[z]
        slope, intercept = _rescale(instance)
        return _hounsfield(stored_values(instance, files.read(instance.path)), slope, intercept, instance)

    return _volume(Slices((len(ordered), *ordered[0].shape), np.dtype(np.int16), read), stack, None, files.threads)


def read_pet(instances: Sequence[Instance], suv: SuvRule = SUV_BW, files: InputFiles | None = None) -> SeriesVolume:
    """Return a PET in the SUV that is wanted, float32: (stored x slope of the slice + intercept) x factor.

    Negative values that Pixel Padding Value (0028,0120) declares to be none become 0.

    Parameters
    ----------
    files
        As for `read_ct`.

    Raises
    ------
    RecordError
        As `read_ct`, and ``suv_*`` (`suv_factors`).
    """
    files = files or InputFiles()
    stack, ordered = _ordered(instances, "PET")
    found = suv.factors(pet_headers([instance.header for instance in ordered]))
    factors = found.factors(len(ordered))

    def read(z: int) -> Plane:
        instance, factor = ordered[z], factors[z]
        slope, intercept = _rescale(instance)
        stored = stored_values(instance, files.read(instance.path))
        suv_plane: Plane = np.multiply(stored, np.float32(slope * factor))
        if intercept:
            suv_plane += np.float32(intercept * factor)
        padding = _padding(stored, instance)
        if padding is not None:
            # Zero, a common padding value, is activity as well: only what can be none counts as padding.
            suv_plane[padding & (suv_plane < 0)] = 0.0
        return suv_plane

    return _volume(Slices((len(ordered), *ordered[0].shape), np.dtype(np.float32), read), stack, found, files.threads)


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


def _volume(slices: Slices, stack: Stack, suv: SuvResult | None, threads: int = 1) -> SeriesVolume:
    grid, order, flips = canonical_axes(stack.grid)
    if suv is not None and suv.per_slice is not None and flips[order.index(0)]:
        suv = replace(suv, per_slice=suv.per_slice[::-1])
    if stack.verdict == "uneven" or order[0] != 0:
        array = slices.whole(threads)
        if stack.verdict == "uneven":
            array = even_slices(array, stack.positions, stack.grid.shape[0])
        return SeriesVolume.of_array(to_canonical(array, stack.grid)[0], grid, stack, suv)
    last = grid.shape[0] - 1
    turn = slice(None, None, -1)
    steps = tuple(turn if flip else slice(None) for flip in flips[1:])

    def read(z: int) -> Plane:
        plane: Plane = slices.read(last - z if flips[0] else z)
        turned: Plane = (plane if order[1] == 1 else plane.T)[steps]
        return turned

    return SeriesVolume(Slices(grid.shape, slices.dtype, read), grid, stack, suv, threads=threads)


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


def _padding(stored: npt.NDArray[Any], instance: Instance) -> npt.NDArray[np.bool_] | None:
    """Return which values Pixel Padding Value and Range Limit declare to be none; None where they declare nothing."""
    padding, limit = (number(instance.header, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if padding is None:
        return None
    first, last = sorted(_as_stored(value, stored) for value in (padding, padding if limit is None else limit))
    return np.asarray((stored >= first) & (stored <= last))


def _hounsfield(stored: npt.NDArray[Any], slope: float, intercept: float, instance: Instance) -> npt.NDArray[np.int16]:
    """Return stored values as HU, int16."""
    limits = np.iinfo(np.int16)
    low, high = int(stored.min()), int(stored.max())
    is_padded = number(instance.header, "PixelPaddingValue") is not None
    is_shift = slope == 1.0 and intercept == int(intercept) and abs(intercept) <= limits.max
    hu: npt.NDArray[Any]
    if is_shift and limits.min <= low + intercept and high + intercept <= limits.max and stored.itemsize == 2:
        # The sum fits, so that arithmetic modulo 2^16 gives it, whatever type the stored values have.
        hu = stored.view(np.int16) + np.int16(intercept)
        if not is_padded or low + intercept >= AIR_HU:
            return hu
    elif is_shift:
        hu = stored.astype(np.int32) + int(intercept)
    else:
        hu = np.clip(np.rint(stored * slope + intercept), -_RESCALE_BELOW, _RESCALE_BELOW).astype(np.int32)
    padding = _padding(stored, instance)
    if padding is not None:
        # Some files declare a value that their tissue has too: only what can be none counts as padding.
        hu[padding & ((hu < AIR_HU) | (hu > limits.max))] = AIR_HU
    clipped: npt.NDArray[Any] = hu if hu.dtype == np.int16 else np.clip(hu, limits.min, limits.max).astype(np.int16)
    return clipped
