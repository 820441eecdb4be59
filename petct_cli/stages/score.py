"""``score``: hypotheses against references, with null controls and confidence intervals."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli.core.errors import InputError, OutputError, UsageError
from petct_cli.core.records import AnyRecord, Record, Sample
from petct_cli.core.score_records import Comparison
from petct_cli.core.score_records import Score as ScoreRecord
from petct_cli.stages.score_clinical import Clinical
from petct_cli.stages.score_input import Fields, read_items
from petct_cli.stages.score_log import LogFile, summary
from petct_cli.stages.score_run import ScoreRun, score_run
from petct_cli.stages.score_wording import Wording

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, Item

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """Score any records that hold a reference and a hypothesis.

    Parameters
    ----------
    metrics
        Names of `petct_cli.metrics.registry`; empty for those of the preset.
    preset
        ``vi`` (right for Vietnamese) or ``vimed`` (the published recipe, as it is).
    wording
        How texts are compared, for ``vi``.
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
    clinical
        Of the clinical metrics.
    per_sample
        Whether to emit a record for each sample first.
    html
        Where to write a page for a person (`petct_cli.stages.score_page`), None for none.
    append
        File that gets one line per run (`petct_cli.stages.score_log`), None for none.
    jobs
        Processes that read lesions in texts.

    Emits one record per metric over everything, one per metric and group, and one per metric and control.
    """

    metrics: tuple[str, ...] = ()
    preset: str = "vi"
    wording: Wording = field(default_factory=Wording)
    fields: Fields = field(default_factory=Fields)
    system: str | None = None
    controls: bool = True
    resamples: int = 1000
    seed: int = 0
    vqa_tolerance: float = 0.1
    clinical: Clinical = field(default_factory=Clinical)
    per_sample: bool = False
    html: Path | None = None
    append: Path | None = None
    jobs: int = 1

    name: ClassVar[str] = "score"
    version: ClassVar[str] = "2"
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
        log = None if self.append is None else LogFile(self.append)
        if self.html is not None:
            from petct_cli.core.store import refuse_unwritable

            refuse_unwritable(self.html)
        run = self.run(records)
        if self.per_sample:
            yield from run.samples()
        scores: Iterable[ScoreRecord | Comparison] = run.scores()
        if self.html is not None:
            scores = list(scores)
            try:
                self._write_page(self.html, run, scores)
            except OutputError:
                yield from scores  # what was computed is not lost with the page
                raise
        if log is None:
            yield from scores
            return
        seen = []
        for score in scores:
            yield score
            seen.append(score)
        # Only now: a run that was cut off is none.
        log.add(summary(run, seen))

    @staticmethod
    def _write_page(path: Path, run: ScoreRun, scores: Sequence[ScoreRecord | Comparison]) -> None:
        from petct_cli.core.store import write_atomically
        from petct_cli.stages.score_page import score_page

        write_atomically(path, score_page(run.systems, scores))

    def run(self, records: Iterable[Record]) -> ScoreRun:
        """Read all `records` and return the systems in them; scores are computed when they are asked for.

        Raises
        ------
        InputError
            ``nothing_to_score`` as for `collect`.
        """
        if any(name.startswith("bertscore") for name in self.metrics):
            self.wording.encoder()  # whoever writes the records may take hours: what is wrong is said before
        systems = read_items(records, self.fields, self.system)
        if not any(system.items for system in systems.values()):
            raise InputError(
                "nothing_to_score",
                f"no record has a {self.fields.reference} or lesions",
                "name the fields with --reference-field and --hypothesis-field",
            )
        if all(status == "missing" for system in systems.values() for _, status in system.read):
            _log.warning(
                "no record has a %s: every hypothesis counts as missing (is it in another field? --hypothesis-field)",
                self.fields.hypothesis,
            )
        return score_run(self, systems)

    def families(self, items: Sequence[Item]) -> list[Family]:
        """Return the metrics asked for, ready to compute; of the default ones those that `items` hold anything for."""
        from petct_cli.metrics.registry import MetricOptions, build_families

        clinical = self.clinical.options(self.jobs) if self.clinical != Clinical() or self.jobs > 1 else None
        options = MetricOptions(self.wording.splitter(), self.vqa_tolerance, clinical, self.wording.encoder, self.jobs)
        families = build_families(self.metrics, self.preset, options)
        if self.metrics:
            return families
        return build_families([name for one in families for name in one.applicable(items)], self.preset, options)

    def content_options(self) -> dict[str, Any]:
        """Return the options that change scores, for the records' provenance."""
        from petct_cli.metrics.registry import PRESETS

        kept = {
            name: value for name, value in vars(self).items() if name not in ("per_sample", "html", "append", "jobs")
        }
        metrics = list(self.metrics or PRESETS[self.preset].default)
        texts = {"wording": self.wording.content(), "fields": asdict(self.fields)}
        return {**kept, **texts, "metrics": metrics, "clinical": self.clinical.content()}
