"""Null controls: what a system scores that never looks at the image.

Each control is a list of texts in place of the hypotheses, for the same items.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from petct_cli.metrics.families import Fact, Item, Said
from petct_cli.metrics.ngrams import rouge_n
from petct_cli.report.normalise import DEFAULT
from petct_cli.report.sections import split_sentences

FOLDS = 2
_LEARN_FROM = 2000
_CANDIDATES = 40
_JUDGES = 60
_FREQUENT = (0.5, 0.3)
_STOCK_SHARE, _STOCK_PATIENTS = 0.05, 3
_MOST_SHUFFLES, _SHUFFLED_TEXTS = 10, 10_000


def fold_of(patient: str) -> int:
    """Return the fold of a patient, the same everywhere."""
    return hashlib.sha256(patient.encode()).digest()[0] % FOLDS


def by_group_and_fold(items: Sequence[Item]) -> dict[tuple[str, int], list[int]]:
    """Return the indices of the items that a control for (group, fold) may learn from: those of the other folds."""
    learn: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        for fold in range(FOLDS):
            if fold != fold_of(item.patient):
                learn[item.group, fold].append(index)
    return learn


def templates(items: Sequence[Item]) -> list[str]:
    """Return for each item the constant text that scores best on the references of the other fold's patients.

    Candidates per group are the most common reference, the sentences that stand in at least half (or 30 %) of the
    references, and single references; the one with the highest mean ROUGE-1 among them is taken. A template is made
    from 2,000 references at most, drawn by hash.
    """
    chosen = {
        key: _best_template([reference for index in indices if (reference := items[index].reference)])
        for key, indices in by_group_and_fold(items).items()
    }
    return [chosen.get((item.group, fold_of(item.patient)), "") for item in items]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _best_template(found: Sequence[str]) -> str:
    if not found:
        return ""
    references = sorted(found, key=_hash)[:_LEARN_FROM] if len(found) > _LEARN_FROM else sorted(found, key=_hash)
    common = Counter(references)
    distinct = list(common)
    candidates = [max(distinct, key=lambda text: (common[text], _hash(text)))]
    candidates += [text for text in _frequent_sentences(references) if text]
    candidates += distinct[:_CANDIDATES]
    judges = [DEFAULT.tokens(text) for text in references[:_JUDGES]]

    def mean_score(text: str) -> float:
        tokens = DEFAULT.tokens(text)
        return sum(rouge_n(tokens, judge) for judge in judges)

    return max(dict.fromkeys(candidates), key=mean_score)


def _frequent_sentences(references: Sequence[str]) -> list[str]:
    """Return for each share of `_FREQUENT` the sentences that stand in so many references, in their usual order."""
    seen: Counter[str] = Counter()
    place: defaultdict[str, float] = defaultdict(float)
    wording: dict[str, str] = {}
    for reference in references:
        sentences = split_sentences(reference)
        for position, sentence in enumerate(sentences):
            key = DEFAULT(sentence)
            if key not in wording or sentence < wording[key]:
                wording[key] = sentence
            seen[key] += 1
            place[key] += position / max(1, len(sentences) - 1)
    in_order = sorted(seen, key=lambda key: (place[key] / seen[key], key))
    return [" ".join(wording[key] for key in in_order if seen[key] >= share * len(references)) for share in _FREQUENT]


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


STOCK_RULE = f"stock:{_STOCK_SHARE:.0%}-of-patients".replace("%", "pc")


def without_stock(items: Sequence[Item]) -> WithoutStock:
    """Take out of both sides the sentences that stand in the references of at least 5 % (and 3) of the patients.

    Sentences are compared as canonical tokens, so that punctuation and spelling do not tell two apart. What is left
    is what differs between patients: the part that must come from the image. Questions are left out, as if they had no
    reference: a frequent answer is an answer.
    """
    items = [replace(item, reference=None, question=None, asked=None) if _asked(item) else item for item in items]
    sentences = _Sentences()
    references = [sentences.of(item.reference or "") for item in items]
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for item, found in zip(items, references, strict=True):
        for sentence in found:
            patients[sentences.key[sentence]].add(item.patient)
    least = max(_STOCK_PATIENTS, _STOCK_SHARE * len({item.patient for item in items if item.reference}))
    stock = {key for key, who in patients.items() if key and len(who) >= least}
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
            self.key[sentence] = " ".join(DEFAULT.tokens(sentence))
            self._known[sentence] = sentence
        return self._known[sentence]


def most_frequent_site(items: Sequence[Item], facts: Callable[[Item], tuple[Fact, ...]]) -> list[tuple[Fact, ...]]:
    """Return for each item the one (site, side) that is most frequent among the other fold's patients of its group."""
    chosen: dict[tuple[str, int], tuple[Fact, ...]] = {}
    for key, indices in by_group_and_fold(items).items():
        counts = Counter(pair for index in indices for pair in {(fact.site, fact.side) for fact in facts(items[index])})
        if counts:
            site, side = min(counts, key=lambda pair: (-counts[pair], pair[0], pair[1] or ""))
            chosen[key] = (Fact(site, side),)
    return [chosen.get((item.group, fold_of(item.patient)), ()) for item in items]


def shuffles(items: Sequence[Item]) -> int:
    """Return how often to shuffle: up to 10 times, fewer where there are so many items that one order is enough.

    The mean over several orders is less of a matter of luck than one order is.
    """
    return max(1, min(_MOST_SHUFFLES, _SHUFFLED_TEXTS // max(1, len(items))))


def _asked(item: Item) -> str:
    """Return what a question asks, however it is worded; empty for what is no question."""
    if item.asked is not None:
        return repr([item.asked.get(key) for key in ("kind", "site", "side")])
    return DEFAULT(item.question or "")


def exchange(items: Sequence[Item], seed: int, order: int = 0) -> list[int | None]:
    """Return for each item the index of another patient's item of the same group, None where there is none.

    Parameters
    ----------
    order
        Number of the order, for several different ones of the same seed.

    Answers are exchanged among those to the same question: an answer to another one is wrong whatever the image shows.
    Within a group every item is used once where no patient holds more than half of it. Which is whose partner does
    not depend on the order of `items`.
    """
    partner: list[int | None] = [None] * len(items)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[item.group, _asked(item)].append(index)
    for group in sorted(groups):
        members = groups[group]
        sizes = Counter(items[index].patient for index in members)
        if len(sizes) < 2:
            continue
        rng = np.random.default_rng([seed % 2**63, int.from_bytes(_hash("".join(group))[:4], "big"), order])
        names = sorted(sizes)
        rank = dict(zip(names, rng.permutation(len(names)).tolist(), strict=True))
        # The patients one after the other: moving on by the largest patient's share never lands on the same one.
        ordered = sorted(members, key=lambda index: (rank[items[index].patient], items[index].id, index))
        step, start = max(sizes.values()), 0
        for name in sorted(names, key=rank.__getitem__):
            end = start + sizes[name]
            others = len(ordered) - sizes[name]
            for position in range(start, end):
                to = (position + step) % len(ordered)
                if start <= to < end:
                    # A patient with more than half of the group: the others serve several times.
                    to = (end + (position - start) % others) % len(ordered)
                partner[ordered[position]] = ordered[to]
            start = end
    return partner


def taken_from(partner: Sequence[int | None], texts: Sequence[str | None]) -> list[str]:
    """Return the texts of the partners, empty without one."""
    return ["" if index is None or (text := texts[index]) is None else text for index in partner]
