"""``generate``: the same for any batch size, resumed from its journal, honest about whose images it showed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from model_samples import make_samples

from petct_cli.core.errors import InputError, UsageError
from petct_cli.core.jsonl import encode
from petct_cli.core.records import Checkpoint, Record, Sample
from petct_cli.model import answer
from petct_cli.model.folder import CARD_FILE
from petct_cli.model.journal import JOURNAL_FILE, Journal
from petct_cli.stages.generate import Generate, partners
from petct_cli.stages.train import Train


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("phantoms"), 10, regions=("head_neck", "chest"))


@pytest.fixture(scope="module")
def model(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "run"
    list(Train(out=folder, steps=120).collect(samples))
    return folder


def generate(samples: list[Any], model: Path, **options: Any) -> list[Record]:
    return list(Generate(model=model, **options).collect(samples))


def texts(records: list[Record]) -> list[str | None]:
    return [getattr(record, "hypothesis", None) for record in records]


def test_samples_come_back_in_order_with_what_was_written(samples: list[Sample], model: Path) -> None:
    written = generate(samples, model, split="all")
    assert [record.id for record in written] == [sample.id for sample in samples]
    for before, after in zip(samples, written, strict=True):
        assert isinstance(after, Sample)
        assert after.hypothesis
        assert after.reference == before.reference
        assert after.images == before.images
        assert after.decoding is not None
        assert after.decoding["method"] == "greedy"
        assert after.provenance[-1].stage == "generate"
        encode(after)


def test_the_test_split_is_meant_unless_said_otherwise(
    samples: list[Sample], model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "petct_cli")
    written = generate(samples, model)
    assert {record.split for record in written if isinstance(record, Sample)} == {"test"}
    assert "split test; left out 12 of train, 4 of val" in caplog.text


def test_batches_of_any_size_write_the_same(samples: list[Sample], model: Path) -> None:
    one = texts(generate(samples, model, split="all", batch_size=1))
    assert one == texts(generate(samples, model, split="all", batch_size=7))
    assert one == texts(generate(samples, model, split="all", batch_size=64))


def test_the_reference_does_not_reach_the_model(samples: list[Sample], model: Path) -> None:
    other = [sample.with_fields(reference="x", messages=sample.messages[:-1], lesions=None) for sample in samples]
    assert texts(generate(samples, model, split="all")) == texts(generate(other, model, split="all"))


def test_shuffled_images_are_another_patients_of_the_same_region(samples: list[Sample], model: Path) -> None:
    plain = generate(samples, model, split="all")
    mixed = generate(samples, model, split="all", shuffle_images=1)
    regions = {sample.id: sample.region.name for sample in samples if sample.region}
    patients = {sample.id: sample.patient for sample in samples}
    written = dict(zip([sample.id for sample in samples], texts(plain), strict=True))
    for record in mixed:
        assert isinstance(record, Sample) and record.decoding is not None
        other = record.decoding["images_of"]
        assert regions[other] == regions[record.id]
        assert patients[other] != patients[record.id]
        # The prompt is the region's, so the text is just what the other sample got.
        assert record.hypothesis == written[other]
    assert texts(mixed) != texts(plain)
    assert [record.id for record in mixed] == [record.id for record in plain]
    turned = generate(samples[::-1], model, split="all", shuffle_images=1)
    assert texts(turned[::-1]) == texts(mixed)


def test_a_patient_alone_has_no_partner(samples: list[Sample], model: Path) -> None:
    chosen = partners(samples, seed=0)
    assert len(chosen) == len(samples)
    assert partners(samples[:1], seed=0) == {}
    (alone,) = generate(samples[:1], model, split="all", shuffle_images=0)
    assert alone.error is not None and alone.error.code == "no_partner"


def test_failures_are_passed_on_and_made_once_per_record(samples: list[Sample], model: Path, tmp_path: Path) -> None:
    gone = samples[0].images[0].model_copy(update={"path": str(tmp_path / "gone.b2nd"), "sha256": "0"})
    unreadable = samples[0].with_fields(images=[gone, samples[0].images[1]])
    failed = samples[1].failed("pair", "no_pet", "the study has no PET")
    checkpoint = Checkpoint.model_validate({"id": "c", "path": "p", "sha256": "0", "stage": "train", "recipe": "r"})
    written = generate([unreadable, failed, checkpoint, samples[2]], model, split="all")
    codes = [record.error.code if record.error else None for record in written]
    assert codes == ["volume_missing", "no_pet", "wrong_type", None]
    assert written[1] == failed


def test_a_journal_is_resumed_even_when_its_last_line_was_torn(
    samples: list[Sample], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = generate(samples, model, split="all", cache=tmp_path)
    journal = tmp_path / JOURNAL_FILE
    whole = journal.read_bytes()
    assert len(whole.splitlines()) == len(samples)
    journal.write_bytes(whole[: -len(whole.splitlines()[-1]) // 2 - 1])
    second = generate(samples, model, split="all", cache=tmp_path)
    assert [encode(record) for record in second] == [encode(record) for record in first]
    assert len([line for line in journal.read_bytes().splitlines() if line.endswith(b"}")]) == len(samples)

    def not_needed(folder: Path) -> Any:
        raise AssertionError("everything is in the journal")

    monkeypatch.setattr(answer, "load_answerer", not_needed)
    assert generate(samples, model, split="all", cache=tmp_path) == second
    with pytest.raises(AssertionError, match="journal"):
        generate(samples, model, split="all", cache=tmp_path, shuffle_images=1)


def test_journal_without_a_folder_keeps_answers_for_the_run_only() -> None:
    with Journal(None) as journal:
        journal.put("a", "b")
        assert journal.get("a") == "b"
        assert journal.get("c") is None


def test_no_model_and_a_damaged_one(samples: list[Sample], model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained model"):
        generate(samples, tmp_path)
    (tmp_path / CARD_FILE).write_bytes(orjson.dumps({"recipe": "other", "max_new_tokens": 3}))
    with pytest.raises(InputError, match="unknown recipe"):
        generate(samples, tmp_path, split="all")
    with pytest.raises(UsageError, match="--split"):
        Generate(model=model, split="nope")


def test_a_pipe_from_train_to_generate(
    samples: list[Sample], model: Path, petct: Callable[..., Any], tmp_path: Path
) -> None:
    manifest = b"".join(encode(sample) + b"\n" for sample in samples)
    done = petct("generate", "--model", model, "-", stdin=b"{broken\n" + manifest, cwd=tmp_path)
    assert done.code == 1
    assert "stdin:1: not JSON" in done.stderr
    assert [record["split"] for record in done.records] == ["test"] * 4
    assert all(record["hypothesis"] for record in done.records)
    assert "shards" not in done.stderr
