"""``petct score`` beside rouge_score and sacrebleu on 100,000 pairs of reports, no two texts alike.

petct's time holds the tokenising of the text as it is written; the others are given petct's tokens, split by spaces.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, Item

PAIRS = 100_000
ROUGE_PAIRS = 100  # its time for all of them is these times a thousand
STARTS = 10
TOKENS = 270  # of a text, as in the published reports


class SpacesOnly:
    """A tokenizer for rouge_score that leaves the tokens as they are."""

    def tokenize(self, text: str) -> list[str]:
        return text.split()


def reports(count: int, rng: random.Random) -> list[str]:
    """Compose texts of stock sentences and sizes that differ in every one."""
    import numpy as np

    from petct_cli.report.compose import compose_report
    from petct_cli.report.normalise import DEFAULT
    from petct_cli.report.sections import split_sentences
    from petct_cli.volume.phantom import make_phantom

    random_numbers = np.random.default_rng(0)
    composed = (compose_report(make_phantom(0, index).lesions, random_numbers) for index in range(100))
    sentences = sorted(
        {sentence for report in composed for part in report.values() for sentence in split_sentences(part)}
    )
    lengths = {sentence: len(DEFAULT.tokens(sentence)) for sentence in sentences}
    texts = []
    for _ in range(count):
        chosen: list[str] = []
        tokens = 0
        while tokens < TOKENS:
            chosen.append(rng.choice(sentences))
            tokens += lengths[chosen[-1]]
            if rng.random() < 0.3:
                chosen.append(f"Kích thước {rng.randrange(100)},{rng.randrange(100)} x {rng.randrange(1000)} mm.")
                tokens += 5
        texts.append(" ".join(chosen))
    return texts


def seconds(side: Callable[[], object]) -> float:
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def beside(ours: float, theirs: float, other: str) -> None:
    """Print the rate of both sides and their ratio (above 1: petct is faster)."""
    rates = [f"{PAIRS / time:>10.0f} pairs/s     " for time in (ours, theirs)]
    print(f"{'score: BLEU-4 + ROUGE-1/L':<34} petct {rates[0]} {other} {rates[1]} ratio {theirs / ours:5.2f}")


def bench() -> None:
    """Print all of it."""
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    from petct_cli.metrics.families import Item
    from petct_cli.metrics.text import TextFamily
    from petct_cli.report.normalise import Canonical

    rng = random.Random(0)
    given, wanted = reports(PAIRS, rng), reports(PAIRS, rng)
    items = [
        Item(str(n), str(n), "", None, reference, hypothesis)
        for n, (reference, hypothesis) in enumerate(zip(wanted, given, strict=True))
    ]
    metrics = ("bleu4", "rouge1", "rougeL")

    def ours() -> Sequence[float]:
        family = TextFamily(metrics)
        sums = family.rows(items, given).sum(axis=0)
        return [float(family.value(metric, sums)) for metric in metrics]

    def tokenise() -> None:
        canonical = Canonical()  # with nothing remembered
        for texts in (given, wanted):
            for text in texts:
                canonical.tokens(text)

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own = seconds(ours)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    floor = seconds(tokenise)
    own, floor = median([own, seconds(ours), seconds(ours)]), median([floor, seconds(tokenise), seconds(tokenise)])
    tokens = Canonical().tokens
    split = [[" ".join(tokens(text)) for text in texts] for texts in (given, wanted)]
    scorer = RougeScorer(["rouge1", "rougeL"], tokenizer=SpacesOnly())
    rouge = seconds(
        lambda: [scorer.score(b, a) for a, b in zip(*(texts[:ROUGE_PAIRS] for texts in split), strict=True)]
    )
    bleu = seconds(lambda: sacrebleu.corpus_bleu(split[0], [split[1]], tokenize="none", force=True))
    beside(own, rouge * PAIRS / ROUGE_PAIRS, f"rouge_score ({ROUGE_PAIRS} pairs, scaled)")
    beside(own, bleu, "sacrebleu (BLEU only)")
    times = [f"{time / PAIRS * 1e6:>10.0f} us/pair     " for time in (own, floor)]
    print(f"{'score: beside tokenising alone':<34} petct {times[0]} tokenising {times[1]} cost {own / floor:5.2f} x")
    print(f"{'score: memory beside the texts':<34} petct {peak / 1024:>10.0f} MB")
    resampling(TextFamily(metrics), items, given)


def resampling(family: Family, items: Sequence[Item], hypotheses: Sequence[str]) -> None:
    """Print what intervals and a paired test cost beside drawing the same resamples as numpy's multinomial does."""
    import numpy as np

    from petct_cli.metrics.statistics import Resampler, interval, p_value

    rows = family.rows(items, hypotheses)
    resampler = Resampler(1000, 0)

    def intervals() -> None:
        drawn = resampler.sums(rows)
        assert drawn is not None
        assert all(interval(family.value(metric, drawn)) for metric in family.metrics())

    def paired() -> None:
        pair = resampler.exchanged(rows, rows[::-1])
        assert pair is not None
        assert all(p_value(0.0, np.subtract(*(family.value(name, side) for side in pair))) for name in family.metrics())

    def multinomial() -> None:
        rng = np.random.default_rng(0)
        assert (rng.multinomial(PAIRS, np.full(PAIRS, 1 / PAIRS), size=10) @ rows).shape == (10, rows.shape[1])

    for name, side in (("first", intervals), ("next", intervals), ("paired test", paired)):
        print(f"{f'score: 1,000 resamples, {name}':<34} petct {seconds(side):>10.2f} s")
    print(f"{'score: 1,000 resamples':<34} multinomial {seconds(multinomial) * 100:>4.2f} s (10, scaled)")


if __name__ == "__main__":
    bench()
