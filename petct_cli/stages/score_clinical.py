"""What ``score`` is told about the clinical metrics, checked before any record is read."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petct_cli.core.errors import UsageError

if TYPE_CHECKING:
    from petct_cli.metrics.clinical_options import ClinicalOptions
    from petct_cli.report.llm_lesions import EndpointExtractor

_TOLERANCES = ("position", "size", "suv")


@dataclass(frozen=True)
class Clinical:
    """Choices about the clinical metrics, as a user gives them.

    Parameters
    ----------
    scope
        Only lesions in it count: head_neck, chest, abdomen_pelvis, musculoskeletal; None for all.
    position, size, suv
        Tolerances (`petct_cli.metrics.clinical_match.Tolerance`); the latter two as a share of the true value.
    severity
        Content of a severity file, None for petct's own.
    by_organ
        Whether there are scores for each organ.
    extractor
        What reads lesions in place of the rules; None for the rules.

    Raises
    ------
    UsageError
        ``bad_option`` for an unknown scope, ``bad_severity`` for a file that cannot be one.
    """

    scope: str | None = None
    position: float = 0.6
    size: float = 0.2
    suv: float = 0.2
    severity: bytes | None = None
    by_organ: bool = False
    extractor: EndpointExtractor | None = None

    def __post_init__(self) -> None:
        if self.scope is not None:
            from petct_cli.metrics.clinical_lesions import organ_table

            if self.scope not in organ_table().scopes:
                raise UsageError("bad_option", f"--scope takes {', '.join(organ_table().scopes)}")
        if self.severity is not None:
            from petct_cli.metrics.severity import read_severity

            read_severity(self.severity)

    def options(self, jobs: int = 1) -> ClinicalOptions:
        """Return them as the metrics take them."""
        from petct_cli.metrics.clinical_match import Tolerance
        from petct_cli.metrics.clinical_options import ClinicalOptions
        from petct_cli.metrics.severity import default_severity, read_severity

        severity = default_severity() if self.severity is None else read_severity(self.severity)
        tolerance = Tolerance(self.position, self.size, self.suv)
        options = ClinicalOptions(self.scope, tolerance, severity, self.by_organ, jobs=jobs)
        if self.extractor is None:
            return options
        from petct_cli.metrics.endpoint_lesions import EndpointLesions

        return replace(options, extractor=EndpointLesions(self.extractor))

    def content(self) -> dict[str, Any]:
        """Return them for provenance: a file by what is in it."""
        severity = None if self.severity is None else hashlib.sha256(self.severity).hexdigest()
        extractor = None if self.extractor is None else f"{self.extractor.name}-{self.extractor.version}"
        return {**vars(self), "severity": severity, "extractor": extractor}


def read_choices(
    scope: str | None,
    tolerance: str,
    severity: Path | None,
    by_organ: bool,
    extractor: EndpointExtractor | None = None,
) -> Clinical:
    """Return the choices that the words of a command line mean.

    Parameters
    ----------
    tolerance
        ``position=0.6,size=20%,suv=20%``, or some of these.

    Raises
    ------
    UsageError
        ``bad_option`` for words that mean nothing, ``bad_severity`` for a file that is none or cannot be read.
    """
    shares: dict[str, float] = {}
    for part in filter(None, tolerance.split(",")):
        name, _, number = part.strip().partition("=")
        share = _share(number)
        if name not in _TOLERANCES or share is None or (name == "position" and not 0 < share <= 1):
            raise UsageError("bad_option", "--tolerance takes position=0.6,size=20%,suv=20%: position above 0 to 1")
        shares[name] = share
    try:
        content = None if severity is None else severity.read_bytes()
    except OSError as error:
        raise UsageError("bad_severity", f"the severity file cannot be read: {error.strerror}") from None
    return Clinical(scope, severity=content, by_organ=by_organ, extractor=extractor, **shares)


def endpoint_extractor(
    url: str | None, model: str | None, cache: Path | None, remote: bool, seed: int
) -> EndpointExtractor | None:
    """Return the extractor that the options name, None when they name none.

    Raises
    ------
    UsageError
        ``bad_option`` when one is half named, ``bad_endpoint`` and ``remote_endpoint`` as
        `petct_cli.core.endpoint.Endpoint`.
    """
    if url is None and model is None and cache is None and not remote:
        return None
    if not url or not model:
        raise UsageError("bad_option", "--extractor-url and --extractor-model go together, the others with them")
    from petct_cli.core.endpoint import Endpoint
    from petct_cli.report.llm_lesions import EndpointExtractor

    return EndpointExtractor(Endpoint(url, model, allow_remote=remote, cache=cache, seed=seed))


def _share(text: str) -> float | None:
    """Return a share from ``0.2`` or ``20%``; None for what is no number from 0."""
    try:
        number = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
