"""Where a Vietnamese PET/CT report says that there is no FDG-avid lesion. What it does not mention is not said.

>>> [(one.site, one.side) for one in stated_absences("Không thấy nốt phổi hay hạch nách trái tăng chuyển hóa FDG.")]
[('lung', 'left'), ('lung', 'right'), ('axillary_node', 'left')]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from petct_cli.report.aligned import composed_with_offsets, folded, original
from petct_cli.report.places import find_positions
from petct_cli.report.sections import sentence_spans
from petct_cli.report.sites import load_sites
from petct_cli.report.vocabulary import Vocabulary, load_vocabulary

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Absence:
    """A place that the report says is free of FDG-avid lesions.

    Attributes
    ----------
    site
        Key of ``sites.toml``; None where the report speaks of everything that it describes ("elsewhere" does not).
    side
        left or right for a site that has sides, else None.
    span
        Half-open character range of the sentence in the text that was given.
    """

    site: str | None
    side: str | None
    span: Span


# The denial is of uptake, not of size or of something that CT shows.
_OF_UPTAKE = re.compile(
    r"(?:tăng|bất thường|ổ|bắt|hấp thu)\s+(?:[^\s,.;]+\s+){0,3}?(?:chuyển hóa|hấp thu|bắt xạ|xạ|fdg)|chuyển hóa fdg"
)
# "Nothing else" and "except" say that there is something; a comparison or a measure says what there is.
_NOT_ALL = re.compile(
    r"\b(?:khác|thêm|còn lại|ngoài|ngoại trừ|trừ|riêng|mới|so với|rõ rệt|tại chỗ|tái phát|diện mổ|các tạng|suv)\b"
    r"|\d\s*(?:mm|cm)\b"
)
_ALL = re.compile(r"\b(?:lồng ngực|đầu\s*(?:-|và)?\s*(?:mặt\s*)?cổ|ổ bụng|toàn thân)\b")
_SHOWN = re.compile(r"\bhình ảnh\b")


def stated_absences(text: str) -> list[Absence]:
    """Return what `text` says to be free of FDG-avid lesions, in order, each (site, side) once.

    Taken are sentences that deny uptake ("Không thấy tổn thương gan, lách tăng chuyển hóa FDG") at places named in
    them. "Không phát hiện bất thường khác" (nothing *else*) says nothing, "hạch không to" nothing of uptake.
    """
    composed, offsets = composed_with_offsets(text)
    plain = folded(composed)
    words = load_vocabulary()
    found: dict[tuple[str | None, str | None], Absence] = {}
    for start, end in sentence_spans(composed):
        span = (original(offsets, start), original(offsets, end))
        for site, side in _denied(plain[start:end], words):
            found.setdefault((site, side), Absence(site, side, span))
    return list(found.values())


def _denied(sentence: str, words: Vocabulary) -> Iterator[tuple[str | None, str | None]]:
    cues = [match for name in ("absent", "no_uptake") for match in words.cues[name].finditer(sentence)]
    if not cues or _NOT_ALL.search(sentence) or words.cues["physiological"].search(sentence):
        return
    first = min(cues, key=lambda cue: cue.start())
    before, after = sentence[: first.start()], sentence[first.start() :]
    if not _OF_UPTAKE.search(after) or words.cues["absent_until"].search(after) or words.cues["advice"].search(before):
        return
    mentions = words.mentions(sentence)
    heads = [one for one in mentions if one.term.kind]
    if words.cues["uptake"].search(before):
        return  # "tăng chuyển hóa ở phổi, không tăng ở màng phổi": some of the places take it up
    if _SHOWN.search(before) or any(head.span[0] < first.start() for head in heads):
        return  # "a nodule without uptake" is there
    positions = find_positions(sentence, words, mentions).of_lesion(heads)
    for position in positions:
        if position.site is None:
            continue
        lateral = load_sites()[position.site].lateral
        sides: tuple[str | None, ...] = (None,)
        if lateral:
            sides = (position.side,) if position.side in ("left", "right") else ("left", "right")
        for side in sides:
            yield position.site, side
    if _ALL.search(sentence) and not any(position.site for position in positions):
        yield None, None
