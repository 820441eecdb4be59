"""What a dataset card counts, study by study and sample by sample, in memory that does not grow with their number."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from petct_cli.core.records import Sample, Study
from petct_cli.dataset.spool import scratch_faults
from petct_cli.report.lesions import extract_lesions
from petct_cli.report.normalise import TOKEN
from petct_cli.report.sites import sides_of

UNKNOWN = "not stated"
_OLDEST = 90
_LONGEST = 5000
_LARGEST_SUV, _LARGEST_MM = 200.0, 500.0
_AGE = re.compile(r"(\d{3})([DWMY])")
_YEAR = re.compile(r"(19|20)\d\d")
COLUMNS = ("year", "sex", "age", "site")


class CardCounts:
    """Counts for one card.

    Parameters
    ----------
    path
        A file of its own in a folder that goes away with the run: who is a patient of what is counted there.

    Attributes
    ----------
    samples, failed
        Finished samples by (split, region, task), failed ones by (stage, code, task).
    lesions
        Lesions by site of the finished report samples: true ones where they are known, else as the reports state them.
    suv_tenths, millimetres
        Their SUVmax in tenths and their sizes, each value with its number.
    words
        Lengths of the reports in syllables and numbers, by region.
    kinds, manners
        Questions by (kind, answer where yes or no), comparisons by manner.
    branches
        How SUV came about, by study.
    units
        What the PET is in, by study.
    """

    def __init__(self, path: Path) -> None:
        self.samples: Counter[tuple[str, str, str]] = Counter()
        self.failed: Counter[tuple[str, str, str]] = Counter()
        self.lesions: Counter[str] = Counter()
        self.lesion_sources: Counter[str] = Counter()
        self.suv_tenths: Counter[int] = Counter()
        self.millimetres: Counter[int] = Counter()
        self.words: dict[str, Counter[int]] = {}
        self.kinds: Counter[tuple[str, str]] = Counter()
        self.manners: Counter[str] = Counter()
        self.branches: Counter[str] = Counter()
        self.units: Counter[str] = Counter()
        # Studies are seen where they are read, which under --jobs is another thread.
        self._lock = Lock()
        with scratch_faults():
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._make_tables()

    def _make_tables(self) -> None:
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "CREATE TABLE study (id TEXT PRIMARY KEY, patient TEXT, year TEXT, sex TEXT, age TEXT, site TEXT)",
            "CREATE TABLE placed (study TEXT PRIMARY KEY, patient TEXT, split TEXT)",
            "CREATE TABLE failed (study TEXT, stage TEXT, code TEXT, PRIMARY KEY (study, stage, code))",
        ):
            self._database.execute(statement)

    def see_study(self, study: Study) -> None:
        """Count one study, whether or not it comes to samples."""
        row = (study.id, study.patient or study.id, year_of(study), sex_of(study), age_band(study.age), site_of(study))
        added = self._add("study", *row)
        if added and study.pet is not None:
            self.units[study.pet.unit] += 1
            if study.pet.suv is not None:
                self.branches[study.pet.suv.branch] += 1

    def see_sample(self, sample: Sample) -> None:
        """Count one sample as it is written."""
        region = sample.region.name if sample.region is not None else "unknown"
        if sample.error is not None:
            self.failed[sample.error.stage, sample.error.code, sample.task] += 1
            self._add("failed", sample.study, sample.error.stage, sample.error.code)
            return
        self.samples[str(sample.split), region, sample.task] += 1
        self._add("placed", sample.study, sample.patient, str(sample.split))
        if sample.task == "vqa" and sample.question is not None:
            answer = sample.question["answer"] if sample.question["kind"] == "yes_no" else ""
            self.kinds[sample.question["kind"], answer] += 1
        elif sample.task == "compare" and sample.other is not None:
            self.manners[sample.other["manner"]] += 1
        elif sample.task == "report" and sample.reference is not None and sample.parent is None:
            length = min(len(TOKEN.findall(sample.reference)), _LONGEST)
            self.words.setdefault(region, Counter())[length] += 1
            self._see_lesions(sample, sample.reference)

    def _see_lesions(self, sample: Sample, text: str) -> None:
        known: Sequence[Any] = sample.lesions if sample.lesions is not None else extract_lesions(text)
        for lesion in known:
            if sample.lesions is None and not lesion.avid:
                continue
            self.lesion_sources["truth" if sample.lesions is not None else "report"] += 1
            self.lesions[lesion.site or UNKNOWN] += len(sides_of(lesion.site, lesion.side)) if lesion.site else 1
            if lesion.suv_max is not None:
                self.suv_tenths[round(min(lesion.suv_max, _LARGEST_SUV) * 10)] += 1
            if lesion.size_mm is not None:
                self.millimetres[round(min(lesion.size_mm, _LARGEST_MM))] += 1

    def _add(self, table: str, *row: str) -> bool:
        """Keep a row unless its key is there; say whether it was new."""
        places = ", ".join("?" * len(row))
        with self._lock, scratch_faults():
            return self._database.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row).rowcount > 0  # noqa: S608

    def totals(self) -> tuple[int, int]:
        """Return the numbers of studies and patients that were read."""
        row = self._database.execute("SELECT count(*), count(DISTINCT patient) FROM study").fetchone()
        return int(row[0]), int(row[1])

    def patients_by(self, *columns: str) -> dict[tuple[str, ...], int]:
        """Return the number of patients by one or more of `COLUMNS`."""
        assert set(columns) <= set(COLUMNS)
        names = ", ".join(columns)
        query = f"SELECT {names}, count(DISTINCT patient) FROM study GROUP BY {names} ORDER BY {names}"  # noqa: S608
        return {tuple(row[:-1]): row[-1] for row in self._database.execute(query)}

    def by_split(self) -> dict[str, tuple[int, int]]:
        """Return the numbers of studies and patients with a finished sample, by split."""
        query = "SELECT split, count(*), count(DISTINCT patient) FROM placed GROUP BY split"
        return {split: (studies, patients) for split, studies, patients in self._database.execute(query)}

    def excluded(self) -> list[tuple[str, str, int]]:
        """Return (stage, code, number of studies) of what failed, the most frequent first."""
        query = "SELECT stage, code, count(*) FROM failed GROUP BY stage, code ORDER BY 3 DESC, stage, code"
        return [(stage, code, number) for stage, code, number in self._database.execute(query)]


def year_of(study: Study) -> str:
    """Return the year of the period, or of a date that was not shifted."""
    known = study.period or (study.study_date if study.dates in (None, "full") else None) or ""
    match = _YEAR.match(known)
    return match.group() if match else UNKNOWN


def sex_of(study: Study) -> str:
    """Return M, F or O."""
    return study.sex if study.sex in ("M", "F", "O") else UNKNOWN


def age_band(age: str | None) -> str:
    """Return ten years of age of a DICOM age string.

    >>> age_band("057Y"), age_band("008M"), age_band("090Y"), age_band(None)
    ('50-59', '00-09', '90+', 'not stated')
    """
    match = _AGE.fullmatch(age or "")
    if match is None:
        return UNKNOWN
    years = int(match[1]) if match[2] == "Y" else int(match[1]) // {"M": 12, "W": 52, "D": 365}[match[2]]
    first = years // 10 * 10
    return "90+" if years >= _OLDEST else f"{first:02}-{first + 9:02}"


def site_of(study: Study) -> str:
    """Return the hospital, where the record tells one."""
    site = (study.model_extra or {}).get("site")
    return site if isinstance(site, str) and site.strip() else UNKNOWN


def quantile(counts: Counter[int], share: float) -> int:
    """Return the smallest value that at least `share` of the counted are not above.

    >>> quantile(Counter({1: 1, 2: 2, 9: 1}), 0.5)
    2
    """
    wanted, seen = share * counts.total(), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    raise ValueError("nothing was counted")
