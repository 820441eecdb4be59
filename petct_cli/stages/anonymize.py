"""``anonymize``: DICOM studies and their reports without what names the patient."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import orjson

from petct_cli.core.errors import ExitCode, InputError, InputFault, OutputError, PetctError, RecordError, UsageError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.core.provenance import entry
from petct_cli.core.records import Record, Study
from petct_cli.core.store import Store
from petct_cli.dataset.columns import ReportColumns
from petct_cli.dataset.report_files import report_index
from petct_cli.dicom.archives import origin_of
from petct_cli.dicom.deid.crosswalk import CrosswalkFile
from petct_cli.dicom.deid.profile import Choice, choose, load_profile
from petct_cli.dicom.deid.pseudonyms import Key, raw_study_id
from petct_cli.dicom.deid.study import FileError, Survey, survey_study
from petct_cli.stages.anonymize_input import bytes_of, files_of, report_of, stumps_of
from petct_cli.stages.anonymize_pixels import PixelOptions, survey_let_out
from petct_cli.stages.anonymize_reports import ReportsUsed
from petct_cli.stages.anonymize_study import StudyWork, copy_quarantined, holds_quarantined

_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")


def studies_in(
    paths: Sequence[Path], scratch: Path, note: Callable[[str, FileError], None] | None = None
) -> Iterator[Study | InputFault]:
    """Yield a record per study found below `paths`, and first what gives none; a path is told by its number only.

    Parameters
    ----------
    scratch
        A private folder that archives are unpacked to: it must outlive the work on the records.
    note
        Gets the real path of each bad file, for the private log.

    Raises
    ------
    InputError
        ``no_such_path``, ``no_dicom``.
    """
    from petct_cli.dicom.archives import Unpacker
    from petct_cli.dicom.scan import log_left_out, scan, study_record

    for place, path in enumerate(paths, start=1):
        if not path.exists():
            raise InputError("no_such_path", f"argument {place}: no such file or folder")
    found = scan(paths, Unpacker(scratch))
    log_left_out(found, name_files=False)
    for fault in found.faults():
        if note is not None:
            note("", FileError(fault.code, fault.message, fault.shown))
        yield InputFault(f"{fault.what} {fault.place}", fault.code, fault.message)
    lost = 0
    for path in found.unreadable(named=True, lost=True):
        lost += 1
        if note is not None:
            note("", FileError("dicom_damaged", "damaged", path))
    if lost:
        yield InputFault(
            "input", "dicom_damaged", f"{lost} damaged files lie in no study's folder, so none tells of them"
        )
    try:
        yield from map(study_record, found.studies())
    except InputError as error:
        raise InputError(error.code, "no DICOM file in what was given") from None


def refuse_inside(out: Path, path: Path | None, option: str, code: str) -> None:
    """Refuse a secret place inside the output folder, which is what gets handed on.

    Raises
    ------
    UsageError
        `code`, with the name of the `option`.
    """
    if path is None:
        return
    folder, inside = out.resolve(), path.resolve()
    if inside == folder or folder in inside.parents:
        raise UsageError(code, f"{option} must lie outside of -o")


@dataclass(frozen=True)
class Anonymize:
    """De-identify one study per record.

    Parameters
    ----------
    out
        Output folder as typed; a study goes to ``out/<pseudonym>``.
    key
        What all pseudonyms and day offsets derive from.
    reports
        File or folder of reports; None: the report that the record names.
    columns
        What the columns of tables of reports mean.
    profile, switches
        Preset of PS3.15 Annex E, and the options turned on or off beside it (`petct_cli.dicom.deid.profile.choose`).
    keep_period
        ``year`` or ``month`` of the study that the record may still tell, for splits by time.
    quarantine
        Folder (mode 0700) that set-aside objects are copied to, unchanged.
    crosswalk
        File (mode 0600) that gets a sealed line per study: who is behind the pseudonym (`petct crosswalk` opens it).
    private_log
        File (mode 0600) that gets the real paths of bad files.
    pixels
        What is done to pixels beyond copying them bit for bit.
    """

    out: Path
    key: Key
    profile: str = "tcia"
    switches: Mapping[str, bool | None] = field(default_factory=dict)
    reports: Path | None = None
    keep_period: str | None = None
    quarantine: Path | None = None
    crosswalk: Path | None = field(default=None, repr=False)
    private_log: Path | None = field(default=None, repr=False)
    pixels: PixelOptions = field(default_factory=PixelOptions)
    columns: ReportColumns | None = None

    name: ClassVar[str] = "anonymize"
    version: ClassVar[str] = "6"
    consumes: ClassVar[tuple[type[Record], ...]] = (Record,)

    def __post_init__(self) -> None:
        choose(self.profile, self.switches)
        self.pixels.key()
        if self.reports is not None and not self.reports.exists():
            raise InputError("no_such_file", "--reports: no such file or folder")
        if self.keep_period not in (None, "year", "month"):
            raise UsageError("bad_option", "--keep-period takes year or month")
        places = [path.resolve() for path in (self.crosswalk, self.private_log, self.quarantine) if path is not None]
        if len(set(places)) < len(places):
            raise UsageError("same_file", "--crosswalk, --private-log and --quarantine are three places")
        refuse_inside(self.out, self.quarantine, "--quarantine", "quarantine_inside_output")
        refuse_inside(self.out, self.crosswalk, "--crosswalk", "crosswalk_inside_output")
        refuse_inside(self.out, self.private_log, "--private-log", "private_log_inside_output")

    @property
    def choice(self) -> Choice:
        """The preset with its options as switched."""
        return choose(self.profile, self.switches)

    def __call__(self, record: Record) -> Iterable[Record]:
        """Return the study's new record; a failed one keeps its pseudonym and nothing else of the input."""
        try:
            if not isinstance(record, Study):
                raise RecordError("wrong_type", "not a study record")
            return self._study(record)
        except PetctError as error:
            if error.exit_code != ExitCode.RECORDS_FAILED:
                raise
            return [self._failed(record, error.code, str(error))]
        except OSError as error:
            return [self._failed(record, "input_unreadable", f"cannot read an input file: {error.strerror}")]
        except (KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:
            # Neither the exception's text nor the input record may get out: both can name the patient.
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(place.filename)}:{place.lineno}"
            return [
                self._failed(record, "internal_fault", f"a fault of petct itself: {type(error).__name__} at {where}")
            ]

    def fan_out_failed(self, record: Record) -> Iterable[Record]:
        """Pass on a record that failed upstream: by its pseudonym, with the code but not the message."""
        error = record.error
        # Codes are words of programs; anything else in their place is not passed on.
        stage, code = (
            said if said is not None and _CODE.fullmatch(said) else other
            for said, other in (
                (error.stage if error is not None else None, "unknown"),
                (error.code if error is not None else None, "failed"),
            )
        )
        return [self._bare(record).failed(stage, code, "failed upstream")]

    def shown_id(self, record: Record) -> str:
        """Return the pseudonym by which messages name a record of the input."""
        return self.key.study(record.id)

    def _failed(self, record: Record, code: str, message: str) -> Study:
        return self._bare(record).failed(self.name, code, message)

    def _bare(self, record: Record) -> Study:
        return Study.model_validate({"id": self.key.study(record.id)})

    def _study(self, record: Study) -> list[Record]:
        files = files_of(record)
        source = report_of(record)
        truth = bytes_of(record.truth.lesions if record.truth else None, "truth_missing")
        try:
            survey = survey_study(files, self.choice, made_up_uid=record.id)
        except FileError as error:
            self.note_bad_file(self.key.study(record.id), error)
            raise
        name = self.key.study(record.id if survey.study_uid == record.id else raw_study_id(survey.study_uid))
        self._refuse_stumps(record, name)
        if self.crosswalk is not None:
            # Before the work: who is behind a study that fails is asked most.
            pseudonym, values = self.key.patient(survey.patient), identity_of(survey, self.key, files)
            _crosswalk_file(self.crosswalk).add(self.key, name, pseudonym, values)
        inputs = [
            *sorted(self.key.fingerprint(digest) for digest in survey.digests),
            *(self.key.fingerprint(sha256_bytes(data)) for data in (source, truth) if data is not None),
        ]
        if self.reports is not None:
            inputs.append(self.key.fingerprint(report_index(self.reports, self.columns).sha256))
        options = {
            "profile": self.profile,
            "options": list(self.choice.options),
            "edition": load_profile(self.choice).edition,
            "key_id": self.key.key_id,
            "keep_period": self.keep_period,
            **self.pixels.key(),
        }
        store = Store(self.out, self.name)
        stamp = entry(self.name, self.version, options, inputs)

        def build(temporary: Path) -> list[Record]:
            study = StudyWork(self, name, temporary, survey).run(record, source, truth)
            return [study.with_fields(provenance=[stamp])]

        try:
            records = store.once(name, store.key(inputs, options, self.version), build)
        except RecordError as error:
            if error.code != "input_unreadable":
                # What an earlier run let out under other rules must not stand where this one refuses.
                store.withdraw(name)
            raise
        if self.quarantine is not None and not holds_quarantined(self.quarantine / name, records):
            # Finished by an earlier run that copied nothing aside, or was interrupted while it did.
            copy_quarantined(survey_let_out(self.pixels, survey), self.quarantine, name)
        return records

    def watch(self) -> ReportsUsed:
        """Return what sees the written records and says at the end which reports nobody got."""
        return ReportsUsed(self)

    def _refuse_stumps(self, record: Study, name: str) -> None:
        """Refuse a study beside whose files the scan found what is left of one: it may be a slice."""
        for ordinal, path in stumps_of(record):
            error = FileError("dicom_truncated", f"series {ordinal}: a file is cut short", path)
            self.note_bad_file(name, error)
            raise error

    def note_bad_file(self, study: str, error: FileError) -> None:
        """Write the real path of a bad file to the private log, if there is one."""
        self._note({"study": study, "code": error.code, "path": _shown(origin_of(error.path))})

    def note_report(self, code: str, place: str) -> None:
        """Write the real place of a report that no study got to the private log, if there is one."""
        self._note({"code": code, "path": _shown(place)})

    def _note(self, told: dict[str, str]) -> None:
        if self.private_log is None:
            return
        line = orjson.dumps(told) + b"\n"
        try:
            descriptor = os.open(self.private_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                # It may have been there before, readable for all.
                os.fchmod(descriptor, 0o600)
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as fault:
            raise OutputError("private_log_unwritable", f"cannot write the private log: {fault.strerror}") from None


def _shown(path: str | Path) -> str:
    """Return a path as text, whatever bytes a file name holds."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def identity_of(survey: Survey, key: Key, files: Sequence[Path]) -> dict[str, Any]:
    """Return what the crosswalk seals: who the patient and which the study is, and where it was found."""
    return {
        "patient_id": survey.patient_id,
        "issuer": survey.issuer,
        "study_instance_uid": survey.study_uid,
        "accession_number": survey.accession,
        "study_date": survey.facts.get("study_date", ""),
        "day_offset": key.day_offset(survey.patient),
        "source": _shown(os.path.commonpath([origin_of(path) for path in files])),
    }


@lru_cache(maxsize=2)
def _crosswalk_file(path: Path) -> CrosswalkFile:
    return CrosswalkFile(path)
