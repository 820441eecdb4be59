"""What a reader looks at around a spot of the PET, as one row of numbers per spot.

Everything is measured in millimetres on windows sampled from the native grid, so that any voxel size gives nearly the
same numbers; SUVmax itself is the native voxel's.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional

from petct_cli.model.inputs import FloatArray, RegionVolume
from petct_cli.model.saliency import Frame, Spots

DESCRIPTION_VERSION = "1"

_STEP_MM = 4.0
_HALF = 7
_WIDTH = 2 * _HALF + 1
_PROFILE_MM = np.arange(-64.0, 65.0, 8.0)
_SIZE_CODES = (math.log(6), math.log(80), 16)
_SUV_CODES = (math.log(1.5), math.log(25), 20)
_FREQUENCIES = (1, 2, 4)
_LUNG_HU, _BONE_HU = -500.0, 200.0
_AIR_HU = -1000.0
_BACKGROUND_QUANTILE = 0.4
_REGIONS = ("head_neck", "chest", "abdomen_pelvis")
_PER_THRESHOLD = _SIZE_CODES[2] + 7

LOG_DIAMETER_COLUMN = _PER_THRESHOLD + _SIZE_CODES[2]
"""log(mm) - 3 of the lesion grown halfway to the background, as an equivalent sphere."""
LOG_PEAK_COLUMN = 2 * _PER_THRESHOLD + _SUV_CODES[2] + 1
"""log(SUVmax) - 1.5 of the native voxel."""
USED_COLUMN = -1
"""1 where the row describes a spot, 0 where there are fewer spots than rows."""


def hat_code(values: FloatArray, low: float, high: float, count: int) -> FloatArray:
    """Spread each value over the two nearest of `count` evenly spaced knots: a soft one-hot, ``(..., count)``."""
    knots = np.linspace(low, high, count, dtype=np.float32)
    distance = np.abs(np.clip(values, low, high)[..., None] - knots) / ((high - low) / (count - 1))
    return np.asarray(np.maximum(1.0 - distance, 0.0), dtype=np.float32)


def _tissue(hu: FloatArray) -> FloatArray:
    """Compress HU so that fat, soft tissue and bone stay apart as far as air and lung do."""
    return np.asarray(np.arcsinh(hu / 100.0) / 2.0, dtype=np.float32)


def _sample(volume: RegionVolume, points: npt.NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
    """Read CT and PET by trilinear interpolation at fractional voxels ``(m, 3)``; air without uptake lies outside."""
    shape = np.array(volume.ct.shape)
    scaled = 2.0 * points / np.maximum(shape - 1, 1) - 1.0
    grid = torch.from_numpy(np.ascontiguousarray(scaled[:, ::-1], dtype=np.float32))[None, :, None, None]
    both = torch.from_numpy(np.stack([volume.ct - _AIR_HU, volume.pet]))[None]
    read = functional.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    values = read[0, :, :, 0, 0].numpy()
    return values[0] + np.float32(_AIR_HU), values[1]


def feature_count() -> int:
    """Return the length of a row of `describe_spots`."""
    volume = RegionVolume(np.zeros((2, 2, 2), np.float32), np.ones((2, 2, 2), np.float32), (1.0, 1.0, 1.0))
    frame = Frame((np.zeros(3, np.float32), np.full(3, 2, np.float32)), None)
    spots = Spots(np.zeros((1, 3), np.int64), np.zeros(1, np.float32))
    return int(describe_spots(volume, frame, spots, "", 1).shape[1])


def describe_spots(volume: RegionVolume, frame: Frame, spots: Spots, region: str, rows: int) -> FloatArray:
    """Return ``(rows, features)``, float32: one row per spot, zeros where there are fewer spots than rows.

    Columns, in this order: the lesion grown from the spot at half of its peak and halfway to the background (size,
    extents, CT, SUV), the peak's uptake, the CT around it, blocks of the window, profiles along each axis, the place in
    the region and in the body's and lungs' boxes, the region, and a flag that the row is used.
    """
    count = len(spots.index)
    if count == 0:
        return np.zeros((rows, feature_count()), np.float32)
    spacing = np.array(volume.spacing_mm)
    steps = np.arange(-_HALF, _HALF + 1) * _STEP_MM
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lines = np.zeros((3, len(_PROFILE_MM), 3))
    for axis in range(3):
        lines[axis, :, axis] = _PROFILE_MM
    around = np.concatenate([offsets, lines.reshape(-1, 3)]) / spacing
    points = (spots.index[:, None, :] + around[None]).reshape(-1, 3)
    ct, pet = (part.reshape(count, -1) for part in _sample(volume, points))
    window = (count, _WIDTH, _WIDTH, _WIDTH)
    cube = len(offsets)
    ct_cube, pet_cube = ct[:, :cube].reshape(window), np.maximum(pet[:, :cube], 0.0).reshape(window)
    peak = np.maximum(volume.pet[tuple(spots.index.T)].astype(np.float32), 0.01)
    parts = [
        _grown(ct_cube, pet_cube, peak),
        _uptake(pet_cube, peak, spots.score),
        _surroundings(ct_cube),
        _blocks(ct_cube, pet_cube, peak),
        _profiles(ct[:, cube:], pet[:, cube:], peak),
        _place(volume, frame, spots),
        np.tile(np.array([float(region == name) for name in _REGIONS], np.float32), (count, 1)),
        np.ones((count, 1), np.float32),
    ]
    described = np.concatenate(parts, axis=1).astype(np.float32)
    return np.pad(described[:rows], ((0, max(0, rows - count)), (0, 0)))


def _background(pet: FloatArray) -> FloatArray:
    flat = pet.reshape(len(pet), -1)
    rank = int(_BACKGROUND_QUANTILE * flat.shape[1])
    return np.asarray(np.partition(flat, rank, axis=1)[:, rank], dtype=np.float32)


def _grown(ct: FloatArray, pet: FloatArray, peak: FloatArray) -> FloatArray:
    """Size and make-up of the connected part above a threshold that holds the window's centre."""
    background = np.minimum(_background(pet), peak)
    within = np.zeros((3, 3, 3, 3), bool)
    within[1] = ndimage.generate_binary_structure(3, 2)
    columns: list[FloatArray] = []
    for threshold in (0.5 * peak, 0.5 * (peak + background)):
        hot = pet >= threshold[:, None, None, None]
        hot[:, _HALF, _HALF, _HALF] = True
        labels, _ = ndimage.label(hot, structure=within)
        grown = labels == labels[:, _HALF, _HALF, _HALF][:, None, None, None]
        voxels = grown.sum(axis=(1, 2, 3)).astype(np.float32)
        # Trilinear weights at the edge would be better than whole samples; the partial volume of one sample is not.
        diameter = (np.log(voxels) + 3 * math.log(_STEP_MM) - math.log(math.pi / 6)) / 3
        extents = np.stack(
            [grown.any(axis=tuple(a + 1 for a in range(3) if a != axis)).sum(axis=1) for axis in range(3)], axis=-1
        )
        ct_mean = (_tissue(ct) * grown).sum(axis=(1, 2, 3)) / voxels
        suv_mean = (pet * grown).sum(axis=(1, 2, 3)) / voxels
        suv_max = (pet * grown).max(axis=(1, 2, 3))
        columns += [
            hat_code(diameter, *_SIZE_CODES),
            (diameter - 3.0)[:, None],
            (extents * _STEP_MM / 30 - 1).astype(np.float32),
            np.stack([ct_mean, np.log1p(suv_mean) - 1.5, np.log(np.maximum(suv_max, 0.01) / peak)], axis=1),
        ]
    return np.concatenate(columns, axis=1)


