"""The public ViMed-PET release (arXiv 2509.24739): ``metadata.csv`` and what it names, as study records.

Volumes are ``.npz`` (key ``data``) or ``.npy``, ``(D, H, W)``, slice 0 the head: CT in HU, PET in raw stored values
without rescale or SUV; spacing, origin and orientation are nowhere. Patient numbers repeat across years, so the path
is the identity; there is one study per patient.
"""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from petct_cli.core.errors import InputError, InputFault
from petct_cli.core.hashing import sha256_bytes
from petct_cli.core.records import ReportRef, Series, Study, Translation
from petct_cli.report.json_text import read_json
from petct_cli.report.sections import FINDING_SECTIONS, FINDINGS, parse_report

METADATA = "metadata.csv"
_NEEDED = frozenset({"pet_path", "ct_path"})
_ORDINARY = re.compile(r"PETCT(?P<year>\d{4})/THANG (?P<month>\d{1,2})/PET/(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*)")
_SUFFIXES = (".npz", ".npy")
_HEIGHT_M, _WEIGHT_KG = (0.3, 2.5), (1.0, 500.0)


def release_metadata(path: Path) -> Path | None:
    """Return the index of the release that lies in the folder `path`, or is `path`; None for everything else."""
    index = path / METADATA if path.is_dir() else path
    if index.name != METADATA or not index.is_file():
        return None
    try:
        with index.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    return index if set(header) >= _NEEDED else None


def release_studies(index: Path) -> Iterator[Study | InputFault]:
    """Yield a record per row of the index, in its order, and a fault per row that is none.

    All reports are read first: of equal ones each record names the others (``report.duplicates``), because the official
    splits put some of them on both sides.

    Raises
    ------
    InputError
        ``vimed_metadata``: the index cannot be read to its end.
    """
    found: list[InputFault | _Row] = []
    by_text: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for number, fields in enumerate(_rows(index), start=2):
        fault = _fault_of(fields)
        identity = "" if fault else study_identity(fields["pet_path"])
        if not fault and identity in seen:
            fault = ("vimed_duplicate_row", "this PET was named before")
        if fault:
            found.append(InputFault(f"{index}:{number}", *fault))
            continue
        seen.add(identity)
        english = _english(index.parent, fields.get("report_en_path", ""))
        report, text = _report(index.parent, fields, english)
        found.append(
            _Row(identity, fields, report, text, bool(fields.get("report_en_path", "").strip()) and not english)
        )
        if text:
            by_text[text].append(identity)
    for row in found:
        if isinstance(row, InputFault):
            yield row
        else:
            yield _study(index.parent, row, [other for other in by_text[row.text] if other != row.identity])


@dataclass(frozen=True)
class _Row:
    """One row of the index, and the report that it names: as found, and in one text for comparison.

    An English report that the row names and that is not there, or cannot be read, is missing.
    """

    identity: str
    fields: Mapping[str, str]
    report: ReportRef | None
    text: str
    is_english_missing: bool


def study_identity(pet_path: str) -> str:
    """Return the id of a study by the path of its PET, whatever the suffix: year, month and name, or a hash of it.

    Examples
    --------
    >>> study_identity("PETCT2017/THANG 8/PET/day_1_patient_0.npz")
    '2017-08-day_1_patient_0'
    """
    bare = str(PurePosixPath(_posix(pet_path)).with_suffix(""))
    match = _ORDINARY.fullmatch(bare)
    if match is None:
        return sha256_bytes(bare.encode())[:16]
    return f"{match['year']}-{int(match['month']):02d}-{match['name']}"


def _rows(index: Path) -> Iterator[dict[str, str]]:
    try:
        with index.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, restval=""):
                yield {str(key): value for key, value in row.items() if isinstance(value, str)}
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError("vimed_metadata", f"{index}: cannot be read to its end") from None


def _fault_of(row: Mapping[str, str]) -> tuple[str, str] | None:
    for key in sorted(_NEEDED):
        if not row.get(key):
            return "vimed_row", f"the row has no {key}"
    for key in ("ct_path", "pet_path", "report_path"):
        if not _is_below(row.get(key, "")):
            return "vimed_unsafe_path", f"{key} leads out of the release"
    return None


