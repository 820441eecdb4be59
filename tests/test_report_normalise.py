"""Spelling that means the same must look the same; spelling that does not must not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petct_cli.report.normalise import DEFAULT, Canonical, bare, fold, unify_tone_marks
from petct_cli.report.sites import find_sites, load_sites, sides_of, site_names

SENTENCE = "Tăng chuyển hóa FDG ở thùy trên phổi phải (SUVmax: 3,2), kích thước 12 x 9 mm."


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hoá", "hóa"),
        ("HOÁ", "hóa"),
        ("thuỳ", "thùy"),
        ("khoẻ", "khỏe"),
        ("hóan", "hoán"),
        ("qúy", "quý"),
        ("3,2", "3.2"),
        ("Ðốt", "đốt"),
    ],
)
def test_two_spellings_of_one_word_are_one(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize("word", ["quý", "loét", "toàn", "hoán", "thuyên", "huyết", "xoang"])
def test_words_that_have_one_spelling_keep_it(word: str) -> None:
    assert fold(word) == word


def test_decomposed_text_is_the_same_text() -> None:
    assert DEFAULT.tokens(unicodedata.normalize("NFD", SENTENCE)) == DEFAULT.tokens(SENTENCE)


def test_a_decimal_is_one_token_and_a_comma_none() -> None:
    assert DEFAULT.tokens("SUVmax: 3,2, 12mm.") == ["suvmax", "3.2", "12", "mm"]


@pytest.mark.parametrize("switch", ["unicode", "tone", "case", "decimal"])
def test_each_choice_can_be_switched_off_and_shows_in_the_signature(switch: str) -> None:
    off = Canonical(**{switch: False})
    changed = unicodedata.normalize("NFD", "Hoá 3,2")
    assert off(changed) != DEFAULT(changed)
    assert off.signature() != DEFAULT.signature()


@given(st.text(max_size=60))
def test_the_canonical_form_is_its_own(text: str) -> None:
    assert DEFAULT(DEFAULT(text)) == DEFAULT(text)


@given(st.text(alphabet="aoeuyhqtnáàóòúùýỳHOÁ ", max_size=40))
def test_moving_tone_marks_keeps_the_length(text: str) -> None:
    assert len(unify_tone_marks(text)) == len(text)


def test_headings_are_compared_without_marks() -> None:
    assert bare("Ổ bụng - khung chậu:") == bare("O BUNG  KHUNG CHAU")


def test_there_are_sixteen_places_for_a_lesion() -> None:
    assert len(site_names()) == 16
    assert len(site_names(side_aware=False)) == len(load_sites())


def test_every_term_of_a_site_finds_it() -> None:
    for site in load_sites().values():
        for term in site.terms:
            assert find_sites(f"Hình ảnh {term.upper()}, 12 mm.") == (site.key,)


def test_a_side_counts_only_where_the_site_has_one() -> None:
    assert sides_of("liver", "right") == (None,)
    assert sides_of("lung", "bilateral") == ("left", "right")
    assert sides_of("lung", None) == (None,)
