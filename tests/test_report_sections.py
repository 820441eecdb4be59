"""Report files by section, whatever their keys look like; sentences, whatever stands in them."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petct_cli.report.sections import parse_report, sentence_spans, split_sentences

REPORT = {
    "Nhận định kết quả": "U phổi.",
    "Mô tả hình ảnh": {
        "Đầu - cổ": "Não bình thường.",
        "Lồng ngực": "Nốt phổi phải.",
        "Ổ bụng - khung chậu": "Gan bình thường.",
        "Hệ cơ - xương": "Không gãy xương.",
    },
}


def test_the_layout_of_the_release() -> None:
    parsed = parse_report(REPORT)
    assert list(parsed.sections) == ["head_neck", "chest", "abdomen_pelvis", "musculoskeletal", "impression"]
    assert parsed.sections["chest"] == "Nốt phổi phải."
    assert parsed.not_understood == {}


def respelled(value: object, spell: object) -> object:
    if isinstance(value, dict):
        return {spell(key): respelled(inner, spell) for key, inner in value.items()}  # type: ignore[operator]
    return value


@pytest.mark.parametrize(
    "spell",
    [
        lambda key: unicodedata.normalize("NFD", key),
        str.upper,
        lambda key: key + ":",
        lambda key: key.replace(" - ", "-"),
        lambda key: f" {key} ",
    ],
)
def test_keys_may_be_spelled_otherwise(spell: object) -> None:
    assert parse_report(respelled(REPORT, spell)).sections == parse_report(REPORT).sections  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["Kết luận", "KẾT LUẬN:", "Impression", "Conclusion", "Nhận định"])
def test_the_impression_has_many_names(key: str) -> None:
    assert parse_report({key: "x"}).sections == {"impression": "x"}


def test_english_keys_flat_layout_and_lists() -> None:
    parsed = parse_report({"Findings": {"Chest": ["a", "b"]}, "Abdomen and pelvis": "c", "History": "d"})
    assert parsed.sections == {"chest": "a\nb", "abdomen_pelvis": "c", "history": "d"}


def test_identifiers_are_kept_apart() -> None:
    parsed = parse_report({"Hành chính": {"Họ tên": "x"}, "Mô tả hình ảnh": {"Lồng ngực": "a", "Khác": "b"}})
    assert parsed.sections == {"chest": "a"}
    assert parsed.not_understood == {"Hành chính": {"Họ tên": "x"}, "Mô tả hình ảnh/Khác": "b"}


def test_findings_in_one_text_are_divided_by_their_headings() -> None:
    text = "Đầu cổ: não bình thường. Lồng ngực: nốt 3,2 mm. Ổ bụng - khung chậu: gan."
    assert parse_report({"Mô tả hình ảnh": text}).sections == {
        "head_neck": "não bình thường.",
        "chest": "nốt 3,2 mm.",
        "abdomen_pelvis": "gan.",
    }
    assert parse_report({"Findings": "không có mục"}).sections == {"findings": "không có mục"}


@pytest.mark.parametrize("value", [None, "", [], {}, 3, {"a": None}])
def test_empty_and_odd_values_are_no_sections(value: object) -> None:
    parsed = parse_report({"Kết luận": value})
    assert (parsed.sections, parsed.unknown) == ({}, int(value == 3))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Nốt 4.5 mm. Gan.", ["Nốt 4.5 mm.", "Gan."]),
        ("BS. Nam đọc. Hết.", ["BS. Nam đọc.", "Hết."]),
        ("Hạch (SUVmax: 3,2). Gan.", ["Hạch (SUVmax: 3,2).", "Gan."]),
        ("Hạch, SUVmax: 3,2.Gan bình thường.", ["Hạch, SUVmax: 3,2.Gan bình thường."]),
        ("Não bình thường.Gan to.", ["Não bình thường.", "Gan to."]),
        ("Dòng một\nDòng hai", ["Dòng một", "Dòng hai"]),
        ("1. Nốt phổi. 2. Gan.", ["1. Nốt phổi.", "2. Gan."]),
        ("Nhân giáp (SUVmax: 3.5) Hình ảnh vài hạch.", ["Nhân giáp (SUVmax: 3.5)", "Hình ảnh vài hạch."]),
        ("", []),
        (" . ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(alphabet="aĐ ổ.,;:\n()3 5BS", max_size=60))
def test_sentences_cover_every_letter_once(text: str) -> None:
    spans = sentence_spans(text)
    assert all(start < end for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    covered = "".join(text[start:end] for start, end in spans)
    assert [c for c in covered if c.isalnum()] == [c for c in text if c.isalnum()]
