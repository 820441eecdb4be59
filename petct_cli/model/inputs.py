"""From a sample record to the voxels it shows and the turns it asks with. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import PetctError, RecordError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.records import Image, Message, Sample
from petct_cli.volume.storage import load_affine, load_volume

FloatArray = npt.NDArray[np.float32]


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
        ``no_pair``: not one CT and one PET. ``grids_differ``, ``no_spacing``, ``unsupported_recipe``, or what reading
        the volumes says.
    """
    if sample.image_recipe:
        raise RecordError("unsupported_recipe", "the sample has an image recipe, which the model does not apply")
    ct, pet = _one(sample.images, "CT"), _one(sample.images, "PT")
    try:
        voxels = [load_volume(image.path, _crop(image)) for image in (ct, pet)]
        spacing = _spacing(pet)
    except RecordError:
        raise
    except PetctError as error:
        raise RecordError(error.code, error.message) from None
    if voxels[0].shape != voxels[1].shape:
        raise RecordError("grids_differ", "CT and PET are on different grids")
    if 0 in voxels[1].shape:
        raise RecordError("empty_region", "the sample's region holds no slices")
    ct_values, pet_values = (np.ascontiguousarray(values, dtype=np.float32) for values in voxels)
    return RegionVolume(ct_values, np.nan_to_num(pet_values), spacing)


def _one(images: Sequence[Image], modality: str) -> Image:
    found = [image for image in images if image.modality == modality]
    if len(found) != 1:
        raise RecordError("no_pair", f"the model reads one CT and one PET; the sample shows {len(found)} {modality}")
    return found[0]


def _crop(image: Image) -> tuple[slice, slice, slice] | None:
    return None if image.z is None else (slice(image.z[0], image.z[1]), slice(None), slice(None))


def _spacing(image: Image) -> tuple[float, float, float]:
    given: Any = getattr(image, "spacing_mm", None)
    if given is None:
        affine = load_affine(image.path)
        if affine is None:
            raise RecordError("no_spacing", "the voxel size of the PET is not known")
        given = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    depth, height, width = (float(edge) for edge in given)
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
    if not sample.reference:
        raise RecordError("no_reference", "the sample has no reference text")
    return sample.reference
