"""How ``pair`` cuts a study into regions."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Study, Volume
from petct_cli.volume.regions import (
    PAPER_FRACTIONS,
    REGION_NAMES,
    SHORTEST_WHOLE_BODY_MM,
    Overlap,
    RegionBounds,
    ascends,
    flipped,
    height_adapted_mm,
    regions_by_fractions,
    regions_by_lungs,
    unknown_region,
    whole_scan,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RegionRule:
    """How a scan is cut into regions: ``anatomy``, ``paper``, ``fractions:a,b,c`` or ``whole``."""

    method: str = "anatomy"
    overlap: Overlap = field(default_factory=lambda: Overlap(20))

    @classmethod
    def parse(cls, method: str, overlap: str) -> RegionRule:
        """Read ``--regions`` and ``--overlap``.

        Raises
        ------
        UsageError
            ``bad_regions``, ``bad_overlap``.
        """
        try:
            shared = Overlap(float(overlap.removesuffix("mm")), "mm" if overlap.endswith("mm") else "slices")
            if not 0 <= shared.amount < math.inf:
                raise ValueError
        except ValueError:
            raise UsageError("bad_overlap", "--overlap takes slices or mm, such as 20 or 65mm") from None
        rule = cls(method, shared)
        rule.fractions()
        return rule

    def fractions(self) -> tuple[float, ...] | None:
        """Return the share of each region from the head; None where the rule goes by no fractions."""
        if self.method in ("anatomy", "whole"):
            return None
        if self.method == "paper":
            return PAPER_FRACTIONS
        kind, _, numbers = self.method.partition(":")
        try:
            shares = tuple(float(number) for number in numbers.split(","))
        except ValueError:
            shares = ()
        if kind != "fractions" or len(shares) != len(REGION_NAMES) or not all(0 < share < math.inf for share in shares):
            raise UsageError(
                "bad_regions", "--regions takes anatomy, paper, whole, or fractions:A,B,C such as fractions:25,25,50"
            )
        return shares

    def names(self) -> tuple[str, ...]:
        """Return the regions that a whole-body scan yields."""
        return ("whole",) if self.method == "whole" else REGION_NAMES

    def describe(self) -> dict[str, object]:
        """Return what belongs into the options hash."""
        return {"regions": self.method, "overlap": [self.overlap.amount, self.overlap.unit]}

    def reads(self, study: Study) -> list[str]:
        """Return what the regions depend on beside the volumes, for the hash of what a sample was made from."""
        return [str(study.height_m)] if self.method in ("anatomy", "paper") and study.height_m is not None else []

    def cut(self, study: Study, volume: Volume) -> list[RegionBounds]:
        """Return the regions of a study in slices of `volume`, its CT; only ``anatomy`` reads it.

        Raises
        ------
        RecordError
            ``not_axial``, ``ct_unreadable``, ``bad_volume``.
        """
        slices, spacing_mm = volume.shape[0], volume.spacing_mm[0] if volume.spacing_mm else None
        if self.method == "whole":
            return whole_scan(slices)
        upright = ascends(volume.affine)
        found = self._cut_upright(study, volume, slices, spacing_mm, upright)
        for warning in dict.fromkeys(bounds.warning for bounds in found if bounds.warning):
            _log.warning("%s: %s", study.id, warning)
        return found if upright else flipped(found, slices)

    def _cut_upright(
        self, study: Study, volume: Volume, slices: int, spacing_mm: float | None, upright: bool
    ) -> list[RegionBounds]:
        fractions = self.fractions()
        if fractions is not None:
            longest = height_adapted_mm(study.height_m) if self.method == "paper" else None
            return regions_by_fractions(slices, spacing_mm, fractions, self.overlap, self.method, longest)
        return self._by_anatomy(study, volume, slices, spacing_mm, upright)

    def _by_anatomy(
        self, study: Study, volume: Volume, slices: int, spacing_mm: float | None, upright: bool
    ) -> list[RegionBounds]:
        from petct_cli.volume.lungs import find_lungs, read_slabs

        longest = height_adapted_mm(study.height_m)
        if volume.spacing_mm is None or spacing_mm is None:
            found = regions_by_fractions(slices, None, PAPER_FRACTIONS, self.overlap, "paper")
            return [replace(bounds, warning="no geometry: cut by the paper's fractions") for bounds in found]
        depth, height, width = volume.shape
        dz, dy, dx = volume.spacing_mm
        run = find_lungs(read_slabs(volume.path, (depth, height, width)), (depth, height, width), (dz, dy, dx))
        if run is not None:
            run = run if upright else run.flipped(slices)
            return regions_by_lungs(run, slices, spacing_mm, self.overlap)
        if slices * spacing_mm < SHORTEST_WHOLE_BODY_MM:
            return unknown_region(slices, "none", "no lungs are seen and the scan is too short for a whole body")
        found = regions_by_fractions(slices, spacing_mm, PAPER_FRACTIONS, self.overlap, "paper", longest)
        return [replace(bounds, warning="no lungs are seen: cut by the paper's fractions") for bounds in found]
