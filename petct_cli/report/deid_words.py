"""Word lists of report de-identification: family names, and medical phrases that look like names and are none."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from petct_cli.report.deid_marks import fold


@cache
def word_lists() -> tuple[dict[str, bool], frozenset[str], frozenset[str], frozenset[tuple[str, str]]]:
    """Return family names (True: also a word), those that are safe without marks, medical phrases, harmless pairs."""
    folder = files("petct_cli.report") / "data"
    surnames: dict[str, bool] = {}
    for line in (folder / "surnames_vi.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            surnames[line.rstrip(" !").casefold()] = line.endswith("!")
    allowed, pairs = set(), set()
    for line in (folder / "medical_allow_vi.txt").read_text("utf-8").splitlines():
        if line.startswith("~"):
            left, right = line[1:].split()
            pairs.add((left, right))
        elif line and not line.startswith("#"):
            allowed.add(fold(line))
    plain = frozenset(fold(name) for name, is_word in surnames.items() if not is_word)
    return surnames, plain, frozenset(allowed), frozenset(pairs)


def harmless_pairs() -> frozenset[tuple[str, str]]:
    """Return folded pairs of words that are medical terms when written small, although a name could hold them."""
    return word_lists()[3]


def is_medical(words: str) -> bool:
    """Say whether a run of capitalised words begins with a medical phrase."""
    allowed = word_lists()[2]
    tokens = fold(words).split()
    return any(" ".join(tokens[:size]) in allowed for size in range(min(4, len(tokens)), 0, -1))
