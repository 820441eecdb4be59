"""Null controls: what a system scores that never looks at the image.

Each control is a list of texts in place of the hypotheses, for the same items.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from petct_cli.metrics.families import Fact, Item
from petct_cli.metrics.overlap import Block, TokenCodes, f_measures, matches
from petct_cli.report.normalise import DEFAULT
from petct_cli.report.sections import split_sentences

FOLDS = 2
_LEARN_FROM = 2000
_CANDIDATES = 40
_JUDGES = 60
_FREQUENT = (0.5, 0.3)
_MOST_SHUFFLES, _SHUFFLED_TEXTS = 10, 10_000


def folds(items: Sequence[Item]) -> list[int]:
    """Return the fold of each item: the patients of its group, in an order of no meaning, by turns.

    So there are two folds as soon as there are two patients.
    """
    patients: dict[str, set[str]] = defaultdict(set)
    for item in items:
        patients[item.group].add(item.patient)
    fold = {
        (group, patient): rank % FOLDS
        for group, found in patients.items()
        for rank, patient in enumerate(sorted(found, key=lambda patient: (_hash(patient), patient)))
    }
    return [fold[item.group, item.patient] for item in items]


def by_group_and_fold(items: Sequence[Item]) -> dict[tuple[str, int], list[int]]:
    """Return the indices of the items that a control for (group, fold) may learn from: those of the other folds."""
    learn: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, (item, own) in enumerate(zip(items, folds(items), strict=True)):
        for fold in range(FOLDS):
            if fold != own:
                learn[item.group, fold].append(index)
    return learn


def templates(items: Sequence[Item]) -> list[str | None]:
    """Return for each item the constant text that scores best on the references of the other fold's patients.

    Candidates per group are the most common reference, the sentences that stand in at least half (or 30 %) of the
    references, and single references; the one with the highest mean ROUGE-1 among them is taken. Of answers to
    questions only whole ones are: "Yes. No." is none. A template is made from 2,000 references at most, drawn by hash.
    None where no other patient of the group has a reference.
    """
    chosen = {}
    for key, indices in by_group_and_fold(items).items():
        found = [reference for index in indices if (reference := items[index].reference)]
        if found:
            chosen[key] = _best_template(found, joined=all(items[index].is_report for index in indices))
    return [chosen.get((item.group, fold)) for item, fold in zip(items, folds(items), strict=True)]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _best_template(found: Sequence[str], *, joined: bool) -> str:
    references = sorted(found, key=_hash)[:_LEARN_FROM] if len(found) > _LEARN_FROM else sorted(found, key=_hash)
    common = Counter(references)
    distinct = list(common)
    candidates = [max(distinct, key=lambda text: (common[text], _hash(text)))]
    candidates += [text for text in _frequent_sentences(references) if text] if joined else []
    candidates += distinct[:_CANDIDATES]
    codes = TokenCodes(DEFAULT.tokens)
    judges = [codes(text) for text in references[:_JUDGES]]

    def mean_score(text: str) -> float:
        block = Block(range(len(judges)), [codes(text)] * len(judges), judges)
        # The sum of the list, not of the array: the order of adding decides between candidates that score alike.
        return float(sum(f_measures(matches(block, 1)[:, 0], *block.lengths()).tolist()))

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


def most_frequent_site(
    items: Sequence[Item], facts: Callable[[Item], tuple[Fact, ...]]
) -> list[tuple[Fact, ...] | None]:
    """Return for each item the one (site, side) that is most frequent among the other fold's patients of its group.

    None where there are no other patients.
    """
    chosen: dict[tuple[str, int], tuple[Fact, ...]] = {}
    for key, indices in by_group_and_fold(items).items():
        counts = Counter(pair for index in indices for pair in {(fact.site, fact.side) for fact in facts(items[index])})
        chosen[key] = ()
        if counts:
            site, side = min(counts, key=lambda pair: (-counts[pair], pair[0], pair[1] or ""))
            chosen[key] = (Fact(site, side),)
    return [chosen.get((item.group, fold)) for item, fold in zip(items, folds(items), strict=True)]


def shuffles(items: Sequence[Item]) -> int:
    """Return how often to shuffle: up to 10 times, fewer where there are so many items that one order is enough.

    The mean over several orders is less of a matter of luck than one order is.
    """
    return max(1, min(_MOST_SHUFFLES, _SHUFFLED_TEXTS // max(1, len(items))))


def _asked(item: Item) -> str:
    """Return what a question asks, however it is worded; empty for what is no question."""
    if item.asked is not None:
        return repr([item.asked.get(key) for key in ("region", "kind", "site", "side")])
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


def taken_from(partner: Sequence[int | None], texts: Sequence[str | None]) -> list[str | None]:
    """Return the texts of the partners, None without one."""
    return [None if index is None else texts[index] for index in partner]
