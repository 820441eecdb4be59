"""What was done to the pixels of one DICOM object; apart from the doing, which loads numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Treatment:
    """What was done to the pixels of an object, as its header has to tell it (PS3.15 E.3.1, E.3.2)."""

    face_removed: bool = False
    redacted: bool = False

    def codes(self) -> list[tuple[str, str]]:
        """Return (code, meaning) of CID 7050."""
        redacted = [("113101", "Clean Pixel Data Option")] if self.redacted else []
        face = [("113102", "Clean Recognizable Visual Features Option")] if self.face_removed else []
        return redacted + face

    def inserts(self) -> dict[int, tuple[bytes, bytes]]:
        """Return (VR, value) by tag of Burned In Annotation and Recognizable Visual Features."""
        redacted = {0x00280301: (b"CS", b"NO")} if self.redacted else {}
        face = {0x00280302: (b"CS", b"NO")} if self.face_removed else {}
        return redacted | face


UNTREATED = Treatment()
