"""A series that came as one array (NIfTI, numpy) to a volume: HU for CT; SUV, Bq/ml or stored values for PET."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.volume.geometry import Grid, stated_stack, to_canonical
from petct_cli.volume.nifti_input import read_nifti
from petct_cli.volume.pet_sidecar import Activity, sidecar_suv, stated_units
from petct_cli.volume.series_volume import SeriesVolume
from petct_cli.volume.suv import SUV_BW, SuvResult, SuvRule
from petct_cli.volume.suv_types import suv_type

NIFTI_SUFFIXES = (".nii", ".nii.gz")
NUMPY_SUFFIXES = (".npz", ".npy")
SUV, ACTIVITY, STORED = "SUVbw", "Bq/ml", "stored"
UNITS = (SUV, ACTIVITY, STORED)
_NPZ_KEY = "data"
_NO_SUV = 200.0
_FEWEST_BQML = 500.0
_SHARE = 99.0


def read_ct_array(path: Path) -> SeriesVolume:
    """Return the CT of a file, int16 HU; values between two HU are rounded, those beyond int16 end at its limits.

    Raises
    ------
    RecordError
        As `read_array`.
    """
    array, grid = read_array(path)
    if array.dtype != np.int16:
        limits = np.iinfo(np.int16)
        whole = np.empty(array.shape, np.int16)
        for z, plane in enumerate(array):
            whole[z] = np.clip(np.rint(plane), limits.min, limits.max)
        array = whole
    return _placed(array, grid, None, "HU")


def read_pet_array(path: Path, unit: str, facts: Mapping[str, Any], suv: SuvRule = SUV_BW) -> SeriesVolume:
    """Return the PET of a file, float32: in the SUV that is wanted where it can be, else as it is, called so.

    Parameters
    ----------
    unit
        What the values are taken for: ``SUVbw``, ``Bq/ml`` or ``stored``; ``Units`` among the facts overrules it.
    facts
        The sidecar and what the record adds to it (`petct_cli.volume.pet_sidecar`).

    Returns
    -------
    SeriesVolume
        `lacks` says why there is no SUV, where one was to be had.

    Raises
    ------
    RecordError
        As `read_array`. ``suv_*``: it is in SUV, and what the wanted type needs is missing. ``pet_not_suv``: called
        SUV, and a hundredth of the voxels has values that no SUV has.
    """
    array, grid = read_array(path)
    told = stated_units(facts)
    activity = told or Activity({SUV: "GML", ACTIVITY: "BQML"}.get(unit))
    voxels = array.astype(np.float32, copy=False)
    if activity.units in ("GML", "CM2ML") and float(np.percentile(voxels, _SHARE)) > _NO_SUV:
        raise RecordError("pet_not_suv", f"{path}: called SUV, yet its values are none", "is it activity (Bq/ml)?")
    assumed = () if told is not None else ("unit",)
    untyped = activity.units == "GML" and not facts.get("SUVType")
    if untyped and suv.kind == "bw":
        return _placed(voxels, grid, SuvResult("GML/BW", 1.0, assumed=(*assumed, "suv_type")), SUV)
    if activity.units is None:
        return _placed(voxels, grid, None, STORED)
    if activity.units == "BQML" and told is None and float(voxels.max(initial=0.0)) < _FEWEST_BQML:
        # Only its name says Bq/ml, and no patient has so little activity everywhere.
        return _placed(voxels, grid, None, STORED, "pet_unit_implausible")
    try:
        found = sidecar_suv(facts, activity, suv)
    except RecordError as error:
        if suv.kind != "bw" and activity.units != "BQML":
            raise  # an SUV of another type than is asked for
        if activity.units != "BQML":
            return _placed(voxels, grid, None, STORED, error.code)
        becquerel = voxels * np.float32(activity.scale) if activity.scale != 1 else voxels
        return _placed(becquerel, grid, None, ACTIVITY, error.code)
    found = replace(found, assumed=(*found.assumed, *assumed, *(("suv_type",) if untyped else ())))
    (factor,) = found.factors(1)
    return _placed(voxels * np.float32(factor), grid, found, suv_type(found.type).unit)


def read_array(path: Path) -> tuple[npt.NDArray[Any], Grid | None]:
    """Return the array of a file, axes (z, y, x), and its grid; None for numpy files, which have none.

    Raises
    ------
    RecordError
        ``nifti_*`` (`read_nifti`). ``array_missing``: no such file. ``array_damaged``: no numpy file, or one cut short,
        or one without the key ``data``. ``array_shape``: not a volume of numbers.
    """
    if not path.is_file():
        raise RecordError("array_missing", f"{path}: no such file")
    if path.name.endswith(NIFTI_SUFFIXES):
        return read_nifti(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        array = loaded[_NPZ_KEY] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        raise RecordError("array_damaged", f"{path}: no numpy array, or a damaged one", "copy the file again") from None
    if array.ndim != 3 or array.dtype.kind not in "iuf" or min(array.shape) < 1:
        raise RecordError("array_shape", f"{path}: not a volume of numbers with three axes")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RecordError("array_not_finite", f"{path}: there are voxels that are no numbers (NaN or infinite)")
    return array, None


def _placed(
    array: npt.NDArray[Any], grid: Grid | None, suv: SuvResult | None, unit: str, lacks: str | None = None
) -> SeriesVolume:
    """Return the volume with axes towards head, back and left; without a grid slice 0 was the head, and is the last."""
    if grid is None:
        turned = np.ascontiguousarray(array[::-1])
        shape = (turned.shape[0], turned.shape[1], turned.shape[2])
        unknown = Grid(shape, np.eye(4)[:, [2, 1, 0, 3]])
        return SeriesVolume.of_array(turned, unknown, stated_stack(unknown, known=False), suv, unit, lacks)
    turned, canonical = to_canonical(array, grid)
    return SeriesVolume.of_array(turned, canonical, stated_stack(canonical), suv, unit, lacks)
