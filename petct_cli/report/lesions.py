"""Lesions that a Vietnamese PET/CT report states, found by rules: deterministic, offline, with the text they rest on.

    for lesion in extract_lesions("Nốt phổi phải 12 mm, tăng chuyển hóa FDG (SUVmax: 3,2)."):
        lesion.site, lesion.side, lesion.size_mm, lesion.suv_max   # "lung", "right", 12.0, 3.2

A sentence is taken apart in this order: what is said not to exist is taken out, physiological uptake is left out, the
rest is cut where a second finding with its own measures begins, and each finding gets its places, sides and measures.
A finding at several places becomes one lesion per place (with the same `ExtractedLesion.finding`); a lesion that is
told again, as in an impression, is merged with its first mention.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from petct_cli.report.measures import Measures, find_measures
from petct_cli.report.normalise import compose, unify_tone_marks
from petct_cli.report.places import Position, find_positions, nodes_at
from petct_cli.report.sections import sentence_spans
from petct_cli.report.sites import sides_of
from petct_cli.report.vocabulary import Vocabulary, load_vocabulary

EXTRACTOR_VERSION = "1"
"""Belongs in the signature of every score that rests on extracted lesions."""

Fdg = Literal["increased", "none", "physiological"]
Invasion = Literal["yes", "no"]
Span = tuple[int, int]
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
        Node level or station ("IIB", "4R"), vertebra ("L3"), liver or lung segment ("VII", "S6"), rib ("5"); several are
        joined by a comma. None when not stated.
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


def extract_lesions(text: str, lang: str = "vi") -> list[ExtractedLesion]:
    """Return the lesions that `text` states, in order of their first mention.

    Parameters
    ----------
    text
        Findings, an impression, or both one after the other.
    lang
        Only ``vi`` for now.

    Raises
    ------
    ValueError
        For another language.
    """
    if lang != "vi":
        raise ValueError(f"no extractor for language {lang!r}")
    words = load_vocabulary()
    composed, offsets = _compose_with_offsets(text)
    folded = _fold_in_place(composed)
    found: list[ExtractedLesion] = []
    finding = 0
    for start, end in _of_bearable_length(composed, sentence_spans(composed)):
        sentence = folded[start:end]
        for at, part in _statements(sentence, words):
            span = (_original(offsets, start + at), _original(offsets, start + at + len(part.rstrip(" ,;."))))
            lesions = _read_finding(part, span, finding, words)
            if not lesions:
                continue
            if words.cues["back_reference"].search(part.strip()) and _refer_back(found, lesions):
                continue
            finding += 1
            for lesion in lesions:
                _add_or_merge(found, lesion)
    return found


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


def _compose_with_offsets(text: str) -> tuple[str, list[int] | None]:
    """Return `text` composed, and for each of its characters the offset in `text` (None: they are the same)."""
    if unicodedata.is_normalized("NFC", text):
        composed = compose(text)
        if len(composed) == len(text):
            return composed, None
    pieces: list[str] = []
    offsets: list[int] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and unicodedata.combining(text[end]):
            continue
        piece = compose(text[start:end])
        pieces.append(piece)
        offsets += [start] * len(piece)
        start = end
    return "".join(pieces), [*offsets, len(text)]


def _original(offsets: list[int] | None, index: int) -> int:
    return index if offsets is None else offsets[index]


def _fold_in_place(composed: str) -> str:
    """Fold without changing the length, so that offsets hold."""
    lower = composed.lower()
    if len(lower) != len(composed):
        lower = "".join(low if len(low := char.lower()) == 1 else char for char in composed)
    return unify_tone_marks(lower)


def _statements(sentence: str, words: Vocabulary) -> list[tuple[int, str]]:
    """Return the parts of a sentence that state something to exist, with their offsets; one part per finding."""
    if words.cues["advice"].search(sentence) and not find_measures(sentence):
        return []
    parts: list[tuple[int, str]] = []
    for at, part in _without_physiology(sentence, words):
        stated = _blank_absent(part, words)
        parts += [(at + offset, piece) for offset, piece in _split_findings(stated, words)]
    return parts


_CLAUSE = re.compile(r"[;]|,(?!\d)|\bnhưng\b|\bngoài ra\b|\btuy nhiên\b")


def _without_physiology(sentence: str, words: Vocabulary) -> list[tuple[int, str]]:
    """Leave out what is said to be physiological: the clauses up to the word, but not measured ones after it."""
    ends = [match.end() for match in words.cues["physiological"].finditer(sentence)]
    if not ends:
        return [(0, sentence)]
    after = _CLAUSE.search(sentence, ends[-1])
    if after is None or not find_measures(sentence[after.end() :]):
        return []
    return [(after.end(), sentence[after.end() :])]


def _blank_absent(text: str, words: Vocabulary) -> str:
    """Replace what is said not to exist by spaces."""
    out = text
    position = 0
    while cue := words.cues["absent"].search(out, position):
        position = cue.end()
        after = out[cue.end() :]
        if words.cues["no_uptake"].match(out, cue.start()) and _has_head(out[: cue.start()], words):
            continue  # "a nodule without uptake" is a nodule
        until = words.cues["absent_until"].search(after)
        end = cue.end() + (until.start() if until else len(after))
        if _has_head(out[: cue.start()], words):
            comma = re.search(r",(?!\d)|\)", after)
            end = min(end, cue.end() + comma.start()) if comma else end
        else:
            end = min(end, cue.end() + _positive_clause(after, words))
        out = out[: cue.start()] + " " * (end - cue.start()) + out[end:]
        position = end
    return out


def _positive_clause(text: str, words: Vocabulary) -> int:
    """Return where, after a negation, a clause begins that measures a lesion and so must mean that it is there."""
    for comma in re.finditer(r",(?!\d)", text):
        rest = text[comma.end() :]
        clause = re.split(r",(?!\d)|;", rest, maxsplit=1)[0]
        if words.heads.search(clause) and find_measures(rest).measured:
            return comma.start()
    return len(text)


def _has_head(text: str, words: Vocabulary) -> bool:
    taken = [match.span() for match in words.places.finditer(text)]
    return any(
        not any(start <= head.start() and head.end() <= end for start, end in taken)
        or words.kind_of[head.group()] == "node"
        for head in words.heads.finditer(text)
    )


_JOINT = re.compile(r"(?:,(?!\d)|;|\bvà\b|\bkèm(?: theo)?\b|\bngoài ra\b|\bđồng thời\b)\s*")
_LEAD = re.compile(r"(?:(?:và|kèm|có|thấy|hình ảnh|một|hai|ba|vài|nhiều|các|\d+|ở|tại)\s+)*")


def _split_findings(text: str, words: Vocabulary) -> list[tuple[int, str]]:
    """Cut `text` where another finding begins that has measures of its own."""
    cuts = [0]
    for joint in _JOINT.finditer(text):
        begin = _LEAD.match(text, joint.end())
        at = begin.end() if begin else joint.end()
        starts_finding = words.heads.match(text, at) or (
            words.places.match(text, at) and not joint.group().startswith("và")
        )
        if not starts_finding:
            continue
        before, after = find_measures(text[cuts[-1] : joint.start()]), find_measures(text[joint.end() :])
        if joint.group().startswith(";") or before.same_kind(after):
            cuts.append(joint.start())
    return [
        (start, text[start:end])
        for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)
        if text[start:end].strip()
    ]


def _read_finding(part: str, span: Span, finding: int, words: Vocabulary) -> list[ExtractedLesion]:
    """Return the lesions of one finding, none when the text states no lesion."""
    places = find_positions(part, words)
    heads = [head for head in words.heads.finditer(part) if not places.covers(head.span()) or nodes_at(head, words)]
    kind = words.kind_of[heads[0].group()] if heads else None
    no_uptake = words.cues["no_uptake"].search(part)
    uptake = words.cues["uptake"].search(part)
    measures = find_measures(part)
    if kind is None and not measures.suv_max and (uptake is None or no_uptake is not None):
        return []
    if kind is not None and re.search(r"(?:không|chưa)\s+$", part[: heads[0].start()]) and not measures:
        return []
    positions: Sequence[Position] = places.of_lesion(heads)
    if not positions and kind in (None, "lesion", "mass") and not measures:
        return []
    base = ExtractedLesion(
        site=None,
        side=places.lone_side(),
        organ=None,
        kind=kind,
        size_mm=measures.size_mm,
        sizes_mm=measures.sizes_mm,
        suv_max=measures.suv_max,
        fdg=_fdg(no_uptake, uptake, measures),
        multiple=words.cues["several"].search(part) is not None,
        span=span,
        finding=finding,
    )
    distinct = dict.fromkeys((place.site, place.organ, place.side) for place in positions)
    return [replace(base, site=site, organ=organ, side=side) for site, organ, side in distinct] or [base]


def _fdg(no_uptake: re.Match[str] | None, uptake: re.Match[str] | None, measures: Measures) -> Fdg | None:
    if no_uptake is not None and measures.suv_max is None:
        return "none"
    return "increased" if uptake is not None else None


def _refer_back(found: list[ExtractedLesion], largest: Sequence[ExtractedLesion]) -> bool:
    """Give the measures of "the largest one" to the finding told before; say whether there was one to take them."""
    if not found:
        return False
    last = found[-1].finding
    new = largest[0]
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
                span=(lesion.span[0], new.span[1]) if lesion.span[1] <= new.span[0] else lesion.span,
            )
            changed = True
    return changed


def _add_or_merge(found: list[ExtractedLesion], new: ExtractedLesion) -> None:
    """Add `new`, or merge it with the lesion that it tells again."""
    for index, old in enumerate(found):
        if old.finding != new.finding and _same(old, new):
            found[index] = replace(
                old,
                size_mm=old.size_mm if old.size_mm is not None else new.size_mm,
                sizes_mm=old.sizes_mm or new.sizes_mm,
                suv_max=old.suv_max if old.suv_max is not None else new.suv_max,
                fdg=old.fdg or new.fdg,
                side=old.side or new.side,
                kind=old.kind or new.kind,
                mentions=(*old.mentions, new.span),
            )
            return
    found.append(new)


def _same(old: ExtractedLesion, new: ExtractedLesion) -> bool:
    if old.organ is None or (old.site, old.organ) != (new.site, new.organ):
        return False
    if old.side != new.side and old.side is not None and new.side is not None:
        return False
    if None not in (old.kind, new.kind) and (old.kind == "node") != (new.kind == "node"):
        return False
    if None not in (old.fdg, new.fdg) and old.fdg != new.fdg:
        return False
    for mine, theirs in ((old.size_mm, new.size_mm), (old.suv_max, new.suv_max)):
        if mine is not None and theirs is not None and mine != theirs:
            return False
    # A lesion without any measure is told again only by a mention that has none either, or comes first.
    measured_later = new.size_mm is not None or new.suv_max is not None
    measured_before = old.size_mm is not None or old.suv_max is not None
    return measured_before or not measured_later
