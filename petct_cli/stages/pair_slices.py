"""``pair --slices``: studies to the manifest of their paired slices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from petct_cli.core.gather import Gather
from petct_cli.core.jsonl import Lines
from petct_cli.core.provenance import entry
from petct_cli.core.records import Record, Study
from petct_cli.dataset.placement import DuplicateRule
from petct_cli.dataset.samples import check_volumes
from petct_cli.dataset.slices import slice_lines
from petct_cli.dataset.split_rules import AnyRule
from petct_cli.dataset.splits import SplitRule
from petct_cli.stages.pair import study_sections
from petct_cli.stages.pair_plan import placed_split
from petct_cli.stages.pair_regions import RegionRule
from petct_cli.stages.pair_reports import ReportSource


@dataclass(frozen=True)
class PairSlices:
    """List the slices of a study's CT and PET, one ``slice`` record a pair.

    Parameters
    ----------
    regions
        How to cut the scan: a slice names the regions that it lies in. Only ``anatomy`` reads voxels.
    split
        How patients come to splits. A study that was placed (`pair_plan`) has its split already.
    duplicates
        What was done about patients whose reports say the same, when studies were placed.
    reports
        Reports for studies whose record has none; they only place a study: one without a report has slices.
    """

    regions: RegionRule = field(default_factory=lambda: RegionRule("whole"))
    split: AnyRule = field(default_factory=SplitRule)
    duplicates: DuplicateRule = field(default_factory=DuplicateRule)
    reports: ReportSource | None = None

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
        options = {
            **self.regions.describe(),
            "split": self.split.describe(),
            "duplicates": self.duplicates.describe(),
            "task": "slices",
        }
        stamp = entry(self.name, self.version, options, [ct.sha256, pet.sha256, *self.regions.reads(study)])
        split = placed_split(study, self.split)
        return [Lines(tuple(slice_lines(study, (ct, pet), cut, split, [*study.provenance, stamp])))]

    def sections(self, study: Study) -> dict[str, str]:
        """Return what the study's report says, by section (`study_sections`)."""
        return study_sections(study, self.reports)

    def about(self) -> dict[str, str]:
        """Return nothing: no card goes with slices."""
        return {}

    def gather(self, folder: Path) -> list[Gather]:
        """Return nothing: slices are finished as they are."""
        return []