def _uptake(pet: FloatArray, peak: FloatArray, score: FloatArray) -> FloatArray:
    background = _background(pet)
    near = pet[:, _HALF - 1 : _HALF + 2, _HALF - 1 : _HALF + 2, _HALF - 1 : _HALF + 2].mean(axis=(1, 2, 3))
    scalars = [
        np.log1p(peak) - 1.5,
        np.log(peak) - 1.5,
        np.log1p(background) - 1,
        np.log1p(np.maximum(peak - background, 0)) - 1,
        np.log1p(near) - 1.5,
        np.clip(score, -2, 20) / 5,
    ]
    return np.concatenate([hat_code(np.log(peak), *_SUV_CODES), np.stack(scalars, axis=1)], axis=1)


def _surroundings(ct: FloatArray) -> FloatArray:
    near = ct[:, _HALF - 1 : _HALF + 2, _HALF - 1 : _HALF + 2, _HALF - 1 : _HALF + 2]
    wider = ct[:, 3:-3, 3:-3, 3:-3]
    return np.stack(
        [
            _tissue(ct[:, _HALF, _HALF, _HALF]),
            _tissue(near.mean(axis=(1, 2, 3))),
            _tissue(wider.mean(axis=(1, 2, 3))),
            _tissue(ct.mean(axis=(1, 2, 3))),
            (ct < _LUNG_HU).mean(axis=(1, 2, 3)),
            (ct > _BONE_HU).mean(axis=(1, 2, 3)),
            (wider < _LUNG_HU).mean(axis=(1, 2, 3)),
            (wider > _BONE_HU).mean(axis=(1, 2, 3)),
        ],
        axis=1,
    )


