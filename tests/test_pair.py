"""Studies to samples: the right slices, the right text, no patient on two sides of a split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from conftest import Result
from hypothesis import given
from hypothesis import strategies as st
from samples import SECTIONS, lines, study, volume

from petct_cli.core.errors import UsageError
from petct_cli.core.records import Sample, Study
from petct_cli.dataset.samples import region_text
from petct_cli.dataset.splits import SplitRule
from petct_cli.stages.pair import Pair
from petct_cli.stages.pair_regions import RegionRule
from petct_cli.volume.regions import PAPER_FRACTIONS, Overlap, regions_by_fractions

Petct = Callable[..., Result]


def samples_of(record: dict[str, object], **rules: object) -> list[Sample]:
    found = Pair(**rules)(Study.model_validate_json(orjson.dumps(record)))
    return [sample for sample in found if isinstance(sample, Sample)]


def test_three_samples_with_their_own_slices_and_text() -> None:
    head, chest, abdomen = samples_of(study())
    assert [sample.id for sample in (head, chest, abdomen)] == [
        "s1/head_neck/report",
        "s1/chest/report",
        "s1/abdomen_pelvis/report",
    ]
    assert head.region and chest.region and abdomen.region
    assert head.region.z[1] == 110
    assert abdomen.region.z[0] == 0
    assert chest.region.z[1] - head.region.z[0] == 20
    assert chest.reference == f"{SECTIONS['chest']} {SECTIONS['musculoskeletal']}"
    assert abdomen.reference == SECTIONS["abdomen_pelvis"]
    assert [(image.modality, image.z) for image in chest.images] == [("CT", chest.region.z), ("PT", chest.region.z)]


def test_the_last_turn_is_the_reference_and_images_are_asked_for_in_order() -> None:
    for sample in samples_of(study()):
        user, assistant = sample.messages
        assert [part["type"] for part in user.content] == ["image", "image", "text"]
        assert assistant.content == [{"type": "text", "text": sample.reference}]


def test_true_lesions_go_with_their_region(tmp_path: Path) -> None:
    truth = tmp_path / "lesions.json"
    lesions = [{"site": "lung", "side": "right", "size_mm": 12.0}, {"site": "lumbar_vertebra", "size_mm": 9.0}]
    truth.write_bytes(orjson.dumps({"lesions": lesions}))
    head, chest, abdomen = samples_of(study(truth={"lesions": str(truth)}))
    assert [lesion.site for lesion in head.lesions or []] == []
    assert [(lesion.site, lesion.side) for lesion in chest.lesions or []] == [("lung", "right")]
    assert [lesion.site for lesion in abdomen.lesions or []] == ["lumbar_vertebra"]
    assert all(sample.lesions is None for sample in samples_of(study()))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ct": None}, "no_ct"),
        ({"pet": None}, "no_pet"),
        ({"report": None}, "no_report"),
        ({"report": {"lang": "vi", "path": "gone.json"}}, "report_unreadable"),
        ({"ct": volume("ct", shape=[300, 512, 512])}, "grids_differ"),
        ({"truth": {"lesions": "gone.json"}}, "truth_unreadable"),
    ],
)
def test_what_cannot_be_paired_fails_in_every_region(changes: dict[str, object], code: str) -> None:
    found = samples_of(study(**changes))
    assert [sample.error and sample.error.code for sample in found] == [code] * 3
    assert len({sample.split for sample in found}) == 1


def test_a_region_without_findings_fails_alone() -> None:
    sections = {"head_neck": SECTIONS["head_neck"], "chest": SECTIONS["chest"]}
    found = samples_of(study(report={"lang": "vi", "sections": sections}))
    assert [sample.error.code if sample.error else None for sample in found] == [None, None, "no_findings"]


def test_a_report_is_read_from_the_file_that_the_record_names(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    layout = {"Mô tả hình ảnh": {"Đầu - cổ": "Não bình thường.", "Lồng ngực": "Phổi sáng."}, "Kết luận": "Bình thường."}
    path.write_bytes(orjson.dumps(layout))
    head, chest, _ = samples_of(study(report={"path": str(path)}))
    assert (head.reference, chest.reference) == ("Não bình thường.", "Phổi sáng.")


@pytest.mark.parametrize(
    "options", [(), ("--duplicates", "off"), ("--slices",), ("--task", "vqa,compare", "--jobs", "2")]
)
def test_an_id_is_paired_once(petct: Petct, options: tuple[str, ...]) -> None:
    first, again = study("a"), study("a", patient="P-other", report={"sections": {"chest": "Gan to."}})
    failed = study("a", error={"stage": "convert", "code": "no_pet", "message": "x"})
    alone = petct("pair", *options, stdin=lines(first, study("b")))
    both = petct("pair", *options, stdin=lines(first, again, study("b"), failed))
    assert (alone.code, both.code) == (0, 1)
    assert both.stdout == alone.stdout
    assert both.stderr.count("a: a study of this id was given before") == 2
    assert "duplicate_id" in both.stderr


def test_reports_beside_the_studies_are_matched(petct: Petct, tmp_path: Path) -> None:
    layout = {
        "Mô tả hình ảnh": {"Đầu - cổ": "Não bình thường.", "Lồng ngực": "Phổi sáng.", "Ổ bụng": "Gan bình thường."}
    }
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/s1.json").write_bytes(orjson.dumps(layout))
    result = petct(
        "pair", "--reports", tmp_path / "reports", stdin=lines(study("s1", report=None), study("s2", report=None))
    )
    assert result.code == 1
    assert [record.get("reference") for record in result.records[:2]] == ["Não bình thường.", "Phổi sáng."]
    assert {record["error"]["code"] for record in result.records[3:]} == {"no_report"}


def test_a_short_scan_is_one_unknown_region() -> None:
    short = {"shape": [60, 64, 64]}
    (sample,) = samples_of(study(ct=volume("ct", **short), pet=volume("pet", **short)), regions=RegionRule("paper"))
    assert sample.region and (sample.region.name, sample.region.partial) == ("unknown", True)
    assert all(text in (sample.reference or "") for text in SECTIONS.values())


def test_regions_follow_the_positions_given_in_mm() -> None:
    rule = RegionRule.parse("fractions:25,25,50", "64mm")
    place = {"shape": [100, 64, 64]}
    record = Study.model_validate(study(ct=volume("ct", **place)))
    assert record.ct is not None
    head, chest, abdomen = rule.cut(record, record.ct)
    assert (head.start, head.stop) == (71, 100)
    assert (chest.start, chest.stop) == (46, 79)
    assert (abdomen.start, abdomen.stop) == (0, 54)
    assert head.method == "fractions:25,25,50"


@given(st.integers(90, 2000), st.floats(1.0, 8.0), st.floats(0, 100))
def test_regions_cover_the_scan(slices: int, spacing: float, overlap: float) -> None:
    found = regions_by_fractions(slices, spacing, PAPER_FRACTIONS, Overlap(overlap, "mm"), "paper")
    covered = set().union(*(range(region.start, region.stop) for region in found))
    assert covered == set(range(slices))
    assert all(0 <= region.start < region.stop <= slices for region in found)


@given(st.lists(st.text(min_size=1), min_size=1), st.integers(0, 5))
def test_a_patient_has_one_split_whatever_the_order(patients: list[str], seed: int) -> None:
    rule = SplitRule.parse(f"random:{seed}")
    forward = {patient: rule.split_of(patient) for patient in patients}
    assert forward == {patient: rule.split_of(patient) for patient in reversed(patients)}


def test_shares_are_kept() -> None:
    rule = SplitRule.parse("random:3:60/0/40")
    found = [rule.split_of(f"p{number}") for number in range(4000)]
    assert abs(found.count("train") / 4000 - 0.6) < 0.03
    assert "val" not in found
    assert {SplitRule.parse("val").split_of(f"p{number}") for number in range(100)} == {"val"}


@pytest.mark.parametrize("text", ["random:x", "random:0:1/2", "random:0:-1/1/1", "time", ""])
def test_bad_splits(text: str) -> None:
    with pytest.raises(UsageError):
        SplitRule.parse(text)


def test_skeletal_sentences_go_where_they_belong() -> None:
    sections = {
        "musculoskeletal": "Tổn thương xương cánh chậu trái. Tổn thương cột sống ngực. Hệ xương khác bình thường."
    }
    assert region_text("chest", sections) == "Tổn thương cột sống ngực. Hệ xương khác bình thường."
    assert region_text("abdomen_pelvis", sections) == "Tổn thương xương cánh chậu trái. Hệ xương khác bình thường."
    assert region_text("head_neck", sections) == ""
    assert region_text("head_neck", {"musculoskeletal": "Hệ xương bình thường."}) == "Hệ xương bình thường."


def test_provenance_grows(petct: Petct) -> None:
    (record, *_) = petct("pair", stdin=lines(study())).records
    assert [entry["stage"] for entry in record["provenance"]] == ["pair"]


@pytest.mark.parametrize(
    "wrong",
    [{"shape": []}, {"shape": [0, 4, 4]}, {"spacing_mm": [0.0, 1.0, 1.0]}, {"spacing_mm": [1.0]}, {"affine": [[1.0]]}],
)
def test_a_volume_that_cannot_be_fails_the_study(wrong: dict[str, object]) -> None:
    record = Study.model_validate(study("s", ct={**volume("ct"), **wrong}, pet={**volume("pet"), **wrong}))
    codes = {one.error.code for one in Pair()(record) if one.error is not None}
    assert codes == {"bad_volume"}


def test_a_path_that_is_none_fails_the_study() -> None:
    for wrong in ({"report": {"path": "a\0b"}}, {"truth": {"lesions": "a\0b"}}):
        record = Study.model_validate(study("s", **wrong))
        assert all(one.error is not None for one in Pair()(record))


@pytest.mark.parametrize("overlap", ["-5", "nan", "inf", "-1mm"])
def test_an_overlap_is_a_length(overlap: str) -> None:
    with pytest.raises(UsageError):
        RegionRule.parse("paper", overlap)


@pytest.mark.parametrize("rule", ["random:0:nan/1/1", "random:0:inf/1/1", "random:0:0/0/0", "random:0:-1/1/1"])
def test_shares_are_numbers(rule: str) -> None:
    with pytest.raises(UsageError):
        SplitRule.parse(rule)
    with pytest.raises(UsageError):
        RegionRule.parse("fractions:nan,1,1", "20")


def test_findings_that_are_not_divided_are_of_the_whole_body() -> None:
    assert region_text("whole", {"findings": "Gan to."}) == "Gan to."
    assert region_text("chest", {"findings": "Gan to."}) == ""
