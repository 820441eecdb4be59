"""Turns sums of samples into score records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from petct_cli import __version__
from petct_cli.core.records import ProvenanceEntry
from petct_cli.core.records import Score as ScoreRecord
from petct_cli.stages.score_input import SystemInput

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, FamilyControl, Floats
    from petct_cli.stages.score import Score

_DIGITS = 6


@dataclass(frozen=True)
class Emitter:
    """Turns rows of one system into score records."""

    options: Score
    system: str | None
    input: SystemInput
    stamp: ProvenanceEntry

    def scores(
        self,
        family: Family,
        rows: Floats,
        *,
        own: bool = False,
        group: str | None = None,
        control: str | None = None,
        chosen: Sequence[int] | None = None,
        true_rows: Floats | None = None,
        only: Sequence[str] = (),
        extra: Mapping[str, float] | None = None,
    ) -> Iterator[ScoreRecord]:
        """Yield a record per metric of `family`; with `true_rows` also what they gain over `rows`."""
        from petct_cli.metrics.statistics import bootstrap_ci, paired_p_value, sum_by_unit

        options = self.options
        patients = [item.patient for item in self.input.items]
        if chosen is not None:
            rows, patients = rows[chosen], [patients[index] for index in chosen]
        by_patient = sum_by_unit(rows, patients)
        sums = by_patient.sum(0)
        for metric in only or family.metrics():

            def value(sums: Floats, metric: str = metric) -> Floats:
                return family.value(metric, sums)

            found = float(value(sums))
            counts = {**family.counts(metric, sums), **(extra or {})}
            if own:
                counts |= {name: float(number) for name, number in sorted(self.input.faults.items())}
            if true_rows is not None:
                true = sum_by_unit(true_rows, patients)
                signal = float(value(true.sum(0))) - found
                p_value = paired_p_value(true, by_patient, value, options.resamples, options.seed)
                counts |= {} if math.isnan(signal) else {"image_signal": signal}
                counts |= {} if p_value is None else {"p_value": p_value}
            interval = bootstrap_ci(by_patient, value, options.resamples, options.seed)
            yield self.record(
                family, metric, found, family.size(metric, sums), interval, counts, sums, group=group, control=control
            )

    def family_control(self, family: Family, control: FamilyControl) -> Iterator[ScoreRecord]:
        """Yield the scores of a control that only `family` has."""
        if control.rows is not None:
            yield from self.scores(family, control.rows, control=control.name, only=control.metrics)
            return
        sums = family.rows(self.input.items, [item.hypothesis for item in self.input.items]).sum(0)
        for metric, value in control.values.items():
            n = len(self.input.items) if math.isfinite(value) else 0
            yield self.record(family, metric, value, n, None, {}, sums, control=control.name, note=control.note)

    def record(
        self,
        family: Family,
        metric: str,
        value: float,
        n: int,
        interval: tuple[float, float] | None,
        counts: Mapping[str, float],
        sums: Floats,
        *,
        group: str | None = None,
        control: str | None = None,
        note: str = "",
    ) -> ScoreRecord:
        """Build the record; an undefined value is null with n 0."""
        undefined = not math.isfinite(value)
        signature = family.signature(metric, sums)
        if note:
            signature += f"|{note}"
        if interval is not None:
            signature += f"|ci:bootstrap-patients-{self.options.resamples}|seed:{self.options.seed}"
        names = {"system": self.system, "group": group, "control": control}
        fields: dict[str, Any] = {
            "id": "/".join([metric, *(str(name) for name in names.values() if name)]),
            "metric": metric,
            "value": None if undefined else rounded(value),
            "n": n,
            "higher_is_better": family.higher_is_better(metric),
            "signature": f"{signature}|petct:{__version__}",
            "provenance": [self.stamp],
            **{key: name for key, name in names.items() if name},
        }
        if interval is not None and not undefined:
            fields["ci95"] = [rounded(bound) for bound in interval]
        if counts:
            fields["counts"] = {name: rounded(number) for name, number in counts.items()}
        return ScoreRecord(**fields)


def rounded(value: float) -> float:
    """Return `value` as records show it."""
    # Sums may differ in the last bits between machines; six decimals do not.
    return round(float(value), _DIGITS) + 0.0
