"""Questions of regions: nothing is asked that truth or report do not state, and no answer stands in the question."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Result
from samples import SECTIONS, lines, study

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Lesion, Sample
from petct_cli.dataset.facts import stated_facts, true_facts
from petct_cli.dataset.tasks import TaskRule
from petct_cli.dataset.vqa import vqa_samples
from petct_cli.report.lesions import extract_lesions
from petct_cli.report.sites import site_names

Petct = Callable[..., Result]
CHEST = (
    "Nốt phổi phải kích thước 12 mm, tăng chuyển hóa FDG, SUVmax 5,3. "
    "Không thấy hạch nách hai bên tăng chuyển hóa FDG. Tuyến vú bình thường."
)


def asked(records: Iterable[dict[str, Any]], kind: str | None = None) -> list[dict[str, Any]]:
    found = [record for record in records if record["task"] == "vqa" and record.get("error") is None]
    return [record for record in found if kind in (None, record["question"]["kind"])]


def place(record: dict[str, Any]) -> tuple[str, str | None]:
    """Return site and side, or the name of the region that is asked for as a whole."""
    return record["question"].get("site", record["region"]["name"]), record["question"].get("side")


def random_studies(number: int, folder: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Studies with true lesions at some of the sites: some sites often, some seldom."""
    rng = random.Random(seed)
    made = []
    for index in range(number):
        lesions = [
            {"site": site, "side": side, "size_mm": 5 + 30 * rng.random(), "suv_max": 2 + 10 * rng.random()}
            for order, (site, side) in enumerate(site_names())
            if rng.random() < 0.05 + 0.05 * order
        ]
        path = folder / f"lesions{index}.json"
        path.write_bytes(orjson.dumps({"lesions": lesions}))
        made.append(study(f"s{index}", truth={"lesions": str(path)}))
    return made


def test_yes_and_no_are_even_at_every_place_of_every_split(petct: Petct, tmp_path: Path) -> None:
    studies = random_studies(120, tmp_path)
    result = petct("pair", "--task", "vqa", "--split", "random:0:60/20/20", stdin=lines(*studies))
    assert result.code == 0
    counts = Counter((one["split"], *place(one), one["question"]["answer"]) for one in asked(result.records, "yes_no"))
    for split, site, side, answer in list(counts):
        other = "no" if answer == "yes" else "yes"
        assert counts[split, site, side, answer] == counts[split, site, side, other]
    assert {key[0] for key in counts} == {"train", "val", "test"}
    # Some abdomen has a lesion in every study, so that no question about all of it can be even.
    assert {key[1:3] for key in counts} == set(site_names()) | {(name, None) for name in ("head_neck", "chest")}


def test_the_wording_of_a_question_does_not_tell_its_answer(petct: Petct, tmp_path: Path) -> None:
    result = petct("pair", "--task", "vqa", "--split", "train", stdin=lines(*random_studies(300, tmp_path)))
    counts: Counter[tuple[int, str]] = Counter()
    for one in asked(result.records, "yes_no"):
        text = one["messages"][0]["content"][-1]["text"]
        starts = ("Có tổn", "Có thấy", "Hình ảnh", "Trên")
        # The fifth begins with the name of a region.
        wording = next((number for number, start in enumerate(starts) if text.startswith(start)), 4)
        counts[wording, one["question"]["answer"]] += 1
    total = sum(counts.values())
    assert total > 1500
    # A majority vote within each wording would be right about half of the time: 3 standard deviations.
    best = sum(max(counts[wording, "yes"], counts[wording, "no"]) for wording in range(5)) / total
    assert best < 0.5 + 3 * 2 * 0.5 / total**0.5


def test_neither_order_nor_jobs_matter(petct: Petct, tmp_path: Path) -> None:
    studies = random_studies(30, tmp_path)
    command = ("pair", "--task", "report,vqa,compare", "--split", "random:0:50/25/25")
    one = petct(*command, stdin=lines(*studies))
    two = petct(*command, "--jobs", "2", stdin=lines(*studies))
    turned = petct(*command, stdin=lines(*reversed(studies)))
    assert one.stdout == two.stdout
    assert sorted(one.stdout.splitlines()) == sorted(turned.stdout.splitlines())
    identities = [record["id"] for record in one.records]
    assert len(set(identities)) == len(identities)


