"""``petct score`` as its users run it."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from petct_cli.report.compose import compose_report
from petct_cli.report.lesions import EXTRACTOR_VERSION
from tests.samples import lines
from tests.test_report_lesions import random_lesions

REGIONS = ("chest", "abdomen_pelvis")


def predictions(number: int = 24, right: float = 1.0) -> list[dict[str, Any]]:
    """Samples of `number` patients, of which a share `right` got their own report and the others someone else's."""
    rng = np.random.default_rng(2)
    lesions = [random_lesions(rng) for _ in range(number)]
    reports = [compose_report(found, rng) for found in lesions]
    records = []
    for index, report in enumerate(reports):
        said = report if rng.uniform() < right else reports[(index + 1) % number]
        for region in REGIONS:
            records.append(
                {
                    "type": "sample",
                    "schema": 1,
                    "id": f"s{index}/{region}/report",
                    "study": f"s{index}",
                    "patient": f"p{index}",
                    "region": {"name": region, "method": "paper", "z": [0, 9], "z_mm": [0.0, 9.0], "partial": False},
                    "reference": " ".join(report.values()),
                    "hypothesis": " ".join(said.values()),
                    "lesions": [one.model_dump(exclude_none=True) for one in lesions[index]],
                }
            )
    return records


def by_name(records: list[dict[str, Any]]) -> dict[tuple[str, str | None, str | None], dict[str, Any]]:
    return {(record["metric"], record.get("group"), record.get("control")): record for record in records}


def test_scores_do_not_depend_on_how_many_processes_read_the_texts(petct: Any) -> None:
    # Enough texts that processes are started for them, and different ones on both sides.
    read = lines(*predictions(210, right=0.5))
    options = ("score", "--bootstrap", "0", "--metrics", "site_f1,f1_tpf,weighted_errors")
    alone, together = (petct(*options, "-j", jobs, stdin=read) for jobs in ("1", "2"))
    assert (alone.code, together.code) == (0, 0), together.stderr
    assert alone.stdout == together.stdout
    assert {record["metric"] for record in alone.records} == {"site_f1", "f1_tpf", "weighted_errors"}


def test_perfect_predictions_and_their_controls(petct: Any) -> None:
    done = petct("score", "--bootstrap", "200", stdin=lines(*predictions()))
    assert done.code == 0, done.stderr
    scores = by_name(done.records)
    for metric in ("bleu4", "rouge1", "rougeL", "site_f1"):
        own = scores[metric, None, None]
        assert own["value"] == pytest.approx(100)
        assert own["n"] == 48
        assert own["ci95"] == [100, 100]
        assert scores[metric, None, "self"]["value"] == pytest.approx(100)
        assert {group for name, group, control in scores if name == metric and not control} == {None, *REGIONS}
        shuffled = scores[metric, None, "shuffled"]
        assert shuffled["value"] < own["value"]
        assert shuffled["counts"]["image_signal"] == pytest.approx(own["value"] - shuffled["value"], abs=1e-5)
        assert shuffled["counts"]["p_value"] < 0.05
        assert scores[metric, None, "template"]["value"] < own["value"]
        assert scores[metric, None, "other_patient"]["value"] < own["value"]
    assert scores["size_mae_mm", None, None]["value"] < 0.51
    assert not scores["size_mae_mm", None, None]["higher_is_better"]
    assert scores["suv_r", None, None]["value"] > 0.99
    chance, own = scores["site_f1", None, "chance"], scores["site_f1", None, None]
    assert 0 < chance["value"] < 60
    assert "chance:sum_p2/sum_p" in chance["signature"]
    assert "truth:lesions" in own["signature"]
    assert f"extractor:rules-vi-{EXTRACTOR_VERSION}" in own["signature"]
    assert own["counts"]["fn"] == 0
    assert ("site_f1", None, "frequent_site") in scores
    assert all(record["provenance"][-1]["stage"] == "score" for record in done.records)


def test_a_system_that_ignores_the_image_has_no_signal(petct: Any) -> None:
    scores = by_name(petct("score", stdin=lines(*predictions(60, right=0.0))).records)
    assert scores["site_f1", None, "shuffled"]["counts"]["p_value"] > 0.05
    assert scores["bleu4", None, "shuffled"]["counts"]["p_value"] > 0.05


