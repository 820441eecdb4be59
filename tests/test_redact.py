"""`petct anonymize --redact`: what a rule blacks out is gone and let out; everything else stays set aside."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pydicom
import pytest
from conftest import Result
from dicom_factory import PET_CLASS, STUDY_UID, image, write_series
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import set_pixel_data
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from petct_cli.core.errors import UsageError
from petct_cli.core.jsonl import decode
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.dicom.deid.redaction import Redaction, read_rules
from petct_cli.stages.anonymize import Anonymize
from petct_cli.stages.anonymize_pixels import PixelOptions

SECRET = 77
"""The value of every pixel that must go."""


def capture(pixels: np.ndarray, photometric: str = "MONOCHROME2", **elements: Any) -> Dataset:
    """A secondary capture whose top rows say something."""
    dataset = image("OT", np.zeros((2, 2)), f"{STUDY_UID}.77", 1)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.Manufacturer, dataset.ManufacturerModelName = "ACME Imaging", "Scan 3000"
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        delattr(dataset, keyword)
    if photometric == "MONOCHROME1":
        set_pixel_data(dataset, pixels, "MONOCHROME2", pixels.dtype.itemsize * 8)
        dataset.PhotometricInterpretation = photometric
    elif photometric == "YBR_FULL":
        set_pixel_data(dataset, pixels, "RGB", 8)
        dataset.PhotometricInterpretation = photometric
    else:
        set_pixel_data(dataset, pixels, photometric, pixels.dtype.itemsize * 8)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def picture(*shape: int, dtype: str = "u1") -> np.ndarray:
    """Grey 20 to 59, the secret in the first four rows."""
    pixels = (np.arange(np.prod(shape)).reshape(shape) % 40 + 20).astype(dtype)
    pixels[(..., slice(0, 4), slice(None), slice(None))[: len(shape)] if len(shape) == 4 else slice(0, 4)] = SECRET
    return pixels


def save(dataset: Dataset, folder: Path, syntax: str = ExplicitVRLittleEndian, name: str = "a.dcm") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(folder / name, enforce_file_format=True)
    return folder / name


def run_stage(folder: Path, out: Path, rules: Redaction, **options: Any) -> dict[str, Any]:
    record = {"type": "study", "schema": 1, "id": "0" * 16, "series": [{"modality": "CT", "dir": str(folder)}]}
    pixels = PixelOptions(redaction=rules, **options)
    (result,) = Anonymize(out=out, key=Key(b"k" * 32), pixels=pixels)(decode(orjson.dumps(record)))
    return result.to_json()


def only(out: Path) -> Path:
    (path,) = out.rglob("*.dcm")
    return path


TOP = read_rules(["0,0,9999,4"])
KINDS: dict[str, tuple[Callable[[], Dataset], str, list[int]]] = {
    "grey": (lambda: capture(picture(8, 10)), ExplicitVRLittleEndian, [0]),
    "inverted grey": (lambda: capture(picture(8, 10), "MONOCHROME1"), ExplicitVRLittleEndian, [255]),
    "inverted 16 bit": (lambda: capture(picture(8, 10, dtype="u2"), "MONOCHROME1"), ExplicitVRLittleEndian, [65535]),
    "signed 16 bit": (lambda: capture(picture(8, 10, dtype="i2")), ExplicitVRLittleEndian, [-32768]),
    "implicit": (lambda: capture(picture(8, 10, dtype="u2")), ImplicitVRLittleEndian, [0]),
    "colour": (lambda: capture(picture(8, 10, 3), "RGB"), ExplicitVRLittleEndian, [0, 0, 0]),
    "luma and chroma": (lambda: capture(picture(8, 10, 3), "YBR_FULL"), ExplicitVRLittleEndian, [0, 128, 128]),
    "packed grey": (lambda: capture(picture(8, 10, dtype="u2")), RLELossless, [0]),
    "packed colour": (lambda: capture(picture(8, 10, 3), "RGB"), RLELossless, [0, 0, 0]),
    "frames": (lambda: capture(picture(3, 8, 10, 3), "RGB"), ExplicitVRLittleEndian, [0, 0, 0]),
    "packed frames": (lambda: capture(picture(3, 8, 10, 3), "RGB"), RLELossless, [0, 0, 0]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_regions_turn_black_and_the_rest_stays(tmp_path: Path, kind: str) -> None:
    make, syntax, black = KINDS[kind]
    dataset = make()
    before = dataset.pixel_array if dataset.PhotometricInterpretation != "YBR_FULL" else raw(dataset)
    save(dataset, tmp_path / "in", syntax)
    record = run_stage(tmp_path / "in", tmp_path / "out", TOP)
    assert record["deid"]["quarantined"] == []
    assert record["deid"]["counts"]["images_redacted"] == 1
    done = pydicom.dcmread(only(tmp_path / "out"))
    assert done.file_meta.TransferSyntaxUID == (ExplicitVRLittleEndian if syntax == RLELossless else syntax)
    after = raw(done)
    before, after = (pixels.reshape(-1, 8, 10, len(black)) for pixels in (before, after))
    assert (after[:, :4] == black).all()
    assert (after[:, 4:] == before[:, 4:]).all()
    assert done.BurnedInAnnotation == "NO"
    assert "113101" in [item.CodeValue for item in done.DeidentificationMethodCodeSequence]
    assert done.PatientID != "BN-SECRET-4711"


def raw(dataset: Dataset) -> np.ndarray:
    """Stored samples, colour by pixel, without any conversion."""
    dtype = np.dtype(f"{'<' if dataset.file_meta.TransferSyntaxUID != ExplicitVRBigEndian else '>'}"
                     f"{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}")  # fmt: skip
    words = np.frombuffer(dataset.PixelData, dtype)
    count = int(dataset.get("NumberOfFrames", 1)) * dataset.Rows * dataset.Columns * dataset.SamplesPerPixel
    if dataset.SamplesPerPixel == 3 and dataset.PlanarConfiguration == 1:
        planes = words[:count].reshape(-1, 3, dataset.Rows, dataset.Columns)
        return planes.transpose(0, 2, 3, 1)
    return words[:count]


def test_colour_by_plane(tmp_path: Path) -> None:
    dataset = capture(picture(8, 10, 3), "RGB")
    by_plane = dataset.pixel_array.transpose(2, 0, 1)
    dataset.PixelData, dataset.PlanarConfiguration = np.ascontiguousarray(by_plane).tobytes(), 1
    save(dataset, tmp_path / "in")
    run_stage(tmp_path / "in", tmp_path / "out", TOP)
    after = raw(pydicom.dcmread(only(tmp_path / "out")))[0]
    assert (after[:4] == 0).all()
    assert (after[4:] == by_plane.transpose(1, 2, 0)[4:]).all()


def test_big_endian_words(tmp_path: Path) -> None:
    dataset = capture(picture(8, 10, dtype="u2"))
    before = dataset.pixel_array
    dataset.PixelData = before.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    (tmp_path / "in").mkdir()
    pydicom.dcmwrite(tmp_path / "in/a.dcm", dataset, little_endian=False, implicit_vr=False, enforce_file_format=True)
    run_stage(tmp_path / "in", tmp_path / "out", TOP)
    after = raw(pydicom.dcmread(only(tmp_path / "out"))).reshape(8, 10)
    assert (after[:4] == 0).all() and (after[4:] == before[4:]).all()


def test_nothing_beside_the_image_keeps_what_was_removed(tmp_path: Path) -> None:
    """Padding after the pixels, bits beyond the stored ones, overlays, icons, old extremes."""
    pixels = picture(8, 10, dtype="u2")
    dataset = capture(pixels)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.PixelData = (pixels | 0x8000).tobytes() + pixels.tobytes()
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 15)
    icon = Dataset()
    icon.Rows, icon.Columns, icon.PixelData = 2, 2, bytes([SECRET] * 4)
    icon["PixelData"].VR = "OB"
    dataset.IconImageSequence = [icon]
    dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue = 20, SECRET
    save(dataset, tmp_path / "in")
    run_stage(tmp_path / "in", tmp_path / "out", TOP)
    done = pydicom.dcmread(only(tmp_path / "out"))
    assert len(done.PixelData) == pixels.nbytes
    after = np.frombuffer(done.PixelData, "<u2").reshape(8, 10)
    assert (after[:4] == 0).all() and (after[4:] == pixels[4:]).all()
    for tag in (0x60000010, 0x60000100, 0x00880200, 0x00280106, 0x00280107):
        assert tag not in done


RULES = """
[[rule]]
Manufacturer = "acme"
ManufacturerModelName = "SCAN"
SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
Modality = "OT"
ImageType = "secondary"
SeriesDescription = "LIỀU tia"
Rows = 8
Columns = 10
regions = ["0,0,10,2", "-3,-2,3,2"]
"""


def rules(tmp_path: Path, text: str) -> Redaction:
    (tmp_path / "rules.toml").write_text(text, encoding="utf-8")
    return read_rules([str(tmp_path / "rules.toml")])


def test_a_rule_matches_by_all_its_conditions_and_counts_from_the_far_edge(tmp_path: Path) -> None:
    pixels = picture(8, 10)
    save(capture(pixels, SeriesDescription="CT liều tia"), tmp_path / "in")
    record = run_stage(tmp_path / "in", tmp_path / "out", rules(tmp_path, RULES))
    assert record["deid"]["quarantined"] == []
    after = raw(pydicom.dcmread(only(tmp_path / "out"))).reshape(8, 10)
    expected = pixels.copy()
    expected[:2] = expected[6:, 7:] = 0
    assert (after == expected).all()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"acme"', '"bcme"'), ('"SCAN"', '"x"'), ('1.1.7"', '1.1.7.4"'), ('"OT"', '"O"'), ('"secondary"', '"second"'),
        ('"LIỀU tia"', '"lieu tia"'), ("Rows = 8", "Rows = 9"), ("Columns = 10", "Columns = 1"),
    ],
)  # fmt: skip
def test_what_no_rule_matches_stays_set_aside(tmp_path: Path, old: str, new: str) -> None:
    save(capture(picture(8, 10), SeriesDescription="CT liều tia"), tmp_path / "in")
    write_series(tmp_path / "in", "CT", np.zeros((2, 8, 8)))
    found = rules(tmp_path, RULES.replace(old, new))
    record = run_stage(
        tmp_path / "in",
        tmp_path / "out",
        found,
    )
    assert [item["reason"] for item in record["deid"]["quarantined"]] == ["secondary_capture"]
    assert record["deid"]["counts"].get("images_redacted") is None
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2


def test_only_what_is_set_aside_for_its_pixels_is_touched(tmp_path: Path) -> None:
    """A rule for everything leaves clean images, PET, reports and undecodable pixels alone."""
    folder = tmp_path / "in"
    write_series(folder, "CT", np.full((2, 8, 8), 5))
    burned = image("CT", np.full((8, 8), 6), f"{STUDY_UID}.3", 1, BurnedInAnnotation="YES")
    pet = image("PT", np.full((8, 8), 7), f"{STUDY_UID}.4", 1, BurnedInAnnotation="YES")
    assert pet.SOPClassUID == PET_CLASS
    report = image("CT", np.full((8, 8), 8), f"{STUDY_UID}.5", 1, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.67")
    broken = image("CT", np.full((8, 8), 9), f"{STUDY_UID}.6", 1, BurnedInAnnotation="YES", Rows=80)
    for name, dataset in {"b": burned, "p": pet, "r": report, "x": broken}.items():
        save(dataset, folder, name=f"{name}.dcm")
    record = run_stage(folder, tmp_path / "out", TOP)
    assert sorted(item["reason"] for item in record["deid"]["quarantined"]) == [
        "burned_in_annotation", "burned_in_annotation", "structured_report",
    ]  # fmt: skip
    written = [pydicom.dcmread(path).pixel_array for path in (tmp_path / "out").rglob("*.dcm")]
    assert sorted(int(pixels.min()) for pixels in written) == [-32768, 5, 5]
    assert sorted(int(pixels.max()) for pixels in written) == [5, 5, 6]


def test_a_region_outside_of_the_image_fails_the_study(tmp_path: Path) -> None:
    save(capture(picture(8, 10)), tmp_path / "in")
    record = run_stage(tmp_path / "in", tmp_path / "out", read_rules(["0,0,4,4", "10,0,4,4"]))
    assert record["error"]["code"] == "redaction_outside"
    assert "rule 2" in record["error"]["message"]
    assert list((tmp_path / "out").rglob("*.dcm")) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[[rule]]\nregions = ['0,0,1,1']\nmodality = 'CT'", "bad_rule"),
        ("[[rule]]\nregions = []", "bad_rule"),
        ("[[rule]]\nModality = 'CT'", "bad_rule"),
        ("[[rule]]\nregions = ['0,0,1,1']\nRows = '512'", "bad_rule"),
        ("[[rule]]\nregions = ['0,0,1,1']\nModality = ''", "bad_rule"),
        ("[[rule]]\nregions = ['0,0,1,1']\n[other]\na = 1", "bad_rule"),
        ("rule = 1", "bad_rule"),
        ("", "bad_rule"),
        ("[[rule", "bad_rule"),
        ("[[rule]]\nregions = ['0,0,1']", "bad_region"),
        ("[[rule]]\nregions = ['0,0,0,1']", "bad_region"),
        ("[[rule]]\nregions = ['0,0,-1,1']", "bad_region"),
    ],
)
def test_a_bad_rule_file_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        rules(tmp_path, text)
    assert caught.value.code == code


@pytest.mark.parametrize(("argument", "code"), [("1,2,3", "bad_region"), ("nowhere.toml", "redact_file")])
def test_a_bad_argument_is_a_usage_error(
    petct: Callable[..., Result], tmp_path: Path, argument: str, code: str
) -> None:
    result = petct("anonymize", "-", "-o", "x", "--key-file", "k", "--new-key", "--redact", argument, cwd=tmp_path)
    assert result.code == 2
    with pytest.raises(UsageError) as caught:
        read_rules([argument])
    assert caught.value.code == code


def test_the_command_takes_rules_and_rectangles(petct: Callable[..., Result], tmp_path: Path) -> None:
    save(capture(picture(8, 10)), tmp_path / "in")
    (tmp_path / "rules.toml").write_text("[[rule]]\nModality = 'OT'\nregions = ['0,0,10,2']", encoding="utf-8")
    redact = ["--redact", "rules.toml", "--redact", "-10,2,10,2"]
    command = ["anonymize", "in", "--key-file", "k", "--new-key", "-o"]
    result = petct(*command, "out", *redact, cwd=tmp_path)
    assert result.code == 0, result.stderr
    after = raw(pydicom.dcmread(only(tmp_path / "out"))).reshape(8, 10)
    assert (after[:4] == 0).all() and (after[4:] != 0).all()
    (tmp_path / "rules.toml").write_text("[[rule]]\nModality = 'OT'\nregions = ['0,0,10,3']", encoding="utf-8")
    other = petct(*command, "out", *redact, cwd=tmp_path)
    stamps = [done.records[0]["provenance"][0]["options_sha256"] for done in (result, other)]
    assert stamps[0] != stamps[1]


def test_under_deface_a_capture_stays_set_aside(tmp_path: Path) -> None:
    """A screen may show the face, rendered; no rectangle of a device rule says that it does not."""
    save(capture(picture(8, 10)), tmp_path / "in")
    write_series(tmp_path / "in", "PT", np.zeros((2, 8, 8)))
    record = run_stage(tmp_path / "in", tmp_path / "out", TOP, deface=True)
    assert [item["reason"] for item in record["deid"]["quarantined"]] == ["face_not_removable"]
    assert record["deid"]["face"] == "absent"


@pytest.mark.parametrize("colour", [True, False])
def test_lossy_pictures_come_out_native_and_say_that_they_were_lossy(tmp_path: Path, colour: bool) -> None:
    """JPEG baseline, as ultrasound and screen captures often are: luma and chroma inside, RGB afterwards."""
    pixels = np.full((32, 40, 3), (200, 60, 20), np.uint8) if colour else np.full((32, 40), 90, np.uint8)
    pixels[:8] = 255
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=95)
    dataset = capture(pixels, "RGB" if colour else "MONOCHROME2")
    dataset.PixelData = encapsulate([packed.getvalue()])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    if colour:
        dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    save(dataset, tmp_path / "in", JPEGBaseline8Bit)
    record = run_stage(tmp_path / "in", tmp_path / "out", read_rules(["0,0,9999,8"]))
    assert record["deid"]["quarantined"] == []
    done = pydicom.dcmread(only(tmp_path / "out"))
    assert done.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert done.PhotometricInterpretation == ("RGB" if colour else "MONOCHROME2")
    assert done.LossyImageCompression == "01"
    assert done["PixelData"].VR == "OW"
    after = done.pixel_array.astype(int)
    assert (after[:8] == 0).all()
    assert np.abs(after[16:] - pixels[16:]).max() <= 6
