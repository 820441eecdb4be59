"""`petct anonymize --ocr`: images in which the patient's values, or much else, can be read are set aside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pydicom
import pytest
from conftest import Result
from dicom_factory import STUDY_UID, image, write_series
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import SecondaryCaptureImageStorage

from petct_cli.core.errors import UsageError
from petct_cli.core.jsonl import decode
from petct_cli.dicom.deid.ocr import tesseract_version
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.dicom.deid.redaction import Redaction, read_rules
from petct_cli.stages.anonymize import Anonymize
from petct_cli.stages.anonymize_pixels import PixelOptions

needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")

NAME, IDENTITY = "NGUYEN THI BI MAT", "BN-SECRET-4711"


def slice_with(*lines: str, size: int = 15, top: int = 4095, at: tuple[int, int] = (16, 12)) -> np.ndarray:
    """A disc of soft tissue with noise and, in white, lines of text as scanners burn them in."""
    y, x = np.mgrid[:384, :384] - 192
    values = np.where(np.hypot(x, y * 1.4) < 150, 1060, 20) + np.random.default_rng(0).normal(0, 15, (384, 384))
    text = Image.new("L", (384, 384))
    font = ImageFont.load_default(size)
    for number, line in enumerate(lines):
        ImageDraw.Draw(text).text((at[0], at[1] + number * int(1.5 * size)), line, 255, font)
    share = np.asarray(text) / 255
    return (values * (1 - share) + top * share).astype(np.int16)


def run_stage(folder: Path, out: Path, rules: Redaction | None = None) -> dict[str, Any]:
    record = {"type": "study", "schema": 1, "id": "0" * 16, "series": [{"modality": "CT", "dir": str(folder)}]}
    stage = Anonymize(out=out, key=Key(b"k" * 32), pixels=PixelOptions(ocr=True, redaction=rules or Redaction()))
    (result,) = stage(decode(orjson.dumps(record)))
    return result.to_json()


def reasons(record: dict[str, Any]) -> list[str]:
    return [item["reason"] for item in record["deid"]["quarantined"]]


@needs_tesseract
@pytest.mark.parametrize(
    ("lines", "style"),
    [
        (("Nguyen Thi Bi Mat",), {}),
        ((IDENTITY,), {}),
        (("NGUYEN THI", "BI MAT"), {}),
        (("05/03/2024",), {}),
        ((NAME, IDENTITY), {"size": 11}),
        ((NAME,), {"at": (100, 180)}),
        ((NAME,), {"top": 1900, "at": (16, 340)}),
    ],
)
def test_the_patients_own_values_are_read(tmp_path: Path, lines: tuple[str, ...], style: dict[str, Any]) -> None:
    derived = {"ImageType": ["DERIVED", "SECONDARY"]}
    write_series(tmp_path / "in", "CT", np.array([slice_with(*lines, **style), slice_with()]), **derived)
    record = run_stage(tmp_path / "in", tmp_path / "out")
    assert reasons(record) == ["ocr_text"]
    (kept,) = (tmp_path / "out").rglob("*.dcm")
    assert (pydicom.dcmread(kept).pixel_array == slice_with()).all()
    assert record["deid"]["counts"]["images_looked_at_for_text"] == 2
    for word in ("guyen", "secret", "4711"):
        assert word not in str(record).lower()


@needs_tesseract
def test_a_side_mark_is_no_text_and_a_page_is(tmp_path: Path) -> None:
    page = ("Total exposure during examination", "Scanner protocol whole body", "Contrast agent injected")
    volume = np.array([slice_with("L", size=30), slice_with(*page)])
    write_series(tmp_path / "in", "CT", volume, ImageType=["DERIVED", "SECONDARY"])
    record = run_stage(tmp_path / "in", tmp_path / "out")
    assert reasons(record) == ["ocr_text"]


@needs_tesseract
def test_redacted_images_are_looked_at_as_they_will_be_written(tmp_path: Path) -> None:
    for number, at in enumerate(((16, 12), (16, 340))):
        dataset = image("CT", slice_with(NAME, at=at), f"{STUDY_UID}.{number}", 1, BurnedInAnnotation="YES")
        (tmp_path / "in").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / f"in/{number}.dcm", enforce_file_format=True)
    record = run_stage(tmp_path / "in", tmp_path / "out", read_rules(["0,0,384,40"]))
    assert reasons(record) == ["ocr_text"]
    (kept,) = (tmp_path / "out").rglob("*.dcm")
    assert (pydicom.dcmread(kept).pixel_array[:40] == -32768).all()


@needs_tesseract
def test_of_original_images_one_in_fifty_is_looked_at_and_all_where_one_has_text(tmp_path: Path) -> None:
    clean, named = slice_with(), slice_with(IDENTITY)
    write_series(tmp_path / "in", "CT", np.array([clean] * 52), series=f"{STUDY_UID}.1")
    names = ["a", "b", "c"]
    write_series(tmp_path / "in", "CT", np.array([named, clean, named]), series=f"{STUDY_UID}.2", names=names)
    record = run_stage(tmp_path / "in", tmp_path / "out")
    assert reasons(record) == ["ocr_text"] * 2
    assert record["deid"]["counts"]["images_looked_at_for_text"] == 2 + 3


@needs_tesseract
def test_colour_and_pixels_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    grey = (slice_with(NAME) >> 4).clip(0, 255).astype(np.uint8)
    capture = image("OT", np.zeros((2, 2)), f"{STUDY_UID}.7", 1, ImageType=["DERIVED", "SECONDARY"])
    capture.SOPClassUID = SecondaryCaptureImageStorage
    capture.set_pixel_data(np.stack([grey, grey, grey // 2], axis=-1), "RGB", 8)
    capture.save_as(tmp_path / "in/colour.dcm", enforce_file_format=True)
    broken = image("CT", np.zeros((8, 8)), f"{STUDY_UID}.8", 1, ImageType=["DERIVED", "SECONDARY"], Rows=99)
    broken.save_as(tmp_path / "in/broken.dcm", enforce_file_format=True)
    record = run_stage(tmp_path / "in", tmp_path / "out", read_rules(["0,300,384,40"]))
    assert sorted(reasons(record)) == ["ocr_text", "ocr_unreadable"]


@needs_tesseract
def test_phantoms_show_no_text(petct: Callable[..., Result], tmp_path: Path) -> None:
    made = petct("phantom", "--studies", "1", "--seed", "5", "-o", "studies", cwd=tmp_path)
    done = petct("anonymize", "-", "-o", "o", "--key-file", "k", "--new-key", "--ocr", cwd=tmp_path, stdin=made.stdout)
    assert done.code == 0, done.stderr
    (record,) = done.records
    assert record["deid"]["quarantined"] == []
    assert record["deid"]["counts"]["images_looked_at_for_text"] > 3


@needs_tesseract
@pytest.mark.real
def test_real_slices_show_no_text(real_data: Path, tmp_path: Path) -> None:
    assert reasons(run_stage(real_data / "lung1_001_ct", tmp_path / "out")) == []


def test_without_tesseract_the_option_is_refused(
    petct: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = str(tmp_path)
    command = ("anonymize", "-", "-o", "o", "--key-file", "k", "--new-key", "--ocr")
    done = petct(*command, cwd=tmp_path, env={**os.environ, "PATH": nothing})
    assert done.code == 2
    assert "tesseract" in done.stderr
    monkeypatch.setenv("PATH", nothing)
    with pytest.raises(UsageError) as caught:
        tesseract_version()
    assert caught.value.code == "ocr_missing"
