"""What ``convert`` reads that is no record: folders and archives, and members of archives by the names records give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from petct_cli.core.errors import InputFault, RecordError
from petct_cli.core.records import Series, Study


def studies_in(paths: Sequence[Path], scratch: Path) -> Iterator[Study | InputFault]:
    """Yield a record per study found below `paths`, and first what gives none.

    Parameters
    ----------
    scratch
        A private folder that archives are unpacked to: it must outlive the work on the records, which name a member as
        ``archive!/member`` (`unpacked`).

    Raises
    ------
    InputError
        ``no_such_path``, ``no_dicom``.
    """
    from petct_cli.dicom.archives import Unpacker
    from petct_cli.dicom.scan import log_left_out, scan, study_record

    found = scan(paths, Unpacker(scratch))
    log_left_out(found, name_files=True)
    for fault in found.faults():
        place = str(fault.shown).encode("utf-8", "backslashreplace").decode()
        yield InputFault(place, fault.code, fault.message)
    yield from map(study_record, found.studies(named=True))


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
