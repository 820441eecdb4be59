"""What ``score`` found, for whoever wants more than records: systems, samples, values per sample, scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from petct_cli.core.hashing import sha256_json
from petct_cli.core.provenance import entry
from petct_cli.core.records import ProvenanceEntry
from petct_cli.core.score_records import Comparison, SampleScore
from petct_cli.core.score_records import Score as ScoreRecord
from petct_cli.metrics.statistics import Floats, Resampler
from petct_cli.stages.score_input import SystemInput, listed, with_promised_lesions
from petct_cli.stages.score_pairs import completed, pairings
from petct_cli.stages.score_records import Emitter, Paired, Patients, comparisons, rounded

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, Item
    from petct_cli.stages.score import Score


@dataclass(frozen=True)
class ScoredSystem:
    """One system: what was read of it, and what each family of metrics makes of each sample.

    Attributes
    ----------
    name
        None when there is only one and nobody named it.
    input
        Its samples with their texts and statuses.
    families
        The metrics, as `petct_cli.metrics.registry` built them.
    stamp
        What its records say of where they are from.
    """

    name: str | None
    input: SystemInput
    families: tuple[Family, ...]
    stamp: ProvenanceEntry
    _rows: dict[int, Floats] = field(default_factory=dict, repr=False)

    def rows(self, family: Family) -> Floats:
        """Return the sums (items, columns) of `family` for the system's own hypotheses; computed once."""
        place = next(place for place, known in enumerate(self.families) if known is family)
        if place not in self._rows:
            self._rows[place] = family.rows(self.input.items, [item.answer for item in self.input.items])
        return self._rows[place]

    @cached_property
    def patients(self) -> Patients:
        """Which item is of which patient."""
        return Patients.of(self.input.items)

    @cached_property
    def truth_sha256(self) -> str:
        """Hash of everything but the hypotheses: systems that have it in common share the controls made from truth."""
        return sha256_json([_truth_of(item) for item in self.input.items])

    def samples(self) -> Iterator[SampleScore]:
        """Yield a record for each sample read, in input order."""
        values = {
            metric: family.value(metric, self.rows(family)).tolist()
            for family in self.families
            for metric in family.metrics()
        }
        place = 0
        for item, status in self.input.read:
            scored = status != "without_truth"
            scores = {metric: _value(of_all[place]) if scored else None for metric, of_all in values.items()}
            detail = {
                key: found
                for family in (self.families if scored else ())
                for key, found in family.detail(item, item.answer).items()
            }
            place += scored
            named: dict[str, Any] = {"system": self.name, "task": item.task, "detail": detail}
            yield SampleScore(
                id=item.id,
                patient=item.patient,
                group=item.group,
                status=status,
                scores=scores,
                provenance=[self.stamp],
                **{key: value for key, value in named.items() if value},
            )


def _value(found: float) -> float | None:
    return rounded(found) if math.isfinite(found) else None


def _truth_of(item: Item) -> list[Any]:
    lesions = None if item.truth is None else [list(vars(fact).values()) for fact in item.truth]
    given = listed(item.reference_lesions)
    asked = [item.task, item.question, item.asked]
    return [item.id, item.patient, item.group, item.reference, lesions, given, *asked]