def test_answers_are_those_of_the_true_lesions(petct: Petct, tmp_path: Path) -> None:
    studies = random_studies(40, tmp_path, seed=1)
    truth = {one["id"]: orjson.loads(Path(one["truth"]["lesions"]).read_bytes())["lesions"] for one in studies}
    result = petct("pair", "--task", "vqa", "--split", "train", "--regions", "whole", stdin=lines(*studies))
    kinds = Counter(one["question"]["kind"] for one in asked(result.records))
    assert set(kinds) == {"yes_no", "size", "suv", "where", "how_many", "open"}
    for one in asked(result.records):
        lesions, question, text = truth[one["study"]], one["question"], one["reference"]
        here = [lesion for lesion in lesions if "site" in question and (lesion["site"], lesion["side"]) == place(one)]
        if question["kind"] == "yes_no":
            assert question["answer"] == ("yes" if (here if "site" in question else lesions) else "no")
            assert text.startswith("Có" if here else "Không")
        elif question["kind"] == "size":
            assert text.split()[0] == f"{question['answer']:.0f}" == f"{here[0]['size_mm']:.0f}"
        elif question["kind"] == "suv":
            assert text.split()[0].rstrip(".") == f"{here[0]['suv_max']:.1f}".replace(".", ",")
        elif question["kind"] == "how_many":
            assert question["answer"] == len(lesions) == int(text.split()[0])
        elif question["kind"] == "where":
            said = {(lesion.site, lesion.side) for lesion in extract_lesions(text + " Tổn thương tăng chuyển hóa FDG.")}
            assert {(where["site"], where.get("side")) for where in question["answer"]} == {
                (lesion["site"], lesion["side"]) for lesion in lesions
            }, said


def test_what_a_report_does_not_mention_is_not_asked(petct: Petct) -> None:
    sections = {**SECTIONS, "chest": CHEST, "musculoskeletal": ""}
    other = {**sections, "chest": "Hạch nách hai bên tăng chuyển hóa FDG. Không thấy tăng chuyển hóa FDG ở hai phổi."}
    studies = [study("a", report={"sections": sections}), study("b", report={"sections": other})]
    result = petct("pair", "--task", "vqa", "--split", "train", stdin=lines(*studies))
    answers = {(one["study"], *place(one)): one["question"]["answer"] for one in asked(result.records, "yes_no")}
    assert answers == {
        ("a", "lung", "right"): "yes",
        ("b", "lung", "right"): "no",
        ("a", "axillary_node", "left"): "no",
        ("b", "axillary_node", "left"): "yes",
        ("a", "axillary_node", "right"): "no",
        ("b", "axillary_node", "right"): "yes",
    }
    for one in asked(result.records):
        assert one["question"]["source"] == "report"
        if "span" in one["question"]:
            text = (sections if one["study"] == "a" else other)["chest"]
            assert text[slice(*one["question"]["span"])].strip() in text
    (described,) = [one for one in asked(result.records, "open") if one["study"] == "a"]
    assert described["reference"] == "Nốt phổi phải kích thước 12 mm, tăng chuyển hóa FDG, SUVmax 5,3."
    assert {one["reference"].split()[0] for one in asked(result.records, "size")} == {"12"}


def test_a_vague_report_is_asked_no_numbers() -> None:
    facts = stated_facts("chest", "Vài hạch trung thất tăng chuyển hóa FDG, hạch lớn nhất 12 mm, SUVmax 5,3.")
    assert not facts.complete
    assert all(finding.several for finding in facts.findings)


def numbers(text: str, region: str = "chest") -> dict[str, tuple[Any, ...]]:
    """Return kind -> (answer, site, side, most) of the questions on numbers that a report gives rise to."""
    fields = {"id": "s/r/vqa", "study": "s", "patient": "p", "task": "vqa"}
    bounds = {"name": region, "method": "whole", "z": [0, 1], "z_mm": None, "partial": False}
    base = Sample.model_validate({**fields, "region": bounds})
    asked_of = [one.question or {} for one in vqa_samples(base, stated_facts(region, text), text)]
    return {
        one["kind"]: (one["answer"], one["site"], one.get("side"), one.get("most", False))
        for one in asked_of
        if one["kind"] in ("size", "suv")
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "Vài hạch trung thất tăng chuyển hóa FDG, hạch lớn nhất 12 mm, SUVmax 5,3.",
            {"size": (12.0, "mediastinal_node", None, True), "suv": (5.3, "mediastinal_node", None, True)},
        ),
        (
            "Vài hạch nách trái 12 mm, tăng chuyển hóa FDG, SUVmax 5,3. Hạch nách phải 8 mm, SUVmax 6,1.",
            {"size": (8.0, "axillary_node", "right", False), "suv": (6.1, "axillary_node", "right", False)},
        ),
        (
            "Vài hạch nách trái 12 mm, tăng chuyển hóa FDG, SUVmax 5,3.",
            {"size": (12.0, "axillary_node", "left", True), "suv": (5.3, "axillary_node", "left", True)},
        ),
        (
            "Vài nốt hai phổi tăng chuyển hóa FDG, SUVmax 5,3. Vài nốt phổi phải tăng chuyển hóa FDG, 9 mm, SUVmax 7.",
            {"suv": (7.0, "lung", None, True)},
        ),
        ("Vài hạch trung thất và hạch nách trái tăng chuyển hóa FDG, lớn nhất 12 mm, SUVmax 5,3.", {}),
        (
            "Nốt phổi phải 12 mm, SUVmax 5,3.",
            {"size": (12.0, "lung", "right", False), "suv": (5.3, "lung", "right", False)},
        ),
    ],
)
def test_of_several_lesions_the_largest_is_asked(text: str, found: dict[str, tuple[Any, ...]]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("region", "text", "stated"),
    [
        ("chest", "Nốt phổi phải 12 mm, tăng chuyển hóa FDG. Không thấy hạch nách tăng chuyển hóa FDG.", True),
        ("chest", "Không thấy tổn thương tăng chuyển hóa FDG bất thường ở lồng ngực.", False),
        ("chest", "Không thấy tổn thương tăng chuyển hóa FDG bất thường ở ổ bụng.", None),
        ("chest", "Không thấy tổn thương tăng chuyển hóa FDG ở phổi.", None),
        ("chest", "Không thấy tổn thương tăng chuyển hóa FDG bất thường trên toàn thân.", False),
        ("chest", "Phổi sáng.", None),
        ("abdomen_pelvis", "Không thấy tổn thương tăng chuyển hóa FDG bất thường ở ổ bụng.", None),
        ("abdomen_pelvis", "Không thấy tổn thương tăng chuyển hóa FDG bất thường ở ổ bụng - khung chậu.", False),
        ("head_neck", "Không thấy tổn thương tăng chuyển hóa FDG bất thường vùng đầu - cổ.", False),
        ("whole", "Không thấy tổn thương tăng chuyển hóa FDG bất thường ở lồng ngực.", None),
        ("unknown", "Không thấy tổn thương tăng chuyển hóa FDG bất thường trên toàn thân.", None),
    ],
)
def test_a_whole_region_is_asked_only_where_the_report_states_it(region: str, text: str, stated: bool | None) -> None:
    found = stated_facts(region, text).stated
    assert (found and found[0]) == stated
    if found and found[1] is not None and stated is False:
        assert text[slice(*found[1])].startswith("Không thấy")


