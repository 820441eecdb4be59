"""What a run of `anonymize` has to say at its end: reports that matched no study, studies without, studies twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from petct_cli.core.records import Record, Study
from petct_cli.dataset.report_files import load_reports

if TYPE_CHECKING:
    from petct_cli.stages.anonymize import Anonymize


class ReportsUsed:
    """Watches the records of a run as they are written and says at its end which reports nobody got.

    Studies are worked on in other processes and may be finished from an earlier run: what they got is read from the
    records, by a fingerprint of the report under the key.
    """

    def __init__(self, stage: Anonymize) -> None:
        self._stage = stage
        self._used: set[str] = set()
        self._seen: set[str] = set()
        self._without = self._failed = self._again = self._strange = 0

    def see(self, record: Record) -> None:
        """Take note of the report that a written record got."""
        if record.error is not None:
            self._failed += 1
        elif isinstance(record, Study) and record.deid is not None:
            self._again += record.id in self._seen
            self._seen.add(record.id)
            if record.deid.report_source is not None:
                self._used.add(record.deid.report_source.fingerprint)
            self._without += record.deid.counts.get("report_missing", 0)
            self._strange += "report_not_understood" in record.deid.counts

    def notes(self) -> Iterator[str]:
        """Yield what a person should know: counts only. The private log, if there is one, gets the places."""
        if self._again:
            yield f"{self._again} records were of a study that came before: the last one of each stands [study_twice]"
        if self._strange:
            yield f"{self._strange} reports have parts under unknown names [report_not_understood]"
        if self._stage.reports is None:
            return
        total, unused, faults = 0, 0, Counter[str]()
        for entry in load_reports(self._stage.reports, self._stage.columns):
            total += 1
            if entry.fault:
                faults[entry.fault] += 1
            if entry.fault or self._stage.key.fingerprint(entry.identity) not in self._used:
                unused += 1
                self._stage.note_report(entry.fault or "report_unmatched", entry.place)
        for fault, number in sorted(faults.items()):
            yield f"{number} of {total} reports cannot be read [{fault}]"
        if unused > faults.total():
            also = f" ({self._failed} records failed, theirs among them)" if self._failed else ""
            yield f"{unused - faults.total()} of {total} reports matched no study of this run{also} [report_unmatched]"
        if self._without:
            yield f"{self._without} studies had no report [report_missing]"
