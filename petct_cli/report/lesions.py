"""Lesions that a PET/CT report states, found by rules: deterministic, offline, with the text they rest on.

    for lesion in extract_lesions("Nốt phổi phải 12 mm, tăng chuyển hóa FDG (SUVmax: 3,2)."):
        lesion.site, lesion.side, lesion.size_mm, lesion.suv_max   # "lung", "right", 12.0, 3.2

Sentences are read one by one (`petct_cli.report.statements`). A finding at several places becomes one lesion per place
(with the same `ExtractedLesion.finding`); a sentence about "the largest one" gives its measures to the finding before
it; a lesion that is told again, as in an impression, is merged with its first mention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from petct_cli.report.aligned import composed_with_offsets, folded, original
from petct_cli.report.sections import sentence_spans
from petct_cli.report.sites import sides_of
from petct_cli.report.statements import Statement, read_sentence
from petct_cli.report.vocabulary import load_vocabulary

EXTRACTOR_VERSION = "2"
"""Belongs in the signature of every score that rests on extracted lesions."""

Fdg = Literal["increased", "none", "physiological"]
Invasion = Literal["yes", "no"]
Span = tuple[int, int]
LANGUAGES = ("vi", "en")
_LONGEST_SENTENCE = 2000


@dataclass(frozen=True, slots=True)
class ExtractedLesion:
    """One lesion at one place.

    Attributes
    ----------
    site
        Key of ``sites.toml``, None for an organ outside of it.
    side
        left, right, bilateral, or None where none is stated.
    organ
        Organ or area of the vocabulary, None when no place was understood.
    kind
        node, nodule, mass, cyst, ... (the heads of the vocabulary), None when only uptake is described.
    size_mm
        Largest stated diameter in millimetres.
    sizes_mm
        All diameters of the size statement, as written.
    suv_max
        SUVmax; of a range the larger.
    fdg
        ``increased``, ``none`` (said to have no more than its surroundings), ``physiological`` (no lesion; only on
        demand), or None when not stated.
    multiple
        Said to be several.
    span
        Half-open character range in the text that was given: the sentence or part of it that states the lesion.
    finding
        Number of the finding in the text; the places of one finding share it.
    mentions
        Spans of later sentences that tell the same lesion again.
    part
        Lobe or other part of the organ (``upper_lobe``, ``head``, ``antrum``), None when not stated.
    level
        Node level or station ("IIB", "4R"), vertebra ("L3"), liver or lung segment ("VII", "S6"), rib ("5"); several
        are joined by a comma. None when not stated.
    count
        Stated number of lesions, None when not stated.
    invasion
        ``yes``: said to grow into something, ``no``: said not to, None: not stated.
    invades
        Organs that it is said to grow into; may be empty where `invasion` is ``yes`` ("xâm lấn xung quanh").
    """

    site: str | None
    side: str | None
    organ: str | None
    kind: str | None
    size_mm: float | None
    sizes_mm: tuple[float, ...]
    suv_max: float | None
    fdg: Fdg | None
    multiple: bool
    span: Span
    finding: int
    mentions: tuple[Span, ...] = ()
    part: str | None = None
    level: str | None = None
    count: int | None = None
    invasion: Invasion | None = None
    invades: tuple[str, ...] = ()

    @property
    def avid(self) -> bool:
        """Whether it is said to take up FDG, or has an SUVmax and is not said to have none."""
        return self.fdg == "increased" or (self.fdg is None and self.suv_max is not None)


def extract_lesions(text: str, lang: str = "vi", physiological: bool = False) -> list[ExtractedLesion]:
    """Return the lesions that `text` states, in order of their first mention.

    Parameters
    ----------
    text
        Findings, an impression, or both one after the other.
    lang
        One of `LANGUAGES`.
    physiological
        Tell uptake that is said to be physiological, too, with ``fdg`` of that name. It is no lesion.

    Raises
    ------
    ValueError
        For another language.
    """
    if lang not in LANGUAGES:
        raise ValueError(f"no extractor for language {lang!r}")
    composed, offsets = composed_with_offsets(text)
    plain = folded(composed)
    found: list[ExtractedLesion] = []
    by_organ: dict[str | None, list[int]] = {}
    finding = 0
    for start, end in _of_bearable_length(composed, sentence_spans(composed)):
        for statement in read_sentence(plain[start:end], lang, physiological):
            first, last = statement.span
            span = (original(offsets, start + first), original(offsets, start + last))
            lesions = _lesions_of(statement, span, finding)
            if statement.refers_back and _refer_back(found, lesions):
                continue
            finding += 1
            for lesion in lesions:
                _add_or_merge(found, by_organ.setdefault(lesion.organ, []), lesion)
    return found


def _lesions_of(statement: Statement, span: Span, finding: int) -> list[ExtractedLesion]:
    """Return one lesion per place of `statement`."""
    lesions = []
    for at in statement.at:
        place = at.place
        lesions.append(
            ExtractedLesion(
                site=place.site if place else None,
                side=place.side if place else statement.side,
                organ=place.organ if place else None,
                kind=statement.kind,
                size_mm=max(at.sizes_mm, default=None),
                sizes_mm=at.sizes_mm,
                suv_max=at.suv_max,
                fdg=statement.fdg,
                multiple=statement.multiple,
                span=span,
                finding=finding,
                part=place.part if place else None,
                level=place.level if place else None,
                count=statement.count,
                invasion=statement.invasion,
                invades=statement.invades,
            )
        )
    return lesions


def _of_bearable_length(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Cut what is longer than any sentence, such as a model's endless repetition: work grows with its square."""
    for start, end in spans:
        while end - start > _LONGEST_SENTENCE:
            space = text.rfind(" ", start + 1, start + _LONGEST_SENTENCE)
            cut = space if space > start else start + _LONGEST_SENTENCE
            yield start, cut
            start = cut
        yield start, end


