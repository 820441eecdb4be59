"""Enhanced and legacy converted multi-frame CT and PET give what the same slices give as single-frame images."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import image, write_series
from enhanced_factory import enhanced, item, legacy_converted, mapping, only, save
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Study
from petct_cli.dicom.frame_pixels import frames_of_fragments
from petct_cli.dicom.multiframe import frames_of
from petct_cli.dicom.read import read_instance, stored_values
from petct_cli.dicom.scan import scan_studies
from petct_cli.stages.convert import Convert
from petct_cli.volume.storage import load_volume

RNG = np.random.default_rng(11)
VALUES = RNG.integers(-200, 3000, (6, 7, 5))
COUNTS = RNG.integers(0, 30000, (6, 7, 5))
AFTER_AN_HOUR = 70e3 / (350e6 * 0.5 ** (3600 / 6586.2))


def convert(folder: Path, out: str = "out", **options: Any) -> Study:
    (study,) = scan_studies([folder])
    (done,) = Convert(folder.parent / out, **options)(study)
    assert isinstance(done, Study)
    return done


def volume(record: Study, role: str) -> np.ndarray:
    return load_volume(getattr(record, role).path)


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(RecordError) as fault:
        convert(folder, **options)
    return fault.value.code


def test_enhanced_study_equals_the_classic_one(tmp_path: Path) -> None:
    slopes = 1 + 0.1 * np.arange(6)

    def slope(dataset: Dataset, k: int) -> None:
        dataset.RescaleSlope = float(slopes[k])

    write_series(tmp_path / "classic" / "ct", "CT", VALUES, RescaleIntercept=-24)
    write_series(tmp_path / "classic" / "pet", "PT", COUNTS, change=slope)
    order = [3, 0, 5, 1, 4, 2]
    places = [[0, 0, 3.0 * k] for k in order]
    ct = enhanced("CT", VALUES[order], positions=places)
    ct.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleIntercept = -24
    pet = enhanced(
        "PT", COUNTS[order], positions=places, mappings=lambda k: [mapping("Bq/ml", float(slopes[order[k]]))]
    )
    save(ct, tmp_path / "enhanced" / "ct")
    save(pet, tmp_path / "enhanced" / "pet")
    classic, other = convert(tmp_path / "classic"), convert(tmp_path / "enhanced", "out2")
    assert [(one.modality, one.role) for one in other.series] == [("CT", "ct"), ("PT", "pet")]
    for role in ("ct", "pet"):
        expected, told = getattr(classic, role), getattr(other, role)
        assert (told.sha256, told.affine, told.geometry) == (expected.sha256, expected.affine, expected.geometry)
    assert other.pet is not None
    assert other.pet.suv is not None
    assert other.pet.suv.branch == "BQML/DATETIME"
    assert other.pet.suv.factor == pytest.approx(AFTER_AN_HOUR, rel=1e-12)
    assert other.pet.suv.inputs["scan_time"] == "decay_correction_datetime"


def test_enhanced_ct_and_classic_pet_mix(tmp_path: Path) -> None:
    save(enhanced("CT", VALUES), tmp_path / "in" / "a" / "ct")
    write_series(tmp_path / "in" / "b", "PT", COUNTS)
    record = convert(tmp_path / "in")
    np.testing.assert_array_equal(volume(record, "ct"), VALUES)
    np.testing.assert_allclose(volume(record, "pet"), COUNTS * AFTER_AN_HOUR, rtol=1e-6)


def test_a_series_of_several_objects(tmp_path: Path) -> None:
    for part in (2, 0, 1):
        places = [[0, 0, 3.0 * k] for k in (2 * part, 2 * part + 1)]
        whole = enhanced("CT", VALUES[2 * part : 2 * part + 2], positions=places, number=part + 1)
        save(whole, tmp_path / "in" / f"part{part}")
    record = convert(tmp_path / "in")
    np.testing.assert_array_equal(volume(record, "ct"), VALUES)
    (tmp_path / "in" / "part1").unlink()
    assert refusal(tmp_path / "in", out="out2") == "geometry_missing_slice"


def test_one_object_for_each_slice(tmp_path: Path) -> None:
    for k in (4, 1, 0, 5, 2, 3):
        whole = enhanced("CT", VALUES[k : k + 1], positions=[[0, 0, 3.0 * k]], number=k + 1)
        save(whole, tmp_path / "in" / f"slice{k}")
    np.testing.assert_array_equal(volume(convert(tmp_path / "in"), "ct"), VALUES)


def test_groups_may_be_per_frame(tmp_path: Path) -> None:
    def change(one: Dataset, k: int) -> None:
        one.PixelMeasuresSequence = only(PixelSpacing=[2.5, 1.5], SliceThickness=3)
        one.PlaneOrientationSequence = only(ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])
        one.PixelValueTransformationSequence = only(RescaleSlope=2, RescaleIntercept=-k, RescaleType="HU")

    ct = enhanced("CT", VALUES, change=change)
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence", "PixelValueTransformationSequence"):
        delattr(ct.SharedFunctionalGroupsSequence[0], name)
    save(ct, tmp_path / "in" / "ct")
    record = convert(tmp_path / "in")
    expected = 2 * VALUES[:, ::-1, ::-1] - np.arange(6)[:, None, None]
    np.testing.assert_array_equal(volume(record, "ct"), expected)
    assert record.ct is not None
    assert record.ct.spacing_mm == [3.0, 2.5, 1.5]


LEAN = 70 / (9270 * 70 / (8780 + 244 * 70 / 1.75**2))
MAPPINGS: dict[str, tuple[list[Dataset], str, float]] = {
    "activity": ([mapping("Bq/ml", 0.5)], "BQML/DATETIME", 0.5 * AFTER_AN_HOUR),
    "SUVbw": ([mapping("g/ml{SUVbw}", 0.001)], "GML/BW", 0.001),
    "SUVbw before activity": ([mapping("Bq/ml", 7.0), mapping("g/ml{SUVbw}", 0.001)], "GML/BW", 0.001),
    "lean mass": ([mapping("g/ml{SUVlbm(Janma)}", 0.001)], "GML/LBMJANMA", 0.001 * LEAN),
    "James": ([mapping("g/ml{SUVlbm(James128)}", 1.0)], "GML/LBMJAMES128", 70 / (74.9 - 148 * 0.16)),
    "James, first form": ([mapping("g/ml{SUVlbm}", 1.0)], "GML/LBM", 70 / (74.9 - 148 * 0.16)),
    "ideal": ([mapping("g/ml{SUVibw}", 1.0)], "GML/IBW", 70 / (45.5 + 0.91 * 23)),
    "surface": ([mapping("cm2/ml{SUVbsa}", 1.0)], "CM2ML/BSA", 70e3 / (71.84 * 70**0.425 * 175**0.725)),
    "quantity": ([mapping("g/ml", 0.001, quantity="126405")], "GML/LBMJANMA", 0.001 * LEAN),
    "grams and no more": ([mapping("g/ml", 0.001)], "GML/BW", 0.001),
    "unknown beside known": ([mapping("%", 9.0), mapping("Bq/ml", 0.5)], "BQML/DATETIME", 0.5 * AFTER_AN_HOUR),
    "the same twice": ([mapping("Bq/ml", 0.5), mapping("Bq/ml", 0.5)], "BQML/DATETIME", 0.5 * AFTER_AN_HOUR),
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_real_world_values(tmp_path: Path, name: str) -> None:
    mappings, branch, factor = MAPPINGS[name]
    save(enhanced("PT", COUNTS, mappings=lambda _: mappings), tmp_path / "in" / "pet")
    record = convert(tmp_path / "in")
    assert record.pet is not None
    assert record.pet.suv is not None
    assert record.pet.suv.branch == branch
    np.testing.assert_allclose(volume(record, "pet"), COUNTS * factor, rtol=1e-6)


def test_offset_of_a_mapping_and_a_mapping_shared_by_all(tmp_path: Path) -> None:
    pet = enhanced("PT", COUNTS)
    for one in pet.PerFrameFunctionalGroupsSequence:
        del one.RealWorldValueMappingSequence
    shared = pet.SharedFunctionalGroupsSequence[0]
    shared.RealWorldValueMappingSequence = DicomSequence([mapping("g/ml{SUVbw}", 0.01, 5.0)])
    save(pet, tmp_path / "in" / "pet")
    np.testing.assert_allclose(volume(convert(tmp_path / "in"), "pet"), COUNTS * 0.01 + 5, rtol=1e-6)
    del shared.RealWorldValueMappingSequence
    shared.PixelValueTransformationSequence[0].RescaleType = "BQML"
    shared.PixelValueTransformationSequence[0].RescaleSlope = 3
    save(pet, tmp_path / "in" / "pet")
    record = convert(tmp_path / "in", "out2")
    np.testing.assert_allclose(volume(record, "pet"), COUNTS * 3 * AFTER_AN_HOUR, rtol=1e-6)


@pytest.mark.parametrize(
    ("code", "mappings", "elements"),
    [
        ("suv_units_unsupported", [mapping("%", 1.0)], {}),
        ("suv_units_unsupported", [mapping("{counts}", 1.0)], {}),
        ("suv_units_unsupported", [mapping("Bq/ml", 1.0), mapping("Bq/ml", 2.0)], {}),
        ("suv_not_attenuation_corrected", None, {"AttenuationCorrected": "NO"}),
        ("suv_correction_mixed", None, {"DecayCorrected": None}),
        ("suv_missing_scan_time", None, {"DecayCorrectionDateTime": None}),
        ("suv_injection_after_scan", None, {"DecayCorrectionDateTime": "20240305095900"}),
        ("suv_missing_weight", None, {"PatientWeight": None}),
        ("multiframe_unsupported", None, {"NumberOfFrames": 5}),
        ("multiframe_unsupported", None, {"PerFrameFunctionalGroupsSequence": None}),
    ],
)
def test_refusals(tmp_path: Path, code: str, mappings: list[Dataset] | None, elements: dict[str, Any]) -> None:
    pet = enhanced("PT", COUNTS, mappings=None if mappings is None else lambda _: mappings, **elements)
    save(pet, tmp_path / "in" / "pet")
    assert refusal(tmp_path / "in") == code


def test_decay_corrected_to_the_injection_or_to_any_moment(tmp_path: Path) -> None:
    for hour, seconds in ((10, 0), (12, 7200)):
        pet = enhanced("PT", COUNTS, DecayCorrectionDateTime=f"20240305{hour}0000")
        save(pet, tmp_path / f"in{hour}" / "pet")
        record = convert(tmp_path / f"in{hour}", f"out{hour}")
        assert record.pet is not None
        assert record.pet.suv is not None
        assert record.pet.suv.factor == pytest.approx(70e3 / (350e6 * 0.5 ** (seconds / 6586.2)), rel=1e-12)


def test_moments_with_their_own_zone(tmp_path: Path) -> None:
    pet = enhanced("PT", COUNTS, TimezoneOffsetFromUTC="+0700", DecayCorrectionDateTime="20240305040000+0000")
    save(pet, tmp_path / "in" / "pet")
    record = convert(tmp_path / "in")
    assert record.pet is not None
    assert record.pet.suv is not None
    assert record.pet.suv.factor == pytest.approx(AFTER_AN_HOUR, rel=1e-12)


def test_without_decay_correction_every_frame_has_its_time(tmp_path: Path) -> None:
    def late(one: Dataset, k: int) -> None:
        one.FrameContentSequence[0].FrameAcquisitionDateTime = f"202403051100{10 * k:02d}.5"

    pet = enhanced("PT", COUNTS, change=late, DecayCorrected="NO", DecayCorrectionDateTime=None)
    save(pet, tmp_path / "in" / "pet")
    record = convert(tmp_path / "in")
    assert record.pet is not None
    assert record.pet.suv is not None
    assert record.pet.suv.branch == "BQML/NONE"
    seconds = 3600.5 + 60 + 10 * np.arange(6)
    expected = COUNTS * (70e3 / (350e6 * 0.5 ** (seconds / 6586.2)))[:, None, None]
    np.testing.assert_allclose(volume(record, "pet"), expected, rtol=1e-6)


def test_assumed_scan_time_fills_a_missing_decay_moment(tmp_path: Path) -> None:
    pet = enhanced("PT", COUNTS, DecayCorrectionDateTime=None)
    save(pet, tmp_path / "in" / "pet")
    record = convert(tmp_path / "in", assume=("scan_time=11:00",))
    assert record.pet is not None
    assert record.pet.suv is not None
    assert record.pet.suv.factor == pytest.approx(AFTER_AN_HOUR, rel=1e-12)
    assert record.pet.suv.assumed == ["scan_time"]


@pytest.mark.parametrize("maker", ["plain", "GE", "Philips"])
def test_legacy_converted_series_equals_the_classic_one(tmp_path: Path, maker: str) -> None:
    slices = []
    for k in range(6):
        one = image("PT", COUNTS[k], "1.2.3.4", k + 1, ImagePositionPatient=[0, 0, 3.0 * k], RescaleSlope=1 + k / 8)
        one.Manufacturer = maker
        if maker == "GE":
            one.SeriesTime = "153000"
            one.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240305110000.00")
        if maker == "Philips":
            one.Units = "CNTS"
            one.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0, "DS", "0.25")
        slices.append(one)
        save(one, tmp_path / "classic" / f"IM{k}")
    save(legacy_converted(slices), tmp_path / "legacy" / "whole")
    classic, other = convert(tmp_path / "classic"), convert(tmp_path / "legacy", "out2")
    assert classic.pet is not None
    assert other.pet is not None
    assert classic.pet.suv == other.pet.suv
    assert other.pet.suv is not None
    assert other.pet.suv.branch == ("CNTS/philips_suv" if maker == "Philips" else "BQML/START")
    assert (classic.pet.sha256, classic.pet.geometry) == (other.pet.sha256, other.pet.geometry)


def test_legacy_converted_ct_with_a_missing_slice(tmp_path: Path) -> None:
    slices = [image("CT", VALUES[k], "1.2.3.4", k + 1, ImagePositionPatient=[0, 0, 3.0 * k]) for k in range(6)]
    save(legacy_converted(slices), tmp_path / "in" / "whole")
    np.testing.assert_array_equal(volume(convert(tmp_path / "in"), "ct"), VALUES)
    save(legacy_converted(slices[:2] + slices[3:]), tmp_path / "in" / "whole")
    assert refusal(tmp_path / "in", out="out2") == "geometry_missing_slice"


def stacked(*names: str) -> Any:
    def change(one: Dataset, k: int) -> None:
        one.FrameContentSequence[0].StackID = names[k]

    return change


def test_stacks_that_continue_each_other_are_one_volume(tmp_path: Path) -> None:
    save(enhanced("CT", VALUES, change=stacked(*"AAABBB")), tmp_path / "in" / "ct")
    np.testing.assert_array_equal(volume(convert(tmp_path / "in"), "ct"), VALUES)


def test_stacks_of_other_directions_are_set_aside(tmp_path: Path) -> None:
    def change(one: Dataset, k: int) -> None:
        one.FrameContentSequence[0].StackID = "axial" if k < 4 else "coronal"
        across = [1, 0, 0, 0, 1, 0] if k < 4 else [1, 0, 0, 0, 0, -1]
        one.PlaneOrientationSequence = only(ImageOrientationPatient=across)

    places = [[0, 0, 3.0 * k] for k in range(4)] + [[0, 5, 30], [0, 8, 30]]
    ct = enhanced("CT", VALUES, positions=places, change=change)
    del ct.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    save(ct, tmp_path / "in" / "ct")
    record = convert(tmp_path / "in")
    np.testing.assert_array_equal(volume(record, "ct"), VALUES[:4])
    assert [one.role or one.set_aside for one in record.series] == ["ct", "fewer slices (2, taken: 4)"]


def test_scout_frames_are_set_aside(tmp_path: Path) -> None:
    def change(one: Dataset, k: int) -> None:
        kind = "LOCALIZER" if k == 0 else "AXIAL"
        one.CTImageFrameTypeSequence = only(FrameType=["ORIGINAL", "PRIMARY", kind, "NONE"])

    save(enhanced("CT", VALUES, change=change), tmp_path / "in" / "ct")
    record = convert(tmp_path / "in")
    np.testing.assert_array_equal(volume(record, "ct"), VALUES[1:])
    assert {one.role or one.set_aside for one in record.series} == {"ct", "localizer"}


def test_projections_are_set_aside(tmp_path: Path) -> None:
    pet = enhanced("PT", COUNTS)
    kind = pet.SharedFunctionalGroupsSequence[0].PETFrameTypeSequence[0]
    kind.VolumeBasedCalculationTechnique = "MAX_IP"
    save(pet, tmp_path / "in" / "pet")
    assert refusal(tmp_path / "in") == "no_image_series"


def test_times_of_one_place_are_never_mixed(tmp_path: Path) -> None:
    def change(one: Dataset, k: int) -> None:
        one.FrameContentSequence[0].TemporalPositionIndex = 1 + k // 3

    pet = enhanced("PT", COUNTS, positions=[[0, 0, 3.0 * (k % 3)] for k in range(6)], change=change)
    save(pet, tmp_path / "in" / "dynamic")
    assert refusal(tmp_path / "in") == "geometry_duplicate_slice"
    write_series(tmp_path / "in" / "static", "PT", COUNTS[:3], series="1.2.3.4.5")
    record = convert(tmp_path / "in", "out2")
    np.testing.assert_allclose(volume(record, "pet"), COUNTS[:3] * AFTER_AN_HOUR, rtol=1e-6)
    assert {one.role or one.set_aside for one in record.series} == {"pet", "several images of each place"}


def stored(path: Path) -> np.ndarray:
    return np.stack([stored_values(one) for one in frames_of(read_instance(path))])


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_plain_syntaxes(tmp_path: Path, syntax: Any) -> None:
    ct = enhanced("CT", VALUES)
    ct.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ct.PixelData = VALUES.astype(">i2").tobytes()
        pydicom.dcmwrite(tmp_path / "ct", ct, little_endian=False, implicit_vr=False, enforce_file_format=True)
    else:
        save(ct, tmp_path / "ct")
    np.testing.assert_array_equal(stored(tmp_path / "ct"), VALUES)


def test_a_file_cut_short(tmp_path: Path) -> None:
    path = save(enhanced("CT", VALUES), tmp_path / "in" / "ct")
    path.write_bytes(path.read_bytes()[:-71])
    assert refusal(tmp_path / "in") == "dicom_truncated"


def run_lengths(volume_in: np.ndarray) -> list[bytes]:
    """Each frame in RLE, encoded by pydicom."""
    found = []
    for values in volume_in:
        one = image("CT", values, "1.2.3", 1)
        one.compress(RLELossless)
        found.append(next(generate_frames(one.PixelData, number_of_frames=1)))
    return found


def wavelets(folder: Path, volume_in: np.ndarray) -> list[bytes]:
    """Each frame in JPEG 2000, encoded by GDCM."""
    import SimpleITK

    found = []
    for values in volume_in:
        writer = SimpleITK.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(folder / "frame.dcm"))
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG2000")
        writer.Execute(SimpleITK.GetImageFromArray(values.astype(np.int16)[None]))
        one = pydicom.dcmread(folder / "frame.dcm")
        assert one.file_meta.TransferSyntaxUID == JPEG2000Lossless
        found.append(next(generate_frames(one.PixelData, number_of_frames=1)))
    return found


def packed(frames: list[bytes], how: str) -> tuple[bytes, dict[str, Any]]:
    if how == "extended":
        data, offsets, lengths = encapsulate_extended(frames)
        return data, {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    pieces = 1 if how in ("table", "no table") else 3
    return encapsulate(frames, fragments_per_frame=pieces, has_bot=not how.endswith("no table")), {}


@pytest.mark.parametrize("how", ["table", "no table", "pieces", "pieces, no table", "extended"])
def test_compressed_frames(tmp_path: Path, how: str) -> None:
    large = np.random.default_rng(2).integers(-1000, 3000, (5, 24, 20))
    ct = enhanced("CT", large)
    ct.file_meta.TransferSyntaxUID = JPEG2000Lossless
    ct.PixelData, tables = packed(wavelets(tmp_path, large), how)
    ct["PixelData"].VR = "OB"
    ct["PixelData"].is_undefined_length = True
    for keyword, value in tables.items():
        setattr(ct, keyword, value)
    path = save(ct, tmp_path / "in" / "ct")
    np.testing.assert_array_equal(stored(path), large)
    np.testing.assert_array_equal(volume(convert(tmp_path / "in"), "ct"), large)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 700])
    with pytest.raises(RecordError) as fault:
        stored(path)
    assert fault.value.code == "dicom_truncated"


def test_run_lengths_of_pet(tmp_path: Path) -> None:
    large = np.random.default_rng(5).integers(0, 30000, (4, 24, 20))
    pet = enhanced("PT", large)
    pet.file_meta.TransferSyntaxUID = RLELossless
    pet.PixelData = encapsulate(run_lengths(large), has_bot=False)
    pet["PixelData"].is_undefined_length = True
    save(pet, tmp_path / "in" / "pet")
    np.testing.assert_allclose(volume(convert(tmp_path / "in"), "pet"), large * AFTER_AN_HOUR, rtol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize("name", ["J2KR", "JLSL", "JPLL", "RLE"])
def test_real_codestreams_as_frames(real_data: Path, tmp_path: Path, name: str) -> None:
    folder = real_data / "odd_ct" / "compressed"
    single = pydicom.dcmread(folder / f"CT1_{name}.dcm")
    raw = stored_values(read_instance(folder / "CT1_UNC.dcm"))
    ct = enhanced("CT", np.zeros((3, *raw.shape)))
    for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(ct, keyword, single[keyword].value)
    ct.file_meta.TransferSyntaxUID = single.file_meta.TransferSyntaxUID
    ct.PixelData = encapsulate([next(generate_frames(single.PixelData, number_of_frames=1))] * 3)
    ct["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(stored(save(ct, tmp_path / "ct")), np.stack([raw] * 3))


@pytest.mark.parametrize(
    ("offsets", "starts", "count", "expected"),
    [
        ([], [], 4, [1, 1, 1, 1]),
        ([0, 24], [], 2, [2, 2]),
        ([0, 36], [], 2, [3, 1]),
        ([], [0, 1, 3], 3, [1, 2, 1]),
        ([], [], 1, [4]),
        ([0, 25], [], 2, None),
        ([12, 24], [], 2, None),
        ([0, 24], [], 3, None),
        ([], [1, 2], 2, None),
        ([], [], 2, None),
        ([], [], 5, None),
    ],
)
def test_fragments_are_told_apart_or_not(
    offsets: list[int], starts: list[int], count: int, expected: list[int] | None
) -> None:
    fragments = [(100 + 12 * k, 4) for k in range(4)]
    found = frames_of_fragments(fragments, offsets, starts, count)
    assert (None if found is None else [len(one) for one in found]) == expected
    assert found is None or [one for frame in found for one in frame] == fragments


def test_frames_that_nothing_tells_apart(tmp_path: Path) -> None:
    pet = enhanced("PT", COUNTS)
    pet.file_meta.TransferSyntaxUID = RLELossless
    pet.PixelData = encapsulate(run_lengths(COUNTS)[:5], has_bot=False)
    pet["PixelData"].is_undefined_length = True
    save(pet, tmp_path / "in" / "pet")
    assert refusal(tmp_path / "in") == "dicom_undecodable"


def test_one_frame_is_read_without_the_others(tmp_path: Path) -> None:
    """Frames after the one that is asked for may be anything: nothing reads them."""
    path = save(enhanced("CT", VALUES), tmp_path / "ct")
    raw = bytearray(path.read_bytes())
    raw[-2:] = struct.pack("<h", 99)
    path.write_bytes(raw)
    third = frames_of(read_instance(path))[2]
    np.testing.assert_array_equal(stored_values(third), VALUES[2])
    assert third.pixel_bytes == VALUES[0].size * 2


def test_an_object_of_another_kind_is_left_as_it_is(tmp_path: Path) -> None:
    one = image("CT", VALUES[0], "1.2.3", 1)
    one.PerFrameFunctionalGroupsSequence = DicomSequence([item(StackID="1")])
    instance = read_instance(save(one, tmp_path / "ct"))
    assert frames_of(instance) == (instance,)
