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
    from petct_cli.metrics.families import Family, Item
    from petct_cli.metrics.lesion_sites import SiteFamily
    from petct_cli.metrics.statistics import Floats

TEXT_METRICS = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge1", "rouge2", "rougeL")
SITE_METRICS = ("site_f1", "size_mae_mm", "size_r", "suv_mae", "suv_r")
PRESETS = {"vi": ("bleu4", "rouge1", "rougeL", *SITE_METRICS), "vimed": ("bleu4", "rouge1", "rougeL")}
KNOWN = {"vi": (*TEXT_METRICS, *SITE_METRICS), "vimed": (*PRESETS["vimed"], *SITE_METRICS)}
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
        Names of `KNOWN`; empty for those of the preset.
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

    name: ClassVar[str] = "score"
    version: ClassVar[str] = "1"
    consumes: ClassVar[tuple[type[Record], ...]] = (AnyRecord, Sample)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError("unknown_preset", f"--preset takes {', '.join(PRESETS)}")
        unknown = [name for name in self.metrics if name not in KNOWN[self.preset]]
        if unknown:
            known = ", ".join(KNOWN[self.preset])
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
        families = [(family, family.rows(system.items, own)) for family in self._families()]
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
            if "site_f1" in family.metrics():
                yield from emit.site_controls(family)  # type: ignore[arg-type]

    def _families(self) -> list[Family]:
        """Return the families of the metrics asked for; nothing else is imported."""
        wanted = self.metrics or PRESETS[self.preset]
        text = tuple(name for name in wanted if name in TEXT_METRICS)
        sites = tuple(name for name in wanted if name in SITE_METRICS)
        families: list[Family] = []
        if text:
            from petct_cli.metrics.families import TextFamily, VimedFamily
            from petct_cli.report.normalise import Canonical

            vimed = self.preset == "vimed"
            families.append(VimedFamily(text) if vimed else TextFamily(text, Canonical(**asdict(self.spelling))))
        if sites:
            from petct_cli.metrics.lesion_sites import SiteFamily

            families.append(SiteFamily(sites))
        return families

    def _options(self) -> dict[str, Any]:
        options = asdict(self)
        return {**options, "metrics": list(self.metrics or PRESETS[self.preset])}


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
        for metric in family.metrics():

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
                family, metric, found, family.size(metric, sums), interval, counts, group=group, control=control
            )

    def site_controls(self, family: SiteFamily) -> Iterator[ScoreRecord]:
        """Yield the chance level, and the score of always naming the most frequent site."""
        from petct_cli.metrics.controls import most_frequent_site
        from petct_cli.metrics.lesion_sites import chance_f1, true_facts

        items = self.input.items
        chance = chance_f1(items)
        note = "chance:sum_p2/sum_p|by:group"
        value = math.nan if chance is None else chance
        n = len(items) if chance is not None else 0
        yield self.record(family, "site_f1", value, n, None, {}, control="chance", note=note)
        rows = family.rows_of_facts(items, most_frequent_site(items, true_facts))
        only = type(family)(("site_f1",))
        yield from self.scores(only, rows, control="frequent_site")

    def record(
        self,
        family: Family,
        metric: str,
        value: float,
        n: int,
        interval: tuple[float, float] | None,
        counts: Mapping[str, float],
        *,
        group: str | None = None,
        control: str | None = None,
        note: str = "",
    ) -> ScoreRecord:
        """Build the record; an undefined value is null with n 0."""
        undefined = not math.isfinite(value)
        signature = family.signature(metric)
        if metric in SITE_METRICS:
            known = {item.truth is not None for item in self.input.items}
            signature += "|truth:" + ("mixed" if len(known) > 1 else "lesions" if True in known else "reference")
        if note:
            signature += f"|{note}"
        if interval is not None:
            signature += f"|ci:bootstrap-patients-{self.options.resamples}|seed:{self.options.seed}"
        names = {"system": self.system, "group": group, "control": control}
        fields: dict[str, Any] = {
            "id": "/".join([metric, *(str(name) for name in names.values() if name)]),
            "metric": metric,
            "value": None if undefined else _rounded(value),
            "n": 0 if undefined and metric == "site_f1" else n,
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