def lesion_record(lesion: ExtractedLesion) -> dict[str, Any]:
    """Return `lesion` as JSON values, keys as the attributes; spans are [start, end]."""
    return {
        name: [list(span) for span in value]
        if name == "mentions"
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in asdict(lesion).items()
    }


def lesion_sites(lesions: Iterable[ExtractedLesion]) -> set[tuple[str, str | None]]:
    """Return the (site, side) pairs of lesions that take up FDG, for comparison with true lesions.

    Lesions that are said not to take up FDG and organs outside of the sites do not count; a side counts only where the
    site has one; both sides are two pairs.
    """
    pairs: set[tuple[str, str | None]] = set()
    for lesion in lesions:
        if lesion.site is None or lesion.fdg == "none":
            continue
        pairs.update((lesion.site, side) for side in sides_of(lesion.site, lesion.side))
    return pairs


def _refer_back(found: list[ExtractedLesion], largest: Sequence[ExtractedLesion]) -> bool:
    """Give the measures of "the largest one" to the finding told before; say whether there was one to take them."""
    new = largest[0]
    if new.invasion and new.organ is None and new.size_mm is None and new.suv_max is None:
        _grow(found, new)
        return True
    if not found:
        return False
    last = found[-1].finding
    changed = False
    for index, lesion in enumerate(found):
        same_place = new.organ is None or any(other.organ == lesion.organ for other in largest)
        if lesion.finding == last and lesion.size_mm is None and lesion.suv_max is None and same_place:
            found[index] = replace(
                lesion,
                size_mm=new.size_mm,
                sizes_mm=new.sizes_mm,
                suv_max=new.suv_max,
                fdg=new.fdg or lesion.fdg,
                invasion=lesion.invasion or new.invasion,
                invades=lesion.invades or new.invades,
                span=(lesion.span[0], new.span[1]) if lesion.span[1] <= new.span[0] else lesion.span,
            )
            changed = True
    return changed


def _grow(found: list[ExtractedLesion], new: ExtractedLesion) -> None:
    """Give the lesion told last, of nodes where that is said, the invasion of `new`."""
    told = [one for one in found if (one.kind == "node") == (new.kind == "node")]
    if new.kind is None and new.invasion == "no":
        return  # "nền sọ không bị phá hủy" is said of none in particular
    for index, lesion in enumerate(found):
        if told and lesion.finding == told[-1].finding:
            both = tuple(dict.fromkeys([*lesion.invades, *new.invades]))
            found[index] = replace(
                lesion,
                invasion="yes" if "yes" in (lesion.invasion, new.invasion) else "no",
                invades=both,
                mentions=(*lesion.mentions, new.span),
            )


def _add_or_merge(found: list[ExtractedLesion], there: list[int], new: ExtractedLesion) -> None:
    """Add `new`, or merge it with the lesion that it tells again; `there` are those found in its organ."""
    for index in there:
        old = found[index]
        if old.finding != new.finding and _same(old, new):
            measured = old.size_mm is not None or old.suv_max is not None
            found[index] = replace(
                old,
                size_mm=old.size_mm if old.size_mm is not None else new.size_mm,
                sizes_mm=old.sizes_mm or new.sizes_mm,
                suv_max=old.suv_max if old.suv_max is not None else new.suv_max,
                fdg=old.fdg or new.fdg,
                side=old.side if measured else old.side or new.side,
                kind=old.kind or new.kind,
                part=old.part or new.part,
                level=old.level or new.level,
                count=old.count if old.count is not None else new.count,
                invasion=old.invasion or new.invasion,
                invades=old.invades or new.invades,
                mentions=(*old.mentions, new.span),
            )
            return
    there.append(len(found))
    found.append(new)


def _same(old: ExtractedLesion, new: ExtractedLesion) -> bool:
    if old.organ is None or (old.site, old.organ) != (new.site, new.organ):
        return False
    if None not in (old.kind, new.kind) and old.kind != new.kind and {old.kind, new.kind} & load_vocabulary().distinct:
        return False
    stated = [(getattr(old, name), getattr(new, name)) for name in _TELLING_APART]
    if any(None not in pair and pair[0] != pair[1] for pair in stated):
        return False
    # A lesion without any measure is told again only by a mention that has none either, or comes first.
    measured_later = new.size_mm is not None or new.suv_max is not None
    measured_before = old.size_mm is not None or old.suv_max is not None
    return measured_before or not measured_later


_TELLING_APART = ("side", "part", "level", "fdg", "size_mm", "suv_max")
