"""``petct augment``: children beside their parents, facts unchanged, other splits untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from petct_cli.core.records import Sample
from petct_cli.report.compose import compose_report
from petct_cli.report.rewrite import same_facts
from petct_cli.stages.augment import Augment
from tests.samples import lines
from tests.test_report_lesions import random_lesions

TEXT = "Nốt phổi phải 12 mm, tăng chuyển hóa FDG (SUVmax: 3,2). Chưa phát hiện tràn dịch màng phổi. Tim bình thường."


def sample(identity: str = "s1/chest/report", text: str | None = TEXT, **changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "type": "sample",
        "schema": 1,
        "id": identity,
        "study": "s1",
        "patient": "p1",
        "split": "train",
        "task": "report",
        "reference": text,
        "lesions": [{"site": "lung", "side": "right", "size_mm": 12.0, "suv_max": 3.2}],
        "messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Mô tả."}]},
            {"role": "assistant", "content": [{"type": "text", "text": text}]},
        ],
        "mine": {"kept": [1, 2]},
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def test_a_child_follows_its_parent_and_says_the_same(petct: Any) -> None:
    done = petct("augment", "--copies", "2", stdin=lines(sample(), sample("s2/chest/report")))
    assert done.code == 0
    assert [record["id"] for record in done.records] == [
        "s1/chest/report",
        "s1/chest/report/aug1",
        "s1/chest/report/aug2",
        "s2/chest/report",
        "s2/chest/report/aug1",
        "s2/chest/report/aug2",
    ]
    parent, *children = done.records[:3]
    assert parent == sample()
    for child in children:
        assert child["parent"] == parent["id"]
        assert child["methods"] == ["reorder", "synonyms"]
        assert child["reference"] != parent["reference"]
        assert child["messages"][-1]["content"] == [{"type": "text", "text": child["reference"]}]
        assert child["messages"][:-1] == parent["messages"][:-1]
        assert child["mine"] == parent["mine"]
        assert child["provenance"][-1]["stage"] == "augment"
        assert same_facts(parent["reference"], child["reference"])


def test_jobs_and_order_change_nothing(petct: Any) -> None:
    records = [sample(f"s{number}/chest/report") for number in range(6)]
    alone = petct("augment", "--seed", "3", stdin=lines(*records)).stdout
    assert petct("augment", "--seed", "3", "--jobs", "2", stdin=lines(*records)).stdout == alone
    assert petct("augment", "--seed", "4", stdin=lines(*records)).stdout != alone
    backwards = petct("augment", "--seed", "3", stdin=lines(*records[::-1])).stdout
    assert sorted(backwards.splitlines()) == sorted(alone.splitlines())


def test_other_splits_pass_on_untouched(petct: Any) -> None:
    held_out = [sample(split="val"), sample(split="test"), sample(split=None)]
    assert petct("augment", stdin=lines(*held_out)).records == held_out
    assert len(petct("augment", "--split", "all", stdin=lines(*held_out)).records) == 6


def test_children_have_no_children() -> None:
    child = Sample.model_validate(sample(parent="s0"))
    assert list(Augment()(child)) == [child]


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"text": None, "messages": []}, "no_reference"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]}, "reference_differs"),
    ],
)
def test_a_sample_that_cannot_be_reworded_fails_alone(petct: Any, broken: dict[str, Any], code: str) -> None:
    done = petct("augment", stdin=lines(sample(**broken), sample("s2/chest/report")))
    assert done.code == 1
    assert done.records[0]["error"]["code"] == code
    assert len(done.records) == 3
    assert TEXT not in done.stderr


@pytest.mark.parametrize("arguments", [("--method", "paraphrase"), ("--split", "tran")])
def test_a_wrong_option_is_a_usage_error(petct: Any, arguments: tuple[str, str]) -> None:
    assert petct("augment", *arguments, stdin=lines(sample())).code == 2


def test_what_cannot_be_said_otherwise_has_no_child() -> None:
    assert [record.id for record in Augment()(Sample.model_validate(sample(text="Gan.")))] == ["s1/chest/report"]


def test_phantom_samples_nearly_all_get_a_child() -> None:
    rng = np.random.default_rng(5)
    texts = [compose_report(random_lesions(rng), rng)["abdomen_pelvis"] for _ in range(80)]
    records = [Sample.model_validate(sample(f"s{number}/x/report", text)) for number, text in enumerate(texts)]
    children = [list(Augment()(record))[1:] for record in records]
    assert sum(map(bool, children)) >= 60
    for record, born in zip(records, children, strict=True):
        for child in born:
            assert isinstance(child, Sample)
            assert same_facts(record.reference or "", child.reference or "")


def test_a_child_does_not_claim_what_a_model_said_of_its_parent() -> None:
    text = "Nốt phổi phải 12 mm, tăng chuyển hóa FDG. Gan không thấy hình ảnh bất thường."
    parent = Sample(id="s", study="s", patient="p", split="train", reference=text, hypothesis="x", decoding={"seed": 1})
    same, *children = Augment(copies=3)(parent)
    assert same == parent
    assert children
    for child in children:
        assert {"hypothesis", "decoding"}.isdisjoint(child.to_json())
        assert child.to_json()["parent"] == "s"
