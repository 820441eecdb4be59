"""Matching reports to studies."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from petct_cli.core.errors import InputError, RecordError
from petct_cli.dataset.matching import ReportIndex, StudyKeys
from petct_cli.dataset.report_files import load_reports
from petct_cli.report.sections import parse_report


def index_of(folder: Path) -> ReportIndex:
    return ReportIndex(load_reports(folder))


def write(path: Path, value: object) -> None:
    path.write_bytes(orjson.dumps(value))


FINDINGS = {"Nhận định kết quả": "x", "Mô tả hình ảnh": {"Lồng ngực": "y"}}


def test_evidence_is_tried_from_the_strongest_down(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"Hành chính": {"Số phiếu": "ACC 1", "Mã BN": "7"}, **FINDINGS})
    write(tmp_path / "b.json", {"Hành chính": {"Mã BN": "8", "Ngày chụp": "03/01/2024"}, **FINDINGS, "n": 1})
    write(tmp_path / "c.json", {"Hành chính": {"Mã BN": "8", "Ngày chụp": "04/01/2024"}, **FINDINGS, "n": 2})
    write(tmp_path / "study_9.json", FINDINGS)
    index = index_of(tmp_path)
    assert index.size == 4
    by = lambda **keys: (match := index.match(StudyKeys(**keys))) and (match.by, match.entry.name)  # noqa: E731
    assert by(accession=["acc-1"], patient=["8"]) == ("accession", "a")
    assert by(patient=["8"], date="20240103") == ("patient_date", "b")
    assert by(patient=["8"], date="2024-01-04") == ("patient_date", "c")
    assert by(patient=["7"], date="20200101") == ("patient", "a")
    assert by(names=["study_9"]) == ("name", "study_9")
    assert by(patient=["8"], date="20240205") is None
    assert by(patient=["nobody"]) is None
    assert by() is None


def test_two_different_reports_with_one_claim_match_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"Mã BN": "8", **FINDINGS})
    write(tmp_path / "b.json", {"Mã BN": "8", **FINDINGS, "n": 1})
    with pytest.raises(RecordError) as caught:
        index_of(tmp_path).match(StudyKeys(patient=["8"]))
    assert caught.value.code == "report_ambiguous"


def test_jsonl_csv_and_text(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(
        orjson.dumps({"accession": "A1", "report": FINDINGS})
        + b"\n"
        + orjson.dumps({"patient_id": "B", "text": "hạch"})
    )
    (tmp_path / "r.csv").write_text('PatientID,report\nC,"{""Kết luận"": ""z""}"\nD,"hai\ndòng"\n', encoding="utf-8")
    (tmp_path / "E.txt").write_text("Kết luận: w", encoding="utf-8")
    index = index_of(tmp_path)
    found = {
        "A": index.match(StudyKeys(accession=["A1"])),
        "B": index.match(StudyKeys(patient=["B"])),
        "C": index.match(StudyKeys(patient=["C"])),
        "D": index.match(StudyKeys(patient=["D"])),
        "E": index.match(StudyKeys(names=["E"])),
    }
    documents = {name: dict(match.entry.document) for name, match in found.items() if match}
    assert documents == {
        "A": FINDINGS,
        "B": {"Mô tả hình ảnh": "hạch"},
        "C": {"Kết luận": "z"},
        "D": {"Mô tả hình ảnh": "hai\ndòng"},
        "E": {"Mô tả hình ảnh": "Kết luận: w"},
    }


def test_a_bad_report_file_is_named_by_its_place_only(tmp_path: Path) -> None:
    (tmp_path / "NGUYEN_VAN_A.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        list(load_reports(tmp_path / "NGUYEN_VAN_A.json"))
    assert caught.value.code == "report_unreadable"
    assert "NGUYEN" not in str(caught.value)
    write(tmp_path / "B.json", FINDINGS)
    index = index_of(tmp_path)
    assert index.faults == {2: "report_unreadable"}
    assert index.match(StudyKeys(names=["B"])) is not None
    with pytest.raises(RecordError) as failed:
        index.match(StudyKeys(names=["nguyen van a"]))
    assert failed.value.code == "report_unreadable"
    assert "NGUYEN" not in str(failed.value)


def test_plain_text_is_matched_by_its_head(tmp_path: Path) -> None:
    head = "BỆNH VIỆN X\nHọ tên: Lý Hoa; Mã BN: 77 - Ngày chụp: 03/01/2024\nĐịa chỉ: xã An Lạc\n"
    (tmp_path / "scan 1.txt").write_text(head + "Lồng ngực: nốt 5 mm.\nKết luận: u phổi.", encoding="utf-8-sig")
    match = index_of(tmp_path).match(StudyKeys(patient=["77"], date="20240103"))
    assert match is not None
    assert match.by == "patient_date"
    assert match.entry.document == {
        "Họ tên": "Lý Hoa",
        "Mã BN": "77",
        "Ngày chụp": "03/01/2024",
        "Địa chỉ": "xã An Lạc",
        "Tiêu đề": "BỆNH VIỆN X",
        "Mô tả hình ảnh": "Lồng ngực: nốt 5 mm.\nKết luận: u phổi.",
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "Mã BN;Kết luận\n7;gan to\n"),
        ("a.csv", "Mã BN\tKết luận\n7\tgan to\n"),
        ("a.tsv", "Mã BN\tKết luận\n7\tgan to\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    match = index_of(tmp_path).match(StudyKeys(patient=["7"]))
    assert match is not None
    assert match.entry.document == {"Mã BN": "7", "Kết luận": "gan to"}


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("S1.txt", "Hä tªn: NguyÔn V¨n An, bÖnh nh©n nam, phæi ph¶i cã nèt mê".encode("latin-1"), "report_encoding"),
        ("S1.txt", "Hoï vaø teân: Nguyeãn Vaên An, beänh nhaân nam, ñöôøng kính", "report_encoding"),
        ("S1.txt", b"\x81\x8d\x8f\xff\xfe\x00", "report_encoding"),
        ("S1.xlsx", b"PK\x03\x04", "report_format"),
        ("S1.pdf", b"%PDF-1.7", "report_format"),
    ],
)
def test_what_cannot_be_read_fails_its_study_only(tmp_path: Path, name: str, data: bytes | str, code: str) -> None:
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    write(tmp_path / "S2.json", FINDINGS)
    index = index_of(tmp_path)
    assert index.match(StudyKeys(names=["S2"])) is not None
    with pytest.raises(RecordError) as caught:
        index.match(StudyKeys(names=["S1"]))
    assert caught.value.code == code


def workbook(*rows: list[object]) -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_workbook_is_a_report_a_row(tmp_path: Path) -> None:
    header: list[object] = ["Mã BN", "Ngày chụp", "Nội dung"]
    first: list[object] = ["BN001", datetime(2024, 1, 3), "Lồng ngực: u phổi phải 12 mm"]
    path = tmp_path / "reports.xlsx"
    path.write_bytes(workbook([None, None], header, first, [], [4711.0, "04/01/2024", "Đầu - cổ: bình thường"]))
    index = ReportIndex(load_reports(path))
    assert index.size == 2
    match = index.match(StudyKeys(patient=["BN001"], date="20240103"))
    assert match is not None
    assert match.by == "patient_date"
    assert "12 mm" in str(match.entry.document)
    match = index.match(StudyKeys(patient=["4711"], date="20240104"))
    assert match is not None


def test_what_is_called_a_workbook_and_is_none_is_an_unusable_report(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"not a workbook")
    (entry,) = load_reports(tmp_path / "a.xlsx")
    assert entry.fault == "report_format"


def parsed(path: Path) -> list[tuple[str, dict[str, str], dict[str, str], int]]:
    """Return of each report its fault, the fields, the sections and how many parts were not understood."""
    reports = [(entry, parse_report(entry.document)) for entry in load_reports(path)]
    return [(entry.fault, dict(entry.fields), report.sections, report.unknown) for entry, report in reports]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("sep=;\nMã BN;Mô tả\n7;a,b\n", [("", {"patient": "7"}, {"findings": "a,b"}, 0)]),
        ("Danh sách\n\nMã BN;Mô tả, nếu có;KL\n7;a,b;c\n", [("", {"patient": "7"}, {"impression": "c"}, 1)]),
        ("Mã BN,Mô tả,Mô tả\n7,Ngực: a,Bụng: b\n", [("", {"patient": "7"}, {"chest": "a", "abdomen_pelvis": "b"}, 0)]),
        (
            "Mã BN,KL\n7,u,di căn\n8,u,,\n",
            [("report_row", {"patient": "7"}, {}, 0), ("", {"patient": "8"}, {"impression": "u"}, 0)],
        ),
        (
            "Mã BN,report\n7,{\\rtf1 u}\n8,{u\n",
            [("report_row", {"patient": "7"}, {}, 0), ("", {"patient": "8"}, {"findings": "{u"}, 0)],
        ),
        (
            ",Mã BN,,KL\n1,7,gan to,u\n2,8,,v\n",
            [("", {"patient": "7"}, {"impression": "u"}, 1), ("", {"patient": "8"}, {"impression": "v"}, 0)],
        ),
        ("7,u phổi\n8,gan to\n", [("report_columns", {}, {}, 0)]),
        ("Mã BN,Ngày,KL\n7,45294,u\n", [("", {"patient": "7", "date": "45294"}, {"impression": "u"}, 0)]),
    ],
)
def test_tables_as_they_come(tmp_path: Path, text: str, rows: list[object]) -> None:
    (tmp_path / "a.csv").write_text(text, "utf-8")
    assert parsed(tmp_path / "a.csv") == rows


def test_a_table_that_ends_within_a_quotation_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('Mã BN,KL\n7,"u\n8,v\n', "utf-8")
    with pytest.raises(InputError) as caught:
        list(load_reports(tmp_path / "a.csv"))
    assert caught.value.code == "report_unreadable"
    (tmp_path / "b.csv").write_text('Mã BN,KL\n7,nốt 5" phải\n8,"v"\n', "utf-8")
    assert [row[2] for row in parsed(tmp_path / "b.csv")] == [{"impression": 'nốt 5" phải'}, {"impression": "v"}]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt", "a.json", "a.xlsx", "a.docx"])
def test_an_empty_file_is_told_of(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b" \n")
    assert [fault for fault, *_ in parsed(tmp_path)] == ["report_unreadable"]
    with pytest.raises(InputError) as caught:
        parsed(tmp_path / name)
    assert caught.value.code == "report_unreadable"


def test_a_bad_line_or_item_is_one_report_and_the_rest_go_on(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"patient": "7", "KL": "u"}\n{bad\n5\n{"patient": 8.0, "KL": 3}\n', "utf-8")
    good, *bad, number = parsed(tmp_path / "a.jsonl")
    assert good == ("", {"patient": "7"}, {"impression": "u"}, 0)
    assert [fault for fault, *_ in bad] == ["report_row", "report_row"]
    assert number == ("", {"patient": "8"}, {}, 1)
    (tmp_path / "a.json").write_text('[{"patient": "7", "KL": "u"}, 5]', "utf-8")
    assert [fault for fault, *_ in parsed(tmp_path / "a.json")] == ["", "report_row"]
    (tmp_path / "deep.json").write_text('{"a":' * 900 + "1" + "}" * 900)
    with pytest.raises(InputError):
        list(load_reports(tmp_path / "deep.json"))


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1", b"%PDF-1.7", b"{\\rtf1 a}"])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.report"])
def test_what_is_no_text_is_none_by_any_name(tmp_path: Path, head: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(head + b" x")
    assert [fault for fault, *_ in parsed(tmp_path / name)] == ["report_format"]


def book(*sheets: Callable[[Any], None]) -> bytes:
    from openpyxl import Workbook

    made = Workbook()
    made.remove(made.active)
    for number, fill in enumerate(sheets):
        fill(made.create_sheet(str(number)))
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def two_headers(sheet: Any) -> None:
    for row in (["Mã BN", "Kết quả", None], [None, "Mô tả", "Kết luận"], [7, "a", "u"]):
        sheet.append(row)
    sheet.merge_cells("A1:A2")
    sheet.merge_cells("B1:C1")
    sheet["A3"].number_format = "000000"


def notes(sheet: Any) -> None:
    sheet.append(["Người nhập", "Ghi"])
    sheet.append(["ai đó", "không gì cả"])


def errors(sheet: Any) -> None:
    sheet.append(["Mã BN", "Kết luận"])
    sheet.append(["8", "#REF!"])
    sheet["B2"].data_type = "e"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv"])
def test_a_key_that_stands_twice_loses_nothing(tmp_path: Path, name: str) -> None:
    report = (
        '{"Mã BN": "7", "Mã BN": "8", "Mô tả": {"Lồng ngực": "Nốt: \\"a\\": 5 mm."}, '
        '"Mô tả": {"Lồng ngực": "Hạch.", "Lồng ngực": "Hạch."}, "KL": "u"}'
    )
    text = report if name != "a.csv" else 'report\n"{}"\n'.format(report.replace('"', '""'))
    (tmp_path / name).write_text(text, "utf-8")
    ((fault, fields, sections, _),) = parsed(tmp_path / name)
    assert (fault, fields) == ("", {"patient": "7"})
    assert sections == {"chest": 'Nốt: "a": 5 mm.\nHạch.', "impression": "u"}


def merged(sheet: Any) -> None:
    for row in (["STT", "Mã BN", "Mô tả", "Kết luận"], [1, "7", "a", "u"], [None, None, "b", None], [2, "8", "c", "v"]):
        sheet.append(row)
    for cells in ("A2:A3", "B2:B3", "D2:D3"):
        sheet.merge_cells(cells)


def test_each_row_of_a_merged_cell_has_its_value(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(book(merged))
    assert [(fields, sections) for _, fields, sections, _ in parsed(tmp_path / "a.xlsx")] == [
        ({"patient": "7"}, {"findings": "a", "impression": "u"}),
        ({"patient": "7"}, {"findings": "b", "impression": "u"}),
        ({"patient": "8"}, {"findings": "c", "impression": "v"}),
    ]


def formulas(sheet: Any) -> None:
    for row in (
        ["Mã BN", "Tuổi", "Mô tả"],
        ["7", "=YEAR(A1)", "a"],
        ["8", 40, '=A2 & "x"'],
        ["=A9", "=A9", "=A9"],
        ["9", 41, "d"],
    ):
        sheet.append(row)


def test_a_formula_that_was_saved_without_its_value_is_told_of(tmp_path: Path) -> None:
    # openpyxl saves no values; Excel and LibreOffice write the empty text as a value of type "str".
    whole = book(formulas)
    (tmp_path / "a.xlsx").write_bytes(whole)
    assert [(fault, fields) for fault, fields, *_ in parsed(tmp_path / "a.xlsx")] == [
        ("", {"patient": "7"}),
        ("report_row", {"patient": "8"}),
        ("report_row", {}),
        ("", {"patient": "9"}),
    ]
    sheet = {"xl/worksheets/sheet1.xml": lambda data: data.replace(b'<c r="C3">', b'<c r="C3" t="str">')}
    (tmp_path / "b.xlsx").write_bytes(changed(whole, sheet))
    assert [fault for fault, *_ in parsed(tmp_path / "b.xlsx")] == ["", "", "report_row", ""]


def test_a_sheet_that_says_that_it_is_smaller_is_read_whole(tmp_path: Path) -> None:
    whole = book(merged)
    (tmp_path / "a.xlsx").write_bytes(whole)
    sheet = {"xl/worksheets/sheet1.xml": lambda data: data.replace(b'ref="A1:D4"', b'ref="A1:C2"')}
    (tmp_path / "b.xlsx").write_bytes(changed(whole, sheet))
    assert (tmp_path / "a.xlsx").read_bytes() != (tmp_path / "b.xlsx").read_bytes()
    assert parsed(tmp_path / "a.xlsx") == parsed(tmp_path / "b.xlsx")


def changed(whole: bytes, parts: dict[str, Callable[[bytes], bytes]]) -> bytes:
    """Return a package with some of its parts changed."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(out, "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            other.writestr(name, parts[name](data) if name in parts else data)
    return out.getvalue()


