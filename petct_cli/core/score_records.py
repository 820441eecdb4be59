"""The records that ``score`` emits."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from petct_cli.core.records import Record


class Score(Record):
    """One metric, on all the data or on a `group`, of a system or of a null `control`."""

    TYPE: ClassVar[str] = "score"

    id: str = ""
    metric: str
    value: float | None
    n: int
    ci95: list[float] | None = None
    higher_is_better: bool = True
    signature: str
    system: str | None = None
    group: str | None = None
    control: str | None = None
    counts: dict[str, float] | None = None


class Comparison(Record):
    """One metric of a system minus that of another on the samples that both have, with the paired test.

    Attributes
    ----------
    system, against
        Which two; a positive `difference` is a larger value of `system`.
    n
        What the metric is over, on the common samples.
    p_value, p_adjusted
        Of approximate randomisation, patients as units; corrected for the pairs of systems compared by this metric.
    """

    TYPE: ClassVar[str] = "comparison"

    metric: str
    system: str
    against: str
    difference: float | None
    n: int
    ci95: list[float] | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    higher_is_better: bool = True
    signature: str


class ScoreLog(Record):
    """A run of ``score`` in one line, for a file that grows from run to run; `id` says inputs, options and version.

    Attributes
    ----------
    version
        Of petct.
    options
        What the user chose that changes scores.
    inputs
        Per system its name, how many samples, the SHA-256 of what was scored.
    scores
        Per system and metric over everything: value, ci95, n, and the image signal with its p-value.
    """

    TYPE: ClassVar[str] = "score_log"

    version: str
    options: dict[str, Any]
    inputs: list[dict[str, Any]]
    scores: list[dict[str, Any]]


class SampleScore(Record):
    """One sample of a system under every metric: what the scores over all samples are made of.

    Attributes
    ----------
    status
        ``ok``; ``failed`` (marked so upstream, or a hypothesis that is no text) and ``missing`` (no hypothesis) are
        scored as empty texts; ``without_truth`` (nothing to compare with) is left out of every score.
    scores
        Value by metric, null where a metric is not defined on this sample.
    detail
        What a person needs to check the scores, by the metrics' own keys: lesions with their places in the text.
    """

    TYPE: ClassVar[str] = "sample_score"

    system: str | None = None
    patient: str
    group: str
    task: str | None = None
    status: Literal["ok", "failed", "missing", "without_truth"]
    scores: dict[str, float | None]
    detail: dict[str, Any] = Field(default_factory=dict)
