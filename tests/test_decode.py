"""Compressed pixels: every transfer syntax gives back what was put in, and a damaged stream gives nothing."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_factory import image
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import RLELossless

from petct_cli.core.errors import RecordError
from petct_cli.dicom.read import read_instance, stored_values

SHAPE = (70, 53)
# Syntaxes younger than the library that writes the files, and one of the same length in its place.
_SAME_LENGTH = {"1.2.840.10008.1.2.4.110": "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.8.1": "1.2.840.10008.1.2.4.90"}
Encoder = Callable[[np.ndarray, int], bytes]

J2K = {"reversible": True, "codecformat": "j2k"}
ENCODERS: dict[str, tuple[str, Encoder]] = {
    f"JPEG lossless, predictor {predictor}": (
        "1.2.840.10008.1.2.4.57",
        lambda words, bits, p=predictor: imagecodecs.jpeg8_encode(
            words, lossless=True, predictor=p, bitspersample=bits
        ),
    )
    for predictor in range(1, 8)
} | {
    "JPEG lossless SV1": (
        "1.2.840.10008.1.2.4.70",
        lambda words, bits: imagecodecs.jpeg8_encode(words, lossless=True, predictor=1, bitspersample=bits),
    ),
    "JPEG lossless, another encoder": (
        "1.2.840.10008.1.2.4.70",
        lambda words, bits: imagecodecs.ljpeg_encode(words, bitspersample=bits),
    ),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", lambda words, bits: imagecodecs.jpegls_encode(words)),
    "JPEG 2000": (
        "1.2.840.10008.1.2.4.90",
        lambda words, bits: imagecodecs.jpeg2k_encode(words, bitspersample=bits, **J2K),
    ),
    "JPEG 2000 in the lossy syntax": (
        "1.2.840.10008.1.2.4.91",
        lambda words, bits: imagecodecs.jpeg2k_encode(words, bitspersample=bits, **J2K),
    ),
    "JPEG 2000 as a JP2 file": (
        "1.2.840.10008.1.2.4.90",
        lambda words, bits: imagecodecs.jpeg2k_encode(words, reversible=True, codecformat="jp2"),
    ),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", lambda words, bits: imagecodecs.htj2k_encode(words, reversible=True)),
    "HTJ2K RPCL": ("1.2.840.10008.1.2.4.202", lambda words, bits: imagecodecs.htj2k_encode(words, reversible=True)),
    "JPEG XL": ("1.2.840.10008.1.2.4.110", lambda words, bits: imagecodecs.jpegxl_encode(words, lossless=True)),
    "deflated frames": (
        "1.2.840.10008.1.2.8.1",
        lambda words, bits: zlib.compress(words.tobytes(), wbits=-zlib.MAX_WBITS),
    ),
}


def values_of(bits: int, signed: bool) -> np.ndarray:
    """Smooth enough to compress, with both extremes of the range."""
    rng = np.random.default_rng(bits)
    span = 1 << bits
    field = np.add.outer(np.arange(SHAPE[0]) * 3, np.arange(SHAPE[1])) + rng.integers(0, 20, SHAPE)
    values = field * (span // 600 + 1) % span
    values.flat[[0, 1]] = 0, span - 1
    return values - (span // 2 if signed else 0)


def compressed(
    path: Path, syntax: str, encode: Encoder, values: np.ndarray, bits: int, signed: bool, **elements: Any
) -> Path:
    """Write an image whose stream holds two's complement words of `bits`, as encoders of PACS make them."""
    words = (values & ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)
    allocated = 8 * words.dtype.itemsize
    dataset = image(
        "CT",
        values,
        "1.2.3",
        1,
        PixelRepresentation=int(signed),
        BitsAllocated=allocated,
        BitsStored=bits,
        HighBit=bits - 1,
    )
    dataset.RescaleSlope, dataset.RescaleIntercept = "0.37", "-12.5"
    dataset.PixelData = encapsulate([encode(words, bits)])
    dataset["PixelData"].VR = "OB"
    known = _SAME_LENGTH.get(syntax, syntax)
    dataset.file_meta.TransferSyntaxUID = known
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    if known != syntax:
        path.write_bytes(path.read_bytes().replace(known.encode(), syntax.encode().ljust(len(known), b"\0"), 1))
    return path


def read(path: Path) -> np.ndarray:
    return stored_values(read_instance(path))


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [True, False])
def test_lossless_syntaxes_give_back_every_value(tmp_path: Path, name: str, bits: int, signed: bool) -> None:
    syntax, encode = ENCODERS[name]
    values = values_of(bits, signed)
    found = read(compressed(tmp_path / "image", syntax, encode, values, bits, signed))
    assert found.dtype == np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [True, False])
def test_rle(tmp_path: Path, bits: int, signed: bool) -> None:
    values = values_of(bits, signed)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    dataset = image("CT", values, "1.2.3", 1, PixelRepresentation=int(signed), BitsAllocated=8 * kind.itemsize)
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.compress(RLELossless, values.astype(kind))
    dataset.save_as(tmp_path / "image", enforce_file_format=True)
    np.testing.assert_array_equal(read(tmp_path / "image"), values)
    np.testing.assert_array_equal(read(tmp_path / "image"), pydicom.dcmread(tmp_path / "image").pixel_array)


