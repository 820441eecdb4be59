"""Names in running text: family names with name words after them, and runs of capitals that are no words of reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from petct_cli.report.deid_marks import CAPITAL, LETTER, NAME, NAME_WORD, SMALL, Change
from petct_cli.report.deid_words import is_medical, words

MAX_WORDS = 5
_RUN = re.compile(rf"(?<![\w/]){NAME_WORD}(?:(?:[ \t]{{1,3}}|-|[ \t]*\n[ \t]*){NAME_WORD})*")
_WORD = re.compile(NAME_WORD)
_NEXT_SMALL = re.compile(rf"[ \t]+([{SMALL}]+)")
_SENTENCE_START = re.compile(r"(?:^|[.:;!?\n\-•+)(\[\"]|\d[.)])[ \t]*$")
# H'Bia, K'Brêm, Y'Thông: a first syllable with an apostrophe is a name of the highland peoples, alone too.
_APOSTROPHE = re.compile(rf"[HKYhk]['’][{LETTER}]")
_DOTTED = re.compile(rf"(?<![\w.])[{CAPITAL}](?:\.[ ]?[{CAPITAL}]){{2,4}}(?![{SMALL}\w])\.?")
_MIDDLE_DOTTED = re.compile(rf"(?<![\w.])({NAME_WORD})(?:[ ][{CAPITAL}]\.){{1,3}}(?:[ ]?{NAME_WORD})?")
_SMALL_NAME = re.compile(rf"(?<![\w])([{SMALL}]+) (thị|văn) ([{SMALL}]+(?: [{SMALL}]+)?)")
_NOT_AFTER_THI = frozenset({"lực", "giác", "trường", "thần", "kinh", "lưu", "bản", "phạm"})


_FORMS_OF_ADDRESS = frozenset({"ông"})


class Word(NamedTuple):
    """A capitalised word and where it stands."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def small(self) -> str:
        return self.text.casefold()


def names(text: str) -> Iterable[Change]:
    """Yield the names of a text that no label points at."""
    for run in runs(text):
        start, end = name_in(run, text)
        if start < end:
            yield Change(run[start].start, run[end - 1].end, NAME, "name")
            # "Lan Trần Văn An": what stands after a name that ended may be another.
            rest = run[end:]
            start, end = name_in(rest, text) if len(rest) > 1 else (0, 0)
            if start < end:
                yield Change(rest[start].start, rest[end - 1].end, NAME, "name")
    for match in _MIDDLE_DOTTED.finditer(text):
        if match[1].casefold() in words().surnames:
            yield Change(*match.span(), NAME, "name")
    for match in _DOTTED.finditer(text):
        if not is_medical(match.group().replace(".", "").replace(" ", "")):
            yield Change(*match.span(), NAME, "name")
    for match in _SMALL_NAME.finditer(text):
        if match[1] in words().surnames and match[3].split()[0] not in _NOT_AFTER_THI:
            yield Change(match.start(), match.start() + _small_length(match.group()), NAME, "name")


def runs(text: str) -> Iterator[list[Word]]:
    """Yield the runs of capitalised words; one goes on over a line break only within a name."""
    for match in _RUN.finditer(text):
        run: list[Word] = []
        for found in _WORD.finditer(text, match.start(), match.end()):
            word = Word(found.group(), found.start())
            broken = run and "\n" in text[run[-1].end : word.start]
            if broken and not _goes_on(run, word, text):
                yield run
                run = []
            run.append(word)
        if run:
            yield run


def _goes_on(run: Sequence[Word], word: Word, text: str) -> bool:
    known = words()
    if (run[0].small not in known.surnames and not _APOSTROPHE.match(run[0].text)) or len(run) > 3:
        return False
    if _follows(word, text) or text[word.end : word.end + 2].lstrip().startswith(":"):
        return False
    return word.small in known.given or word.small not in known.vocabulary


def _follows(word: Word, text: str) -> bool:
    """Say whether a word goes on in small letters as words of reports do: "Thanh quản", "Theo dõi"."""
    match = _NEXT_SMALL.match(text, word.end)
    known = words()
    if match is None:
        return False
    return (word.small, match[1]) in known.follow or (
        word.small in known.vocabulary and word.small not in known.given and match[1] in known.vocabulary
    )


def name_in(run: Sequence[Word], text: str) -> tuple[int, int]:
    """Return the half-open range of words of a run that are a name; an empty one when none is."""
    for index, word in enumerate(run):
        if (
            word.small in _FORMS_OF_ADDRESS
            and starts_sentence(text, word.start)
            and (index + 2 >= len(run) or _begins_name(run, index + 1))
        ):
            # "Ông Kim Toàn": a form of address where a sentence begins, a family name elsewhere.
            continue
        if _begins_name(run, index):
            return index, _end(run, index, text)
    return _unknown(run, text)


def _begins_name(run: Sequence[Word], index: int) -> bool:
    """Say whether a name begins at a word of a run."""
    known = words()
    word, rest = run[index], run[index + 1 : index + MAX_WORDS]
    if _APOSTROPHE.match(word.text):
        return True
    if not rest or is_medical(" ".join(w.text for w in run[index : index + 4])):
        return False
    if (word.small, rest[0].small) in known.follow and not (len(rest) > 1 and rest[1].small in known.given):
        return False
    return _begins_highland(word, rest) or _begins_family(word, rest)


