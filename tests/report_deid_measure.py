"""Recall of report de-identification by kind, position and form over generated reports, and what it touched beside.

Run as a program to print the tables: ``python tests/report_deid_measure.py dev`` (or ``held``).
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from report_deid_corpus import Corpus, GeneratedReport, Planted, Subject, unmarked

from petct_cli.dicom.deid.identifiers import Identifiers
from petct_cli.dicom.deid.known import Known, know
from petct_cli.report.deid import Cleaned, clean_text, harmless_pairs, vocabulary

DAYS = -613


@dataclass
class Measured:
    """Planted, replaced and replaced-or-listed identifiers by (kind, position, form); the rest that was touched."""

    planted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    replaced: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    listed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    missed: list[tuple[Planted, str]] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    tokens: int = 0
    reports: int = 0
    alarms: Counter[str] = field(default_factory=Counter)

    def recall(self, *, listed: bool = False, **wanted: str) -> float:
        """Return the share replaced (or, with `listed`, replaced or listed for review) of what was planted."""
        hit = self.replaced + self.listed if listed else self.replaced
        total = sum(number for key, number in self.planted.items() if _is(key, wanted))
        return sum(number for key, number in hit.items() if _is(key, wanted)) / total

    def table(self, column: int) -> Iterable[str]:
        """Yield lines of recall by kind and the value of another column (1 position, 2 form)."""
        rows: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for at, counter in enumerate((self.planted, self.replaced, self.listed)):
            for key, number in counter.items():
                rows[key[0], key[column]][at] += number
        for (kind, other), (planted, replaced, listed) in sorted(rows.items()):
            share, found = replaced / planted, (replaced + listed) / planted
            yield f"{kind:18} {other:20} {replaced:5}/{planted:<5} {share:7.1%}  with review {found:7.1%}"


def _is(key: tuple[str, str, str], wanted: dict[str, str]) -> bool:
    return all(key[("kind", "position", "form").index(name)] == value for name, value in wanted.items())


def known_of(subject: Subject) -> Known:
    """Return what a study's headers would tell; half of the scanners hold names without marks."""
    family, *rest = subject.name.split()
    names = {"^".join(filter(None, (family, rest[-1], " ".join(rest[:-1])))) if rest else family, subject.physician}
    if int(subject.phone[-1]) % 2:
        names = {unmarked(name).upper() for name in names}
    return know(
        Identifiers(
            names=names,
            ids={subject.patient_id, subject.accession},
            phones={subject.phone},
            addresses={subject.address},
            institutions={subject.institution},
            dates={subject.birth},
        ),
        harmless_pairs(),
        vocabulary(),
    )


def gone(text: str, start: int, end: int, spans: Iterable[tuple[int, int]], kind: str) -> bool:
    """Say whether every letter and digit of an identifier lies in a span (of addresses and institutions: all but words
    written small, such as "xã" and "tỉnh")."""
    covered = {place for a, b in spans for place in range(max(a, start), min(b, end))}
    words_may_stay = (
        kind in ("address", "known_address", "institution", "known_institution")
        and text[start:end] != text[start:end].lower()
    )
    at = start
    if kind == "date" and text[end - 6 : end - 5] == " " and text[end - 3] == ":":
        # Times of day stay.
        end -= 6
    for word in text[start:end].split():
        at = text.index(word, at)
        small = words_may_stay and word == word.lower() and not any(c.isdigit() for c in word)
        if not small and any(text[place].isalnum() and place not in covered for place in range(at, at + len(word))):
            return False
        at += len(word)
    return True


def verify(original: str, cleaned: Cleaned) -> None:
    """Hold the clean text against the original: outside of what is said to be replaced, every byte must be the same."""
    at = 0
    rebuilt = []
    for (start, end), (new_start, new_end) in zip(cleaned.replaced, cleaned.written, strict=True):
        rebuilt += [original[at:start], cleaned.text[new_start:new_end]]
        at = end
    assert "".join([*rebuilt, original[at:]]) == cleaned.text


def in_original(cleaned: Cleaned, place: int) -> int:
    """Return where a place of the clean text (outside of what was written) stood in the original."""
    moved = 0
    for (_, end), (_, new_end) in zip(cleaned.replaced, cleaned.written, strict=True):
        if new_end <= place:
            moved = end - new_end
    return place + moved


def measure(reports: Iterable[GeneratedReport]) -> Measured:
    """Clean generated reports and count."""
    found = Measured()
    for report in reports:
        found.reports += 1
        known = known_of(report.subject)
        for section, text in report.sections.items():
            cleaned = clean_text(text, known.find, DAYS)
            verify(text, cleaned)
            _count(found, text, cleaned, [planted for planted in report.planted if planted.section == section])
    return found


def _count(found: Measured, text: str, cleaned: Cleaned, planted: list[Planted]) -> None:
    review = [(in_original(cleaned, d.start), in_original(cleaned, d.end - 1) + 1) for d in cleaned.doubtful]
    for one in planted:
        key = (one.kind, one.position, one.form)
        found.planted[key] += 1
        if gone(text, one.start, one.end, cleaned.replaced, one.kind):
            found.replaced[key] += 1
        else:
            touched = any(a < one.end and one.start < b for a, b in review)
            found.listed[key] += touched
            found.missed.append((one, text[max(0, one.start - 25) : one.end + 15] + (" (listed)" if touched else "")))
    for (start, end), reason in zip(review, (d.reason for d in cleaned.doubtful), strict=True):
        if not any(start < one.end and one.start < end for one in planted):
            found.alarms[f"{reason}: {text[start:end]}"] += 1
    own = {place for one in planted for place in range(one.start, one.end)}
    at = 0
    for token in text.split():
        at = text.index(token, at)
        places = [place for place in range(at, at + len(token)) if text[place].isalnum() and place not in own]
        found.tokens += bool(places)
        if any(a <= place < b for a, b in cleaned.replaced for place in places):
            found.beside.append(token)
        at += len(token)


def main(part: str, seed: int, each: int) -> None:
    """Print the tables of a part."""
    found = measure(Corpus(part, seed).reports(each))
    print(f"{part}: {found.reports} reports, {sum(found.planted.values())} planted")
    print("\n".join(found.table(1)))
    print(
        "\n".join(
            line for line in found.table(2) if "name" in line or "initials" in line or "phone" in line or "date" in line
        )
    )
    for kind in sorted({key[0] for key in found.planted}):
        planted = sum(number for key, number in found.planted.items() if key[0] == kind)
        share, listed = found.recall(kind=kind), found.recall(kind=kind, listed=True)
        print(f"ALL {kind:20} {share:7.2%}  with review {listed:7.2%}  of {planted}")
    print(f"tokens beside touched {len(found.beside)} of {found.tokens}: {Counter(found.beside).most_common(60)}")
    print(f"alarms beside {sum(found.alarms.values())}: {found.alarms.most_common(40)}")
    if part == "dev":
        for one, context in found.missed[:400]:
            print(one.kind, one.position, one.form, repr(context))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0, int(sys.argv[3]) if len(sys.argv) > 3 else 3)
