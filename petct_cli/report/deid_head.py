"""The head of a report (name, number, address ...): values to look for, none of which is let out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from petct_cli.report.deid_dates import FULL_DATE, day_of
from petct_cli.report.deid_marks import DEGREE, fold

# What the fields of a report's head hold, by words of their labels (folded).
_HEAD_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("phones", re.compile(r"\b(dien thoai|sdt|dt|phone|tel)\b")),
    ("addresses", re.compile(r"\b(dia chi|address|que quan|thuong tru)\b")),
    ("dates", re.compile(r"\b(ngay|date)\b")),
    ("institutions", re.compile(r"\b(noi chup|benh vien|hospital|institution)\b")),
    ("departments", re.compile(r"\b(khoa|don vi|department)\b")),
    ("ids", re.compile(r"\b(ma|so|pid|mrn|sba|cccd|cmnd|bhyt|id|accession|patient|study)\b")),
    ("names", re.compile(r"\b(ho ten|ho va ten|ten|bac si|bs|ktv|nguoi|benh nhan|bn|name|physician|doctor)\b")),
)
# Fields of a head that hold no value to look for.
_HARMLESS = (("other", re.compile(r"^(gioi|gioi tinh|tuoi|nam sinh|nghe nghiep|dan toc|can nang|chieu cao|sex|age)$")),)
_MAX_LABEL_WORDS = 5
_BIRTH = re.compile(r"\b(sinh|birth|dob)\b")
_HEAD_TITLE = re.compile(rf"^(?:{DEGREE}[.\s/]*)+|^(?:bác sĩ|ông|bà)\s+", re.IGNORECASE)


def is_administrative(label: str) -> bool:
    """Say whether a label of a report's head names something of the patient, the study or the staff."""
    folded = re.sub(r"[^\w]+", " ", fold(label)).strip()
    return len(folded.split()) <= _MAX_LABEL_WORDS and any(
        words.search(folded) for _, words in (*_HEAD_KINDS, *_HARMLESS)
    )


def administrative_values(head: Mapping[str, Any]) -> dict[str, set[Any]]:
    """Sort what a report's head says of the patient by kind: names, ids, phones, addresses, institutions, dates.

    Parameters
    ----------
    head
        The parts of a report that are no section, by label.
    """
    found: dict[str, set[Any]] = {}
    for label, value in _flat(head):
        folded = re.sub(r"[^\w]+", " ", fold(label.rpartition("/")[2] or label))
        for kind, words in _HEAD_KINDS:
            if not words.search(folded):
                continue
            if kind == "dates":
                days = {day for match in FULL_DATE.finditer(value) if (day := day_of(match)) is not None}
                found.setdefault("births" if _BIRTH.search(folded) else "dates", set()).update(days)
            elif kind == "ids" and not any(character.isdigit() for character in value):
                # "Patient: Nguyễn Văn An", "Study: PET/CT": a name, or nothing that identifies.
                if re.search(r"\b(patient|benh nhan|bn)\b", folded):
                    found.setdefault("names", set()).add(value.strip())
            else:
                text = _HEAD_TITLE.sub("", value.strip()).strip() if kind == "names" else value.strip()
                # "Không rõ" under a name's label is no name: a name has capitals throughout.
                if kind != "names" or not any(word[:1].islower() for word in text.split()):
                    found.setdefault(kind, set()).add(text)
            break
    return found


def _flat(head: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for label, value in head.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{label}/")
        elif isinstance(value, list | tuple):
            for item in value:
                yield from _flat({label: item}, prefix)
        elif isinstance(value, str | int) and not isinstance(value, bool):
            yield f"{prefix}{label}", str(value)
