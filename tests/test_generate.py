"""``generate``: the same for any batch size, resumed from its journal, honest about whose images it showed."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import environment_on_a_full_disk
from model_samples import make_samples
from safetensors.torch import load_file, save_file

from petct_cli.core.errors import InputError, UsageError
from petct_cli.core.jsonl import encode
from petct_cli.core.records import Checkpoint, Message, Record, Sample
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
    plain = texts(generate(samples, model, split="all"))
    other = [sample.with_fields(reference="x", messages=sample.messages[:-1], lesions=None) for sample in samples]
    assert plain == texts(generate(other, model, split="all"))
    lie = Message(role="assistant", content=[{"type": "text", "text": "Nốt phổi phải 77 mm, SUVmax 9,9."}])
    fields = {"reference": lie.content[0]["text"], "hypothesis": lie.content[0]["text"], "split": "test"}
    lying = [sample.with_fields(messages=[*sample.messages[:-1], lie], **fields) for sample in samples]
    assert plain == texts(generate(lying, model))
    written_twice = samples[0].with_fields(messages=[*samples[0].messages, samples[0].messages[-1]])
    (refused,) = generate([written_twice], model, split="all")
    assert refused.error is not None and refused.error.code == "no_prompt"


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
    assert None not in chosen
    assert partners(samples[:1], seed=0) == [None]
    (alone,) = generate(samples[:1], model, split="all", shuffle_images=0)
    assert alone.error is not None and alone.error.code == "no_partner"


def test_nobody_is_shown_his_own_images(samples: list[Sample], model: Path) -> None:
    chest = [sample for sample in samples if sample.region is not None and sample.region.name == "chest"]
    one_id = [sample.with_fields(id="same") for sample in chest]
    for sample, other in zip(one_id, partners(one_id, seed=0), strict=True):
        assert other is not None and other.patient != sample.patient
    renamed = chest[0].with_fields(id="again", patient="another-name")
    assert partners([chest[0], renamed], seed=0) == [None, None]
    for seed in range(5):
        for sample, other in zip([*chest, renamed], partners([*chest, renamed], seed), strict=True):
            assert other is not None and other.images != sample.images


def test_shards_and_shuffled_images_do_not_go_together(model: Path, petct: Callable[..., Any]) -> None:
    done = petct("generate", "--model", model, "-", "--shuffle-images", "0", "--shard", "1/2")
    assert done.code == 2
    assert "shuffle_with_shard" in done.stderr


def test_an_endless_prompt_fails_alone(samples: list[Sample], model: Path) -> None:
    asked = Message(role="user", content=[{"type": "image"}, {"type": "text", "text": "xin chào " * 20000}])
    endless, usual = generate([samples[0].with_fields(messages=[asked]), samples[1]], model, split="all")
    assert endless.error is not None and endless.error.code == "prompt_too_long"
    assert usual.error is None


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


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "calibration.npz", "petct_processor.json", "config.json", CARD_FILE]
)
@pytest.mark.parametrize("kept", [60, None])
def test_any_damaged_file_is_a_bad_model(
    samples: list[Sample], model: Path, tmp_path: Path, name: str, kept: int | None
) -> None:
    folder = shutil.copytree(model / "model", tmp_path / "model")
    damaged = folder / name
    if kept is None:
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[:kept])
    with pytest.raises(InputError) as caught:
        generate(samples[:1], folder, split="all")
    assert caught.value.code == ("no_model" if name == CARD_FILE and kept is None else "bad_model")


def test_missing_weights_are_not_made_up(samples: list[Sample], model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model / "model", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "projector" in name))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="cannot be loaded"):
        generate(samples[:1], folder, split="all")


def test_a_model_of_a_later_petct_is_named_as_such(samples: list[Sample], tmp_path: Path) -> None:
    (tmp_path / CARD_FILE).write_bytes(orjson.dumps({"recipe": "saliency", "max_new_tokens": 3, "schema": 2}))
    with pytest.raises(InputError, match="later petct"):
        generate(samples, tmp_path)


def test_rubbish_in_a_journal_is_not_believed(tmp_path: Path) -> None:
    lines = [b"\xff\xfe", b"[1]", b'"a"', b'{"key":"a","hypothesis":7}', b'{"key":["b"],"hypothesis":"c"}', b"{}"]
    (tmp_path / JOURNAL_FILE).write_bytes(b"\n".join([*lines, b'{"key":"good","hypothesis":"text"}']))
    with Journal(tmp_path) as journal:
        assert journal.get("a") is None
        assert journal.get("good") == "text"
        journal.put("next", "one")
    with Journal(tmp_path) as journal:
        assert journal.get("next") == "one"


def test_a_full_disk_under_the_journal_is_said_to_be_one(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from petct_cli.core.errors import OutputError
from petct_cli.model.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    with Journal(Path(sys.argv[1])) as journal:
        for number in range(9):
            journal.put(str(number), "text")
except OutputError as error:
    print(error.code)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = environment_on_a_full_disk()
    done = subprocess.run(command, capture_output=True, text=True, cwd=os.getcwd(), env=environment)
    assert done.stdout.strip() == "output_failed", done.stderr
    with Journal(tmp_path) as journal:
        assert journal.get("1") == "text"


def test_training_and_generating_do_not_ask_the_network(
    samples: list[Sample], model: Path, petct: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "def hook(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'):\n"
        "        sys.stderr.write('NETWORK\\n')\n"
        "sys.addaudithook(hook)\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}"}
    manifest = b"".join(encode(sample) + b"\n" for sample in samples)
    trained = petct("train", "-", "-o", "run", "--steps", "2", stdin=manifest, cwd=tmp_path, env=environment)
    written = petct("generate", "-", "--model", "run", stdin=manifest, cwd=tmp_path, env=environment)
    assert (trained.code, written.code) == (0, 0)
    assert "NETWORK" not in trained.stderr + written.stderr


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
