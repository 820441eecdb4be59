"""Where elements stood in files read before: the slices of a series lie alike and are taken apart once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

from petct_cli.dicom.deid.syntax import PIXEL_TAGS, DicomSyntaxError, Element, Syntax, element_at

_MOST = 64
_LARGEST_COMPARED = 1 << 20
_MOST_HELD = 1 << 23

MadeT = TypeVar("MadeT")


class Layout(NamedTuple):
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

    _by_size: dict[Hashable, Layout] = field(default_factory=dict)

    def find(self, data: bytes, start: int, syntax: Syntax) -> Layout | None:
        """Return the layout of `data` from `start` on, None when it was not met before."""
        layout = self._by_size.get((start, len(data), syntax))
        if layout is None or layout.between(data) != layout.bytes_between:
            return None
        try:
            same = all(element_at(data, e.start, len(data), syntax) == e for e in layout.undefined)
        except DicomSyntaxError:
            return None
        return layout if same else None

    def remember(self, data: bytes, start: int, syntax: Syntax, elements: list[Element]) -> Layout | None:
        """Keep the layout of a data set that was taken apart, and return it; None where it is not to be recognised."""
        if len(elements) < 2 or elements[-1].end != len(data):
            return None
        if any(element.undefined and element.tag in PIXEL_TAGS for element in elements):
            return None
        ranges = [slice(element.start, element.value) for element in elements]
        ranges += [slice(element.value_end, element.end) for element in elements if element.undefined]
        between = itemgetter(*ranges)
        if len(self._by_size) >= _MOST:
            self._by_size.clear()
        layout = Layout(between, between(data), elements, first_by_tag(elements), [e for e in elements if e.undefined])
        self._by_size[start, len(data), syntax] = layout
        return layout


class _First(NamedTuple, Generic[MadeT]):
    """The first data set of a layout: its elements but for the pixels, their values, and what was made of it."""

    layout: Layout
    elements: list[Element]
    values_of: Callable[[bytes], tuple[bytes, ...]]
    values: tuple[bytes, ...]
    made: MadeT


@dataclass
class Repeats(Generic[MadeT]):
    """Tells in which elements a data set differs from the first one of its layout, and what was made of that one.

    Pixels are not compared, nor is what lies before the data set: who decides by the File Meta Information has to look
    at that. Delimiters are part of a value. What is large, and what has its elements out of order (so that one element
    may change what another means), is not remembered; of all that is, no more than some megabytes are held.
    """

    _firsts: dict[int, _First[MadeT]] = field(default_factory=dict)
    _held: int = 0

    def find(self, layout: Layout | None, data: Any) -> tuple[MadeT, list[Element]] | None:
        """Return what was made of the first data set of this layout and the elements in which `data` differs."""
        first = self._firsts.get(id(layout))
        if first is None:
            return None
        values = first.values_of(data)
        changed = [e for e, own, other in zip(first.elements, values, first.values, strict=True) if own != other]
        return first.made, changed

    def remember(self, layout: Layout | None, data: Any, made: MadeT) -> None:
        """Keep what was `made` of a data set, the first of its layout."""
        if layout is None:
            return
        elements = [e for e in layout.elements if e.tag not in PIXEL_TAGS]
        size = sum(e.end - e.value for e in elements)
        if len(elements) < 2 or size > _LARGEST_COMPARED:
            return
        if any(after.tag <= before.tag for before, after in pairwise(layout.elements)):
            return
        if len(self._firsts) >= _MOST or self._held + size > _MOST_HELD:
            self._firsts.clear()
            self._held = 0
        self._held += size
        values_of = itemgetter(*(slice(e.value, e.end) for e in elements))
        # Holding the layout keeps its id from being given to another one.
        self._firsts[id(layout)] = _First(layout, elements, values_of, values_of(data), made)


def first_by_tag(elements: list[Element]) -> dict[int, Element]:
    """Return elements by tag; of two with one tag the first counts, as it does for most readers."""
    return {element.tag: element for element in reversed(elements)}
