"""Two studies side by side: who is compared with whom, and what is said of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SECTIONS, study

from petct_cli.core.records import Lesion, Sample, Study
from petct_cli.dataset.compare import FOLLOW_UP, PATIENTS, Compare, differences
from petct_cli.dataset.facts import Facts, true_facts
from petct_cli.dataset.splits import SplitRule
from petct_cli.dataset.tasks import TaskRule
from petct_cli.stages.pair import Pair, RegionRule

Petct = Callable[..., Result]


def facts(*lesions: tuple[str, str | None, float, float]) -> Facts:
    return true_facts("chest", [Lesion(site=a, side=b, size_mm=c, suv_max=d) for a, b, c, d in lesions])


def compared(
    folder: Path, studies: list[dict[str, Any]], pairs: int = 1, split: str = "train", regions: str = "whole"
) -> list[Sample]:
    stage = Pair(RegionRule.parse(regions, "20"), SplitRule.parse(split), tasks=TaskRule(("compare",), pairs))
    folder.mkdir(parents=True, exist_ok=True)
    (gather,) = stage.gather(folder)
    assert isinstance(gather, Compare)
    for one in studies:
        for made in stage(Study.model_validate_json(orjson.dumps(one))):
            assert list(gather.take(made)) == []
    return [sample for sample in gather.rest() if isinstance(sample, Sample)]


def test_differences_between_two_times() -> None:
    before = facts(("lung", "right", 12.4, 5.31), ("mediastinal_node", None, 20, 8), ("lung", "left", 9, 3))
    after = facts(("lung", "right", 15.2, 4.0), ("axillary_node", "left", 11, 3.2), ("lung", "left", 9.2, 3))
    assert differences(before, after, "chest", FOLLOW_UP) == [
        "Tổn thương ở phổi trái: kích thước không đổi (9 mm), SUVmax không đổi (3,0).",
        "Tổn thương ở phổi phải: kích thước tăng từ 12 lên 15 mm, SUVmax giảm từ 5,3 xuống 4,0.",
        "Không còn thấy tổn thương ở hạch trung thất (20 mm, SUVmax 8,0).",
        "Xuất hiện mới tổn thương ở hạch nách trái (11 mm, SUVmax 3,2).",
    ]


def test_differences_between_two_patients() -> None:
    one, two = facts(("lung", "right", 12, 5)), facts(("lung", "right", 9, 6), ("mediastinal_node", None, 20, 8))
    assert differences(one, two, "chest", PATIENTS) == [
        "Cả hai có tổn thương ở phổi phải: kích thước ở người thứ hai nhỏ hơn (9 so với 12 mm), "
        "SUVmax ở người thứ hai cao hơn (6,0 so với 5,0).",
        "Chỉ người bệnh thứ hai có tổn thương ở hạch trung thất (20 mm, SUVmax 8,0).",
    ]
    assert differences(facts(), facts(), "chest", PATIENTS) == [
        "Cả hai người bệnh đều không có tổn thương tăng chuyển hóa FDG ở lồng ngực."
    ]


def test_what_one_report_does_not_mention_is_not_said_to_be_gone(tmp_path: Path) -> None:
    silent, denying = "Tuyến vú bình thường.", "Không thấy nốt phổi hay hạch trung thất tăng chuyển hóa FDG."
    texts = {"a": SECTIONS["chest"], "b": silent, "c": denying}
    studies = {
        name: study(name, patient="P", study_date=f"2020-01-0{day}", report={"sections": {"chest": text}})
        for day, (name, text) in enumerate(texts.items(), start=1)
    }
    first, second = (
        compared(tmp_path / "1", [studies["a"], studies["b"]]),
        compared(tmp_path / "2", [studies["a"], studies["c"]]),
    )
    assert [one.reference for one in first] == ["Chỉ lần chụp trước mô tả tổn thương ở phổi phải (12 mm, SUVmax 5,3)."]
    assert [one.reference for one in second] == ["Không còn thấy tổn thương ở phổi phải (12 mm, SUVmax 5,3)."]
    assert compared(tmp_path / "3", [studies["b"], studies["b"]]) == []


def test_follow_ups_come_by_date_and_only_with_one(tmp_path: Path) -> None:
    dates = {"late": "2020-03-01", "early": "2019-05-01", "middle": "2019-11-30"}
    studies = [study(name, patient="P", study_date=date) for name, date in dates.items()]
    found = compared(tmp_path / "1", studies)
    assert [(one.study, one.other and one.other["study"]) for one in found] == [("early", "middle"), ("middle", "late")]
    assert {one.other["manner"] for one in found if one.other} == {FOLLOW_UP}
    assert compared(tmp_path / "2", [study(name, patient="P") for name in dates]) == []
    assert compared(tmp_path / "3", [study(name, patient="P", study_date="2020-01-01") for name in dates]) == []


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 9, 12])
@pytest.mark.parametrize("pairs", [1, 2, 3, 40])
def test_each_patient_is_compared_with_as_many_others(tmp_path: Path, number: int, pairs: int) -> None:
    found = compared(tmp_path, [study(f"s{index}") for index in range(number)], pairs)
    met = [frozenset((one.study, one.other["study"])) for one in found if one.other]
    assert len(set(met)) == len(met) == min(number * pairs, number * (number - 1) // 2)
    assert all(len(two) == 2 for two in met)
    assert max(Counter(one.study for one in found).values(), default=0) <= pairs
    assert len({one.id for one in found}) == len(found)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_pairs_depend_on_the_set_of_studies_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from([f"s{n}" for n in range(30)]), unique=True, max_size=12))
    studies = [
        study(name, patient=f"P{int(name[1:]) % 7}", study_date=f"2020-01-{int(name[1:]) // 7 + 1:02}")
        for name in names
    ]
    shuffled = random.Random(data.draw(st.integers(0, 9))).sample(studies, len(studies))
    results = []
    for order in (studies, shuffled):
        found = compared(tmp_path_factory.mktemp("compare"), order, 2, "random:0:40/30/30")
        results.append([one.to_json() for one in found])
    assert results[0] == results[1]
    rule = SplitRule.parse("random:0:40/30/30")
    for one in results[0]:
        assert rule.split_of(one["patient"]) == rule.split_of(one["other"]["patient"]) == one["split"]
        assert (one["patient"] == one["other"]["patient"]) == (one["other"]["manner"] == FOLLOW_UP)


def test_a_comparison_shows_four_images_and_no_train_or_generate_breaks(petct: Petct, tmp_path: Path) -> None:
    made = petct("phantom", "--studies", "3", "--as", "volumes", "-o", "ph", cwd=tmp_path)
    samples = petct("pair", "--task", "report,vqa,compare", "--split", "train", stdin=made.stdout, cwd=tmp_path)
    assert samples.code == 0
    comparison = next(one for one in samples.records if one["task"] == "compare")
    assert [image["modality"] for image in comparison["images"]] == ["CT", "PT", "CT", "PT"]
    assert [part["type"] for part in comparison["messages"][0]["content"]] == ["image"] * 4 + ["text"]
    assert comparison["messages"][1]["content"] == [{"type": "text", "text": comparison["reference"]}]
    assert (
        comparison["id"]
        == f"{comparison['study']}/{comparison['region']['name']}/compare/{comparison['other']['study']}"
    )
    trained = petct("train", "-o", "m", "--recipe", "pet-threshold", stdin=samples.stdout, cwd=tmp_path)
    assert trained.code == 0, trained.stderr
    told = petct("generate", "--model", "m", "--split", "all", stdin=samples.stdout, cwd=tmp_path)
    codes = Counter((one["task"], (one.get("error") or {}).get("code")) for one in told.records)
    # Three phantoms may leave a region without a lesion to learn from.
    assert {("report", None), ("vqa", None), ("compare", "no_pair")} <= set(codes)
    scores = petct("score", stdin=told.stdout, cwd=tmp_path)
    assert {"chest", "vqa/chest", "compare/chest"} <= {one.get("group") for one in scores.records}
    assert scores.code == 0, scores.stderr
