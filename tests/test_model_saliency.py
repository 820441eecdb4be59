"""Spots of unusual uptake: found, measured in mm, told apart by side."""

from __future__ import annotations

import numpy as np
import pytest

from petct_cli.model.describe import LOG_DIAMETER_COLUMN, LOG_PEAK_COLUMN, USED_COLUMN, describe_spots, hat_code
from petct_cli.model.inputs import RegionVolume
from petct_cli.model.saliency import (
    Calibrator,
    RegionCalibration,
    Spots,
    find_frame,
    find_spots,
    pack_calibrations,
    pair_maxima,
    unpack_calibrations,
)

EXTENT_MM = np.array([256.0, 240.0, 288.0])
GRID = (24, 22, 28)


def body(
    spacing_mm: tuple[float, float, float], centre_mm: tuple[float, float, float] | None, seed: int
) -> RegionVolume:
    """A water-filled ellipse with uptake 1, lungs, and a hot ball of 24 mm and SUV 8."""
    counts = np.round(EXTENT_MM / spacing_mm).astype(int)
    z, y, x = np.meshgrid(
        *((np.arange(n) + 0.5) * mm for n, mm in zip(counts, spacing_mm, strict=True)), indexing="ij", sparse=True
    )
    inside = ((y - 120) / 90) ** 2 + ((x - 144) / 120) ** 2 + 0 * z <= 1
    lungs = ((y - 120) / 60) ** 2 + ((np.abs(x - 144) - 60) / 40) ** 2 + ((z - 128) / 90) ** 2 <= 1
    ct = np.where(inside, np.where(lungs, -800.0, 40.0), -1000.0)
    rng = np.random.default_rng(seed)
    pet = np.where(inside, 1.0, 0.0) * (1 + 0.04 * rng.standard_normal(ct.shape))
    if centre_mm is not None:
        distance = np.sqrt((z - centre_mm[0]) ** 2 + (y - centre_mm[1]) ** 2 + (x - centre_mm[2]) ** 2)
        pet = pet + 7.0 / (1 + np.exp((distance - 12) / 1.5))
    return RegionVolume(ct.astype(np.float32), pet.astype(np.float32), spacing_mm)


@pytest.fixture(scope="module")
def usual() -> RegionCalibration:
    calibrator = Calibrator(GRID)
    for seed in range(6):
        calibrator.add(pair_maxima(body((8.0, 6.0, 6.0), None, seed), GRID))
    return calibrator.finish()


def rows(volume: RegionVolume, usual: RegionCalibration, most: int = 6) -> tuple[Spots, np.ndarray]:
    frame = find_frame(volume)
    spots = find_spots(volume, frame, usual, most, 1.0)
    return spots, describe_spots(volume, frame, spots, "chest", most)


def test_a_planted_ball_is_the_most_unusual_spot(usual: RegionCalibration) -> None:
    volume = body((8.0, 6.0, 6.0), (100.0, 110.0, 200.0), 7)
    spots, described = rows(volume, usual)
    hottest = int(spots.score.argmax())
    centre = (spots.index[hottest] + 0.5) * volume.spacing_mm
    assert np.linalg.norm(centre - (100.0, 110.0, 200.0)) < 14
    assert np.exp(described[hottest, LOG_PEAK_COLUMN] + 1.5) == pytest.approx(
        volume.pet[tuple(spots.index[hottest])], rel=1e-4
    )


def test_spots_run_from_head_to_pelvis(usual: RegionCalibration) -> None:
    spots, _ = rows(body((8.0, 6.0, 6.0), (100.0, 110.0, 200.0), 8), usual)
    assert (np.diff(spots.index[:, 0]) <= 0).all()


def test_left_and_right_are_told_apart(usual: RegionCalibration) -> None:
    told = []
    for x_mm in (88.0, 200.0):
        spots, described = rows(body((8.0, 6.0, 6.0), (128.0, 120.0, x_mm), 9), usual)
        told.append(described[int(spots.score.argmax())])
    moved = np.abs(told[0] - told[1])
    assert moved.max() > 0.5


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 4.0), (3.0, 5.0, 5.0)])
def test_measures_do_not_depend_on_the_voxel_size(
    usual: RegionCalibration, spacing: tuple[float, float, float]
) -> None:
    measured = []
    for used in ((8.0, 6.0, 6.0), spacing):
        spots, described = rows(body(used, (104.0, 111.0, 201.0), 3), usual)
        measured.append(described[int(spots.score.argmax()), [LOG_DIAMETER_COLUMN, LOG_PEAK_COLUMN]])
    assert np.exp(measured[0][0] + 3) == pytest.approx(24, rel=0.15)
    np.testing.assert_allclose(measured[0], measured[1], atol=0.12)


def test_rows_without_a_spot_are_zero(usual: RegionCalibration) -> None:
    volume = body((8.0, 6.0, 6.0), None, 1)
    nothing = Spots(np.zeros((0, 3), np.int64), np.zeros(0, np.float32))
    assert not describe_spots(volume, find_frame(volume), nothing, "chest", 4).any()
    one = Spots(np.array([[16, 20, 24]]), np.ones(1, np.float32))
    described = describe_spots(volume, find_frame(volume), one, "chest", 4)
    assert described[:, USED_COLUMN].tolist() == [1, 0, 0, 0]
    assert np.isfinite(described).all()


def test_volumes_of_air_and_of_few_slices_are_borne(usual: RegionCalibration) -> None:
    air = RegionVolume(np.full((2, 5, 5), -1000, np.float32), np.zeros((2, 5, 5), np.float32), (4.0, 4.0, 4.0))
    spots, described = rows(air, usual)
    assert len(spots.index) == 0
    assert not described.any()


def test_calibrations_survive_packing(usual: RegionCalibration) -> None:
    again = unpack_calibrations(pack_calibrations({"chest": usual}))["chest"]
    assert again.grid == usual.grid
    np.testing.assert_array_equal(again.sd, usual.sd)


def test_hat_code_is_a_soft_one_hot() -> None:
    code = hat_code(np.array([0.0, 0.25, 9.0], np.float32), 0.0, 1.0, 3)
    np.testing.assert_allclose(code, [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]])
