"""De-identification of Vietnamese report text: what names a person goes, dates move, everything else keeps its bytes.

In this order: dates are moved by the patient's offset; the study's own identifiers are found by the hit rule; labels
(``Họ tên:``, ``Mã BN``, ``BS.`` ...) give away what follows them; family names with capitalised words after them are
names unless a medical phrase says otherwise. What looks like a name and is none of these is counted for review.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from petct_cli.report.deid_dates import moved_dates
from petct_cli.report.deid_labels import labelled
from petct_cli.report.deid_marks import ADDRESS, DATE, MARKS, NAME, NUMBER, PHONE, PLACE, Change
from petct_cli.report.deid_names import names
from petct_cli.report.deid_places import places
from petct_cli.report.deid_review import Doubtful, doubtful
from petct_cli.report.deid_titles import titled
from petct_cli.report.deid_view import view_of
from petct_cli.report.deid_words import harmless_pairs, vocabulary
from petct_cli.report.headings import FINDING_SECTIONS

__all__ = [
    "Cleaned",
    "Doubtful",
    "clean_sections",
    "clean_text",
    "harmless_pairs",
    "report_file",
    "vocabulary",
    "without_marks",
]

_MARK_OF_KIND = {"name": NAME, "phone": PHONE, "address": ADDRESS, "date": DATE, "birth": DATE, "institution": PLACE}

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
    replaced
        What they stand for: the same number of stretches of the original text.
    doubtful
        Stretches of `text` that a person should look at, and why.
    """

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)
    written: tuple[tuple[int, int], ...] = ()
    replaced: tuple[tuple[int, int], ...] = ()
    doubtful: tuple[Doubtful, ...] = ()

    @property
    def unwritten(self) -> str:
        """`text` with what was written here blanked out: what a search for left identifiers has to read."""
        letters = list(self.text)
        for start, end in self.written:
            letters[start:end] = "\n" * (end - start)
        return "".join(letters)


def clean_text(text: str, find_known: FindKnown, days: int | None, *, remove_dates: bool = False) -> Cleaned:
    """Take identifiers out of `text`.

    Parameters
    ----------
    find_known
        Finds the study's own values: (start, end, kind) with kinds such as name, id, phone, date.
    days
        The patient's day offset; None leaves dates as they are.
    remove_dates
        Whether dates are taken out and not moved.

    Returns
    -------
    Cleaned
        The same text, byte for byte, where nothing had to change.
    """
    view = view_of(text)
    changes: list[Change] = []
    plain = view.text
    known = list(_known(plain, find_known, days))
    dates = moved_dates(plain, days)
    if remove_dates:
        dates = (change._replace(text=DATE) if change.kind == "date" else change for change in dates)
    for rule in (
        # A birth date is not moved like others: beside the moved date of the study it would tell the age.
        (change for change in known if change.kind == "birth"),
        dates,
        known,
        labelled(plain),
        titled(plain),
        places(plain),
        names(plain),
    ):
        _take(changes, rule, plain)
    changes.sort()
    parts: list[str] = []
    written: list[tuple[int, int]] = []
    replaced: list[tuple[int, int]] = []
    at = length = 0
    for change in changes:
        start, end = view.original(change.start, change.end)
        parts += [text[at:start], change.text]
        length += start - at
        written.append((length, length + len(change.text)))
        replaced.append((start, end))
        length += len(change.text)
        at = end
    parts.append(text[at:])
    new = "".join(parts)
    counts = Counter(change.kind for change in changes)
    return Cleaned(new, dict(sorted(counts.items())), tuple(written), tuple(replaced), doubtful(new, written))


def without_marks(cleaned: Cleaned) -> str:
    """Return cleaned text with nothing where reports have a mark such as ``[TÊN]``: headers have no room for marks."""
    text = cleaned.text
    for start, end in reversed(cleaned.written):
        if text[start:end] in MARKS:
            text = text[:start] + text[end:]
    return " ".join(text.split()) if cleaned.counts else text


def clean_sections(
    sections: Mapping[str, str], find_known: FindKnown, days: int | None, *, remove_dates: bool = False
) -> tuple[dict[str, Cleaned], Counter[str]]:
    """Clean every section; return them by name and the replacements of all by kind."""
    cleaned = {name: clean_text(text, find_known, days, remove_dates=remove_dates) for name, text in sections.items()}
    total: Counter[str] = Counter()
    for section in cleaned.values():
        total.update(section.counts)
    return cleaned, total


_TITLES = {
    "vi": {
        "head_neck": "Đầu - cổ",
        "chest": "Lồng ngực",
        "abdomen_pelvis": "Ổ bụng - khung chậu",
        "musculoskeletal": "Hệ cơ - xương",
        "indication": "Chỉ định",
        "history": "Tiền sử",
        "impression": "Nhận định kết quả",
        "findings": "Mô tả hình ảnh",
        "undivided": "Mô tả",
    },
    "en": {
        "head_neck": "Head and neck",
        "chest": "Chest",
        "abdomen_pelvis": "Abdomen and pelvis",
        "musculoskeletal": "Musculoskeletal",
        "indication": "Indication",
        "history": "History",
        "impression": "Impression",
        "findings": "Findings",
        "undivided": "Description",
    },
}


def report_file(sections: Mapping[str, str], lang: str = "vi") -> dict[str, Any]:
    """Return the JSON of a clean report, in the layout of the ViMed-PET release and with nothing else."""
    titles = _TITLES[lang]
    document: dict[str, Any] = {
        titles[name]: sections[name] for name in ("indication", "history", "impression") if name in sections
    }
    regions = {titles[name]: sections[name] for name in FINDING_SECTIONS if name in sections}
    if regions:
        document[titles["findings"]] = regions
    if "findings" in sections:
        document[titles["undivided" if regions else "findings"]] = sections["findings"]
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
