"""``petct score`` beside rouge_score and sacrebleu on 100,000 pairs of reports, no two texts alike.

petct's time holds the tokenising of the text as it is written; the others are given petct's tokens, split by spaces.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from petct_cli.metrics.families import Family, Item

PAIRS = 100_000
ROUGE_PAIRS = 100  # its time for all of them is these times a thousand
CHRF_PAIRS = 1000
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


def beside(ours: float, theirs: float, other: str, what: str = "score: BLEU-4 + ROUGE-1/L") -> None:
    """Print the rate of both sides and their ratio (above 1: petct is faster)."""
    rates = [f"{PAIRS / time:>10.0f} pairs/s     " for time in (ours, theirs)]
    print(f"{what:<34} petct {rates[0]} {other} {rates[1]} ratio {theirs / ours:5.2f}")


def first_record() -> None:
    """Measure from the start of the process to the first line of a run with controls, on 89 reports."""
    texts = reports(2 * 89, random.Random(1))
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "pairs.jsonl"
        rows = [{"id": str(n), "reference": texts[2 * n], "hypothesis": texts[2 * n + 1]} for n in range(89)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        command = [sys.executable, "-m", "petct_cli", "score", str(file), "--metrics", "bleu4"]
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # as users have

        times = []
        for _ in range(STARTS):
            start = time.perf_counter()
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline().startswith(b"{")
                times.append(time.perf_counter() - start)
                process.stdout.read()
    middle, best = median(times) * 1e3, min(times) * 1e3
    print(f"{'score: first record of 89 pairs':<34} petct {middle:>10.0f} ms           best of {STARTS} {best:.0f} ms")


def bench() -> None:
    """Print all of it."""
    first_record()
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    from petct_cli.metrics.chrf import ChrfFamily
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
    some = [[Canonical()(text) for text in texts[:CHRF_PAIRS]] for texts in (given, wanted)]
    chrf = seconds(lambda: sacrebleu.CHRF(word_order=2).corpus_score(some[0], [some[1]])) * PAIRS / CHRF_PAIRS
    own_chrf = seconds(lambda: ChrfFamily(("chrf",)).rows(items[:CHRF_PAIRS], given[:CHRF_PAIRS])) * PAIRS / CHRF_PAIRS
    beside(own_chrf, chrf, f"sacrebleu ({CHRF_PAIRS} pairs)", "score: chrF++")
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
