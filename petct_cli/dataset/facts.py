"""What is known of the lesions of one region: from the true lesions where there are some, else from the report.

Only FDG-avid lesions at the sites of ``report/data/sites.toml`` count, as in scoring. A place is a site with its side.
What is neither shown to be there nor said to be free is not known, and nothing is asked or told of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from petct_cli.core.records import Lesion
from petct_cli.report.absences import stated_absences
from petct_cli.report.lesions import ExtractedLesion, extract_lesions
from petct_cli.report.sites import load_sites, sides_of

Place = tuple[str, str | None]
Span = tuple[int, int]
Source = Literal["truth", "report"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One lesion at one place.

    Attributes
    ----------
    place
        Site and side; the side is None for a site without sides, or where the report gives none.
    size_mm, suv_max
        As known; of the truth rounded as reports write them (whole millimetres, one decimal).
    span
        Characters of the region's report text that state it; None for a true lesion.
    several
        Said to be more than one ("vài hạch"): how many is not known.
    """

    place: Place
    size_mm: float | None
    suv_max: float | None
    span: Span | None = None
    several: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of one region.

    Attributes
    ----------
    source
        ``truth`` or ``report``.
    findings
        The lesions, in order.
    free
        Places that are known to hold none, with the characters that say so (None for the truth).
    free_region
        Whether the whole region is known to hold none.
    complete
        Whether `findings` are all there are: always for the truth; for a report when each of its FDG-avid lesions has a
        site and a number.
    """

    source: Source
    findings: tuple[Finding, ...] = ()
    free: Mapping[Place, Span | None] = field(default_factory=dict)
    free_region: bool = False
    complete: bool = True

    def at(self, place: Place) -> list[Finding]:
        """Return the lesions at `place`."""
        return [finding for finding in self.findings if finding.place == place]

    def without_suv(self) -> Facts:
        """Return the same without SUVmax: of a PET in another unit nobody can read it."""
        return replace(self, findings=tuple(replace(finding, suv_max=None) for finding in self.findings))

    def places(self) -> list[Place]:
        """Return the places with a lesion, in the order of the table of sites."""
        order = list(load_sites())
        return sorted(
            {finding.place for finding in self.findings}, key=lambda place: (order.index(place[0]), place[1] or "")
        )


def region_places(region: str) -> list[Place]:
    """Return the places that lie in `region` (all of them for the whole body)."""
    return [
        (site.key, side)
        for site in load_sites().values()
        if region in ("whole", site.region)
        for side in (("left", "right") if site.lateral else (None,))
    ]


def true_facts(region: str, lesions: Sequence[Lesion]) -> Facts:
    """Return what true lesions say of `region`; all that they do not name is free.

    A scan of region ``unknown`` shows no one knows what, so that nothing is free there.
    """
    findings = [
        Finding((lesion.site, side), _rounded(lesion.size_mm, 0), _rounded(lesion.suv_max, 1))
        for lesion in lesions
        if lesion.site in load_sites()
        for side in sides_of(lesion.site, lesion.side)
    ]
    taken = {finding.place for finding in findings}
    free = {place: None for place in region_places(region) if place not in taken} if region != "unknown" else {}
    known = region != "unknown"
    return Facts("truth", tuple(findings), free, known and not findings, known)


# One region is asked by several tasks in a row.
@lru_cache(maxsize=32)
def stated_facts(region: str, text: str) -> Facts:
    """Return what the report's text of `region` states.

    A lesion whose own words deny its uptake and measure it ("không tăng chuyển hóa FDG, SUVmax 3,8") is neither a
    lesion nor none.
    """
    extracted = extract_lesions(text)
    avid = [lesion for lesion in extracted if lesion.avid]
    findings = [
        Finding((lesion.site, side), _rounded(lesion.size_mm, 1), _rounded(lesion.suv_max, 1), lesion.span, several)
        for lesion in avid
        if lesion.site is not None
        for several in [lesion.multiple or lesion.side == "bilateral" or _shared(lesion, avid)]
        for side in sides_of(lesion.site, lesion.side)
    ]
    absences = stated_absences(text)
    # A lesion at a site, whatever its side and uptake, makes a denial there doubtful.
    named = {lesion.site for lesion in extracted if lesion.site is not None}
    here = set(region_places(region if region != "unknown" else "whole"))
    free = {
        (one.site, one.side): one.span
        for one in absences
        if one.site is not None and one.site not in named and (one.site, one.side) in here
    }
    return Facts(
        source="report",
        findings=tuple(findings),
        free=free,
        free_region=any(one.site is None for one in absences) and not extracted,
        complete=not any(lesion.suv_max is not None and not lesion.avid for lesion in extracted)
        and all(lesion.site is not None and not lesion.multiple for lesion in avid)
        and all(_has_side(finding.place) for finding in findings),
    )


def _shared(lesion: ExtractedLesion, all_of: Iterable[ExtractedLesion]) -> bool:
    """Say whether one finding with one set of measures was told of several places."""
    return sum(other.finding == lesion.finding for other in all_of) > 1


def _has_side(place: Place) -> bool:
    return place[1] is not None or not load_sites()[place[0]].lateral


def has_side(finding: Finding) -> bool:
    """Say whether the place of `finding` is fully known."""
    return _has_side(finding.place)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits) + 0.0


def to_json(facts: Facts) -> dict[str, Any]:
    """Return what a comparison needs of `facts` as JSON values."""
    return {
        "source": facts.source,
        "findings": [[*finding.place, finding.size_mm, finding.suv_max] for finding in facts.findings],
        "free": [list(place) for place in facts.free],
        "free_region": facts.free_region,
    }


def from_json(value: Mapping[str, Any]) -> Facts:
    """Read what `to_json` wrote."""
    return Facts(
        source=value["source"],
        findings=tuple(Finding((site, side), size, suv) for site, side, size, suv in value["findings"]),
        free=dict.fromkeys((site, side) for site, side in value["free"]),
        free_region=value["free_region"],
    )
