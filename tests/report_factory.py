"""Invented reports as files: Word documents and structured reports, with something planted wherever it could hide."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def p(text: str, *, run: str = "", around: str = "{}") -> str:
    """A paragraph of one run; `run` are its properties, `around` what stands about it."""
    properties = f"<w:rPr>{run}</w:rPr>" if run else ""
    run = f'<w:r>{properties}<w:t xml:space="preserve">{escape(text)}</w:t></w:r>'
    return f"<w:p>{around.format(run)}</w:p>"


def table(*rows: Sequence[str | Sequence[str]]) -> str:
    """A table of cells, each one paragraph, several, or XML."""
    made = ""
    for row in rows:
        made += "<w:tr>"
        for cell in row:
            lines = [cell] if isinstance(cell, str) else cell
            inner = "".join(line if line.startswith("<w:") else p(line) for line in lines)
            made += f"<w:tc><w:tcPr/>{inner}</w:tc>"
        made += "</w:tr>"
    return f"<w:tbl><w:tblPr/>{made}</w:tbl>"


def docx(*body: str, parts: dict[str, str] | None = None, doctype: str = "", main: str = "word/document.xml") -> bytes:
    """A Word document; `body` are paragraphs as text or XML, `parts` further parts of the package by name."""
    inner = "".join(part if part.startswith("<") else p(part) for part in body)
    out = io.BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{_REL}/officeDocument" Target="{main}"/></Relationships>',
        )
        archive.writestr(
            main,
            f'<?xml version="1.0" encoding="UTF-8"?>{doctype}<w:document xmlns:w="{W}" '
            'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
            'xmlns:v="urn:schemas-microsoft-com:vml" xmlns:wps="http://schemas.microsoft.com/office/word/2010/'
            f'wordprocessingShape"><w:body>{inner}</w:body></w:document>',
        )
        for name, text in (parts or {}).items():
            archive.writestr(name, text)
    return out.getvalue()


def margin(kind: str, *lines: str) -> str:
    """A page header (`kind` hdr) or footer (ftr)."""
    return f'<w:{kind} xmlns:w="{W}">{"".join(map(p, lines))}</w:{kind}>'


def code(value: str, scheme: str, meaning: str) -> Any:
    """A coded concept."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def item(kind: str, name: Any, *children: Any, relation: str = "CONTAINS", **values: Any) -> Any:
    """An item of a content tree; `name` is a coded concept or None."""
    from pydicom.dataset import Dataset

    made = Dataset()
    made.RelationshipType, made.ValueType = relation, kind
    if name is not None:
        made.ConceptNameCodeSequence = [name]
    for keyword, value in values.items():
        setattr(made, keyword, value)
    if children:
        made.ContentSequence = list(children)
    return made


def sr(
    *items: Any, sop_class: str = "1.2.840.10008.5.1.4.1.1.88.11", charset: str = "ISO_IR 192", **header: Any
) -> bytes:
    """A structured report with these items at its root."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made = Dataset()
    made.SpecificCharacterSet = charset
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = sop_class, "1.2.3.9", "SR"
    made.StudyInstanceUID, made.PatientID, made.AccessionNumber = "1.2.3", "P-77", "ACC1"
    made.StudyDate, made.PatientName = "20240103", "Lý^Hoa"
    made.ValueType = "CONTAINER"
    made.ConceptNameCodeSequence = [code("18748-4", "LN", "Diagnostic Imaging Report")]
    for keyword, value in header.items():
        setattr(made, keyword, value)
    made.ContentSequence = list(items)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = sop_class, "1.2.3.9"
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()