def test_signed_codestream(tmp_path: Path) -> None:
    """JPEG 2000 can hold negative numbers itself."""
    values = values_of(16, True)

    def encode(words: np.ndarray, bits: int) -> bytes:
        return bytes(imagecodecs.jpeg2k_encode(words.view(np.int16), **J2K))

    for syntax in ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"):
        found = read(compressed(tmp_path / "image", syntax, encode, values, 16, True))
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("syntax", "bits", "encode"),
    [
        ("1.2.840.10008.1.2.4.50", 8, lambda words, bits: imagecodecs.jpeg8_encode(words, level=95)),
        ("1.2.840.10008.1.2.4.51", 8, lambda words, bits: imagecodecs.jpeg8_encode(words, level=95)),
        ("1.2.840.10008.1.2.4.51", 12, lambda words, bits: imagecodecs.jpeg8_encode(words, level=95, bitspersample=12)),
        ("1.2.840.10008.1.2.4.81", 12, lambda words, bits: imagecodecs.jpegls_encode(words, level=2)),
        ("1.2.840.10008.1.2.4.203", 12, lambda words, bits: imagecodecs.htj2k_encode(words, reversible=True)),
    ],
)
def test_lossy_syntaxes_come_near(tmp_path: Path, syntax: str, bits: int, encode: Encoder) -> None:
    values = np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])) * ((1 << bits) // 128)
    found = read(compressed(tmp_path / "image", syntax, encode, values, bits, False))
    assert np.abs(found.astype(int) - values).max() <= max(2, (1 << bits) // 100)


def test_streams_in_pieces_and_with_offset_tables(tmp_path: Path) -> None:
    values = values_of(12, False)
    syntax, encode = ENCODERS["JPEG lossless SV1"]
    stream = encode(values.astype(np.uint16), 12)
    pieces = encapsulate([stream], fragments_per_frame=5)
    bare = encapsulate([stream], has_bot=False)
    extended, offsets, lengths = encapsulate_extended([stream])
    for number, (data, more) in enumerate(
        [
            (pieces, {}),
            (bare, {}),
            (extended, {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}),
        ]
    ):
        path = compressed(tmp_path / str(number), syntax, encode, values, 12, False, PixelData=data, **more)
        np.testing.assert_array_equal(read(path), values)


@pytest.mark.parametrize("name", [name for name in ENCODERS if not name.startswith("JPEG lossless, pred")])
@pytest.mark.parametrize("kept", [0, 1, 30, 0.5, 0.98])
def test_a_cut_stream_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    syntax, encode = ENCODERS[name]
    values = values_of(12, False)
    stream = encode(values.astype(np.uint16), 12)
    short = stream[: int(kept * len(stream)) if isinstance(kept, float) else kept]
    path = compressed(tmp_path / "image", syntax, encode, values, 12, False, PixelData=encapsulate([short or b"\0"]))
    with pytest.raises(RecordError) as fault:
        read(path)
    assert fault.value.code == "dicom_undecodable"


def test_what_a_stream_cannot_be(tmp_path: Path) -> None:
    values = values_of(12, False)
    syntax, encode = ENCODERS["JPEG lossless SV1"]
    words = values.astype(np.uint16)
    other_size = encapsulate([encode(np.ascontiguousarray(words.T), 12)])
    colour = encapsulate([imagecodecs.jpeg8_encode(np.zeros((*SHAPE, 3), np.uint8))])
    marker = bytearray(encode(words, 12))
    marker[len(marker) // 2 : len(marker) // 2 + 2] = b"\xff\xc9"
    cases = {
        "another size": {"PixelData": other_size},
        "colour": {"PixelData": colour},
        "a marker within": {"PixelData": encapsulate([bytes(marker)])},
        "another format": {"PixelData": encapsulate([b"\x89PNG" + bytes(100)])},
    }
    for number, change in enumerate(cases.values()):
        with pytest.raises(RecordError) as fault:
            read(compressed(tmp_path / str(number), syntax, encode, values, 12, False, **change))
        assert fault.value.code == "dicom_undecodable"
    with pytest.raises(RecordError) as fault:
        read(compressed(tmp_path / "video", "1.2.840.10008.1.2.4.100", encode, values, 12, False))
    assert fault.value.code == "dicom_undecodable"


def test_a_file_that_ends_within_its_fragments(tmp_path: Path) -> None:
    syntax, encode = ENCODERS["JPEG-LS"]
    path = compressed(tmp_path / "image", syntax, encode, values_of(12, False), 12, False)
    whole = path.read_bytes()
    for cut in (4, 8, 9, 500):
        path.write_bytes(whole[:-cut])
        with pytest.raises(RecordError) as fault:
            read(path)
        assert fault.value.code in ("dicom_undecodable", "dicom_truncated")


@pytest.mark.real
def test_real_lossy_images_come_near(real_data: Path) -> None:
    folder = real_data / "odd_ct" / "compressed"
    raw = read(folder / "CT1_UNC.dcm").astype(int)
    assert np.abs(read(folder / "CT1_JLSN.dcm") - raw).max() <= 10
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "CT1_J2KI.dcm")))[0]
    assert np.abs(read(folder / "CT1_J2KI.dcm") - (other + 1024)).max() <= 1  # it applies the intercept
