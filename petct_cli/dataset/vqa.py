"""Questions about one region, with answers that its true lesions or its report state. Nothing is asked of the rest.

Of each of the kinds ``size``, ``suv``, ``where``, ``how_many`` and ``open`` a region gets one question at most; of
``yes_no`` one for each place that is known to hold a lesion or to be free, and one for the region as a whole. Those are
candidates only: `Balance` keeps as many with yes as with no of each place in each split, so that no answer can be had
from the question alone. ``size`` and ``suv`` are of a lesion alone at its place, or of the largest at a site
(``question.most``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from petct_cli.core.jsonl import decode, encode
from petct_cli.core.records import Record, Sample
from petct_cli.dataset.facts import Facts, Finding, Place, Span, has_side
from petct_cli.dataset.samples import exchange
from petct_cli.dataset.spool import Spool
from petct_cli.dataset.wording import (
    draw,
    listed,
    load_table,
    millimetres,
    pick,
    place_name,
    region_phrase,
    sentence,
    suv,
)

KINDS = ("yes_no", "size", "suv", "where", "how_many", "open")


def vqa_samples(base: Sample, facts: Facts, text: str) -> Iterator[Sample]:
    """Yield the questions about one region.

    Parameters
    ----------
    base
        Identity (``study/region/vqa``), region and images.
    facts
        What is known of the region.
    text
        The region's report text, of which the spans in `facts` are.
    """
    writer = _Writer(base, facts, text)
    yield from writer.yes_no()
    yield from writer.measure("size", lambda finding: finding.size_mm, millimetres, "mm")
    yield from writer.measure("suv", lambda finding: finding.suv_max, suv, "SUVbw")
    yield from writer.where()
    yield from writer.how_many()
    yield from writer.open()


class _Writer:
    def __init__(self, base: Sample, facts: Facts, text: str) -> None:
        self._base = base
        self._facts = facts
        self._text = text
        self._region = base.region.name if base.region is not None else "unknown"
        # One lesion alone at its place: what is said of it can be meant of no other.
        self._single = [
            finding
            for finding in facts.findings
            if not finding.several and has_side(finding) and len(self._at_site(finding)) == 1
        ]

    def _at_site(self, finding: Finding) -> list[Finding]:
        site, side = finding.place
        return [
            other
            for other in self._facts.findings
            if other.place[0] == site and (other.place[1] == side or not has_side(other))
        ]

    def yes_no(self) -> Iterator[Sample]:
        table = load_table("questions_vi")["yes_no"]
        there = {finding.place: finding.span for finding in self._facts.findings if has_side(finding)}
        for answer, places in (("yes", there), ("no", self._facts.free)):
            for place, span in places.items():
                name = place_name(*place)
                slots = {"place": name}
                phrases: list[str] = table[answer]
                yield self._sample("yes_no", place, table["question"], phrases, slots, answer, span=span)
        if self._facts.stated is not None:
            (is_there, span), table = self._facts.stated, load_table("questions_vi")["yes_no_region"]
            answer, slots = "yes" if is_there else "no", {"region": region_phrase(self._region)}
            yield self._sample("yes_no", None, table["question"], table[answer], slots, answer, span=span)

    def measure(
        self, kind: str, value: Callable[[Finding], float | None], written: Callable[[float], str], unit: str
    ) -> Iterator[Sample]:
        alone = [finding for finding in self._single if value(finding) is not None]
        chosen = self._one(kind, alone or self._most(value))
        number = None if chosen is None else value(chosen)
        if chosen is None or number is None:
            return
        table = load_table("questions_vi")[kind if alone else f"{kind}_most"]
        slots = {"place": place_name(*chosen.place), ("mm" if kind == "size" else "suv"): written(number)}
        yield self._sample(
            kind,
            chosen.place,
            table["question"],
            table["answer"],
            slots,
            number,
            span=chosen.span,
            unit=unit,
            most=not alone,
        )

    def _most(self, value: Callable[[Finding], float | None]) -> list[Finding]:
        """Return of each site with several lesions the one of the largest value, as a finding of the whole site.

        Reports give several lesions the measures of the largest ("vài hạch, SUVmax 5,3"). All at the site must have
        one, and none may be told with lesions of another site, of which the largest may be.
        """
        found = []
        for site in dict.fromkeys(finding.place[0] for finding in self._facts.findings):
            here = [finding for finding in self._facts.findings if finding.place[0] == site]
            if all(value(finding) is not None and not finding.elsewhere for finding in here):
                largest = max(here, key=lambda one: value(one) or 0.0)
                sides = {finding.place[1] for finding in here}
                found.append(replace(largest, place=(site, sides.pop() if len(sides) == 1 else None)))
        return found

    def where(self) -> Iterator[Sample]:
        if not self._facts.findings or not self._facts.complete:
            return
        table = load_table("questions_vi")["where"]
        places = _both_sides(self._facts.places())
        slots = {"region": region_phrase(self._region), "places": listed([place_name(*place) for place in places])}
        answer = [_named(place) for place in self._facts.places()]
        yield self._sample("where", None, table["question"], table["answer"], slots, answer)

    def how_many(self) -> Iterator[Sample]:
        findings = self._facts.findings
        if not findings or not self._facts.complete or any(finding.several for finding in findings):
            return
        table = load_table("questions_vi")["how_many"]
        slots = {"region": region_phrase(self._region), "number": str(len(findings))}
        yield self._sample("how_many", None, table["question"], table["answer"], slots, len(findings))

    def open(self) -> Iterator[Sample]:
        table = load_table("questions_vi")["open"]
        measured = [one for one in self._single if one.size_mm is not None and one.suv_max is not None]
        chosen = self._one("open", self._single if self._facts.source == "report" else measured)
        if chosen is None:
            return
        slots = {"place": place_name(*chosen.place)}
        if chosen.span is not None:
            # In the words of the report.
            phrases = [self._text[slice(*chosen.span)].strip(" ,;.").replace("{", "{{").replace("}", "}}") + "."]
        else:
            phrases = table["with_both"]
            slots |= {"mm": millimetres(chosen.size_mm or 0.0), "suv": suv(chosen.suv_max or 0.0)}
        yield self._sample("open", chosen.place, table["question"], phrases, slots, None, span=chosen.span)

    def _one(self, kind: str, findings: Sequence[Finding]) -> Finding | None:
        return min(findings, key=lambda one: draw(self._base.id, kind, *one.place), default=None)

    def _sample(
        self,
        kind: str,
        place: Place | None,
        questions: Sequence[str],
        answers: Sequence[str],
        slots: dict[str, str],
        answer: Any,
        *,
        span: Span | None = None,
        unit: str | None = None,
        most: bool = False,
    ) -> Sample:
        about = "-".join([kind, *(part for part in place or () if part)])
        identity = f"{self._base.id}/{about}"
        reference = sentence(pick(answers, identity, "answer").format(**slots))
        asked = sentence(pick(questions, identity, "question").format(**slots))
        question: dict[str, Any] = {"kind": kind, "source": self._facts.source}
        if place is not None:
            question |= _named(place)
        if answer is not None:
            question["answer"] = answer
        if unit is not None:
            question["unit"] = unit
        if most:
            question["most"] = True
        if span is not None:
            question["span"] = list(span)
        return self._base.with_fields(
            id=identity,
            messages=exchange(asked, reference, images=len(self._base.images)),
            reference=reference,
            question=question,
        )


def _named(place: Place) -> dict[str, str]:
    site, side = place
    return {"site": site, "side": side} if side else {"site": site}


def _both_sides(places: Sequence[Place]) -> list[Place]:
    """Join left and right of one site."""
    joined: list[Place] = []
    for site, side in places:
        if side == "right" and joined and joined[-1] == (site, "left"):
            joined[-1] = (site, "bilateral")
        else:
            joined.append((site, side))
    return joined


class Balance:
    """Keeps of the yes/no candidates as many with yes as with no, of each place, split and region name.

    Candidates wait on disk until the last is in; which of the more frequent answer stay is decided by a hash of their
    ids. So the balance is exact and does not depend on the order of the studies.
    """

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder / "yes_no.sqlite")
        self._left_out = 0

    def take(self, record: Record) -> Iterable[Record]:
        """Keep a yes/no candidate back, let everything else pass."""
        question = record.question if isinstance(record, Sample) and record.error is None else None
        if not isinstance(record, Sample) or question is None or question["kind"] != "yes_no":
            return [record]
        region = record.region.name if record.region is not None else ""
        about = "/".join([str(record.split), region, question.get("site", ""), question.get("side", "")])
        self._spool.add(f"{about}/{question['answer']}", record.id, encode(record))
        return []

    def rest(self) -> Iterator[Record]:
        """Yield the balanced questions, by split, place and hash."""
        sizes = self._spool.sizes()
        for about in sorted({group.rpartition("/")[0] for group in sizes}):
            groups = [f"{about}/{answer}" for answer in ("yes", "no")]
            kept = min(sizes.get(group, 0) for group in groups)
            self._left_out += sum(sizes.get(group, 0) for group in groups) - 2 * kept
            for group in groups:
                yield from (decode(body) for body in self._spool.first(group, kept))

    def notes(self) -> Iterator[str]:
        """Say how many candidates had no counterpart."""
        if self._left_out:
            yield f"{self._left_out} yes/no questions left out to keep yes and no even at every place"
