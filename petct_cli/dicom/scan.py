"""Folders and archives as hospitals deliver them, to studies and series: any names, any nesting, other files between.

Only the identifying head of each file is read. Grouping is by Study and Series Instance UID, never by folder. What is
found lies in an index on disk, so that an export of a million files needs no more memory than its largest study.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from petct_cli.core.errors import InputError, RecordError
from petct_cli.core.records import Series, Study
from petct_cli.dicom.archives import Unpacker
from petct_cli.dicom.read import SHORTEST
from petct_cli.dicom.scan_index import Fault, ScanIndex, ScannedStudy, disk_faults, name_shape, study_id
from petct_cli.dicom.scan_walk import Walk

__all__ = [
    "UNNAMEABLE", "UNREADABLE", "Scan", "is_stump", "name_shape", "scan", "scan_studies", "series_files", "study_id",
    "study_record",
]  # fmt: skip

_log = logging.getLogger(__name__)

UNREADABLE = "unreadable"
"""`Series.set_aside` of damaged files that lie beside those of a study."""
UNNAMEABLE = "a file or folder name is not UTF-8"
"""`Series.set_aside` of files that no record can name."""


class Scan:
    """The result of one walk, which lives in an index on disk.

    Attributes
    ----------
    images, skipped, damaged
        Numbers of files: DICOM images, not DICOM, damaged DICOM.
    archives
        Number of archives that were met and not looked into.
    """

    def __init__(self, given: list[Path], index: ScanIndex, walk: Walk) -> None:
        self._given = given
        self._index = index
        self.images = index.images
        self.damaged = index.damaged
        self.skipped = walk.skipped
        self.archives = walk.archives_left

    def faults(self) -> Iterator[Fault]:
        """Yield the archives and folders that give nothing, in the order in which they were met."""
        with disk_faults():
            yield from self._index.faults()

    def unreadable(self, *, named: bool = False, lost: bool = False) -> Iterator[Path]:
        """Yield the damaged DICOM files.

        Parameters
        ----------
        named
            Give paths as the user knows them (``archive!/member``), not as they lie unpacked.
        lost
            Only those that lie in no study's folder, so that no record tells of them.
        """
        with disk_faults():
            yield from self._index.unreadable(named=named, lost=lost)

    def studies(self, *, named: bool = False) -> Iterator[ScannedStudy]:
        """Yield the studies in the order of their first files; only one at a time is in memory.

        Raises
        ------
        InputError
            ``no_dicom`` when there is not one DICOM file.
        """
        if not self.images:
            names = ", ".join(map(str, self._given))
            damaged = f"; {self.damaged} damaged" if self.damaged else ""
            raise InputError("no_dicom", f"{names}: no DICOM file ({self.skipped} other files{damaged})")
        with disk_faults():
            yield from self._index.studies(named=named)


def scan(paths: Iterable[Path | str], unpacker: Unpacker | None = None) -> Scan:
    """Walk `paths` and group what is DICOM.

    Files without a Study or Series Instance UID are grouped by their folder (and modality).

    Parameters
    ----------
    unpacker
        Unpacks archives; without one they are only counted.

    Raises
    ------
    InputError
        ``no_such_path``.
    OutputError
        ``scratch_unwritable``.
    """
    given = [Path(path) for path in paths]
    with disk_faults():
        index = ScanIndex()
        walk = Walk(index, unpacker)
        for path in given:
            walk.go(path)
        walk.skipped -= index.finish()
    return Scan(given, index, walk)


def study_record(study: ScannedStudy) -> Study:
    """Return the record of a study."""
    series = [_series_record(one.modality, one.files, study.whole_folders) for one in study.series]
    for path in study.unreadable:
        if _is_nameable(path):
            told = Series(modality="unknown", dir=str(path.parent), files=[path.name], set_aside=UNREADABLE)
        else:
            told = Series(modality="unknown", set_aside=UNNAMEABLE)
        series.append(told)
    return Study(id=study.id, **study.facts, series=series)


def scan_studies(paths: Iterable[Path | str], *, name_files: bool = False) -> Iterator[Study]:
    """Yield one study record per study found in the folders `paths`, in the order of their first files.

    Archives are not looked into: what they unpack to must outlive the records (`scan`).

    Parameters
    ----------
    name_files
        Whether warnings may name damaged files; else they only count them, because names may hold a patient's.
    """
    found = scan(paths)
    log_left_out(found, name_files=name_files)
    if found.archives:
        _log.warning("%d archives left out", found.archives)
    yield from map(study_record, found.studies())


def log_left_out(found: Scan, *, name_files: bool) -> None:
    """Warn of the damaged files of a scan, and tell how many were none of ours."""
    for path in found.unreadable(named=True) if name_files else ():
        _log.warning("%s: damaged DICOM or unreadable, left out", os.fsencode(path).decode("utf-8", "backslashreplace"))
    if found.damaged and not name_files:
        _log.warning("%d damaged or unreadable files left out", found.damaged)
    if found.skipped:
        _log.info("%d files that are not DICOM images left out", found.skipped)


def is_stump(path: Path) -> bool:
    """Say whether a file is too short for any DICOM: beside slices with such a name it is what is left of one."""
    return path.stat().st_size < SHORTEST


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
    elif len({parent.is_absolute() for parent in parents}) > 1:
        return Series(modality=modality, files=list(map(str, files)))  # nothing in common
    else:
        folder = Path(os.path.commonpath([str(parent) for parent in parents]))
    return Series(modality=modality, dir=str(folder), files=[os.path.relpath(path, folder) for path in files])


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
