"""From a sample record to the voxels it shows and the turns it asks with. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import PetctError, RecordError
from petct_cli.core.hashing import sha256_array, sha256_json
from petct_cli.core.records import Image, Message, Sample
from petct_cli.volume.storage import load_affine, load_volume

FloatArray = npt.NDArray[np.float32]

_AIR_HU = -1000.0
_AXES = 3
_CHECKED: set[tuple[str, str, int, int, int]] = set()
"""Files whose voxels have the hash they should: the regions of a study share its volumes, and hashing takes time."""


@dataclass(frozen=True)
class RegionVolume:
    """CT and PET of one region on one grid.

    Attributes
    ----------
    ct
        float32 HU, axes ``(z, y, x)``.
    pet
        float32 SUVbw, the same shape.
    spacing_mm
        Voxel edge lengths ``(z, y, x)``.
    """

    ct: FloatArray
    pet: FloatArray
    spacing_mm: tuple[float, float, float]


def region_name(sample: Sample) -> str:
    """Return the name of the region that `sample` covers."""
    return sample.region.name if sample.region is not None else "whole"


def image_key(sample: Sample) -> str:
    """Return a hash of what `sample` shows: equal for samples that differ in their text only."""
    shown = [[image.modality, image.sha256, image.z, getattr(image, "spacing_mm", None)] for image in sample.images]
    return sha256_json([region_name(sample), shown, sample.image_recipe])


def load_region(sample: Sample) -> RegionVolume:
    """Read the slices of the CT and the PET that `sample` shows.

    Raises
    ------
    RecordError
        ``no_pair``: not one CT and one PET. ``pet_not_suv``: the sample says that the PET is in another unit.
        ``volume_changed``: the file does not hold the voxels that the record speaks of. ``outside_volume``,
        ``empty_region``, ``grids_differ``, ``no_spacing``, ``unsupported_recipe``, or what reading the volumes says.
    """
    if sample.image_recipe:
        raise RecordError("unsupported_recipe", "the sample has an image recipe, which the model does not apply")
    ct, pet = _one(sample.images, "CT"), _one(sample.images, "PT")
    if ct.z != pet.z:
        raise RecordError("grids_differ", "CT and PET show different slices")
    unit = getattr(pet, "unit", None)
    if unit is not None and not str(unit).startswith("SUV"):
        raise RecordError("pet_not_suv", "the PET is not in SUV: the model goes by uptake", "convert with --assume")
    voxels = [_read(image) for image in (ct, pet)]
    spacings = [_spacing(image) for image in (ct, pet)]
    if voxels[0].shape != voxels[1].shape or not np.allclose(spacings[0], spacings[1], rtol=1e-3):
        raise RecordError("grids_differ", "CT and PET are on different grids")
    # What is not a number was not measured: outside of the field of view there is air without uptake.
    return RegionVolume(_finite(voxels[0], _AIR_HU), _finite(voxels[1], 0.0), spacings[1])


def _read(image: Image) -> npt.NDArray[Any]:
    """Return the slices that `image` shows, of the very voxels that it speaks of."""
    try:
        whole = _checked(image)
        voxels = load_volume(image.path, _crop(image)) if whole is None else whole[_crop(image)]
    except PetctError as error:
        raise RecordError(error.code, error.message) from None
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise RecordError("bad_volume", f"{image.path}: cannot be read: {type(error).__name__}") from None
    if voxels.ndim != _AXES or voxels.dtype.kind not in "iuf":
        raise RecordError("bad_volume", f"{image.path}: not a volume of numbers with three axes")
    if image.z is not None and voxels.shape[0] < image.z[1] - image.z[0]:
        raise RecordError("outside_volume", "the sample's region ends outside of the volume")
    if 0 in voxels.shape:
        raise RecordError("empty_region", "the sample's region holds no slices")
    return voxels


def _checked(image: Image) -> npt.NDArray[Any] | None:
    """Check the voxels of a file against their hash; return them unless the file was checked before."""
    about = os.stat(image.path) if os.path.isfile(image.path) else None
    file = None if about is None else (image.path, image.sha256, about.st_size, about.st_mtime_ns, about.st_ino)
    if file in _CHECKED:
        return None
    whole = load_volume(image.path)
    if sha256_array(whole) != image.sha256:
        raise RecordError("volume_changed", f"{image.path}: not the voxels that the record speaks of (hashes differ)")
    if file is not None:
        _CHECKED.add(file)
    return whole


def _finite(values: npt.NDArray[Any], instead: float) -> FloatArray:
    return np.nan_to_num(np.ascontiguousarray(values, dtype=np.float32), nan=instead, posinf=instead, neginf=instead)


def _one(images: Sequence[Image], modality: str) -> Image:
    found = [image for image in images if image.modality == modality]
    if len(found) != 1:
        raise RecordError("no_pair", f"the model reads one CT and one PET; the sample shows {len(found)} {modality}")
    return found[0]


def _crop(image: Image) -> tuple[slice, slice, slice]:
    if image.z is None:
        return slice(None), slice(None), slice(None)
    if len(image.z) != 2 or image.z[0] < 0:
        raise RecordError("outside_volume", "the slices of the sample's region are not a range from 0")
    return slice(image.z[0], image.z[1]), slice(None), slice(None)


def _spacing(image: Image) -> tuple[float, float, float]:
    given: Any = getattr(image, "spacing_mm", None)
    if given is None:
        try:
            affine = load_affine(image.path)
        except PetctError as error:
            raise RecordError(error.code, error.message) from None
        if affine is None:
            raise RecordError("no_spacing", f"the voxel size of the {image.modality} is not known")
        given = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    try:
        depth, height, width = (float(edge) for edge in given)
    except (TypeError, ValueError):
        depth = height = width = 0.0
    if not all(0.0 < edge < np.inf for edge in (depth, height, width)):
        raise RecordError("no_spacing", f"the voxel size of the {image.modality} is not three positive numbers")
    return depth, height, width


def prompt_messages(sample: Sample) -> list[Message]:
    """Return the turns that the model may see: all but the last when that is the assistant's.

    Raises
    ------
    RecordError
        ``no_prompt`` when nothing is left to answer.
    """
    turns = list(sample.messages)
    if turns and turns[-1].role == "assistant":
        turns.pop()
    if not turns or turns[-1].role != "user":
        raise RecordError("no_prompt", "the sample's messages do not end in a user's turn")
    return turns


def target_text(sample: Sample) -> str:
    """Return the text to learn.

    Raises
    ------
    RecordError
        ``no_reference`` when there is none.
    """
    if not sample.reference or not sample.reference.strip():
        raise RecordError("no_reference", "the sample has no reference text")
    return sample.reference
