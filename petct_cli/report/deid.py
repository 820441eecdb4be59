"""De-identification of Vietnamese report text: what names a person goes, dates move, everything else keeps its bytes.

In this order: dates are moved by the patient's offset; the study's own identifiers are found by the hit rule; labels
(``Họ tên:``, ``Mã BN``, ``BS.`` ...) give away what follows them; family names with capitalised words after them are
names unless a medical phrase says otherwise. What looks like a name and is none of these is counted for review.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from petct_cli.report.deid_dates import moved_dates
from petct_cli.report.deid_labels import labelled
from petct_cli.report.deid_marks import (
    ADDRESS,
    CAPITAL,
    DATE,
    MARKS,
    NAME,
    NAME_WORD,
    NUMBER,
    PHONE,
    PLACE,
    SMALL,
    Change,
)
from petct_cli.report.deid_words import harmless_pairs, is_medical, word_lists

__all__ = ["Cleaned", "clean_sections", "clean_text", "harmless_pairs", "report_file", "without_marks"]

_MARK_OF_KIND = {"name": NAME, "phone": PHONE, "address": ADDRESS, "date": DATE, "institution": PLACE}

FindKnown = Callable[[str], Sequence[tuple[int, int, str]]]


@dataclass(frozen=True)
class Cleaned:
    """Text without identifiers.

    Attributes
    ----------
    counts
        Replacements by kind.
    written
        Stretches of `text` that were written here: no leak, whatever they look like.
    doubtful
        (start, end) in `text` of capitalised words that a person should look at.
    """

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)
    written: tuple[tuple[int, int], ...] = ()
    doubtful: tuple[tuple[int, int], ...] = ()

    @property
    def unwritten(self) -> str:
        """`text` with what was written here blanked out: what a search for left identifiers has to read."""
        letters = list(self.text)
        for start, end in self.written:
            letters[start:end] = "\n" * (end - start)
        return "".join(letters)


def clean_text(text: str, find_known: FindKnown, days: int | None) -> Cleaned:
    """Take identifiers out of `text`.

    Parameters
    ----------
    find_known
        Finds the study's own values: (start, end, kind) with kinds such as name, id, phone, date.
    days
        The patient's day offset; None leaves dates as they are.

    Returns
    -------
    Cleaned
        The same text, byte for byte, where nothing had to change.
    """
    composed = unicodedata.normalize("NFC", text)
    changes: list[Change] = []
    for rule in (moved_dates(composed, days), _known(composed, find_known, days), labelled(composed), _names(composed)):
        _take(changes, rule, composed)
    if not changes:
        return Cleaned(text, doubtful=_doubtful(text, ()))
    changes.sort()
    parts: list[str] = []
    written: list[tuple[int, int]] = []
    at = length = 0
    for change in changes:
        parts += [composed[at : change.start], change.text]
        length += change.start - at
        written.append((length, length + len(change.text)))
        length += len(change.text)
        at = change.end
    parts.append(composed[at:])
    new = "".join(parts)
    counts = Counter(change.kind for change in changes)
    return Cleaned(new, dict(sorted(counts.items())), tuple(written), _doubtful(new, written))


def without_marks(cleaned: Cleaned) -> str:
    """Return cleaned text with nothing where reports have a mark such as ``[TÊN]``: headers have no room for marks."""
    text = cleaned.text
    for start, end in reversed(cleaned.written):
        if text[start:end] in MARKS:
            text = text[:start] + text[end:]
    return " ".join(text.split()) if cleaned.counts else text


def clean_sections(
    sections: Mapping[str, str], find_known: FindKnown, days: int | None
) -> tuple[dict[str, Cleaned], Counter[str]]:
    """Clean every section; return them by name and the replacements of all by kind."""
    cleaned = {name: clean_text(text, find_known, days) for name, text in sections.items()}
    total: Counter[str] = Counter()
    for section in cleaned.values():
        total.update(section.counts)
    return cleaned, total


def report_file(sections: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON of a clean report, in the layout of the ViMed-PET release and with nothing else."""
    titles = {
        "head_neck": "Đầu - cổ",
        "chest": "Lồng ngực",
        "abdomen_pelvis": "Ổ bụng - khung chậu",
        "musculoskeletal": "Hệ cơ - xương",
    }
    document: dict[str, Any] = {}
    for name, title in (("indication", "Chỉ định"), ("history", "Tiền sử"), ("impression", "Nhận định kết quả")):
        if name in sections:
            document[title] = sections[name]
    regions = {title: sections[name] for name, title in titles.items() if name in sections}
    if regions:
        document["Mô tả hình ảnh"] = regions
    elif "findings" in sections:
        document["Mô tả hình ảnh"] = sections["findings"]
    return document


def _take(changes: list[Change], more: Iterable[Change], text: str) -> None:
    """Add changes; what an earlier one covers stays its own, and two views of one name are joined."""
    for change in more:
        if change.end <= change.start:
            continue
        met = [other for other in changes if change.start < other.end and other.start < change.end]
        if not met:
            changes.append(change)
        elif change.kind == "name" and all(other.kind == "name" for other in met):
            start, end = min(o.start for o in (change, *met)), max(o.end for o in (change, *met))
            changes[:] = [other for other in changes if other not in met]
            changes.append(Change(start, end, NAME, "name"))
        elif change.text in MARKS:
            changes.extend(_uncovered(change, met, text))


def _uncovered(change: Change, met: Iterable[Change], text: str) -> Iterable[Change]:
    """Yield what of a change lies outside of others: a date in an address is no reason to leave the address."""
    at = change.start
    for start, end in sorted([(other.start, other.end) for other in met] + [(change.end, change.end)]):
        if any(character.isalnum() for character in text[at:start]):
            yield change._replace(start=at, end=start)
        at = max(at, end)


def _known(text: str, find_known: FindKnown, days: int | None) -> Iterable[Change]:
    for start, end, kind in find_known(text):
        if kind != "date" or days is not None:
            yield Change(start, end, _MARK_OF_KIND.get(kind, NUMBER), kind)


_RUN = re.compile(rf"(?<![\w/]){NAME_WORD}(?:[ \t]+{NAME_WORD}){{1,5}}")


def _names(text: str) -> Iterable[Change]:
    surnames, plain, _, _ = word_lists()
    for match in _RUN.finditer(text):
        words = [(found.group(), found.start()) for found in re.finditer(r"\S+", match.group())]
        for index, (word, offset) in enumerate(words[:-1]):
            following = len(words) - index - 1
            folded = word.casefold()
            is_word = surnames.get(folded)
            # In capitals a heading looks like a name ("HỒ SƠ"): a name that is also a word then needs two more.
            known = is_word is not None and following >= (2 if is_word and match.group().isupper() else 1)
            if not known and word.isascii():
                known = folded in plain and following >= 1
            run = match.group()[offset:]
            if known and not is_medical(run):
                # At most five words: a family name, its middle names and a given name.
                last = words[min(index + 4, len(words) - 1)]
                yield Change(match.start() + offset, match.start() + last[1] + len(last[0]), NAME, "name")
                break


_CAPITALISED_PAIR = re.compile(rf"(?<=[{SMALL},] )[{CAPITAL}][{SMALL}]{{1,6}} [{CAPITAL}][{SMALL}]{{1,6}}\b")


def _doubtful(text: str, written: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    spans = (match.span() for match in _CAPITALISED_PAIR.finditer(text) if not is_medical(match.group()))
    return tuple(span for span in spans if all(span[1] <= start or span[0] >= end for start, end in written))
