"""Which elements of an object nobody has looked at yet, for those who look at each value of a study once."""

from __future__ import annotations

from dataclasses import dataclass, field

from petct_cli.dicom.deid.files import DicomBytes
from petct_cli.dicom.deid.layouts import Repeats
from petct_cli.dicom.deid.syntax import Element

_CHARSET = 0x00080005


@dataclass
class Unseen:
    """Knows the objects that it was asked about, as far as their layouts are recognised."""

    _repeats: Repeats[bytes] = field(default_factory=Repeats)

    def of(self, dicom: DicomBytes) -> tuple[list[Element], bytes]:
        """Return the elements to look at, and the character set that holds before the first of them.

        All of them, unless the object lies like one before and differs from it behind the character set only.
        """
        repeat = self._repeats.find(dicom.layout, dicom.buffer)
        if repeat is not None and all(element.tag > _CHARSET for element in repeat[1]):
            charset, changed = repeat
            return changed, charset
        self._repeats.remember(dicom.layout, dicom.buffer, dicom.value(_CHARSET) or b"")
        return dicom.elements, b""
