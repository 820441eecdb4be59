"""``pair``: studies to samples, one per region, split by patient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import orjson

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.provenance import entry
from petct_cli.core.records import ErrorInfo, Lesion, Record, Sample, Study
from petct_cli.dataset.placement import DuplicateRule
from petct_cli.dataset.samples import check_volumes, identity, make_report_sample, region_text
from petct_cli.dataset.split_rules import AnyRule
from petct_cli.dataset.splits import SplitRule
from petct_cli.report.sections import parse_report
from petct_cli.stages.pair_reports import ReportSource
from petct_cli.volume.regions import (
    PAPER_FRACTIONS,
    REGION_NAMES,
    Overlap,
    RegionBounds,
    regions_by_fractions,
    whole_scan,
)


@dataclass(frozen=True)
class RegionRule:
    """How a scan is cut into regions: ``paper``, ``fractions:a,b,c`` or ``whole``."""

    method: str = "paper"
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
        """Return the share of each region from the head, None for the whole scan."""
        if self.method == "whole":
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
                "bad_regions", "--regions takes paper, whole, or fractions:A,B,C such as fractions:25,25,50"
            )
        return shares

    def names(self) -> tuple[str, ...]:
        """Return the regions that a whole-body scan yields."""
        return ("whole",) if self.method == "whole" else REGION_NAMES

    def cut(self, slices: int, spacing_mm: float) -> list[RegionBounds]:
        """Return the regions of a scan."""
        fractions = self.fractions()
        if fractions is None:
            return whole_scan(slices)
        return regions_by_fractions(slices, spacing_mm, fractions, self.overlap, self.method)


@dataclass(frozen=True)
class Pair:
    """Turn a study with volumes and a report into its samples.

    Parameters
    ----------
    regions
        How to cut the scan.
    split
        How patients come to splits. A study that was placed (`pair_plan`) has its split already.
    duplicates
        What was done about patients whose reports say the same, when studies were placed.
    reports
        Reports for studies whose record has none.

    A study that failed, here or before, still yields a failed sample per region, so that a benchmark counts it.
    """

    regions: RegionRule = field(default_factory=RegionRule)
    split: AnyRule = field(default_factory=SplitRule)
    duplicates: DuplicateRule = field(default_factory=DuplicateRule)
    reports: ReportSource | None = None

    name: ClassVar[str] = "pair"
    version: ClassVar[str] = "2"
    consumes: ClassVar[tuple[type[Record], ...]] = (Study,)

    def __call__(self, study: Study) -> Iterable[Record]:
        """Yield the samples of `study`; a region without findings becomes a failed sample."""
        try:
            split = self._split(study)
            _, pet = check_volumes(study)
            sections = self.sections(study)
            lesions = read_lesions(study)
        except RecordError as error:
            yield from self._failed(study, ErrorInfo(stage=self.name, code=error.code, message=str(error)))
            return
        inputs = [study.ct.sha256 if study.ct else "", pet.sha256, sha256_json(sections)]
        stamp = entry(self.name, self.version, self._options(), inputs)
        for bounds in self.regions.cut(pet.shape[0], pet.spacing_mm[0]):
            try:
                sample = make_report_sample(study, bounds, split, sections, lesions)
            except RecordError as error:
                base = Sample.model_validate(identity(study, bounds.name, split))
                yield base.failed(self.name, error.code, str(error))
                continue
            yield sample.with_fields(provenance=[*sample.provenance, stamp])

    def fan_out_failed(self, study: Study) -> Iterable[Record]:
        """Yield the failed samples of a study that failed upstream."""
        assert study.error is not None
        return self._failed(study, study.error)

    def _failed(self, study: Study, error: ErrorInfo) -> Iterable[Record]:
        try:
            split = self._split(study)
        except RecordError:
            split = None
        try:
            sections = self.sections(study)
        except RecordError:
            sections = {}
        for name in self.regions.names():
            fields = identity(study, name, split)
            reference = region_text(name, sections)
            if reference:
                fields["reference"] = reference
            yield Sample.model_validate(fields).with_fields(error=error)

    def _split(self, study: Study) -> str | None:
        if study.placement is None:
            split = self.split.own(study)
            if split is None:
                raise RecordError("split_needs_all", "this split is known only after all studies were seen")
            return split
        if study.placement.fault is not None:
            raise RecordError(*study.placement.fault)
        return study.placement.split

    def sections(self, study: Study) -> dict[str, str]:
        """Return what the study's report says, by section.

        Raises
        ------
        RecordError
            ``no_report``, ``report_unreadable``, ``report_ambiguous``, ``report_near_miss``, ``report_shared``.
        """
        if study.placement is not None and study.placement.report_fault is not None:
            raise RecordError(*study.placement.report_fault)
        if study.report is None and self.reports is not None:
            return matched_sections(study, self.reports)
        return read_sections(study)

    def _options(self) -> dict[str, object]:
        overlap = self.regions.overlap
        return {
            "regions": self.regions.method,
            "overlap": [overlap.amount, overlap.unit],
            "split": self.split.describe(),
            "duplicates": self.duplicates.describe(),
            "task": "report",
        }


def matched_sections(study: Study, source: ReportSource) -> dict[str, str]:
    """Return the report that `source` holds for `study`, by section.

    Raises
    ------
    RecordError
        ``no_report``, ``report_ambiguous``, ``report_near_miss``.
    """
    match = source.match(study)
    if match is None:
        raise RecordError("no_report", f"none of {source.index().size} reports matches the study")
    return _parsed(match.entry.document)


def _parsed(document: Mapping[str, Any]) -> dict[str, str]:
    sections = parse_report(document).sections
    if not sections:
        raise RecordError("no_report", "no section of the report was understood")
    return dict(sections)


def read_sections(study: Study) -> dict[str, str]:
    """Return the report of `study` by section: from the record, else from the file that it names.

    Raises
    ------
    RecordError
        ``no_report``, ``report_unreadable``.
    """
    if study.report is None:
        raise RecordError("no_report", "the study has no report")
    if study.report.sections:
        return dict(study.report.sections)
    if study.report.path is None:
        raise RecordError("no_report", "the study's report has neither text nor a path")
    try:
        value = orjson.loads(Path(study.report.path).read_bytes())
    except OSError as error:
        raise RecordError("report_unreadable", f"cannot read the report: {error.strerror}") from None
    except ValueError:  # not JSON, or no path at all
        raise RecordError("report_unreadable", "the report is not JSON") from None
    if not isinstance(value, dict):
        raise RecordError("report_unreadable", "the report is not a JSON object")
    return _parsed(value)


def read_lesions(study: Study) -> list[Lesion] | None:
    """Return the true lesions of a phantom, None for a study whose truth is not known.

    Raises
    ------
    RecordError
        ``truth_unreadable``.
    """
    if study.truth is None:
        return None
    try:
        value = orjson.loads(Path(study.truth.lesions).read_bytes())
        return [Lesion.model_validate(lesion) for lesion in value["lesions"]]
    except OSError as error:
        raise RecordError("truth_unreadable", f"cannot read the true lesions: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):  # ValidationError and JSONDecodeError are ValueErrors
        raise RecordError("truth_unreadable", "the true lesions are not in the form of lesions.json") from None
