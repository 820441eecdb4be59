"""What must not change a score of ``petct score``, and what must not gain one: counting, gaming, small data."""

from __future__ import annotations

from importlib.resources import files
from inspect import signature, unwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from petct_cli.commands.score import main
from petct_cli.core.records import AnyRecord
from petct_cli.metrics.answers import places
from petct_cli.metrics.controls import exchange
from petct_cli.metrics.lesion_lists import read_lesions
from petct_cli.stages.score_input import Fields, read_items
from tests.samples import lines

REPORTS = (
    "Nốt thùy trên phổi phải 12 mm, tăng chuyển hóa FDG (SUVmax 4,2).",
    "Phổi bình thường. Hạch nách trái 10 mm.",
    "Khối gan 30 mm, tăng chuyển hóa FDG. Hạch cổ phải 9 mm, SUVmax 3,1.",
    "Không thấy bất thường.",
    "Nốt phổi trái 8 mm. Hạch trung thất tăng chuyển hóa FDG.",
)


def reports(number: int = 23) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{n}",
            "patient": f"p{n}",
            "region": "chest",
            "reference": REPORTS[n % 5],
            "hypothesis": REPORTS[(n * 3 + n // 5) % 5],
        }
        for n in range(number)
    ]


def questions(number: int = 23) -> list[dict[str, Any]]:
    return [
        {
            "id": f"q{n}",
            "patient": f"p{n}",
            "region": "chest",
            "task": "vqa",
            "question": "Có hạch nách không?",
            "reference": ("Có.", "Không.")[n % 2],
            "hypothesis": ("Có.", "Không.", "Hình ảnh.")[n % 3],
        }
        for n in range(number)
    ]


