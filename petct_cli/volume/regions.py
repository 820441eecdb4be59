"""Where head-neck, chest and abdomen-pelvis lie in a scan.

Bounds are half-open ranges of slices, z ascending towards the head; `flipped` is for volumes stored the other way up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from petct_cli.core.errors import RecordError

if TYPE_CHECKING:
    from petct_cli.volume.lungs import LungRun

REGION_NAMES = ("head_neck", "chest", "abdomen_pelvis")
PAPER_FRACTIONS = (0.20, 0.35, 0.45)
SHORTEST_WHOLE_BODY_MM = 700.0
VERTEX_TO_KNEE = 0.715
"""Share of a person's height from the vertex to the knee (D. A. Winter, Biomechanics of Human Movement, table 4.1)."""
HEAD_NECK_LEAST, ABDOMEN_PELVIS_LEAST = 0.6, 1.2
"""Whole head-neck and abdomen-pelvis are longer than these shares of the lungs: 0.8 to 1.3 and 1.4 to 1.8."""
_HEIGHT_M = (0.5, 2.5)
_OBLIQUE = 0.9


@dataclass(frozen=True)
class RegionBounds:
    """One region of a scan as a half-open range of slice indices.

    Attributes
    ----------
    partial
        Whether the scan ends before the region (or, for all regions, before the lungs) does.
    warning
        What a person should know of how the region was found.
    """

    name: str
    method: str
    start: int
    stop: int
    partial: bool = False
    warning: str | None = None


@dataclass(frozen=True)
class Overlap:
    """How much two neighbouring regions share, in slices or in mm."""

    amount: float
    unit: str = "slices"

    def in_slices(self, spacing_mm: float | None) -> float:
        """Return the shared length as a number of slices `spacing_mm` apart.

        Raises
        ------
        RecordError
            ``no_geometry``: it is told in mm, and nobody knows how far the slices are apart.
        """
        if self.unit != "slices" and spacing_mm is None:
            raise RecordError("no_geometry", "an overlap in mm needs slices of known distance", "give it in slices")
        return self.amount if self.unit == "slices" or spacing_mm is None else self.amount / spacing_mm


def regions_by_lungs(run: LungRun, slices: int, spacing_mm: float, overlap: Overlap) -> list[RegionBounds]:
    """Cut a scan at the apex and at the base of its lungs.

    Parameters
    ----------
    run
        Where the lungs are; `cut_first` and `cut_last` are towards the feet and the head.
    slices, spacing_mm
        Number of slices and their distance.
    overlap
        What two neighbours share, half of it on either side of the cut.

    Returns
    -------
    list of RegionBounds
        Head-neck, chest, abdomen-pelvis, of which those that the scan ends before are left out, with a warning in the
        others. Where it ends before the lungs do, all are partial.
    """
    shared = round(overlap.in_slices(spacing_mm))
    below, above = shared // 2, shared - shared // 2
    lungs_mm = (run.stop - run.start) * spacing_mm
    cut = run.cut_first or run.cut_last
    found = []
    if not run.cut_last:
        short = (slices - run.stop) * spacing_mm < HEAD_NECK_LEAST * lungs_mm
        found.append(RegionBounds("head_neck", "anatomy", max(0, run.stop - below), slices, cut or short))
    stop = slices if run.cut_last else min(slices, run.stop + above)
    start = 0 if run.cut_first else max(0, run.start - below)
    found.append(RegionBounds("chest", "anatomy", start, stop, cut))
    if not run.cut_first:
        short = run.start * spacing_mm < ABDOMEN_PELVIS_LEAST * lungs_mm
        found.append(RegionBounds("abdomen_pelvis", "anatomy", 0, min(slices, run.start + above), cut or short))
    if cut:
        absent = " and ".join(name for name in REGION_NAMES if name not in {bounds.name for bounds in found})
        found = [replace(bounds, warning=f"the CT ends before the lungs do: no {absent}") for bounds in found]
    return found


