"""Lesions for the clinical metrics by a language model behind an endpoint, in place of the rules."""

from __future__ import annotations

from dataclasses import dataclass

from petct_cli.metrics.clinical_lesions import Lesions, by_finding
from petct_cli.report.llm_lesions import EndpointExtractor


@dataclass(frozen=True)
class EndpointLesions:
    """`petct_cli.report.llm_lesions.EndpointExtractor` as `petct_cli.metrics.clinical_lesions.Extractor`."""

    extractor: EndpointExtractor

    def name(self, lang: str) -> str:
        """Return what scores call it, whatever the language."""
        return self.extractor.name

    @property
    def version(self) -> str:
        """Model, prompt and parameters."""
        return self.extractor.version

    def __call__(self, text: str, lang: str) -> Lesions | None:
        """Return the lesions that `text` states, None where the extraction failed; the model sees the language."""
        found = self.extractor.lesions(text)
        return None if found is None else by_finding(found)
