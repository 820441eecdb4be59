"""What ``convert`` reads that is no record: folders, archives, DICOMDIRs, NIfTI pairs, the ViMed-PET release.

And members of archives, by the names that records give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from petct_cli.core.errors import InputError, InputFault, RecordError
from petct_cli.core.records import Series, Study


def studies_in(paths: Sequence[Path], scratch: Path) -> Iterator[Study | InputFault]:
    """Yield a record per study found below `paths`: DICOM, then NIfTI, then releases; and first what gives none.

    Parameters
    ----------
    scratch
        A private folder that archives are unpacked to: it must outlive the work on the records, which name a member as
        ``archive!/member`` (`unpacked`).

    Raises
    ------
    InputError
        ``no_such_path``, ``no_dicom``, ``dicomdir_damaged``, ``vimed_metadata``.
    """
    from petct_cli.dataset.vimed import release_metadata, release_studies
    from petct_cli.stages.nifti_pairs import nifti_studies

    releases = [index for path in paths if (index := release_metadata(path)) is not None]
    others = [path for path in paths if release_metadata(path) is None]
    volumes = list(nifti_studies(others))
    if others:
        yield from _dicom_studies(others, scratch, required=not volumes and not releases)
    yield from volumes
    for index in releases:
        yield from release_studies(index)


def _dicom_studies(paths: Sequence[Path], scratch: Path, *, required: bool) -> Iterator[Study | InputFault]:
    from petct_cli.dicom.archives import Unpacker
    from petct_cli.dicom.scan import log_left_out, scan, study_record

    files, faults = _without_dicomdirs(paths)
    found = scan(files, Unpacker(scratch))
    if found.images or found.damaged or required:
        log_left_out(found, name_files=True)
    yield from faults
    for fault in found.faults():
        place = str(fault.shown).encode("utf-8", "backslashreplace").decode()
        yield InputFault(place, fault.code, fault.message)
    if found.images or required:
        yield from map(study_record, found.studies(named=True))


def _without_dicomdirs(paths: Sequence[Path]) -> tuple[list[Path], list[InputFault]]:
    """Return `paths` with the files that a DICOMDIR names in its place, and what is missing of those.

    A folder is scanned whatever its DICOMDIR says; one at its top is asked for what should be there.
    """
    from petct_cli.dicom.dicomdir import contents, is_dicomdir

    told: list[Path] = []
    faults = []
    for path in paths:
        table = path / "DICOMDIR" if path.is_dir() else path
        if not table.is_file() or not is_dicomdir(table):
            told.append(path)
            continue
        try:
            named = contents(table)
        except InputError:
            if table == path:
                raise
            told.append(path)
            continue
        told.extend(named.files if table == path else [path])
        if named.missing:
            message = f"{named.missing} of the {named.missing + len(named.files)} files that it names are not there"
            place = str(table).encode("utf-8", "backslashreplace").decode()
            faults.append(InputFault(place, "dicomdir_missing_files", message))
    return told, faults


def unpacked(record: Study, scratch: Path) -> Study:
    """Return `record` with the places of its series' files below `scratch` instead of ``archive!/member``."""
    from petct_cli.dicom.archives import locate

    def located(series: Series) -> Series:
        folder = series.dir or ""
        place = locate(scratch, folder)
        if place != folder:
            return series.model_copy(update={"dir": place})
        if series.files is None:
            return series
        # A series of several archives, or of one and a folder: its files have no archive in common.
        return series.model_copy(update={"files": [_located(scratch, folder, name) for name in series.files]})

    def _located(scratch: Path, folder: str, name: str) -> str:
        whole = str(Path(folder) / name)
        place = locate(scratch, whole)
        return name if place == whole else place

    return record.with_fields(series=[located(series) for series in record.series])


def as_named(series: list[Series], scratch: Path) -> list[Series]:
    """Undo `unpacked` in what became of the series of a record."""
    from petct_cli.dicom.archives import shown_in

    def named(one: Series) -> Series:
        folder = one.dir if one.dir is None else shown_in(scratch, one.dir)
        files = one.files if one.files is None else [shown_in(scratch, name) for name in one.files]
        kept = {"dir": folder, "files": files}
        return one.model_copy(update={name: value for name, value in kept.items() if value is not None})

    return [named(one) for one in series]


@contextmanager
def named_in_messages(scratch: Path | None) -> Iterator[None]:
    """Let a fault of the body speak of ``archive!/member``, not of where it lies unpacked."""
    from petct_cli.dicom.archives import shown_in

    try:
        yield
    except RecordError as error:
        if scratch is None:
            raise
        raise RecordError(error.code, shown_in(scratch, error.message), error.hint) from None