def _begins_highland(word: Word, rest: Sequence[Word]) -> bool:
    """Say whether a name begins by its second word (Chamaléa Thị Thỉa) or with a particle (Y Thông Mlô)."""
    known = words()
    if word.text == "Y":
        return len(rest[0].text) > 1 and any(other.small not in known.vocabulary for other in rest[:2])
    if f"{word.small} {rest[0].small}" in known.surnames:
        return len(rest) > 1 or rest[0].small in known.given
    return rest[0].small in ("thị", "văn") and len(rest) > 1 and word.small not in known.vocabulary


def _begins_family(word: Word, rest: Sequence[Word]) -> bool:
    """Say whether a family name with enough after it begins a name."""
    known = words()
    plain = word.text.isascii() and _begins_plain(word, rest)
    is_word = known.surnames.get(word.small)
    if is_word is None or (_acronym(rest[0]) and not word.text.isupper()):
        return plain and is_word is None
    if plain or not is_word:
        return True
    confirmed = rest[0].small in known.given
    if word.text.isupper() and len(word.text) > 1 and rest[0].text.isupper():
        # In capitals a heading looks like a name ("HỒ SƠ").
        return confirmed or (len(rest) > 1 and rest[1].small in known.given)
    return confirmed or len(rest) > 1 or rest[0].small not in known.vocabulary


def _begins_plain(word: Word, rest: Sequence[Word]) -> bool:
    """Say whether a name without marks begins: NGUYEN VAN AN, Le Hoa; "Van Mach" and "Thin Lung" are none."""
    known = words()
    is_word = known.surnames_folded.get(word.small)
    if is_word is None or not all(other.text.isascii() for other in rest[:2]):
        return False
    if not is_word:
        return len(rest[0].text) > 1 or len(rest) > 1
    if rest[0].text == "A" and len(rest) > 1:
        return True
    in_given = [other.small in known.given_folded for other in rest[:3]]
    return all(in_given) if len(rest) == 1 else sum(in_given) > 1 or rest[0].small in ("van", "thi")


def _end(run: Sequence[Word], start: int, text: str) -> int:
    """Return where a name that starts at a word ends: at most five words, without the next sentence's first."""
    end = min(start + MAX_WORDS, len(run))
    for index in range(start + 2, end):
        broken = text[run[index - 1].end : run[index].start]
        if (
            "\n" not in broken
            and is_medical(" ".join(word.text for word in run[index : index + 3]))
            and not _given(run[index])
        ):
            end = index
            break
    least = 1 if _APOSTROPHE.match(run[start].text) else 2
    while end - start > least and is_medical(run[end - 1].text) and not _given(run[end - 1]):
        end -= 1
    if end == len(run) and sum(len(word.text) > 1 for word in run[start:end]) > 2 and _follows(run[end - 1], text):
        end -= 1
    return end


def _given(word: Word) -> bool:
    return word.small in words().given


def _unknown(run: Sequence[Word], text: str) -> tuple[int, int]:
    """Find a name without a known family name: marked words with capitals that are no words of reports."""
    known = words()
    start, end = 0, len(run)
    if run and start < end and (run[0].small in known.vocabulary or is_medical(run[0].text)):
        start = 1
    while end > start and (_is_word(run[end - 1]) or _acronym(run[end - 1])):
        end -= 1
    if end == len(run) and end - start > 2 and _follows(run[end - 1], text):
        end -= 1
    while start < end and (_is_word(run[start]) or _acronym(run[start])):
        start += 1
    part = run[start:end]
    if len(part) < 2 or any(is_medical(word.text) for word in part):
        return 0, 0
    if all(word.text.isascii() for word in part) or all(word.small in known.vocabulary for word in part):
        return 0, 0
    if all(word.text.isupper() for word in part) and any(word.small in known.vocabulary for word in part):
        return 0, 0
    return start, min(end, start + MAX_WORDS)


def _is_word(word: Word) -> bool:
    known = words()
    return word.small in known.vocabulary and word.small not in known.given


def _acronym(word: Word) -> bool:
    return word.text.isascii() and word.text.isupper() and len(word.text) > 1


def starts_sentence(text: str, place: int) -> bool:
    """Say whether a capital at a place is there because a sentence begins."""
    return _SENTENCE_START.search(text[max(0, place - 6) : place]) is not None


def small_name(text: str, start: int) -> int:
    """Return where a name written small that starts at a place ends; `start` when none does."""
    match = re.compile(rf"[{SMALL}'’]+(?:[ ]+[{SMALL}'’]+)*").match(text, start)
    if match is None:
        return start
    return start + _small_length(match.group())


def _small_length(text: str) -> int:
    """Return the length of the name that `text` (small words) begins with."""
    known = words()
    parts = list(re.finditer(r"\S+", text))
    size = 2 if len(parts) > 1 and f"{parts[0].group()} {parts[1].group()}" in known.surnames else 1
    if parts[0].group() not in known.surnames and size == 1:
        return 0
    while size < min(len(parts), MAX_WORDS):
        word, before = parts[size].group(), parts[size - 1].group()
        after = parts[size + 1].group() if size + 1 < len(parts) else ""
        if (word, after) in known.follow and not (size == 1 and word in ("thị", "văn")):
            break
        marked = before in ("thị", "văn") or not known.surnames.get(parts[0].group(), True)
        if word not in known.given and (word in known.vocabulary or not marked):
            break
        size += 1
    return parts[size - 1].end() if size > 1 else 0
