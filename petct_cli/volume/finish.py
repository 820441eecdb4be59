"""The last steps before volumes are stored: the crop to the body and the number type of the PET."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.volume.body_box import Placed, cropped_grid, find_body, region_of
from petct_cli.volume.geometry import Grid
from petct_cli.volume.resample import is_same_grid
from petct_cli.volume.series_volume import SeriesVolume


@dataclass(frozen=True)
class Finished:
    """A volume as it is stored, and what the record's ``geometry`` has to say of how it became so."""

    array: npt.NDArray[Any]
    grid: Grid
    geometry: dict[str, Any]


def finish(
    placed: Mapping[str, Placed], volumes: Mapping[str, SeriesVolume], margin_mm: float | None, pet_dtype: str
) -> dict[str, Finished]:
    """Crop the placed volumes (``ct``, ``pet``) to the body and give the PET its number type.

    Parameters
    ----------
    placed
        Each volume on its output grid.
    volumes
        The same as they were read; the body is looked for in these.
    margin_mm
        What to leave around the body, None for no crop.
    pet_dtype
        ``float32`` or ``float16``.

    Raises
    ------
    RecordError
        ``crop_no_body`` (`find_body`), ``no_geometry``, ``pet_exceeds_float16``.
    """
    finished = {
        role: Finished(array, grid, {"resampled": not is_same_grid(volumes[role].grid, grid)})
        for role, (array, grid) in placed.items()
    }
    if margin_mm is not None:
        if not all(volume.has_geometry for volume in volumes.values()):
            raise RecordError("no_geometry", "the data have no geometry: --crop needs to know the size of voxels")
        finished = _cropped(finished, volumes, margin_mm)
    if "pet" in finished and pet_dtype == "float16":
        pet = finished["pet"]
        finished["pet"] = Finished(as_float16(pet.array), pet.grid, pet.geometry)
    return finished


def _cropped(
    finished: Mapping[str, Finished], volumes: Mapping[str, SeriesVolume], margin_mm: float
) -> dict[str, Finished]:
    seen = {role: (volume.array, volume.grid) for role, volume in volumes.items()}
    is_suv = "pet" in volumes and volumes["pet"].suv is not None
    box = find_body(seen.get("ct"), seen.get("pet"), is_suv=is_suv)
    cropped = {}
    for role, whole in finished.items():
        region = region_of(box, whole.grid, margin_mm)
        told = {
            "region": [[one.start, one.stop] for one in region],
            "of_shape": list(whole.grid.shape),
            "body": box.seen_in,
            "margin_mm": margin_mm,
        }
        array = np.ascontiguousarray(whole.array[region])
        cropped[role] = Finished(array, cropped_grid(whole.grid, region), {**whole.geometry, "crop": told})
    return cropped


def as_float16(pet: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    """Return a PET in half precision: values from 6e-5 on keep 11 bits, that is 0.05 % at worst.

    Raises
    ------
    RecordError
        ``pet_exceeds_float16``: a value is beyond the type's largest number.
    """
    limit = float(np.finfo(np.float16).max)
    if pet.size and not (pet.min() >= -limit and pet.max() <= limit):
        raise RecordError(
            "pet_exceeds_float16", f"the PET has values beyond {limit:.0f}, which float16 cannot hold", "use float32"
        )
    return pet.astype(np.float16)
