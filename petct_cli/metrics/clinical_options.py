"""What a user may choose about the clinical metrics, and reading the lesions of both sides by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from petct_cli.metrics.clinical_lesions import (
    Extractor,
    Lesions,
    RuleExtractor,
    at_sites,
    of_facts,
    organ_table,
    scopes_of,
)
from petct_cli.metrics.clinical_match import Floats, Tolerance, in_order
from petct_cli.metrics.families import Item, Said
from petct_cli.metrics.lesion_language import lesion_language
from petct_cli.metrics.reading import read_by_rules
from petct_cli.metrics.severity import Severity, default_severity
from petct_cli.report.language import ENGLISH, VIETNAMESE


@dataclass(frozen=True)
class ClinicalOptions:
    """Choices about the clinical metrics.

    Attributes
    ----------
    scope
        Only lesions with a place in it count, on both sides; None for all.
    tolerance
        What still counts as the same.
    severity
        How much each error weighs.
    by_organ
        Whether there are scores for each organ, too.
    extractor
        What reads the lesions of a text.
    jobs
        Processes in which the rules do so.
    """

    scope: str | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    severity: Severity = field(default_factory=default_severity)
    by_organ: bool = False
    extractor: Extractor = field(default_factory=RuleExtractor)
    jobs: int = 1


# What every row of a clinical family begins with.
SAMPLES, FAILED_TRUE, FAILED_SAID, TRUE_LISTED, TRUE_FACTS, SAID_LISTED, ENGLISH_TEXTS = range(7)
SHARED_COLUMNS = 7

_Read = Callable[[str, str], Lesions | None]


@dataclass(frozen=True)
class Sides:
    """The lesions of one sample: the true ones and the stated ones, each in an order that says nothing."""

    true: Lesions
    said: Lesions

    def at(self, organ: str) -> Sides:
        """Return the lesions with a place in `organ`."""
        return Sides(*(tuple(one for one in lesions if organ in one.organs) for lesions in (self.true, self.said)))


class LesionReader:
    """Reads the lesions of samples, every text once."""

    def __init__(self, options: ClinicalOptions) -> None:
        self.options = options
        self._read: dict[tuple[str, str], Lesions | None] = {}
        # Two families tell of the same sample, one after the other.
        self._with_spans = lru_cache(maxsize=2)(options.extractor)

    def read(self, item: Item, hypothesis: str) -> tuple[Sides | None, Floats]:
        """Return the lesions of a sample, with their spans, and the shared columns of its row.

        Lesions that came with the record go before its text, and a text before true lesions that know no types. The
        sides are None for a question, without a reference, and where an extraction failed on either side: then nothing
        is known, which is counted.
        """
        return self._sides(item, hypothesis, lambda text, lang: self._with_spans(text, lang) if text else ())

    def read_all(self, items: Sequence[Item], hypotheses: Sequence[str]) -> list[tuple[Sides | None, Floats]]:
        """Return `read` of each, where no one asks for the spans."""
        if isinstance(self.options.extractor, RuleExtractor):
            both = [(item, text, lesion_language(item, text)) for item, text in zip(items, hypotheses, strict=True)]
            told = [
                (item.reference, lang) for item, _, lang in both if item.reference and item.reference_lesions is None
            ]
            told += [(text, lang) for _, text, lang in both if not isinstance(text, Said)]
            read_by_rules.all(told, self.options.jobs)
        return [self._sides(*pair, self._of_text) for pair in zip(items, hypotheses, strict=True)]

    def _sides(self, item: Item, hypothesis: str, read: _Read) -> tuple[Sides | None, Floats]:
        shared = np.zeros(SHARED_COLUMNS)
        if not item.is_report:
            return None, shared
        lang = lesion_language(item, hypothesis)
        if item.reference_lesions is not None:
            true = item.reference_lesions.lesions
            shared[TRUE_LISTED] = 1
        elif item.reference is not None:
            true = read(item.reference, lang)
        elif item.truth is not None:
            true = of_facts(item.truth)
            shared[TRUE_FACTS] = 1
        else:
            return None, shared
        if isinstance(hypothesis, Said):
            said = hypothesis.given.lesions
            shared[SAID_LISTED] = 1
        else:
            said = read(hypothesis, lang)
        shared[FAILED_TRUE], shared[FAILED_SAID] = true is None, said is None
        if true is None or said is None:
            shared[[TRUE_LISTED, TRUE_FACTS, SAID_LISTED]] = 0
            return None, shared
        if shared[TRUE_FACTS]:
            said = tuple(map(at_sites, said))
        shared[SAMPLES], shared[ENGLISH_TEXTS] = 1, lang == ENGLISH
        return Sides(self._counted(true), self._counted(said)), shared

    def _of_text(self, text: str, lang: str) -> Lesions | None:
        if isinstance(self.options.extractor, RuleExtractor):
            return read_by_rules(text, lang).lesions
        # What has one name for all languages reads a text alike whatever the language of its partner.
        key = self.options.extractor.name(lang), text
        if key not in self._read:
            self._read[key] = self.options.extractor(text, lang) if text else ()
        return self._read[key]

    def _counted(self, lesions: Lesions) -> Lesions:
        scope = self.options.scope
        return in_order([one for one in lesions if scope is None or scope in scopes_of(one)])


@lru_cache(maxsize=1)
def lesion_reader(options: ClinicalOptions) -> LesionReader:
    """Return the reader of these options; families built with the same ones share it, and so read every text once."""
    return LesionReader(options)


def shared_signature(options: ClinicalOptions, sums: Floats) -> str:
    """Return where the lesions are from, and which count."""
    samples = sums[SAMPLES]
    true = _from(samples, {"lesion-list": sums[TRUE_LISTED], "lesions": sums[TRUE_FACTS]}, "reference")
    said = _from(samples, {"lesion-list": sums[SAID_LISTED]}, "hypothesis")
    english = sums[ENGLISH_TEXTS]
    languages = [VIETNAMESE] * bool(english < samples or not samples) + [ENGLISH] * bool(english)
    names = "+".join(dict.fromkeys(map(options.extractor.name, languages)))
    extractor = f"{names}-{options.extractor.version}"
    return f"over:reports|scope:{options.scope or 'all'}|truth:{true}|stated:{said}|extractor:{extractor}"


def _from(samples: float, named: dict[str, float], otherwise: str) -> str:
    whole = [name for name, number in named.items() if number == samples and samples]
    return whole[0] if whole else "mixed" if any(named.values()) else otherwise


def shared_counts(sums: Floats) -> dict[str, float]:
    """Return how many reports were compared, and where an extraction failed."""
    return {
        "reports": float(sums[SAMPLES]),
        "reference_extraction_failed": float(sums[FAILED_TRUE]),
        "extraction_failed": float(sums[FAILED_SAID]),
    }


def known_scopes() -> tuple[str, ...]:
    """Return the scopes that the table of organs has."""
    return organ_table().scopes
