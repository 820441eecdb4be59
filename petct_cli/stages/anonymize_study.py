"""One study de-identified in a temporary folder: images, report, truth, quarantine and the record of them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from petct_cli.core.errors import RecordError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.core.records import Deid, Record, ReportRef, Series, Study, Translation, Truth
from petct_cli.dataset.matching import Match, ReportEntry, StudyKeys, entry_of, writings
from petct_cli.dataset.report_files import report_index
from petct_cli.dicom.deid.files import DicomBytes, read_dicom
from petct_cli.dicom.deid.known import Known, know
from petct_cli.dicom.deid.output import ResidualScan, write_deidentified
from petct_cli.dicom.deid.profile import load_profile
from petct_cli.dicom.deid.pseudonyms import raw_study_id
from petct_cli.dicom.deid.rewrite import Rewriter
from petct_cli.dicom.deid.study import Instance, Survey
from petct_cli.dicom.deid.values import shift_date
from petct_cli.dicom.values import to_number
from petct_cli.report.deid import clean_sections, clean_text, harmless_pairs, report_file, vocabulary, without_marks
from petct_cli.report.deid_head import administrative_values
from petct_cli.report.encoding import refuse_legacy
from petct_cli.report.sections import ParsedReport, parse_report
from petct_cli.stages.anonymize_input import json_object
from petct_cli.stages.anonymize_pixels import PixelWork
from petct_cli.stages.anonymize_truth import clean_lesions
from petct_cli.stages.suv_proof import SuvProof

if TYPE_CHECKING:
    from petct_cli.stages.anonymize import Anonymize

_STUDY_UID, _SERIES_UID, _SOP_UID = 0x0020000D, 0x0020000E, 0x00080018


class StudyWork:
    """The making of one study's outputs in a temporary folder."""

    def __init__(self, stage: Anonymize, name: str, temporary: Path, survey: Survey) -> None:
        self.stage = stage
        self.name = name
        self.temporary = temporary
        self.final = stage.out / name
        self.survey = survey
        self.days = stage.key.day_offset(self.survey.patient)
        self.profile = load_profile(stage.choice)
        self.shift = None if self.profile.has("retain_full_dates") else self.days
        self.removes_dates = self.shift is not None and not self.profile.has("retain_modified_dates")
        self.pseudonym = stage.key.patient(self.survey.patient)

    def run(self, record: Study, source: bytes | None, truth: bytes | None) -> Study:
        survey = self.survey
        match = self._find_report(record, source)
        report = match.entry if match is not None else None
        parsed, head = (ParsedReport({}), {}) if report is None else _parsed(report)
        for kind, values in administrative_values(head).items():
            getattr(survey.identifiers, kind).update(values)
        if self.shift is None:
            survey.identifiers.dates.clear()
        known = know(survey.identifiers, harmless_pairs(), vocabulary())
        pixels = PixelWork(self.stage.pixels, survey, known)
        self.survey = survey = pixels.survey
        rewriter, proof = self._images(known, pixels)
        counts = {name: number for name, number in sorted(rewriter.counts.items()) if number}
        counts |= {"files": len(survey.images), "values_too_short_to_scan": known.not_scanned}
        counts |= {"files_not_dicom": survey.not_dicom, "files_duplicate": survey.duplicates}
        counts |= pixels.counts()
        counts["record_keys_dropped"] = _unknown_keys(record)
        fields: dict[str, Any] = {"series": self._series()}
        told: dict[str, Any] = {}
        if report is None and self.stage.reports is not None:
            counts["report_missing"] = 1
        if parsed.sections:
            fields["report"], replaced, told["review"] = self._report(parsed, known)
            counts["report_not_understood"] = parsed.unknown
            counts |= {f"report_{kind}": number for kind, number in sorted(replaced.items())}
        if match is not None and match.by:
            fingerprint = self.stage.key.fingerprint(match.entry.identity)
            told["report_source"] = {"by": match.by, "fingerprint": fingerprint}
        if truth is not None:
            data = orjson.dumps({"lesions": clean_lesions(truth)}, option=orjson.OPT_INDENT_2) + b"\n"
            (self.temporary / "lesions.json").write_bytes(data)
            fields["truth"] = Truth(lesions=str(self.final / "lesions.json"))
        copy_quarantined(survey, self.stage.quarantine, self.name)
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
                **pixels.record(),
                "suv": proof.results(required=self.profile.keeps_suv),
                **told,
            }
        )
        fields |= {"id": self.name, "patient": self.pseudonym, "deid": deid}
        if accession := self.stage.key.accession(*writings(survey.accession)):
            fields["accession"] = accession
        return Study.model_validate({**self._facts(), **fields})

    def _images(self, known: Known, pixels: PixelWork) -> tuple[Rewriter, SuvProof]:
        """Write every image, read it back, search it, and prove that its SUV is what it was."""
        survey = self.survey
        proven: set[str] = set()

        def clean(text: str) -> str:
            cleaned = clean_text(text, known.find, self.shift, remove_dates=self.removes_dates)
            new = without_marks(cleaned)
            if cleaned.counts and not known.find(cleaned.unwritten):
                proven.add(new)
            return new

        rewriter = Rewriter(
            key=self.stage.key,
            choice=self.stage.choice,
            patient=survey.patient,
            patient_id=survey.patient_id,
            clean=clean,
            find=known.find,
            manufacturer=survey.manufacturer,
        )
        scan = ResidualScan(known, rewriter.written, proven)
        proof = SuvProof()
        named = survey.names()
        for folder in {place.partition("/")[0] for _, place in named}:
            (self.temporary / folder).mkdir(exist_ok=True)
        for image, place in named:
            target = self.temporary / place
            dicom: DicomBytes
            dicom, treatment = pixels.treated(image, read_dicom(image.path))
            age, missing = survey.facts.get("age"), self._missing_uids(dicom, image)
            write_deidentified(dicom, target, rewriter, age, missing, treatment)
            result = scan.check(dicom, target)
            if image.modality == "PT":
                proof.add(target.parent.name, dicom, result)
        return rewriter, proof

    def _missing_uids(self, dicom: DicomBytes, image: Instance) -> dict[int, str]:
        """Return what stands in for UIDs that an object lacks, the same for all that belong together."""
        made_up = {
            _STUDY_UID: self.survey.study_uid,
            _SERIES_UID: f"{self.survey.study_uid} {image.modality} {image.series_number}",
            _SOP_UID: image.digest,
        }
        return {tag: source for tag, source in made_up.items() if not dicom.text(tag)}

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
        if moved is not None and len(moved) == len("YYYYMMDD") and not self.removes_dates:
            text = moved.decode()
            found["study_date"] = f"{text[:4]}-{text[4:6]}-{text[6:]}"
            found["dates"] = "full" if self.shift is None else "shifted"
        whole = (shift_date(day.encode(), 0) or b"").decode()
        if self.stage.keep_period is not None and len(whole) >= len("YYYYMM"):
            found["period"] = whole[:4] if self.stage.keep_period == "year" else f"{whole[:4]}-{whole[4:6]}"
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

    def _find_report(self, record: Study, source: bytes | None) -> Match | None:
        """Return the report that the record names (with no evidence), or the one of `--reports` that matches."""
        if source is not None:
            return Match(entry_of(json_object(source)), "")
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
        return report_index(self.stage.reports, self.stage.columns).match(keys)

    def _report(self, parsed: ParsedReport, known: Known) -> tuple[ReportRef, Counter[str], list[dict[str, Any]]]:
        """Write the clean report, and its translations beside it."""
        found, replaced, review = self._clean("report", parsed.lang, parsed.sections, known)
        translations: dict[str, Translation] = {}
        for lang, sections in parsed.translations.items():
            own, more, doubtful = self._clean(f"report_{lang}", lang, sections, known)
            translations[lang] = Translation.model_validate(own)
            replaced += more
            review += [{**span, "lang": lang} for span in doubtful]
        if translations:
            found["translations"] = translations
        replaced["doubtful"] = len(review)
        return ReportRef.model_validate({**found, "lang": parsed.lang}), replaced, review

    def _clean(
        self, name: str, lang: str, sections: dict[str, str], known: Known
    ) -> tuple[dict[str, Any], Counter[str], list[dict[str, Any]]]:
        cleaned, replaced = clean_sections(sections, known.find, self.shift, remove_dates=self.removes_dates)
        for section in cleaned.values():
            if known.find(section.unwritten):
                raise RecordError("residual_identifier", "a value of this patient is left in the report")
        texts = {name: section.text for name, section in cleaned.items()}
        data = orjson.dumps(report_file(texts, lang), option=orjson.OPT_INDENT_2) + b"\n"
        (self.temporary / f"{name}.json").write_bytes(data)
        review = [
            {"section": name, "start": span.start, "end": span.end, "reason": span.reason}
            for name, section in cleaned.items()
            for span in section.doubtful
        ]
        place = str(self.final / f"{name}.json")
        return {"path": place, "sha256": sha256_bytes(data), "sections": texts}, replaced, review


