"""The extractor: single sentences by hand, phantom reports whole, real reports against another extractor."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.core.records import Lesion
from petct_cli.report.compose import compose_report
from petct_cli.report.lesions import ExtractedLesion, extract_lesions, lesion_sites
from petct_cli.report.measures import find_measures
from petct_cli.report.normalise import DEFAULT, fold
from petct_cli.report.places import find_positions
from petct_cli.report.sections import split_headings
from petct_cli.report.sites import site_names
from petct_cli.report.vocabulary import load_vocabulary


def one(text: str) -> ExtractedLesion:
    (lesion,) = extract_lesions(text)
    return lesion


@pytest.mark.parametrize(
    ("text", "site", "side", "size_mm", "suv_max", "fdg"),
    [
        ("Nốt mờ phổi phải 12 mm, tăng chuyển hóa FDG (SUVmax: 3,2).", "lung", "right", 12, 3.2, "increased"),
        ("Ở thùy dưới phổi trái có khối 33 x 32 mm, SUVmax = 10.5.", "lung", "left", 33, 10.5, None),
        (
            "Hình ảnh hạch nách (P), kích thước 2,5 cm, tăng hấp thu FDG.",
            "axillary_node",
            "right",
            25,
            None,
            "increased",
        ),
        ("Hạch ở hố bẹn hai bên 10mm, không tăng chuyển hoá FDG.", "inguinal_node", "bilateral", 10, None, "none"),
        ("Ổ tăng chuyển hóa FDG ở thân đốt sống D4 (SUV max 7).", "thoracic_vertebra", None, None, 7, "increased"),
        ("Tổn thương tiêu xương ở L3, cột sống, SUVmax từ 3,2 đến 5,6.", "lumbar_vertebra", None, None, 5.6, None),
        ("Hạch trước khí quản 1,2 x 0,8 cm.", "mediastinal_node", None, 12, None, None),
        ("Hạch nhóm IIB bên trái, 9mm.", "cervical_node", "left", 9, None, None),
        ("Tăng bắt xạ FDG khu trú ở cánh chậu bên phải (SUVmax=4,1).", "iliac_bone", "right", None, 4.1, "increased"),
        ("Nốt phổi phải 8 mm, không thấy tăng chuyển hóa FDG.", "lung", "right", 8, None, "none"),
        ("Nốt phổi phải 8 mm, cách carina 12 mm.", "lung", "right", 8, None, None),
    ],
)
def test_a_sentence(
    text: str, site: str, side: str | None, size_mm: float | None, suv_max: float | None, fdg: str | None
) -> None:
    lesion = one(text)
    assert (lesion.site, lesion.side, lesion.size_mm, lesion.suv_max, lesion.fdg) == (site, side, size_mm, suv_max, fdg)


@pytest.mark.parametrize(
    ("text", "organ"),
    [
        ("Nang buồng trứng trái, đường kính 22 mm.", "ovary"),
        ("Dày thành dạ dày, tăng chuyển hóa FDG (SUVmax: 12,6).", "stomach"),
        ("Khối đại tràng góc gan, tăng chuyển hóa FDG (SUVmax: 21).", "colon"),
        ("Dày màng phổi phải, tăng chuyển hóa FDG.", "pleura"),
        ("Hạch rốn phổi trái 12 mm.", "lung_hilum"),
        ("Khối u cổ tử cung, SUVmax 8.", "cervix_uteri"),
    ],
)
def test_an_organ_outside_of_the_sites_is_not_mistaken_for_one(text: str, organ: str) -> None:
    assert (one(text).site, one(text).organ) == (None, organ)
    assert lesion_sites([one(text)]) == set()


@pytest.mark.parametrize(
    "text",
    [
        "Không phát hiện tổn thương tăng chuyển hóa FDG bất thường ở phổi, gan, lách.",
        "Chưa thấy hạch nách, hạch bẹn hai bên to.",
        "Nhu mô gan không thấy tổn thương khu trú.",
        "Hai phổi và trung thất không có ổ tăng chuyển hóa FDG bất thường.",
        "Không thấy hạch cổ > 10 mm.",
        "Gan bắt xạ FDG theo đặc điểm sinh lý.",
        "Tăng chuyển hóa FDG ở khung đại tràng theo đặc điểm sinh lý.",
        "Cần đối chiếu với CT để đánh giá tổn thương gan.",
        "Thành bàng quang đều, không dày.",
        "Các vị trí khác chưa thấy bất thường chuyển hóa FDG.",
        "",
    ],
)
def test_what_is_not_there_is_not_found(text: str) -> None:
    assert extract_lesions(text) == []


def test_negation_ends_where_the_finding_begins() -> None:
    text = "Không thấy hạch trung thất, nốt phổi phải 12 mm tăng chuyển hóa FDG (SUVmax 5,1)."
    assert lesion_sites(extract_lesions(text)) == {("lung", "right")}
    text = "Không thấy tổn thương ở gan ngoài nốt 12 mm ở lách, SUVmax 4."
    assert lesion_sites(extract_lesions(text)) == {("spleen", None)}


def test_negation_of_a_detail_keeps_the_lesion() -> None:
    lesion = one("Khối phổi trái 40 mm, không thấy xâm lấn gan, tăng chuyển hóa FDG (SUVmax 9).")
    assert (lesion.site, lesion.side, lesion.size_mm, lesion.suv_max) == ("lung", "left", 40, 9)


def test_must_is_not_right() -> None:
    assert one("Nốt phổi trái 9 mm, cần phải theo dõi.").side == "left"


def test_findings_with_their_own_measures_are_apart() -> None:
    lesions = extract_lesions("Nốt phổi phải 12 mm (SUVmax 3,4) và hạch nách trái 8 mm (SUVmax 2,1).")
    assert [(x.site, x.side, x.size_mm, x.suv_max) for x in lesions] == [
        ("lung", "right", 12, 3.4),
        ("axillary_node", "left", 8, 2.1),
    ]


def test_one_finding_at_several_places() -> None:
    lesions = extract_lesions("Tăng chuyển hóa FDG khu trú ở xương bả vai trái, xương cùng, cánh chậu phải.")
    assert ("iliac_bone", "right") in {(x.site, x.side) for x in lesions}
    assert [(x.organ, x.side) for x in lesions] == [("scapula", "left"), ("sacrum", None), ("iliac_bone", "right")]
    assert len({lesion.finding for lesion in lesions}) == 1


def test_the_largest_one_belongs_to_the_sentence_before() -> None:
    lesion = one(
        "Hình ảnh nhiều hạch nách trái. Hạch lớn nhất có kích thước 14 x 9 mm, tăng chuyển hóa FDG (SUVmax: 5)."
    )
    assert (lesion.site, lesion.side, lesion.sizes_mm, lesion.suv_max) == ("axillary_node", "left", (14, 9), 5)
    assert lesion.multiple


def test_an_impression_tells_the_lesion_again() -> None:
    findings = "Nốt phổi phải 12 mm, tăng chuyển hóa FDG (SUVmax 3,4)."
    lesion = one(f"{findings} Hình ảnh nốt phổi phải tăng chuyển hóa FDG, nghĩ ác tính.")
    assert (lesion.size_mm, lesion.suv_max, len(lesion.mentions)) == (12, 3.4, 1)


def test_two_lesions_of_one_site_stay_two() -> None:
    assert len(extract_lesions("Nốt phổi phải 12 mm, SUVmax 3,4. Nốt phổi phải 8 mm, SUVmax 2,2.")) == 2


def test_where_it_reaches_is_not_where_it_is() -> None:
    lesion = one("Khối phổi trái 50 mm xâm lấn vào gan và đốt sống ngực, tăng chuyển hóa FDG (SUVmax 12).")
    assert lesion.site == "lung"


def test_the_span_shows_the_text_even_of_decomposed_letters() -> None:
    text = "Não bình thường. Nốt phổi phải 12 mm, SUVmax 3,2. Gan bình thường."
    for form in ("NFC", "NFD"):
        given = unicodedata.normalize(form, text)
        start, end = one(given).span
        assert unicodedata.normalize("NFC", given[start:end]) == "Nốt phổi phải 12 mm, SUVmax 3,2"


def test_spelling_makes_no_difference() -> None:
    text = "Hình ảnh nốt mờ ở thùy trên phổi phải, 3,2 cm, không tăng chuyển hóa FDG."
    facts = {(x.site, x.side, x.size_mm, x.fdg) for x in extract_lesions(text)}
    for other in (text.upper(), unicodedata.normalize("NFD", text), text.replace("hóa", "hoá").replace("3,2", "3.2")):
        assert {(x.site, x.side, x.size_mm, x.fdg) for x in extract_lesions(other)} == facts


def test_lesions_without_uptake_are_no_sites() -> None:
    assert lesion_sites(extract_lesions("Hạch nách hai bên 10 mm, không tăng chuyển hóa FDG.")) == set()
    assert lesion_sites(extract_lesions("Hạch nách hai bên 10 mm, SUVmax 3.")) == {
        ("axillary_node", "left"),
        ("axillary_node", "right"),
    }


def test_another_language_is_refused() -> None:
    with pytest.raises(ValueError, match="language"):
        extract_lesions("A nodule.", lang="en")


SALAD = re.findall(
    r"\S+",
    "hạch nốt phổi gan nách hai bên phải trái không thấy tăng chuyển hóa FDG SUVmax: 3,2 12 x mm ( ) , . ; "
    "lớn nhất sinh lý ngoài Hạch D4 đốt sống xâm lấn cm dày và 0",
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(SALAD),
        max_size=30,
    )
)
def test_any_word_salad_is_read_the_same_twice_and_in_bounds(words: list[str]) -> None:
    text = " ".join(words)
    lesions = extract_lesions(text)
    assert lesions == extract_lesions(text)
    for lesion in lesions:
        assert 0 <= lesion.span[0] < lesion.span[1] <= len(text)
        assert lesion.size_mm is None or lesion.size_mm >= 0


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_survived(text: str) -> None:
    extract_lesions(text)


@pytest.mark.parametrize(
    ("text", "sizes", "suv"),
    [
        ("kích thước 33 x 32 mm", (33, 32), None),
        ("2,5 cm", (25,), None),
        ("1,2 cm x 8 mm", (12, 8), None),
        ("kích thước 12 x 10", (12, 10), None),
        ("đường kính vài mm", (), None),
        ("thể tích 12 cm3", (), None),
        ("suvmean 2,1; suvmax:7", (), 7),
        ("suvmax: 21.2 ", (), 21.2),
        ("suv lần lượt là 5,6 và 5,7", (), 5.7),
        ("10-12 mm", (10, 12), None),
        ("suvmax 3,2 12 mm", (12,), 3.2),
    ],
)
def test_measures(text: str, sizes: tuple[float, ...], suv: float | None) -> None:
    found = find_measures(text)
    assert (found.sizes_mm, found.suv_max) == (sizes, suv)


def random_lesions(rng: np.random.Generator) -> list[Lesion]:
    names = site_names()
    chosen = rng.choice(len(names), int(rng.integers(0, 4)), replace=False)
    return [
        Lesion(
            site=names[index][0],
            side=names[index][1],  # type: ignore[arg-type]
            size_mm=float(rng.integers(8, 41)),
            suv_max=round(float(rng.uniform(2.5, 15)), 1),
        )
        for index in chosen
    ]


def test_phantom_reports_are_read_back() -> None:
    rng = np.random.default_rng(7)
    counts: Counter[str] = Counter()
    measured = 0
    for _ in range(320):
        lesions = random_lesions(rng)
        report = compose_report(lesions, rng)
        found = extract_lesions(" ".join(report.values()))
        got, want = lesion_sites(found), {(lesion.site, lesion.side) for lesion in lesions}
        counts.update(tp=len(got & want), fp=len(got - want), fn=len(want - got))
        facts = {(x.site, x.side, x.size_mm, x.suv_max) for x in found}
        measured += sum((x.site, x.side, x.size_mm, x.suv_max) in facts for x in lesions)
    f1 = 2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])
    assert f1 >= 0.995
    assert measured >= 0.995 * (counts["tp"] + counts["fn"])


def of_gpt(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what a commercial model said of one lesion in comparable form."""

    def get(value: dict[str, Any], part: str) -> Any:
        return next((found for key, found in value.items() if part in fold(key)), "")

    uptake = get(entry, "mức độ fdg")
    uptake = uptake if isinstance(uptake, dict) else {}
    number = re.search(r"\d+(?:[.,]\d+)?", str(get(uptake, "suv")))
    shape, place = (
        "" if fold(str(found)) == "không có" else str(found)
        for found in (get(entry, "hình dạng"), get(entry, "vị trí"))
    )
    words = load_vocabulary()
    sides = [{side for _, side in find_positions(fold(text), words).sides} for text in (place, shape)]
    return {
        "size": find_measures(fold(str(get(entry, "kích thước")))).size_mm,
        "suv": float(number.group().replace(",", ".")) if number else None,
        "side": frozenset(sides[0] or sides[1]) or None,
        "fdg": "increased" if re.match("có|tăng", fold(str(get(uptake, "tăng")))) else None,
        "words": Counter(DEFAULT.tokens(f"{shape} {place}")),
    }


