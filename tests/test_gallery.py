"""The page for a person: what it shows is what the records say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, Result
from samples import lines

from petct_cli.core.records import Sample
from petct_cli.core.score_records import Score
from petct_cli.stages.gallery import choose, marked, score_table, true_sites

Petct = Callable[..., Result]


@pytest.fixture(scope="module")
def predictions(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]]]:
    folder = tmp_path_factory.mktemp("gallery")
    volumes = petct("convert", "sample_data/studies.jsonl", "-o", folder / "vol", cwd=REPOSITORY)
    assert volumes.code == 0, volumes.stderr
    samples = petct("pair", "-", "--split", "test", stdin=volumes.stdout, cwd=REPOSITORY)
    return folder, [{**record, "hypothesis": record["reference"]} for record in samples.records]


def test_one_self_contained_page_and_the_records_unchanged(
    petct: Petct, predictions: tuple[Path, list[dict[str, object]]]
) -> None:
    folder, records = predictions
    result = petct("gallery", "-", "-o", folder / "page.html", "--cases", "2", stdin=lines(*records), cwd=REPOSITORY)
    assert result.code == 0, result.stderr
    assert result.records == records
    page = (folder / "page.html").read_text("utf-8")
    assert page.count('<section class="case">') == 2
    assert "data:image/png;base64," in page
    assert "://" not in page
    assert "all sites right" in page
    assert "not all sites right" not in page


def test_a_lesion_that_is_not_there_is_marked_wrong() -> None:
    text = "Nốt phổi trái kích thước 10 mm, tăng chuyển hóa FDG, SUVmax 4,1. Gan <bình thường>."
    assert '<mark class="wrong">' in marked(text, set())
    right = marked(text, {("lung", "left")})
    assert "<mark>" in right
    assert "wrong" not in right
    assert "&lt;bình thường&gt;" in right


def test_a_wrong_case_is_always_among_the_shown() -> None:
    def sample(study: str, hypothesis: str) -> Sample:
        lesions = [{"site": "lung", "side": "left"}]
        fields = {"id": f"{study}/chest/report", "study": study, "patient": study, "lesions": lesions}
        return Sample.model_validate({**fields, "hypothesis": hypothesis})

    good = "Nốt phổi trái kích thước 10 mm, tăng chuyển hóa FDG, SUVmax 4,1."
    studies = {f"s{number}": [sample(f"s{number}", good)] for number in range(20)}
    studies["bad"] = [sample("bad", "Không thấy tổn thương.")]
    assert "bad" in choose(studies, 3)
    assert len(choose(studies, 3)) == 3


def test_the_table_has_a_row_for_each_system_and_control() -> None:
    base = {"n": 3, "signature": "s", "metric": "site_f1"}
    facts = [
        {"value": 91.0, "ci95": [88.0, 94.0], "system": "model"},
        {"value": 9.0, "system": "model", "control": "shuffled", "counts": {"image_signal": 82.0, "p_value": 0.001}},
        {"value": 10.5, "system": "model", "control": "chance"},
        {"value": 50.0, "system": "model", "group": "chest"},
        {"value": 85.0, "system": "detector"},
        {"value": 7.0, "system": "detector", "control": "shuffled"},
        {"value": 10.5, "system": "detector", "control": "chance"},
    ]
    table = score_table([Score.model_validate({**base, **fact}) for fact in facts])
    assert table.count("<tr") == 1 + 5
    assert table.count("control: chance") == 1
    assert "88.0 to 94.0" in table
    assert "model: Image signal: yes (Site F1 +82.00, p = 0.001)" in table
    assert "50.0" not in table


def test_scores_that_cannot_be_read(petct: Petct, tmp_path: Path) -> None:
    (tmp_path / "scores").write_bytes(b"not json")
    result = petct("gallery", "-", "--scores", tmp_path / "scores", "-o", tmp_path / "page.html", stdin=b"")
    assert result.code == 65
    assert "does not hold score records" in result.stderr


HOSTILE = "<script>alert(1)</script>\"'"


def hostile(**fields: object) -> dict[str, object]:
    return {
        "id": HOSTILE,
        "study": HOSTILE,
        "patient": HOSTILE,
        "type": "sample",
        "schema": 1,
        "region": {"name": HOSTILE, "method": HOSTILE, "z": [], "z_mm": [], "partial": False},
        "images": [
            {"path": f"{HOSTILE}.b2nd", "modality": modality, "sha256": "0", "affine": None}
            for modality in ("CT", "PT")
        ],
        "reference": f"Nốt phổi phải 12 mm {HOSTILE}.",
        "hypothesis": f"{HOSTILE} Nốt phổi trái 12 mm.",
        "lesions": [{"site": HOSTILE, "side": "bilateral", "centre_mm": [1.0]}],
        **fields,
    }


def test_nothing_of_a_record_is_markup_and_missing_images_are_told(petct: Petct, tmp_path: Path) -> None:
    score = {"metric": HOSTILE, "value": 1.0, "n": 1, "signature": HOSTILE, "system": HOSTILE, "ci95": [1.0]}
    (tmp_path / "scores.jsonl").write_bytes(lines({"type": "score", "schema": 1, "id": "", **score}))
    arguments = ("--scores", "scores.jsonl", "--title", HOSTILE, "--note", HOSTILE)
    result = petct("gallery", "-", "-o", "page.html", *arguments, stdin=lines(hostile()), cwd=tmp_path)
    assert result.code == 0, result.stderr
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "images not shown" in page
    assert len(result.records) == 1


def test_a_question_without_region_or_volumes_has_its_texts(petct: Petct, tmp_path: Path) -> None:
    sample = hostile(task="vqa", images=[{"path": "x.png", "modality": "PT", "sha256": "0"}])
    del sample["region"]
    result = petct("gallery", "-", "-o", "page.html", stdin=lines(sample), cwd=tmp_path)
    assert result.code == 0, result.stderr
    assert "images not shown" in (tmp_path / "page.html").read_text("utf-8")


def test_both_sides_told_as_one_are_both_true() -> None:
    text = "Nốt phổi hai bên, tăng chuyển hóa FDG."
    fields = {"reference": text, "hypothesis": text, "lesions": [{"site": "lung", "side": "bilateral"}]}
    sample = Sample.model_validate({"id": "a", "study": "s", "patient": "p", **fields})
    assert true_sites(sample) == {("lung", "left"), ("lung", "right")}
