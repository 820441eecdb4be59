"""Headings of plain reports however they are typed; titles, pages, columns, and two languages."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petct_cli.report.headings import SECTIONS, named, split_headings, table
from petct_cli.report.language import language_of
from petct_cli.report.normalise import bare
from petct_cli.report.plain_text import text_document
from petct_cli.report.sections import parse_report

REGIONS = {
    "head_neck": "não bình thường.",
    "chest": "nốt phổi phải.",
    "abdomen_pelvis": "gan to.",
    "impression": "u phổi.",
}


def sections(text: str) -> dict[str, str]:
    return parse_report(text_document(text)).sections


@pytest.mark.parametrize(
    "headings",
    [
        ("Đầu - cổ:", "Lồng ngực:", "Ổ bụng - khung chậu:", "Kết luận:"),
        ("ĐẦU CỔ\n", "LỒNG NGỰC\n", "BỤNG - TIỂU KHUNG\n", "KẾT LUẬN\n"),
        ("1. Đầu cổ:", "2. Ngực:", "3. Bụng và chậu hông:", "III. KẾT LUẬN:"),
        ("a) Vùng đầu cổ:", "b) Vùng ngực:", "c) Vùng bụng chậu:", "II/ Kết luận:"),
        ("dau co:", "long nguc:", "o bung khung chau:", "ket luan:"),
        ("- Sọ não :\n", "- Phổi, trung thất :\n", "- Ổ bụng, tiểu khung :\n", "* Kết luận :\n"),
        ("**Đầu cổ**:", "**Lồng ngực**:", "**Ổ bụng**:", "**KẾT LUẬN**:"),
        ("ĐẦU MẶT CỔ - ", "LỒNG NGỰC – ", "Ổ BỤNG => ", "KẾT LUẬN - "),
        ("HEAD AND NECK:", "CHEST:", "ABDOMEN/PELVIS:", "IMPRESSION:"),
        ("Đầu - cổ (Head & neck):", "Lồng ngực / Chest:", "Ổ bụng (Abdomen):", "KẾT LUẬN (IMPRESSION) PET/CT:"),
        ("1.1. Đầu cổ.\n", "1.2. Lồng ngực.\n", "1.3. Ổ bụng.\n", "2. Kết luận.\n"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("container", ["", "MÔ TẢ HÌNH ẢNH:\n", "II. KẾT QUẢ\n"])
def test_headings_as_people_type_them(headings: tuple[str, ...], form: str, container: str) -> None:
    text = container + "\n".join(f"{head} {said}" for head, said in zip(headings, REGIONS.values(), strict=True))
    assert sections(unicodedata.normalize(form, text)) == {
        name: unicodedata.normalize(form, said) for name, said in REGIONS.items()
    }


def test_every_name_of_the_table_is_known_to_itself() -> None:
    for section, names in table()["sections"].items():
        assert {named(name) for name in names} == {section}
        assert {named(bare(name).upper() + " :") for name in names} == {section}
    # No name stands twice.
    every = [bare(name) for names in table()["sections"].values() for name in names]
    every += [bare(name) for names in table()["containers"].values() for name in names] + list(
        map(bare, table()["asides"]["names"])
    )
    doubled = {name for name in every if every.count(name) > 1}
    assert {named(name) for name in doubled} <= set(SECTIONS)


def test_result_means_findings_or_impression_by_what_stands_beside_it() -> None:
    assert sections("Kết quả: u phổi.") == {"impression": "u phổi."}
    assert sections("Kết quả: phổi sáng.\nKết luận: bình thường.") == {
        "impression": "bình thường.",
        "findings": "phổi sáng.",
    }
    assert sections("Mô tả: phổi sáng.\nKết quả: bình thường.") == {
        "impression": "bình thường.",
        "findings": "phổi sáng.",
    }
    assert parse_report({"Kết quả": "a", "Kết luận": "b"}).sections == {"impression": "b", "findings": "a"}
    assert parse_report({"Kết quả": {"Ngực": "a"}}).sections == {"chest": "a"}


@pytest.mark.parametrize("said", ["Nốt (kết quả: âm tính) phải.", "Nốt 5 mm; kết quả: tốt.", "Bác sĩ: đọc lại."])
def test_words_within_a_line_end_no_section(said: str) -> None:
    if not said.startswith("Bác"):
        assert sections(f"Lồng ngực: {said}") == {"chest": said}
    else:
        assert split_headings(f"Lồng ngực: a. {said}")[0] == ("chest", f"a. {said}")


def test_lists_and_wrapped_lines_are_no_headings() -> None:
    text = "Lồng ngực: dịch ổ\nbụng.\nDi căn:\n- Xương\n- Não\nKết luận: U phổi.\n- Xương: di căn.\n- Bụng: sạch."
    assert sections(text) == {
        "chest": "dịch ổ\nbụng.\nDi căn:\n- Xương\n- Não",
        "impression": "U phổi.\n- Xương: di căn.\n- Bụng: sạch.",
    }
    first = "Kết luận: u phổi.\nMô tả hình ảnh:\nLồng ngực: nốt.\nXương: sạch."
    assert sections(first) == {"chest": "nốt.", "musculoskeletal": "sạch.", "impression": "u phổi."}


def test_a_form_from_its_title_to_its_signature() -> None:
    text = (
        "BỘ Y TẾ\nBỆNH VIỆN X\nKẾT QUẢ CHỤP PET/CT\n\nHọ tên: Lý Hoa     Mã BN: 77\n"
        "Chỉ định: U phổi     Ngày chụp: 03/01/2024\n"
        "I. KỸ THUẬT\nTiêm 370 MBq.\nII. MÔ TẢ HÌNH ẢNH\nLồng ngực: nốt phổi.\nIII. KẾT LUẬN\nU phổi.\n"
        "Hà Nội, ngày 3 tháng 1 năm 2024\nBÁC SĨ ĐỌC KẾT QUẢ\nPhạm Văn Nam\n"
    )
    document = text_document(text)
    parsed = parse_report(document)
    assert {label: document[label] for label in ("Họ tên", "Mã BN", "Ngày chụp")} == {
        "Họ tên": "Lý Hoa",
        "Mã BN": "77",
        "Ngày chụp": "03/01/2024",
    }
    assert parsed.sections == {"chest": "nốt phổi.", "impression": "U phổi.", "indication": "U phổi"}
    assert parsed.unknown == 0
    told = str(parsed.not_understood)
    assert all(word in told for word in ("BỆNH VIỆN X", "370 MBq", "Phạm Văn Nam", "năm 2024"))


def test_heads_and_numbers_of_pages_are_left_out() -> None:
    head = "BỆNH VIỆN X\nHọ tên: Lý Hoa; Mã BN: 77\n"
    text = f"{head}Lồng ngực: nốt phổi\nTrang 1/2\n\f{head}phải, 5 mm.\nKết luận: u.\nTrang 2 / 2"
    assert sections(text) == {"chest": "nốt phổi\nphải, 5 mm.", "impression": "u."}


def test_two_columns_come_one_after_the_other() -> None:
    left = ["MÔ TẢ", "Lồng ngực:", "nốt phổi phải 5 mm", "ở đỉnh.", "Ổ bụng:", "gan bình thường."]
    right = ["KẾT LUẬN", "U phổi phải,", "chưa thấy di căn.", "", "", "Bác sĩ: X"]
    text = "\n".join(f"{one:<40}{other}".rstrip() for one, other in zip(left, right, strict=True))
    assert sections(text) == {
        "chest": "nốt phổi phải 5 mm\nở đỉnh.",
        "abdomen_pelvis": "gan bình thường.",
        "impression": "U phổi phải,\nchưa thấy di căn.",
    }


def test_a_table_in_the_findings_is_no_second_column() -> None:
    rows = [("Vị trí", "SUV", "Cỡ"), ("Thùy trên", "3,2", "5 mm"), ("Thùy dưới", "4,1", "7 mm"), ("Rốn", "2,0", "9 mm")]
    table_lines = "\n".join(f"{where:<14}{value:<9}{size}" for where, value, size in rows)
    assert sections(f"Lồng ngực:\n{table_lines}\nKết luận: u.")["chest"] == table_lines


BOTH = {
    "Mô tả hình ảnh": {"Lồng ngực": "Nốt phổi phải.", "Ổ bụng": "Gan to."},
    "Kết luận": "U phổi.",
    "Findings": {"Chest": "Nodule in the right lung.", "Abdomen": "The liver is enlarged."},
    "Impression": "Lung tumour with no evidence of metastases.",
}


def test_english_stands_beside_vietnamese() -> None:
    parsed = parse_report(BOTH)
    assert parsed.lang == "vi"
    assert parsed.sections == {"chest": "Nốt phổi phải.", "abdomen_pelvis": "Gan to.", "impression": "U phổi."}
    assert parsed.translations["en"] == {
        "chest": "Nodule in the right lung.",
        "abdomen_pelvis": "The liver is enlarged.",
        "impression": "Lung tumour with no evidence of metastases.",
    }
    text = (
        "Lồng ngực: nốt phổi.\nKết luận: u phổi.\nFINDINGS\nChest: nodule of the lung.\nIMPRESSION: tumour of the lung."
    )
    assert parse_report(text_document(text)).translations == {
        "en": {"chest": "nodule of the lung.", "impression": "tumour of the lung."}
    }


@pytest.mark.parametrize("key", ["report_en", "English", "en", "Bản dịch tiếng Anh", "Report (EN)"])
def test_a_key_may_tell_the_language(key: str) -> None:
    parsed = parse_report({"Kết luận": "u", key: {"Impression": "x"}})
    assert (parsed.sections, parsed.translations) == ({"impression": "u"}, {"en": {"impression": "x"}})
    assert parse_report({key: "Impression: x"}).lang == "en"


def test_what_is_in_one_language_only_is_no_translation() -> None:
    english = {key: BOTH[key] for key in ("Findings", "Impression")}
    assert (parse_report(english).lang, parse_report(english).translations) == ("en", {})
    mixed = parse_report({"Lồng ngực": "Nốt phổi phải.", "Impression": "No evidence of the disease."})
    assert mixed.sections == {"chest": "Nốt phổi phải.", "impression": "No evidence of the disease."}
    assert parse_report({"Findings": {"Chest": "Nốt phổi phải."}}).lang == "vi"


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("Hình ảnh nốt đặc thùy trên phổi phải, tăng chuyển hóa FDG.", "vi"),
        ("Khong thay ton thuong, gan to", "vi"),
        ("Patient Nguyễn Văn An has a nodule in the right lung with increased uptake.", "en"),
        ("FDG PET/CT", ""),
        ("", ""),
    ],
)
def test_languages(text: str, lang: str) -> None:
    assert language_of(text) == lang


WORDS = st.sampled_from(
    [
        "nốt",
        "Gan",
        "SUVmax",
        "Lồng ngực",
        "Kết luận",
        "Bác sĩ",
        "Kết quả",
        "MÔ TẢ",
        "Findings",
        "1",
        "LỒNG NGỰC",
        "[Não]",
    ]
)
MARKS = st.sampled_from([" ", ": ", ".\n", "\n", "; ", "   ", "\f", " - ", ", ", "\t", "......: ", ":\n", "|"])


@given(st.lists(st.tuples(WORDS, MARKS), max_size=20))
def test_every_word_is_in_a_part_or_in_a_heading(pairs: list[tuple[str, str]]) -> None:
    text = "".join(word + mark for word, mark in pairs)
    parts = split_headings(text)
    kept = " ".join(part for _, part in parts)
    for word in ("nốt", "Gan", "SUVmax"):
        assert kept.count(word) == text.count(word)
    assert all(part == part.strip() and part for _, part in parts)
    parsed = parse_report(text_document(text))
    told = str([parsed.sections, parsed.translations, parsed.not_understood])
    # A line that a page repeats from its head is told once, and the label of an empty field of the head not at all.
    assert (
        "\f" in text
        or "Bác sĩ" in text
        or all(told.count(word) >= text.count(word) for word in ("nốt", "Gan", "SUVmax"))
    )


@pytest.mark.parametrize("text", ["Lồng ngực/nốt phổi phải", "Lồng ngực|nốt phổi phải", "Lồng ngực (nốt phổi phải)"])
def test_a_line_that_begins_like_a_heading_in_two_languages(text: str) -> None:
    assert "nốt phổi phải" in str(sections(text))
    assert sections(f"Lồng ngực (bác sĩ A): {text}")["chest"] == f"(bác sĩ A): {text}"
    assert sections("Lồng ngực / Chest: nốt.\nKết luận (Impression): u.") == {"chest": "nốt.", "impression": "u."}


@pytest.mark.parametrize(
    "text",
    [
        "MÔ TẢ: Đầu - cổ: não bình thường. Lồng ngực: nốt phổi phải. Ổ bụng: gan to. KẾT LUẬN: u phổi.",
        "Đầu cổ: não bình thường., Lồng ngực: nốt phổi phải., Ổ bụng: gan to., Kết luận: u phổi.",
        "Đầu cổ:\tnão bình thường.\tLồng ngực:\tnốt phổi phải.\tỔ bụng:\tgan to.\tKết luận:\tu phổi.",
        "ĐẦU - CỔ não bình thường.\nLỒNG NGỰC nốt phổi phải.\nỔ BỤNG gan to.\nKẾT LUẬN u phổi.",
        "Đầu cổ - não bình thường.\nLồng ngực - nốt phổi phải.\nBụng chậu - gan to.\nKết luận - u phổi.",
        "[Đầu cổ] não bình thường.\n[Lồng ngực]: nốt phổi phải.\n[Ổ bụng] gan to.\n[Kết luận] u phổi.",
        "ĐẦU CỔ → não bình thường.\nLỒNG NGỰC → nốt phổi phải.\nỔ BỤNG → gan to.\nKẾT LUẬN → u phổi.",
        "Đầu cổ........: não bình thường.\nLồng ngực……: nốt phổi phải.\nỔ bụng...: gan to.\nKL.....: u phổi.",
        "<p><b>Đầu cổ:</b> não bình thường.</p><div>Lồng ngực: nốt phổi phải.<br/>Ổ bụng: gan to.</div>KL: u phổi.",
    ],
)
def test_headings_on_one_line_without_a_colon_and_in_html(text: str) -> None:
    found = {name: said.rstrip(",") for name, said in sections(text).items()}
    assert found == REGIONS


def test_what_only_looks_like_a_heading_stays() -> None:
    for text in (
        "Đầu - cổ bình thường.\nỔ bụng - khung chậu bình thường.\nLồng ngực - trung thất bình thường.",
        "Ổ bụng - không thấy gì.",
        "NÃO thất bình thường.",
        "Không thấy gì, ở vùng ngực: phổi sạch.",
        "Nốt [phổi] phải.",
    ):
        assert sections(text) == {"findings": text}


def test_lines_about_organs_go_to_their_regions_with_their_headings() -> None:
    text = (
        "Phổi: nốt phổi phải.\nhai bên thông khí tốt.\nGan: to.\nHạch: trung thất.\nGan mật: sỏi.\nXương: sạch.\n"
        "Tuyến giáp: bình thường.\nKết luận:\n- Gan: di căn.\n- Phổi: u."
    )
    assert sections(text) == {
        "head_neck": "Tuyến giáp: bình thường.",
        "chest": "Phổi: nốt phổi phải.\nhai bên thông khí tốt.",
        "abdomen_pelvis": "Gan: to.\nGan mật: sỏi.",
        "musculoskeletal": "sạch.",
        "impression": "- Gan: di căn.\n- Phổi: u.",
        "findings": "Hạch: trung thất.",
    }
    # Under the heading of a region its organs and whatever else stay where they are.
    divided = "Lồng ngực:\nPhổi: nốt.\nHạch: rốn phổi.\nKỹ tính: không.\nTuyến thượng thận: dày.\nKết luận: u."
    assert sections(divided) == {
        "chest": "Phổi: nốt.\nHạch: rốn phổi.\nKỹ tính: không.",
        "abdomen_pelvis": "Tuyến thượng thận: dày.",
        "impression": "u.",
    }
    told = "Tiền sử:\nGan: viêm.\nKỹ thuật: tiêm 370 MBq.\nPhổi: nốt.\nKết luận: u."
    assert sections(told) == {"history": "Gan: viêm.", "chest": "Phổi: nốt.", "impression": "u."}


def test_no_organ_is_of_two_regions_or_a_heading_already() -> None:
    organs = [bare(name) for names in table()["organs"].values() for name in names]
    assert len(set(organs)) == len(organs)
    assert [name for name in organs if named(name)] == []


@pytest.mark.parametrize(
    ("line", "findings", "unknown"),
    [
        ("Hình ảnh não bình thường", True, 0),
        ("Nốt phổi phải 12 mm\nGan to 5 cm", True, 0),
        ("KHÔNG THẤY TỔN THƯƠNG Ở NÃO", True, 0),
        ("Bệnh viện Sao Mai\nKhoa Y học hạt nhân", False, 0),
        ("NGUYỄN VĂN KHỐI", False, 0),
        ("KẾT QUẢ CHỤP PET/CT TỔN THƯƠNG", False, 0),
        ("PET/CT toàn thân cho thấy", False, 1),
    ],
)
def test_a_line_above_the_findings_is_title_finding_or_told_of(line: str, findings: bool, unknown: int) -> None:
    parsed = parse_report(text_document(f"{line}\nLồng ngực: nốt phổi.\nKết luận: u."))
    assert parsed.sections["chest"] == "nốt phổi."
    assert parsed.sections.get("findings") == (line if findings else None)
    assert findings or line in parsed.not_understood.values()
    assert parsed.unknown == unknown
