"""Plants identifiers over phantom studies and pydicom's own files, and writes the answer key while it does so.

Each hideout is a function that takes a `Planter`, changes its data set and adds actions to the key. What is expected is
said here and nowhere else: it comes from PS3.15 Annex E, not from petct's tables.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from answer_key import Action, Kind, Path_, Private, pixel_digest
from plant_people import Person
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

TCIA, BASIC, BOTH = frozenset({"tcia"}), frozenset({"basic"}), frozenset({"tcia", "basic"})
SHORT_STRING = 16
_UNDEFINED_AT = (0, 2, 3)


@dataclass
class Planter:
    """One object that gets identifiers, and the key of all objects that it adds to."""

    dataset: Dataset
    person: Person
    number: int
    key: list[Action] = field(default_factory=list)

    def act(self, kind: Kind, path: Path_, value: str = "", presets: frozenset[str] = BOTH) -> None:
        """Add an action on this object."""
        self.key.append(Action(self.number, str(self.person.number), kind, path, value, presets))

    def gone(self, tag: int, vr: str, value: str, presets: frozenset[str] = BOTH) -> None:
        """Put an identifier at the top level; it must go."""
        self.dataset.add_new(tag, vr, value)
        for part in filter(None, value.split("\\")):
            self.act(Kind.TEXT_REMOVED, (tag,), part, presets)

    def cleaned(self, tag: int, vr: str, text: str, secret: str, kept: str = "WB") -> None:
        """Put a descriptor that holds a `secret` and a clinical word: cleaned under tcia, gone under basic."""
        self.dataset.add_new(tag, vr, text)
        self.act(Kind.TEXT_REMOVED, (tag,), secret)
        self.act(Kind.TEXT_RETAINED, (tag,), kept, TCIA)

    def uid(self, path: Path_, value: str) -> None:
        """Say that the UID at `path` is replaced, everywhere by the same one."""
        self.act(Kind.UID_CHANGED, path, value)
        self.act(Kind.UID_CONSISTENT, path, value)

    def day(self, path: Path_, value: str) -> None:
        """Say that the date at `path` moves; the Basic Profile takes it away."""
        self.act(Kind.DATE_SHIFTED, path, value, TCIA)
        self.act(Kind.TEXT_REMOVED, path, value[:8], BASIC)


Hideout = Callable[[Planter], None]


def even(text: str, encoding: str = "utf-8") -> bytes:
    """Return text as a value of even length."""
    data = text.encode(encoding)
    return data + b" " * (len(data) % 2)


# What must be as it was in every image, by Type and by the options that the TCIA asks for.
_KEPT = (
    "Modality", "ImageType", "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelSpacing", "SliceThickness",
    "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "PhotometricInterpretation",
    "KVP", "SeriesNumber", "SamplesPerPixel",
)  # fmt: skip
_KEPT_BY_TCIA = (
    "PatientSex", "PatientWeight", "PatientSize", "AcquisitionTime", "SeriesTime", "StudyTime", "Manufacturer",
    "ManufacturerModelName", "Units", "DecayCorrection", "CorrectedImage", "FrameReferenceTime",
)  # fmt: skip


def identity(p: Planter) -> None:
    """The patient, the study and the UIDs, and what was there before and stays."""
    ds, person = p.dataset, p.person
    ds.SpecificCharacterSet = person.charset if isinstance(person.charset, str) else list(person.charset)
    for keyword in (*_KEPT, *_KEPT_BY_TCIA):
        if keyword in ds and ds[keyword].value not in (None, ""):
            value = ds[keyword].value
            text = "\\".join(map(str, value)) if ds[keyword].VM > 1 else str(value)
            p.act(Kind.TEXT_RETAINED, (int(ds[keyword].tag),), text, BOTH if keyword in _KEPT else TCIA)
    p.act(Kind.TEXT_RETAINED, (0x00080016,), str(ds.SOPClassUID))
    ds.InstanceNumber = p.number
    study, series = person.uid, f"{person.uid}.{len(str(ds.get('Modality')))}.{ord(str(ds.get('Modality', 'X'))[0])}"
    uids = {0x0020000D: study, 0x0020000E: series, 0x00080018: f"{series}.{p.number}", 0x00200052: f"{study}.9"}
    for tag, uid in uids.items():
        ds.add_new(tag, "UI", uid)
        p.uid((tag,), uid)
    ds.file_meta.MediaStorageSOPInstanceUID = uids[0x00080018]
    p.uid((0x00020003,), uids[0x00080018])
    ds.PatientName, ds.PatientID = person.name, person.patient_id
    p.act(Kind.TEXT_REMOVED, (0x00100010,), person.name.split("^")[0])
    p.act(Kind.PATID_CONSISTENT, (0x00100020,), person.patient_id)
    p.act(Kind.TEXT_NOTNULL, (0x00100010,))
    if person.issuer:
        p.gone(0x00100021, "LO", person.issuer)
    elif "IssuerOfPatientID" in ds:
        del ds.IssuerOfPatientID
    for tag in (0x00120062, 0x00120063, 0x00120064, 0x00280303):
        p.act(Kind.TEXT_NOTNULL, (tag,))
    p.act(Kind.TEXT_RETAINED, (0x00120062,), "YES")
    p.act(Kind.TEXT_RETAINED, (0x00280303,), "MODIFIED", TCIA)
    p.act(Kind.TEXT_RETAINED, (0x00280303,), "REMOVED", BASIC)
    for number, code in enumerate(("113100", "113105", "113107", "113108", "113109", "113111")):
        presets = BOTH if number == 0 else TCIA
        p.act(Kind.TEXT_RETAINED, (0x00120064,), code, presets)


def dates(p: Planter) -> None:
    """Dates in DA and DT, at every precision, several values, as other VRs, and the birth date, which goes."""
    day = p.person.study_day
    p.dataset.add_new(0x00080020, "DA", day)
    p.day((0x00080020,), day)
    for tag, vr, value in (
        (0x00080021, "DA", day), (0x00080022, "LO", day), (0x00080023, "DA", day), (0x00080012, "DA", day),
        (0x0008002A, "DT", f"{day}101500.123456+0700"), (0x00189074, "SH", f"{day}101500"),
        (0x00400244, "DA", day), (0x00400250, "DA", day), (0x00181012, "DA", day),
    ):  # fmt: skip
        p.dataset.add_new(tag, vr, value)
        p.day((tag,), value)
    p.gone(0x00100030, "DA", p.person.birth)
    p.dataset.PatientAge = "092Y"
    p.act(Kind.TEXT_RETAINED, (0x00101010,), "090Y", TCIA)
    p.act(Kind.TEXT_REMOVED, (0x00101010,), "092Y")


def demographics(p: Planter) -> None:
    """Numbers, names, addresses and institutions in the elements made for them (actions X and Z)."""
    person = p.person
    for tag, vr, value in (
        (0x00080050, "SH", person.accession), (0x00200010, "SH", person.study_id),
        (0x00101000, "LO", person.citizen_id),
        (0x00102154, "SH", "\\".join(person.phones)), (0x00101040, "LO", person.address),
        (0x00080080, "LO", person.institution), (0x00080081, "ST", person.address),
        (0x00081040, "LO", "Khoa Sao Bien Xanh"), (0x00380010, "LO", f"ADM{person.patient_id}"),
        (0x00101090, "LO", f"MRL{person.patient_id}"), (0x00080094, "SH", person.phones[1]),
        (0x00080092, "ST", person.address),
    ):  # fmt: skip
        p.gone(tag, vr, value)
    doctor = person.doctor
    for tag in (0x00080090, 0x00081048, 0x00081050, 0x00081060, 0x00081070, 0x00321032, 0x00400006, 0x00101001):
        p.dataset.add_new(tag, "PN", [doctor, person.name] if tag in (0x00081050, 0x00101001) else doctor)
        p.act(Kind.TEXT_REMOVED, (tag,), doctor.split("=")[0].split("^")[0])
    for tag in (0x00080050, 0x00080090, 0x00100010, 0x00100020, 0x00100030, 0x00200010):
        # Type 2 in every IOD: emptied or replaced, never removed.
        p.act(Kind.TAG_RETAINED, (tag,))
    # Values of odd length and empty ones.
    p.gone(0x00402016, "LO", person.accession + "7")
    p.gone(0x00402017, "LO", "")


_DESCRIPTORS = (
    (0x00081030, "LO"), (0x0008103E, "LO"), (0x00181030, "LO"), (0x00204000, "LT"), (0x00081080, "LO"),
    (0x00104000, "LT"), (0x001021B0, "LT"), (0x00184000, "LT"), (0x00321060, "LO"), (0x00400254, "LO"),
    (0x00082111, "ST"),
)  # fmt: skip


def descriptors(p: Planter) -> None:
    """Free text in which people write names, numbers and days."""
    texts = p.person.texts
    for place, (tag, vr) in enumerate(_DESCRIPTORS):
        text = texts[(place + p.number) % len(texts)]
        p.cleaned(tag, vr, f"WB {text}"[: 64 if vr == "LO" else 1024], text[:60] if vr == "LO" else text)
    # Text that no row of the table names is cleaned like a descriptor, whatever its VR.
    for place, (tag, vr) in enumerate(((0x00189005, "SH"), (0x00281055, "LO"), (0x0040A160, "UT"))):
        secret = p.person.written[place % len(p.person.written)]
        if vr != "SH" or len(secret) <= SHORT_STRING:
            p.dataset.add_new(tag, vr, f"WB {secret}" if vr != "SH" else secret)
            p.act(Kind.TEXT_REMOVED, (tag,), secret)


def nested(p: Planter) -> None:
    """Items five deep, of defined and undefined length, with private elements among them."""
    person = p.person
    level = Dataset()
    level.add_new(0x00310010, "LO", "SOMEBODY")
    level.add_new(0x00311001, "LT", person.written[0])
    path: tuple[int | Private, ...] = ()
    for depth in range(5):
        level.PatientName, level.PatientID = person.name, person.patient_id
        level.ReferencedSOPClassUID, level.ReferencedSOPInstanceUID = p.dataset.SOPClassUID, p.dataset.SOPInstanceUID
        level.AccessionNumber, level.StudyDate = person.accession, person.study_day
        level.add_new(0x00400280, "ST", f"seen {person.written[-1]}")
        level.add_new(0x00400007, "LO", f"WB {person.patient_id}")
        outer = Dataset() if depth < 4 else p.dataset
        tag = 0x00400275 if depth == 4 else 0x00081140
        outer.add_new(tag, "SQ", Sequence([level]))
        outer[tag].is_undefined_length = depth in _UNDEFINED_AT
        level.is_undefined_length_sequence_item = depth % 2 == 0
        level = outer
    # (0040,0275) is removed by the Basic Profile and kept, cleaned, under Clean Descriptors.
    path = (0x00400275,)
    for _ in range(5):
        here = (*path, 0)
        p.act(Kind.PATID_CONSISTENT, (*here, 0x00100020), person.patient_id, TCIA)
        p.act(Kind.UID_CONSISTENT, (*here, 0x00081155), str(p.dataset.SOPInstanceUID), TCIA)
        p.act(Kind.DATE_SHIFTED, (*here, 0x00080020), person.study_day, TCIA)
        p.act(Kind.TEXT_REMOVED, (*here, 0x00400280), person.written[-1])
        p.act(Kind.TEXT_REMOVED, (*here, 0x00080050), person.accession)
        p.act(Kind.TEXT_RETAINED, (*here, 0x00400007), "WB", TCIA)
        p.act(Kind.TEXT_REMOVED, (*here, 0x00400007), person.patient_id)
        path = (*here, 0x00081140)
    p.act(Kind.TEXT_REMOVED, (0x00400275,), person.patient_id)


def private(p: Planter) -> None:
    """Private blocks with a creator and without, as UN, as sequences, and beside what SUV needs."""
    ds, person = p.dataset, p.person
    inner = Dataset()
    inner.PatientName = person.name
    inner.add_new(0x00990010, "LO", "TECH NOTES")
    inner.add_new(0x00991001, "LT", f"goi {person.phones[0]} gap {person.written[0]}")
    for tag, vr, value in (
        (0x00990010, "LO", person.written[0]), (0x00991001, "UN", even(person.patient_id)),
        (0x00991002, "SQ", Sequence([inner])), (0x00991003, "LT", f"KTV {person.written[0]} {person.phones[1]}"),
        (0x00B11001, "LO", person.accession), (0x70530010, "LO", "Philips PET Private Group"),
        (0x70531000, "DS", "0.00123"), (0x70531009, "DS", "1.75"), (0x70531003, "PN", person.name),
        (0x70531004, "LO", person.patient_id), (0x70531005, "UN", even(person.written[0])),
        (0x70531006, "SQ", Sequence([inner])), (0x00090010, "LO", "GEMS_PETD_01"),
        (0x0009100D, "UN", even(f"{person.study_day}101010.00")), (0x00091002, "LO", person.patient_id),
        (0x00710010, "LO", "SIEMENS MED PT"), (0x00711022, "DT", f"{person.study_day}101010"),
        (0x00711023, "LO", person.accession),
    ):  # fmt: skip
        ds.add_new(tag, vr, value)
    p.act(Kind.TEXT_RETAINED, (Private(0x7053, "Philips PET Private Group", 0x00),), "0.00123", TCIA)
    p.act(Kind.TEXT_RETAINED, (Private(0x7053, "Philips PET Private Group", 0x09),), "1.75", TCIA)
    p.act(Kind.DATE_SHIFTED, (Private(0x0009, "GEMS_PETD_01", 0x0D),), f"{person.study_day}101010.00", TCIA)
    p.act(Kind.DATE_SHIFTED, (Private(0x0071, "SIEMENS MED PT", 0x22),), f"{person.study_day}101010", TCIA)
    for creator, number in (("Philips PET Private Group", 3), ("Philips PET Private Group", 4)):
        p.act(Kind.TEXT_REMOVED, (Private(0x7053, creator, number),), person.patient_id)
    p.act(Kind.TEXT_REMOVED, (Private(0x0099, person.written[0], 1),), person.patient_id)
    p.act(Kind.TEXT_REMOVED, (0x00990010,), person.written[0])
    p.act(Kind.TEXT_REMOVED, (0x00B11001,), person.accession)


def graphics(p: Planter) -> None:
    """Overlays, curves, icons, signatures, padding."""
    ds, person = p.dataset, p.person
    icon, signature = Dataset(), Dataset()
    icon.Rows, icon.Columns, icon.PixelData = 1, 16, even(person.patient_id)
    icon["PixelData"].VR = "OB"
    signature.add_new(0x04000110, "CS", "X509_1993_SIG")
    signature.add_new(0x04000115, "OB", even(person.patient_id))
    original, modified = Dataset(), Dataset()
    modified.PatientName, modified.PatientID = person.name, person.patient_id
    original.ModifyingSystem, original.ModifiedAttributesSequence = person.institution, Sequence([modified])
    original.AttributeModificationDateTime = f"{person.study_day}101010"
    for tag, vr, value in (
        (0x60020010, "US", 4), (0x60020011, "US", 4), (0x60020022, "LO", person.written[0]),
        (0x60023000, "OW", even(person.patient_id)), (0x60024000, "LT", person.accession),
        (0x60021500, "LO", person.patient_id), (0x50200022, "LO", person.written[0]),
        (0x50203000, "OW", even(person.patient_id)), (0x5000200C, "OW", even(person.accession)),
        (0x00880200, "SQ", Sequence([icon])), (0xFFFAFFFA, "SQ", Sequence([signature])),
        (0x04000561, "SQ", Sequence([original])), (0xFFFCFFFC, "OB", even(person.written[0])),
    ):  # fmt: skip
        ds.add_new(tag, vr, value)
        if isinstance(value, str | bytes):
            p.act(Kind.TEXT_REMOVED, (tag,), value if isinstance(value, str) else value.decode().strip())
    p.act(Kind.TEXT_REMOVED, (0x00880200,), person.patient_id)
    p.act(Kind.TEXT_REMOVED, (0xFFFAFFFA,), person.patient_id)
    p.act(Kind.TEXT_REMOVED, (0x04000561,), person.institution)


def wrong_vrs(p: Planter) -> None:
    """Public elements as UN, and names, numbers and dates that the file calls something else."""
    person = p.person
    encoding = "utf-8" if person.charset == "ISO_IR 192" else "ascii"
    p.dataset.add_new(0x00080050, "UN", even(person.accession))
    p.dataset.add_new(0x00102154, "UN", even(person.phones[0]))
    p.dataset.add_new(0x00402016, "UN", even(person.accession))
    p.dataset.add_new(0x00081070, "LO", person.doctor)
    if encoding == "utf-8":
        p.dataset.add_new(0x00081048, "UN", even(person.doctor))
        p.act(Kind.TEXT_REMOVED, (0x00081048,), person.doctor)
    p.act(Kind.TEXT_REMOVED, (0x00080050,), person.accession)
    p.act(Kind.TEXT_REMOVED, (0x00102154,), person.phones[0])
    p.act(Kind.TEXT_REMOVED, (0x00081070,), person.doctor)


def file_meta(p: Planter) -> None:
    """File Meta Information and the preamble."""
    meta, person = p.dataset.file_meta, p.person
    for number, title in zip((0x00020016, 0x00020017, 0x00020018), person.ae_titles, strict=True):
        meta.add_new(number, "AE", title)
        p.act(Kind.TEXT_REMOVED, (number,), title)
    meta.add_new(0x00020100, "UI", f"{person.uid}.100")
    meta.add_new(0x00020102, "OB", even(f"{person.written[0]} {person.patient_id}"))
    p.act(Kind.TEXT_REMOVED, (0x00020100,), person.uid)
    p.act(Kind.TEXT_REMOVED, (0x00020102,), person.patient_id)
    p.dataset.preamble = (even(person.written[0]) * 64)[:128]


HIDEOUTS: tuple[Hideout, ...] = (
    identity, dates, demographics, descriptors, nested, private, graphics, wrong_vrs, file_meta,
)  # fmt: skip


def plant_image(dataset: Dataset, person: Person, number: int, path: Path, key: list[Action]) -> None:
    """Plant everything in one image, write it to `path` and add what is expected of it to `key`."""
    planter = Planter(dataset, person, number, key)
    for hideout in HIDEOUTS:
        hideout(planter)
    write(dataset, path)
    digest = pixel_digest(dataset)
    if digest:
        planter.act(Kind.PIXELS_RETAINED, (), digest)


def write(dataset: Dataset, path: Path) -> None:
    """Write a data set in the syntax that it came in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, enforce_file_format=True)
