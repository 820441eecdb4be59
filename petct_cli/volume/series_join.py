"""Scans of neighbouring parts of the body, stored as series of their own, as one volume, where that is provably right.

Torso and legs are often two series. They are joined only where they are of one frame of reference, one reconstruction
and one injection, and where their slices continue each other on one even grid, with no gap and no overlap (which value
would be right?). Each keeps its own SUV factor, because each is decay-corrected to its own start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from petct_cli.core.errors import RecordError
from petct_cli.dicom.read import Instance
from petct_cli.dicom.values import number, texts
from petct_cli.volume.geometry import EVEN_FRACTION, EVEN_MM, Grid, Stack
from petct_cli.volume.series_choice import Candidate
from petct_cli.volume.series_volume import SeriesVolume
from petct_cli.volume.suv import SuvResult

_ALIKE = (
    "ImageType", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "Rows", "Columns", "PixelSpacing",
    "ImageOrientationPatient", "SliceThickness", "ReconstructionMethod", "ConvolutionKernel", "ReconstructionDiameter",
    "KVP", "Units", "SUVType", "DecayCorrection", "CorrectedImage", "AttenuationCorrectionMethod",
    "ScatterCorrectionMethod", "RandomsCorrectionMethod", "SeriesType",
)  # fmt: skip
_NEIGHBOUR = 1.5
_SAME = 1e-4
_OF_THE_INJECTION = ("weight_kg", "dose_bq", "half_life_s")


def neighbours(candidates: Sequence[Candidate], taken: Candidate) -> list[int]:
    """Return the places of series that may continue `taken`, by their headers: nearest first, one after the other."""
    # Where a series lies is read from all of its headers, which takes time: only of those that are alike.
    alike = [place for place, one in enumerate(candidates) if one is not taken and _is_alike(one, taken)]
    found: list[int] = []
    for place in sorted(alike, key=lambda i: _gap(candidates[i], taken)):
        if any(_touch(candidates[place], other) for other in (taken, *(candidates[i] for i in found))):
            found.append(place)
    return found


def read_joined(
    candidates: Sequence[Candidate], taken: Candidate, read: Callable[[Sequence[Instance]], SeriesVolume]
) -> tuple[SeriesVolume, list[int], dict[int, str]]:
    """Return the volume of `taken`, with those that continue it where there are some, and the places of these.

    The last of the three says, by place, why a neighbour could not be read.

    Raises
    ------
    RecordError
        What reading `taken` raises; a neighbour that cannot be read is none.
    """
    used: list[int] = []
    faults: dict[int, str] = {}
    whole = read(taken.instances)
    for place in neighbours(candidates, taken):
        try:
            longer = joined([whole, read(candidates[place].instances)])
        except RecordError as error:
            faults[place] = f"may continue the one taken, but cannot be read: {error.code}"
            continue
        if longer is not None:
            whole = longer
            used.append(place)
    return whole, used, faults


def joined(parts: Sequence[SeriesVolume]) -> SeriesVolume | None:
    """Return the volume that even, upright `parts` make together; None where they do not continue each other."""
    parts = sorted(parts, key=lambda part: float(part.grid.affine[2, 3]))
    first = parts[0]
    if any(part.stack.verdict != "even" or part.grid.shape[1:] != first.grid.shape[1:] for part in parts):
        return None
    if any(np.abs(part.grid.affine[:3, :3] - first.grid.affine[:3, :3]).max() > _SAME for part in parts[1:]):
        return None
    counts = [part.grid.shape[0] for part in parts]
    total, step = sum(counts), first.grid.affine[:3, 0]
    ends = [part.grid.affine[:3, 3] + part.grid.affine[:3, 0] * (n - 1) for part, n in zip(parts, counts, strict=True)]
    tolerance = min(EVEN_MM, EVEN_FRACTION * float(np.linalg.norm(step)))
    for (_, after), end in zip(pairwise(parts), ends, strict=False):
        if np.linalg.norm(after.grid.affine[:3, 3] - end - step) > tolerance:
            return None
    affine = first.grid.affine.copy()
    affine[:3, 0] = (ends[-1] - affine[:3, 3]) / (total - 1)
    places = np.concatenate(
        [
            part.grid.affine[:3, 3] + np.arange(n)[:, None] * part.grid.affine[:3, 0]
            for part, n in zip(parts, counts, strict=True)
        ]
    )
    even = affine[:3, 3] + np.arange(total)[:, None] * affine[:3, 0]
    deviation = float(np.linalg.norm(places - even, axis=1).max())
    if deviation > tolerance:
        return None
    suv = _joined_suv([part.suv for part in parts], counts)
    if suv is None and first.suv is not None:
        return None
    grid = Grid((total, *first.grid.shape[1:]), affine)
    stack = Stack(tuple(range(total)), grid, np.arange(total, dtype=np.float64), "even", deviation)
    array = np.concatenate([part.array for part in parts])
    return SeriesVolume.of_array(array, grid, stack, suv, first.unit, first.lacks)


def _joined_suv(parts: Sequence[SuvResult | None], counts: Sequence[int]) -> SuvResult | None:
    found = [part for part in parts if part is not None]
    if len(found) != len(parts):
        return None
    first = found[0]
    told = [(one.branch, one.type, *(one.inputs.get(key) for key in _OF_THE_INJECTION)) for one in found]
    if any(one != told[0] for one in told):
        return None
    factors = tuple(f for one, count in zip(found, counts, strict=True) for f in one.factors(count))
    inputs: dict[str, Any] = dict(first.inputs)
    spans = [one.inputs["interval_s"] for one in found if "interval_s" in one.inputs]
    flat = [value for span in spans for value in (span if isinstance(span, list) else [span])]
    if len(set(flat)) > 1:
        inputs["interval_s"] = [min(flat), max(flat)]
    assumed = tuple(dict.fromkeys(name for one in found for name in one.assumed))
    if len(set(factors)) == 1:
        return replace(first, factor=factors[0], per_slice=None, inputs=inputs, assumed=assumed)
    return replace(first, factor=None, per_slice=factors, inputs=inputs, assumed=assumed)


def _is_alike(one: Candidate, taken: Candidate) -> bool:
    return (
        one.modality == taken.modality
        and one.study == taken.study
        and one.frame_of_reference == taken.frame_of_reference is not None
        and all(texts(one.header, keyword) == texts(taken.header, keyword) for keyword in _ALIKE)
        and one.timing == taken.timing == "static"
    )


def _gap(one: Candidate, other: Candidate) -> float:
    """Return the distance along z from slice to slice; infinite where they overlap or do not say where they lie."""
    mine, theirs = one.z_range, other.z_range
    if mine is None or theirs is None:
        return float("inf")
    gap = max(mine[0] - theirs[1], theirs[0] - mine[1])
    return gap if gap > 0 else float("inf")


def _touch(one: Candidate, other: Candidate) -> bool:
    thickness = number(other.header, "SliceThickness") or 0.0
    length = other.z_range[1] - other.z_range[0] if other.z_range is not None else 0.0
    step = max(thickness, length / max(1, len(other.instances) - 1))
    return _gap(one, other) <= _NEIGHBOUR * step
