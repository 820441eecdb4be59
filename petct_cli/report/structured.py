"""Reports as DICOM Structured Reports of text (PS3.3 A.35.1-3, A.35.13): the content tree by section."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import RecordError
from petct_cli.report.headings import EITHER, FINDINGS, OTHER, SECTIONS, named
from petct_cli.report.plain_text import text_document

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Basic Text, Enhanced, Comprehensive, Comprehensive 3D and Extensible SR.
_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (11, 22, 33, 34, 35))
# Encapsulated PDF and CDA: reports, but not in text that petct reads.
_DOCUMENTS = frozenset({"1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"})
# PS3.16 CID 7001 (document headings) and TID 2000's concepts; LOINC for the same. Earlier findings are another study's.
_CONCEPTS = {
    ("DCM", "121070"): FINDINGS,
    ("DCM", "121071"): FINDINGS,
    ("DCM", "121072"): "impression",
    ("DCM", "121073"): "impression",
    ("DCM", "121076"): "impression",
    ("DCM", "121077"): "impression",
    ("DCM", "121111"): "impression",
    ("DCM", "121074"): "impression",
    ("DCM", "121075"): "impression",
    ("DCM", "121060"): "history",
    ("DCM", "121110"): "history",
    ("DCM", "121109"): "indication",
    ("DCM", "121062"): "indication",
    ("DCM", "121068"): OTHER,
    ("DCM", "121069"): OTHER,
    ("DCM", "121064"): OTHER,
    ("DCM", "121065"): OTHER,
    ("DCM", "121066"): OTHER,
    ("LN", "59776-5"): FINDINGS,
    ("LN", "18782-3"): FINDINGS,
    ("LN", "19005-8"): "impression",
    ("LN", "11329-0"): "history",
    ("LN", "10164-2"): "history",
    ("LN", "18785-6"): "indication",
    ("LN", "55115-0"): "indication",
}
_MAX_DEPTH = 60
# Header values that name somebody, under labels by which de-identification knows their kind.
_IDENTIFYING = {
    "Họ tên": "PatientName",
    "Mã người bệnh": "PatientID",
    "Ngày sinh": "PatientBirthDate",
    "Địa chỉ": "PatientAddress",
    "Bệnh viện": "InstitutionName",
    "Khoa": "InstitutionalDepartmentName",
    "Bác sĩ chỉ định": "ReferringPhysicianName",
    "Bác sĩ đọc": "NameOfPhysiciansReadingStudy",
    "Bác sĩ thực hiện": "PerformingPhysicianName",
    "Kỹ thuật viên": "OperatorsName",
}


@dataclass(frozen=True)
class StructuredReport:
    """A structured report.

    Attributes
    ----------
    document
        Text by section, and under other names what is no section.
    fields
        study, accession, patient and date of its header.
    beside
        Values of its header and observers that name somebody, by label.
    """

    document: dict[str, Any]
    fields: dict[str, str]
    beside: dict[str, str] = field(default_factory=dict)


def read_structured(data: bytes) -> StructuredReport | None:
    """Return a structured report of text; None when the object is none, such as an image or a dose report.

    A container or item goes to the section that its concept names, by code or else by meaning, and to that of the
    container about it when it names none; the concept then stands before its value. TEXT, CODE, NUM and DATE values
    make text, PNAME values and headers are only told as identifying.

    Raises
    ------
    RecordError
        ``report_format``: damaged, without content, or a document in a DICOM wrapper (PDF, CDA).
    """
    import pydicom

    try:
        with warnings.catch_warnings(), _EndOfFile() as end:
            # pydicom's warnings quote values.
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
            kind = str(dataset.get("SOPClassUID", ""))
            if kind in _DOCUMENTS:
                raise RecordError("report_format", "the report is a document in a DICOM object")
            if kind and kind not in _CLASSES:
                return None
            if end.met or not kind or _is_cut(dataset):
                raise ValueError("cut short")
            dataset.decode()
            found = _read(dataset)
    except RecordError:
        raise
    except Exception:  # pydicom raises whatever it meets in a damaged object, with the values that stand there
        raise RecordError("report_format", "no structured report that can be read") from None
    if not found.document:
        raise RecordError("report_format", "the structured report has no text")
    return found


class _EndOfFile(logging.Filter):
    """Keeps what pydicom logs to itself, and notes whether it met the end of a file within a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.met = False

    def filter(self, record: logging.LogRecord) -> bool:
        self.met = self.met or "End of file" in record.getMessage()
        return False

    def __enter__(self) -> _EndOfFile:
        logging.getLogger("pydicom").addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("pydicom").removeFilter(self)


def _is_cut(dataset: Dataset) -> bool:
    """Say whether an element is shorter than it says: pydicom takes what is there."""
    for tag in list(dataset.keys()):
        element = dataset.get_item(tag)
        length = getattr(element, "length", None)
        if (
            isinstance(length, int)
            and isinstance(element.value, bytes)
            and length not in (0xFFFFFFFF, len(element.value))
        ):
            return True
        nested = getattr(element, "VR", "") == "SQ" and not isinstance(element.value, bytes)
        if nested and any(map(_is_cut, element.value)):
            return True
    return False


