"""``anonymize``: DICOM studies and their reports without what names the patient."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import orjson

from petct_cli.core.errors import ExitCode, InputError, PetctError, RecordError, UsageError
from petct_cli.core.hashing import sha256_bytes, sha256_file
from petct_cli.core.provenance import entry
from petct_cli.core.records import Deid, Record, ReportRef, Series, Study, Truth
from petct_cli.core.store import Store
from petct_cli.dataset.matching import ReportEntry, ReportIndex, StudyKeys, entry_of, load_reports
from petct_cli.dicom.deid.known import Known, know
from petct_cli.dicom.deid.output import ResidualScan, write_deidentified
from petct_cli.dicom.deid.profile import load_profile
from petct_cli.dicom.deid.pseudonyms import Key, raw_study_id
from petct_cli.dicom.deid.rewrite import Rewriter
from petct_cli.dicom.deid.study import FileError, Survey, survey_study
from petct_cli.dicom.deid.syntax import DicomBytes, DicomSyntaxError, read_dicom
from petct_cli.dicom.deid.values import shift_date
from petct_cli.dicom.values import to_number
from petct_cli.report.deid import (
    administrative_values,
    clean_sections,
    clean_text,
    harmless_pairs,
    report_file,
    without_marks,
)
from petct_cli.report.sections import parse_report
from petct_cli.stages.anonymize_truth import clean_lesions
from petct_cli.stages.suv_proof import SuvProof


def studies_in(paths: Sequence[Path]) -> Iterator[Study]:
    """Yield a record per study found below `paths`; messages name a path by its place among the arguments only.

    Raises
    ------
    InputError
        ``no_such_path``, ``unreadable_path``, ``no_dicom``.
    """
    from petct_cli.dicom.scan import scan_studies

    for place, path in enumerate(paths, start=1):
        if not path.exists():
            raise InputError("no_such_path", f"argument {place}: no such file or folder")
    try:
        yield from scan_studies(paths)
    except InputError as error:
        said = {"no_dicom": "no DICOM file in what was given", "unreadable_path": "a folder cannot be read"}
        raise InputError(error.code, said.get(error.code, "the input cannot be scanned")) from None


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
    keep_period
        ``year`` or ``month`` of the study that the record may still tell, for splits by time.
    quarantine
        Folder (mode 0700) that set-aside objects are copied to, unchanged.
    private_log
        File (mode 0600) that gets the real paths of bad files.
    """

    out: Path
    key: Key
    profile: str = "tcia"
    reports: Path | None = None
    keep_period: str | None = None
    quarantine: Path | None = None
    private_log: Path | None = field(default=None, repr=False)

    name: ClassVar[str] = "anonymize"
    version: ClassVar[str] = "1"
    consumes: ClassVar[tuple[type[Record], ...]] = (Record,)

    def __post_init__(self) -> None:
        load_profile(self.profile)
        if self.keep_period not in (None, "year", "month"):
            raise UsageError("bad_option", "--keep-period takes year or month")
        if self.quarantine is not None:
            out, inside = self.out.resolve(), self.quarantine.resolve()
            if inside == out or out in inside.parents:
                raise UsageError("quarantine_inside_output", "--quarantine must lie outside of -o")

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
        stage, code = (error.stage, error.code) if error is not None else (self.name, "failed")
        return [self._bare(record).failed(stage, code, "failed upstream")]

    def _failed(self, record: Record, code: str, message: str) -> Study:
        return self._bare(record).failed(self.name, code, message)

    def _bare(self, record: Record) -> Study:
        return Study.model_validate({"id": self.key.study(record.id)})

    def _study(self, record: Study) -> list[Record]:
        files = _files_of(record)
        source = _report_of(record)
        truth = _bytes_of(record.truth.lesions if record.truth else None, "truth_missing")
        name = self._name_of(record, files)
        hashes = [self.key.fingerprint(sha256_file(path)) for path in files]
        inputs = [
            *sorted(hashes),
            *(self.key.fingerprint(sha256_bytes(data)) for data in (source, truth) if data is not None),
        ]
        if self.reports is not None:
            inputs.append(self.key.fingerprint(_reports_hash(self.reports)))
        options = {
            "profile": self.profile,
            "edition": load_profile(self.profile).edition,
            "key_id": self.key.key_id,
            "keep_period": self.keep_period,
        }
        store = Store(self.out, self.name)
        stamp = entry(self.name, self.version, options, inputs)

        def build(temporary: Path) -> list[Record]:
            work = _Work(self, name, temporary, files, hashes)
            study = work.run(record, source, truth)
            return [study.with_fields(provenance=[stamp])]

        return store.once(name, store.key(inputs, options, self.version), build)

    def _name_of(self, record: Study, files: Sequence[Path]) -> str:
        """Return the study's pseudonym, from the first object that tells its StudyInstanceUID."""
        for path in files:
            try:
                uid = read_dicom(path).text(0x0020000D)
            except DicomSyntaxError:
                continue
            if uid:
                return self.key.study(raw_study_id(uid))
        return self.key.study(record.id)

    def note_bad_file(self, study: str, error: FileError) -> None:
        """Write the real path of a bad file to the private log, if there is one."""
        if self.private_log is None:
            return
        line = orjson.dumps({"study": study, "code": error.code, "path": str(error.path)}) + b"\n"
        descriptor = os.open(self.private_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


class _Work:
    """The making of one study's outputs in a temporary folder."""

    def __init__(
        self, stage: Anonymize, name: str, temporary: Path, files: Sequence[Path], hashes: Sequence[str]
    ) -> None:
        self.stage = stage
        self.name = name
        self.temporary = temporary
        self.final = stage.out / name
        try:
            self.survey: Survey = survey_study(files, hashes, stage.profile)
        except FileError as error:
            stage.note_bad_file(name, error)
            raise
        self.days = stage.key.day_offset(self.survey.patient)
        self.profile = load_profile(stage.profile)
        self.shift = None if self.profile.has("retain_full_dates") else self.days
        self.pseudonym = stage.key.patient(self.survey.patient)

    def run(self, record: Study, source: bytes | None, truth: bytes | None) -> Study:
        survey = self.survey
        report = self._find_report(record, source)
        sections, head = ({}, {}) if report is None else _parsed(report)
        for kind, values in administrative_values(head).items():
            getattr(survey.identifiers, kind).update(values)
        known = know(survey.identifiers, harmless_pairs())
        rewriter, proof = self._images(known)
        counts = {name: number for name, number in sorted(rewriter.counts.items()) if number}
        counts |= {"files": len(survey.images), "values_too_short_to_scan": known.not_scanned}
        counts |= {"files_not_dicom": survey.not_dicom, "files_duplicate": survey.duplicates}
        counts["record_keys_dropped"] = _unknown_keys(record)
        fields: dict[str, Any] = {"series": self._series()}
        if sections:
            fields["report"], replaced = self._report(sections, known)
            counts |= {f"report_{kind}": number for kind, number in sorted(replaced.items())}
        if truth is not None:
            data = orjson.dumps({"lesions": clean_lesions(truth)}, option=orjson.OPT_INDENT_2) + b"\n"
            (self.temporary / "lesions.json").write_bytes(data)
            fields["truth"] = Truth(lesions=str(self.final / "lesions.json"))
        self._quarantine()
        deid = Deid.model_validate(
            {
                "profile": self.stage.profile,
                "edition": self.profile.edition,
                "key_id": self.stage.key.key_id,
                "options": list(self.profile.options),
                "counts": {name: number for name, number in counts.items() if number},
                "quarantined": [
                    {"ordinal": ordinal, "modality": instance.modality, "reason": instance.reason}
                    for ordinal, instance in enumerate(survey.quarantined, start=1)
                ],
                "face": "present",
                "suv": proof.results(required=self.profile.keeps_suv),
            }
        )
        fields |= {"id": self.name, "patient": self.pseudonym, "deid": deid}
        return Study.model_validate({**self._facts(), **fields})

    def _images(self, known: Known) -> tuple[Rewriter, SuvProof]:
        """Write every image, read it back, search it, and prove that its SUV is what it was."""
        survey = self.survey
        rewriter = Rewriter(
            key=self.stage.key,
            preset=self.stage.profile,
            patient=survey.patient,
            patient_id=survey.patient_id,
            clean=lambda text: without_marks(clean_text(text, known.find, self.shift)),
            find=known.find,
            manufacturer=survey.manufacturer,
        )
        scan = ResidualScan(known, rewriter.written)
        proof = SuvProof()
        for image, place in survey.names():
            target = self.temporary / place
            target.parent.mkdir(exist_ok=True)
            dicom: DicomBytes = read_dicom(image.path)
            write_deidentified(dicom, target, rewriter, survey.facts.get("age"))
            result = scan.check(dicom, target)
            if image.modality == "PT":
                proof.add(target.parent.name, dicom, result)
        return rewriter, proof

    def _series(self) -> list[Series]:
        folders: dict[str, str] = {}
        for image, place in self.survey.names():
            folders.setdefault(place.partition("/")[0], image.modality)
        return [Series(modality=modality, dir=str(self.final / folder)) for folder, modality in folders.items()]

    def _facts(self) -> dict[str, Any]:
        facts = self.survey.facts
        found: dict[str, Any] = {"dates": "none"}
        day = facts.get("study_date", "")
        moved = shift_date(day.encode(), self.shift or 0)
        if moved is not None and len(moved) == len("YYYYMMDD") and self.profile.name != "basic":
            text = moved.decode()
            found["study_date"] = f"{text[:4]}-{text[4:6]}-{text[6:]}"
            found["dates"] = "full" if self.shift is None else "shifted"
        if self.stage.keep_period is not None and len(day) >= len("YYYYMM"):
            found["period"] = day[:4] if self.stage.keep_period == "year" else f"{day[:4]}-{day[4:6]}"
        if not self.profile.has("retain_patient_characteristics"):
            return found
        if facts.get("sex") in ("M", "F", "O"):
            found["sex"] = facts["sex"]
        if facts.get("age"):
            found["age"] = facts["age"]
        for name in ("height_m", "weight_kg"):
            size = to_number(facts.get(name))
            if size is not None and size > 0:
                found[name] = size
        return found

    def _find_report(self, record: Study, source: bytes | None) -> ReportEntry | None:
        if source is not None:
            return entry_of(_json_object(source))
        if self.stage.reports is None:
            return None
        survey = self.survey
        names = [Path(series.dir).parent.name for series in record.series if series.dir]
        keys = StudyKeys(
            study=[survey.study_uid, raw_study_id(survey.study_uid)],
            accession=[survey.accession] if survey.accession else [],
            patient=[survey.patient_id] if survey.patient_id else [],
            date=survey.facts.get("study_date", ""),
            names=names,
        )
        match = _index(self.stage.reports).match(keys)
        return match.entry if match is not None else None

    def _report(self, sections: dict[str, str], known: Known) -> tuple[ReportRef, dict[str, int]]:
        cleaned, replaced = clean_sections(sections, known.find, self.shift)
        for section in cleaned.values():
            if known.find(section.unwritten):
                raise RecordError("residual_identifier", "a value of this patient is left in the report")
        texts = {name: section.text for name, section in cleaned.items()}
        data = orjson.dumps(report_file(texts), option=orjson.OPT_INDENT_2) + b"\n"
        (self.temporary / "report.json").write_bytes(data)
        doubtful = sum(len(section.doubtful) for section in cleaned.values())
        reference = ReportRef(
            path=str(self.final / "report.json"), sha256=sha256_bytes(data), lang="vi", sections=texts
        )
        return reference, {**replaced, "doubtful": doubtful}

    def _quarantine(self) -> None:
        folder = self.stage.quarantine
        if folder is None or not self.survey.quarantined:
            return
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        own = folder / self.name
        own.mkdir(mode=0o700, exist_ok=True)
        for ordinal, instance in enumerate(self.survey.quarantined, start=1):
            shutil.copyfile(instance.path, own / f"{ordinal:06d}.dcm")


def _files_of(record: Study) -> list[Path]:
    """Return the files of a study record in a stable order."""
    from petct_cli.dicom.scan import series_files

    found: dict[Path, None] = {}
    for ordinal, series in enumerate(record.series, start=1):
        try:
            found.update(dict.fromkeys(path for path in series_files(series) if not path.name.startswith(".petct-")))
        except RecordError as error:
            raise RecordError(error.code, f"series {ordinal}: its folder is not there") from None
    if not found:
        raise RecordError("no_dicom", "the record names no files")
    return sorted(found)


def _report_of(record: Study) -> bytes | None:
    report = record.report
    if report is None:
        return None
    if report.path is not None:
        return _bytes_of(report.path, "report_missing")
    return orjson.dumps(report.sections) if report.sections else None


def _bytes_of(path: str | None, code: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RecordError(code, f"a file that the record names cannot be read: {error.strerror}") from None


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise RecordError("report_unreadable", "the report is not JSON") from None
    if not isinstance(value, dict):
        raise RecordError("report_unreadable", "the report is not a JSON object")
    return value


def _parsed(report: ReportEntry) -> tuple[dict[str, str], dict[str, Any]]:
    parsed = parse_report(report.document)
    if not parsed.sections:
        raise RecordError("report_unreadable", "the report has no section that petct knows")
    return parsed.sections, {
        **parsed.not_understood,
        **{f"field/{name}": value for name, value in report.fields.items()},
    }


def _unknown_keys(record: Study) -> int:
    return len(record.model_extra or {}) + sum(len(set(series.model_extra or {})) for series in record.series)


@lru_cache(maxsize=2)
def _index(path: Path) -> ReportIndex:
    """Return the index of `path`, made once per process."""
    return ReportIndex(load_reports(path))


@lru_cache(maxsize=2)
def _reports_hash(path: Path) -> str:
    return sha256_bytes("".join(sorted(entry.sha256 for entry in load_reports(path))).encode())
