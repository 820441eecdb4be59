"""Faces in the CT of one study, for `anonymize`: where each series has one, and an image without it.

Apart from `petct_cli.stages.anonymize_pixels`, since most runs need none of what this loads (numpy, scipy).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import DicomBytes, read_dicom
from petct_cli.dicom.deid.pixels import air_word, read_words, rescale_of, with_words
from petct_cli.dicom.deid.study import Instance
from petct_cli.volume.ct_stack import CtSlice, HuSlice
from petct_cli.volume.deface import Face, find_face
from petct_cli.volume.geometry import SlicePlane
from petct_cli.volume.head import rules

_REACHES_MM = 5.0
_AXIAL = 0.7


def without_face(dicom: DicomBytes, image: Instance, face: Face, plane: SlicePlane) -> DicomBytes | None:
    """Return an image without the part of `face` in it, or None when there is none of it.

    Raises
    ------
    RecordError
        ``pixels_changed``: something else would change.
    """
    mask = face.mask(plane, _hounsfield(dicom, image))
    if mask is None:
        return None
    words, form = read_words(dicom, image.path)
    new = words.copy()
    new[0, mask, 0] = air_word(dicom, form)
    changed = with_words(dicom, new, form)
    kept = read_words(changed, image.path)[0][0, ~mask, 0]
    if not np.array_equal(kept, words[0, ~mask, 0]):
        raise RecordError("pixels_changed", "pixels that are no part of the face would change")
    return changed


def faces_of(
    series: dict[tuple[str, str], list[tuple[Instance, SlicePlane]]],
) -> tuple[dict[tuple[str, str], Face], dict[tuple[str, str], RecordError]]:
    """Return the face of every series that tells by itself where its head is, and why others do not."""
    found: dict[tuple[str, str], Face] = {}
    unknown: dict[tuple[str, str], RecordError] = {}
    for key, images in series.items():
        try:
            found[key] = find_face([CtSlice(plane, _Reader(image)) for image, plane in images])
        except RecordError as error:
            if error.code == "deface_no_landmark":
                unknown[key] = error
    return found, unknown


@dataclass(frozen=True)
class _Reader:
    image: Instance

    def __call__(self) -> HuSlice:
        return _hounsfield(read_dicom(self.image.path), self.image)


def borrowed(plane: SlicePlane, faces: Sequence[Face]) -> Face | None:
    """Return a face of the same frame of reference that is known for all of an image, or None."""
    ends = [
        plane.position[2] + i * plane.column[2] * plane.spacing[0] + j * plane.row[2] * plane.spacing[1]
        for i in (0, plane.shape[0] - 1)
        for j in (0, plane.shape[1] - 1)
    ]
    for face in faces:
        if max(ends) < face.head.floor_mm or (face.head.has_face and max(ends) <= face.top_mm + _REACHES_MM):
            return face
    return None


def is_axial(plane: SlicePlane) -> bool:
    """Say whether an image lies across the body."""
    return abs(float(np.cross(plane.row, plane.column)[2])) > _AXIAL


def decodes(image: Instance, face: Face) -> bool:
    """Say whether an image can be treated: where there is a face to take out, its pixels have to be readable."""
    if not face.head.has_face:
        return True
    try:
        read_words(read_dicom(image.path), image.path)
    except RecordError:
        return False
    return True


def is_projection(dicom: DicomBytes) -> bool:
    """Say whether an image is no slice: its Image Type says that it was projected."""
    kinds = [value.strip() for value in dicom.text(0x00080008).upper().split("\\")]
    marks = rules()["projections"]["image_type"]
    return any(mark in (kind, *kind.replace("_", " ").split()) for kind in kinds for mark in marks)


def is_one_grey_image(dicom: DicomBytes) -> bool:
    """Say whether an object holds one frame of one sample per pixel."""
    return dicom.number(0x00280002, 1) == 1 and dicom.text(0x00280008) in ("", "1")


def plane_of(dicom: DicomBytes) -> SlicePlane | None:
    """Return where an image lies, or None where its header does not say so."""
    numbers = []
    for tag, count in ((0x00200032, 3), (0x00200037, 6), (0x00280030, 2)):
        try:
            values = tuple(float(part) for part in dicom.text(tag).split("\\"))
        except ValueError:
            return None
        if len(values) != count or not np.isfinite(values).all():
            return None
        numbers.append(values)
    position, orientation, spacing = numbers
    shape = [dicom.number(tag, 0) for tag in (0x00280010, 0x00280011)]
    if min(spacing) <= 0 or min(shape) <= 0:
        return None
    return SlicePlane(
        position=(position[0], position[1], position[2]),
        row=(orientation[0], orientation[1], orientation[2]),
        column=(orientation[3], orientation[4], orientation[5]),
        spacing=(spacing[0], spacing[1]),
        shape=(shape[0], shape[1]),
    )


def _hounsfield(dicom: DicomBytes, image: Instance) -> HuSlice:
    words, form = read_words(dicom, image.path)
    slope, intercept = rescale_of(dicom)
    limits = np.iinfo(np.int16)
    hu: HuSlice = np.clip(np.rint(form.values(words[0, :, :, 0]) * slope + intercept), limits.min, limits.max).astype(
        np.int16
    )
    return hu