@dataclass(frozen=True)
class ScoreRun:
    """Every system that was read, and how to score it.

    Nothing is computed before it is asked for: the first of `scores` costs one family of metrics on one system.
    """

    options: Score
    systems: tuple[ScoredSystem, ...]
    _shared: dict[tuple[str, str, int], tuple[Floats, float]] = field(default_factory=dict, repr=False)

    @cached_property
    def _resampler(self) -> Resampler:
        unit = self.options.fields.patient
        return Resampler(self.options.resamples, self.options.seed, "patients" if unit == "patient" else unit)

    def samples(self) -> Iterator[SampleScore]:
        """Yield the samples of all systems."""
        for system in self.systems:
            yield from system.samples()

    def scores(self) -> Iterator[ScoreRecord | Comparison]:
        """Yield the scores over everything, the differences between systems, the groups, then the controls."""
        for system in self.systems:
            faults = {name: float(number) for name, number in sorted(system.input.faults.items())}
            for family in system.families:
                yield from self._emitter(system).scores(family, system.rows(family), extra=faults)
        yield from self._comparisons()
        for system in self.systems:
            emit = self._emitter(system)
            for group, chosen in system.input.members():
                for family in system.families:
                    yield from emit.scores(family, system.rows(family), group=group, chosen=chosen)
            answers = [item.answer for item in system.input.items]
            for family in system.families:
                for part in family.parts(system.input.items, answers):
                    rows = np.zeros((len(answers), part.rows.shape[1]))
                    rows[list(part.chosen)] = part.rows
                    yield from emit.scores(family, rows, group=part.group, chosen=part.chosen, only=part.metrics)
        if self.options.controls:
            for system in self.systems:
                yield from self._controls(self._emitter(system), system)

    def _emitter(self, system: ScoredSystem) -> Emitter:
        return Emitter(system.name, system.stamp, system.patients, self._resampler)

    def _comparisons(self) -> Iterator[Comparison]:
        by_name = {system.name: system for system in self.systems}
        pairs = list(pairings({name: system.input for name, system in by_name.items()}))
        if not pairs:
            return
        compared = list(dict.fromkeys(name for pair in pairs for name in (pair.system, pair.against)))
        inputs = [by_name[name].stamp.inputs_sha256 for name in compared]
        stamp = entry(self.options.name, self.options.version, self.options.content_options(), inputs)
        for place, family in enumerate(self.systems[0].families):
            sums = []
            for pair in pairs:
                one, other = by_name[pair.system], by_name[pair.against]
                mine, theirs = one.rows(one.families[place]), other.rows(other.families[place])
                aligned = np.zeros_like(mine)
                aligned[list(pair.indices)] = theirs[list(pair.indices_against)]
                sums.append(
                    Paired(
                        *pair.names,
                        one.patients.sums(mine, pair.indices),
                        one.patients.sums(aligned, pair.indices),
                    )
                )
            yield from comparisons(family, sums, self._resampler, stamp)

    def _controls(self, emit: Emitter, system: ScoredSystem) -> Iterator[ScoreRecord]:
        from petct_cli.metrics.controls import FOLDS, exchange, shuffles, taken_from, templates
        from petct_cli.metrics.stock import STOCK_RULE, without_stock

        items = system.input.items
        orders = [exchange(items, self.options.seed, order) for order in range(shuffles(items))]
        alone = [index for index, other in enumerate(orders[0]) if other is None]
        within = f"within:{self.options.fields.groups()[0]}"
        drawn = f"seed:{self.options.seed}|{within}"
        notes = {
            "template": f"template:cross-fit-{FOLDS}-folds|{within}",
            "other_patient": f"partner-{drawn}",
            "self": "",
        }
        made_from_truth: dict[str, Callable[[], Sequence[str | None]]] = {
            "template": lambda: templates(items),
            "other_patient": lambda: taken_from(orders[0], [item.right_answer for item in items]),
            "self": lambda: [item.right_answer for item in items],
        }
        if len({item.patient for item in items if item.reference}) < 2:
            del made_from_truth["template"]  # one is made from other patients, of whom there are none
        for control, texts in made_from_truth.items():
            for place, (rows, without) in enumerate(self._rows_from_truth(system, control, texts)):
                extra = {lack: without} if (lack := _LACKING.get(control)) else None
                yield from emit.scores(system.families[place], rows, control=control, extra=extra, note=notes[control])
        partners = {"without_partner": float(len(alone))}
        hypotheses = [item.answer for item in items]
        for family in system.families:
            total = sum(family.rows(items, _no_text_for_none(taken_from(order, hypotheses))) for order in orders)
            shuffled, true = np.asarray(total) / len(orders), system.rows(family).copy()
            # Without another patient in its group a text has no order to lose: it stands on neither side.
            shuffled[alone], true[alone] = 0, 0
            yield from emit.scores(
                family,
                shuffled,
                control="shuffled",
                true_rows=true,
                extra=partners,
                note=f"shuffles:{len(orders)}|shuffle-{drawn}",
            )
        stock = without_stock(items)
        found = {
            "stock_sentences": float(stock.sentences),
            "stock_token_share": stock.share,
            "emptied_references": float(stock.emptied),
        }
        if stock.emptied or any(item.reference for item in stock.items):
            for family in system.families:
                if left := family.applicable(stock.items):
                    rows = family.rows(stock.items, stock.hypotheses)
                    yield from emit.scores(
                        family, rows, control="stock_removed", only=left, extra=found, note=STOCK_RULE
                    )
        for family in system.families:
            for own in family.controls(items):
                yield from emit.family_control(family, own, system.rows(family), within)

    def _rows_from_truth(
        self, system: ScoredSystem, control: str, texts: Callable[[], Sequence[str | None]]
    ) -> Iterator[tuple[Floats, float]]:
        """Yield each family's rows of a control that is the same for all systems on the same samples.

        With them comes for how many samples there is no text: these count on neither side.
        """
        hypotheses: Sequence[str | None] | None = None
        for place, family in enumerate(system.families):
            key = (system.truth_sha256, control, place)
            if key not in self._shared:
                hypotheses = texts() if hypotheses is None else hypotheses
                rows = family.rows(system.input.items, _no_text_for_none(hypotheses))
                without = [index for index, text in enumerate(hypotheses) if text is None]
                rows[without] = 0
                self._shared[key] = rows, float(len(without))
            yield self._shared[key]


# What a control says of the samples for which nobody else has a text.
_LACKING = {"template": "without_template", "other_patient": "without_partner"}


def _no_text_for_none(texts: Sequence[str | None]) -> list[str]:
    return ["" if text is None else text for text in texts]


def score_run(options: Score, systems: Mapping[str | None, SystemInput]) -> ScoreRun:
    """Return the systems with their families of metrics; nothing is computed yet."""
    filled = {name: with_promised_lesions(read) for name, read in completed(systems).items()}
    full = {name: read for name, read in filled.items() if read.items}
    # The same metrics for all, so that systems can be compared.
    families = tuple(options.families([item for read in full.values() for item in read.items]))
    return ScoreRun(options, tuple(_scored_system(options, name, read, families) for name, read in full.items()))


def _scored_system(options: Score, name: str | None, read: SystemInput, families: tuple[Family, ...]) -> ScoredSystem:
    inputs = [[*_truth_of(item), item.hypothesis, listed(item.hypothesis_lesions)] for item in read.items]
    stamp = entry(options.name, options.version, options.content_options(), [sha256_json(inputs)])
    return ScoredSystem(name, read, families, stamp)