def field_f1(folder: Path, side: str) -> tuple[dict[str, float], int, int]:
    """Return F1 per field on lesions aligned by their wording, how many were aligned, and of how many."""
    texts = {row["id"]: row[side] for row in map(orjson.loads, (folder / "reports.jsonl").read_bytes().splitlines())}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    aligned = total = 0
    for row in map(orjson.loads, (folder / "gpt_lesions.jsonl").read_bytes().splitlines()):
        theirs = [of_gpt(entry) for entry in row[side] or []]
        findings: dict[int, list[ExtractedLesion]] = defaultdict(list)
        for lesion in extract_lesions(texts[row["id"]]) if theirs else []:
            findings[lesion.finding].append(lesion)
        ours = []
        for lesions in findings.values():
            start, end = lesions[0].span
            stated = texts[row["id"]][start:end]
            ours.append(
                {
                    "size": lesions[0].size_mm,
                    "suv": lesions[0].suv_max,
                    "side": frozenset(lesion.side for lesion in lesions if lesion.side) or None,
                    "fdg": "increased" if lesions[0].fdg == "increased" else None,
                    "words": Counter(DEFAULT.tokens(stated)),
                }
            )
        # By wording alone, then by agreement where the same words stand twice; shorter findings first.
        scored = [
            (
                (a["words"] & b["words"]).total() / max(1, a["words"].total())
                + 0.1 * (a["size"] == b["size"])
                + 0.1 * (a["suv"] == b["suv"])
                - 1e-4 * b["words"].total(),
                i,
                j,
            )
            for i, a in enumerate(theirs)
            for j, b in enumerate(ours)
            if (a["words"] & b["words"]).total() >= 0.6 * max(1, a["words"].total())
        ]
        used: set[tuple[str, int]] = set()
        for _, i, j in sorted(scored, reverse=True):
            if ("a", i) in used or ("b", j) in used:
                continue
            used |= {("a", i), ("b", j)}
            aligned += 1
            for name in ("size", "suv", "side", "fdg"):
                a, b = theirs[i][name], ours[j][name]
                if a == b:
                    counts[name]["tp"] += a is not None
                else:
                    counts[name].update(fn=int(a is not None), fp=int(b is not None))
        total += len(theirs)
    scores = {name: 2 * c["tp"] / (2 * c["tp"] + c["fp"] + c["fn"]) for name, c in counts.items()}
    return scores, aligned, total