def regions_by_fractions(
    slices: int,
    spacing_mm: float | None,
    fractions: tuple[float, ...],
    overlap: Overlap,
    method: str,
    longest_mm: float | None = None,
) -> list[RegionBounds]:
    """Cut a scan into regions of fixed fractions of its length, counted from the head.

    Parameters
    ----------
    slices, spacing_mm
        Number of slices and their distance; None where nobody knows it, and the scan counts as a whole body.
    fractions
        Share of head-neck, chest and abdomen-pelvis; scaled to a sum of 1.
    overlap
        What two neighbours share, half of it on either side of the cut.
    longest_mm
        Fractions are of at most this length (`height_adapted_mm`); what the scan shows below goes with the last region.

    Returns
    -------
    list of RegionBounds
        Head-neck, chest, abdomen-pelvis; or a single ``unknown`` region when the scan is too short to be a whole body
        (< 700 mm), where fractions would put the wrong text to the image.

    Notes
    -----
    arXiv 2509.24739 cuts at about 20 % and 55 % from the head with 20 slices of overlap.
    """
    if spacing_mm is not None and slices * spacing_mm < SHORTEST_WHOLE_BODY_MM:
        return unknown_region(slices, method, "the scan is too short for fractions of a whole body")
    total = sum(fractions)
    half = overlap.in_slices(spacing_mm) / 2
    length = float(slices)
    if longest_mm is not None and spacing_mm is not None:
        length = min(length, longest_mm / spacing_mm)
    found = []
    from_head = 0.0
    for name, fraction in zip(REGION_NAMES, fractions, strict=True):
        top, bottom = from_head * length, (from_head + fraction / total) * length
        stop = slices - max(0, round(top - half))
        start = 0 if name == REGION_NAMES[-1] else max(0, slices - round(bottom + half))
        found.append(RegionBounds(name, method, start, stop))
        from_head += fraction / total
    return found


def height_adapted_mm(height_m: float | None) -> float | None:
    """Return the length that the paper's fractions are of at most, None for a height that is not known.

    arXiv 2509.24739 adapts its fractions to patient height and does not say how. A scan that was set from vertex to
    thigh on the scout is the longer the taller its patient, so a fraction of its length is one of the height. A scan to
    the toes is not: there the fractions count down to the knee, above which every scan of the trunk ends. Where a scan
    begins (hands, vertex, orbits) no record tells, and it moves a cut by more than a further correction would.

    Examples
    --------
    >>> height_adapted_mm(1.6)
    1144.0
    """
    if height_m is None or not _HEIGHT_M[0] <= height_m <= _HEIGHT_M[1]:
        return None
    return round(VERTEX_TO_KNEE * height_m * 1000, 1)


def whole_scan(slices: int) -> list[RegionBounds]:
    """Return the scan as one region."""
    return [RegionBounds("whole", "whole", 0, slices)]


def unknown_region(slices: int, method: str, why: str) -> list[RegionBounds]:
    """Return the scan as one region of which nobody can say where in the body it lies."""
    return [RegionBounds("unknown", method, 0, slices, partial=True, warning=why)]


def flipped(bounds: Sequence[RegionBounds], slices: int) -> list[RegionBounds]:
    """Return regions of a volume whose slice 0 is the one nearest to the head."""
    return [replace(one, start=slices - one.stop, stop=slices - one.start) for one in bounds]


def ascends(affine: Sequence[Sequence[float]] | None) -> bool:
    """Say whether the slices of a volume ascend towards the head; they do where nothing says otherwise.

    Parameters
    ----------
    affine
        4x4, array index ``(z, y, x, 1)`` to LPS mm.

    Raises
    ------
    RecordError
        ``not_axial``: the first axis is not the one along the body, so no range of slices is a region.
    """
    if affine is None:
        return True
    along = [row[0] for row in affine[:3]]
    length = sum(part * part for part in along) ** 0.5
    if not length or abs(along[2]) < _OBLIQUE * length:
        raise RecordError("not_axial", "the slices of the volume are not axial", "convert the study with petct")
    return along[2] > 0