def test_same_input_same_bytes_whatever_the_order_of_patients_is_seeded(petct: Any) -> None:
    records = predictions(12)
    one = petct("score", "--seed", "5", stdin=lines(*records)).stdout
    assert petct("score", "--seed", "5", stdin=lines(*records), env={"PYTHONHASHSEED": "7"}).stdout == one
    assert petct("score", "--seed", "6", stdin=lines(*records)).stdout != one


def test_failed_and_missing_hypotheses_stay_in_the_denominator(petct: Any) -> None:
    records = predictions(12)
    records[0] = {**records[0], "error": {"stage": "generate", "code": "x", "message": "y"}}
    del records[1]["hypothesis"]
    records[2]["hypothesis"] = None
    records[3]["hypothesis"] = 7
    done = petct("score", "--no-controls", "--metrics", "rouge1,site_f1", stdin=lines(*records))
    assert done.code == 1
    assert "petct score: stdin:4: field hypothesis is no text [wrong_type]" in done.stderr
    scores = by_name(done.records)
    rouge = scores["rouge1", None, None]
    assert rouge["value"] == pytest.approx(100 * 20 / 24, abs=1e-4)
    assert (rouge["n"], rouge["counts"]["failed"], rouge["counts"]["missing"]) == (24, 2, 2)
    assert scores["site_f1", None, None]["n"] == 24


def test_a_file_that_petct_never_wrote(petct: Any, tmp_path: Path) -> None:
    rows = [{"gold": "Nốt phổi phải.", "out": {"text": "Nốt phổi phải."}, "patient_id": n} for n in range(4)]
    done = petct(
        "score", "--reference-field", "gold", "--hypothesis-field", "out.text", "--metrics", "bleu1", stdin=lines(*rows)
    )
    assert done.code == 0, done.stderr
    assert done.records[0]["value"] == 100
    assert done.records[0]["n"] == 4


def test_several_files_are_several_systems(petct: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(lines({"id": "1", "reference": "Gan to.", "hypothesis": "Gan to."}))
    bad.write_bytes(
        lines(
            {"id": "1", "reference": "Gan to.", "hypothesis": "Phổi."},
            {"id": "2", "reference": "Gan to.", "hypothesis": "Gan to.", "system": "third"},
        )
    )
    done = petct("score", good, bad, "--metrics", "rouge1", "--no-controls")
    assert "good and third share no id: not compared" in done.stderr
    scores, differences = done.records[:3], done.records[3:]
    assert [(one["type"], one["system"], one["against"], one["difference"]) for one in differences] == [
        ("comparison", "good", "bad", 100)
    ]
    assert [(record["system"], record["value"]) for record in scores] == [("good", 100), ("bad", 0), ("third", 100)]


def two_systems(folder: Path, one: list[dict[str, Any]], other: list[dict[str, Any]]) -> tuple[Path, Path]:
    paths = folder / "one.jsonl", folder / "other.jsonl"
    for path, records in zip(paths, (one, other), strict=True):
        path.write_bytes(lines(*records))
    return paths


def scored(petct: Any, *arguments: Any) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], Any]:
    """Return the scores by system, the comparisons and how the command ended, for one metric."""
    done = petct("score", *arguments, "--metrics", "rouge1", "--no-controls", "--bootstrap", "99")
    scores = {one["system"]: one for one in done.records if one["type"] == "score" and "group" not in one}
    return scores, [one for one in done.records if one["type"] == "comparison"], done


def pair_of(number: int, said: str = "x y", **changes: Any) -> dict[str, Any]:
    return {"id": f"i{number}", "reference": "x y", "hypothesis": said, "patient": f"p{number}", **changes}


def test_what_a_system_lacks_counts_as_missing(petct: Any, tmp_path: Path) -> None:
    paths = two_systems(tmp_path, [pair_of(n) for n in range(10)], [pair_of(n) for n in range(8)])
    scores, differences, done = scored(petct, *paths)
    assert done.code == 0
    assert "other lacks 2 samples that others have: they count as missing" in done.stderr
    assert (scores["other"]["value"], scores["other"]["n"], scores["other"]["counts"]["missing"]) == (80, 10, 2)
    assert (differences[0]["difference"], differences[0]["n"]) == (20, 10)


