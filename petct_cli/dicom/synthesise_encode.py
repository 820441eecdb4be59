"""Write the slices of one synthetic series quickly: what all slices share is encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian

_PREAMBLE = b"\0" * 128 + b"DICM"


class SeriesEncoder:
    """Encodes slices as Explicit VR Little Endian files, given what is common to all and what each has of its own.

    Parameters
    ----------
    common
        Elements of every slice; ``SOPClassUID`` among them.
    """

    def __init__(self, common: Dataset, implementation_uid: str) -> None:
        self._sop_class = str(common.SOPClassUID)
        self._implementation_uid = implementation_uid
        self._common = list(_encoded(common))

    def encode(self, own: Dataset) -> bytes:
        """Return the bytes of one file; an element of `own` wins over the same element of the series.

        `own` must hold ``SOPInstanceUID``.
        """
        merged = dict(self._common)
        merged.update(_encoded(own))
        head = DicomBytesIO()
        head.is_little_endian, head.is_implicit_VR = True, False
        write_file_meta_info(head, self._file_meta(str(own.SOPInstanceUID)))
        return b"".join((_PREAMBLE, head.getvalue(), *(merged[tag] for tag in sorted(merged))))

    def _file_meta(self, instance_uid: str) -> FileMetaDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = self._sop_class
        meta.MediaStorageSOPInstanceUID = instance_uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = self._implementation_uid
        meta.ImplementationVersionName = "PETCT_PHANTOM"
        meta.FileMetaInformationVersion = b"\x00\x01"
        return meta

    def write(self, folder: Path, slices: Iterable[Dataset]) -> list[str]:
        """Write one file per slice, numbered from ``0001.dcm``; return the names."""
        folder.mkdir()
        names = []
        for number, own in enumerate(slices, start=1):
            name = f"{number:04d}.dcm"
            (folder / name).write_bytes(self.encode(own))
            names.append(name)
        return names


def _encoded(dataset: Dataset) -> Iterator[tuple[int, bytes]]:
    encodings = convert_encodings("ISO_IR 192")
    for element in dataset:
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_data_element(buffer, element, encodings)
        yield int(element.tag), buffer.getvalue()