def copy_quarantined(survey: Survey, folder: Path | None, name: str) -> None:
    """Copy what is set aside to ``folder/name`` (mode 0700), unchanged, to be looked at: whole or not at all."""
    if folder is None:
        return
    own = folder / name
    if not survey.quarantined:
        shutil.rmtree(own, ignore_errors=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    temporary = folder / f".{name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    for ordinal, instance in enumerate(survey.quarantined, start=1):
        shutil.copyfile(instance.path, temporary / f"{ordinal:06d}.dcm")
    shutil.rmtree(own, ignore_errors=True)
    temporary.rename(own)


def holds_quarantined(folder: Path, records: Iterable[Record]) -> bool:
    """Say whether `folder` has as many objects as the records of its study say were set aside."""
    wanted = sum(len(made.deid.quarantined) for made in records if isinstance(made, Study) and made.deid)
    return len(list(folder.glob("*.dcm"))) == wanted


def _parsed(report: ReportEntry) -> tuple[ParsedReport, dict[str, Any]]:
    parsed = parse_report(report.document)
    if not parsed.sections:
        raise RecordError("report_unreadable", "the report has no section that petct knows")
    for text in (text for own in (parsed.sections, *parsed.translations.values()) for text in own.values()):
        refuse_legacy(text)
    return parsed, {
        **parsed.not_understood,
        **{f"field/{name}": value for name, value in {**report.beside, **report.fields}.items()},
    }


def _unknown_keys(record: Study) -> int:
    return len(record.model_extra or {}) + sum(len(set(series.model_extra or {})) for series in record.series)
