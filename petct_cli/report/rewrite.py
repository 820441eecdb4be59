"""Say the same thing otherwise, and prove that it is the same.

reworded = reorder(text, random.Random(0))
same_facts(text, reworded)
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

from petct_cli.report.lesions import extract_lesions
from petct_cli.report.normalise import compose, fold
from petct_cli.report.places import find_positions
from petct_cli.report.sections import split_sentences
from petct_cli.report.vocabulary import load_vocabulary

Method = Callable[[str, Random], str]

# "The largest one", "compare with ..." and the like lean on the sentence before them.
_LEANS = re.compile(
    r"^(?:trong đó|trong số|đối chiếu|cần|đề nghị|nên|lưu ý|theo dõi|(?:các )?(?:hạch|nốt|khối|ổ|đám|tổn thương)"
    r"[^.,;]{0,20}\b(?:này|trên|đó|lớn nhất|lớn hơn)\b|hai \w+ lớn nhất)"
)
# "Elsewhere", "besides" speak of everything before them: nothing moves across.
_FENCE = re.compile(r"\b(?:khác|còn lại|ngoài ra|như trên|nêu trên|nói trên|kết luận)\b")
_NUMBERED = re.compile(r"^\d{1,2}[.)]\s")
_LITERAL = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d]+\d+|\w+")
_SYNONYM_RATE = 0.6


def reorder(text: str, rng: Random) -> str:
    """Put the sentences of `text` in another order.

    A sentence that leans on the one before it ("Hạch lớn nhất ..."), or that names no place of its own ("Tăng chuyển
    hóa FDG, SUVmax 8."), moves with it; one that speaks of the rest ("các vị trí khác") or is numbered stays, and
    nothing moves across it.
    """
    words = load_vocabulary()
    runs: list[list[list[str]]] = [[]]
    for sentence in split_sentences(text):
        folded = fold(sentence)
        leans = _LEANS.search(folded) or words.cues["back_reference"].search(folded) or not _names_a_place(folded)
        if _FENCE.search(folded) or _NUMBERED.search(folded):
            runs += [[[sentence]], []]
        elif leans and (runs[-1] or len(runs) > 1):
            home = runs[-1] or runs[-2]
            home[-1].append(sentence)
        else:
            runs[-1].append([sentence])
    for run in runs:
        rng.shuffle(run)
    return " ".join(sentence for run in runs for block in run for sentence in block)


def _names_a_place(folded: str) -> bool:
    return bool(find_positions(folded, load_vocabulary()).named)


def substitute_synonyms(text: str, rng: Random) -> str:
    """Replace phrases by others that mean the same (``data/synonyms_vi.toml``), each with probability 0.6."""
    pattern, group_of = _synonyms()

    def other(match: re.Match[str]) -> str:
        found = match.group()
        if rng.random() >= _SYNONYM_RATE:
            return found
        choice = rng.choice([wording for wording in group_of[fold(found)] if fold(wording) != fold(found)])
        return choice[0].upper() + choice[1:] if found[0].isupper() else choice

    return pattern.sub(other, compose(text))


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("petct_cli.report").joinpath("data/synonyms_vi.toml").read_text("utf-8"))


@cache
def _synonyms() -> tuple[re.Pattern[str], Mapping[str, list[str]]]:
    table = _table()
    group_of = {fold(wording): group for group in table["groups"] for wording in group}
    wordings = [wording for group in table["groups"] for wording in group]
    # Reports write hoá as often as hóa; both must be found.
    spelled = {spelling for wording in wordings for spelling in (wording, wording.replace("óa", "oá"))}
    longest_first = sorted(spelled, key=lambda wording: (-len(wording), wording))
    return re.compile(r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")\b", re.IGNORECASE), group_of


METHODS: Mapping[str, Method] = {"reorder": reorder, "synonyms": substitute_synonyms}
"""Rewriting methods by name; each takes a text and a source of randomness."""


def literals(text: str) -> Counter[str]:
    """Count what must not change in a text: numbers, codes such as D4 or IIB, sides, negations, grades.

    Words that carry no fact are left out.
    """
    counted_words = frozenset(_table()["counted"])
    counted: Counter[str] = Counter()
    for token in _LITERAL.findall(compose(text)):
        folded = fold(token)
        if folded in counted_words or any(char.isdigit() for char in token) or re.fullmatch(r"[IVX]+[ABab]?", token):
            counted[folded] += 1
    return counted


def facts(text: str) -> Counter[tuple[object, ...]]:
    """Count the lesions that `text` states, whatever their order."""
    return Counter(
        (
            *(lesion.site, lesion.organ, lesion.part, lesion.level, lesion.side, lesion.kind, lesion.count),
            *(lesion.sizes_mm, lesion.suv_max, lesion.fdg, lesion.invasion, lesion.invades),
        )
        for lesion in extract_lesions(text)
    )


def same_facts(before: str, after: str) -> bool:
    """Say whether both texts hold the same literals and state the same lesions.

    Both checks are needed: lesions may come out alike where a number changed hands, and literals may be all there where
    a sentence has moved away from what it speaks of.
    """
    return literals(before) == literals(after) and facts(before) == facts(after)
