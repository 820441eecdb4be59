"""Stock sentences: what stands in the references of many patients, so that no image is needed to write it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from petct_cli.metrics.families import Item, Said
from petct_cli.report.normalise import DEFAULT
from petct_cli.report.sections import sentence_spans, split_sentences

_SHARE, _PATIENTS = 0.05, 3

STOCK_RULE = f"stock:{100 * _SHARE:.0f}pc-of-patients"


@dataclass(frozen=True)
class WithoutStock:
    """Items and hypotheses from which the stock sentences of the references were taken out.

    Attributes
    ----------
    items
        With what is left of the references; None for one of which nothing is left.
    hypotheses
        With what is left of them.
    sentences
        How many different sentences are stock.
    share
        Per cent of the references' tokens that stood in them.
    emptied
        How many references were nothing else.
    """

    items: tuple[Item, ...]
    hypotheses: tuple[str, ...]
    sentences: int
    share: float
    emptied: int


class _Sentences:
    """Cuts texts into sentences; each different sentence is kept, and made canonical, once."""

    def __init__(self) -> None:
        self.key: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def of(self, text: str) -> tuple[str, ...]:
        """Return the sentences of `text`; `key` has the canonical tokens of each, separated by spaces."""
        return tuple(self._one(sentence) for sentence in split_sentences(text))

    def _one(self, sentence: str) -> str:
        if sentence not in self.key:
            self.key[sentence] = _key(sentence)
            self._known[sentence] = sentence
        return self._known[sentence]


def _key(sentence: str) -> str:
    return " ".join(DEFAULT.tokens(sentence))


def _stock(patients: Sequence[str], references: Sequence[Iterable[str]]) -> frozenset[str]:
    """Return the keys that at least 5 % (and 3) of the patients have among those of their references."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for patient, keys in zip(patients, references, strict=True):
        for key in keys:
            seen[key].add(patient)
    least = max(_PATIENTS, _SHARE * len(set(patients)))
    return frozenset(key for key, who in seen.items() if key and len(who) >= least)


def _reports(items: Iterable[Item]) -> list[Item]:
    """Return `items` with questions as if they had no reference: a frequent answer is an answer."""
    return [replace(item, reference=None, question=None, asked=None) if item.asks else item for item in items]


def stock_sentences(items: Iterable[Item]) -> frozenset[str]:
    """Return the sentences, as canonical tokens, in the references of at least 5 % (and 3) of the patients."""
    told = [item for item in _reports(items) if item.reference]
    sentences = _Sentences()
    return _stock(
        [item.patient for item in told],
        [[sentences.key[one] for one in sentences.of(item.reference or "")] for item in told],
    )


def stock_spans(text: str, stock: frozenset[str]) -> list[tuple[int, int]]:
    """Return the half-open character spans of the stock sentences in `text`."""
    return [(start, end) for start, end in sentence_spans(text) if _key(text[start:end]) in stock]


def without_stock(items: Sequence[Item]) -> WithoutStock:
    """Take the stock sentences out of both sides.

    Sentences are compared as canonical tokens, so that punctuation and spelling do not tell two apart. What is left
    is what differs between patients: the part that must come from the image. Questions are left out.
    """
    items = _reports(items)
    sentences = _Sentences()
    references = [sentences.of(item.reference or "") for item in items]
    told = [place for place, item in enumerate(items) if item.reference]
    stock = _stock(
        [items[place].patient for place in told], [[sentences.key[one] for one in references[place]] for place in told]
    )
    # What has no word would be all that is left of many texts.
    gone = stock | {""}

    def rest(found: Sequence[str]) -> str:
        return " ".join(sentence for sentence in found if sentences.key[sentence] not in gone)

    lengths = Counter(sentences.key[sentence] for found in references for sentence in found)
    tokens = {key: key.count(" ") + 1 for key in lengths if key}
    total = sum(lengths[key] * length for key, length in tokens.items())
    removed = sum(lengths[key] * tokens[key] for key in stock)
    kept = [rest(found) for found in references]
    return WithoutStock(
        tuple(replace(item, reference=text or None) for item, text in zip(items, kept, strict=True)),
        tuple(_with_lesions(rest(sentences.of(item.hypothesis)), item) for item in items),
        len(stock),
        100 * removed / total if total else 0.0,
        sum(item.reference is not None and not text for item, text in zip(items, kept, strict=True)),
    )


def _with_lesions(text: str, item: Item) -> str:
    return Said(text, item.hypothesis_lesions) if item.hypothesis_lesions else text
