"""Two studies of one split side by side, the same region of each: how their lesions differ.

`half` is one side, made study by study; `Compare` waits for all of them and puts them together: each study of a patient
with the next one by date, and each study with others of other patients, in an order drawn from a hash.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, ClassVar

from petct_cli.core.jsonl import encode
from petct_cli.core.provenance import entry
from petct_cli.core.records import ProvenanceEntry, Record, Sample
from petct_cli.dataset.facts import Facts, Finding, Place, from_json, has_side, to_json
from petct_cli.dataset.samples import exchange
from petct_cli.dataset.spool import Spool
from petct_cli.dataset.wording import load_table, millimetres, pick, place_name, region_phrase, sentence, suv
from petct_cli.report.sites import load_sites

FOLLOW_UP, PATIENTS = "follow_up", "patients"


class Half(Record):
    """One region of one study, on its way to be compared; never written."""

    TYPE: ClassVar[str] = "half"

    base: Sample
    facts: dict[str, Any]
    date: str | None = None


def half(base: Sample, facts: Facts, date: str | None) -> Half:
    """Return one side of comparisons.

    Parameters
    ----------
    base
        Identity, region and images.
    date
        Of the study, or its period: what puts the studies of one patient in order.
    """
    fields = {"id": base.id, "base": base, "facts": to_json(facts)}
    return Half.model_validate({**fields, "date": date} if date else fields)


def differences(first: Facts, second: Facts, region: str, manner: str) -> list[str]:
    """Return one sentence per place where something is known, in the order of the table of sites.

    Empty when nothing can be said: neither side has a lesion, and not both are known to have none. Of several lesions
    at one place the largest size and the highest SUVmax count.
    """
    table: dict[str, Any] = load_table("comparisons_vi")[manner]
    if not first.findings and not second.findings:
        return (
            [_filled(table["none"], region=region_phrase(region))] if first.free_region and second.free_region else []
        )
    order = list(load_sites())
    places = {finding.place for facts in (first, second) for finding in facts.findings if has_side(finding)}
    said = []
    for place in sorted(places, key=lambda place: (order.index(place[0]), place[1] or "")):
        mine, theirs = first.at(place), second.at(place)
        if mine and theirs:
            said.append(_both(mine, theirs, place, table))
        elif mine:
            kind = "only_first" if _is_free(second, place, region) else "told_first"
            said.append(_filled(table[kind], place=place_name(*place), what=_measures(mine)))
        else:
            kind = "only_second" if _is_free(first, place, region) else "told_second"
            said.append(_filled(table[kind], place=place_name(*place), what=_measures(theirs)))
    return said


def _is_free(facts: Facts, place: Place, region: str) -> bool:
    """Say whether `place` is known to hold no lesion: by itself, or as part of a region that a report calls free.

    What a report says of a region is not of the bones in it: they have a section of their own.
    """
    return place in facts.free or (facts.free_region and load_sites()[place[0]].section == region)


def _both(first: Sequence[Finding], second: Sequence[Finding], place: Place, table: Mapping[str, Any]) -> str:
    changes = []
    for name, read, write in _MEASURES:
        a, b = _largest(first, read), _largest(second, read)
        if a is None or b is None:
            continue
        written = write(a), write(b)
        kind = "same" if written[0] == written[1] else "up" if b > a else "down"
        values = written if table is load_table("comparisons_vi")[FOLLOW_UP] else written[::-1]
        changes.append(str(table[f"{name}_{kind}"]).format(a=values[0], b=values[1]))
    if not changes:
        return _filled(table["both_unmeasured"], place=place_name(*place))
    return _filled(table["both"], place=place_name(*place), changes=", ".join(changes))


_MEASURES: tuple[tuple[str, Callable[[Finding], float | None], Callable[[float], str]], ...] = (
    ("size", lambda finding: finding.size_mm, millimetres),
    ("suv", lambda finding: finding.suv_max, suv),
)


def _largest(findings: Sequence[Finding], read: Callable[[Finding], float | None]) -> float | None:
    return max((value for finding in findings if (value := read(finding)) is not None), default=None)


def _measures(findings: Sequence[Finding]) -> str:
    size, uptake = (_largest(findings, read) for _, read, _ in _MEASURES)
    parts = [f"{millimetres(size)} mm"] if size is not None else []
    parts += [f"SUVmax {suv(uptake)}"] if uptake is not None else []
    return f" ({', '.join(parts)})" if parts else ""


def _filled(phrase: str, **slots: str) -> str:
    return sentence(phrase.format(**slots))


@dataclass(frozen=True)
class Side:
    """A half as read back."""

    base: Sample
    facts: Facts
    date: str | None


def compared(first: Side, second: Side, manner: str, stamp: ProvenanceEntry) -> Sample | None:
    """Return the comparison of two sides, None when nothing can be said."""
    base = first.base
    region = base.region.name if base.region is not None else "unknown"
    said = differences(first.facts, second.facts, region, manner)
    if not said:
        return None
    identity = f"{base.id}/{second.base.study}"
    asked = pick(load_table("comparisons_vi")[manner]["question"], identity).format(region=region_phrase(region))
    reference = " ".join(said)
    images = [*base.images, *second.base.images]
    return base.with_fields(
        id=identity,
        images=images,
        messages=exchange(asked, reference, images=len(images)),
        reference=reference,
        other={"study": second.base.study, "patient": second.base.patient, "manner": manner},
        provenance=[*base.provenance, stamp],
    )


class Compare:
    """Takes the halves out of the stream, and gives their comparisons after the last record.

    Parameters
    ----------
    folder
        A folder that goes away with the run.
    pairs
        With how many other patients' studies the region of a study is compared as the first of the two, at most.
    stage, version, options
        For the provenance.

    Within a split and region studies stand in a ring, in an order drawn from a hash of their ids; each is compared with
    the next `pairs`, but not with one of its own patient. Follow-ups come by date: without dates, or on one day, there
    is no before and after. It depends on the set of studies alone; memory does not grow with their number.
    """

    def __init__(self, folder: Path, pairs: int, stage: str, version: str, options: Mapping[str, Any]) -> None:
        self._ring = Spool(folder / "ring.sqlite")
        self._by_patient = Spool(folder / "by_patient.sqlite")
        self._pairs = pairs
        self._stamp: Callable[[Side, Side], ProvenanceEntry] = lambda first, second: entry(
            stage, version, options, [image.sha256 for side in (first, second) for image in side.base.images]
        )
        self._left_out: Counter[str] = Counter()

    def take(self, record: Record) -> Iterable[Record]:
        """Keep a half back, let everything else pass."""
        if not isinstance(record, Half):
            return [record]
        base = record.base
        group = f"{base.split}/{base.region.name if base.region is not None else ''}"
        body = encode(record)
        self._ring.add(group, base.study, body)
        self._by_patient.add(group, base.study, body, order=f"{base.patient}\x00{record.date or ''}")
        return []

    def rest(self) -> Iterator[Record]:
        """Yield the comparisons, by split and region: follow-ups, then those of different patients."""
        for group, size in self._ring.sizes().items():
            for manner, pairs in ((FOLLOW_UP, self._follow_ups(group)), (PATIENTS, self._of_patients(group, size))):
                for first, second in pairs:
                    sample = compared(first, second, manner, self._stamp(first, second))
                    if sample is None:
                        self._left_out["of which nothing is known to differ or to agree"] += 1
                    else:
                        yield sample

    def _follow_ups(self, group: str) -> Iterator[tuple[Side, Side]]:
        for _, sides in groupby(map(_read, self._by_patient.first(group)), key=lambda side: side.base.patient):
            earlier: Side | None = None
            for side in sides:
                if earlier is not None and earlier.date and side.date and _orders(earlier.date, side.date):
                    yield earlier, side
                elif earlier is not None:
                    self._left_out["of one patient whose order in time is not known"] += 1
                earlier = side

    def _of_patients(self, group: str, size: int) -> Iterator[tuple[Side, Side]]:
        reach = min(self._pairs, size // 2)
        if reach < 1:
            return
        window: deque[Side] = deque()
        number = 0
        # The ring: after the last come the first again.
        for side in map(_read, _chained(self._ring, group, reach)):
            window.append(side)
            if len(window) <= reach:
                continue
            first = window.popleft()
            for step, second in enumerate(window, start=1):
                # Opposite places of an even ring meet once.
                if (2 * step < size or number < size // 2) and first.base.patient != second.base.patient:
                    yield first, second
            number += 1

    def notes(self) -> Iterator[str]:
        """Say which pairs could not be compared."""
        for reason, number in sorted(self._left_out.items()):
            yield f"left out {number} pairs of studies {reason}"


def _chained(spool: Spool, group: str, again: int) -> Iterator[bytes]:
    yield from spool.first(group)
    yield from islice(spool.first(group), again)


def _read(body: bytes) -> Side:
    kept = Half.model_validate_json(body)
    return Side(kept.base, from_json(kept.facts), kept.date)


def _orders(earlier: str, later: str) -> bool:
    """Say whether two dates or periods are in order: of one precision, and not the same."""
    return len(earlier) == len(later) and earlier < later
