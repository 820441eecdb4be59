"""De-identification of Vietnamese report text."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import orjson
import pytest

from petct_cli.report.deid import clean_text, report_file
from petct_cli.report.deid_head import administrative_values

CLEAN = (
    "Hình ảnh vài hạch ở góc hàm (nhóm IIB) hai bên, kích thước nhỏ 10 mm, không tăng chuyển hóa FDG. "
    "Hạch Virchow 12,5 mm (SUVmax: 12,6). "
    "Vòng Waldeyer bình thường. Bệnh lý van hai lá. U lympho Hodgkin, Deauville 4. Đốt sống T12, L1/2."
)


def nothing_known(_: str) -> list[tuple[int, int, str]]:
    return []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Họ và tên: Nguyễn Thị Hoa, nữ", "Họ và tên: [TÊN], nữ"),
        ("BSCKII. Đỗ Quang Minh", "BSCKII. [TÊN]"),
        ("do BS Hùng mổ", "do BS [TÊN] mổ"),
        ("Bà Lan đến khám", "Bà [TÊN] đến khám"),
        ("theo Phan Thị Bích Ngọc.", "theo [TÊN]."),
        ("gửi NGUYEN VAN A.", "gửi [TÊN]."),
        ("Mã BN: HS23-1234, SĐT 0912 345 678", "Mã BN: [MÃ SỐ], SĐT [ĐIỆN THOẠI]"),
        ("gọi 0912345678 nhé", "gọi [ĐIỆN THOẠI] nhé"),
        ("Địa chỉ: số 12 phố Huế, Hà Nội\nKết luận", "Địa chỉ: [ĐỊA CHỈ]\nKết luận"),
        ("Sinh năm 1930, 93 tuổi", "Sinh năm [NGÀY], 90 tuổi"),
        ("chụp ngày 05/03/2021.", "chụp ngày 23/02/2021."),
        ("ngày 5 tháng 3 năm 2021", "ngày 23 tháng 2 năm 2021"),
        ("PET/CT 01/2018", "PET/CT 12/2017"),
        ("mổ năm 2018", "mổ năm 2017"),
        ("ngày 12/5 tái khám", "ngày [NGÀY] tái khám"),
        ("Họ và tên: Nguyễn Văn An sinh năm 1950", "Họ và tên: [TÊN] sinh năm [NGÀY]"),
        ("Bn: nguyễn văn an, nam", "Bn: [TÊN], nam"),
        ("bs. Hùng đọc", "bs. [TÊN] đọc"),
        ("bác sĩ: lê văn hùng.", "bác sĩ: [TÊN]."),
        ("BN John Schwarzenegger", "BN [TÊN]"),
        ("gọi +84 912 345 678", "gọi [ĐIỆN THOẠI]"),
        ("(024) 3825 3531", "[ĐIỆN THOẠI]"),
        ("zalo 84912345678", "zalo [ĐIỆN THOẠI]"),
        ("CCCD: 001 085 012 345", "CCCD: [MÃ SỐ]"),
        ("BHYT: GD 4 79 3216549870", "BHYT: [MÃ SỐ]"),
        ("Địa chỉ: số 12, TP. Hồ Chí Minh, Q. Bình Thạnh. Kết luận", "Địa chỉ: [ĐỊA CHỈ]. Kết luận"),
        ("Địa chỉ: ngõ 5/2019 phố Huế", "Địa chỉ: [ĐỊA CHỈ]4/2019[ĐỊA CHỈ]"),
        ("nhà số 12 phố Huế", "nhà [ĐỊA CHỈ]"),
        ("ngụ tại 12 Lý Thường Kiệt, Hà Nội.", "ngụ tại [ĐỊA CHỈ]."),
        ("ngày: 05/03/21", "ngày: 23/02/21"),
        ("chụp 05 / 03 / 2021", "chụp 23 / 02 / 2021"),
        ("chụp 20210305.", "chụp 20210223."),
        ("sinh 31/12/1950", "sinh [NGÀY]"),
        ("SN 1950", "SN [NGÀY]"),
        ("PET 94Y", "PET 90Y"),
        ("a 94-year-old man, 089Y before", "a 90-year-old man, 089Y before"),
        ("mail a.b@benhvien.vn", "mail [ĐIỆN THOẠI]"),
    ],
)
def test_what_names_somebody_goes_and_dates_move(text: str, expected: str) -> None:
    assert clean_text(text, nothing_known, -10).text == expected
    decomposed = clean_text(unicodedata.normalize("NFD", text), nothing_known, -10).text
    assert unicodedata.normalize("NFC", decomposed) == expected


@pytest.mark.parametrize(
    "text",
    ["BN Không sốt", "Bệnh nhân Có khối u", "FDG khu trú ở gan", "2 đường kính 10 mm", "thấy 3 tổ chức phần mềm",
     "tỷ trọng 0 10 20 30 40 50 HU", "SUVmax 10.2 12.5 12.3", "WB CTAC 3.75 Thick", "Thin Lung 2.0 Br64",
     "90Y SIRT", "89 years"],
)  # fmt: skip
def test_what_only_looks_like_an_identifier_stays(text: str) -> None:
    assert clean_text(text, nothing_known, -10).text == text


def test_findings_keep_their_bytes() -> None:
    cleaned = clean_text(CLEAN, nothing_known, -400)
    assert cleaned.text == CLEAN
    assert not cleaned.counts
    decomposed = unicodedata.normalize("NFD", CLEAN)
    assert clean_text(decomposed, nothing_known, -400).text == decomposed


def test_known_values_go_wherever_they_stand() -> None:
    cleaned = clean_text("hạch cũ của X-17 vùng cổ", lambda text: [(12, 16, "id")], -10)
    assert cleaned.text == "hạch cũ của [MÃ SỐ] vùng cổ"
    assert cleaned.counts == {"id": 1}


def test_two_views_of_one_name_are_one_name() -> None:
    """A part that is known and the whole that the title gives away."""
    cleaned = clean_text("Bà Dương Thị Bích Ánh, nữ", lambda text: [(3, 12, "name")], -10)
    assert cleaned.text == "Bà [TÊN], nữ"


def test_what_was_written_can_be_told_from_what_was_left() -> None:
    cleaned = clean_text("ngày 05/03/2021 hạch", nothing_known, -10)
    assert "2021" not in cleaned.unwritten
    assert len(cleaned.unwritten) == len(cleaned.text)


def test_the_head_of_a_report_tells_values_by_label() -> None:
    found = administrative_values(
        {"Hành chính": {"Họ tên": "LÊ HOA", "Mã BN": "X1", "Bác sĩ đọc kết quả": "BS. Bùi Thảo", "Điện thoại": "0900"}}
    )
    assert found == {"names": {"LÊ HOA", "Bùi Thảo"}, "ids": {"X1"}, "phones": {"0900"}}


def test_heads_in_other_words() -> None:
    found = administrative_values({"Patient": "Lý Hồ An", "Khoa": "Ung bướu", "Study": "PET/CT", "Số lượng": "hai"})
    assert found == {"names": {"Lý Hồ An"}, "departments": {"Ung bướu"}}


def test_the_clean_file_holds_sections_only() -> None:
    document = report_file({"impression": "a", "chest": "b", "indication": "c"})
    assert document == {"Chỉ định": "c", "Nhận định kết quả": "a", "Mô tả hình ảnh": {"Lồng ngực": "b"}}


@pytest.mark.real
def test_real_findings_are_left_alone(real_data: Path) -> None:
    lines = (real_data / "vimed/reports.jsonl").read_bytes().splitlines()
    texts = [str(orjson.loads(line)["reference"]) for line in lines]
    tokens = touched = 0
    dated = re.compile(r"(?:\d{1,2}/)?\d{1,2}/(?:19|20)\d\d")
    for text in texts:
        new = clean_text(text, nothing_known, -400).text
        old_tokens, new_tokens = text.split(), new.split()
        tokens += len(old_tokens)
        assert len(old_tokens) == len(new_tokens)
        touched += sum(a != b for a, b in zip(old_tokens, new_tokens, strict=True))
        assert re.findall(r"\d[\d.,]*", dated.sub("", text)) == re.findall(r"\d[\d.,]*", dated.sub("", new))
    assert touched / tokens <= 0.005
