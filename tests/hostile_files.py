"""One small CT object whose bytes are put together by hand, for what no library would write."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from dicom_factory import image
from pydicom.dataset import Dataset

from petct_cli.core.jsonl import decode
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.stages.anonymize import Anonymize

NAME, PATIENT_ID, DAY = "Nguyễn^An^Bình", "BN-77123", "20240305"
SAID = "Nguyễn An Bình BN-77123"
STRANGER = "Tran Thi Bich Ngoc"
KEY = Key(b"a key of the tests, always the same")
UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})


def ct(**elements: Any) -> Dataset:
    """A CT image of a patient who does not exist."""
    dataset = image("CT", np.arange(64, dtype="<i2").reshape(8, 8), "1.2.826.0.1.3680043.10.511.7", 1)
    dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = NAME, PATIENT_ID, "ACC990217"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def saved(dataset: Dataset) -> bytes:
    """Return the file of a data set."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """Return one element of explicit VR, little endian; `length` lies when it is given."""
    value += b" " * (len(value) % 2)
    size = len(value) if length is None else length
    if vr in _LONG or (len(vr) == 2 and vr not in _SHORT):
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, size) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), size) + value


_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".decode().split())


def item(content: bytes = b"", length: int | None = None) -> bytes:
    """Return an item of a sequence, or (with `length`) only its head and content."""
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content) if length is None else length) + content


def delimiter(number: int, length: int = 0) -> bytes:
    """Return (FFFE,E00D) or (FFFE,E0DD)."""
    return struct.pack("<HHL", 0xFFFE, number, length)


def spliced(data: bytes, *elements: bytes, before: int = 0x00100010, vr: str = "PN") -> bytes:
    """Return a file with `elements` put in front of the element `before`."""
    at = data.index(struct.pack("<HH", before >> 16, before & 0xFFFF) + vr.encode())
    return data[:at] + b"".join(elements) + data[at:]


def anonymized(
    folder: Path, *files: bytes, preset: str = "tcia", key: Key = KEY, report: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the record of a study of `files` and everything below ``-o`` by its name."""
    (folder / "in").mkdir()
    for number, data in enumerate(files):
        (folder / f"in/{number}.dcm").write_bytes(data)
    record: dict[str, Any] = {"type": "study", "schema": 1, "id": "0" * 16}
    record["series"] = [{"modality": "CT", "dir": str(folder / "in")}]
    if report is not None:
        (folder / "report.json").write_bytes(orjson.dumps(report))
        record["report"] = {"path": str(folder / "report.json")}
    (done,) = Anonymize(out=folder / "out", key=key, profile=preset)(decode(orjson.dumps(record)))
    found = (path for path in sorted((folder / "out").rglob("*")) if path.is_file())
    return done.to_json(), {str(path.relative_to(folder)): path.read_bytes() for path in found}


def images(outputs: dict[str, bytes]) -> Sequence[bytes]:
    """Return the DICOM files among outputs."""
    return [data for name, data in outputs.items() if name.endswith(".dcm")]
