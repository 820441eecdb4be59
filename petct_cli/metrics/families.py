"""Metrics that share a pass over the samples.

A family turns samples into a row of sums each, and sums into the values of its metrics. Its signature says how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from petct_cli.metrics.clinical_lesions import Lesions

Floats = NDArray[np.float64]


def ratio(top: Floats, bottom: Floats) -> Floats:
    """Return `top` / `bottom`, NaN where `bottom` is not above 0: there a metric is not defined."""
    defined = bottom > 0
    return np.asarray(np.where(defined, top / np.where(defined, bottom, 1), np.nan), dtype=np.float64)


@dataclass(frozen=True)
class Fact:
    """One true or extracted lesion at one of the (site, side) combinations."""

    site: str
    side: str | None
    size_mm: float | None = None
    suv_max: float | None = None


@dataclass(frozen=True)
class LesionList:
    """Lesions that came with a record; None where their extraction failed, which is never "no lesions"."""

    lesions: Lesions | None


class Said(str):
    """A text that came with its lesions: metrics of words see the text, those of lesions the list.

    Attributes
    ----------
    given
        The list; what the text says counts for nothing beside it.
    """

    given: LesionList

    def __new__(cls, text: str, given: LesionList) -> Said:
        """Join a text and its lesions."""
        said = super().__new__(cls, text)
        said.given = given
        return said


@dataclass(frozen=True)
class Item:
    """One sample to score.

    Attributes
    ----------
    id, patient, group, system
        Who it is; `group` is what it is compared within (the region).
    reference
        Right text, None when there is none.
    hypothesis
        Text to judge; empty when it failed or is missing.
    truth
        True lesions, None when they are only known through the reference.
    task
        What was asked for: report, vqa, compare; None where the record does not say.
    question
        Text of a question, of visual question answering.
    asked
        What the record itself says of the question: its kind, the right answer, the unit.
    reference_lesions, hypothesis_lesions
        Lesions that came with the record in place of those that the texts state; None where none came.
    """

    id: str
    patient: str
    group: str
    system: str | None
    reference: str | None
    hypothesis: str
    truth: tuple[Fact, ...] | None = None
    task: str | None = None
    question: str | None = None
    asked: Mapping[str, Any] | None = None
    reference_lesions: LesionList | None = None
    hypothesis_lesions: LesionList | None = None

    @property
    def asks(self) -> bool:
        """Whether it is a question rather than a report."""
        return self.asked is not None or bool(self.question)

    @property
    def is_report(self) -> bool:
        """Whether its text is to tell all lesions: what the answer to a question leaves out is no omission."""
        return self.task != "vqa" and (self.task is not None or self.asked is None)

    @property
    def answer(self) -> str:
        """The hypothesis, with its lesions where they came with it."""
        return Said(self.hypothesis, self.hypothesis_lesions) if self.hypothesis_lesions else self.hypothesis

    @property
    def right_answer(self) -> str | None:
        """The reference as a hypothesis, with its lesions where they came with it."""
        return Said(self.reference or "", self.reference_lesions) if self.reference_lesions else self.reference


@dataclass(frozen=True)
class FamilyControl:
    """A null control that only one family has, such as naming the most frequent site.

    Attributes
    ----------
    name
        Name of the control in the records.
    metrics
        The metrics that it is of.
    rows
        Sums of shape (items, columns) in place of the system's own; None for a control with nothing to resample.
    values
        Without `rows`: value by metric, NaN where it is not defined.
    note
        What its signature adds.
    """

    name: str
    metrics: tuple[str, ...]
    rows: Floats | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Part:
    """Scores on a part of the data that is no group of samples, such as the lesions of one organ.

    Attributes
    ----------
    group
        Its name in the records, ``organ:liver``.
    metrics
        The metrics that it is of.
    chosen
        Indices of the items that have anything to do with it.
    rows
        Their sums, shape (chosen, columns).
    """

    group: str
    metrics: tuple[str, ...]
    chosen: tuple[int, ...]
    rows: Floats


class Family(ABC):
    """Metrics computed together: samples become a row of sums each, and added sums become the values of the metrics."""

    wanted: tuple[str, ...]

    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics asked for."""
        return self.wanted

    def applicable(self, items: Sequence[Item]) -> tuple[str, ...]:
        """Return those of its metrics that `items` hold anything for; the default sets leave out the others."""
        return self.wanted

    @abstractmethod
    def rows(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Floats:
        """Return sums of shape (items, columns) for `hypotheses` in place of the items' own."""

    @abstractmethod
    def value(self, metric: str, sums: Floats) -> Floats:
        """Return `metric` of sums (..., columns); NaN where it is not defined. One row scores one sample."""

    @abstractmethod
    def size(self, metric: str, sums: Floats) -> float:
        """Return what the metric is over: samples, or matched lesions; of a mean over several orders, their mean."""

    @abstractmethod
    def signature(self, metric: str, sums: Floats) -> str:
        """Return every choice that someone needs to compute the same number; `sums` as for `size`."""

    def counts(self, metric: str, sums: Floats) -> dict[str, float]:
        """Return what stands behind the value."""
        return {}

    def higher_is_better(self, metric: str) -> bool:
        """Say which way is up."""
        return True

    def parts(self, items: Sequence[Item], hypotheses: Sequence[str]) -> Iterator[Part]:
        """Yield the parts of the data that only this family tells apart, such as organs."""
        yield from ()

    def controls(self, items: Sequence[Item]) -> Iterator[FamilyControl]:
        """Yield the null controls that only this family has."""
        yield from ()

    def detail(self, item: Item, hypothesis: str) -> dict[str, Any]:
        """Return what a person needs to check one sample's scores, as JSON: lesions with their spans, say."""
        return {}
