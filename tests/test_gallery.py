"""The page for a person: what it shows is what the records say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, Result
from samples import lines

from petct_cli.core.records import Sample, Score
from petct_cli.stages.gallery import choose, marked, score_table

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
    assert "http" not in page
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
    assert "image signal +82.00, p = 0.001" in table
    assert "50.0" not in table


def test_scores_that_cannot_be_read(petct: Petct, tmp_path: Path) -> None:
    (tmp_path / "scores").write_bytes(b"not json")
    result = petct("gallery", "-", "--scores", tmp_path / "scores", "-o", tmp_path / "page.html", stdin=b"")
    assert result.code == 65
    assert "does not hold score records" in result.stderr
