"""From a record to voxels: nothing but the voxels that the record speaks of, and no bad record ends the command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from model_samples import make_samples

from petct_cli.core.errors import RecordError
from petct_cli.core.hashing import sha256_array
from petct_cli.core.records import Sample
from petct_cli.model.inputs import load_region
from petct_cli.model.processor import FeatureExtractor, SaliencySettings
from petct_cli.model.saliency import RegionCalibration
from petct_cli.volume.storage import load_volume, save_volume

Volume = npt.NDArray[Any]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    (made,) = make_samples(tmp_path / "phantom", 1)
    return made


def with_voxels(sample: Sample, folder: Path, change: Callable[[Volume], Volume], **fields: Any) -> Sample:
    """Return the sample with both volumes changed, and records that say so."""
    images = []
    for image in sample.images:
        voxels = change(load_volume(image.path))
        path = folder / f"{image.modality}.b2nd"
        save_volume(path, voxels)
        told = {"path": str(path), "sha256": sha256_array(voxels), "z": [0, len(voxels)], **fields}
        images.append(image.model_copy(update=told))
    return sample.with_fields(images=images)


def code(sample: Sample) -> str:
    with pytest.raises(RecordError) as caught:
        load_region(sample)
    return caught.value.code


def test_a_file_that_is_not_what_the_record_says_is_refused(sample: Sample) -> None:
    pet = sample.images[1]
    load_region(sample)
    save_volume(Path(pet.path), load_volume(pet.path) * np.float32(2))
    assert code(sample) == "volume_changed"


def test_a_damaged_file_is_refused_although_it_can_be_decoded(sample: Sample) -> None:
    path = Path(sample.images[1].path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    assert code(sample) in ("volume_changed", "bad_volume")
    path.write_bytes(whole[:middle])
    assert code(sample) == "bad_volume"
    os.remove(path)
    assert code(sample) == "volume_missing"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"z": [0, 9999]}, "outside_volume"),
        ({"z": [-5, 5]}, "outside_volume"),
        ({"z": [5]}, "outside_volume"),
        ({"z": [5, 5]}, "empty_region"),
        ({"z": [9, 5]}, "empty_region"),
        ({"spacing_mm": [0, 0, 0]}, "no_spacing"),
        ({"spacing_mm": "three"}, "no_spacing"),
        ({"spacing_mm": [4.0, 4.0]}, "no_spacing"),
        ({"spacing_mm": None}, "no_spacing"),
    ],
)
def test_a_record_that_makes_no_sense_fails_alone(
    sample: Sample, tmp_path: Path, fields: dict[str, Any], expected: str
) -> None:
    assert code(with_voxels(sample, tmp_path, np.copy, **fields)) == expected


def test_ct_and_pet_must_be_on_one_grid_and_both_be_there(sample: Sample) -> None:
    ct, pet = sample.images
    assert code(sample.with_fields(images=[ct])) == "no_pair"
    assert code(sample.with_fields(images=[])) == "no_pair"
    assert pet.z is not None
    shorter = pet.model_copy(update={"z": [pet.z[0], pet.z[1] - 1]})
    assert code(sample.with_fields(images=[ct, shorter])) == "grids_differ"
    shifted = pet.model_copy(update={"z": [pet.z[0] - 1, pet.z[1] - 1]})
    assert code(sample.with_fields(images=[ct, shifted])) == "grids_differ"
    coarser = pet.model_copy(update={"spacing_mm": [8.0, 8.0, 8.0]})
    assert code(sample.with_fields(images=[ct, coarser])) == "grids_differ"


def holed(voxels: Volume) -> Volume:
    changed = voxels.astype(np.float32)
    changed[:4], changed[5, 6, 7] = np.nan, np.inf
    return changed


def absurd(voxels: Volume) -> Volume:
    changed = voxels.astype(np.float32)
    changed[10:14, 30:34, 30:34] = 1e30
    return changed


CHANGES: list[Callable[[Volume], Volume]] = [
    holed,
    absurd,
    np.zeros_like,
    lambda voxels: np.full_like(voxels, np.nan, dtype=np.float32),
    lambda voxels: -np.abs(voxels),
    lambda voxels: voxels[20:21].copy(),
    lambda voxels: voxels[20:23, 30:33, 30:35].copy(),
    lambda voxels: voxels[:1, :1, :1].copy(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_features_are_numbers_whatever_the_voxels(
    sample: Sample, tmp_path: Path, change: Callable[[Volume], Volume]
) -> None:
    volume = load_region(with_voxels(sample, tmp_path, change))
    assert np.isfinite(volume.ct).all() and np.isfinite(volume.pet).all()
    usual = RegionCalibration((8, 8, 8), np.zeros((4, 4, 4), np.float32), np.ones((4, 4, 4), np.float32))
    features = FeatureExtractor({"chest": usual}, SaliencySettings()).describe(volume, "chest")
    assert features.dtype == np.float16
    assert np.isfinite(features).all()


def test_what_is_not_a_number_was_not_measured(sample: Sample, tmp_path: Path) -> None:
    volume = load_region(with_voxels(sample, tmp_path, holed))
    assert (volume.ct[:4] == -1000).all()
    assert (volume.pet[:4] == 0).all()
    assert volume.pet[5, 6, 7] == 0
