"""`petct anonymize --deface`: the face goes, everything else stays bit for bit, however the patient lay."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import heads
import numpy as np
import orjson
import pydicom
import pytest
from conftest import Result
from dicom_factory import STUDY_UID, image, write_series
from pydicom.uid import RLELossless

from petct_cli.core.errors import RecordError
from petct_cli.core.jsonl import decode
from petct_cli.dicom.deid.pixels import air_word, pixel_format, read_words, with_words
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.dicom.deid.syntax import EXPLICIT_LE, read_dicom
from petct_cli.stages.anonymize import Anonymize
from petct_cli.stages.anonymize_pixels import PixelOptions
from petct_cli.volume.ct_stack import CtSlice
from petct_cli.volume.deface import Face, find_face
from petct_cli.volume.geometry import SlicePlane

Points = np.ndarray
Vector = tuple[float, float, float]


def noisy(hu: np.ndarray, seed: int = 0) -> np.ndarray:
    return (hu + np.random.default_rng(seed).normal(0, 12, hu.shape)).astype(np.int16)


def planes(
    row: Vector, column: Vector, along: Vector, start: Vector, shape: tuple[int, int, int], step: float, px: float
) -> list[SlicePlane]:
    """Slices from `start` on, `step` apart in the direction `along`."""
    return [
        SlicePlane(tuple(np.array(start) + i * step * np.array(along)), row, column, (px, px), shape[1:])
        for i in range(shape[0])
    ]


def points_of(plane: SlicePlane) -> Points:
    rows, columns = np.arange(plane.shape[0]), np.arange(plane.shape[1])
    down, right = np.array(plane.column) * plane.spacing[0], np.array(plane.row) * plane.spacing[1]
    return np.array(plane.position) + rows[:, None, None] * down + columns[None, :, None] * right


SUPINE = planes((1, 0, 0), (0, 1, 0), (0, 0, 1), (-228, -180, -240), (131, 95, 115), 4.0, 4.0)
TILT = float(np.sin(np.radians(12)))
SCANS = {
    "supine": SUPINE,
    "feet first, files from the feet up": planes(
        (-1, 0, 0), (0, 1, 0), (0, 0, 1), (228, -180, -240), (131, 95, 115), 4.0, 4.0
    ),
    "prone": planes((-1, 0, 0), (0, -1, 0), (0, 0, -1), (228, 196, 280), (131, 95, 115), 4.0, 4.0),
    "on the left side": planes((0, 1, 0), (-1, 0, 0), (0, 0, 1), (228, -180, -240), (131, 115, 95), 4.0, 4.0),
    "tilted gantry": planes(
        (1, 0, 0),
        (0, float(np.cos(np.radians(12))), TILT),
        (0, 0, 1),
        (-228, -180, -240 - 60 * TILT),
        (131, 98, 115),
        4.0,
        4.0,
    ),
    "coronal": planes((1, 0, 0), (0, 0, -1), (0, 1, 0), (-228, -180, 284), (95, 131, 115), 4.0, 4.0),
}


def scanned(
    stack: list[SlicePlane], change: Callable[[Points], Points] = lambda p: p, **kinds: bool
) -> tuple[Face, dict[str, np.ndarray], np.ndarray]:
    """The face found in a scan of the synthetic patient, the masks of its parts, and what would be replaced."""
    drawn = [heads.patient(change(points_of(plane)), **kinds) for plane in stack]
    hu = [noisy(part["hu"], i) for i, part in enumerate(drawn)]
    order = np.random.default_rng(1).permutation(len(stack))
    face = find_face([CtSlice(stack[i], lambda i=i: hu[i]) for i in order])
    masks = [face.mask(plane, values) for plane, values in zip(stack, hu, strict=True)]
    gone = np.array([np.zeros(values.shape, bool) if m is None else m for m, values in zip(masks, hu, strict=True)])
    return face, {name: np.array([part[name] for part in drawn]) for name in drawn[0]}, gone


def assert_face_is_gone(parts: dict[str, np.ndarray], gone: np.ndarray) -> None:
    for name in ("nose", "lips", "ears"):
        assert parts[name].sum() > 10
        assert gone[parts[name]].all(), name
    for name in ("brain", "bone", "below"):
        assert parts[name].sum() > 1000
        assert not gone[parts[name]].any(), name


@pytest.mark.parametrize("name", SCANS)
def test_the_face_goes_however_the_patient_lay(name: str) -> None:
    face, parts, gone = scanned(SCANS[name])
    assert face.head.method == "lungs"
    assert abs(face.head.apex_mm - heads.APEX) < 10
    assert not face.all_around
    assert_face_is_gone(parts, gone)
    behind = parts["skin"] & (np.array([points_of(plane) for plane in SCANS[name]])[..., 1] > 85)
    assert behind.any() and not gone[behind].any()


def test_arms_beside_the_head_stay() -> None:
    _, parts, gone = scanned(SUPINE, arms_up=True)
    assert_face_is_gone(parts, gone)
    points = np.array([points_of(plane) for plane in SUPINE])
    arms = (np.hypot(np.abs(points[..., 0]) - 165, points[..., 1]) < 38) & (points[..., 2] > 40)
    assert arms.any() and gone[arms].mean() < 0.02


def test_no_rim_of_the_old_skin_is_left() -> None:
    """What is removed ends in the air, at a distance that the skin does not decide."""
    from scipy.ndimage import binary_dilation

    _, parts, gone = scanned(SUPINE)
    for name in ("nose", "lips", "ears"):
        ring = binary_dilation(parts[name], iterations=2) & (parts["hu"] == heads.AIR)
        assert gone[ring].all(), name


def test_a_head_turned_aside_is_taken_all_around() -> None:
    def turned(points: Points) -> Points:
        x, y, z = np.moveaxis(points, -1, 0)
        head = z > 60
        return np.stack([np.where(head, y - 5, x), np.where(head, 5 - x, y), z], axis=-1)

    face, parts, gone = scanned(SUPINE, turned, couch=False)
    assert face.all_around
    assert_face_is_gone(parts, gone)


def test_a_head_without_a_chest_is_known_by_its_skull() -> None:
    stack = planes((1, 0, 0), (0, 1, 0), (0, 0, 1), (-140, -150, 70), (72, 100, 94), 3.0, 3.0)
    face, parts, gone = scanned(stack)
    assert face.head.method == "skull"
    for name in ("nose", "lips", "ears"):
        assert gone[parts[name]].all()
    assert not gone[parts["brain"] | parts["bone"]].any()


def test_a_chest_without_a_head_has_no_face() -> None:
    face, _, gone = scanned(SUPINE[:75])
    assert not face.head.has_face
    assert not gone.any()


def test_an_open_vault_at_the_end_of_the_scan_is_no_surface() -> None:
    """Most PET/CT starts at the base of the skull: the brain at the cut is not skin."""
    for stop in (98, 112):
        _, parts, gone = scanned(SUPINE[:stop], arms_up=True)
        assert gone[parts["nose"] | parts["lips"]].all()
        assert not gone[parts["brain"] | parts["bone"] | parts["below"]].any()


@pytest.mark.parametrize(
    "change",
    [
        lambda points: points * [1, 1, -1] + [0, 0, 40],  # head and feet exchanged
        lambda points: points - [0, 0, 2000],  # air only
    ],
)
def test_what_cannot_be_decided_is_refused(change: Callable[[Points], Points]) -> None:
    with pytest.raises(RecordError) as caught:
        scanned(SUPINE, change)
    assert caught.value.code == "deface_no_landmark"


def test_legs_alone_are_undecidable() -> None:
    hu = np.full((95, 115), -1000, np.int16)
    hu[30:60, 20:50] = hu[30:60, 60:90] = 40
    with pytest.raises(RecordError) as caught:
        find_face([CtSlice(plane, lambda: hu) for plane in SUPINE])
    assert caught.value.code == "deface_no_landmark"


@lru_cache(maxsize=1)
def volume() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    drawn = [heads.patient(points_of(plane)) for plane in SUPINE]
    hu = np.array([noisy(part["hu"], i) for i, part in enumerate(drawn)])
    return hu, {name: np.array([part[name] for part in drawn]) for name in drawn[0]}


def write_study(folder: Path, change: Callable[[Any, int], None] | None = None, **elements: Any) -> Path:
    hu, _ = volume()
    geometry = {"PixelSpacing": [4, 4], "SliceThickness": 4}
    positions = [plane.position for plane in SUPINE]
    write_series(folder / "CT", "CT", hu, positions, change=change, **geometry, **elements)
    write_series(folder / "PET", "PT", np.arange(3 * 64).reshape(3, 8, 8) + 7)
    return folder


def run_stage(folder: Path, out: Path, **options: Any) -> dict[str, Any]:
    series = [{"modality": "CT", "dir": str(path)} for path in sorted(folder.iterdir())]
    record = {"type": "study", "schema": 1, "id": "0" * 16, "series": series}
    stage = Anonymize(out=out, key=Key(b"k" * 32), pixels=PixelOptions(deface=True), **options)
    (result,) = stage(decode(orjson.dumps(record)))
    return result.to_json()


def written(out: Path, series: str) -> list[pydicom.Dataset]:
    found = [pydicom.dcmread(path) for path in sorted(out.glob(f"*/{series}/*.dcm"))]
    return sorted(found, key=lambda dataset: dataset.InstanceNumber)


def test_a_study_comes_out_without_its_face(tmp_path: Path) -> None:
    record = run_stage(write_study(tmp_path / "study"), tmp_path / "out")
    assert record["deid"]["face"] == "removed"
    changed = record["deid"]["counts"]["slices_defaced"]
    said = {"series": "CT_001", "face": "removed", "slices_changed": changed, "landmark": "lungs", "all_around": False}
    assert record["deid"]["deface"] == {"series": [said], "pet": "untouched"}
    hu, parts = volume()
    slices = written(tmp_path / "out", "CT_001")
    after = np.array([dataset.pixel_array for dataset in slices])
    differs = after != hu
    assert 0 < differs.any(axis=(1, 2)).sum() <= changed < len(hu)
    assert not differs[parts["brain"] | parts["bone"] | parts["below"]].any()
    assert (after[parts["nose"] | parts["lips"] | parts["ears"]] == -1000).all()
    for dataset in slices:
        codes = [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]
        assert codes == sorted(codes)
        assert "113102" in codes
        assert dataset[0x00280302].value == "NO"
        assert dataset.file_meta.TransferSyntaxUID == EXPLICIT_LE
    before = [pydicom.dcmread(path) for path in sorted((tmp_path / "study/PET").iterdir())]
    for old, new in zip(before, written(tmp_path / "out", "PT_001"), strict=True):
        assert old.PixelData == new.PixelData
        assert 0x00280302 not in new
        assert "113102" not in [item.CodeValue for item in new.DeidentificationMethodCodeSequence]


def test_without_the_option_faces_are_present_and_the_key_is_another(tmp_path: Path) -> None:
    assert PixelOptions().key() == {}
    assert PixelOptions(deface=True).key() != {}
    folder = tmp_path / "study"
    write_series(folder / "CT", "CT", np.zeros((3, 8, 8)))
    record = {"type": "study", "schema": 1, "id": "0" * 16, "series": [{"modality": "CT", "dir": str(folder / "CT")}]}
    (result,) = Anonymize(out=tmp_path / "out", key=Key(b"k" * 32))(decode(orjson.dumps(record)))
    assert result.to_json()["deid"]["face"] == "present"
    assert run_stage(folder, tmp_path / "out")["error"]["code"] == "deface_no_landmark"


def test_compressed_slices_with_a_face_come_out_native_the_others_as_they_were(tmp_path: Path) -> None:
    def packed(dataset: Any, index: int) -> None:
        dataset.compress(RLELossless)
        dataset.LossyImageCompression, dataset.LossyImageCompressionRatio = "01", "4"

    folder = write_study(tmp_path / "study", packed)
    record = run_stage(folder, tmp_path / "out")
    hu, parts = volume()
    slices = written(tmp_path / "out", "CT_001")
    native = [dataset.file_meta.TransferSyntaxUID == EXPLICIT_LE for dataset in slices]
    assert sum(native) == record["deid"]["counts"]["slices_defaced"]
    for dataset, whole, plain in zip(slices, hu, native, strict=True):
        assert dataset.file_meta.TransferSyntaxUID in (EXPLICIT_LE, RLELossless)
        assert dataset.LossyImageCompressionRatio == 4
        if plain:
            assert dataset["PixelData"].VR == "OW" and not dataset["PixelData"].is_undefined_length
        else:
            assert (dataset.pixel_array == whole).all()
    after = np.array([dataset.pixel_array for dataset in slices])
    gone = after != hu
    assert gone[parts["nose"]].all() and not gone[parts["brain"] | parts["bone"] | parts["below"]].any()


def test_another_ct_of_the_head_is_treated_and_what_is_no_plane_is_set_aside(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    coronal = SCANS["coronal"]
    drawn = [heads.patient(points_of(plane)) for plane in coronal]
    write_series(
        folder / "COR", "CT", np.array([noisy(part["hu"]) for part in drawn]), [plane.position for plane in coronal],
        series=f"{STUDY_UID}.5", SeriesNumber=5, PixelSpacing=[4, 4], ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        ImageType=["DERIVED", "SECONDARY", "REFORMATTED"],
    )  # fmt: skip
    # A few slices of the face alone tell nothing by themselves: they borrow what the whole series knows.
    hu, parts = volume()
    write_series(
        folder / "DETAIL", "CT", hu[100:104], [plane.position for plane in SUPINE[100:104]], series=f"{STUDY_UID}.6",
        SeriesNumber=6, PixelSpacing=[4, 4],
    )  # fmt: skip
    flat = np.zeros((1, 8, 8))
    write_series(folder / "SCOUT", "CT", flat, series=f"{STUDY_UID}.7", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(folder / "MIP", "CT", flat, series=f"{STUDY_UID}.8", ImageType=["DERIVED", "SECONDARY", "MIP"])
    write_series(folder / "MR", "CT", flat, series=f"{STUDY_UID}.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    write_series(
        folder / "BARE", "CT", flat, series=f"{STUDY_UID}.10", change=lambda ds, _: delattr(ds, "PixelSpacing")
    )
    lateral = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "PixelSpacing": [4, 4]}
    write_series(folder / "UNMARKED", "CT", flat, series=f"{STUDY_UID}.12", **lateral)
    elsewhere = {"FrameOfReferenceUID": "1.2.3.4"}
    write_series(folder / "ELSEWHERE", "CT", hu[100:104], series=f"{STUDY_UID}.11", PixelSpacing=[4, 4], **elsewhere)
    record = run_stage(folder, tmp_path / "out", quarantine=tmp_path / "aside")
    assert [item["reason"] for item in record["deid"]["quarantined"]] == ["face_not_removable"] * 9
    assert len(list((tmp_path / "aside").rglob("*.dcm"))) == 9
    series = {entry["series"]: entry for entry in record["deid"]["deface"]["series"]}
    assert [series[name]["face"] for name in ("CT_001", "CT_002", "CT_003")] == ["removed"] * 3
    after = np.array([dataset.pixel_array for dataset in written(tmp_path / "out", "CT_002")])
    assert (after[np.array([part["nose"] for part in drawn])] == -1000).all()
    detail = np.array([dataset.pixel_array for dataset in written(tmp_path / "out", "CT_003")])
    assert parts["nose"][100:104].any() and (detail[parts["nose"][100:104]] == -1000).all()
    again = run_stage(folder, tmp_path / "out", quarantine=tmp_path / "aside2")
    assert again == record
    assert len(list((tmp_path / "aside2").rglob("*.dcm"))) == 9


def test_jobs_do_not_change_a_byte(petct: Callable[..., Result], tmp_path: Path) -> None:
    made = petct("phantom", "--studies", "2", "--seed", "5", "-o", "studies", cwd=tmp_path)
    (tmp_path / "raw.jsonl").write_bytes(made.stdout)
    for out, jobs in (("one", "1"), ("two", "2")):
        done = petct(
            "anonymize", "raw.jsonl", "-o", out, "--key-file", "k", "--new-key", "--deface", "-j", jobs, cwd=tmp_path
        )
        assert done.code == 0, done.stderr
        assert "face: present" not in done.stderr
        assert [record["deid"]["face"] for record in done.records] == ["removed"] * 2
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.dcm"))
    assert len(files) > 300
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


@pytest.mark.parametrize(
    ("elements", "air"),
    [
        ({"PixelRepresentation": 1, "RescaleIntercept": 0}, -1000),
        ({"PixelRepresentation": 0, "RescaleIntercept": -1024, "BitsStored": 12, "HighBit": 11}, 24),
        ({"PixelRepresentation": 0, "RescaleIntercept": 0}, 0),
        ({"PixelRepresentation": 1, "RescaleIntercept": -8192, "RescaleSlope": 0.5}, 14384),
        ({"PixelRepresentation": 1, "RescaleIntercept": 0, "PixelPaddingValue": -1000}, -999),
        ({"PixelRepresentation": 1, "RescaleIntercept": 0, "PixelPaddingValue": -2000}, -1000),
    ],
)
def test_air_fits_the_pixels(tmp_path: Path, elements: dict[str, Any], air: int) -> None:
    padding = elements.pop("PixelPaddingValue", None)
    dataset = image("CT", np.zeros((4, 4)), "1.2.3", 1, **elements)
    if padding is not None:
        dataset.add_new(0x00280120, "SS", padding)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    dicom = read_dicom(tmp_path / "a.dcm")
    form = pixel_format(dicom)
    assert form.values(np.array([air_word(dicom, form)], form.dtype))[0] == air


@pytest.mark.real
@pytest.mark.parametrize("name", ["J2KR", "JLSL", "JPLL", "RLE"])
def test_lossless_pixels_decode_to_the_raw_ones(real_data: Path, name: str) -> None:
    folder = real_data / "odd_ct/compressed"
    raw, form = read_words(read_dicom(folder / "CT1_UNC.dcm"), folder / "CT1_UNC.dcm")
    packed = read_dicom(folder / f"CT1_{name}.dcm")
    words, new = read_words(packed, folder / f"CT1_{name}.dcm")
    assert (words == raw).all() and new == form
    native = with_words(packed, words, new)
    assert native.transfer_syntax == EXPLICIT_LE
    assert (read_words(native, Path("nowhere"))[0] == raw).all()


@pytest.mark.real
def test_a_real_chest_is_left_alone(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "lung1_001_ct"
    record = {"type": "study", "schema": 1, "id": "0" * 16, "series": [{"modality": "CT", "dir": str(source)}]}
    stage = Anonymize(out=tmp_path / "out", key=Key(b"k" * 32), pixels=PixelOptions(deface=True))
    (result,) = stage(decode(orjson.dumps(record)))
    assert result.to_json()["deid"]["face"] == "absent"
    before = {ds.InstanceNumber: ds.PixelData for ds in map(pydicom.dcmread, source.iterdir())}
    after = written(tmp_path / "out", "CT_001")
    assert len(after) == len(before)
    assert all(dataset.PixelData == before[dataset.InstanceNumber] for dataset in after)
