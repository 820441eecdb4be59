"""A corpus of planted studies: phantoms and pydicom's own files, images to be cleaned and objects to be set aside."""

from __future__ import annotations

import copy
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pydicom
from answer_key import Action, Kind, pixel_digest, read
from PIL import Image, ImageDraw
from plant import Planter, even, identity, plant_image, write
from plant_people import PEOPLE, Person
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
# Each in another transfer syntax or with other faults; classes that are no images become CT.
CARRIERS = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "image_dfl.dcm", "JPEG2000.dcm", "JPGExtended.dcm",
    "693_J2KI.dcm", "nested_priv_SQ.dcm", "priv_SQ.dcm", "examples_overlay.dcm", "MR_small_padded.dcm",
    "MR_small_expb.dcm", "JPEGLSNearLossless_16.dcm", "rtdose.dcm",
)  # fmt: skip
_SET_ASIDE = ("reportsi.dcm", "rtplan.dcm", "rtstruct.dcm", "SC_rgb_rle_16bit.dcm", "waveform_ecg.dcm")
_REST_OF_CLASSES = {
    "presentation_state": "1.2.840.10008.5.1.4.1.1.11.1", "key_objects": "1.2.840.10008.5.1.4.1.1.88.59",
    "dose_report": "1.2.840.10008.5.1.4.1.1.88.67", "private_class": "1.2.826.0.1.3680043.8.498.77.1",
    "secondary_capture": "1.2.840.10008.5.1.4.1.1.7", "raw_data": "1.2.840.10008.5.1.4.1.1.66",
}  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """What was planted: input folder, reports, and the key."""

    studies: Path
    reports: Path
    key: tuple[Action, ...]
    objects: int


def carriers() -> list[Dataset]:
    """Return pydicom's files as images of known classes, those with other character sets among them."""
    found = []
    for name in (*CARRIERS, *(Path(path).name for path in get_charset_files("*.dcm"))):
        path = get_testdata_file(name, download=False) or next(iter(get_charset_files(name)), None)
        if path is None:
            continue
        dataset = read(Path(path))
        if dataset.get("Modality") not in ("CT", "MR"):
            dataset.SOPClassUID, dataset.Modality = CT_CLASS, "CT"
            dataset.pop("ConversionType", None)
            dataset.file_meta.MediaStorageSOPClassUID = CT_CLASS
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        found.append(dataset)
    return found


def _text_image(text: str) -> bytes:
    picture = Image.new("L", (96, 32), 0)
    ImageDraw.Draw(picture).text((2, 8), unicodedata.normalize("NFKD", text).encode("ascii", "ignore"), fill=255)
    return np.asarray(picture, dtype="<u2").tobytes()


def set_aside(image: Dataset, person: Person) -> Iterator[Dataset]:
    """Yield objects that must not be written: their pixels or their content are text."""
    for name in _SET_ASIDE:
        path = get_testdata_file(name, download=False)
        if path is not None:
            dataset = read(Path(path))
            dataset.file_meta.TransferSyntaxUID = dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
            yield dataset
    image = copy.deepcopy(image)
    image.Rows, image.Columns, image.PixelData = 32, 96, _text_image(person.written[0])
    for sop_class in _REST_OF_CLASSES.values():
        dataset = copy.deepcopy(image)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        yield dataset
    for keyword, value in (
        ("BurnedInAnnotation", "YES"), ("SeriesDescription", "Dose Report"), ("StudyDescription", "Screen  Save"),
        ("ImageType", ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"]),
    ):  # fmt: skip
        dataset = copy.deepcopy(image)
        setattr(dataset, keyword, value)
        yield dataset
    document = copy.deepcopy(image)
    del document.PixelData
    document.SOPClassUID = document.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    document.DocumentTitle, document.MIMETypeOfEncapsulatedDocument = person.written[0], "application/pdf"
    document.EncapsulatedDocument = even(f"%PDF-1.4 ({person.written[0]} {person.patient_id}) %%EOF")
    yield document


def dicomdir(person: Person) -> bytes:
    """Return a DICOMDIR that names the patient and his files."""
    directory, record = Dataset(), Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = f"{person.uid}.77"
    directory.FileSetID = "BNDISC"
    record.DirectoryRecordType, record.PatientID = "PATIENT", person.patient_id
    record.SpecificCharacterSet = person.charset if isinstance(person.charset, str) else list(person.charset)
    record.PatientName, record.ReferencedFileID = person.name, ["DICOM", person.patient_id.replace("-", "")]
    directory.DirectoryRecordSequence = Sequence([record])
    buffer = io.BytesIO()
    directory.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def report(person: Person) -> dict[str, object]:
    """A report that names the patient in every way that its character set's text does."""
    return {
        "Hành chính": {"Họ tên": person.written[0], "Mã BN": person.patient_id, "Địa chỉ": person.address},
        "Nhận định kết quả": ". ".join([*person.texts, "Hạch 12,5 mm SUVmax 4,7"]),
        "Mô tả hình ảnh": {"Lồng ngực": {"x": f"{person.accession}, sinh {person.birth[6:]}/{person.birth[4:6]}/1931"}},
    }


def build(folder: Path, phantom: Path) -> Corpus:
    """Plant all people over the images of `phantom` and pydicom's files, below `folder`."""
    key: list[Action] = []
    pool = carriers()
    number = 1000
    images = [read(path) for kind in ("CT", "PET") for path in sorted((phantom / kind).iterdir())[3:5]]
    # The classes of the first objects tell what can be expected of deep copies of them.
    (folder / "reports").mkdir(parents=True)
    for person in PEOPLE:
        own = folder / "in" / f"{person.written[0]} {person.patient_id}".replace("/", "_")
        share = [pool[at] for at in range(len(pool)) if at % len(PEOPLE) == person.number]
        for place, dataset in enumerate([*(copy.deepcopy(image) for image in images), *share]):
            number += 1
            plant_image(dataset, person, number, own / f"{person.written[0]}_{person.study_day}_{place}.dcm", key)
        for place, dataset in enumerate(set_aside(images[0], person)):
            number += 1
            planter = Planter(dataset, person, number)
            identity(planter)
            write(dataset, own / f"scan{place}")
            key.append(Action(number, str(person.number), Kind.PIXELS_HIDDEN, (), pixel_digest(dataset)))
        (own / "DICOMDIR").write_bytes(dicomdir(person))
        (own / f"{person.written[0]}.txt").write_text(person.written[0], encoding="utf-8")
        (folder / f"reports/{person.number}.json").write_bytes(orjson.dumps(report(person)))
    return Corpus(folder / "in", folder / "reports", tuple(key), number - 1000)