def scored(petct: Any, records: list[dict[str, Any]], *options: str) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Return the scores over all by metric and control."""
    done = petct("score", "--bootstrap", "20", *options, stdin=lines(*records))
    assert done.code == 0, done.stderr
    return {(one["metric"], one.get("control")): one for one in done.records if not one.get("group")}


def test_shuffling_scores_as_many_as_the_true_order(petct: Any) -> None:
    metrics = ("vqa_closed_accuracy", "vqa_macro_f1", "abnormal_accuracy", "f1_t", "bleu4")
    scores = scored(petct, [*reports(), *questions()], "--metrics", ",".join(metrics))
    for metric in metrics:
        assert scores[metric, "shuffled"]["n"] == scores[metric, None]["n"], metric


def test_words_that_name_no_type_state_none(petct: Any) -> None:
    text = "Tổn thương gan phải 30 mm, tăng chuyển hóa FDG."
    vague = [{"id": "a", "patient": "p", "reference": text, "hypothesis": text}]
    f1 = scored(petct, vague, "--metrics", "f1_t,f1_tp")
    assert f1["f1_t", None]["value"] is None, "unknown is never a match"
    assert f1["f1_t", None]["counts"]["unstated_in_reference"] == 1
    typed = [{**vague[0], "reference": text.replace("Tổn thương", "Khối")}]
    assert scored(petct, typed, "--metrics", "f1_t")["f1_t", None]["value"] == 0
    listed = {"reference_lesions": [{"kind": "lesion", "organ": "liver"}], "hypothesis_lesions": [{"kind": "lesion"}]}
    assert scored(petct, [{"id": "a", **listed}], "--metrics", "f1_t")["f1_t", None]["value"] is None


ENGLISH = "A 12 mm nodule in the right upper lobe with increased FDG uptake (SUVmax 4.2)."


def test_english_is_read_with_its_own_words_on_both_sides(petct: Any) -> None:
    metrics = "site_f1,f1_tpf,roi_f1_rules"
    same = [{"id": "a", "patient": "p", "reference": ENGLISH, "hypothesis": ENGLISH}]
    scores = scored(petct, same, "--metrics", metrics)
    for metric in metrics.split(","):
        assert scores[metric, None]["value"] == 100
        assert "extractor:rules-en-" in scores[metric, None]["signature"]
    other = {"id": "b", "patient": "q", "reference": REPORTS[0], "hypothesis": REPORTS[0]}
    assert "rules-vi+rules-en-" in scored(petct, [*same, other], "--metrics", metrics)["f1_tpf", None]["signature"]
    assert "rules-vi+rules-en-" in scored(petct, [*same, other], "--metrics", metrics)["site_f1", None]["signature"]
    crossed = [{**same[0], "hypothesis": REPORTS[0]}]
    assert scored(petct, crossed, "--metrics", "f1_tp")["f1_tp", None]["value"] == 0, "the reference says how to read"


def test_english_lists_and_answers() -> None:
    (nodule,) = read_lesions([{"type": "nodule", "position": "right upper lobe", "size": "12 mm"}]) or ()
    assert (nodule.kind, nodule.places) == ("nodule", (("lung", "right"),))
    assert places("In the right lung and the liver.", "en") == {("lung", "right"), ("liver", None)}


def test_questions_are_no_reports(petct: Any) -> None:
    metrics = "site_f1,f1_t,abnormal_accuracy,hallucinated_per_report,weighted_errors,roi_f1_rules"
    alone = scored(petct, reports(), "--metrics", metrics)
    among = scored(petct, [*reports(), *questions()], "--metrics", metrics)
    for key in ((name, control) for name in metrics.split(",") for control in (None, "self", "other_patient")):
        for what in ("value", "n", "ci95"):
            assert among[key].get(what) == alone[key].get(what), (key, what)


def test_what_the_reference_leaves_open_is_not_called_normal(petct: Any) -> None:
    def accuracy(reference: str, hypothesis: str) -> tuple[float | None, float]:
        record = {"id": "a", "patient": "p", "region": "chest", "reference": reference, "hypothesis": hypothesis}
        found = scored(petct, [record], "--metrics", "abnormal_accuracy")["abnormal_accuracy", None]
        return found["value"], found["counts"]["uptake_unstated"]

    normal = "Không thấy bất thường."
    assert accuracy("Khối phổi phải 50 mm.", normal) == (None, 1)
    assert accuracy("Khối phổi phải 50 mm, không tăng chuyển hóa FDG.", normal) == (100, 0)
    assert accuracy("Khối phổi phải 50 mm, SUVmax 9,1.", normal) == (0, 0)
    bone = "Đặc xương đốt sống ngực D5, tăng chuyển hóa FDG (SUVmax 8)."
    assert accuracy(bone, normal) == (0, 0), "the bones of the chest are told in the chest's report"
    assert accuracy(bone, bone) == (100, 0)


@pytest.mark.parametrize(
    "hedged", ["Nốt phổi hai bên, tăng chuyển hóa FDG.", "Nốt phổi phải và gan, tăng chuyển hóa FDG."]
)
def test_two_places_for_one_are_none(petct: Any, hedged: str) -> None:
    true = "Nốt phổi phải, tăng chuyển hóa FDG."
    scores = scored(
        petct,
        [{"id": "a", "patient": "p", "reference": true, "hypothesis": hedged}],
        "--metrics",
        "f1_t,f1_tp,f1_tpf,laterality_errors,weighted_errors",
    )
    assert scores["f1_t", None]["value"] == 100
    assert scores["f1_tp", None]["value"] == scores["f1_tpf", None]["value"] == 0
    assert scores["weighted_errors", None]["value"] > 0
    assert scores["laterality_errors", None]["value"] == (100 if "hai bên" in hedged else 0)


def test_the_template_of_few_patients_is_the_other_one_or_none(petct: Any) -> None:
    for first in range(6):
        two = [{**one, "patient": f"p{first + n}"} for n, one in enumerate(reports(2))]
        alone = {**reports(3)[2], "region": "neck", "patient": "p99"}
        scores = scored(petct, [*two, alone], "--metrics", "rouge1,site_f1")
        for metric in ("rouge1", "site_f1"):
            template = scores[metric, "template"]
            assert template["value"] == scores[metric, "other_patient"]["value"], "each one's template is the other"
            assert (template["n"], template["counts"]["without_template"]) == (2, 1)
        assert scores["site_f1", "frequent_site"]["n"] == 2


def test_the_template_of_answers_is_an_answer(petct: Any) -> None:
    scores = scored(petct, questions(), "--metrics", "vqa_closed_accuracy")
    assert scores["vqa_closed_accuracy", "template"]["counts"]["unparseable"] == 0


def test_lesions_without_a_reference_are_no_miss_of_the_controls(petct: Any) -> None:
    lung = [{"site": "lung", "side": "right", "suv_max": 4.0}]
    records: list[dict[str, Any]] = [
        {"id": f"t{n}", "patient": f"p{n}", "lesions": lung, "hypothesis": REPORTS[0]} for n in range(4)
    ]
    records[0]["reference"] = REPORTS[0]
    scores = scored(petct, records, "--metrics", "site_f1")
    assert scores["site_f1", None]["n"] == 4
    assert (scores["site_f1", "self"]["value"], scores["site_f1", "self"]["n"]) == (100, 1)
    other = scores["site_f1", "other_patient"]
    assert (other["value"], other["n"], other["counts"]["without_partner"]) == (100, 1, 3)


def test_nothing_at_all_is_no_failed_extraction(petct: Any) -> None:
    records: list[dict[str, Any]] = [
        {"id": f"r{n}", "reference": REPORTS[0], "hypothesis": REPORTS[0]} for n in range(4)
    ]
    for record in records:
        record["hypothesis_lesions"] = [{"kind": "nodule", "organ": "lung", "side": "right"}]
    for silent in (None, {"error": "no text"}):
        records[3] |= {"hypothesis": None, "hypothesis_lesions": silent}
        f1 = scored(petct, records, "--metrics", "f1_tp")["f1_tp", None]
        assert f1["value"] == pytest.approx(200 * 3 / 7), "whoever says nothing finds nothing"
        assert (f1["n"], f1["counts"]["missing"], f1["counts"]["extraction_failed"]) == (4, 1, 0)


def test_systems_with_different_true_lists_are_not_compared(petct: Any) -> None:
    def of(system: str, organ: str) -> list[dict[str, Any]]:
        true = {"reference_lesions": [{"kind": "mass", "organ": organ}]}
        return [{"id": f"r{n}", "system": system, **true, "hypothesis": "Khối gan."} for n in range(3)]

    done = petct("score", "--metrics", "f1_tp", "--no-controls", stdin=lines(*of("a", "liver"), *of("b", "spleen")))
    assert not [one for one in done.records if one["type"] == "comparison"]
    assert "different references" in done.stderr


_CHANGES: dict[str, tuple[str, ...]] = {
    "preset": ("--preset", "vimed"),
    "as_written": ("--as-written", "tone"),
    "tokens": ("--tokens", "pyvi"),
    "patient_field": ("--patient-field", "region"),
    "group_field": ("--group-field", "task"),
    "scope": ("--scope", "chest"),
    "tolerance": ("--tolerance", "position=0.7"),
    "severity": ("--severity", "weights.toml"),
    "bootstrap": ("--bootstrap", "21"),
    "vqa_tolerance": ("--vqa-tolerance", "11"),
    "seed": ("--seed", "1"),
}
"""Each option that changes numbers, with another value than its default."""

_ELSEWHERE = {
    "files": "what is scored",
    "metrics": "the name of the score",
    "system": "a name",
    "reference_field": "what is scored",
    "hypothesis_field": "what is scored",
    "lesion_fields": "what is scored; lists are told from texts",
    "controls": "which records there are",
    "by_organ": "which records there are",
    "per_sample": "which records there are",
    "html": "output",
    "append": "output",
    "output": "output",
    "shared": "what all commands have; the seed is above",
    "bert_model": "tests/test_text_encoder.py",
    "layer": "tests/test_text_encoder.py",
    "extractor_url": "tests/test_endpoint.py",
    "extractor_model": "tests/test_endpoint.py",
    "extractor_cache": "where answers are kept",
    "extractor_remote": "a permission",
}


def test_every_option_is_told_from_the_signature_or_named_here() -> None:
    assert set(signature(unwrap(main)).parameters) | {"seed"} == {*_CHANGES, *_ELSEWHERE}


@pytest.mark.parametrize("option", _CHANGES)
def test_a_score_that_an_option_can_change_names_it(petct: Any, tmp_path: Path, option: str) -> None:
    metrics = ("bleu4", "rougeL", "f1_tp", "weighted_errors", "lesion_suv_mae", "site_f1", "vqa_numeric")
    numeric = [
        {**one, "question": "Kích thước hạch là bao nhiêu mm?", "reference": "12 mm.", "hypothesis": f"{n} mm."}
        for n, one in enumerate(questions(12))
    ]
    records = [*reports(12), *numeric]
    text = files("petct_cli.metrics").joinpath("data/severity.toml").read_text("utf-8")
    (tmp_path / "weights.toml").write_text(text.replace("weight = 1", "weight = 1.5"))
    arguments = [str(tmp_path / word) if word.endswith(".toml") else word for word in _CHANGES[option]]
    names = ",".join(metrics if option != "preset" else ("bleu4", "rougeL", "site_f1"))
    usual = scored(petct, records, "--metrics", names)
    changed = scored(petct, records, "--metrics", names, *arguments)
    signatures = [
        (one["signature"], changed[key]["signature"], {one["value"], changed[key]["value"]})
        for key, one in usual.items()
        if key in changed
    ]
    assert any(before != after for before, after, _ in signatures)
    for before, after, values in signatures:
        assert before != after or len(values) == 1, (before, values)


def test_the_draw_of_the_controls_is_named_without_intervals(petct: Any) -> None:
    one, other = (scored(petct, reports(), "--metrics", "rouge1", "--bootstrap", "0", "--seed", n) for n in "56")
    for control in ("other_patient", "shuffled"):
        assert one["rouge1", control]["signature"] != other["rouge1", control]["signature"]
    tested = scored(petct, reports(), "--metrics", "rouge1")["rouge1", "shuffled"]
    assert "|test:paired-randomisation-patients-20" in tested["signature"]


def test_a_metric_named_twice_is_scored_once(petct: Any) -> None:
    done = petct("score", "--metrics", "bleu4,f1_t,bleu4", "--no-controls", stdin=lines(*reports(3)))
    assert [one["metric"] for one in done.records] == ["bleu4", "f1_t"]


def test_the_order_of_reports_and_questions_changes_nothing(petct: Any) -> None:
    metrics = "bleu4,rougeL,chrf,meteor,cider_d,site_f1,f1_t,f1_tpf,weighted_errors,abnormal_accuracy,vqa_macro_f1"
    records = [{**one, "region": ("chest", "neck")[n % 3 == 0]} for n, one in enumerate([*reports(), *questions()])]
    turned = [records[index] for index in np.random.default_rng(1).permutation(len(records))]
    one, other = (
        petct("score", "--metrics", metrics, "--by-organ", "--bootstrap", "50", stdin=lines(*order)).records
        for order in (records, turned)
    )
    by_id = {record["id"]: {**record, "provenance": None} for record in other}
    assert by_id == {record["id"]: {**record, "provenance": None} for record in one}


def test_telling_lesions_twice_or_everywhere_gains_nothing(petct: Any) -> None:
    metrics = ("f1_t", "f1_tp", "f1_tpf", "site_f1", "roi_f1_rules", "abnormal_specificity")
    usual = scored(petct, reports(), "--metrics", ",".join(metrics), "--no-controls")
    everywhere = " ".join(
        f"{kind} {organ}, kích thước 12 mm, tăng chuyển hóa FDG (SUVmax 4)."
        for kind in ("Nốt", "Khối", "Hạch")
        for organ in ("phổi hai bên", "gan", "lách", "trung thất", "nách hai bên", "cổ hai bên", "xương chậu hai bên")
    )
    for change in (lambda text: f"{text} {text}", lambda text: f"{text} {everywhere}"):
        records = [{**one, "hypothesis": change(one["hypothesis"])} for one in reports()]
        hedged = scored(petct, records, "--metrics", ",".join(metrics), "--no-controls")
        for metric in metrics:
            assert hedged[metric, None]["value"] <= usual[metric, None]["value"], metric
    listed = [{"kind": "node", "organ": "neck", "side": "right"}]
    for metric, value in (("f1_tp", 200 / 3), ("roi_f1_rules", 200 / 3), ("hallucinated_lesions", 50)):
        twice = {"id": "a", "reference_lesions": listed, "hypothesis_lesions": listed * 2}
        assert scored(petct, [twice], "--metrics", metric)[metric, None]["value"] == pytest.approx(value)


def test_the_same_question_about_another_region_is_another_one() -> None:
    records = [
        AnyRecord.model_validate(
            {
                "id": f"{patient}/{region}",
                "patient": patient,
                "region": {"name": region},
                "task": "vqa",
                "question": {"kind": "yes_no", "answer": "yes"},
                "reference": "Có.",
                "hypothesis": "Có.",
            }
        )
        for patient in "abcd"
        for region in ("chest", "head_neck")
    ]
    items = read_items(records, Fields(group="task"), None)[None].items
    assert {item.group for item in items} == {"vqa"}
    for order in range(5):
        for index, other in enumerate(exchange(items, 0, order)):
            assert other is not None
            assert items[other].patient != items[index].patient
            assert items[other].id.partition("/")[2] == items[index].id.partition("/")[2]
