"""``generate``: samples with what a model writes about them."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.provenance import entry, stamped
from petct_cli.core.records import Record, Sample

if TYPE_CHECKING:
    from petct_cli.model.answer import Answerer
    from petct_cli.model.journal import Journal

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "all")


@dataclass(frozen=True)
class _Work:
    """A record on its way through: the sample as it is shown to the model, or None for one that only passes by."""

    record: Record
    shown: Sample | None = None
    decoding: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Generate:
    """Write a hypothesis for each sample of a split, greedily.

    Parameters
    ----------
    model
        Folder that ``train`` wrote.
    split
        ``train``, ``val``, ``test`` or ``all``.
    shuffle_images
        Seed: show each sample the images of another patient's sample of the same region. What a model still gets
        right then, it did not see.
    cache
        Folder of a journal of finished answers.
    batch_size
        Samples answered at once; changes nothing in the answers.
    """

    model: Path
    split: str = "test"
    shuffle_images: int | None = None
    cache: Path | None = None
    batch_size: int = 64

    name: ClassVar[str] = "generate"
    version: ClassVar[str] = "1"
    consumes: ClassVar[tuple[type[Record], ...]] = (Sample,)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UsageError("bad_option", f"--split takes {', '.join(SPLITS)}")
        if self.batch_size < 1:
            raise UsageError("bad_option", "--batch-size takes a number from 1")

    def collect(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the samples of the split in input order, batch by batch; with shuffled images only after all are read.

        Raises
        ------
        InputError
            ``no_model``, ``bad_model``.
        """
        from petct_cli.model.folder import find_model, hash_model, read_card
        from petct_cli.model.journal import Journal

        folder = find_model(self.model)
        card = read_card(folder)
        decoding = {
            "model": hash_model(folder),
            "recipe": card.recipe,
            "method": "greedy",
            "max_new_tokens": card.max_new_tokens,
        }
        left_out: Counter[str] = Counter()
        chosen = self._choose(records, left_out)
        work = (
            (self._as_it_is(record, decoding) for record in chosen)
            if self.shuffle_images is None
            else self._shuffled(list(chosen), decoding, self.shuffle_images)
        )
        with Journal(self.cache) as journal:
            answers = _Answers(folder, journal)
            for batch in _batches(work, self.batch_size):
                yield from self._answer(batch, answers)
        others = ", ".join(f"{number} of {name}" for name, number in sorted(left_out.items()))
        log.info("split %s%s", self.split, f"; left out {others}" if others else "")

    def _choose(self, records: Iterable[Record], left_out: Counter[str]) -> Iterator[Record]:
        for record in records:
            split = getattr(record, "split", None)
            if isinstance(record, Sample) and self.split != "all" and split is not None and split != self.split:
                left_out[str(split)] += 1
            elif isinstance(record, Sample) and self.split != "all" and split is None and record.error is None:
                left_out["no split"] += 1
            else:
                yield record

    def _as_it_is(self, record: Record, decoding: dict[str, Any]) -> _Work:
        if record.error is not None:
            return _Work(record)
        if not isinstance(record, Sample):
            message = f"a {record.type or 'nameless'} record, where generate reads sample"
            return _Work(record.failed(self.name, "wrong_type", message))
        return _Work(record, record, decoding)

    def _shuffled(self, records: Sequence[Record], decoding: dict[str, Any], seed: int) -> Iterator[_Work]:
        chosen = partners([record for record in records if isinstance(record, Sample) and record.error is None], seed)
        partner = iter(chosen)
        for record in records:
            work = self._as_it_is(record, decoding)
            if work.shown is None:
                yield work
                continue
            other = next(partner)
            if other is None:
                message = "no other patient has a sample of this region"
                yield _Work(record.failed(self.name, "no_partner", message))
                continue
            shown = work.shown.with_fields(images=other.images, image_recipe=other.image_recipe)
            yield _Work(record, shown, {**decoding, "shuffle_images": seed, "images_of": other.id})

    def _answer(self, batch: Sequence[_Work], answers: _Answers) -> Iterator[Record]:
        told = answers.of([work for work in batch if work.shown is not None])
        for work in batch:
            if work.shown is None:
                yield work.record
                continue
            answer = next(told)
            if isinstance(answer, RecordError):
                yield work.record.failed(self.name, answer.code, str(answer))
                continue
            options = {"split": self.split, "shuffle_images": self.shuffle_images}
            inputs = [work.decoding["model"], *(image.sha256 for image in work.shown.images)]
            stamp = entry(self.name, self.version, options, inputs)
            yield stamped(work.record.with_fields(hypothesis=answer, decoding=work.decoding), stamp)


