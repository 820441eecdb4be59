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


def test_short_values_are_counted_not_searched() -> None:
    assert KNOWN.not_scanned == 1
