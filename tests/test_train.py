"""``train``: learns, resumes to the bit, is not repeated, leaves out what failed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import clean_environment, environment_on_a_full_disk
from model_samples import make_samples

from petct_cli.core.errors import InputError, UsageError
from petct_cli.core.jsonl import encode
from petct_cli.core.records import Checkpoint, Sample
from petct_cli.model.alignment import TextTargets, align
from petct_cli.model.answer import load_answerer
from petct_cli.model.describe import LOG_DIAMETER_COLUMN, LOG_PEAK_COLUMN, USED_COLUMN
from petct_cli.model.folder import find_model, hash_model
from petct_cli.model.targets import ClauseTokens
from petct_cli.model.tower import build_llava, load_llava, save_llava
from petct_cli.model.training import Batches, Example, Trainer, TrainOptions, language_batch
from petct_cli.stages.train import Train, refuse_several_processes


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("phantoms"), 10, regions=("head_neck", "chest"))


def manifest(samples: list[Sample]) -> bytes:
    return b"".join(encode(sample) + b"\n" for sample in samples)


def test_a_checkpoint_says_what_was_made(samples: list[Sample], tmp_path: Path) -> None:
    (checkpoint,) = Train(out=tmp_path / "run", steps=6).collect(samples)
    assert isinstance(checkpoint, Checkpoint)
    folder = tmp_path / "run" / "model"
    assert checkpoint.path == str(folder)
    assert checkpoint.sha256 == hash_model(folder)
    assert (checkpoint.stage, checkpoint.recipe) == ("train", "saliency")
    assert checkpoint.metrics["train_samples"] == 12
    assert checkpoint.metrics["validation_samples"] == 4
    assert checkpoint.metrics["steps"] == 6
    assert "validation_loss" in checkpoint.metrics
    assert checkpoint.provenance[-1].stage == "train"
    assert find_model(tmp_path / "run") == folder
    assert not list((tmp_path / "run" / "cache").glob("progress*"))


def test_equal_input_gives_equal_models_and_a_finished_one_is_emitted_again(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for name in ("a", "b"):
        (made,) = Train(out=tmp_path / name, steps=4).collect(samples)
        hashes.append(made.sha256)
    assert hashes[0] == hashes[1]
    weights = tmp_path / "a" / "model" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    (again,) = Train(out=tmp_path / "a", steps=4, jobs=2).collect(samples)
    assert again.sha256 == hashes[0]
    assert weights.stat().st_mtime_ns == before
    (other,) = Train(out=tmp_path / "a", steps=4, seed=1).collect(samples)
    assert other.sha256 != hashes[0]


def test_failed_samples_and_unreadable_images_are_left_out(
    samples: list[Sample], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "petct_cli")
    train = [sample for sample in samples if sample.split == "train"]
    gone = train[0].images[0].model_copy(update={"path": str(tmp_path / "gone.b2nd"), "sha256": "0"})
    broken = train[0].with_fields(id="gone", images=[gone, train[0].images[1]])
    failed = train[1].failed("pair", "no_pet", "the study has no PET")
    (checkpoint,) = Train(out=tmp_path / "run", steps=2).collect([broken, failed, *train[2:]])
    assert checkpoint.metrics["train_samples"] == len(train) - 2
    assert checkpoint.metrics["dropped_samples"] == 1
    assert "validation_loss" not in checkpoint.metrics
    assert "left out 1 records failed" in caplog.text
    assert "dropped 1 samples: volume_missing" in caplog.text


def test_nothing_to_learn_from(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split train"):
        list(Train(out=tmp_path).collect([sample for sample in samples if sample.split == "test"]))


def model_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "model").iterdir()) if path.name[0] != "."}


def test_nothing_of_val_and_test_gets_into_the_model(samples: list[Sample], tmp_path: Path) -> None:
    list(Train(out=tmp_path / "a", steps=4).collect(samples))
    train = [sample for sample in samples if sample.split == "train"]
    others = [sample for sample in samples if sample.split != "train"]
    strange = [
        sample.with_fields(reference="Hoàn toàn khác 77 mm, SUVmax 9,9. " * 20, images=other.images, lesions=None)
        for sample, other in zip(others, others[::-1], strict=True)
    ]
    list(Train(out=tmp_path / "b", steps=4, jobs=2).collect([*strange[::-1], *train]))
    made, again = model_files(tmp_path / "a"), model_files(tmp_path / "b")
    assert made.pop("metrics.json") != again.pop("metrics.json")
    assert made == again
    assert all(str(tmp_path).encode() not in data for data in made.values())


def test_true_lesions_and_the_turns_answer_do_not_get_into_the_model(samples: list[Sample], tmp_path: Path) -> None:
    list(Train(out=tmp_path / "a", steps=2).collect(samples))
    blind = [sample.with_fields(lesions=None, hypothesis="Nốt phổi 99 mm.") for sample in samples]
    list(Train(out=tmp_path / "b", steps=2).collect(blind))
    assert model_files(tmp_path / "a") == model_files(tmp_path / "b")


def test_a_patient_or_an_image_in_two_splits_is_refused(samples: list[Sample], tmp_path: Path) -> None:
    (held_out, *_) = [sample for sample in samples if sample.split == "test"]
    child = held_out.with_fields(id=f"{held_out.id}/aug1", parent=held_out.id, split="train")
    with pytest.raises(InputError, match="1 samples of split train") as caught:
        list(Train(out=tmp_path, steps=2).collect([*samples, child]))
    assert caught.value.code == "splits_overlap"
    assert held_out.patient not in str(caught.value)
    renamed = child.with_fields(patient="another-name")
    with pytest.raises(InputError, match="an image"):
        list(Train(out=tmp_path, steps=2).collect([*samples, renamed]))


def test_volumes_that_come_back_are_learned_from(samples: list[Sample], tmp_path: Path) -> None:
    train = [sample for sample in samples if sample.split == "train"]
    (whole,) = Train(out=tmp_path / "whole", steps=2).collect(train)
    path = Path(train[0].images[1].path)
    aside = path.rename(path.with_suffix(".aside"))
    try:
        (partial,) = Train(out=tmp_path / "run", steps=2).collect(train)
        (same,) = Train(out=tmp_path / "run", steps=2).collect(train)
    finally:
        aside.rename(path)
    assert partial == same
    assert partial.metrics["dropped_samples"] == 2
    (restored,) = Train(out=tmp_path / "run", steps=2).collect(train)
    assert restored.sha256 == whole.sha256
    # Once it is whole, a finished model does not ask for the volumes any more.
    aside = path.rename(path.with_suffix(".aside"))
    try:
        (kept,) = Train(out=tmp_path / "run", steps=2).collect(train)
    finally:
        aside.rename(path)
    assert kept == restored


def test_a_damaged_cache_is_made_again(samples: list[Sample], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (first,) = Train(out=tmp_path, steps=2).collect(samples)
    shutil.rmtree(tmp_path / "model")
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    (second,) = Train(out=tmp_path, steps=2).collect(samples)
    assert second == first
    assert "is made again" in caplog.text


def test_texts_that_cannot_be_learned_are_dropped(samples: list[Sample], tmp_path: Path) -> None:
    train = [sample for sample in samples if sample.split == "train"]
    endless = train[0].with_fields(id="endless", reference="a b " * 20000)
    blank = train[0].with_fields(id="blank", reference=" \n")
    astronomic = train[0].with_fields(id="astronomic", reference=f"Nốt phổi {'9' * 400} mm, SUVmax {'8' * 400}.")
    (checkpoint,) = Train(out=tmp_path / "run", steps=3).collect([*train, endless, blank, astronomic])
    assert checkpoint.metrics["train_samples"] == len(train) + 1
    assert checkpoint.metrics["dropped_samples"] == 1
    assert np.isfinite(checkpoint.metrics["train_loss"])


def test_a_full_disk_is_said_to_be_one_whichever_library_meets_it(tmp_path: Path) -> None:
    code = """
