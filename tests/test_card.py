"""The dataset card: right numbers, no one to be recognised, the same bytes on every run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from samples import lines, study

from petct_cli.core.records import Study
from petct_cli.dataset.card_counts import age_band, site_of, year_of
from petct_cli.dataset.suppression import SMALLEST, hidden

Petct = Callable[..., Result]


def table(card: str, first: str) -> dict[str, list[str]]:
    """The rows of the table whose head begins with `first`, by their first cell."""
    rows = re.search(rf"^\| {re.escape(first)} \|.*\n\| ---.*\n((?:\|.*\n)+)", card, flags=re.MULTILINE)
    assert rows is not None, first
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows[1].splitlines()]
    return {row[0]: row[1:] for row in cells}


def people() -> list[dict[str, Any]]:
    """40 studies of 38 patients: 20 women of 50, 12 men of 50, 5 men and 1 woman of 60, and two of them twice."""
    groups = [("F", "055Y", 20), ("M", "051Y", 12), ("M", "063Y", 5), ("F", "061Y", 1)]
    made = []
    for sex, age, number in groups:
        for index in range(number):
            name = f"{sex}{age}{index}"
            made.append(study(f"id-{name}", patient=f"who-{name}", sex=sex, age=age, period="2019", site="Hanoi"))
    twice = [
        study(f"again-{index}", **{key: made[index][key] for key in ("patient", "sex", "age", "period", "site")})
        for index in (0, 1)
    ]
    return [*made, *twice]


@pytest.fixture(scope="module")
def card(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("card")
    failed = [study("lost-1", ct=None), study("lost-2", report=None), study("lost-3", report=None)]
    result = petct(
        "pair", "--task", "report,vqa,compare", "--card", "card", "--max-failures", "99",
        stdin=lines(*people(), *failed), cwd=folder,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    return folder, result


def test_numbers_are_those_of_the_records(card: tuple[Path, Result]) -> None:
    folder, result = card
    text = (folder / "card/README.md").read_text("utf-8")
    good = [record for record in result.records if "error" not in record]
    splits = table(text, "split")
    for split, (studies, patients, *tasks) in splits.items():
        here = [record for record in good if record["split"] == split]
        assert int(studies) == len({record["study"] for record in here})
        assert int(patients) == len({record["patient"] for record in here})
        counted = [sum(record["task"] == task for record in here) for task in ("report", "vqa", "compare")]
        assert [int(number) for number in tasks] == counted
    assert "43 FDG PET/CT studies of 41 patients" in text
    regions = table(text, "samples of region")
    assert sum(int(number) for row in regions.values() for number in row) == len(good)
    assert "| pair | `no_ct` | no CT volume | 1 | 9 |" in text
    assert "| pair | `no_report` | no report matched, or none of it was understood | 2 | 18 |" in text
    # Every study has the lung nodule and the vertebra of the sample report.
    assert table(text, "site of lesion") == {"lung": ["40"], "thoracic_vertebra": ["40"]}
    assert table(text, "measure")["SUVmax"] == ["80", "5.3", "5.3", "5.3", "6.1", "6.1", "6.1"]


def test_few_patients_are_not_told(card: tuple[Path, Result]) -> None:
    text = (card[0] / "card/README.md").read_text("utf-8")
    assert table(text, "site") == {"Hanoi": ["…"], "not stated": ["<5"]}
    both = re.findall(r"^\| (50-59|60-69) \| (\S+) \| (\S+) \|", text, flags=re.MULTILINE)
    # One woman of 60 to 69: with the sums told, the others of her row and column would give her away.
    assert both == [("50-59", "…", "…"), ("60-69", "<5", "…")]


def test_no_identifier_is_in_it(card: tuple[Path, Result]) -> None:
    data = b"".join(path.read_bytes() for path in (card[0] / "card").rglob("*") if path.is_file())
    assert not re.search(rb"who-|id-[FM]|again-|lost-|P-lost", data)


def test_the_head_is_yaml_as_the_hub_reads_it(card: tuple[Path, Result]) -> None:
    yaml = pytest.importorskip("yaml")
    head = yaml.safe_load((card[0] / "card/README.md").read_text("utf-8").split("---\n")[1])
    assert head["language"] == ["vi"]
    assert head["size_categories"] == ["n<1K"]
    assert head["task_categories"] == ["image-to-text", "visual-question-answering", "image-text-to-text"]
    assert "license" not in head


def test_every_plot_is_there_and_small(card: tuple[Path, Result]) -> None:
    folder = card[0] / "card"
    named = re.findall(r"!\[.*\]\((.*)\)", (folder / "README.md").read_text("utf-8"))
    assert {f"plots/{path.name}" for path in (folder / "plots").iterdir()} == set(named)
    for name in named:
        assert (folder / name).stat().st_size < 50_000
        with Image.open(folder / name) as picture:
            assert len(picture.getcolors() or []) > 3


def test_neither_order_nor_jobs_change_a_byte(petct: Petct, tmp_path: Path) -> None:
    studies = people()
    for name, jobs, order in (("a.md", "1", studies), ("b.md", "2", studies[::-1])):
        assert petct("pair", "--jobs", jobs, "--card", name, stdin=lines(*order), cwd=tmp_path).code == 0
    written = [(tmp_path / name).read_text("utf-8").replace("b_plots", "a_plots") for name in ("a.md", "b.md")]
    assert written[0] == written[1]
    for plot in (tmp_path / "a_plots").iterdir():
        assert plot.read_bytes() == (tmp_path / "b_plots" / plot.name).read_bytes()


def test_an_empty_input_has_a_card_too(petct: Petct, tmp_path: Path) -> None:
    assert petct("pair", "--card", "card.md", stdin=b"", cwd=tmp_path).code == 0
    assert "0 FDG PET/CT studies of 0 patients" in (tmp_path / "card.md").read_text("utf-8")


def test_a_shard_counts_its_own(petct: Petct, tmp_path: Path) -> None:
    numbers = []
    for part in ("1/2", "2/2"):
        petct("pair", "--card", "card.md", "--shard", part, stdin=lines(*people()), cwd=tmp_path)
        found = re.search(r"^(\d+) FDG PET/CT studies", (tmp_path / "card.md").read_text("utf-8"), flags=re.MULTILINE)
        assert found is not None
        numbers.append(int(found[1]))
    assert sum(numbers) == 40
    assert 0 < numbers[0] < 40


@pytest.mark.parametrize(
    ("fields", "year"),
    [
        ({"period": "2018-03"}, "2018"),
        ({"study_date": "2020-05-06", "dates": "full"}, "2020"),
        ({"study_date": "1994-05-06", "dates": "shifted"}, "not stated"),
        ({"study_date": "1994-05-06", "dates": "shifted", "period": "2021"}, "2021"),
        ({}, "not stated"),
    ],
)
def test_a_shifted_date_has_no_year(fields: dict[str, Any], year: str) -> None:
    assert year_of(Study.model_validate({"id": "s", **fields})) == year


def test_ages_and_sites() -> None:
    assert [age_band(age) for age in ("057Y", "090Y", "100Y", "018M", "x", None)] == [
        "50-59", "90+", "90+", "00-09", "not stated", "not stated",
    ]  # fmt: skip
    assert (
        site_of(Study.model_validate_json(orjson.dumps({"type": "study", "schema": 1, "id": "s", "site": 3})))
        == "not stated"
    )


@given(st.dictionaries(st.tuples(st.sampled_from("abcdef"), st.sampled_from("MFO")), st.integers(0, 12), max_size=18))
def test_no_small_cell_can_be_worked_out(found: dict[tuple[str, str], int]) -> None:
    counts = {(row, column): found.get((row, column), 0) for row in "abcdef" for column in "MFO"}
    not_told = hidden(counts)
    assert {key for key, count in counts.items() if 0 < count < SMALLEST} <= not_told
    for axis in (0, 1):
        for value in {key[axis] for key in counts}:
            line = [key for key in counts if key[axis] == value]
            # A line's total less what is told of it: more than one cell, or a line with nothing else.
            alone = len(not_told.intersection(line)) == 1
            assert not alone or all(counts[key] == 0 for key in line if key not in not_told)