@pytest.mark.real
def test_real_references_agree_with_another_extractor(real_data: Path) -> None:
    scores, aligned, total = field_f1(real_data / "vimed", "reference")
    assert aligned >= 0.93 * total
    assert scores["size"] >= 0.955, scores
    assert scores["suv"] >= 0.985, scores
    assert scores["side"] >= 0.975, scores
    assert scores["fdg"] >= 0.985, scores


@pytest.mark.real
def test_real_model_output_agrees_with_another_extractor(real_data: Path) -> None:
    scores, aligned, total = field_f1(real_data / "vimed", "hypothesis")
    assert aligned >= 0.74 * total
    assert scores["size"] >= 0.96, scores
    assert scores["suv"] >= 0.98, scores
    assert scores["side"] >= 0.90, scores
    assert scores["fdg"] >= 0.92, scores


@pytest.mark.real
def test_every_suvmax_of_the_real_references_is_found(real_data: Path) -> None:
    written = found = 0
    for row in map(orjson.loads, (real_data / "vimed" / "reports.jsonl").read_bytes().splitlines()):
        literals = re.findall(r"suv\s*max\s*[:=]?\s*(\d+(?:\.\d+)?)", fold(row["reference"]))
        values = {lesion.suv_max for lesion in extract_lesions(row["reference"])}
        written += len(literals)
        found += sum(float(literal) in values for literal in literals)
    assert written > 200
    assert found >= 0.99 * written


@pytest.mark.parametrize(
    "text",
    ["." * 100_000 + "a", "hạch phổi phải " * 6_000, "\n" * 100_000, "nốt không " * 10_000, "." + '"' * 100_000],
    ids=["dots", "no full stop", "empty lines", "negations", "quotes"],
)
def test_a_model_that_repeats_itself_without_end_is_read_all_the_same(text: str) -> None:
    assert len(extract_lesions(text)) < 100
    assert len(split_headings(text)) <= 1


def test_a_lesion_after_an_endless_sentence_is_found() -> None:
    text = "bình thường " * 500 + "nốt thùy trên phổi trái 14 mm."
    assert ("lung", "left", 14.0) in {(one.site, one.side, one.size_mm) for one in extract_lesions(text)}
    start, end = extract_lesions(text)[-1].span
    assert "nốt thùy trên phổi trái 14 mm" in text[start:end]
