"""Rewording keeps the facts, and the check notices when it does not."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import numpy as np
import orjson
import pytest

from petct_cli.report.compose import compose_report
from petct_cli.report.rewrite import METHODS, facts, literals, reorder, same_facts, substitute_synonyms
from petct_cli.report.sections import split_sentences
from tests.test_report_lesions import random_lesions

TEXT = (
    "Hình ảnh nốt mờ phổi phải 12 mm, tăng chuyển hóa FDG (SUVmax: 3,2). Hình ảnh vài hạch nách trái. "
    "Hạch lớn nhất có kích thước 14 x 9 mm, tăng chuyển hóa FDG (SUVmax: 5). Gan bình thường. "
    "Chưa phát hiện hình ảnh tăng chuyển hóa FDG bất thường ở các vị trí khác."
)


def phantom_texts(number: int = 60) -> list[str]:
    rng = np.random.default_rng(11)
    return [
        " ".join(compose_report(random_lesions(rng), rng)[section] for section in ("chest", "musculoskeletal"))
        for _ in range(number)
    ]


def test_reordering_moves_sentences_but_not_what_leans_on_them() -> None:
    orders = {reorder(TEXT, Random(seed)) for seed in range(20)}
    assert len(orders) > 2
    for text in orders:
        sentences = split_sentences(text)
        assert sorted(sentences) == sorted(split_sentences(TEXT))
        where = sentences.index("Hình ảnh vài hạch nách trái.")
        assert sentences[where + 1].startswith("Hạch lớn nhất")
        assert sentences[-1].endswith("các vị trí khác.")


def test_synonyms_keep_capitals_and_change_words() -> None:
    texts = {substitute_synonyms("Chưa phát hiện hình ảnh tăng chuyển hoá FDG.", Random(seed)) for seed in range(30)}
    assert "Chưa ghi nhận hình ảnh tăng hấp thu FDG." in texts
    assert all(text.startswith("Chưa ") for text in texts)


@pytest.mark.parametrize("method", METHODS)
def test_most_phantom_texts_can_be_reworded_with_their_facts(method: str) -> None:
    changed = kept = 0
    for seed, text in enumerate(phantom_texts()):
        reworded = METHODS[method](text, Random(seed))
        assert reworded == METHODS[method](text, Random(seed))
        changed += reworded != text
        kept += reworded != text and same_facts(text, reworded)
    assert changed >= 20
    assert kept >= 0.95 * changed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("12 mm", "13 mm"),
        ("3,2", "3,3"),
        ("phải", "trái"),
        ("Chưa phát hiện", "Phát hiện"),
        ("nách", "bẹn"),
        ("Hình ảnh vài hạch nách trái. ", ""),
        ("tăng chuyển hóa FDG (SUVmax: 3,2)", "không tăng chuyển hóa FDG"),
        ("14 x 9", "14"),
    ],
)
def test_a_changed_fact_is_noticed(old: str, new: str) -> None:
    assert old in TEXT
    assert not same_facts(TEXT, TEXT.replace(old, new, 1))


def test_numbers_that_change_hands_are_noticed() -> None:
    swapped = TEXT.replace("3,2", "#").replace("SUVmax: 5", "SUVmax: 3,2").replace("#", "5")
    assert literals(swapped) == literals(TEXT)
    assert facts(swapped) != facts(TEXT)


def test_every_spelling_counts_the_same() -> None:
    assert literals("Nốt 3,2 ở D4") == literals("nốt 3.2 ở D4")


@pytest.mark.real
def test_injected_errors_in_real_reports_are_noticed(real_data: Path) -> None:
    rng = Random(0)
    injected = caught = 0
    for row in map(orjson.loads, (real_data / "vimed" / "reports.jsonl").read_bytes().splitlines()):
        text = row["reference"]
        for pattern, change in (
            (r"\d+", lambda m: str(int(m.group()) + 1)),
            (r"\bphải\b", lambda m: "trái"),
            (r"\bkhông\b", lambda m: ""),
        ):
            places = list(re.finditer(pattern, text))
            if places:
                place = rng.choice(places)
                injected += 1
                caught += not same_facts(text, text[: place.start()] + change(place) + text[place.end() :])
    assert injected > 200
    assert caught == injected


def test_a_sentence_without_a_place_of_its_own_stays_with_the_one_before() -> None:
    text = (
        "Hạch cổ trái 8 mm. Không tăng chuyển hóa FDG. Nốt phổi phải 12 mm. Tăng chuyển hóa FDG mạnh, SUVmax 8. Gan to."
    )
    for seed in range(20):
        moved = reorder(text, Random(seed))
        assert "Hạch cổ trái 8 mm. Không tăng chuyển hóa FDG." in moved
        assert "Nốt phổi phải 12 mm. Tăng chuyển hóa FDG mạnh, SUVmax 8." in moved


def test_a_numbered_list_keeps_its_order() -> None:
    text = "1. Nốt phổi phải 12 mm. 2. Hạch cổ trái 8 mm."
    assert {reorder(text.replace(" 2.", "\n2."), Random(seed)) for seed in range(8)} == {text}
