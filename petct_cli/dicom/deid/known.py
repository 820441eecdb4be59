"""Finding a study's own values in text: what counts as a hit, for reports, headers and file names alike.

A hit is a full name or two consecutive parts of one (folded, in either order), an ID, a phone number, an address, an
institution, a date in any written form, a UID. Single name parts are common words in Vietnamese and count only with
their diacritics, capitalised, after a title; two parts written small in marked text count with their own marks only.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from petct_cli.dicom.deid.folding import fold
from petct_cli.dicom.deid.identifiers import Identifiers
from petct_cli.dicom.deid.known_dates import find_dates
from petct_cli.dicom.deid.profile import load_rules

MIN_LENGTH = 4
_MIN_PAIR_LETTERS = 5
_MIN_PHONE_DIGITS, _PHONE_DIGITS = 7, 9
_MIN_GROUPED, _MIN_GROUPED_NUMBER = 6, 8
_MIN_RUN_TOGETHER = 6
_MIN_DEPARTMENT_WORDS = 3
_GAP = 3
_CUT_LENGTHS = frozenset({16, 64})  # SH and LO hold no more
_MIN_BEGUN = 3
_FIRST_IDEOGRAPH = "\u1100"
_TONES = frozenset("\u0300\u0301\u0303\u0309\u0323")
_PHRASE_KINDS = {
    "ids": "id",
    "addresses": "address",
    "institutions": "institution",
    "departments": "institution",
    "ae_titles": "ae_title",
}

_TOKEN = re.compile(r"[^\W_]+")
_LETTER = re.compile(r"[^\W\d_]")
_UID = re.compile(r"\d+(?:\.\d+){3,}")
_TITLES = (
    "bs", "bác sĩ", "bsck1", "bsck2", "bscki", "bsckii", "ths", "ts", "pgs", "gs", "ktv", "đd", "ông", "bà", "anh",
    "chị", "cô", "chú", "em", "bệnh nhân", "bn", "họ tên", "họ và tên", "người bệnh", "dr", "doctor", "mr", "mrs", "ms",
)  # fmt: skip
_TITLE_BEFORE = re.compile(r"(?<![^\W_])(?:" + "|".join(sorted(_TITLES, key=len, reverse=True)) + r")[\s.:,]{1,3}$")


class Hit(NamedTuple):
    """Where a known value stands in a text, and of what kind it is."""

    start: int
    end: int
    kind: str


class Phrase(NamedTuple):
    """A value that is looked for whole: the first letters of it, how it is written, and its kind."""

    begins: str
    pattern: re.Pattern[str]
    kind: str


@dataclass(frozen=True)
class Known:
    """Everything to look for, prepared once per study.

    Attributes
    ----------
    not_scanned
        How many values are too short to be looked for.
    weak_pairs
        Pairs of so few letters that they count only in a longer run.
    initials
        Pairs in which a letter stands for a longer part (Nguyễn V. An): they count in runs of three.
    unmarked_names, vocabulary
        Whole names of two words that are known without marks; words of reports, which are none when written small.
    """

    pairs: frozenset[tuple[str, str]] = frozenset()
    phrases: tuple[Phrase, ...] = ()
    dates: frozenset[date] = frozenset()
    births: frozenset[date] = frozenset()
    uids: frozenset[str] = frozenset()
    marked_parts: frozenset[str] = frozenset()
    marked_pairs: frozenset[tuple[str, ...]] = frozenset()
    not_scanned: int = 0
    harmless_pairs: frozenset[tuple[str, str]] = field(default=frozenset())
    weak_pairs: frozenset[tuple[str, str]] = field(default=frozenset())
    initials: frozenset[tuple[str, str]] = field(default=frozenset())
    unmarked_names: frozenset[tuple[str, ...]] = field(default=frozenset())
    vocabulary: frozenset[str] = field(default=frozenset())

    def find(self, text: str) -> list[Hit]:
        """Return all hits in `text`, in order, overlapping ones joined."""
        folded, places = fold(text)
        names = self._names(text, folded, places) if _LETTER.search(folded) else ()
        hits = [
            *names,
            *self._phrases(folded),
            *self._dates_and_uids(folded),
        ]
        if places is not None:
            places.append(len(text))
            hits = [Hit(places[hit.start], _after(places, hit.end), hit.kind) for hit in hits]
        hits.extend(self._single_parts(text))
        return _joined(hits)

    def _names(self, text: str, folded: str, places: list[int] | None) -> Iterable[Hit]:
        """Find runs of words that follow each other in a name, in either order."""
        if not self.pairs:
            return
        tokens = [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(folded)]
        if len(text) in _CUT_LENGTHS and len(tokens) > 1:
            tokens[-1] = self._completed(tokens[-2][0], tokens[-1])
        first = 0
        for place in range(1, len(tokens) + 1):
            if place < len(tokens) and self._follow(tokens[place - 1], tokens[place], folded):
                continue
            start, end = tokens[first][1] if tokens else 0, tokens[place - 1][2]
            if self._suffices([token[0] for token in tokens[first:place]]) and (
                place - first > 2 or self._is_pair(text, folded, start, end, places)
            ):
                yield Hit(start, end, "name")
            first = place

    def _completed(self, before: str, last: tuple[str, int, int]) -> tuple[str, int, int]:
        """Return the last word of a text that its field cut short as the word of the name that it began."""
        begun = last[0]
        if len(begun) >= _MIN_BEGUN and (before, begun) not in self.pairs:
            full = next((right for left, right in self.pairs if left == before and right.startswith(begun)), begun)
            return full, last[1], last[2]
        return last

    def _suffices(self, run: list[str]) -> bool:
        """Say whether words that follow each other in a name are enough of it.

        Three are when one is no initial; two are when neither stands for a longer word, but not four letters in all.
        """
        if len(run) > 2:
            return any(len(word) > 1 or word >= _FIRST_IDEOGRAPH for word in run)
        return len(run) == 2 and (run[0], run[1]) in self.pairs and (run[0], run[1]) not in self.weak_pairs

    def _follow(self, left: tuple[str, int, int], right: tuple[str, int, int], folded: str) -> bool:
        gap = folded[left[2] : right[1]]
        pair = left[0], right[0]
        return (pair in self.pairs or pair in self.initials) and len(gap) <= _GAP and gap.count("\n") <= 1

    def _is_pair(self, text: str, folded: str, start: int, end: int, places: list[int] | None) -> bool:
        """Say whether two words are a hit and not two common words that fold alike.

        Written small and with marks ("hình ảnh tràn dịch"), words are names only with the very marks of the name
        (not "Ánh Trần"); medical pairs without marks ("van hai lá") are no names when written small.
        """
        original = text[start:end] if places is None else text[places[start] : places[end - 1] + 1]
        if original != original.lower() or original == original.upper():
            # Capitals, or a script that has none.
            return True
        if not original.isascii():
            words = _TOKEN.findall(unicodedata.normalize("NFC", original))
            pair = tuple(map(_marked, words))
            return pair in self.marked_pairs or self._is_unmarked_name(words, folded[start:end])
        return tuple(_TOKEN.findall(folded[start:end])) not in self.harmless_pairs

    def _is_unmarked_name(self, words: list[str], folded: str) -> bool:
        """Say whether two words are a whole name that the headers hold without marks, and no words of reports."""
        if tuple(_TOKEN.findall(folded)) not in self.unmarked_names:
            return False
        return any(word.casefold() not in self.vocabulary for word in words)

    def _phrases(self, folded: str) -> Iterable[Hit]:
        for phrase in self.phrases:
            # Most texts do not hold a phrase's first letters: the cheap look comes first.
            if phrase.begins in folded:
                for match in phrase.pattern.finditer(folded):
                    yield Hit(match.start(), match.end(), phrase.kind)

    def _dates_and_uids(self, folded: str) -> Iterable[Hit]:
        uids = [match.span() for match in _UID.finditer(folded)]
        for start, end in uids:
            if folded[start:end] in self.uids:
                yield Hit(start, end, "uid")
        for kind, days in (("birth", self.births), ("date", self.dates)):
            for start, end in find_dates(folded, days):
                # A UID with the day in it tells the day and, cut in two, still tells most of itself.
                whole = next((span for span in uids if span[0] <= start and end <= span[1]), None)
                yield Hit(*whole, "uid") if whole else Hit(start, end, kind)

    def _single_parts(self, text: str) -> Iterable[Hit]:
        if not self.marked_parts or text.isascii():
            return
        for match in _TOKEN.finditer(text):
            word = match.group()
            if word[0].isupper() and _marked(word) in self.marked_parts:
                before = text[max(0, match.start() - 16) : match.start()]
                if _TITLE_BEFORE.search(unicodedata.normalize("NFC", before).casefold()):
                    yield Hit(match.start(), match.end(), "name")


def know(
    identifiers: Identifiers, harmless_pairs: Iterable[tuple[str, str]] = (), vocabulary: Iterable[str] = ()
) -> Known:
    """Prepare the values of one study for searching.

    Parameters
    ----------
    harmless_pairs
        Folded pairs of words that are medical terms when written without capitals ("van hai").
    vocabulary
        Words of reports, with their marks. Without any, small marked words are a name only with its very marks.
    """
    pairs: set[tuple[str, str]] = set()
    weak: set[tuple[str, str]] = set()
    initials: set[tuple[str, str]] = set()
    unmarked: set[tuple[str, ...]] = set()
    vocabulary = frozenset(vocabulary)
    marked: set[str] = set()
    marked_pairs: set[tuple[str, ...]] = set()
    phrases: set[Phrase] = set()
    for name in identifiers.names:
        if _is_code(name):
            phrases |= _spelled(fold(name)[0], "id")
        phrases |= _one_word(name)
        marked |= {_marked(word) for word in _words(name) if not word.isascii()}
        for order in _orders(name):
            plain = [fold(word)[0] for word in order]
            phrases |= _run_together(plain)
            for left, right in itertools.pairwise(plain):
                pairs |= {(left, right), (right, left)}
                if vocabulary and len(plain) == 2 and name.isascii():
                    unmarked |= {(left, right), (right, left)}
                if len(left + right) < _MIN_PAIR_LETTERS and len(plain) > 2:
                    weak |= {(left, right), (right, left)}
                if len(plain) > 2:
                    # Nguyễn V. An, N. V. An
                    initials |= {(left, right[0]), (left[0], right), (left[0], right[0])}
            for left, right in itertools.pairwise(map(_marked, order)):
                marked_pairs |= {(left, right), (right, left)}
    for value in identifiers.phones:
        for phone in re.split(r"[;,|/]", value):
            phrases |= _dialled(phone)
    more, short = _whole_values(identifiers)
    phrases |= more
    return Known(
        pairs=frozenset(pairs),
        weak_pairs=frozenset(weak),
        initials=frozenset(initials),
        unmarked_names=frozenset(unmarked),
        vocabulary=vocabulary,
        phrases=tuple(sorted(phrases, key=lambda phrase: (phrase.kind, phrase.pattern.pattern))),
        dates=frozenset(identifiers.dates - identifiers.births),
        births=frozenset(identifiers.births),
        uids=frozenset(uid for uid in identifiers.uids if len(uid) >= MIN_LENGTH),
        marked_parts=frozenset(marked),
        marked_pairs=frozenset(marked_pairs),
        not_scanned=short,
        harmless_pairs=frozenset(harmless_pairs),
    )


def _whole_values(identifiers: Identifiers) -> tuple[set[Phrase], int]:
    """Return what is looked for as a whole, and how many values are too short for it."""
    phrases: set[Phrase] = set()
    short = 0
    # What stays is no leak elsewhere: an institution named like the maker of its scanner, a station's AE title.
    makers = [fold(maker)[0] for maker in identifiers.makers]
    kept = {fold(value)[0].strip() for value in identifiers.kept}
    for section, kind in _PHRASE_KINDS.items():
        for value in getattr(identifiers, section):
            folded = fold(value)[0].strip()
            if len(folded) < MIN_LENGTH:
                short += 1
            elif section == "departments" and len(_TOKEN.findall(folded)) < _MIN_DEPARTMENT_WORDS:
                # "PET/CT", "Nuclear Medicine", "Ung bướu": terms that name no place.
                continue
            elif section in ("institutions", "ae_titles") and (
                folded in kept or any(folded in maker for maker in makers)
            ):
                continue
            else:
                phrases |= _spelled(folded, kind)
    return phrases, short


def _spelled(folded: str, kind: str) -> set[Phrase]:
    """Return how a value may be written: its words with any few signs between them, long numbers in groups."""
    words = _TOKEN.findall(folded)
    if not words:
        return set()
    if kind == "id" and len("".join(words)) >= _MIN_GROUPED:
        # BN-0012 is BN0012 and bn 0012; 001085012345 is 001 085 012 345.
        words = [part for word in words for part in re.findall(r"\d+|\D+", word)]
        if len(words) == 1 and folded.isdigit() and len(folded) >= _MIN_GROUPED_NUMBER:
            words = list(folded)
        between = r"[\s\-._/]?" if len(words) == len(folded) else r"[\W_]{0,3}"
    else:
        between = r"[\W_]{1,3}"
    pattern = rf"(?<![^\W_]){between.join(map(re.escape, words))}(?![^\W_])"
    return {Phrase(words[0], re.compile(pattern), kind)}


def _one_word(name: str) -> set[Phrase]:
    """Return a name that is one word and so the full name (王小东, Sukarnoputra); a role or a maker is none."""
    words = [fold(word)[0] for word in _words(name)]
    if len(words) != 1:
        return set()
    (word,) = words
    if any(letter >= _FIRST_IDEOGRAPH for letter in word):
        return {Phrase(word, re.compile(re.escape(word)), "name")} if len(word) > 1 else set()
    if len(word) < _MIN_PAIR_LETTERS or word in load_rules()["identifying"]["no_names"]:
        return set()
    return {Phrase(word, re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"), "name")}


def _run_together(words: list[str]) -> set[Phrase]:
    """Return a full name without spaces: NguyenVanAn, 山田太郎 (in scripts without spaces, word ends do not count)."""
    joined = "".join(words)
    if len(words) < 2:
        return set()
    if any(letter >= _FIRST_IDEOGRAPH for letter in joined):
        return {Phrase(joined, re.compile(re.escape(joined)), "name")}
    if len(joined) < _MIN_RUN_TOGETHER - (len(words) > 2):
        return set()
    return {Phrase(joined, re.compile(rf"(?<![^\W\d_]){re.escape(joined)}(?![^\W\d_])"), "name")}


def _dialled(phone: str) -> set[Phrase]:
    """Return a phone number with and without its country code, its digits grouped in any way."""
    digits = re.sub(r"\D", "", phone)[-_PHONE_DIGITS:]
    if len(digits) < _MIN_PHONE_DIGITS:
        return set()
    between = r"[\s.\-()]{0,2}"
    pattern = rf"(?<!\d)(?:\+?\(?\d{{1,4}}{between}(?:\(0\) ?)?)?{between.join(digits)}(?!\d)"
    return {Phrase(digits[0], re.compile(pattern), "phone")}


def _words(name: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFC", name))


def _orders(name: str) -> list[list[str]]:
    """Return the words of a name in the orders that people write: PN order, family first, given name first.

    PN is family^given^middle; Vietnamese reads family, middle, given. A name without carets is taken as it stands, its
    ends beside each other too.
    """
    parts = [_words(part) for part in name.split("^")]
    if len(parts) == 1:
        (words,) = parts
        return [words, [words[-1], words[0]]] if len(words) > 2 else [words]
    family, given, middle, *rest = [*parts, []] if len(parts) == 2 else parts
    orders = [
        [family, given, middle],
        [family, middle, given],
        [given, middle, family],
        [given, family],
        [family, given],
    ]
    return [[word for part in (*order, *rest) for word in part] for order in orders]


def _marked(word: str) -> str:
    """Return a word without case, its marks kept and its tones last: hoà and hòa are one name."""
    letters = unicodedata.normalize("NFD", word.casefold())
    return "".join(c for c in letters if c not in _TONES) + "".join(sorted(c for c in letters if c in _TONES))


def _is_code(name: str) -> bool:
    return any(character.isdigit() for character in name) and " " not in name


def _after(places: list[int], end: int) -> int:
    """Return where the original text goes on after the folded character before `end`, combining marks included."""
    return places[end] if end < len(places) else places[-1]


def _joined(hits: Iterable[Hit]) -> list[Hit]:
    joined: list[Hit] = []
    for hit in sorted(hits):
        if joined and hit.start < joined[-1].end:
            last = joined[-1]
            joined[-1] = Hit(last.start, max(last.end, hit.end), last.kind)
        else:
            joined.append(hit)
    return joined
