"""Answers to questions: what they say, and what is right about them."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.metrics.answers import count, places, polarity, size_mm, suv_max
from petct_cli.metrics.families import Item
from petct_cli.metrics.registry import PRESETS
from petct_cli.metrics.vqa import VqaFamily, question_of
from tests.samples import lines

METRICS = ("vqa_closed_accuracy", "vqa_macro_f1", "vqa_numeric", "vqa_where", "vqa_how_many", "vqa_open_f1")
AXILLA = "Có hạch nách bất thường không?"
AVID = "Có hạch nách nào tăng chuyển hóa FDG không?"
FLUID = "Có tràn dịch màng phổi hoặc màng tim không?"


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        (AXILLA, "Có.", "yes"),
        (AXILLA, "Không", "no"),
        (AXILLA, "**Không**, không thấy hạch nách.", "no"),
        (AXILLA, "Chưa.", "no"),
        (AXILLA, "Dạ có, hạch nách trái 12 mm.", "yes"),
        (AXILLA, "Vâng, không có hạch nào.", "no"),
        (AXILLA, "Đúng, có một hạch nách.", "yes"),
        (AXILLA, "Không đúng.", "no"),
        (AXILLA, "Trả lời: Không.", "no"),
        (AXILLA, "Không, có hạch bẹn chứ không có hạch nách.", "no"),
        (AXILLA, "Có, nhưng kích thước nhỏ và không tăng chuyển hóa.", "yes"),
        (AXILLA, "Có vài hạch nách, nhưng không tăng chuyển hóa FDG.", "yes"),
        (AXILLA, "Hạch nách hai bên không tăng chuyển hóa FDG.", "yes"),
        (AXILLA, "Hạch nách phải, kích thước 9 mm.", "yes"),
        (AXILLA, "Hạch nách hai bên hình thái bình thường.", None),
        (AXILLA, "Không thấy hạch nách nhưng có hạch cổ phải.", "no"),
        (AXILLA, "Chưa ghi nhận hạch bất thường ở hố nách hai bên.", "no"),
        (AXILLA, "Không có gì bất thường ở nách.", "no"),
        (AXILLA, "Trên hình ảnh PET/CT, chưa phát hiện hạch nách.", "no"),
        (AXILLA, "Hình ảnh cho thấy không có hạch nách.", "no"),
        (AXILLA, "Hình ảnh cho thấy một hạch ở hố nách trái.", "yes"),
        (AXILLA, "Có thể có hạch nách trái.", None),
        (AXILLA, "Có thể thấy một hạch nách trái.", "yes"),
        (AXILLA, "Có thể thấy là không có hạch nách.", None),
        (AXILLA, "Có lẽ không.", None),
        (AXILLA, "Có vẻ như có hạch.", None),
        (AXILLA, "Nghi ngờ có hạch nách.", None),
        (AXILLA, "Không rõ.", None),
        (AXILLA, "Không thể xác định trên hình ảnh này.", None),
        (AXILLA, "Chưa thể kết luận.", None),
        (AXILLA, "Không loại trừ hạch nách trái.", None),
        (AXILLA, "Báo cáo không đề cập đến hạch nách.", None),
        (AXILLA, "Không phải là không có hạch nách.", "yes"),
        (AXILLA, "Không thể phủ nhận là có hạch nách.", "yes"),
        (AXILLA, "Không chỉ có hạch nách mà còn có hạch bẹn.", "yes"),
        (AXILLA, "Không hẳn.", None),
        (AXILLA, "Có hoặc không.", None),
        (AXILLA, "Có. Không.", None),
        (AXILLA, "", None),
        (AXILLA, "Phổi hai bên đều thông khí.", None),
        (AXILLA, "Có hạch nách bất thường không? Không.", "no"),
        (AXILLA, "Có hạch nách bất thường không: có.", "yes"),
        (AXILLA, "Ảnh có hạch nách không? Chưa thấy.", "no"),
        (AVID, "Có vài hạch nách, nhưng không tăng chuyển hóa FDG.", "no"),
        (AVID, "Hạch nách hai bên không tăng chuyển hóa FDG.", "no"),
        (AVID, "Hạch nách trái tăng chuyển hóa FDG, hạch nách phải không tăng.", "yes"),
        (AVID, "Hạch nách trái tăng nhẹ chuyển hóa FDG.", "yes"),
        (AVID, "Không có hạch nào không tăng chuyển hóa FDG.", None),
        (AVID, "Hạch nách tăng chuyển hóa FDG không đều.", "yes"),
        (AVID, "Tăng chuyển hóa FDG sinh lý.", None),
        (AVID, "Hạch nách giảm chuyển hóa so với lần trước.", None),
        ("Có bắt xạ sinh lý ở não không?", "Não bắt xạ sinh lý.", "yes"),
        ("Hạch này đã sinh thiết chưa?", "Chưa.", "no"),
        ("Hạch này đã sinh thiết chưa?", "Đã sinh thiết.", "yes"),
        (FLUID, "Tràn dịch màng phổi phải, không gợi ý di căn.", "yes"),
        (FLUID, "Màng phổi hai bên không có tràn dịch.", "no"),
        ("Tuyến giáp có bình thường không?", "Không có bất thường.", "yes"),
        ("Tuyến giáp có bình thường không?", "Có bất thường ở thùy trái.", "no"),
        ("Tuyến giáp có bình thường không?", "Không, tuyến giáp to.", "no"),
        ("Is there a pleural effusion?", "Yes, on the left.", "yes"),
        ("Is there a pleural effusion?", "There is no pleural effusion.", "no"),
        ("Is there a pleural effusion?", "No evidence of effusion, but there is a nodule.", "no"),
        ("Is there a pleural effusion?", "Possibly a small effusion.", None),
    ],
)
def test_yes_or_no(question: str, answer: str, said: str | None) -> None:
    assert polarity(answer, question) == said


@pytest.mark.parametrize(
    ("answer", "unit", "millimetres"),
    [
        ("12 mm.", None, 12),
        ("1,2 cm.", None, 12),
        ("1.2 centimet", None, 12),
        ("Tổn thương lớn 2,5 x 1,2 cm, SUVmax 8,1.", None, 25),
        ("SUVmax 8,1, kích thước khoảng 14 mm.", None, 14),
        ("12", "mm", 12),
        ("1,2", "cm", 12),
        ("12", None, None),
        ("Vài mm.", "mm", None),
        ("12 hoặc 14", "mm", None),
        ("Trên 10", "mm", None),
        ("SUVmax 5,1", "mm", None),
        ("5,1 g/ml", "mm", None),
        ("Không rõ.", "mm", None),
    ],
)
def test_sizes(answer: str, unit: str | None, millimetres: float | None) -> None:
    assert size_mm(answer, unit) == millimetres


@pytest.mark.parametrize(
    ("answer", "suv"),
    [
        ("3,2.", 3.2),
        ("3,2 (SUVmax).", 3.2),
        ("Nốt 12 mm có SUVmax khoảng 4,75.", 4.75),
        ("SUVmax: 10", 10),
        ("12 mm.", None),
        ("12 x 14 mm", None),
        ("Kích thước 12", None),
        ("Từ 3,2 và 4,1.", None),
        ("Tăng nhẹ.", None),
    ],
)
def test_suv(answer: str, suv: float | None) -> None:
    assert suv_max(answer) == suv


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("3 tổn thương.", 3),
        ("Ba", 3),
        ("Có hai hạch nách.", 2),
        ("Có 3 tổn thương: 2 ở phổi phải và 1 ở gan.", 3),
        ("Hai bên có 4 hạch.", 4),
        ("Mười hai nốt.", 12),
        ("Không có tổn thương nào.", 0),
        ("There are two lesions.", 2),
        ("Không có tổn thương.", 0),
        ("No lesions.", 0),
        ("Có 3 nốt: 2 nốt ở phổi, 1 nốt ở gan.", 3),
        ("2 hạch nách và 1 hạch cổ.", None),
        ("Năm 2022 có 2 nốt.", 2),
        ("3-4 nốt.", None),
        ("Hơn 10 hạch.", None),
        ("Ít nhất ba ổ.", None),
        ("Nhiều hạch.", None),
        ("Nốt 12 mm ở phổi phải.", None),
        ("", None),
    ],
)
def test_how_many(answer: str, number: int | None) -> None:
    assert count(answer) == number


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ("Ở phổi phải.", {("lung", "right")}),
        ("Tại hạch nách hai bên và gan.", {("axillary_node", "left"), ("axillary_node", "right"), ("liver", None)}),
        ("Không ở phổi trái mà ở gan.", {("liver", None)}),
        ("Nằm ở thực quản 1/3 giữa.", {("oesophagus", None)}),
        ("Không rõ.", set()),
    ],
)
def test_places(answer: str, where: set[tuple[str, str | None]]) -> None:
    assert places(answer) == where


def item(question: str, reference: str | None, hypothesis: str = "", **asked: Any) -> Item:
    return Item("i", "p", "all", None, reference, hypothesis, question=question, asked=asked or None)


def score(metric: str, *items: Item) -> float:
    family = VqaFamily(METRICS)
    return float(family.value(metric, family.rows(items, [one.hypothesis for one in items]).sum(0)))


@pytest.mark.parametrize(
    ("question", "reference", "kind", "wanted"),
    [
        (AXILLA, "Có. Có hạch nách trái.", "yes_no", "yes"),
        (AXILLA, "Chưa phát hiện hạch nách.", "yes_no", "no"),
        ("Lách có gì bất thường không?", "Lách bắt xạ theo đặc điểm sinh lý.", "open", None),
        ("Nốt phổi có kích thước bao nhiêu?", "Khoảng 1,4 cm.", "size", 14),
        ("Nốt phổi có kích thước bao nhiêu?", "Vài mm.", "open", None),
        ("Nốt phổi rộng bao nhiêu mm?", "14", "size", 14),
        ("SUVmax của khối là bao nhiêu?", "5,6.", "suv", 5.6),
        ("Tổn thương nằm ở đâu?", "Ở gan.", "where", {("liver", None)}),
        ("Có mấy hạch ở cổ?", "Hai hạch.", "how_many", 2),
        ("Có bao nhiêu nốt ở phổi?", "3 nốt.", "how_many", 3),
        ("Khối có đặc điểm gì?", "Khối 30 mm, tăng chuyển hóa.", "open", None),
        ("How many lesions are there?", "Two lesions.", "how_many", 2),
    ],
)
def test_the_kind_of_a_question_is_told_from_it_and_its_reference(
    question: str, reference: str, kind: str, wanted: Any
) -> None:
    found = question_of(item(question, reference))
    assert found is not None
    assert found.kind == kind
    assert kind == "open" or found.wanted == wanted


def test_the_record_tells_the_kind_and_the_right_answer() -> None:
    found = question_of(item("?", "Ở gan và phổi trái.", kind="where", answer=[{"site": "lung", "side": "bilateral"}]))
    assert found is not None
    assert found.wanted == {("lung", "left"), ("lung", "right")}
    assert question_of(item("", "Có.", kind="yes_no", answer="no")).wanted == "no"  # type: ignore[union-attr]
    assert question_of(item("", "x", kind="size", answer="twelve")).kind == "open"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": []},
        {"kind": {"a": 1}, "answer": "yes"},
        {"kind": "where", "answer": [{"site": "lung", "side": ["left"]}, 3]},
        {"kind": "where", "answer": "lung"},
        {"kind": "size", "answer": True, "unit": 5},
        {"kind": "how_many", "answer": [3]},
        {"kind": "yes_no", "answer": ["yes"]},
    ],
)
def test_another_programs_question_object_is_read_as_far_as_it_goes(petct: Any, asked: dict[str, Any]) -> None:
    record = {"id": "a", "question": asked, "reference": "Khối ở vùng đó.", "hypothesis": "Khối.", "messages": [3, {}]}
    done = petct("score", "--no-controls", stdin=lines(record))
    assert done.code == 0, done.stderr
    assert [one["metric"] for one in done.records if one["metric"].startswith("vqa")] == ["vqa_open_f1"]


def test_what_is_no_question_counts_in_none() -> None:
    report = Item("i", "p", "all", None, "Không thấy nốt phổi.", "Không thấy nốt phổi.", task="report")
    compared = Item("i", "p", "all", None, "Trái.", "Trái.", task="compare", question="Có tăng không?")
    wordless = item(AXILLA, None)
    family = VqaFamily(METRICS)
    sums = family.rows([report, compared, wordless], ["Không."] * 3).sum(0)
    assert not sums.any()
    assert family.applicable([report, compared, wordless]) == ()
    assert all(np.isnan(family.value(metric, sums)) and family.size(metric, sums) == 0 for metric in METRICS)


def test_unreadable_answers_are_wrong_and_counted() -> None:
    items = [item(AXILLA, "Có.", said) for said in ("Có.", "Không.", "Có lẽ.", "")]
    family = VqaFamily(METRICS)
    sums = family.rows(items, [one.hypothesis for one in items]).sum(0)
    assert family.value("vqa_closed_accuracy", sums) == 25
    assert family.counts("vqa_closed_accuracy", sums) == {
        "unparseable": 2,
        "reference_yes": 4,
        "reference_no": 0,
        "said_yes": 1,
        "said_no": 1,
    }


def test_macro_f1_does_not_reward_the_constant_answer() -> None:
    items = [item(AXILLA, "Có.", "Có.")] * 8 + [item(AXILLA, "Không.", "Có.")] * 2
    assert score("vqa_closed_accuracy", *items) == 80
    assert score("vqa_macro_f1", *items) == pytest.approx((200 * 8 / 18 + 0) / 2)
    [majority] = VqaFamily(METRICS).controls(items)
    assert majority.rows is not None
    assert VqaFamily(METRICS).value("vqa_closed_accuracy", majority.rows.sum(0)) == 80


@pytest.mark.parametrize(("said", "value"), [("22 mm", 100), ("2,1 cm", 100), ("25 mm", 0), ("", 0), ("20", 100)])
def test_numbers_within_the_tolerance(said: str, value: float) -> None:
    assert score("vqa_numeric", item("Khối lớn bao nhiêu mm?", "20 mm", said)) == value


def test_a_tighter_tolerance_is_in_the_signature() -> None:
    family = VqaFamily(("vqa_numeric",), tolerance=0.02)
    sums = family.rows([item("Khối lớn bao nhiêu mm?", "20 mm")], ["21 mm"]).sum(0)
    assert family.value("vqa_numeric", sums) == 0
    assert "tol:2%" in family.signature("vqa_numeric", sums)


def test_where_needs_organ_and_side_and_naming_everything_does_not_help() -> None:
    asked = "Tổn thương nằm ở đâu?"
    assert score("vqa_where", item(asked, "Ở phổi phải.", "Nằm ở phổi trái.")) == 0
    assert score("vqa_where", item(asked, "Ở phổi phải.", "Nằm ở phổi.")) == 0
    assert score("vqa_where", item(asked, "Ở phổi.", "Nằm ở phổi trái.")) == 100
    everything = "Ở gan, lách, phổi phải, phổi trái và hạch nách hai bên."
    assert score("vqa_where", item(asked, "Ở phổi phải.", everything)) < 35


REFERENCES = st.sampled_from(
    [
        (AXILLA, "Có, có hạch nách trái 12 mm."),
        (AXILLA, "Chưa ghi nhận hạch nách bất thường."),
        (AVID, "Có. Hạch nách phải tăng chuyển hoá FDG, SUVmax: 3,2."),
        ("Khối lớn bao nhiêu?", "Khối có đường kính 3,5 cm."),
        ("SUVmax của khối là bao nhiêu?", "5,6."),
        ("Tổn thương nằm ở đâu?", "Ở thuỳ dưới phổi phải và hạch trung thất."),
        ("Thấy mấy hạch?", "Hai hạch."),
        ("Khối có đặc điểm gì?", "Khối hoá dịch, tăng chuyển hoá FDG."),
    ]
)


def respelled(text: str, form: str, upper: bool, old: bool, point: bool) -> str:
    for one, other in (("oá", "óa"), ("uỳ", "ùy")):
        text = text.replace(*((one, other) if not old else (other, one)))
    if point:
        text = text.replace("3,5", "3.5").replace("5,6", "5.6").replace("3,2", "3.2")
    return unicodedata.normalize(form, text.upper() if upper else text)


@settings(max_examples=200, deadline=None)
@given(REFERENCES, st.sampled_from(["NFC", "NFD"]), st.booleans(), st.booleans(), st.booleans())
def test_spelling_makes_no_difference(pair: tuple[str, str], form: str, upper: bool, old: bool, point: bool) -> None:
    question, reference = pair
    one = item(question, reference, respelled(reference, form, upper, old, point))
    [metric, *_] = VqaFamily(METRICS).applicable([one])
    assert score(metric, one) == pytest.approx(100)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(REFERENCES, st.text(alphabet="cókhngtấyạ .,?0123mcx", max_size=30)), min_size=1, max_size=6))
def test_the_reference_is_100_and_nothing_beats_it(pairs: list[tuple[tuple[str, str], str]]) -> None:
    right = [item(question, reference, reference) for (question, reference), _ in pairs]
    garbled = [item(question, reference, said) for (question, reference), said in pairs]
    for metric in VqaFamily(METRICS).applicable(right):
        assert score(metric, *right) == pytest.approx(100)
        assert 0 <= score(metric, *garbled) <= 100


def records() -> list[dict[str, Any]]:
    asked = [
        (AXILLA, "Có, hạch nách trái.", "Có."),
        (AXILLA, "Không, không thấy hạch.", "Không thấy hạch nách."),
        ("Khối lớn bao nhiêu?", "20 mm.", "2,1 cm"),
        ("Khối có đặc điểm gì?", "Khối tăng chuyển hóa.", "Khối tăng chuyển hóa."),
    ]
    return [
        {"id": f"{patient}/{n}", "patient": f"p{patient}", "question": q, "reference": r, "hypothesis": h}
        for patient in range(6)
        for n, (q, r, h) in enumerate(asked)
    ]


def test_the_default_set_holds_the_kinds_of_question_that_are_there(petct: Any) -> None:
    done = petct("score", "--bootstrap", "100", stdin=lines(*records()))
    assert done.code == 0, done.stderr
    found = {(one["metric"], one.get("control")): one for one in done.records}
    shown = {metric for metric, control in found if control is None and metric.startswith("vqa")}
    assert shown == {"vqa_closed_accuracy", "vqa_macro_f1", "vqa_numeric", "vqa_open_f1"}
    assert {metric: found[metric, None]["value"] for metric in shown} == dict.fromkeys(shown, 100)
    assert [found[metric, None]["n"] for metric in sorted(shown)] == [12, 12, 6, 6]
    majority = found["vqa_closed_accuracy", "majority"]
    assert majority["value"] == 50
    assert "majority:in-sample" in majority["signature"]
    strict = petct(
        "score", "--metrics", "vqa_numeric", "--vqa-tolerance", "1", "--no-controls", stdin=lines(*records())
    )
    assert [one["value"] for one in strict.records] == [0]
    asked = petct("score", "--metrics", "vqa_how_many", "--no-controls", stdin=lines(*records()))
    assert [(one["value"], one["n"]) for one in asked.records] == [(None, 0)]


def test_answers_are_exchanged_among_those_to_the_same_question(petct: Any) -> None:
    asked = [
        {
            "id": f"{patient}/{site}",
            "patient": f"p{patient}",
            "question": f"Có nốt ở {site} không?" if patient else f"Có nang ở {site} không?",
            "reference": "Có." if site == "gan" else "Không.",
            "hypothesis": "Có." if site == "gan" else "Không.",
        }
        for patient in range(7)
        for site in ("gan", "phổi")
    ]
    done = petct("score", "--metrics", "vqa_closed_accuracy", stdin=lines(*asked))
    found = {one.get("control"): one for one in done.records}
    # Whoever learnt the answer to each question by heart is right and has seen nothing.
    assert (found[None]["value"], found[None]["n"]) == (100, 14)
    assert found["shuffled"]["value"] == found["other_patient"]["value"] == 100
    assert found["shuffled"]["counts"]["image_signal"] == 0
    # What nobody else was asked is left out, not wrong.
    assert found["shuffled"]["counts"]["without_partner"] == 2
    assert found["shuffled"]["n"] == 12


def test_a_frequent_answer_is_no_stock_sentence(petct: Any) -> None:
    report = {
        "task": "report",
        "reference": "Không thấy nốt phổi. Bắt xạ sinh lý ở não.",
        "hypothesis": "Bắt xạ sinh lý ở não.",
    }
    reports = [{"id": f"r{n}", "patient": f"p{n}", **report} for n in range(6)]
    mixed = petct("score", stdin=lines(*reports, *records()))
    stock = [one for one in mixed.records if one.get("control") == "stock_removed"]
    assert stock
    assert not [one for one in stock if one["metric"].startswith("vqa")]
    assert {one["counts"]["stock_sentences"] for one in stock} == {2}
    alone = petct("score", stdin=lines(*records()))
    assert not [one for one in alone.records if one.get("control") == "stock_removed"]


def test_reports_get_no_vqa_records(petct: Any) -> None:
    report = {"id": "a", "patient": "p", "reference": "Không thấy nốt phổi.", "hypothesis": "Không thấy nốt phổi."}
    done = petct("score", "--no-controls", stdin=lines(report))
    assert done.records
    assert not [one for one in done.records if one["metric"].startswith("vqa")]


def test_petcts_own_questions_are_all_answered_by_their_references(petct: Any, tmp_path: Path) -> None:
    phantoms = petct("phantom", "--studies", "8", "--seed", "3", "--as", "volumes", "-o", tmp_path)
    samples = petct("pair", "--task", "vqa", stdin=phantoms.stdout).records
    assert {one["question"]["kind"] for one in samples} >= {"yes_no", "size", "suv", "where", "how_many"}
    told = [{**one, "hypothesis": one["reference"]} for one in samples]
    done = petct("score", "--metrics", ",".join(METRICS), "--no-controls", stdin=lines(*told))
    over_all = {one["metric"]: one for one in done.records if one.get("group") is None}
    for metric in METRICS:
        if over_all[metric]["n"]:
            assert over_all[metric]["value"] == 100, metric
            assert over_all[metric].get("counts", {}).get("unparseable", 0) == 0
    assert sum(over_all[metric]["n"] for metric in METRICS if metric != "vqa_macro_f1") == len(samples)


def test_every_preset_can_be_asked_for_vqa() -> None:
    for preset in PRESETS.values():
        assert set(METRICS) <= set(preset.metrics)


@pytest.mark.real
def test_the_published_answers_stay_below_the_majority(petct: Any, real_data: Path) -> None:
    done = petct("score", real_data / "vimed" / "vqa.jsonl", "--metrics", "vqa_closed_accuracy")
    found = {one.get("control"): one for one in done.records}
    assert found[None]["n"] >= 110
    assert found["self"]["value"] == 100
    assert found["self"]["counts"]["unparseable"] == 0
    assert found[None]["value"] < found["majority"]["value"]
    assert found[None]["counts"]["unparseable"] > 0


@pytest.mark.real
def test_each_real_reference_answers_its_own_question(real_data: Path) -> None:
    family = VqaFamily(METRICS)
    for line in (real_data / "vimed" / "vqa.jsonl").read_bytes().splitlines():
        row = orjson.loads(line)
        one = item(row["question"], row["reference"], row["reference"])
        assert all(score(metric, one) == pytest.approx(100) for metric in family.applicable([one])), row["id"]
