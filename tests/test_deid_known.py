"""The hit rule: what counts as a value of the patient in a text, and what does not."""

from __future__ import annotations

import unicodedata
from datetime import date

import pytest

from petct_cli.dicom.deid.identifiers import Identifiers
from petct_cli.dicom.deid.known import know

KNOWN = know(
    Identifiers(
        names={"Trần^Hải^Văn", "Hồ^Lý", "IBSI-SUV", "Trần^Ánh^Thị", "Dương^Ánh^Thị Bích"},
        ids={"BN0012", "4711", "ABC"},
        phones={"0912 345 678"},
        addresses={"12 Lý Thường Kiệt, Hà Nội"},
        institutions={"Bệnh viện Sao Biển"},
        dates={date(2024, 1, 3)},
        uids={"1.2.840.99.5"},
    ),
    harmless_pairs=[("van", "hai")],
)


@pytest.mark.parametrize(
    "text",
    [
        "Trần Văn Hải", "TRAN VAN HAI", "hai^tran", "Hai, Tran", "x_tran_van_x", "ho ly", "BN0012", "id=bn0012;",
        "mã 4711.",
        "+84 912 345 678", "0912345678", "12 lý thường kiệt, hà nội", "BENH VIEN SAO BIEN", "20240103", "2024-01-03",
        "Dương Thị", "Bích Ánh", "Anh Duong",
        "trần ánh", "ANH TRAN", "tran anh",
        "20240103101500", "3/1/2024", "03/01/24", "01/03/2024", "ngày 3 tháng 1 năm 2024", "3 Jan 2024",
        "January 3, 2024",
        "uid 1.2.840.99.5", "BS. Hải", unicodedata.normalize("NFD", "Trần Văn Hải"),
    ],
)  # fmt: skip
def test_hits(text: str) -> None:
    assert KNOWN.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "hình ảnh tràn dịch",
        "Trần nhà", "hải", "Lý do vào viện", "Hồ sơ", "bệnh lý van hai lá", "X4711", "47110", "abc",
        "PET SUV verification",
        "20240104", "120240103", "10/12/15 mm", "SUVmax: 4,7", "1.2.840.99.55", "1.2.840.99", "hình ảnh Hải",
    ],
)  # fmt: skip
def test_no_hits(text: str) -> None:
    assert not KNOWN.find(text)


def test_hits_point_into_the_original_text() -> None:
    text = "BN: Trần Văn Hải, sinh 1950"
    (hit,) = KNOWN.find(text)
    assert text[hit.start : hit.end] == "Trần Văn Hải"
    decomposed = unicodedata.normalize("NFD", text)
    (hit,) = KNOWN.find(decomposed)
    assert unicodedata.normalize("NFC", decomposed[hit.start : hit.end]) == "Trần Văn Hải"


@pytest.mark.parametrize(
    "text",
    [
        "12 Ly Thuong Kiet - Ha Noi", "12  lý thường kiệt ha noi", "BN 0012", "bn-0012", "001 085 012 345",
        "001085012345", "0912.345.678 2024", "tel (+84) 912-345-678", "(84)912345678", "TranVanHai", "HAIVANTRAN1950",
        "Tr\u200bần Văn Hải", "Trần\nVăn Hải", "Тrần Văn Нải", "TRAN\r\nVAN HAI", "0912\n345 678",
        "Tr\u00adan Van Hai", "Trần\u00a0Văn Hải", "山田太郎様", "2024_01_03", "IMG20240103",
        "2024-Jan-03", "03.01.2024 10:15", "3 tháng 1, 2024", "3 01 2024", "03,01,2024",
    ],
)  # fmt: skip
def test_hits_however_they_are_written(text: str) -> None:
    known = know(
        Identifiers(
            names={"Trần^Hải^Văn", "山田^太郎"},
            ids={"BN0012", "001085012345"},
            phones={"0912 345 678; 0987 654 321"},
            addresses={"12 Lý Thường Kiệt, Hà Nội"},
            dates={date(2024, 1, 3)},
        )
    )
    assert known.find(text)


@pytest.mark.parametrize("text", ["chuyên khoa ung bướu", "PET/CT toàn thân", "Nuclear Medicine", "4711 0012"])
def test_departments_are_no_institutions_unless_they_say_more(text: str) -> None:
    known = know(Identifiers(ids={"BN0012"}, departments={"Ung bướu", "PET/CT", "Nuclear Medicine"}))
    assert not known.find(text)


def test_kinds_have_names_for_reports() -> None:
    assert {hit.kind for hit in KNOWN.find("12 Lý Thường Kiệt, Hà Nội, Bệnh viện Sao Biển")} == {
        "address",
        "institution",
    }


def test_short_values_are_counted_not_searched() -> None:
    assert KNOWN.not_scanned == 1


def test_short_parts_of_a_long_name_count_together() -> None:
    known = know(Identifiers(names={"Hạng^Chờ^A", "Cứ^Dơ^A"}))
    text = "theo HANG^A CHO, CUADO và Cứ A Dơ"
    assert [text[hit.start : hit.end] for hit in known.find(text)] == ["HANG^A CHO", "CUADO", "Cứ A Dơ"]
    assert not known.find("Vitamin A dơ, chờ a")


@pytest.mark.parametrize("text", ["lê hòa", "lê hoà", "Bà Hoà", "bà Hòa"])
def test_the_place_of_the_tone_mark_does_not_matter(text: str) -> None:
    assert know(Identifiers(names={"Lê^Hoà"})).find(text)


def test_a_name_of_two_words_without_marks_is_found_with_them_unless_they_are_words_of_reports() -> None:
    known = know(Identifiers(names={"A^THUT", "TRAN^ANH"}), vocabulary=["ảnh", "tràn"])
    assert known.find("gan của a thút to")
    assert known.find("gan của trần ánh to")
    assert not known.find("hình ảnh tràn dịch")
