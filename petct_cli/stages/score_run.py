"""What ``score`` found, for whoever wants more than records: systems, samples, values per sample, scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from petct_cli.core.hashing import sha256_json
from petct_cli.core.provenance import entry
from petct_cli.core.records import ProvenanceEntry, SampleScore
from petct_cli.core.records import Score as ScoreRecord
from petct_cli.stages.score_input import SystemInput
from petct_cli.stages.score_records import Emitter, rounded

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, Floats
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
        if id(family) not in self._rows:
            self._rows[id(family)] = family.rows(self.input.items, [item.hypothesis for item in self.input.items])
        return self._rows[id(family)]

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
                for key, found in family.detail(item, item.hypothesis).items()
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


@dataclass(frozen=True)
class ScoreRun:
    """Every system that was read, and how to score it.

    Nothing is computed before it is asked for: the first of `scores` costs one family of metrics on one system.
    """

    options: Score
    systems: tuple[ScoredSystem, ...]

    def samples(self) -> Iterator[SampleScore]:
        """Yield the samples of all systems."""
        for system in self.systems:
            yield from system.samples()

    def scores(self) -> Iterator[ScoreRecord]:
        """Yield the scores: over everything, by group, then the controls, for one system after the other."""
        for system in self.systems:
            yield from self._of_system(system)

    def _of_system(self, system: ScoredSystem) -> Iterator[ScoreRecord]:
        emit = Emitter(self.options, system.name, system.input, system.stamp)
        for family in system.families:
            yield from emit.scores(family, system.rows(family), own=True)
        groups = list(dict.fromkeys(item.group for item in system.input.items))
        if len(groups) > 1:
            for group in groups:
                chosen = [index for index, item in enumerate(system.input.items) if item.group == group]
                for family in system.families:
                    yield from emit.scores(family, system.rows(family), group=group, chosen=chosen)
        if self.options.controls:
            yield from self._controls(emit, system)

    def _controls(self, emit: Emitter, system: ScoredSystem) -> Iterator[ScoreRecord]:
        from petct_cli.metrics.controls import exchange, taken_from, templates

        items = system.input.items
        partner = exchange(items, self.options.seed)
        alone = float(sum(index is None for index in partner))
        texts: Mapping[str, Sequence[str]] = {
            "template": templates(items),
            "other_patient": taken_from(partner, [item.reference for item in items]),
            "shuffled": taken_from(partner, [item.hypothesis for item in items]),
            "self": [item.reference or "" for item in items],
        }
        for control, hypotheses in texts.items():
            for family in system.families:
                rows = family.rows(items, hypotheses)
                against = system.rows(family) if control == "shuffled" else None
                extra = {"without_partner": alone} if control in ("other_patient", "shuffled") else {}
                yield from emit.scores(family, rows, control=control, true_rows=against, extra=extra)
        for family in system.families:
            for own in family.controls(items):
                yield from emit.family_control(family, own)


def scored_system(options: Score, name: str | None, read: SystemInput) -> ScoredSystem:
    """Return the system with its families of metrics, nothing computed yet."""
    inputs = [[item.id, item.patient, item.group, item.reference, item.hypothesis] for item in read.items]
    stamp = entry(options.name, options.version, options.content_options(), [sha256_json(inputs)])
    return ScoredSystem(name, read, tuple(options.families()), stamp)
