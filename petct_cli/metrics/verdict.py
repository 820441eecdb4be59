"""What the null controls say of a system, in a sentence that a person can repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from petct_cli.core.score_records import Score
from petct_cli.metrics.glossary import name_of

Level = Literal["yes", "none", "against", "untested"]
SIGNIFICANT = 0.05
# What is true of the patient is judged before how it is worded; of each kind the first that has a value.
_LEADS = (
    ("site_f1", "f1_tp", "f1_t"),
    ("vqa_closed_accuracy", "vqa_macro_f1"),
    ("rougeL", "rouge1", "bleu4", "chrf", "rouge2", "bleu3", "bleu2", "bleu1"),
)


@dataclass(frozen=True)
class Verdict:
    """Whether a system's texts depend on the image.

    Attributes
    ----------
    level
        ``yes``, ``none``, ``against`` (another patient's texts fit better) or ``untested``.
    headline
        The level in words.
    why
        The p-value, or what kept it from being tested; and where a template scores higher.
    reasons
        A sentence or two by leading metric: against the texts of other patients, and against a template.
    """

    level: Level
    headline: str
    why: str
    reasons: Mapping[str, tuple[str, ...]]


_WORDS: Mapping[Level, str] = {
    "yes": "yes",
    "none": "none",
    "against": "the wrong way round",
    "untested": "not tested",
}


def leading_metrics(metrics: Sequence[str]) -> list[str]:
    """Return the metrics by which systems are judged: one of each kind: lesions, answers, wording."""
    leads = [next((name for name in names if name in metrics), None) for names in _LEADS]
    return [name for name in leads if name is not None] or list(metrics[:1])


def verdict(own: Mapping[str, Score], controls: Mapping[str, Mapping[str, Score]]) -> Verdict:
    """Return what the controls say of one system.

    Parameters
    ----------
    own
        Its scores over everything, by metric.
    controls
        The scores of its controls: by control, then by metric.

    Notes
    -----
    The first leading metric with a p-value decides. The image signal is what a metric loses when the texts are
    shuffled among the patients of a group.
    """
    shuffled = controls.get("shuffled", {})
    leads = leading_metrics([metric for metric, score in own.items() if score.value is not None] or list(own))
    tested = [metric for metric in leads if _p_value(shuffled.get(metric)) is not None]
    level: Level = "untested"
    why = "the texts could not be tested against those of other patients" if shuffled else "no null controls"
    if any("image_signal" in (score.counts or {}) for score in shuffled.values()):
        why = "no resamples to test it with"
    if tested:
        level = _level(shuffled[tested[0]])
        counts = shuffled[tested[0]].counts or {}
        gain = round(counts.get("image_signal", 0.0), 2) + 0.0
        why = f"{name_of(tested[0])} {gain:+.2f}, {said_p(counts['p_value'])}"
    template = controls.get("template", {})
    above = [name_of(metric) for metric in leads if _is_better(template.get(metric), own[metric])]
    why += f"; a template scores better on {' and '.join(above)}" if above else ""
    reasons = {
        metric: (
            *_against_others(own[metric], shuffled.get(metric)),
            *_against_template(own[metric], template.get(metric)),
        )
        for metric in leads
    }
    return Verdict(level, f"Image signal: {_WORDS[level]}", why, reasons)


def verdicts(scores: Iterable[Score]) -> list[str]:
    """Return the verdict on each system of `scores` in a line."""
    found: dict[str | None, tuple[dict[str, Score], dict[str, dict[str, Score]]]] = {}
    for score in scores:
        own, controls = found.setdefault(score.system, ({}, {}))
        if score.control:
            controls.setdefault(score.control, {})[score.metric] = score
        elif not score.group:
            own[score.metric] = score
    lines = []
    for system, (own, controls) in found.items():
        if own:
            one = verdict(own, controls)
            lines.append(f"{system + ': ' if system else ''}{one.headline} ({one.why})")
    return lines


def said_p(p_value: float) -> str:
    """Return a p-value in words."""
    return f"p = {p_value:.2g}"


def said(value: float) -> str:
    """Return a value with as many digits as tell something."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _p_value(shuffled: Score | None) -> float | None:
    return (shuffled.counts or {}).get("p_value") if shuffled is not None else None


def _level(shuffled: Score) -> Level:
    counts = shuffled.counts or {}
    if counts["p_value"] >= SIGNIFICANT:
        return "none"
    gain = counts.get("image_signal", 0.0) * (1 if shuffled.higher_is_better else -1)
    return "yes" if gain > 0 else "against"


def _against_others(own: Score, shuffled: Score | None) -> list[str]:
    p_value = _p_value(shuffled)
    if own.value is None or shuffled is None or shuffled.value is None or p_value is None:
        return []
    told = {
        "yes": "Fits its own patients better than others",
        "none": "Fits other patients as well as its own",
        "against": "Fits other patients better than its own",
    }[_level(shuffled)]
    return [f"{told}: {said(own.value)} against {said(shuffled.value)} ({said_p(p_value)})."]


def _is_better(one: Score | None, other: Score) -> bool:
    if one is None or one.value is None or other.value is None or one.value == other.value:
        return False
    return (one.value > other.value) == other.higher_is_better


def _against_template(own: Score, template: Score | None) -> list[str]:
    if own.value is None or template is None or template.value is None:
        return []
    low, high = own.ci95 or (own.value, own.value)
    if _is_better(template, own):
        told = "scores higher" if own.higher_is_better else "errs less"
    elif low <= template.value <= high:
        told = "scores within its interval"
    else:
        told = "scores lower" if own.higher_is_better else "errs more"
    return [f"A template that sees no image {told}: {said(template.value)}."]