@dataclass
class _Answers:
    """The model behind its journal; it is loaded only when something is not in there."""

    folder: Path
    journal: Journal

    @cached_property
    def _model(self) -> Answerer:
        from petct_cli.model.answer import load_answerer

        return load_answerer(self.folder)

    def of(self, batch: Sequence[_Work]) -> Iterator[str | RecordError]:
        """Yield the answer to each of `batch`, in order."""
        keys = [self._key(work) for work in batch]
        failed: dict[int, RecordError] = {}
        looked: list[tuple[int, Sample, Any]] = []
        for place, (work, key) in enumerate(zip(batch, keys, strict=True)):
            if self.journal.get(key) is None and work.shown is not None:
                try:
                    looked.append((place, work.shown, self._model.look(work.shown)))
                except RecordError as error:
                    failed[place] = error
        if looked:
            samples, seen = [sample for _, sample, _ in looked], [what for _, _, what in looked]
            for (place, _, _), hypothesis in zip(looked, self._model.answer(samples, seen), strict=True):
                self.journal.put(keys[place], hypothesis)
        for place, key in enumerate(keys):
            yield failed[place] if place in failed else self.journal.get(key) or ""

    @staticmethod
    def _key(work: _Work) -> str:
        from petct_cli.model.inputs import image_key

        assert work.shown is not None
        turns = work.shown.messages
        given = turns[:-1] if turns and turns[-1].role == "assistant" else turns
        asked = [turn.model_dump(mode="json") for turn in given]
        return sha256_json([Generate.version, image_key(work.shown), asked, work.decoding])


def partners(samples: Sequence[Sample], seed: int) -> list[Sample | None]:
    """Return for each sample one of the same region and task, another patient and other images; None where none is.

    Within a region and task patients are put in an order drawn from `seed`, and each sample takes the images of the one
    a fixed number of places on. It depends on the set of samples alone, not on their order.
    """
    regions: dict[tuple[str, str], list[int]] = {}
    for row, sample in enumerate(samples):
        name = sample.region.name if sample.region is not None else "whole"
        regions.setdefault((name, sample.task), []).append(row)
    chosen: list[Sample | None] = [None] * len(samples)
    draw = _drawn(seed)
    for rows in regions.values():
        # By place and not by id: two samples of one id must not get each other's partner, and so their own images.
        ordered = sorted(rows, key=lambda row: draw(samples[row]))
        most = max(Counter(samples[row].patient for row in ordered).values())
        if most == len(ordered):
            continue
        for place, row in enumerate(ordered):
            turned = (samples[ordered[(place + most + step) % len(ordered)]] for step in range(len(ordered)))
            chosen[row] = next((other for other in turned if _differ(samples[row], other)), None)
    return chosen


def _differ(one: Sample, other: Sample) -> bool:
    shown = {image.sha256 for image in one.images}
    return one.patient != other.patient and shown.isdisjoint(image.sha256 for image in other.images)


def _drawn(seed: int) -> Callable[[Sample], tuple[str, str]]:
    def order(sample: Sample) -> tuple[str, str]:
        return hashlib.sha256(f"{seed} {sample.patient}".encode()).hexdigest(), sample.id

    return order


def _batches(work: Iterable[_Work], size: int) -> Iterator[list[_Work]]:
    batch: list[_Work] = []
    for one in work:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