def _is_below(name: str) -> bool:
    path = PurePosixPath(_posix(name))
    return not path.is_absolute() and ".." not in path.parts and ":" not in (path.parts or ("",))[0]


def _posix(name: str) -> str:
    return name.strip().replace("\\", "/")


def _study(root: Path, known: _Row, duplicates: list[str]) -> Study:
    row, report = known.fields, known.report
    fields: dict[str, Any] = {"id": known.identity, "patient": known.identity, "dates": "none"}
    left_out = []
    match = re.search(r"PETCT(\d{4})/THANG (\d{1,2})/", _posix(row["pet_path"]))
    if match is not None:
        fields["period"] = f"{match[1]}-{int(match[2]):02d}"
    elif re.fullmatch(r"\d{4}", row.get("year", "").strip()):
        fields["period"] = row["year"].strip()
    sex = row.get("sex", "").strip().upper()
    if sex in ("M", "F"):
        fields["sex"] = sex
    else:
        left_out.append("sex")
    for name, column, limits in (("height_m", "height", _HEIGHT_M), ("weight_kg", "weight", _WEIGHT_KG)):
        value = _number(row.get(column, ""))
        if value is not None and limits[0] <= value <= limits[1]:
            fields[name] = value
        else:
            left_out.append(column)
    if report is not None:
        fields["report"] = report.model_copy(update={"duplicates": duplicates} if duplicates else {})
    else:
        left_out.append("report")
    if known.is_english_missing:
        left_out.append("report_en")
    fields["series"] = [_series(root, "CT", row["ct_path"]), _series(root, "PT", row["pet_path"])]
    fields["release"] = {"name": "ViMed-PET"} | ({"left_out": left_out} if left_out else {})
    return Study.model_validate(fields)


def _series(root: Path, modality: str, named: str) -> Series:
    """Name the volume that is there: some mirrors hold ``.npy`` where the index says ``.npz``."""
    path = root / _posix(named)
    choices = [path, *(path.with_suffix(suffix) for suffix in _SUFFIXES)]
    found = next((choice for choice in choices if choice.is_file()), path)
    unit = "HU" if modality == "CT" else "stored"
    fields = {"modality": modality, "dir": str(found.parent), "files": [found.name], "unit": unit}
    return Series.model_validate(fields)


def _report(root: Path, row: Mapping[str, str], english: Mapping[str, Translation]) -> tuple[ReportRef | None, str]:
    """Return a row's report, and its text in one piece for comparison; (None, "") where there is none to read.

    What it lacks (some have no impression, one has no findings) is listed under ``lacks``; ``not_understood`` counts
    parts under keys that name nothing known.
    """
    named = row.get("report_path", "")
    if not named or not _is_below(named):
        return None, ""
    path = root / _posix(named)
    try:
        data = path.read_bytes()
        document = read_json(data.decode("utf-8-sig"))
    except (OSError, ValueError):
        return None, ""
    if not isinstance(document, dict):
        return None, ""
    parsed = parse_report(document)
    sections = parsed.sections
    lacks = [] if "impression" in sections else ["impression"]
    if not any(name in sections for name in (*FINDING_SECTIONS, FINDINGS)):
        lacks.insert(0, "findings")
    extra: dict[str, Any] = {"lacks": lacks} if lacks else {}
    if parsed.unknown:
        extra["not_understood"] = parsed.unknown
    translations = {lang: Translation(sections=own) for lang, own in parsed.translations.items()}
    translations |= english
    if translations:
        extra["translations"] = translations
    report = ReportRef(path=str(path), sha256=sha256_bytes(data), lang=parsed.lang, sections=sections, **extra)
    return report, "\n".join(f"{name} {' '.join(text.split())}" for name, text in sections.items())


def _english(root: Path, named: str) -> dict[str, Translation]:
    """Return the English report that a row names; none when it is not there, leads out or has no section."""
    if not named.strip() or not _is_below(named):
        return {}
    path = root / _posix(named)
    try:
        data = path.read_bytes()
        document = read_json(data.decode("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    sections = parse_report(document).sections if isinstance(document, dict) else {}
    return {"en": Translation(path=str(path), sha256=sha256_bytes(data), sections=sections)} if sections else {}


def _number(text: str) -> float | None:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