import resource, signal, sys, errno
from pathlib import Path
from petct_cli.model.tokenizer import train_tokenizer
from petct_cli.model.tower import build_llava, rust_io_errors, save_llava
model = build_llava(vocabulary=40, pad_id=0, bos_id=1, eos_id=2, image_id=3, in_features=200, tokens=4)
tokenizer = train_tokenizer(["Gan to 12 mm."] * 5, 300)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
def save_tokenizer():
    with rust_io_errors():
        tokenizer.save_pretrained(sys.argv[1])
for save in (lambda: save_llava(model, Path(sys.argv[1])), save_tokenizer):
    try:
        save()
    except OSError as error:
        print(error.errno == errno.EFBIG)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = environment_on_a_full_disk()
    done = subprocess.run(command, capture_output=True, text=True, cwd=os.getcwd(), env=environment)
    assert done.stdout.split() == ["True", "True"], done.stderr


def examples(count: int, tokens: int = 4) -> tuple[list[Example], np.ndarray]:
    rng = np.random.default_rng(0)
    made = []
    for row in range(count):
        target = tuple(int(token) for token in rng.integers(6, 40, 5 + row % 3))
        text = f"Nốt phổi {'phải' if row % 2 else 'trái'} {8 + row} mm, SUVmax {3 + row % 5},0."
        prompt = (1, *([3] * tokens), 5)
        made.append(
            Example(
                row, prompt, (*target, 2), (1.0,) * (len(target) + 1), (ClauseTokens(target[:3], target[3:]),), text
            )
        )
    return made, rng.normal(size=(count, tokens, 200)).astype(np.float16)


