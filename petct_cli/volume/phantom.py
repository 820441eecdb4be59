"""Digital PET/CT phantoms: a patient with 0 to 3 lesions, drawn from (seed, index) alone.

>>> phantom = make_phantom(seed=0, index=7)
>>> phantom.render_pet().shape == phantom.render_ct().shape == phantom.pet_grid.shape
True
>>> [lesion.site for lesion in phantom.lesions]
['axillary_node', 'inguinal_node']

They are for tests, demonstrations and controls: the anatomy is schematic and the noise mild, so scores on them say
that a pipeline works, never how well a model reads patients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from petct_cli.core.records import Lesion
from petct_cli.volume.phantom_anatomy import Body, PlacedLesion, draw_body, draw_lesions
from petct_cli.volume.phantom_raster import FloatArray, Grid, Window, blend, lesion_cover, paint

PET_SPACING_MM = (8.0, 6.0, 6.0)
PET_SIZE = 64
CT_FACTOR = 2
CT_NOISE_HU = 20.0
PET_STEP_SUV = 1 / 1024

# Each use of randomness has a stream of its own, so that drawing more of one never moves another.
_ANATOMY, _PET_NOISE, _CT_NOISE, _CT_DETAIL, _TEXT, _IDENTITY, _PROTOCOL = range(7)
_PUBLIC_STREAMS = {"text": _TEXT, "identity": _IDENTITY, "protocol": _PROTOCOL}
Stream = Literal["text", "identity", "protocol"]


@dataclass(frozen=True)
class Phantom:
    """One synthetic patient.

    Parameters
    ----------
    seed, index
        What it was drawn from.
    sex, age_years, height_m, weight_kg
        Demographics; height and weight follow the body's size.
    body, placed
        Geometry, uptake and lesions in LPS mm.
    pet_grid
        8 x 6 x 6 mm (z, y, x) from mid-thigh to above the head.
    """

    seed: int
    index: int
    sex: Literal["M", "F"]
    age_years: int
    height_m: float
    weight_kg: float
    body: Body
    placed: tuple[PlacedLesion, ...]
    pet_grid: Grid

    @property
    def ct_grid(self) -> Grid:
        """The 8 x 3 x 3 mm grid of the CT; 1 x 2 x 2 of its voxels fill one PET voxel exactly."""
        depth, height, width = self.pet_grid.shape
        dz, dy, dx = self.pet_grid.spacing_mm
        x, y, z = self.pet_grid.origin_mm
        fine = dy / CT_FACTOR, dx / CT_FACTOR
        origin = (x - (dx - fine[1]) / 2, y - (dy - fine[0]) / 2, z)
        return Grid((depth, height * CT_FACTOR, width * CT_FACTOR), (dz, *fine), origin)

    def rng(self, stream: Stream) -> np.random.Generator:
        """Return the phantom's own random stream for its report text, its identifiers or its scan protocol."""
        return self._stream(_PUBLIC_STREAMS[stream])

    def _stream(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.index, number])

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        """The true lesions, head to feet.

        ``suv_max`` is the largest voxel of the noise-free, blurred PET inside the lesion on `pet_grid`, rounded to
        0.1: what a perfect reader would measure, not the activity put in. ``centre_mm`` is LPS (x, y, z).
        """
        lesions = []
        for lesion, (window, share), _ in self._hot_spots:
            core = self._clean_pet[window][share >= share.max() / 2]
            lesions.append(
                Lesion(
                    site=lesion.site,
                    side=lesion.side,
                    size_mm=lesion.size_mm,
                    suv_max=round(float(core.max()), 1),
                    centre_mm=list(lesion.centre_mm),
                )
            )
        return tuple(sorted(lesions, key=lambda lesion: -lesion.centre_mm[2] if lesion.centre_mm else 0.0))

    def render_pet(self, grid: Grid | None = None, *, noise: bool = True) -> FloatArray:
        """Return the PET in SUVbw, float32 (z, y, x), on `grid` (default: `pet_grid`), never negative.

        With noise, values are multiples of 1/1024.
        """
        clean = self._clean_pet if grid is None else self._blurred(grid, with_lesions=True)
        if not noise:
            return clean.copy()
        rng = self._stream(_PET_NOISE)
        level = np.float32(rng.uniform(0.03, 0.07))
        spread = level * clean
        spread += np.float32(0.03)
        spread *= rng.standard_normal(clean.shape, np.float32)
        spread += clean
        np.maximum(spread, np.float32(0), out=spread)
        # A scanner stores 16 bits; noise below that would only make the stored volumes three times as large.
        spread *= np.float32(1 / PET_STEP_SUV)
        np.rint(spread, out=spread)
        spread *= np.float32(PET_STEP_SUV)
        return spread

    def render_ct(self, grid: Grid | None = None, *, noise: bool = True) -> npt.NDArray[np.int16]:
        """Return the CT in HU, int16 (z, y, x), on `grid` (default: `pet_grid`; `ct_grid` is what DICOM shows).

        The noise on `pet_grid` is the exact box average of the noise on `ct_grid`, so that averaging the finer CT
        down gives the coarse one but for the edges of organs.
        """
        if grid is None or grid == self.pet_grid:
            volume = self._native["hu"].copy()
            grid = self.pet_grid
        else:
            volume = paint(grid, self.body.outline, self.body.parts, self.body.ribs, ["hu"])["hu"]
        for lesion in self.placed:
            covered = lesion_cover(lesion.centre_mm, lesion.radii_mm, grid, 0.0)
            if covered is not None:
                blend(volume[covered[0]], covered[1], lesion.hu)
        if noise:
            volume += self._ct_noise(grid)
        np.rint(volume, out=volume)
        return np.clip(volume, -1024, 3071, out=volume).astype(np.int16)

    def _ct_noise(self, grid: Grid) -> FloatArray:
        coarse = self._stream(_CT_NOISE).standard_normal(self.pet_grid.shape, np.float32)
        coarse *= np.float32(CT_NOISE_HU / CT_FACTOR)
        if grid == self.pet_grid:
            return coarse
        fine = self._stream(_CT_DETAIL).standard_normal(grid.shape, np.float32)
        fine *= np.float32(CT_NOISE_HU)
        if grid == self.ct_grid:
            depth, height, width = self.pet_grid.shape
            blocks = fine.reshape(depth, height, CT_FACTOR, width, CT_FACTOR)
            blocks += (coarse - blocks.mean(axis=(2, 4)))[:, :, None, :, None]
        return fine

    @cached_property
    def _native(self) -> dict[Literal["hu", "suv"], FloatArray]:
        return paint(self.pet_grid, self.body.outline, self.body.parts, self.body.ribs, ["hu", "suv"])

    @cached_property
    def _background(self) -> FloatArray:
        return self._blurred(self.pet_grid, with_lesions=False)

    @cached_property
    def _hot_spots(self) -> tuple[tuple[PlacedLesion, tuple[Window, FloatArray], float], ...]:
        # The activity put into a lesion is whatever makes its peak voxel show `peak_suv` above the blurred background.
        spots = []
        for lesion in self.placed:
            covered = lesion_cover(lesion.centre_mm, lesion.radii_mm, self.pet_grid, self.body.fwhm_mm)
            assert covered is not None  # every lesion site is inside of the scanned body
            window, share = covered
            peak = np.unravel_index(int(share.argmax()), share.shape)
            around = float(self._background[window][peak])
            most = float(share[peak])
            spots.append((lesion, covered, (lesion.peak_suv - around * (1 - most)) / most))
        return tuple(spots)

    @cached_property
    def _clean_pet(self) -> FloatArray:
        volume = self._background.copy()
        for _, (window, share), activity in self._hot_spots:
            blend(volume[window], share, activity)
        return volume

    def _blurred(self, grid: Grid, *, with_lesions: bool) -> FloatArray:
        from scipy.ndimage import gaussian_filter1d

        if grid == self.pet_grid:
            volume = self._native["suv"]
        else:
            volume = paint(grid, self.body.outline, self.body.parts, self.body.ribs, ["suv"])["suv"]
        sigma_mm = self.body.fwhm_mm / math.sqrt(8 * math.log(2))
        for axis, spacing in enumerate(grid.spacing_mm):
            volume = gaussian_filter1d(volume, sigma_mm / spacing, axis=axis, mode="nearest", truncate=3)
        if with_lesions:
            for lesion, _, activity in self._hot_spots:
                covered = lesion_cover(lesion.centre_mm, lesion.radii_mm, grid, self.body.fwhm_mm)
                if covered is not None:
                    blend(volume[covered[0]], covered[1], activity)
        return volume


def make_phantom(seed: int, index: int) -> Phantom:
    """Draw phantom number `index` of `seed`; it depends on nothing else (not on how many are made, nor on jobs)."""
    rng = np.random.default_rng([seed, index, _ANATOMY])
    body = draw_body(rng)
    placed = draw_lesions(rng, body)
    sex: Literal["M", "F"] = "M" if rng.uniform() < 0.55 else "F"
    age = int(np.clip(round(rng.normal(60, 13)), 19, 92))
    height = round(1.62 * body.scale[2] + float(rng.uniform(-0.04, 0.04)), 2)
    weight = round(57.0 * body.scale[0] * body.scale[1] * body.scale[2] * float(rng.uniform(0.96, 1.04)), 1)
    above = float(rng.uniform(8, 24))
    dz, dy, dx = PET_SPACING_MM
    depth = math.ceil((body.length_mm + above) / dz)
    highest = round(body.top_mm + above, 1)
    origin = (-dx * (PET_SIZE - 1) / 2, -dy * (PET_SIZE - 1) / 2, round(highest - dz * (depth - 1), 1))
    grid = Grid((depth, PET_SIZE, PET_SIZE), PET_SPACING_MM, origin)
    return Phantom(seed, index, sex, age, height, weight, body, placed, grid)
