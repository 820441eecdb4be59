"""Reports that say the same are found, whatever the order, and only those."""

from __future__ import annotations

import math
import random
import tempfile
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.dataset.duplicates import Alike, DuplicateIndex, _tokens, smallest_connected
from petct_cli.dataset.groups import group_patients
from petct_cli.report.normalise import DEFAULT
from petct_cli.report.sections import split_sentences


def alike(texts: list[str], near: float = 0.95) -> Alike:
    with tempfile.TemporaryDirectory() as folder:
        index = DuplicateIndex(Path(folder), near)
        for text in texts:
            index.add(text)
        return index.find()


def cosines(texts: list[str]) -> dict[tuple[int, int], float]:
    """TF-IDF cosines of all pairs, worked out word by word."""
    counts = [Counter(DEFAULT.tokens(text)) for text in texts]
    seen = Counter(word for count in counts for word in count)
    reports = sum(bool(count) for count in counts)
    idf = {word: math.log((1 + reports) / (1 + number)) + 1 for word, number in seen.items()}
    vectors = [{word: number * idf[word] for word, number in count.items()} for count in counts]
    lengths = [math.sqrt(sum(value * value for value in vector.values())) or 1.0 for vector in vectors]
    return {
        (a, b): sum(value * vectors[b].get(word, 0.0) for word, value in vectors[a].items()) / (lengths[a] * lengths[b])
        for a, b in combinations(range(len(texts)), 2)
    }


def sides(found: Alike) -> list[int]:
    """Component of each report's text."""
    nodes = smallest_connected(int(found.text.max(initial=-1)) + 1, found.one, found.other)
    return [int(nodes[text]) if text >= 0 else -1 - number for number, text in enumerate(found.text)]


@given(st.text())
def test_words_by_words_are_the_words_of_the_text(text: str) -> None:
    assert [token for word in text.split() for token in _tokens(word)] == DEFAULT.tokens(text)


def composed(count: int, seed: int, copies: int) -> list[str]:
    """Reports of many words, some of them copies with a few words changed."""
    rng = random.Random(seed)
    words = [f"từ{n}" for n in range(400)]
    sentences = [" ".join(rng.choices(words, k=9)) + "." for _ in range(150)]
    texts = [" ".join(rng.sample(sentences, 25)) for _ in range(count)]
    for _ in range(copies):
        changed = rng.choice(texts[:count]).split()
        for _ in range(rng.randint(1, 25)):
            changed[rng.randrange(len(changed))] = rng.choice(words)
        texts.append(" ".join(changed))
    return texts


@pytest.mark.parametrize("near", [0.8, 0.9, 0.95])
def test_every_pair_at_or_above_the_threshold_is_found_and_no_other(near: float) -> None:
    texts = composed(300, 1, 100)
    expected = cosines(texts)
    found = alike(texts, near)
    side = sides(found)
    above = [pair for pair, cosine in expected.items() if cosine >= near + 1e-4]
    assert len(above) > 10
    assert all(side[a] == side[b] for a, b in above)
    first = {int(text): number for number, text in reversed(list(enumerate(found.text)))}
    for one, other, cosine in zip(found.one, found.other, found.cosine, strict=True):
        a, b = sorted((first[int(one)], first[int(other)]))
        assert expected[a, b] == pytest.approx(cosine, abs=2e-4)
        assert cosine >= near


@pytest.mark.parametrize("texts", [[], [""], ["", " .,"], ["gan to"], ["gan to", "Gan to."]])
def test_few_reports(texts: list[str]) -> None:
    found = alike(texts)
    assert len(found.text) == len(texts)
    assert len(found.one) == 0
    assert [text >= 0 for text in found.text] == [bool(DEFAULT.tokens(text)) for text in texts]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(seed: int, rng: random.Random) -> None:
    texts = composed(40, seed, 20)
    order = list(range(len(texts)))
    rng.shuffle(order)
    one, other = alike(texts), alike([texts[number] for number in order])
    assert [int(one.text[number]) for number in order] == other.text.tolist()
    assert sorted(zip(one.one, one.other, one.cosine, strict=True)) == sorted(
        zip(other.one, other.other, other.cosine, strict=True)
    )


def test_variants_of_one_template_keep_to_themselves_when_there_are_many() -> None:
    base = " ".join(f"từ{n}" for n in range(300))
    texts = [f"{base} số{n}" for n in range(40)] + ["gan to phổi sáng", "gan to phổi sáng", f"{base} số1"]
    found = alike(texts)
    patients = np.arange(len(texts))
    joined = group_patients(patients, len(texts), found, 50)
    assert len(set(joined.leader[:40].tolist())) == 1
    loose = group_patients(patients, len(texts), found, 30)
    assert loose.templates == (41,)
    assert len(set(loose.leader[:40].tolist())) == 40
    assert loose.leader[41] == 40, "the same text still joins two"
    assert loose.leader[42] == 1


@pytest.mark.real
def test_the_faults_of_the_release_are_found_in_real_reports(real_data: Path) -> None:
    """`facts/vimed.md`: exact duplicates in 3 groups of 8 cases, near duplicates (cosine >= 0.95) in 17 pairs."""
    rows = [orjson.loads(line) for line in (real_data / "vimed/reports.jsonl").read_bytes().splitlines()]
    texts = [row["reference"] for row in rows]
    assert max(cosines(texts).values()) < 0.95
    assert len(alike(texts).one) == 0, "different patients of one hospital's boilerplate are no duplicates"
    exact = [texts[0], texts[0].upper(), texts[1], texts[1].replace(" ", "  "), texts[2]]
    near = []
    for text in texts[5:22]:
        sentences = split_sentences(text)
        near.append(" ".join([sentences[-1], *sentences[:-1]]).replace("SUVmax", "SUV max", 1))
    found = alike([*texts, *exact, *near])
    side = sides(found)
    sizes = Counter(side)
    assert [size for size in sorted(sizes.values()) if size > 1] == [2] * 17 + [2, 3, 3]
    assert all(side[number] == side[len(texts) + len(exact) + number - 5] for number in range(5, 22))
    assert sorted(size for size in Counter(found.text.tolist()).values() if size > 1) == [2, 3, 3]
