"""Where head-neck, chest and abdomen-pelvis lie in a scan."""

from __future__ import annotations

from dataclasses import dataclass

from petct_cli.core.errors import RecordError

REGION_NAMES = ("head_neck", "chest", "abdomen_pelvis")
PAPER_FRACTIONS = (0.20, 0.35, 0.45)
SHORTEST_WHOLE_BODY_MM = 700.0


@dataclass(frozen=True)
class RegionBounds:
    """One region of a scan as a half-open range of slice indices, z ascending towards the head."""

    name: str
    method: str
    start: int
    stop: int
    partial: bool = False


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


def regions_by_fractions(
    slices: int, spacing_mm: float | None, fractions: tuple[float, ...], overlap: Overlap, method: str
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
        return [RegionBounds("unknown", method, 0, slices, partial=True)]
    total = sum(fractions)
    half = overlap.in_slices(spacing_mm) / 2
    found = []
    from_head = 0.0
    for name, fraction in zip(REGION_NAMES, fractions, strict=True):
        top, bottom = from_head * slices, (from_head + fraction / total) * slices
        stop = slices - max(0, round(top - half))
        start = max(0, slices - round(bottom + half))
        found.append(RegionBounds(name, method, start, stop))
        from_head += fraction / total
    return found


def whole_scan(slices: int) -> list[RegionBounds]:
    """Return the scan as one region."""
    return [RegionBounds("whole", "whole", 0, slices)]