def _read(dataset: Dataset) -> StructuredReport:
    texts: dict[str, list[str]] = {}
    people: list[str] = []
    for section, text in _items(dataset.get("ContentSequence", ()), "", 0, people):
        texts.setdefault(section, []).append(text)
    document: dict[str, Any] = {name: "\n".join(lines) for name, lines in texts.items()}
    if set(document) == {""} or (set(document) <= {"", FINDINGS} and FINDINGS not in document):
        # A whole report in one text, with headings of its own.
        document = text_document(document.pop(""))
    elif "" in document:
        document["Khác"] = document.pop("")
    requests = dataset.get("ReferencedRequestSequence") or ()
    accessions = [_text(item.get("AccessionNumber")) for item in (dataset, *requests)]
    fields = {
        "study": _text(dataset.get("StudyInstanceUID")),
        "accession": next(filter(None, accessions), ""),
        "patient": _text(dataset.get("PatientID")),
        "date": _text(dataset.get("StudyDate")),
    }
    beside = {label: _name(_text(dataset.get(keyword))) for label, keyword in _IDENTIFYING.items()}
    for number, observer in enumerate(dataset.get("VerifyingObserverSequence") or (), start=1):
        beside[f"Bác sĩ {number}"] = _name(_text(observer.get("VerifyingObserverName")))
        beside[f"Bệnh viện {number}"] = _text(observer.get("VerifyingOrganization"))
    for number, person in enumerate(people, start=1):
        beside[f"Người {number}"] = person
    return StructuredReport(
        document,
        {name: value for name, value in fields.items() if value},
        {label: value for label, value in beside.items() if value},
    )


def _items(items: Any, within: str, depth: int, people: list[str]) -> Iterator[tuple[str, str]]:
    """Yield section and text of each item of the tree, in order."""
    if depth > _MAX_DEPTH:
        raise ValueError("too deep")
    for item in items or ():
        relation, kind = _text(item.get("RelationshipType")), _text(item.get("ValueType"))
        concept, label = _concept(item)
        if kind == "PNAME":
            people.append(_name(_text(item.get("PersonName"))))
            continue
        if relation in ("HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD", "SELECTED FROM"):
            continue
        section = _section(concept, label, within)
        value = _value(item, kind)
        if value:
            # At the root a name that is no section is what the whole text is called.
            plain = kind == "TEXT" and (bool(concept) or not label or not section)
            yield section, value if plain else f"{label}: {value}" if label else value
        elif kind == "CONTAINER" and label and not concept and within:
            # "Lungs" within the findings: a heading that is no section stays in the text.
            inner = list(_items(item.get("ContentSequence"), within, depth + 1, people))
            for number, (section, text) in enumerate(inner):
                first = number == 0 and section == within
                yield section, f"{label}: {text}" if first else text
            continue
        yield from _items(item.get("ContentSequence"), section, depth + 1, people)


def _section(concept: str, label: str, within: str) -> str:
    """Return where an item's text goes; ``other`` and what stands in it stays there under its label."""
    if within.startswith(OTHER):
        return within
    if concept == OTHER:
        return f"{OTHER}{label}"
    if concept == FINDINGS and within in SECTIONS:
        # "Finding" is what most items are called, in whatever container.
        return within
    return concept or within


def _concept(item: Dataset) -> tuple[str, str]:
    """Return the section that an item's name stands for, if any, and the name itself."""
    for code in item.get("ConceptNameCodeSequence") or ():
        label = _text(code.get("CodeMeaning"))
        value = _text(code.get("CodeValue") or code.get("LongCodeValue"))
        meaning = _CONCEPTS.get((_text(code.get("CodingSchemeDesignator")), value)) or named(label)
        return ("impression" if meaning == EITHER else meaning), label
    return "", ""


def _value(item: Dataset, kind: str) -> str:
    if kind == "TEXT":
        return _text(item.get("TextValue")).replace("\r\n", "\n").strip()
    if kind == "CODE":
        return ", ".join(_text(code.get("CodeMeaning")) for code in item.get("ConceptCodeSequence") or ())
    if kind == "NUM":
        measured = []
        for number in item.get("MeasuredValueSequence") or ():
            units = number.get("MeasurementUnitsCodeSequence") or ()
            unit = _text(units[0].get("CodeValue")) if units else ""
            measured.append(f"{_text(number.get('NumericValue'))} {'' if unit in ('1', '{ratio}') else unit}".strip())
        return ", ".join(measured)
    return _text(item.get("Date")) if kind == "DATE" else ""


def _name(text: str) -> str:
    return " ".join(text.partition("=")[0].replace("^", " ").split())


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        return " ".join(str(part) for part in value)
    return str(value).strip()