def test_a_failed_sample_takes_its_reference_from_another_system(petct: Any, tmp_path: Path) -> None:
    lost = {"id": "i0", "error": {"stage": "generate", "code": "x", "message": "y"}}
    paths = two_systems(tmp_path, [pair_of(0), pair_of(1)], [lost, pair_of(1)])
    scores, _, done = scored(petct, *paths)
    assert (scores["other"]["value"], scores["other"]["counts"]) == (50, {"failed": 1, "missing": 0})
    assert "other has no reference for 1 samples" in done.stderr


def test_a_system_of_which_everything_failed_is_nought(petct: Any, tmp_path: Path) -> None:
    lost = [{"id": f"i{n}", "error": {"stage": "generate", "code": "x", "message": "y"}} for n in range(2)]
    scores, differences, done = scored(petct, *two_systems(tmp_path, [pair_of(0), pair_of(1)], lost))
    assert done.code == 0
    assert (scores["other"]["value"], scores["other"]["n"], scores["other"]["counts"]["failed"]) == (0, 2, 2)
    assert differences[0]["difference"] == 100


def test_a_system_that_is_no_name_belongs_to_none(petct: Any) -> None:
    records = [pair_of(0, system="a"), pair_of(1, system=["a"]), pair_of(2, system=7)]
    done = petct("score", "--metrics", "rouge1", "--no-controls", stdin=lines(*records))
    assert done.code == 1
    assert "stdin:2: field system is no name [wrong_type]" in done.stderr
    assert [one.get("system") for one in done.records] == ["a", "7"]


