"""Which metrics there are, and which family computes each; a family is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from petct_cli.metrics.families import Family
from petct_cli.metrics.tokens import SYLLABLES, Tokens

if TYPE_CHECKING:
    from petct_cli.metrics.bertscore import Encoder
    from petct_cli.metrics.clinical_options import ClinicalOptions


@dataclass(frozen=True)
class MetricOptions:
    """What the user may choose about metrics.

    Attributes
    ----------
    tokens
        What a token is, and which differences in spelling count as none.
    vqa_tolerance
        Share of the right number by which a numeric answer may be off.
    clinical
        Of the clinical metrics; None for the defaults.
    encoder
        Makes the text encoder of BERTScore, when that is asked for.
    jobs
        Processes that read texts.
    """

    tokens: Tokens = SYLLABLES
    vqa_tolerance: float = 0.1
    clinical: ClinicalOptions | None = None
    encoder: Callable[[], Encoder] | None = None
    jobs: int = 1


@dataclass(frozen=True)
class Entry:
    """A family in the table: the metrics it computes, and ``module:function`` that builds it from (names, options)."""

    metrics: tuple[str, ...]
    builder: str


_TEXT = Entry(("bleu1", "bleu2", "bleu3", "bleu4", "rouge1", "rouge2", "rougeL"), "text:text_family")
_CHRF = Entry(("chrf",), "chrf:chrf_family")
_METEOR = Entry(("meteor",), "meteor:meteor_family")
_CIDER = Entry(("cider_d",), "cider:cider_family")
_BERT = Entry(("bertscore_p", "bertscore_r", "bertscore_f1"), "bertscore:bertscore_family")
_VIMED = Entry(("bleu4", "rouge1", "rougeL"), "vimed:vimed_family")
_SITES = Entry(("site_f1", "size_mae_mm", "size_r", "suv_mae", "suv_r"), "lesion_sites:site_family")
_VQA = Entry(
    ("vqa_closed_accuracy", "vqa_macro_f1", "vqa_numeric", "vqa_where", "vqa_how_many", "vqa_open_f1"), "vqa:vqa_family"
)
_F1 = Entry(("f1_t", "f1_tp", "f1_tf", "f1_tpf"), "clinical:f1_family")
_ERRORS = Entry(
    (
        "omitted_lesions",
        "hallucinated_lesions",
        "omitted_per_report",
        "hallucinated_per_report",
        "laterality_errors",
        "lesion_size_mae_mm",
        "lesion_size_within",
        "lesion_suv_mae",
        "lesion_suv_within",
        "abnormal_accuracy",
        "abnormal_sensitivity",
        "abnormal_specificity",
        "roi_f1_rules",
        "roiq_rules",
        "weighted_errors",
    ),
    "clinical_errors:error_family",
)


@dataclass(frozen=True)
class Preset:
    """A set of metrics, and which of them are computed when none is named."""

    families: tuple[Entry, ...]
    default: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of all its metrics, in the order of the table."""
        return tuple(name for entry in self.families for name in entry.metrics)


PRESETS = {
    "vi": Preset(
        (_TEXT, _CHRF, _METEOR, _CIDER, _BERT, _SITES, _VQA, _F1, _ERRORS),
        ("bleu4", "rouge1", "rougeL", *_SITES.metrics, *_F1.metrics, *_VQA.metrics),
    ),
    "vimed": Preset((_VIMED, _SITES, _VQA, _F1, _ERRORS), _VIMED.metrics),
}


def unknown_metrics(wanted: Iterable[str], preset: str) -> list[str]:
    """Return those of `wanted` that the preset does not have."""
    return [name for name in wanted if name not in PRESETS[preset].metrics]


def build_families(wanted: Sequence[str], preset: str, options: MetricOptions) -> list[Family]:
    """Return the families of the metrics asked for (those of the preset when none is), in the order of the table."""
    chosen = tuple(dict.fromkeys(wanted)) or PRESETS[preset].default
    families: list[Family] = []
    for entry in PRESETS[preset].families:
        names = tuple(name for name in chosen if name in entry.metrics)
        if names:
            module, _, builder = entry.builder.partition(":")
            families.append(getattr(import_module(f"petct_cli.metrics.{module}"), builder)(names, options))
    return families
