"""Word documents and structured reports on their way through `anonymize`: nothing planted in them comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Result
from dicom_factory import PATIENT_ID, STUDY_UID, write_series
from report_factory import code, docx, item, margin, p, sr, table

Petct = Callable[..., Result]
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
# One word for each place that could be carried along; none occurs anywhere else.
PLANTED = [
    "Qzauthor", "Qzcompany", "Qzcomment", "Qzdeleted", "Qzmoved", "Qzhidden", "Qzheader", "Qzfooter", "Qzfield",
    "Qznote", "Qzcustom", "Qzreviser", "0912345678", "Trịnh Quế Zoan", "Qzsigner",
]  # fmt: skip


def word() -> bytes:
    name = "Trịnh Quế Zoan"
    return docx(
        "BỆNH VIỆN QZHOSPITAL",
        table(["Họ tên:", name], ["Mã BN:", PATIENT_ID], ["Điện thoại:", "0912345678"]),
        "MÔ TẢ HÌNH ẢNH",
        p("Lồng ngực: nốt phổi phải của bệnh nhân " + name + "."),
        p("Qzdeleted", around='<w:del w:author="Qzreviser">{}</w:del>').replace("w:t", "w:delText"),
        p("Qzmoved", around='<w:moveFrom w:author="Qzreviser">{}</w:moveFrom>'),
        p("Qzhidden", run="<w:vanish/>"),
        '<w:p><w:r><w:instrText>AUTHOR "Qzfield"</w:instrText></w:r><w:r><w:commentReference w:id="0"/></w:r></w:p>',
        p("Tim không to.", around='<w:ins w:author="Qzreviser">{}</w:ins>'),
        "KẾT LUẬN: U phổi phải.",
        "Bác sĩ: Qzsigner",
        parts={
            "docProps/core.xml": "<c><creator>Qzauthor</creator></c>",
            "docProps/app.xml": "<c><Company>Qzcompany</Company></c>",
            "docProps/custom.xml": "<c>Qzcustom</c>",
            "word/comments.xml": f"<w:comments {W}>{p('Qzcomment')}</w:comments>",
            "word/footnotes.xml": f"<w:footnotes {W}>{p('Qznote')}</w:footnotes>",
            "word/header1.xml": margin("hdr", "Qzheader", "Bác sĩ chỉ định: Qzheader"),
            "word/footer1.xml": margin("ftr", "Qzfooter"),
        },
    )


def structured() -> bytes:
    return sr(
        item(
            "PNAME", code("121008", "DCM", "Person Observer Name"), relation="HAS OBS CONTEXT", PersonName="Qzreviser"
        ),
        item(
            "CONTAINER",
            code("121070", "DCM", "Findings"),
            item("TEXT", code("121071", "DCM", "Finding"), TextValue="Nốt phổi phải của bệnh nhân Trịnh Quế Zoan."),
            item("PNAME", code("1", "99X", "Signed"), PersonName="Qzsigner"),
        ),
        item("TEXT", code("121077", "DCM", "Conclusion"), TextValue="U phổi phải. Bác sĩ Qzsigner. ĐT: 0912345678"),
        PatientName="Trịnh Quế Zoan",
        StudyInstanceUID=STUDY_UID,
        InstitutionName="Qzcompany",
        ReferringPhysicianName="Qzheader",
        OperatorsName="Qzauthor",
        PatientComments="Qzcomment",
    )


@pytest.mark.parametrize(("name", "data"), [("a.docx", word()), ("a.dcm", structured())], ids=["docx", "sr"])
def test_nothing_planted_in_a_document_comes_out(petct: Petct, tmp_path: Path, name: str, data: bytes) -> None:
    ones = np.ones((3, 4, 4), np.int16)
    write_series(tmp_path / "raw/ct", "CT", ones)
    write_series(tmp_path / "raw/pet", "PT", ones)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / name).write_bytes(data)
    arguments = ("anonymize", "raw", "-o", "clean", "--reports", "reports", "--key-file", "key", "--new-key")
    result = petct(*arguments, cwd=tmp_path)
    assert result.code == 0, result.stderr
    (record,) = result.records
    texts = record["report"]["sections"]
    assert "U phổi phải." in texts["impression"]
    assert "ốt phổi phải" in " ".join(texts.values())
    if name == "a.docx":
        assert "Tim không to." in texts["chest"]
    written = [path.read_bytes() for path in (tmp_path / "clean").rglob("*") if path.is_file()]
    for text in (*written, result.stdout, result.stderr.encode()):
        assert [word for word in PLANTED if word.encode() in text] == []
        assert PATIENT_ID.encode() not in text


def test_both_languages_are_cleaned_and_written(petct: Petct, tmp_path: Path) -> None:
    ones = np.ones((3, 4, 4), np.int16)
    write_series(tmp_path / "raw/ct", "CT", ones)
    write_series(tmp_path / "raw/pet", "PT", ones)
    rows = (
        "SoHS,HoTen,MoTa,EN\n"
        f'{PATIENT_ID},Trịnh Quế Zoan,"Lồng ngực: nốt phổi của Trịnh Quế Zoan.",'
        '"Chest: nodule in the lung of Trịnh Quế Zoan."\n'
    )
    (tmp_path / "r.csv").write_text(rows, encoding="utf-8")
    result = petct(
        "anonymize", "raw", "-o", "clean", "--key-file", "key", "--new-key", "--reports", "r.csv",
        "--report-columns", "patient=SoHS,findings=MoTa,findings_en=EN", cwd=tmp_path,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    (record,) = result.records
    english = record["report"]["translations"]["en"]
    assert english["sections"]["chest"].startswith("nodule in the lung of")
    assert Path(tmp_path / english["path"]).read_text("utf-8").count("nodule in the lung") == 1
    assert "Zoan" not in str(record)
    paired = petct("anonymize", "raw", "-o", "x", "--key-file", "key", "--report-columns", "patient=SoHS", cwd=tmp_path)
    assert paired.code == 2
