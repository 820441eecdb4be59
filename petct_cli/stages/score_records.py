"""Turns sums of samples into score records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from petct_cli import __version__
from petct_cli.core.records import ProvenanceEntry
from petct_cli.core.score_records import Comparison
from petct_cli.core.score_records import Score as ScoreRecord
from petct_cli.metrics.statistics import Floats, Resampler, counted, holm, interval, p_value, sum_by_unit

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, FamilyControl, Item

_DIGITS = 6
Indices = NDArray[np.intp]


def rounded(value: float) -> float:
    """Return `value` as records show it."""
    # Sums may differ in the last bits between machines; six decimals do not.
    return round(float(value), _DIGITS) + 0.0


@dataclass(frozen=True)
class Patients:
    """Which item belongs to which patient, in an order that does not depend on that of the items."""

    order: Indices
    place: Indices
    patient: Indices

    @classmethod
    def of(cls, items: Sequence[Item]) -> Patients:
        """Number the patients of `items` by name."""
        names = {name: number for number, name in enumerate(sorted({item.patient for item in items}))}
        ordered = sorted(range(len(items)), key=lambda index: (items[index].patient, items[index].id))
        order = np.array(ordered, dtype=np.intp)
        return cls(order, np.argsort(order), np.array([names[item.patient] for item in items], dtype=np.intp))

    def sums(self, rows: Floats, chosen: Sequence[int] | None = None) -> Floats:
        """Return `rows` (items, columns) added up by patient, of the `chosen` items only where there are some."""
        order = self.order if chosen is None else self.order[np.sort(self.place[np.asarray(chosen, dtype=np.intp)])]
        return sum_by_unit(rows[order], self.patient[order])


@dataclass(frozen=True)
class Emitter:
    """Turns rows of one system into score records.

    Attributes
    ----------
    system
        Its name, None for the only one.
    stamp
        The records' provenance.
    patients
        Of the items that the rows are of.
    """

    system: str | None
    stamp: ProvenanceEntry
    patients: Patients
    resampler: Resampler

    def scores(
        self,
        family: Family,
        rows: Floats,
        *,
        group: str | None = None,
        control: str | None = None,
        chosen: Sequence[int] | None = None,
        true_rows: Floats | None = None,
        only: Sequence[str] = (),
        extra: Mapping[str, float] | None = None,
        note: str = "",
    ) -> Iterator[ScoreRecord]:
        """Yield a record per metric of `family`; with `true_rows` also what they gain over `rows`."""
        by_patient = self.patients.sums(rows, chosen)
        sums = by_patient.sum(0)
        drawn = self.resampler.sums(counted(by_patient))
        gains = {} if true_rows is None else self._gains(family, self.patients.sums(true_rows, chosen), by_patient)
        for metric in only or family.metrics():
            value = float(family.value(metric, sums))
            n = _whole(family.size(metric, sums))
            counts = {**family.counts(metric, sums), **(extra or {}), **gains.get(metric, {})}
            ci95 = None if drawn is None else interval(family.value(metric, drawn))
            notes = [note] * bool(note) + [_test(self.resampler)] * ("p_value" in counts)
            signature = "|".join([family.signature(metric, sums), *notes])
            yield self._record(family, metric, value, n, ci95, counts, signature, group=group, control=control)

    def _gains(self, family: Family, true: Floats, other: Floats) -> dict[str, dict[str, float]]:
        """Return by metric what the true order gains over another one, and how likely that is by chance."""
        pair = _exchanged(self.resampler, true, other)
        gains: dict[str, dict[str, float]] = {}
        for metric in family.metrics():
            signal = float(family.value(metric, true.sum(0))) - float(family.value(metric, other.sum(0)))
            chance = None if pair is None else _chance(family, metric, signal, pair)
            gains[metric] = {} if math.isnan(signal) else {"image_signal": signal}
            gains[metric] |= {} if chance is None else {"p_value": chance}
        return gains

    def family_control(self, family: Family, control: FamilyControl, own: Floats, within: str) -> Iterator[ScoreRecord]:
        """Yield the scores of a control that only `family` has; `own` are the system's own rows.

        `within` names the groups that the control knows of.
        """
        note = f"{control.note}|{within}" if control.note else within
        if control.rows is not None:
            yield from self.scores(family, control.rows, control=control.name, only=control.metrics, note=note)
            return
        for metric, value in control.values.items():
            signature = f"{family.signature(metric, own.sum(0))}|{note}"
            n = len(own) if math.isfinite(value) else 0
            yield self._record(family, metric, value, n, None, {}, signature, control=control.name)

    def _record(
        self,
        family: Family,
        metric: str,
        value: float,
        n: int,
        ci95: tuple[float, float] | None,
        counts: Mapping[str, float],
        signature: str,
        *,
        group: str | None = None,
        control: str | None = None,
    ) -> ScoreRecord:
        """Build the record; an undefined value is null with n 0."""
        names = {"system": self.system, "group": group, "control": control}
        defined = math.isfinite(value)
        fields: dict[str, Any] = {
            "id": "/".join([metric, *(str(name) for name in names.values() if name)]),
            "metric": metric,
            "value": rounded(value) if defined else None,
            "n": n if defined else 0,
            "higher_is_better": family.higher_is_better(metric),
            "signature": _signature(signature, self.resampler if ci95 is not None else None),
            "provenance": [self.stamp],
            **{key: name for key, name in names.items() if name},
        }
        if ci95 is not None and defined:
            fields["ci95"] = [rounded(bound) for bound in ci95]
        if counts:
            fields["counts"] = {name: rounded(number) for name, number in counts.items()}
        return ScoreRecord(**fields)


def _test(resampler: Resampler) -> str:
    return f"test:paired-randomisation-{resampler.unit}-{resampler.resamples}"


def _whole(size: float) -> int:
    """Return how much a metric is over; in a mean over several orders, what there is any of, there is one of."""
    return math.ceil(round(size, _DIGITS))


def _signature(signature: str, resampler: Resampler | None) -> str:
    if resampler is not None:
        signature += f"|ci:bootstrap-{resampler.unit}-{resampler.resamples}|seed:{resampler.seed}"
    return f"{signature}|petct:{__version__}"


def _exchanged(resampler: Resampler, one: Floats, other: Floats) -> tuple[Floats, Floats] | None:
    there = np.any((one != 0) | (other != 0), axis=1)
    return resampler.exchanged(one[there], other[there])


def _chance(family: Family, metric: str, observed: float, pair: tuple[Floats, Floats]) -> float | None:
    return p_value(observed, family.value(metric, pair[0]) - family.value(metric, pair[1]))


@dataclass(frozen=True)
class Paired:
    """Two systems on their common samples: for each, the sums (patients, columns) of one family in the same order."""

    system: str
    against: str
    sums: Floats
    sums_against: Floats


def comparisons(
    family: Family, pairs: Sequence[Paired], resampler: Resampler, stamp: ProvenanceEntry
) -> Iterator[Comparison]:
    """Yield each metric's differences between the systems of each pair, corrected for the number of pairs."""
    exchanged = [_exchanged(resampler, pair.sums, pair.sums_against) for pair in pairs]
    drawn = [resampler.sums(counted(np.hstack([pair.sums, pair.sums_against]))) for pair in pairs]
    for metric in family.metrics():
        differences = [
            float(family.value(metric, pair.sums.sum(0))) - float(family.value(metric, pair.sums_against.sum(0)))
            for pair in pairs
        ]
        chances = [
            None if both is None else _chance(family, metric, difference, both)
            for difference, both in zip(differences, exchanged, strict=True)
        ]
        tested = [index for index, chance in enumerate(chances) if chance is not None]
        adjusted = dict(zip(tested, holm([chances[index] or 0.0 for index in tested]), strict=True))
        for index, (pair, difference) in enumerate(zip(pairs, differences, strict=True)):
            columns = pair.sums.shape[1]
            sides = drawn[index]
            ci95 = None
            if sides is not None:
                ci95 = interval(family.value(metric, sides[:, :columns]) - family.value(metric, sides[:, columns:]))
            defined = math.isfinite(difference)
            sums = pair.sums.sum(0)
            signature = family.signature(metric, sums)
            fields: dict[str, Any] = {
                "id": f"{metric}/{pair.system}/{pair.against}",
                "metric": metric,
                "system": pair.system,
                "against": pair.against,
                "difference": rounded(difference) if defined else None,
                "n": _whole(family.size(metric, sums)) if defined else 0,
                "higher_is_better": family.higher_is_better(metric),
                "provenance": [stamp],
            }
            if ci95 is not None and defined:
                fields["ci95"] = [rounded(bound) for bound in ci95]
            if index in adjusted:
                fields |= {"p_value": rounded(chances[index] or 0.0), "p_adjusted": rounded(adjusted[index])}
                signature += f"|{_test(resampler)}|correction:holm-{len(tested)}"
            yield Comparison(**fields, signature=_signature(signature, resampler if "ci95" in fields else None))