def test_true_lesions_state_whole_regions_but_of_an_unknown_one_no_freedom() -> None:
    assert true_facts("chest", []).stated == (False, None)
    assert true_facts("chest", [Lesion(site="lung", side="left")]).stated == (True, None)
    assert true_facts("unknown", []).stated is None
    assert true_facts("unknown", [Lesion(site="lung", side="left")]).stated == (True, None)


def test_a_denial_beside_a_lesion_of_the_same_site_counts_for_nothing() -> None:
    facts = stated_facts("chest", "Nốt phổi phải 12 mm, SUVmax 5,3. Không thấy tăng chuyển hóa FDG ở nhu mô phổi trái.")
    assert facts.free == {}


@pytest.mark.parametrize(
    "text",
    [
        "Hình ảnh nốt gan phải 12 mm, không tăng chuyển hóa FDG (SUVmax: 3,8).",
        "Không còn hình ảnh hạch trung thất, tăng chuyển hóa FDG so với hình ảnh tháng 6/2019.",
        "Nốt phổi phải 6 mm, chưa thấy tăng chuyển hóa FDG, SUVmax 0,8.",
    ],
)
def test_a_lesion_in_doubt_is_neither_there_nor_not(text: str) -> None:
    facts = stated_facts("whole", text)
    assert (facts.findings, dict(facts.free)) == ((), {})
    assert not facts.complete or not extract_lesions(text)


def test_in_a_scan_of_an_unknown_part_nothing_is_known_to_be_free() -> None:
    facts = true_facts("unknown", [Lesion(site="lung", side="left")])
    assert (facts.free, facts.complete) == ({}, False)


def test_a_question_has_the_turns_of_a_sample(petct: Petct, tmp_path: Path) -> None:
    result = petct("pair", "--task", "vqa", stdin=lines(*random_studies(10, tmp_path)))
    for one in asked(result.records):
        user, assistant = one["messages"]
        assert [part["type"] for part in user["content"]] == ["image", "image", "text"]
        assert assistant["content"] == [{"type": "text", "text": one["reference"]}]
        assert one["id"].startswith(f"{one['study']}/{one['region']['name']}/vqa/")
        assert "lesions" not in one


def test_a_failed_study_fails_in_every_task(petct: Petct) -> None:
    result = petct("pair", "--task", "report,vqa,compare", stdin=lines(study("x", ct=None)))
    assert result.code == 1
    assert [record["id"] for record in result.records] == [
        f"x/{region}/{task}"
        for region in ("head_neck", "chest", "abdomen_pelvis")
        for task in ("report", "vqa", "compare")
    ]
    assert {record["error"]["code"] for record in result.records} == {"no_ct"}


def test_tasks_are_parsed_in_one_order() -> None:
    assert TaskRule.parse("compare, report").names == ("report", "compare")
    for text in ("", "reports", "vqa,", "vqa,x"):
        if text == "vqa,":
            assert TaskRule.parse(text).names == ("vqa",)
            continue
        with pytest.raises(UsageError):
            TaskRule.parse(text)