def tiny(tokens: int = 4) -> Any:
    torch.manual_seed(0)
    return build_llava(
        vocabulary=40, pad_id=0, bos_id=1, eos_id=2, image_id=3, in_features=200, tokens=tokens, hidden_size=32
    )


class Killed(Exception):
    """Stands for kill -9 between two steps."""


class KilledTrainer(Trainer):
    def _one_step(self) -> float:
        if self.step == 13:
            raise Killed
        return super()._one_step()


def test_a_killed_run_ends_like_one_that_was_not(tmp_path: Path) -> None:
    made, features = examples(12)
    options = TrainOptions(steps=20, first_stage=8, batch_size=4)
    whole = Trainer(tiny(), made, features, options)
    whole_loss = whole.run()
    with pytest.raises(Killed):
        KilledTrainer(tiny(), made, features, options, tmp_path / "progress.pt", save_every=5).run()
    resumed = Trainer(tiny(), made, features, options, tmp_path / "progress.pt", save_every=5)
    assert resumed.run() == whole_loss
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("damaged", [False, True])
def test_progress_on_other_samples_or_damaged_is_not_taken_up(tmp_path: Path, damaged: bool) -> None:
    made, features = examples(12)
    options = TrainOptions(steps=20, first_stage=8, batch_size=4)
    progress = tmp_path / "progress.pt"
    with pytest.raises(Killed):
        KilledTrainer(tiny(), made, features, options, progress, save_every=5).run()
    if damaged:
        progress.write_bytes(progress.read_bytes()[:500])
    else:
        made = made[:-1]
    fresh = Trainer(tiny(), made, features, options)
    resumed = Trainer(tiny(), made, features, options, progress, save_every=5)
    assert resumed.run() == fresh.run()


def test_a_tiny_set_is_learned_by_heart() -> None:
    made, features = examples(8)
    trainer = Trainer(tiny(), made, features, TrainOptions(steps=220, first_stage=20, batch_size=8))
    trainer.run()
    batch = language_batch(made, 0)
    with torch.no_grad():
        logits = trainer.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=torch.from_numpy(features).float(),
        ).logits[:, :-1]
    labels = batch["labels"][:, 1:]
    right = (logits.argmax(-1) == labels)[labels != -100]
    assert right.float().mean() > 0.95


def test_a_saved_llava_writes_the_same_when_loaded(tmp_path: Path) -> None:
    model = tiny().eval()
    save_llava(model, tmp_path)
    again = load_llava(tmp_path)
    ids = torch.tensor([[1, 3, 3, 3, 3, 5]])
    seen = torch.randn(1, 4, 200, generator=torch.Generator().manual_seed(1))
    written = [
        each.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=seen, max_new_tokens=12, do_sample=False
        ).tolist()
        for each in (model, again)
    ]
    assert written[0] == written[1]
    assert type(again).__module__.startswith("transformers.models.llava")


