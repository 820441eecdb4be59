"""``pair``: studies to samples, one per region and task, split by patient."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import orjson

from petct_cli.core.errors import RecordError
from petct_cli.core.gather import Gather
from petct_cli.core.hashing import sha256_json
from petct_cli.core.provenance import entry, stamped
from petct_cli.core.records import ErrorInfo, Lesion, Record, Sample, Study, Task
from petct_cli.dataset.compare import Compare
from petct_cli.dataset.pictures import draw_pictures
from petct_cli.dataset.placement import DuplicateRule
from petct_cli.dataset.samples import SUV_UNIT, check_volumes, identity, region_text
from petct_cli.dataset.split_rules import AnyRule, TimeRule
from petct_cli.dataset.splits import SplitRule
from petct_cli.dataset.tasks import TaskRule, make_samples
from petct_cli.dataset.vqa import Balance
from petct_cli.report.json_text import read_json
from petct_cli.report.sections import parse_report
from petct_cli.stages.pair_plan import placed_split
from petct_cli.stages.pair_preview import write_preview
from petct_cli.stages.pair_regions import RegionRule
from petct_cli.stages.pair_reports import ReportSource
from petct_cli.stages.pair_translations import study_translations, with_translations

_log = logging.getLogger(__name__)


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
    preview
        Folder that gets a picture of each study with its regions drawn in.
    tasks
        What is asked of each region. Yes/no questions and sides of comparisons are not finished samples: what `gather`
        returns takes them out of the stream and gives those that stay, and the comparisons, after the last record.
    pictures
        Folder of an export, which gets pictures of every region.

    A study that failed, here or before, still yields a failed sample per region and task: a benchmark counts it.
    """

    regions: RegionRule = field(default_factory=RegionRule)
    split: AnyRule = field(default_factory=SplitRule)
    duplicates: DuplicateRule = field(default_factory=DuplicateRule)
    reports: ReportSource | None = None
    preview: Path | None = None
    tasks: TaskRule = field(default_factory=TaskRule)
    pictures: Path | None = None

    name: ClassVar[str] = "pair"
    version: ClassVar[str] = "4"
    consumes: ClassVar[tuple[type[Record], ...]] = (Study,)

    def __call__(self, study: Study) -> Iterable[Record]:
        """Yield the samples of `study`; a region without findings becomes a failed sample."""
        try:
            split = placed_split(study, self.split)
            ct, pet = check_volumes(study)
            sections = self.sections(study)
            lesions = read_lesions(study)
            cut = self.regions.cut(study, ct)
            if self.pictures is not None:
                draw_pictures(self.pictures, study, cut)
        except RecordError as error:
            yield from self._failed(study, ErrorInfo(stage=self.name, code=error.code, message=str(error)))
            return
        if self.tasks.names != ("report",) and pet.unit != SUV_UNIT:
            _log.warning("%s: PET in %s: no SUVmax is asked or compared", study.id, pet.unit)
        if self.preview is not None:
            write_preview(self.preview, study, ct, pet, cut)
        translations = study_translations(study, self.reports)
        inputs = [ct.sha256, pet.sha256, sha256_json(sections), *self.regions.reads(study)]
        inputs += [sha256_json(translations)] if translations else []
        for bounds in cut:
            for task in self.tasks.names:
                stamp = entry(self.name, self.version, self._options(task), inputs)
                try:
                    for made in make_samples(task, study, bounds, split, sections, lesions):
                        told = with_translations(made, bounds.name, translations)
                        yield told if task == "compare" else stamped(told, stamp)
                except RecordError as error:
                    base = Sample.model_validate(identity(study, bounds.name, split, task))
                    yield base.failed(self.name, error.code, str(error))

    def fan_out_failed(self, study: Study) -> Iterable[Record]:
        """Yield the failed samples of a study that failed upstream."""
        assert study.error is not None
        return self._failed(study, study.error)

    def _failed(self, study: Study, error: ErrorInfo) -> Iterable[Record]:
        try:
            split = placed_split(study, self.split)
        except RecordError:
            split = None
        try:
            sections = self.sections(study)
        except RecordError:
            sections = {}
        for name in self.regions.names():
            for task in self.tasks.names:
                fields = identity(study, name, split, task)
                reference = region_text(name, sections) if task == "report" else ""
                if reference:
                    fields["reference"] = reference
                yield Sample.model_validate(fields).with_fields(error=error)

    def sections(self, study: Study) -> dict[str, str]:
        """Return what the study's report says, by section.

        Raises
        ------
        RecordError
            ``no_report``, ``report_unreadable``, ``report_ambiguous``, ``report_near_miss``, ``report_shared``.
        """
        return study_sections(study, self.reports)

    def gather(self, folder: Path) -> list[Gather]:
        """Return what turns the stream of `__call__` into finished samples, one after the other.

        Parameters
        ----------
        folder
            Where records wait; it goes away with the run.
        """
        found: list[Gather] = []
        if "vqa" in self.tasks.names:
            found.append(Balance(folder))
        if "compare" in self.tasks.names:
            found.append(Compare(folder, self.tasks.pairs, self.name, self.version, self._options("compare")))
        return found

    def about(self) -> dict[str, str]:
        """Return how samples are made, for people."""
        overlap = self.regions.overlap
        return {
            "regions": self.regions.method,
            "overlap": f"{overlap.amount:g} {overlap.unit}",
            "split": told_split(self.split),
            "tasks": ", ".join(self.tasks.names),
        }

    def _options(self, task: Task = "report") -> dict[str, object]:
        return {
            **self.regions.describe(),
            "split": self.split.describe(),
            "duplicates": self.duplicates.describe(),
            **self.tasks.describe(task),
        }


def told_split(rule: AnyRule) -> str:
    """Return how patients came to splits, for people."""
    if isinstance(rule, TimeRule):
        return "time (the months of arXiv 2509.24739)"
    return ", ".join(f"{name} {value}" for name, value in rule.describe().items())


def study_sections(study: Study, reports: ReportSource | None) -> dict[str, str]:
    """Return what a study's report says, by section: of the record, else of the one that `reports` holds for it.

    Raises
    ------
    RecordError
        ``no_report``, ``report_unreadable``, ``report_ambiguous``, ``report_near_miss``, ``report_shared``.
    """
    if study.placement is not None and study.placement.report_fault is not None:
        raise RecordError(*study.placement.report_fault)
    if study.report is None and reports is not None:
        return matched_sections(study, reports)
    return read_sections(study)


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
        value = read_json(Path(study.report.path).read_text("utf-8"))
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
