"""``augment``: reworded copies of samples whose facts are proved unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.hashing import sha256_bytes
from petct_cli.core.provenance import entry
from petct_cli.core.records import Record, Sample

if TYPE_CHECKING:
    from petct_cli.core.records import Message

METHODS = ("reorder", "synonyms")
SPLITS = ("train", "val", "test", "all")
_ATTEMPTS = 4


@dataclass(frozen=True)
class Augment:
    """Emit each sample, then its reworded children.

    Parameters
    ----------
    methods
        Of `METHODS`, applied one after the other to each child.
    copies
        Children per sample at most; a text that cannot be said otherwise has fewer.
    split
        The split whose samples are augmented (``all`` for every sample); others pass on untouched.
    seed
        Of the rewording; with the sample's id, so that neither order nor jobs matter.

    A child whose facts differ from its parent's is rejected and tried again; rejections are counted in the parent's
    ``augment.rejected``.
    """

    methods: tuple[str, ...] = METHODS
    copies: int = 1
    split: str = "train"
    seed: int = 0

    name: ClassVar[str] = "augment"
    version: ClassVar[str] = "2"
    consumes: ClassVar[tuple[type[Record], ...]] = (Sample,)

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods:
            raise UsageError("unknown_method", f"--method takes {', '.join(METHODS)}")
        if self.split not in SPLITS:
            raise UsageError("bad_option", f"--split takes {', '.join(SPLITS)}")

    def __call__(self, record: Sample) -> Iterable[Record]:
        """Yield the sample and its children.

        Raises
        ------
        RecordError
            ``no_reference``, ``reference_differs``.
        """
        sample = record
        if self.split not in ("all", sample.split) or sample.parent is not None:
            return [sample]
        reference = sample.reference
        if not reference:
            raise RecordError("no_reference", "the sample has no reference to reword")
        _check_last_turn(sample, reference)
        children, rejected = self._children(sample, reference)
        if rejected:
            sample = sample.with_fields(augment={"rejected": rejected})
        return [sample, *children]

    def _children(self, sample: Sample, reference: str) -> tuple[list[Sample], int]:
        from petct_cli.report.rewrite import METHODS as REWRITERS
        from petct_cli.report.rewrite import same_facts

        known = {reference}
        children: list[Sample] = []
        rejected = 0
        for copy in range(1, self.copies + 1):
            for attempt in range(_ATTEMPTS):
                rng = Random(f"{self.seed}/{sample.id}/{copy}/{attempt}")  # noqa: S311 - wording, not a secret
                text = reference
                for method in self.methods:
                    text = REWRITERS[method](text, rng)
                if text in known:
                    continue
                if not same_facts(reference, text):
                    rejected += 1
                    continue
                known.add(text)
                children.append(self._child(sample, len(children) + 1, reference, text))
                break
        return children, rejected

    def _child(self, sample: Sample, number: int, reference: str, text: str) -> Sample:
        options: dict[str, Any] = {"methods": list(self.methods), "copies": self.copies, "seed": self.seed}
        stamp = entry(self.name, self.version, options, [sha256_bytes(reference.encode())])
        fields: dict[str, Any] = {
            "id": f"{sample.id}/aug{number}",
            "parent": sample.id,
            "methods": list(self.methods),
            "reference": text,
            "provenance": [*sample.provenance, stamp],
        }
        if sample.messages:
            fields["messages"] = [*sample.messages[:-1], _retold(sample.messages[-1], text)]
        # What a model said was said of the parent.
        return _without(sample, "hypothesis", "decoding").with_fields(**fields)


def _without(sample: Sample, *names: str) -> Sample:
    if not sample.model_fields_set & set(names):
        return sample
    return Sample.model_validate({key: value for key, value in sample.to_json().items() if key not in names})


def _check_last_turn(sample: Sample, reference: str) -> None:
    if not sample.messages:
        return
    last = sample.messages[-1]
    texts = [part.get("text") for part in last.content if part.get("type") == "text"]
    if last.role != "assistant" or texts != [reference]:
        raise RecordError("reference_differs", "the last turn is not the assistant's reference")


def _retold(message: Message, text: str) -> Message:
    content = [{**part, "text": text} if part.get("type") == "text" else part for part in message.content]
    return message.model_copy(update={"content": content})
