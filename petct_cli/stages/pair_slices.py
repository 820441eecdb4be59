"""``pair --slices``: studies to the manifest of their paired slices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from petct_cli.core.jsonl import Lines
from petct_cli.core.provenance import entry
from petct_cli.core.records import Record, Study
from petct_cli.dataset.samples import check_volumes
from petct_cli.dataset.slices import slice_lines
from petct_cli.dataset.splits import SplitRule
from petct_cli.stages.pair_regions import RegionRule


@dataclass(frozen=True)
class PairSlices:
    """List the slices of a study's CT and PET, one ``slice`` record a pair.

    Parameters
    ----------
    regions
        How to cut the scan: a slice names the regions that it lies in. Only ``anatomy`` reads voxels.
    split
        How patients come to splits.

    Text takes no part: a study without a report has slices.
    """

    regions: RegionRule = field(default_factory=lambda: RegionRule("whole"))
    split: SplitRule = field(default_factory=SplitRule)

    name: ClassVar[str] = "pair"
    version: ClassVar[str] = "2"
    consumes: ClassVar[tuple[type[Record], ...]] = (Study,)

    def __call__(self, study: Study) -> Iterable[Lines]:
        """Return all slices of `study`.

        Raises
        ------
        RecordError
            As `check_volumes` and `RegionRule.cut`.
        """
        ct, pet = check_volumes(study)
        cut = self.regions.cut(study, ct)
        options = {**self.regions.describe(), "split": self.split.describe(), "task": "slices"}
        stamp = entry(self.name, self.version, options, [ct.sha256, pet.sha256, *self.regions.reads(study)])
        split = self.split.split_of(study.patient or study.id)
        return [Lines(tuple(slice_lines(study, (ct, pet), cut, split, [*study.provenance, stamp])))]