def test_batches_depend_on_seed_and_step_alone() -> None:
    measured = np.arange(50) % 2 == 0
    batches = Batches(np.arange(50), measured, 8, seed=3, keep_silent=0.5)
    per_pass = (25 + 13) // 8
    rows = [row for step in range(per_pass) for row in batches.rows(step)]
    assert len(rows) == len(set(rows)) == 8 * per_pass
    assert batches.rows(2) == batches.rows(2)
    assert batches.rows(0) != batches.rows(per_pass)
    assert sum(measured[row] for row in rows) >= 25 - 8


def test_threshold_recipe_needs_truth_and_finds_lesions(samples: list[Sample], tmp_path: Path) -> None:
    (checkpoint,) = Train(out=tmp_path / "run", recipe="pet-threshold").collect(samples)
    assert checkpoint.recipe == "pet-threshold"
    assert checkpoint.metrics["train_site_f1_chest"] > 0.5
    answerer = load_answerer(tmp_path / "run" / "model")
    told = [answerer.look(sample) for sample in samples]
    assert any("SUVmax" in text for text in told)
    assert any("Không phát hiện" in text for text in told)
    blind = [sample.with_fields(lesions=None) for sample in samples]
    with pytest.raises(InputError, match="true lesions"):
        list(Train(out=tmp_path / "blind", recipe="pet-threshold").collect(blind))


def test_several_processes_do_not_share_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_several_processes(reads_stdin=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="give FILE"):
        refuse_several_processes(reads_stdin=True)
    with pytest.raises(UsageError, match="one process"):
        refuse_several_processes(reads_stdin=False)
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="one process"):
        refuse_several_processes(reads_stdin=False)


def test_interrupted_and_started_again(samples: list[Sample], tmp_path: Path, petct: Callable[..., Any]) -> None:
    (tmp_path / "samples.jsonl").write_bytes(manifest(samples))
    command = ["train", "samples.jsonl", "-o", "run", "--steps", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "petct_cli", *command],
        cwd=tmp_path,
        env=clean_environment({"PYTHONPATH": os.getcwd()}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "step 12 of 60" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finished = petct(*command, cwd=tmp_path)
    assert finished.code == 0
    assert "goes on from step" in finished.stderr
    assert finished.records[0]["metrics"]["steps"] == 60
    assert petct(*command, cwd=tmp_path).stdout == finished.stdout
    (uninterrupted,) = Train(out=tmp_path / "other", steps=60).collect(samples)
    assert uninterrupted.sha256 == finished.records[0]["sha256"]


def test_a_clause_is_aligned_with_the_spot_that_has_its_numbers() -> None:
    images = torch.zeros(1, 3, 200)
    images[0, :2, USED_COLUMN] = 1
    images[0, :, LOG_PEAK_COLUMN] = torch.log(torch.tensor([3.0, 8.0, 8.0])) - 1.5
    images[0, :, LOG_DIAMETER_COLUMN] = torch.log(torch.tensor([12.0, 20.0, 20.0])) - 3.0
    targets = TextTargets(["Nốt phổi phải 20 mm, SUVmax 8,0."], [[ClauseTokens((5,), (6,))]], 40)
    clauses = targets.batch([0])
    assert clauses is not None
    spot = align(clauses, torch.full((1, 3, clauses.words.shape[1]), -4.0), images)
    # The third spot has the same numbers, but its row is not used.
    torch.testing.assert_close(spot, torch.tensor([[0.0, 1.0, 0.0]]), atol=1e-2, rtol=0)


def test_training_leaves_the_processor_as_it_was() -> None:
    from petct_cli.model.training import denormals_as_zero

    smallest = torch.tensor(1e-30) * torch.tensor(1e-12)
    with denormals_as_zero():
        assert float(torch.tensor(1e-30) * torch.tensor(1e-12)) == 0
    assert float(torch.tensor(1e-30) * torch.tensor(1e-12)) == float(smallest) > 0
