"""What de-identification of reports is not sure of: stretches of clean text for a person to look at, with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from petct_cli.report.deid_marks import CAPITAL, SMALL
from petct_cli.report.deid_names import Word, runs, small_name, starts_sentence
from petct_cli.report.deid_view import view_of
from petct_cli.report.deid_words import is_medical, provinces, words

_TITLE_THEN_SMALL = re.compile(
    r"(?<!\w)(?:bác\s+sĩ|bác\s+sỹ|bs|ths|pgs|gs|ktv|kỹ\s+thuật\s+viên|điều\s+dưỡng|y\s+tá|"
    r"ông|bà|bệnh\s+nhân|bn|người\s+bệnh|tên)[.:]?[ \t]+"
    rf"(?P<v>[{SMALL}]+)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.,/])(?:[A-Z]{1,4}[\-.]?)?\d[\d.\-/]{4,}\d(?![\w%/]|[.,]\d)")
_INITIALS = re.compile(rf"(?<![\w.])[{CAPITAL}]\.[ ]?[{CAPITAL}]{{1,2}}\b\.?(?!\d)")
_UNIT_AFTER = re.compile(r"[ \t]*(?:mm|cm|ml|mg|g|kg|mci|mbq|kbq|hu|%|x[ \t]*\d)", re.IGNORECASE)
_SYLLABLE = re.compile(
    r"(?:[bcdghklmnpqrstvx]|ch|gh|gi|kh|kr|ng|ngh|nh|ph|qu|th|tr)?[aeiouy]{1,3}(?:c|ch|m|n|ng|nh|p|t)?"
)
_MIN_DIGITS = 6


class Doubtful(NamedTuple):
    """A stretch of clean text that may name somebody, and the code of why."""

    start: int
    end: int
    reason: str


def doubtful(text: str, written: Sequence[tuple[int, int]]) -> tuple[Doubtful, ...]:
    """Return what is left in clean text that a person should look at, in order, without overlaps.

    Parameters
    ----------
    written
        What de-identification wrote: never doubtful.
    """
    letters = list(text)
    for start, end in written:
        letters[start:end] = "\n" * (end - start)
    view = view_of("".join(letters))
    found: list[Doubtful] = []
    for start, end, reason in (*_capitals(view.text), *_small(view.text), *_numbers(view.text), *_places(view.text)):
        span = view.original(start, end)
        if not any(span[0] < other.end and other.start < span[1] for other in found):
            found.append(Doubtful(*span, reason))
    return tuple(sorted(found))


def _capitals(text: str) -> Iterator[tuple[int, int, str]]:
    known = words()
    for match in _INITIALS.finditer(text):
        if not is_medical(match.group().replace(".", "").replace(" ", "")):
            yield match.start(), match.end(), "initials"
    for run in runs(text):
        if span := _spelled_in_capitals(run):
            yield *span, "unknown_capitals_run"
            continue
        part = list(run)
        if starts_sentence(text, part[0].start) and part[0].small in known.vocabulary:
            part = part[1:]
        part = [word for word in part if not _plain(word)]
        if not part:
            continue
        if len(part) > 1:
            known_first = part[0].small in known.surnames or part[0].small in known.surnames_folded
            yield part[0].start, part[-1].end, "capitalised_pair" if known_first else "unknown_surname_run"
        elif (
            not starts_sentence(text, part[0].start)
            or len(run) > 1
            or (part[0].small in known.surnames and not _goes_on_small(part[0], text))
        ):
            yield part[0].start, part[0].end, "capitalised_word"


def _spelled_in_capitals(run: Sequence[Word]) -> tuple[int, int] | None:
    """Return where two or more words in capitals without marks read like syllables of a name: CHEO PHU KINH."""
    known = words()
    part = [word for word in run if word.text.isupper() and word.text.isascii()]
    if len(part) < 2 or len(part) < len(run) or is_medical(" ".join(word.text for word in part)):
        return None
    syllables = [word for word in part if len(word.text) == 1 or _SYLLABLE.fullmatch(word.small)]
    likely = [word for word in syllables if word.small in known.given_folded or word.small in known.surnames_folded]
    if len(syllables) < len(part) or not likely or any(is_medical(word.text) for word in part):
        return None
    return part[0].start, part[-1].end


def _goes_on_small(word: Word, text: str) -> bool:
    return re.match(rf"[ \t]+[{SMALL}]", text[word.end : word.end + 4]) is not None


def _plain(word: Word) -> bool:
    """Say whether a capitalised word is a word of reports, an acronym, or a known eponym."""
    known = words()
    acronym = word.text.isascii() and word.text.isupper()
    return acronym or is_medical(word.text) or (word.small in known.vocabulary and word.small not in known.surnames)


def _small(text: str) -> Iterable[tuple[int, int, str]]:
    known = words()
    for match in _TITLE_THEN_SMALL.finditer(text):
        start = match.start("v")
        end = small_name(text, start)
        if end > start:
            yield start, end, "lower_case_name_after_title"
        elif match["v"] not in known.vocabulary and (match["v"] in known.given or match["v"] in known.surnames):
            yield start, match.end("v"), "lower_case_name_after_title"


def _numbers(text: str) -> Iterable[tuple[int, int, str]]:
    for match in _NUMBER.finditer(text):
        digits = sum(character.isdigit() for character in match.group())
        if digits >= _MIN_DIGITS and not _UNIT_AFTER.match(text, match.end()):
            yield match.start(), match.end(), "number_like_id"


def _places(text: str) -> Iterable[tuple[int, int, str]]:
    for name in provinces():
        if name[0].isupper() and name in text:
            at = text.index(name)
            yield at, at + len(name), "place_name"
