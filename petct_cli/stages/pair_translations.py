"""Reports in another language, kept beside the one that samples are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Record, Sample, Study
from petct_cli.dataset.samples import region_text
from petct_cli.report.json_text import read_json
from petct_cli.report.sections import parse_report
from petct_cli.stages.pair_reports import ReportSource

Translations = Mapping[str, Mapping[str, str]]


def study_translations(study: Study, reports: ReportSource | None) -> Translations:
    """Return a study's report in other languages, by language and section: of the record, else as it was matched.

    What is not there, or cannot be read, is left out: samples are made of the report itself.
    """
    if study.report is None:
        try:
            match = reports.match(study) if reports is not None else None
        except RecordError:
            return {}
        return parse_report(match.entry.document).translations if match is not None else {}
    told = study.report.translations
    if told is not None:
        return {lang: other.sections for lang, other in sorted(told.items()) if other.sections}
    if study.report.sections or study.report.path is None:
        return {}
    try:
        return parse_report(read_json(Path(study.report.path).read_text("utf-8"))).translations
    except (OSError, ValueError, AttributeError):
        return {}


def with_translations(sample: Record, region: str, translations: Translations) -> Record:
    """Return a sample of a report with what the report says of its region in other languages (``translations``)."""
    if not isinstance(sample, Sample) or sample.task != "report":
        return sample
    found = {lang: text for lang, sections in translations.items() if (text := region_text(region, sections))}
    return sample.with_fields(translations=found) if found else sample