def _blocks(ct: FloatArray, pet: FloatArray, peak: FloatArray) -> FloatArray:
    """Means of the window's 3x3x3 blocks of 20 mm."""

    def means(values: FloatArray) -> FloatArray:
        edge = _WIDTH // 3
        split = values.reshape(len(values), 3, edge, 3, edge, 3, edge)
        return np.asarray(split.mean(axis=(2, 4, 6)).reshape(len(values), 27))

    return np.concatenate([means(_tissue(ct)), means(pet) / np.maximum(peak, 0.3)[:, None]], axis=1)


def _profiles(ct: FloatArray, pet: FloatArray, peak: FloatArray) -> FloatArray:
    return np.concatenate([np.clip(pet / np.maximum(peak, 0.3)[:, None], 0, 4), _tissue(ct)], axis=1)


def _place(volume: RegionVolume, frame: Frame, spots: Spots) -> FloatArray:
    """Where the spot is: -1 to 1 across the region, the body box and the lung box, with Fourier codes, and in mm."""
    shape = np.array(volume.ct.shape, np.float32)
    spacing = np.array(volume.spacing_mm, np.float32)
    point = (spots.index + 0.5).astype(np.float32)
    low, high = frame.body
    in_region = point / shape * 2 - 1
    in_body = (point - low) / np.maximum(high - low, 1) * 2 - 1
    if frame.lung is None:
        in_lung = np.zeros_like(point)
    else:
        in_lung = np.clip((point - frame.lung[0]) / np.maximum(frame.lung[1] - frame.lung[0], 1) * 2 - 1, -4, 4)
    millimetres = np.concatenate(
        [
            ((point - (low + high) / 2) * spacing) / 150,
            (shape - point)[:, :1] * spacing[0] / 250 - 1,
            point[:, :1] * spacing[0] / 250 - 1,
            np.full((len(point), 1), float(frame.lung is not None), np.float32),
        ],
        axis=1,
    )
    boxes = np.concatenate([in_region, in_body, in_lung], axis=1)
    waves = [wave(boxes[:, :9] * math.pi * k) for k in _FREQUENCIES for wave in (np.sin, np.cos)]
    return np.concatenate([boxes, millimetres, *waves], axis=1)
