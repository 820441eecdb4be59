"""Reports in Word documents: what a reader sees, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_factory import W, docx, margin, p, table

from petct_cli.core.errors import RecordError
from petct_cli.dataset.matching import ReportIndex, StudyKeys
from petct_cli.dataset.report_files import load_reports
from petct_cli.report.sections import parse_report
from petct_cli.report.word import read_word

BOX = (
    "<w:p><w:r><mc:AlternateContent><mc:Choice Requires='wps'><wps:txbx><w:txbxContent>{0}</w:txbxContent></wps:txbx>"
    "</mc:Choice><mc:Fallback><v:textbox><w:txbxContent>{0}</w:txbxContent></v:textbox></mc:Fallback>"
    "</mc:AlternateContent></w:r></w:p>"
)


def test_a_form_with_its_head_and_its_findings_in_tables(tmp_path: Path) -> None:
    data = docx(
        "PHIẾU KẾT QUẢ CHỤP PET/CT",
        table(["Họ và tên:", "Lý Hoa", "Tuổi: 60"], ["Mã BN", "77", "Ngày chụp:", "03/01/2024"]),
        "Chẩn đoán: U phổi",
        "II. MÔ TẢ HÌNH ẢNH",
        table(
            ["Vùng", "Mô tả"],
            ["1. Đầu - cổ", "Não bình thường."],
            ["2. Lồng ngực", ["Nốt phổi phải.", "Hạch rốn phổi."]],
            ["Bụng", [table(["Gan", "bình thường."])]],
        ),
        p("KẾT LUẬN", run="<w:b/>"),
        p("U phổi phải."),
        "Bác sĩ đọc kết quả",
        "Phạm Văn Nam",
    )
    (tmp_path / "a.docx").write_bytes(data)
    match = ReportIndex(load_reports(tmp_path)).match(StudyKeys(patient=["77"], date="20240103"))
    assert match is not None
    assert match.by == "patient_date"
    parsed = parse_report(match.entry.document)
    assert parsed.sections == {
        "head_neck": "Não bình thường.",
        "chest": "Nốt phổi phải.\nHạch rốn phổi.",
        "abdomen_pelvis": "Gan\tbình thường.",
        "impression": "U phổi phải.",
        "indication": "U phổi",
    }
    assert parsed.not_understood["Mô tả hình ảnh/Bác sĩ đọc kết quả"] == "Phạm Văn Nam"
    assert parsed.unknown == 0


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (p("thêm", around="<w:ins>{}</w:ins>"), "thêm"),
        (p("bỏ", around="<w:del>{}</w:del>"), ""),
        (p("đi", around="<w:moveFrom>{}</w:moveFrom>"), ""),
        (p("đến", around="<w:moveTo>{}</w:moveTo>"), "đến"),
        (f"<w:sdt><w:sdtContent>{p('ô nhập')}</w:sdtContent></w:sdt>", "ô nhập"),
        (p("liên kết", around="<w:hyperlink>{}</w:hyperlink>"), "liên kết"),
        (p("ẩn", run="<w:vanish/>"), ""),
        (p("hiện", run='<w:vanish w:val="0"/>'), "hiện"),
        ("<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>", "a\tb\nc"),
        ("<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>a</w:t></w:r></w:p>", "a"),
        ("<w:p><w:r><w:instrText>AUTHOR</w:instrText></w:r><w:r><w:t>x</w:t></w:r></w:p>", "x"),
        (BOX.format(p("khung")), "khung\n"),
        (f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{p('Nhập ở đây')}</w:sdtContent></w:sdt>", ""),
        (f"<w:sdt><w:sdtPr><w:showingPlcHdr w:val='0'/></w:sdtPr><w:sdtContent>{p('a')}</w:sdtContent></w:sdt>", "a"),
        (
            "<w:p><w:r><w:fldChar><w:ffData><w:ddList><w:result w:val='1'/><w:listEntry w:val='phải'/>"
            "<w:listEntry w:val='trái'/></w:ddList></w:ffData></w:fldChar></w:r></w:p>",
            "trái",
        ),
        ("<w:p><w:r><w:t>SUV</w:t><w:sym w:font='Symbol' w:char='F0B3'/><w:t>2,5</w:t></w:r></w:p>", "SUV≥2,5"),
        (
            "<w:p><m:oMath xmlns:m='http://schemas.openxmlformats.org/officeDocument/2006/math'><m:r><m:t>5 mm</m:t>"
            "</m:r></m:oMath></w:p>",
            "5 mm",
        ),
    ],
)
def test_what_a_reader_sees(body: str, text: str) -> None:
    assert read_word(docx(body)).text == text


def test_page_headers_only_tell_whose_it_is(tmp_path: Path) -> None:
    parts = {
        "word/header1.xml": margin("hdr", "BỆNH VIỆN X", "Mã BN: 77"),
        "word/footer1.xml": margin("ftr", "Trang 1/2"),
    }
    (tmp_path / "a.docx").write_bytes(docx("Lồng ngực: sạch.", parts=parts))
    match = ReportIndex(load_reports(tmp_path)).match(StudyKeys(patient=["77"]))
    assert match is not None
    assert match.entry.document == {"Mã BN": "77", "Mô tả hình ảnh": "Lồng ngực: sạch."}


def test_notes_stand_where_their_numbers_are() -> None:
    notes = (
        '<w:{0}s xmlns:w="{1}"><w:{0} w:id="0" w:type="separator"><w:p/></w:{0}><w:{0} w:id="2">{2}</w:{0}></w:{0}s>'
    )
    parts = {
        f"word/{kind}s.xml": notes.format(kind, W, p(text) + p("."))
        for kind, text in (("footnote", "a"), ("endnote", "b"))
    }
    reference = '<w:p><w:r><w:t>Nốt</w:t></w:r><w:r><w:{}Reference w:id="{}"/></w:r><w:r><w:t>.</w:t></w:r></w:p>'
    body = [reference.format(*of) for of in (("footnote", 2), ("endnote", 2), ("footnote", 0), ("footnote", 9))]
    assert read_word(docx(*body, parts=parts)).text == "Nốt (a .).\nNốt (b .).\nNốt.\nNốt."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        docx("x")[:-30],
        docx("x", doctype='<!DOCTYPE d [<!ENTITY a "aa">]>'),
        docx("x", doctype='<!DOCTYPE d SYSTEM "file:///etc/passwd">'),
        docx("<w:p>"),
        docx("<w:altChunk/>"),
        docx("<w:sdt>" * 500 + "</w:sdt>" * 500),
        docx("<w:p><w:r><w:t>" + " " * (65 << 20) + "</w:t></w:r></w:p>"),
    ],
    ids=["empty", "encrypted", "cut", "entity", "external", "unclosed", "embedded", "deep", "bomb"],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        read_word(data)
    assert caught.value.code == "report_format"


def test_old_documents_are_refused_and_misnamed_ones_read(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    (tmp_path / "b.doc").write_bytes(docx("Lồng ngực: sạch."))
    (tmp_path / "~$b.docx").write_bytes(b"owner")
    old, new = load_reports(tmp_path)
    assert (old.fault, new.fault) == ("report_format", "")


def test_letters_of_old_fonts_are_refused_in_word_too(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(docx("Lång ngùc: nèt mê ph¶i.", "KÕt luËn: phæi b×nh th­êng, gan to, h¹ch cæ."))
    (entry,) = load_reports(tmp_path)
    assert (entry.fault, dict(entry.document)) == ("report_encoding", {})


def test_two_files_of_one_text_are_one_report(tmp_path: Path) -> None:
    for author in "ab":
        parts = {"docProps/core.xml": f"<a>{author}</a>"}
        (tmp_path / f"{author}.docx").write_bytes(docx("Mã BN: 77", "Lồng ngực: sạch.", parts=parts))
    match = ReportIndex(load_reports(tmp_path)).match(StudyKeys(patient=["77"]))
    assert match is not None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for given_bytes in (data, docx("x")[:40] + data):
        with pytest.raises(RecordError):
            read_word(given_bytes)


@given(st.lists(st.text(alphabet="aĐ ổ.,;:<>&\"'3 5BS", max_size=30), max_size=6))
def test_paragraphs_come_as_they_were_written(lines: list[str]) -> None:
    assert read_word(docx(*map(p, lines))).text == "\n".join(lines)
