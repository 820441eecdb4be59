"""``train``: samples to a model folder."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from petct_cli.core.errors import InputError, UsageError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.core.jsonl import encode
from petct_cli.core.provenance import entry
from petct_cli.core.records import Checkpoint, Record, Sample
from petct_cli.core.store import Store, write_atomically

log = logging.getLogger(__name__)

RECIPES = ("saliency", "pet-threshold")
MODEL_FOLDER = "model"
MANIFEST = "manifest.jsonl"


def refuse_several_processes(reads_stdin: bool) -> None:
    """Refuse to run under torchrun and its like.

    Raises
    ------
    UsageError
        ``stdin_shared`` when the processes would steal each other's lines, ``one_process`` otherwise: the embedded
        recipes train in one process.
    """
    if os.environ.get("WORLD_SIZE", "").strip() in ("", "0", "1"):
        return
    if reads_stdin:
        raise UsageError(
            "stdin_shared", "several processes cannot share stdin", "write the samples to a file and give FILE"
        )
    raise UsageError("one_process", "the embedded recipes train in one process", "start petct train without torchrun")


@dataclass(frozen=True)
class Train:
    """Learn from the samples of split ``train``, validate on ``val``.

    Parameters
    ----------
    out
        Folder that gets ``model/`` (what ``generate`` loads), the manifest, and a cache to resume from.
    recipe
        ``saliency``: the embedded model, which learns from images and text alone. ``pet-threshold``: a baseline that
        learns one SUV threshold per region from the true lesions.
    steps
        Of the saliency recipe; None for its default.
    seed
        Of weights and order.
    jobs
        Processes that look at images; changes nothing in the result.

    Failed samples and those without a text are left out and counted.
    """

    out: Path
    recipe: str = "saliency"
    steps: int | None = None
    seed: int = 0
    jobs: int = 1

    name: ClassVar[str] = "train"
    version: ClassVar[str] = "1"
    consumes: ClassVar[tuple[type[Record], ...]] = (Sample,)

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise UsageError("unknown_recipe", f"--recipe takes {', '.join(RECIPES)}")
        if self.steps is not None and self.steps < 1:
            raise UsageError("bad_option", "--steps takes a number from 1")

    def collect(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the checkpoint; a model that is finished already is not trained again.

        Raises
        ------
        InputError
            ``nothing_to_learn`` when no sample of split ``train`` can be used; ``splits_overlap`` when a patient or an
            image of split ``train`` is in ``val`` or ``test`` too.
        """
        train, validation = self._select(records)
        if not train:
            raise InputError(
                "nothing_to_learn",
                "no usable sample of split train",
                "pair gives each sample its split",
            )
        manifest = b"".join(encode(sample) + b"\n" for sample in (*train, *validation))
        write_atomically(self.out / MANIFEST, manifest)
        inputs = [sha256_bytes(manifest)]
        store = Store(self.out, self.name)
        key = store.key(inputs, self._options(), self.version)
        if store.lookup(MODEL_FOLDER, key) is None:
            key = store.key([*inputs, *_missing(train, validation)], self._options(), self.version)
        yield from store.once(MODEL_FOLDER, key, lambda folder: [self._train(train, validation, inputs, folder, key)])

    def _select(self, records: Iterable[Record]) -> tuple[list[Sample], list[Sample]]:
        train: list[Sample] = []
        validation: list[Sample] = []
        left_out: Counter[str] = Counter()
        held_out: set[str] = set()
        for record in records:
            if isinstance(record, Sample) and record.split in ("val", "test"):
                held_out |= _identities(record)
            if record.error is not None:
                left_out["failed"] += 1
            elif not isinstance(record, Sample):
                left_out["not a sample"] += 1
            elif record.split == "train" and _has_text(record):
                train.append(record)
            elif record.split == "val" and _has_text(record):
                validation.append(record)
            else:
                left_out[f"of split {record.split}" if _has_text(record) else "without a reference"] += 1
        for reason, number in sorted(left_out.items()):
            log.info("left out %d records %s", number, reason)
        both = sum(not held_out.isdisjoint(_identities(sample)) for sample in train)
        if both:
            raise InputError(
                "splits_overlap",
                f"{both} samples of split train show a patient or an image that is in val or test too",
                "let one pair split all studies, by patient",
            )
        log.info("learns from %d samples, validates on %d", len(train), len(validation))
        return train, validation

    def _train(
        self, train: list[Sample], validation: list[Sample], inputs: list[str], folder: Path, key: str
    ) -> Checkpoint:
        from petct_cli.model.folder import hash_model

        if self.recipe == "saliency":
            metrics = self._train_saliency(train, validation, folder, key)
        else:
            from petct_cli.model.threshold import train_threshold

            metrics = train_threshold(train, folder, self.jobs)
        digest = hash_model(folder)
        return Checkpoint.model_validate(
            {
                "id": digest[:16],
                "path": str(self.out / MODEL_FOLDER),
                "sha256": digest,
                "stage": self.name,
                "recipe": self.recipe,
                "metrics": metrics,
                "provenance": [entry(self.name, self.version, self._options(), inputs)],
            }
        )

    def _train_saliency(
        self, train: list[Sample], validation: list[Sample], folder: Path, key: str
    ) -> dict[str, float]:
        from petct_cli.model.saliency_recipe import Recipe, train_saliency

        recipe = Recipe(steps=self.steps, seed=self.seed)
        progress = self.out / "cache" / f"progress-{key[:20]}.pt"
        metrics, dropped = train_saliency(
            train, validation, recipe, folder, cache=self.out / "cache", progress=progress, jobs=self.jobs
        )
        reasons = Counter(failure.code for _, failure in dropped)
        for code, number in sorted(reasons.items()):
            log.warning("dropped %d samples: %s", number, code)
        return metrics

    def _options(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "steps": self.steps, "seed": self.seed}


def _has_text(sample: Sample) -> bool:
    return bool(sample.reference and sample.reference.strip())


def _missing(train: list[Sample], validation: list[Sample]) -> list[str]:
    """Return the images that are not there: a model made without them is made again once they are."""
    images = {image.path: image.sha256 for sample in (*train, *validation) for image in sample.images}
    return sorted({sha256 for path, sha256 in images.items() if not os.path.isfile(path)})


def _identities(sample: Sample) -> set[str]:
    """Return what must not be in two splits: the patient, and the PET itself (the same under another name)."""
    pets = (f"image {image.sha256}" for image in sample.images if image.modality == "PT")
    return {f"patient {sample.patient}", *pets}
