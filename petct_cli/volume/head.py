"""Landmarks of the head from the CT itself: lung apex, brain, neck. No weights, no order of files."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError
from petct_cli.volume.ct_stack import Box, CtStack
from petct_cli.volume.geometry import Array

Mask = npt.NDArray[np.bool_]
Planes = npt.NDArray[np.int16]
_STEP_MM = 3.0


@dataclass(frozen=True)
class HeadRange:
    """What lies above the chest, LPS z in mm.

    Attributes
    ----------
    method
        ``lungs`` or ``skull``: what told where the head is.
    floor_mm
        No face lies below.
    has_face
        Whether the scan reaches beyond the neck.
    brain_mm
        Lowest and highest plane of the vault, where it was seen.
    """

    method: Literal["lungs", "skull"]
    floor_mm: float
    has_face: bool
    brain_mm: tuple[float, float] | None = None
    apex_mm: float | None = None


@lru_cache(maxsize=1)
def rules() -> dict[str, Any]:
    """Return ``data/deface.toml``."""
    with (Path(__file__).parent / "data" / "deface.toml").open("rb") as file:
        return tomllib.load(file)


def find_head(stack: CtStack) -> HeadRange:
    """Return where the head lies.

    The upper end of the lungs is the apex. A scan without lungs is one of a head if soft tissue enclosed by bone
    is seen. Anything else is undecidable.

    Raises
    ------
    RecordError
        ``deface_no_landmark``: neither lungs nor a vault; a vault below the lungs; a scan that goes on above the
        lungs as no neck and head can.
    """
    box = stack.box_of(_STEP_MM)
    planes = stack.sample(box)
    z = box.axis(0)
    bodies = [_body(plane) for plane in planes]
    area = np.array([body.sum() for body in bodies]) * _STEP_MM**2 / 100
    lungs = _lungs(planes, bodies)
    brain = _brain(planes)
    brain_mm = None if brain is None else (float(z[brain[0]]), float(z[brain[1] - 1]))
    if lungs is None:
        if brain is None or brain_mm is None:
            raise _undecidable("neither lungs nor a skull are seen in a CT")
        floor = _floor(z, area, 0, brain)
        return HeadRange("skull", floor, True, brain_mm)
    apex = lungs[1]
    _require_upright(area, lungs, brain)
    if apex >= len(z):
        return HeadRange("lungs", float(z[-1]) + _STEP_MM, False, None, float(z[-1]) + _STEP_MM)
    above = _top(area) - apex
    limits = rules()["head"]
    least = min(limits["no_face_above_apex"], limits["no_face_above_apex_share"] * (apex - lungs[0]) * _STEP_MM)
    if brain is None and above * _STEP_MM < least:
        # Shoulders, neck, at most the tip of a chin: no plane of this scan shows a face.
        return HeadRange("lungs", float(z[-1]) + _STEP_MM, False, None, float(z[apex]))
    return HeadRange("lungs", _floor(z, area, apex, brain), True, brain_mm, float(z[apex]))


def _undecidable(message: str) -> RecordError:
    return RecordError(
        "deface_no_landmark", message, "nothing was written: the face could not be looked for; set the series aside"
    )


def _require_upright(area: Array, lungs: tuple[int, int], brain: tuple[int, int] | None) -> None:
    """Refuse a scan whose headers have head and feet the wrong way round."""
    limits = rules()["head"]
    above = (_top(area) - lungs[1]) * _STEP_MM
    if brain is not None:
        if brain[0] < lungs[1]:
            raise _undecidable("the skull of a CT lies below its lungs: its orientation cannot be right")
        return
    if above > limits["longest_without_brain"]:
        raise _undecidable("a CT goes on far above the lungs and shows no skull")
    if above >= limits["neck_within"]:
        neck = float(area[lungs[1] : _top(area)].min())
        if neck > limits["neck_share"] * float(np.median(area[lungs[0] : lungs[1]])):
            raise _undecidable("a CT goes on above the lungs and shows no neck")


def _top(area: Array) -> int:
    """Return the index after the highest plane with more than 5 cm2 of body."""
    body = np.flatnonzero(area > 5)
    return int(body[-1]) + 1 if len(body) else 0


def _floor(z: Array, area: Array, lowest: int, brain: tuple[int, int] | None) -> float:
    """Return the z below which no face lies: a little below the neck, or `lowest` where no neck can be told."""
    limits = rules()["head"]
    if brain is None:
        return float(z[lowest])
    chin = brain[0] - int(limits["chin_below_brain"] / _STEP_MM)
    if chin <= lowest:
        return float(z[lowest])
    neck = lowest + int(np.argmin(area[lowest:chin]))
    return float(max(z[lowest], z[neck] - limits["neck_margin"]))


def _body(plane: Planes) -> Mask:
    """Return the largest component of a plane, filled.

    One erosion takes off what is as thin as a couch's shell, and tears walls of a chest that are as thin: what it
    tells is the convex outline. What the body encloses within it counts, foam that a couch encloses does not.
    """
    from scipy.ndimage import binary_fill_holes, binary_opening, label

    mask = plane > rules()["head"]["body_hu"]
    labels, count = label(binary_opening(mask, iterations=1))
    if not count:
        return np.zeros(plane.shape, np.bool_)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    inside: Mask = binary_fill_holes(mask) & _hull(labels == sizes.argmax())
    return inside


def _hull(mask: Mask) -> Mask:
    """Return the convex hull of a mask in a plane."""
    from PIL import Image, ImageDraw
    from scipy.spatial import ConvexHull, QhullError

    points = np.argwhere(mask)
    try:
        corners = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        return mask
    picture = Image.new("1", (mask.shape[1], mask.shape[0]))
    ImageDraw.Draw(picture).polygon([(int(x), int(y)) for y, x in corners], fill=1, outline=1)
    return np.asarray(picture, np.bool_)


def _lungs(planes: Planes, bodies: list[Mask]) -> tuple[int, int] | None:
    """Return the half-open run of planes that the lungs take, or None."""
    from scipy.ndimage import uniform_filter1d

    limits = rules()["lungs"]
    low, high = limits["hu"]
    cells = np.array([((p >= low) & (p <= high) & b).sum() for p, b in zip(planes, bodies, strict=True)], np.float64)
    smooth = uniform_filter1d(cells, max(1, round(limits["smooth"] / _STEP_MM)), mode="nearest")
    peak = float(smooth.max()) * _STEP_MM**2 / 100
    if peak < limits["smallest_peak"]:
        return None
    run = _longest_run(smooth > limits["share"] * smooth.max())
    if run is None:
        return None
    tip = np.flatnonzero(cells[run[1] :] * _STEP_MM**2 / 100 < limits["tip"])
    return run[0], run[1] + int(tip[0]) if len(tip) else len(planes)


def _brain(planes: Planes) -> tuple[int, int] | None:
    """Return the half-open run of planes in which bone encloses soft tissue of the size of a brain, or None."""
    from scipy.ndimage import binary_closing, binary_erosion, binary_fill_holes, label

    limits = rules()["brain"]
    seen = np.zeros(len(planes), np.bool_)
    for number, plane in enumerate(planes):
        bone = plane > limits["bone_hu"]
        if not bone.any():
            continue
        ring = np.pad(bone, 2)
        ring = binary_closing(ring, iterations=1)[2:-2, 2:-2]
        labels, count = label(binary_fill_holes(ring) & ~ring)
        if not count:
            continue
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        inside = labels == sizes.argmax()
        inner = binary_erosion(inside)
        area = float(inside.sum()) * _STEP_MM**2 / 100
        if not limits["smallest_area"] <= area <= limits["largest_area"] or not inner.any():
            continue
        soft = (plane >= limits["hu"][0]) & (plane <= limits["hu"][1])
        seen[number] = float(soft[inner].mean()) >= limits["share"]
    run = _longest_run(seen)
    return run if run is not None and (run[1] - run[0]) * _STEP_MM >= limits["height"] else None


def _longest_run(flags: Mask) -> tuple[int, int] | None:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return None
    start, stop = runs[int(np.argmax(runs[:, 1] - runs[:, 0]))]
    return int(start), int(stop)


def grid_above(stack: CtStack, z_mm: float, step: float) -> Box:
    """Return a straight grid over the part of a stack above `z_mm`."""
    low, high = stack.box
    return stack.box_of(step, np.array([low[0], low[1], z_mm]), high)