def test_any_field_may_be_the_patient(petct: Any) -> None:
    records = [{**pair_of(n), "patient_id": "p", "unit": {"of": n // 2}} for n in range(8)]
    intervals = {}
    for field in ("id", "unit.of", "patient_id"):
        score = petct("score", "--patient-field", field, "--metrics", "rouge1", stdin=lines(*records)).records[0]
        intervals[field] = score.get("ci95")
    assert intervals == {"id": [100, 100], "unit.of": [100, 100], "patient_id": None}


def test_systems_without_ids_are_compared_in_their_order_when_the_references_agree(petct: Any, tmp_path: Path) -> None:
    def rows(texts: str, said: str) -> list[dict[str, Any]]:
        return [{"reference": f"x {text}", "hypothesis": f"{said} {text}"} for text in texts]

    _, differences, done = scored(petct, *two_systems(tmp_path, rows("abcd", "x"), rows("abcd", "y")))
    assert [one["difference"] for one in differences] == [50]
    assert done.code == 0
    for other, why in (
        ("abc", "have 4 and 3 samples, not all with ids"),
        ("abdc", "have different references in the same"),
    ):
        _, differences, done = scored(petct, *two_systems(tmp_path, rows("abcd", "x"), rows(other, "y")))
        assert differences == []
        assert why in done.stderr


def test_samples_with_different_references_are_not_compared(petct: Any, tmp_path: Path) -> None:
    paths = two_systems(tmp_path, [pair_of(n) for n in range(4)], [pair_of(n, reference="x z") for n in range(1)])
    paths[1].write_bytes(paths[1].read_bytes() + lines(*(pair_of(n) for n in range(1, 4))))
    _, differences, done = scored(petct, *paths)
    assert (differences[0]["n"], differences[0]["difference"]) == (3, 0)
    assert "1 samples have different references" in done.stderr


def test_systems_are_compared_in_pairs_and_corrected_for_many(petct: Any) -> None:
    rng = np.random.default_rng(0)
    says = {"good": 0.9, "like": 0.9, "poor": 0.3}
    records = [
        pair_of(n, "x y" if rng.uniform() < share else "z", system=name)
        for name, share in says.items()
        for n in range(40)
    ]
    done = petct("score", "--metrics", "rouge1", "--no-controls", stdin=lines(*records))
    differences = {(one["system"], one["against"]): one for one in done.records if one["type"] == "comparison"}
    assert differences.keys() == {("good", "like"), ("good", "poor"), ("like", "poor")}
    better, same = differences["good", "poor"], differences["good", "like"]
    assert better["ci95"][0] > 0
    assert better["p_value"] == pytest.approx(1 / 1001, abs=1e-6)
    assert better["p_adjusted"] == pytest.approx(3 / 1001, abs=1e-5)
    assert same["p_adjusted"] > 0.05
    assert same["ci95"][0] <= 0 <= same["ci95"][1]
    assert "test:paired-randomisation-patients-1000|correction:holm-3" in same["signature"]


def test_a_repeated_id_counts_once(petct: Any) -> None:
    records = [pair_of(0), pair_of(0, "z"), pair_of(0, "z", system="b"), pair_of(1)]
    done = petct("score", "--metrics", "rouge1", "--no-controls", stdin=lines(*records))
    assert done.code == 1
    assert "petct score: stdin:2: field id was in an earlier record of the same system [duplicate_id]" in done.stderr
    assert (done.records[0]["value"], done.records[0]["counts"]["duplicate_id"]) == (100, 1)
    assert petct("score", "--metrics", "rouge1", "--max-failures", "1", stdin=lines(*records)).code == 0


@pytest.mark.parametrize(
    ("line", "said", "counts"),
    [
        ('{"id": "b", "reference": 7, "hypothesis": "x"}', "field reference is no text [wrong_type]", {"lost": 1}),
        (
            '{"id": "b", "reference": ["x y", "x"], "hypothesis": "x"}',
            "field reference is a list: give one text [several_references]",
            {"lost": 1},
        ),
        (
            '{"id": "b", "reference": "x y", "hypothesis": {"a": "x"}}',
            "field hypothesis is no text [wrong_type]",
            {"failed": 1},
        ),
        (
            '{"id": "b", "reference": "x y", "hypothesis": "x", "patient": [1]}',
            "field patient is no name [wrong_type]",
            {"failed": 1},
        ),
        (
            '{"id": "b", "reference": "x y", "hypothesis": "x", "region": 1.5}',
            "field region is no name [wrong_type]",
            {"failed": 1},
        ),
        (
            '{"id": "b", "reference": "x y", "hypothesis": "x", "loss": NaN}',
            "NaN or infinity, which JSON does not have [number_range]",
            {"failed": 1},
        ),
        (
            '{"id": "b", "reference": "x y", "hypothesis": -Infinity}',
            "NaN or infinity, which JSON does not have [number_range]",
            {"failed": 1},
        ),
        ('{"id": "b", "reference": "x y", "hypothesis": ""}', "", {"empty": 1}),
        ('{"id": "b", "reference": "x y", "hypothesis": " . "}', "", {"empty": 1}),
        ('{"id": "b", "reference": "", "hypothesis": "x"}', "", {"lost": 1}),
        ('{"id": "b", "reference": null, "hypothesis": "x"}', "", {"lost": 1}),
        ('{"id": "b", "reference": "x y"}', "", {"missing": 1}),
    ],
)
def test_bad_input_is_told_and_counted_and_the_rest_goes_on(
    petct: Any, line: str, said: str, counts: dict[str, int]
) -> None:
    good = lines(*(pair_of(n) for n in range(3)))
    done = petct("score", "--metrics", "rouge1", "--no-controls", stdin=good + line.encode() + b"\n")
    assert done.code == (1 if said else 0)
    if said:
        assert f"petct score: stdin:4: {said}" in done.stderr
    score = done.records[0]
    lost = counts.pop("lost", 0)
    without = {"without_truth": 1} if lost else {}
    assert score["counts"] == {"failed": 0, "missing": 0, **counts, **without}
    assert score["n"] == 4 - lost
    assert score["value"] == pytest.approx(300 / (4 - lost), abs=1e-4)


def test_no_hypothesis_at_all_is_scored_and_said(petct: Any) -> None:
    records = lines(*({"id": str(n), "reference": f"x y {n}", "answer": f"x y {n}"} for n in range(4)))
    result = petct("score", "--metrics", "rouge1, rouge1", "--no-controls", stdin=records)
    assert [(one["value"], one["counts"]["missing"]) for one in result.records] == [(0.0, 4)]
    assert "no record has a hypothesis" in result.stderr
    named = petct("score", "--metrics", "rouge1", "--no-controls", "--hypothesis-field", "answer", stdin=records)
    assert (named.records[0]["value"], named.stderr) == (100.0, "")


def test_a_closed_stdout_is_a_fault_of_the_system(tmp_path: Path) -> None:
    code = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-m', 'petct_cli', 'score'])"
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 74
    assert b"stdout is closed" in done.stderr


def test_groups_by_several_fields(petct: Any) -> None:
    records = [
        pair_of(n, "x y" if n % 2 else "z", region={"name": ("chest", "abdomen")[n % 2]}, task="report", site="A")
        for n in range(4)
    ]
    done = petct(
        *("score", "--metrics", "rouge1", "--no-controls", "--group-field", "region,patient,site"),
        stdin=lines(*records),
    )
    groups = {one["group"]: one["value"] for one in done.records if "group" in one}
    assert groups == {
        "chest": 0,
        "abdomen": 100,
        **{f"patient=p{n}": 100 * (n % 2) for n in range(4)},
    }


def respell(text: str) -> str:
    return unicodedata.normalize("NFD", text.replace("hóa", "hoá").upper()).replace("3,2", "3.2")


def test_spelling_makes_no_difference_unless_asked(petct: Any) -> None:
    text = "Tăng chuyển hóa FDG ở thùy trên phổi phải, SUVmax: 3,2."
    record = {"id": "1", "reference": text, "hypothesis": respell(text)}
    arguments = ("score", "--metrics", "bleu4,rouge1,rougeL", "--no-controls")
    assert [one["value"] for one in petct(*arguments, stdin=lines(record)).records] == pytest.approx([100, 100, 100])
    strict = petct(*arguments, "--as-written", "case,tone,unicode,decimal", stdin=lines(record)).records
    assert all(one["value"] < 50 for one in strict)
    assert "case:mixed|norm:none|tone:asis|dec:asis" in strict[0]["signature"]


def test_a_table_for_people(petct: Any) -> None:
    done = petct(
        "score", "--format", "md", "--metrics", "bleu4,site_f1", "--bootstrap", "50", stdin=lines(*predictions(8))
    )
    table = done.stdout.decode()
    assert table.startswith("| On | n | Site F1 |")
    assert "| control: shuffled |" in table
    assert "- bleu4: bleu:corpus|order:4" in table
    boxes = petct("score", "--format", "table", "--metrics", "bleu4", stdin=lines(*predictions(8))).stdout.decode()
    assert "BLEU-4" in boxes


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (["--metrics", "blue4"], b"", 2),
        (["--preset", "x"], b"", 2),
        (["--format", "xml"], b"", 2),
        (["--as-written", "x"], b"", 2),
        ([], b"", 65),
        ([], b'{"id": "1", "hypothesis": "x"}\n', 65),
        (["missing.jsonl"], b"", 65),
        ([], b'not json\n{"id": "1", "reference": "a", "hypothesis": "a"}\n', 1),
    ],
)
def test_bad_input_has_the_contracts_exit_code(petct: Any, arguments: list[str], stdin: bytes, code: int) -> None:
    done = petct("score", *arguments, stdin=stdin)
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr


def test_one_patient_has_no_interval_and_no_partner(petct: Any) -> None:
    record = {"id": "1", "reference": "Gan to.", "hypothesis": "Gan to."}
    scores = by_name(petct("score", "--metrics", "rouge1", stdin=lines(record)).records)
    assert "ci95" not in scores["rouge1", None, None]
    assert scores["rouge1", None, "shuffled"]["counts"]["without_partner"] == 1


KNOWN = {
    "reports": {"bleu4": 10.5097, "rouge1": 57.3951, "rougeL": 37.4302},
    "vqa": {"bleu4": 9.9387, "rouge1": 51.5092, "rougeL": 34.8511},
}


@pytest.mark.real
@pytest.mark.parametrize("name", KNOWN)
def test_the_published_recipe_gives_the_published_numbers(petct: Any, real_data: Path, name: str) -> None:
    done = petct("score", real_data / "vimed" / f"{name}.jsonl", "--preset", "vimed", "--no-controls")
    assert {one["metric"]: one["value"] for one in done.records} == pytest.approx(KNOWN[name], abs=1e-4)


@pytest.mark.real
def test_the_published_outputs_do_not_depend_on_the_patient(petct: Any, real_data: Path) -> None:
    scores = by_name(petct("score", real_data / "vimed" / "reports.jsonl").records)
    for metric in ("bleu4", "rouge1"):
        assert scores[metric, None, "shuffled"]["counts"]["p_value"] > 0.05
        assert scores[metric, None, "template"]["value"] > scores[metric, None, None]["value"] + 20
        assert scores[metric, None, "other_patient"]["value"] > scores[metric, None, None]["value"] + 20
        assert scores[metric, None, "self"]["value"] == pytest.approx(100)
    assert "truth:reference" in scores["site_f1", None, None]["signature"]


@pytest.mark.real
def test_each_real_reference_against_itself_is_100(real_data: Path) -> None:
    from petct_cli.metrics.families import Item
    from petct_cli.metrics.text import TextFamily

    family = TextFamily(("bleu4", "rouge1", "rougeL"))
    rows = [orjson.loads(line) for line in (real_data / "vimed" / "reports.jsonl").read_bytes().splitlines()]
    items = [Item(row["id"], row["id"], "all", None, row["reference"], row["reference"]) for row in rows]
    sums = family.rows(items, [item.hypothesis for item in items])
    for metric in family.wanted:
        assert family.value(metric, sums) == pytest.approx(np.full(len(items), 100.0))


def test_files_of_the_same_name_are_two_systems(petct: Any, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p.jsonl").write_bytes(lines(*predictions(4)))
    result = petct("score", "a/p.jsonl", "b/p.jsonl", "--metrics", "rouge1", "--no-controls", cwd=tmp_path)
    assert {record["system"] for record in result.records} == {"a/p", "b/p"}
    far = petct("score", tmp_path / "a/p.jsonl", tmp_path / "b/p.jsonl", "--metrics", "rouge1", "--bootstrap", "0")
    assert {record["system"] for record in far.records if record["type"] == "score"} >= {"a/p", "b/p"}
    assert str(tmp_path).encode() not in far.stdout
    for again in ("a/p.jsonl", "./a/p.jsonl"):
        assert petct("score", "a/p.jsonl", again, cwd=tmp_path).code == 2


def test_a_reference_without_a_word_is_none(petct: Any) -> None:
    records = [{"id": "a", "reference": " . ", "hypothesis": ""}, {"id": "b", "reference": "x y", "hypothesis": "x y"}]
    result = petct("score", "--metrics", "rouge1,bleu4", "--no-controls", stdin=lines(*records))
    assert [(record["value"], record["n"]) for record in result.records] == [(100.0, 1)] * 2
    assert result.records[0]["counts"]["without_truth"] == 1


def test_a_failure_in_another_programs_words_stays_in_the_denominator(petct: Any) -> None:
    records = [
        {"id": 1, "reference": "x y", "hypothesis": "x y", "error": "timeout"},
        {"id": 2, "reference": "x y", "hypothesis": "x y", "error": None},
    ]
    result = petct("score", "--metrics", "rouge1", "--no-controls", stdin=lines(*records))
    assert [(record["value"], record["n"]) for record in result.records] == [(50.0, 2)]
    assert result.records[0]["counts"]["failed"] == 1


def test_a_markdown_table_holds_whatever_the_system_is_called(petct: Any) -> None:
    records = [{"id": "a", "reference": "x y", "hypothesis": "x y", "system": name} for name in ("a|b", "c\nd")]
    result = petct("score", "--metrics", "rouge1", "--no-controls", "--format", "md", stdin=lines(*records))
    rows = [line for line in result.stdout.decode().splitlines() if line.startswith("|")]
    assert len(rows) == 5
    assert "a\\|b" in rows[2]
    assert "c d" in rows[3]


def test_each_sample_comes_before_the_scores(petct: Any) -> None:
    records = [
        {"id": "a", "patient": "p1", "reference": "x y", "hypothesis": "x y", "task": "vqa"},
        {"id": "b", "patient": "p2", "reference": "x y", "hypothesis": None},
        {"id": "c", "patient": "p3", "hypothesis": "x"},
        {"id": "d", "patient": "p4", "reference": "x y", "hypothesis": "x z", "error": "timeout"},
        {"id": "e", "patient": "p5", "reference": "x y", "hypothesis": "x z"},
    ]
    arguments = ("score", "--metrics", "rouge1,size_mae_mm", "--no-controls", "--per-sample")
    result = petct(*arguments, stdin=lines(*records))
    samples, scores = result.records[:5], result.records[5:]
    assert [(one["id"], one["patient"], one["status"], one["scores"]["rouge1"]) for one in samples] == [
        ("a", "p1", "ok", 100),
        ("b", "p2", "missing", 0),
        ("c", "p3", "without_truth", None),
        ("d", "p4", "failed", 0),
        ("e", "p5", "ok", 50),
    ]
    assert {one["type"] for one in samples} == {"sample_score"}
    assert {one["scores"]["size_mae_mm"] for one in samples} == {None}
    assert (samples[0]["task"], samples[0]["group"]) == ("vqa", "vqa/all")
    assert scores[0]["value"] == 37.5
    assert scores[0]["provenance"] == samples[0]["provenance"]
    assert petct(*arguments, "--format", "md", stdin=lines(*records)).code == 2


def test_what_else_is_scored_changes_no_interval(petct: Any) -> None:
    records = predictions(12, right=0.5)
    questions = [
        {"id": f"q{n}", "patient": f"other{n}", "task": "vqa", "lesions": [{"site": "lung", "side": "left"}]}
        for n in range(5)
    ]
    alone = by_name(petct("score", "--metrics", "rouge1", stdin=lines(*records)).records)
    among = by_name(petct("score", "--metrics", "site_f1,bleu2,rouge1", stdin=lines(*records, *questions)).records)
    for key in (("rouge1", None, None), ("rouge1", "chest", None), ("rouge1", None, "self")):
        assert among[key]["ci95"] == alone[key]["ci95"]
        assert among[key]["value"] == alone[key]["value"]


def test_any_order_of_the_records_gives_the_same_scores(petct: Any) -> None:
    records = predictions(12, right=0.5)
    turned = [records[index] for index in np.random.default_rng(0).permutation(len(records))]
    one, other = (by_name(petct("score", stdin=lines(*order)).records) for order in (records, turned))
    assert one.keys() == other.keys()
    for key, record in one.items():
        assert {**other[key], "provenance": None} == {**record, "provenance": None}


def test_a_text_without_a_partner_makes_no_signal(petct: Any) -> None:
    alike = [pair_of(n, region="chest") for n in range(6)]
    alone = [pair_of(n, "u v w", reference="u v w", region="neck", patient="p9") for n in range(10, 14)]
    scores = by_name(petct("score", "--metrics", "rouge1", stdin=lines(*alike, *alone)).records)
    shuffled = scores["rouge1", None, "shuffled"]
    assert shuffled["counts"]["without_partner"] == 4
    assert (shuffled["n"], shuffled["value"], shuffled["counts"]["image_signal"]) == (6, 100, 0)
    assert scores["rouge1", None, "other_patient"]["n"] == 6
    assert "shuffles:10" in shuffled["signature"]


def test_stock_sentences_are_a_control_and_counted(petct: Any) -> None:
    records = [
        pair_of(n, f"Tim bình thường. Gan {n} mm.", reference=f"Gan {n} mm. Tim bình thường.") for n in range(10)
    ]
    records.append(pair_of(10, "Tim bình thường.", reference="Tim bình thường."))
    scores = by_name(petct("score", "--metrics", "rougeL", stdin=lines(*records)).records)
    rest = scores["rougeL", None, "stock_removed"]
    assert rest["value"] == pytest.approx(100)
    assert scores["rougeL", None, None]["value"] < 60
    assert rest["n"] == 10
    assert (rest["counts"]["stock_sentences"], rest["counts"]["emptied_references"]) == (1, 1)
    assert rest["counts"]["stock_token_share"] == pytest.approx(100 * 33 / 63, abs=1e-4)
    assert "stock:5pc-of-patients" in rest["signature"]


def test_a_signal_is_seldom_found_where_there_is_none() -> None:
    from petct_cli.core.records import AnyRecord
    from petct_cli.stages.score import Score

    words = list("abcdefghijklmnopq")

    def chance(seed: int, seen: float) -> float:
        rng = np.random.default_rng(seed)
        records = []
        for n in range(40):
            reference, said = (" ".join(rng.choice(words, rng.integers(4, 10))) for _ in range(2))
            own = {"reference": reference, "hypothesis": reference if rng.uniform() < seen else said}
            records.append(AnyRecord(id=f"i{n}", patient=f"p{n}", **own))
        run = Score(metrics=("rouge1",), resamples=199, seed=seed).run(records)
        counts = next(score.counts for score in run.scores() if getattr(score, "control", None) == "shuffled")
        return float((counts or {})["p_value"])

    assert sum(chance(seed, 0) <= 0.05 for seed in range(60)) <= 6
    assert sum(chance(seed, 0.3) <= 0.05 for seed in range(20)) >= 18
