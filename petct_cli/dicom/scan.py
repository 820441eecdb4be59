"""Folders as hospitals deliver them, to studies and series: any names, any nesting, other files in between.

Only the identifying head of each file is read. Grouping is by Study and Series Instance UID, never by folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import InputError, RecordError
from petct_cli.core.records import Series, Study
from petct_cli.dicom.read import DICOMDIR, SHORTEST, NotDicomError, UnreadableDicomError, quiet_pydicom, read_header
from petct_cli.dicom.values import number, text, to_date

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_log = logging.getLogger(__name__)

_LAST_TAG_READ = 0x0020000E  # Series Instance UID: everything that grouping needs comes before it
UNREADABLE = "unreadable"
"""`Series.set_aside` of damaged files that lie beside those of a study."""
UNNAMEABLE = "a file or folder name is not UTF-8"
"""`Series.set_aside` of files that no record can name."""
_MODALITIES_BY_CLASS = {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.128": "PT"}


@dataclass(frozen=True)
class FileHead:
    """What one DICOM file says about where it belongs; `study_uid` and `series_uid` may be made up (see `scan`)."""

    path: Path
    study_uid: str
    series_uid: str
    instance_uid: str
    modality: str
    has_study_uid: bool
    patient_facts: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class ScannedSeries:
    """The files of one series, sorted by path."""

    uid: str
    modality: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ScannedStudy:
    """One study: `id` is what its record will be called, `facts` are the record's fields about the patient.

    `unreadable` are damaged DICOM files that lie in the study's folders and so may belong to it.
    """

    id: str
    uid: str
    series: tuple[ScannedSeries, ...]
    unreadable: tuple[Path, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    whole_folders: frozenset[Path] = frozenset()

    def record(self) -> Study:
        """Return the study record."""
        series = [_series_record(one.modality, one.files, self.whole_folders) for one in self.series]
        for path in self.unreadable:
            if _is_nameable(path):
                told = Series(modality="unknown", dir=str(path.parent), files=[path.name], set_aside=UNREADABLE)
            else:
                told = Series(modality="unknown", set_aside=UNNAMEABLE)
            series.append(told)
        return Study(id=self.id, **self.facts, series=series)


@dataclass(frozen=True)
class Scan:
    """The result of one walk; `skipped` counts files that are not DICOM, `unreadable` names damaged DICOM files."""

    studies: tuple[ScannedStudy, ...]
    skipped: int
    unreadable: tuple[Path, ...]


def study_id(study_uid: str) -> str:
    """Return the record id of a study that was never anonymised: 16 hex of the hash of its Study Instance UID."""
    return hashlib.sha256(study_uid.encode()).hexdigest()[:16]


def walk(paths: Iterable[Path | str]) -> Iterator[Path]:
    """Yield every file below `paths` once, sorted within each folder; links are followed, circles are not.

    Raises
    ------
    InputError
        ``no_such_path``, ``unreadable_path``.
    """
    seen_folders: set[tuple[int, int]] = set()
    seen_files: set[tuple[int, int]] = set()

    def visit(path: Path) -> Iterator[Path]:
        try:
            status = path.stat()
        except OSError:
            return  # a dangling link or a file that went away
        mark = (status.st_dev, status.st_ino)
        if path.is_dir():
            if mark in seen_folders:
                return
            seen_folders.add(mark)
            try:
                names = sorted(os.listdir(path))
            except OSError as error:
                raise InputError("unreadable_path", f"{path}: {error.strerror}") from None
            for name in names:
                yield from visit(path / name)
        elif path.is_file() and mark not in seen_files:
            seen_files.add(mark)
            yield path

    for given in map(Path, paths):
        if not given.exists():
            raise InputError("no_such_path", f"{given}: no such file or folder")
        yield from visit(given)


def read_head(path: Path) -> FileHead | None:
    """Return what `path` says about where it belongs; None for files that are not DICOM, and for a DICOMDIR.

    Raises
    ------
    UnreadableDicomError
        DICOM that is damaged or ends before it says which SOP class it is, and what the system cannot read.
    """
    try:
        with path.open("rb") as file:
            head = read_header(file, _LAST_TAG_READ)
    except NotDicomError:
        return None
    except OSError:
        raise UnreadableDicomError from None
    meta = getattr(head, "file_meta", None)
    if meta is not None and str(getattr(meta, "MediaStorageSOPClassUID", "")) == DICOMDIR:
        return None
    sop_class = text(head, "SOPClassUID")
    if sop_class is None:
        if meta is not None and len(meta) > 0:
            raise UnreadableDicomError
        return None
    study, series = text(head, "StudyInstanceUID"), text(head, "SeriesInstanceUID")
    modality = text(head, "Modality") or _MODALITIES_BY_CLASS.get(sop_class, "unknown")
    return FileHead(
        path,
        study or f"folder {path.parent}",
        series or f"folder {path.parent} {modality}",
        text(head, "SOPInstanceUID") or path.name,
        modality,
        study is not None,
        tuple(_patient_facts(head).items()),
    )


def _patient_facts(head: Dataset) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    patient = text(head, "PatientID")
    if patient:
        facts["patient"] = hashlib.sha256(patient.encode()).hexdigest()[:16]
    day = to_date(text(head, "StudyDate"))
    if day is not None:
        facts |= {"study_date": day.isoformat(), "dates": "full"}
    for name, keyword in (("sex", "PatientSex"), ("age", "PatientAge")):
        value = text(head, keyword)
        if value:
            facts[name] = value
    for name, keyword in (("height_m", "PatientSize"), ("weight_kg", "PatientWeight")):
        size = number(head, keyword)
        if size:
            facts[name] = size
    return facts


def scan(paths: Iterable[Path | str]) -> Scan:
    """Walk `paths` and group what is DICOM.

    Files without a Study or Series Instance UID are grouped by their folder (and modality).

    Raises
    ------
    InputError
        ``no_dicom`` when there is not one DICOM file; ``no_such_path``, ``unreadable_path``.
    """
    given = [Path(path) for path in paths]
    studies: dict[str, list[FileHead]] = defaultdict(list)
    folders: dict[Path, set[tuple[str, str]]] = defaultdict(set)
    unreadable: list[Path] = []
    stumps: list[Path] = []
    skipped = 0
    shapes: set[tuple[Path, str]] = set()
    with quiet_pydicom():
        for path in walk(given):
            try:
                head = read_head(path)
            except UnreadableDicomError:
                unreadable.append(path)
                folders[path.parent].add(("", ""))
                continue
            if head is None:
                skipped += 1
                if is_stump(path):
                    stumps.append(path)
                continue
            shapes.add((path.parent, name_shape(path)))
            studies[head.study_uid].append(head)
            folders[path.parent].add((head.study_uid, head.series_uid))
    for path in stumps:
        if (path.parent, name_shape(path)) in shapes:
            skipped -= 1
            unreadable.append(path)
            folders[path.parent].add(("", ""))
    if not studies:
        names = ", ".join(map(str, given))
        damaged = f"; {len(unreadable)} damaged" if unreadable else ""
        raise InputError("no_dicom", f"{names}: no DICOM file ({skipped} other files{damaged})")
    partly_given = {path.parent for path in given if path.is_file()}
    whole = frozenset(folder for folder, owners in folders.items() if len(owners) == 1) - partly_given
    found = tuple(_study(uid, heads, unreadable, whole) for uid, heads in studies.items())
    return Scan(found, skipped, tuple(unreadable))


def _study(uid: str, heads: list[FileHead], unreadable: list[Path], whole: frozenset[Path]) -> ScannedStudy:
    series: dict[str, list[FileHead]] = defaultdict(list)
    for head in heads:
        series[head.series_uid].append(head)
    folders = {head.path.parent for head in heads}
    facts: dict[str, Any] = {}
    for head in heads:
        for name, value in head.patient_facts:
            facts.setdefault(name, value)
    # Without a UID of its own a study is named by its images, wherever they lie.
    name = uid if heads[0].has_study_uid else "\n".join(sorted(head.instance_uid for head in heads))
    return ScannedStudy(
        study_id(name),
        uid,
        tuple(
            ScannedSeries(key, some[0].modality, tuple(sorted(head.path for head in some)))
            for key, some in series.items()
        ),
        tuple(path for path in unreadable if path.parent in folders),
        facts,
        whole,
    )


def is_stump(path: Path) -> bool:
    """Say whether a file is too short for any DICOM: beside slices with such a name it is what is left of one."""
    return path.stat().st_size < SHORTEST


def name_shape(path: Path) -> str:
    """Return what the names of one series' files have in common: the name without its numbers.

    Examples
    --------
    >>> name_shape(Path("IM0007.dcm"))
    'IM#.dcm'
    """
    return re.sub(r"\d+", "#", path.name)


def _is_nameable(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _series_record(modality: str, files: tuple[Path, ...], whole: frozenset[Path]) -> Series:
    """Name a series by its folder alone where it fills it, else by folder and files."""
    if not all(map(_is_nameable, files)):
        return Series(modality=modality, set_aside=UNNAMEABLE)
    parents = {path.parent for path in files}
    if len(parents) == 1:
        folder = files[0].parent
        if folder in whole:
            return Series(modality=modality, dir=str(folder))
    else:
        folder = Path(os.path.commonpath([str(parent) for parent in parents]))
    return Series(modality=modality, dir=str(folder), files=[os.path.relpath(path, folder) for path in files])


def scan_studies(paths: Iterable[Path | str], *, name_files: bool = False) -> Iterator[Study]:
    """Yield one study record per study found below `paths`, in the order of their first files (`scan`).

    Parameters
    ----------
    name_files
        Whether warnings may name damaged files; else they only count them, because names may hold a patient's.
    """
    found = scan(paths)
    for path in found.unreadable if name_files else ():
        _log.warning("%s: damaged DICOM or unreadable, left out", os.fsencode(path).decode("utf-8", "backslashreplace"))
    if found.unreadable and not name_files:
        _log.warning("%d damaged or unreadable files left out", len(found.unreadable))
    if found.skipped:
        _log.info("%d files that are not DICOM images left out", found.skipped)
    for study in found.studies:
        yield study.record()


def series_files(series: Series) -> list[Path]:
    """Return the files that a series of a record names, sorted: its `files`, or everything in its folder.

    Raises
    ------
    RecordError
        ``series_missing`` when the folder is not there, ``file_name_encoding``.
    """
    if series.set_aside == UNNAMEABLE:
        raise RecordError(
            "file_name_encoding", UNNAMEABLE, "rename it, for example: convmv -r -f cp1258 -t utf8 --notest FOLDER"
        )
    folder = Path(series.dir) if series.dir is not None else Path()
    if series.files is not None:
        joined = [folder / name for name in series.files]
        return sorted(path if path.exists() else Path(name) for path, name in zip(joined, series.files, strict=True))
    if series.dir is None:
        return []
    if not folder.is_dir():
        raise RecordError("series_missing", f"{folder}: no such folder")
    return sorted(path for path in folder.iterdir() if path.is_file())
