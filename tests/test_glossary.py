"""What ``petct-score(7)`` says is all there is, and true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from petct_cli.core.records import Record
from petct_cli.core.score_records import Comparison, SampleScore, Score, ScoreLog
from petct_cli.metrics.glossary import glossary, over_samples
from petct_cli.metrics.registry import PRESETS
from tests.conftest import REPOSITORY
from tests.in_process import petct_here
from tests.samples import lines
from tests.test_score import predictions

METRICS = {name for preset in PRESETS.values() for name in preset.metrics}


def test_every_metric_and_preset_is_explained_and_none_that_is_not_there() -> None:
    assert set(glossary()["metric"]) == METRICS
    assert set(glossary()["preset"]) == set(PRESETS)
    headings = [one["heading"] for one in glossary()["metric"].values()]
    assert len(set(headings)) == len(headings)
    page = (REPOSITORY / "man/petct-score.7").read_text("utf-8")
    assert all(f"\n{name}" in page for name in METRICS)


def test_every_field_of_the_records_is_explained() -> None:
    of_any = set(Record.model_fields) | {"higher_is_better", "signature"}
    for model in (Score, Comparison, SampleScore, ScoreLog):
        explained = {name for names in glossary()["record"][model.TYPE] for name in names.split(", ")}
        assert explained <= set(model.model_fields)
        assert set(model.model_fields) - of_any <= explained


def test_controls_and_what_n_is_over_are_as_explained(tmp_path: Path) -> None:
    metrics = ",".join(sorted(METRICS - {"bertscore_p", "bertscore_r", "bertscore_f1"}))
    question = {"id": "q", "patient": "p0", "task": "vqa", "region": "chest", "question": "Có tổn thương không?"}
    asked: dict[str, Any] = {**question, "reference": "Không.", "hypothesis": "Có."}
    reports = predictions(6)
    done = petct_here(
        "score", "--metrics", metrics, "--bootstrap", "0", cwd=tmp_path, stdin=lines(*reports, asked)
    ).records
    assert {one["control"] for one in done if "control" in one} == set(glossary()["control"])
    own = {one["metric"]: one["n"] for one in done if not one.keys() & {"control", "group"}}
    assert {n for name, n in own.items() if over_samples(name)} <= {len(reports), len(reports) + 1}
