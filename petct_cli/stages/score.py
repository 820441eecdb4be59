"""``score``: hypotheses against references, with null controls and confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from petct_cli.core.errors import InputError, UsageError
from petct_cli.core.records import AnyRecord, Record, Sample
from petct_cli.stages.score_clinical import Clinical
from petct_cli.stages.score_input import Fields, read_items
from petct_cli.stages.score_log import LogFile, summary
from petct_cli.stages.score_run import ScoreRun, score_run

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, Item
    from petct_cli.model.text_encoder import TextEncoder
    from petct_cli.report.llm_lesions import EndpointExtractor


@dataclass(frozen=True)
class Spelling:
    """Which spelling differences count as none (`petct_cli.report.normalise.Canonical`)."""

    unicode: bool = True
    tone: bool = True
    case: bool = True
    decimal: bool = True

    @classmethod
    def except_for(cls, as_written: str) -> Spelling:
        """Return the spelling in which only what `as_written` names with commas makes a difference.

        Raises
        ------
        UsageError
            ``bad_option``.
        """
        kept = {name for name in as_written.split(",") if name}
        if not kept <= set(asdict(cls())):
            raise UsageError("bad_option", f"--as-written takes {', '.join(asdict(cls()))}")
        return cls(**dict.fromkeys(kept, False))


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
    tokens
        ``syllable``, or ``pyvi`` for the words that it finds.
    bert_model, layer
        Text encoder of BERTScore: a folder, the name of a model that is on this machine, or ``hf://NAME``.
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
    extractor
        What reads lesions for the clinical metrics in place of the rules; None for the rules.
    per_sample
        Whether to emit a record for each sample first.
    clinical
        Of the clinical metrics.
    append
        File that gets one line per run (`petct_cli.stages.score_log`), None for none.

    Emits one record per metric over everything, one per metric and group, and one per metric and control.
    """

    metrics: tuple[str, ...] = ()
    preset: str = "vi"
    spelling: Spelling = field(default_factory=Spelling)
    tokens: str = "syllable"
    bert_model: str | None = None
    layer: int | None = None
    fields: Fields = field(default_factory=Fields)
    system: str | None = None
    controls: bool = True
    resamples: int = 1000
    seed: int = 0
    vqa_tolerance: float = 0.1
    extractor: EndpointExtractor | None = None
    per_sample: bool = False
    clinical: Clinical = field(default_factory=Clinical)
    append: Path | None = None

    name: ClassVar[str] = "score"
    version: ClassVar[str] = "1"
    consumes: ClassVar[tuple[type[Record], ...]] = (AnyRecord, Sample)

    def __post_init__(self) -> None:
        from petct_cli.metrics.registry import PRESETS, unknown_metrics
        from petct_cli.metrics.tokens import KINDS

        if self.preset not in PRESETS:
            raise UsageError("unknown_preset", f"--preset takes {', '.join(PRESETS)}")
        unknown = unknown_metrics(self.metrics, self.preset)
        if unknown:
            known = ", ".join(PRESETS[self.preset].metrics)
            raise UsageError("unknown_metric", f"no such metric in preset {self.preset}: {', '.join(unknown)}", known)
        if self.tokens not in KINDS:
            raise UsageError("bad_option", f"--tokens takes {', '.join(KINDS)}")
        if self._needs_text_encoder() and (not self.bert_model or self.layer is None):
            hint = "bert_score takes bert-base-multilingual-cased, layer 9, for Vietnamese"
            raise UsageError("no_text_encoder", "BERTScore needs --bert-model and --layer", hint)

    def collect(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the scores of every system, in the order in which the systems appear.

        Raises
        ------
        InputError
            ``nothing_to_score`` when no record has a reference or true lesions.
        """
        log = None if self.append is None else LogFile(self.append)
        run = self.run(records)
        if self.per_sample:
            yield from run.samples()
        if log is None:
            yield from run.scores()
            return
        seen = []
        for score in run.scores():
            yield score
            seen.append(score)
        # Only now: a run that was cut off is none.
        log.add(summary(run, seen))

    def run(self, records: Iterable[Record]) -> ScoreRun:
        """Read all `records` and return the systems in them; scores are computed when they are asked for.

        Raises
        ------
        InputError
            ``nothing_to_score`` as for `collect`.
        """
        if self._needs_text_encoder():
            self._text_encoder()  # whoever writes the records may take hours: what is wrong is said before
        systems = read_items(records, self.fields, self.system)
        if not any(system.items for system in systems.values()):
            raise InputError(
                "nothing_to_score",
                f"no record has a {self.fields.reference} or lesions",
                "name the fields with --reference-field and --hypothesis-field",
            )
        return score_run(self, systems)

    def families(self, items: Sequence[Item]) -> list[Family]:
        """Return the metrics asked for, ready to compute; of the default ones those that `items` hold anything for."""
        from petct_cli.metrics.registry import MetricOptions, build_families
        from petct_cli.metrics.tokens import Tokens
        from petct_cli.report.normalise import Canonical

        tokens = Tokens(Canonical(**asdict(self.spelling)), self.tokens)
        clinical = self.clinical.options() if self.clinical != Clinical() else None
        if self.extractor is not None:
            from petct_cli.metrics.endpoint_lesions import EndpointLesions

            clinical = replace(clinical or Clinical().options(), extractor=EndpointLesions(self.extractor))
        options = MetricOptions(tokens, self.vqa_tolerance, clinical, self._text_encoder)
        families = build_families(self.metrics, self.preset, options)
        if self.metrics:
            return families
        return build_families([name for one in families for name in one.applicable(items)], self.preset, options)

    def _needs_text_encoder(self) -> bool:
        return any(name.startswith("bertscore") for name in self.metrics)

    def _text_encoder(self) -> TextEncoder:
        from petct_cli.model.text_encoder import load_text_encoder

        assert self.bert_model is not None
        assert self.layer is not None
        return load_text_encoder(self.bert_model, self.layer)

    def content_options(self) -> dict[str, Any]:
        """Return the options that change scores, for the records' provenance."""
        from petct_cli.metrics.registry import PRESETS

        kept = {
            name: value
            for name, value in asdict(replace(self, extractor=None)).items()
            if name not in ("per_sample", "append")
        }
        if self.extractor is not None:
            kept["extractor"] = f"{self.extractor.name}-{self.extractor.version}"
        metrics = list(self.metrics or PRESETS[self.preset].default)
        return {**kept, "metrics": metrics, "clinical": self.clinical.content()}