@pytest.mark.parametrize("name", ["a.xlsx", "a.xlsm", "a.xls"])
def test_workbooks_as_they_come(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(book(notes, two_headers, errors))
    assert parsed(tmp_path / name) == [
        ("", {"patient": "000007"}, {"findings": "a", "impression": "u"}, 0),
        ("", {"patient": "8"}, {}, 0),
    ]


def test_damaged_and_swollen_workbooks_are_unusable_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    from petct_cli.dataset import spreadsheets

    whole = book(two_headers)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for name, data in (("xl/worksheets/sheet1.xml", b"<worksheet><row"), ("xl/workbook.xml", b"<a/>")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for part, content in {**parts, name: data}.items():
                archive.writestr(part, content)
        (tmp_path / "a.xlsx").write_bytes(out.getvalue())
        assert [fault for fault, *_ in parsed(tmp_path / "a.xlsx")] == ["report_format"]
    (tmp_path / "a.xlsx").write_bytes(whole)
    monkeypatch.setattr(spreadsheets, "MOST_UNPACKED", 1000)
    assert [fault for fault, *_ in parsed(tmp_path / "a.xlsx")] == ["report_format"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"patient": ["8"], "date": "20240105"}, "report 1 of 4 is of the same patient 2 days off"),
        ({"patient": ["008"], "date": "2024-01-03"}, "report 1 of 4 is of a patient whose number is this one's"),
        ({"accession": ["acc0012"]}, "report 2 of 4 has the accession of this study, but written otherwise"),
        ({"names": ["Study 09"]}, "report 3 of 4 has the name of this study"),
        ({"study": ["01.2.3"]}, "report 4 of 4 has the study"),
    ],
)
def test_a_near_miss_is_an_error_that_names_both_sides(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    write(tmp_path / "a.json", {"Mã BN": "8", "Ngày chụp": "03/01/2024", **FINDINGS})
    write(tmp_path / "b.json", {"Số phiếu": "ACC 12", **FINDINGS})
    write(tmp_path / "study_9.json", {"Mã BN": "77", **FINDINGS})
    write(tmp_path / "z.json", {"study": "1.2.3", **FINDINGS})
    index = index_of(tmp_path)
    with pytest.raises(RecordError) as caught:
        index.match(StudyKeys(**keys))
    assert caught.value.code == "report_near_miss"
    assert said in caught.value.message


def test_what_is_of_somebody_else_is_no_near_miss(tmp_path: Path) -> None:
    write(tmp_path / "study_9.json", {"Mã BN": "77", **FINDINGS})
    write(tmp_path / "b.json", {"Mã BN": "8", "Ngày chụp": "03/01/2024", **FINDINGS})
    index = index_of(tmp_path)
    assert index.match(StudyKeys(names=["study 09"], patient=["5"])) is None
    assert index.match(StudyKeys(patient=["8"], date="20240111")) is None
    assert index.match(StudyKeys(patient=["80"], date="20240103")) is None


def test_ambiguous_reports_are_named_by_their_places(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.json", {"Mã BN": "1" if name == "a" else "8", **FINDINGS, "n": name})
    with pytest.raises(RecordError) as caught:
        index_of(tmp_path).match(StudyKeys(patient=["8"]))
    assert "reports 2, 3 of 3" in caught.value.message
