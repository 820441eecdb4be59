"""Spelling that means the same must look the same; spelling that does not must not."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.report.normalise import DEFAULT, TOKEN, Canonical, bare, fold, unify_tone_marks
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


ANY_ORDER = "aoeuyqhtAOQáàạóòúùýỳẻÝÓ 12,.-_\u0301\u0323\u200b\u00a0ðΣσİß\n"
odd_texts = st.one_of(st.text(alphabet=ANY_ORDER, max_size=30), st.text(max_size=30))


def plain_tones(text: str) -> str:
    """Open syllables have the mark on the first vowel, closed ones and "quý" on the second."""
    pairs = {}
    for first, second in ("oa", "oe", "uy", "Oa", "Oe", "Uy", "OA", "OE", "UY"):
        for tone in "\u0300\u0309\u0303\u0301\u0323":
            on_first, on_second = (unicodedata.normalize("NFC", letter + tone) for letter in (first, second))
            pairs[on_first + second] = pairs[first + on_second] = (on_first + second, first + on_second)

    def is_word(place: int) -> bool:
        return place < len(text) and (text[place].isalnum() or text[place] == "_")

    found = list(text)
    for place in range(len(text) - 1):
        pair = text[place : place + 2]
        if pair not in pairs:
            continue
        after_q = place > 0 and text[place - 1] in "qQ"
        letter_follows = place + 2 < len(text) and is_word(place + 2) and not re.match(r"[\d_]", text[place + 2])
        if after_q or letter_follows:
            found[place : place + 2] = pairs[pair][1]
        elif not is_word(place + 2):
            found[place : place + 2] = pairs[pair][0]
    return "".join(found)


@settings(max_examples=300)
@given(odd_texts)
def test_tone_marks_follow_the_rule(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    assert unify_tone_marks(text) == plain_tones(text)


@settings(max_examples=300)
@given(odd_texts, st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()))
def test_tokens_word_by_word_are_those_of_the_whole_text(text: str, switches: tuple[bool, bool, bool, bool]) -> None:
    canonical = Canonical(*switches)
    assert canonical.tokens(text) == TOKEN.findall(canonical(text))
    assert canonical.tokens(text) == canonical.tokens(text)


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
