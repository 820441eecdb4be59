"""``score``: hypotheses against references, with null controls and confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli import __version__
from petct_cli.core.errors import InputError, UsageError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.provenance import entry
from petct_cli.core.records import AnyRecord, ProvenanceEntry, Record, Sample
from petct_cli.core.records import Score as ScoreRecord
from petct_cli.stages.score_input import Fields, SystemInput, read_items

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, FamilyControl, Item
    from petct_cli.metrics.statistics import Floats

_DIGITS = 6


@dataclass(frozen=True)
class Spelling:
    """Which spelling differences count as none (`petct_cli.report.normalise.Canonical`)."""

    unicode: bool = True
    tone: bool = True
    case: bool = True
    decimal: bool = True


@dataclass(frozen=True)
class Score:
    """Score any records that hold a reference and a hypothesis.

    Parameters
    ----------
    metrics
        Names of `petct_cli.metrics.registry`; empty for those of the preset.
    preset
        ``vi`` (right for Vietnamese) or ``vimed`` (the published recipe, as it is).
    spelling
        Switches of the canonical form, for ``vi``.
    fields
        Where the records keep what is scored.
    system
        Name of the system for records that do not say theirs.
    controls
        Whether to score the null controls too.
    resamples
        Of the bootstrap over patients and of the paired test; 0 for neither.
    seed
        Of resampling and shuffling.
    vqa_tolerance
        Share of the right number by which a numeric answer may be off.

    Emits one record per metric over everything, one per metric and group, and one per metric and control.
    """

    metrics: tuple[str, ...] = ()
    preset: str = "vi"
    spelling: Spelling = field(default_factory=Spelling)
    fields: Fields = field(default_factory=Fields)
    system: str | None = None
    controls: bool = True
    resamples: int = 1000
    seed: int = 0
    vqa_tolerance: float = 0.1

    name: ClassVar[str] = "score"
    version: ClassVar[str] = "1"
    consumes: ClassVar[tuple[type[Record], ...]] = (AnyRecord, Sample)

    def __post_init__(self) -> None:
        from petct_cli.metrics.registry import PRESETS, unknown_metrics

        if self.preset not in PRESETS:
            raise UsageError("unknown_preset", f"--preset takes {', '.join(PRESETS)}")
        unknown = unknown_metrics(self.metrics, self.preset)
        if unknown:
            known = ", ".join(PRESETS[self.preset].metrics)
            raise UsageError("unknown_metric", f"no such metric in preset {self.preset}: {', '.join(unknown)}", known)

    def collect(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the scores of every system, in the order in which the systems appear.

        Raises
        ------
        InputError
            ``nothing_to_score`` when no record has a reference or true lesions.
        """
        systems = read_items(records, self.fields, self.system)
        if not any(system.items for system in systems.values()):
            raise InputError(
                "nothing_to_score",
                f"no record has a {self.fields.reference} or lesions",
                "name the fields with --reference-field and --hypothesis-field",
            )
        for name, system in systems.items():
            if system.items:
                yield from self._score_system(name, system)

    def _score_system(self, name: str | None, system: SystemInput) -> Iterator[ScoreRecord]:
        inputs = [[item.id, item.patient, item.group, item.reference, item.hypothesis] for item in system.items]
        emit = _Emitter(self, name, system, entry(self.name, self.version, self._options(), [sha256_json(inputs)]))
        own = [item.hypothesis for item in system.items]
        families = [(family, family.rows(system.items, own)) for family in self._families(system.items)]
        for family, rows in families:
            yield from emit.scores(family, rows, own=True)
        groups = list(dict.fromkeys(item.group for item in system.items))
        if len(groups) > 1:
            for group in groups:
                chosen = [index for index, item in enumerate(system.items) if item.group == group]
                for family, rows in families:
                    yield from emit.scores(family, rows, group=group, chosen=chosen)
        if self.controls:
            yield from self._controls(emit, system.items, families)

    def _controls(
        self, emit: _Emitter, items: Sequence[Item], families: Sequence[tuple[Family, Floats]]
    ) -> Iterator[ScoreRecord]:
        from petct_cli.metrics.controls import exchange, taken_from, templates

        partner = exchange(items, self.seed)
        alone = float(sum(index is None for index in partner))
        texts = {
            "template": templates(items),
            "other_patient": taken_from(partner, [item.reference for item in items]),
            "shuffled": taken_from(partner, [item.hypothesis for item in items]),
            "self": [item.reference or "" for item in items],
        }
        for control, hypotheses in texts.items():
            for family, true_rows in families:
                rows = family.rows(items, hypotheses)
                against = true_rows if control == "shuffled" else None
                extra = {"without_partner": alone} if control in ("other_patient", "shuffled") else {}
                yield from emit.scores(family, rows, control=control, true_rows=against, extra=extra)
        for family, _ in families:
            for own in family.controls(items):
                yield from emit.family_control(family, own)

    def _families(self, items: Sequence[Item]) -> list[Family]:
        """Return the families asked for; of the default ones those that `items` hold anything for."""
        from petct_cli.metrics.registry import MetricOptions, build_families
        from petct_cli.report.normalise import Canonical

        options = MetricOptions(Canonical(**asdict(self.spelling)), self.vqa_tolerance)
        families = build_families(self.metrics, self.preset, options)
        if self.metrics:
            return families
        return build_families([name for one in families for name in one.applicable(items)], self.preset, options)

    def _options(self) -> dict[str, Any]:
        from petct_cli.metrics.registry import PRESETS

        return {**asdict(self), "metrics": list(self.metrics or PRESETS[self.preset].default)}


@dataclass(frozen=True)
class _Emitter:
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
        note: str = "",
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
                family,
                metric,
                found,
                family.size(metric, sums),
                interval,
                counts,
                sums,
                group=group,
                control=control,
                note=note,
            )

    def family_control(self, family: Family, control: FamilyControl) -> Iterator[ScoreRecord]:
        """Yield the scores of a control that only `family` has."""
        if control.rows is not None:
            yield from self.scores(family, control.rows, control=control.name, only=control.metrics, note=control.note)
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
            "value": None if undefined else _rounded(value),
            "n": n,
            "higher_is_better": family.higher_is_better(metric),
            "signature": f"{signature}|petct:{__version__}",
            "provenance": [self.stamp],
            **{key: name for key, name in names.items() if name},
        }
        if interval is not None and not undefined:
            fields["ci95"] = [_rounded(bound) for bound in interval]
        if counts:
            fields["counts"] = {name: _rounded(number) for name, number in counts.items()}
        return ScoreRecord(**fields)


def _rounded(value: float) -> float:
    # Sums may differ in the last bits between machines; six decimals do not.
    return round(float(value), _DIGITS) + 0.0
