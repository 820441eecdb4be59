"""Where elements stood in files read before: the slices of a series lie alike and are taken apart once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from petct_cli.dicom.deid.syntax import PIXEL_TAGS, DicomSyntaxError, Element, Syntax, element_at

_MOST = 64


class _Layout(NamedTuple):
    """One arrangement: the bytes between the values (tags, VRs, lengths, delimiters), and what they were read as."""

    between: Callable[[bytes], Any]
    bytes_between: Any
    elements: list[Element]
    by_tag: dict[int, Element]
    undefined: list[Element]


@dataclass
class Layouts:
    """Recognises data sets whose every byte outside of values is that of one read before.

    The elements of two such data sets stand at the same places, because the bytes between the values are what tells
    where the next element stands; where one of undefined length ends, its items tell, which are walked each time. Data
    that end before the file does, or whose pixels are fragments, are not recognised.
    """

    _by_size: dict[Hashable, _Layout] = field(default_factory=dict)

    def find(self, data: bytes, start: int, syntax: Syntax) -> _Layout | None:
        """Return the layout of `data` from `start` on, None when it was not met before."""
        layout = self._by_size.get((start, len(data), syntax))
        if layout is None or layout.between(data) != layout.bytes_between:
            return None
        try:
            same = all(element_at(data, e.start, len(data), syntax) == e for e in layout.undefined)
        except DicomSyntaxError:
            return None
        return layout if same else None

    def remember(self, data: bytes, start: int, syntax: Syntax, elements: list[Element]) -> None:
        """Keep the layout of a data set that was taken apart."""
        if len(elements) < 2 or elements[-1].end != len(data):
            return
        if any(element.undefined and element.tag in PIXEL_TAGS for element in elements):
            return
        ranges = [slice(element.start, element.value) for element in elements]
        ranges += [slice(element.value_end, element.end) for element in elements if element.undefined]
        between = itemgetter(*ranges)
        if len(self._by_size) >= _MOST:
            self._by_size.clear()
        self._by_size[start, len(data), syntax] = _Layout(
            between, between(data), elements, first_by_tag(elements), [e for e in elements if e.undefined]
        )


def first_by_tag(elements: list[Element]) -> dict[int, Element]:
    """Return elements by tag; of two with one tag the first counts, as it does for most readers."""
    return {element.tag: element for element in reversed(elements)}
