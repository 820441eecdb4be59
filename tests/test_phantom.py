"""`petct phantom`: synthetic studies whose truth is known."""

from __future__ import annotations

import hashlib
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pydicom
import pytest
from conftest import Result

from petct_cli.core.hashing import sha256_array
from petct_cli.core.jsonl import decode, encode
from petct_cli.core.records import Lesion, Study
from petct_cli.report.compose import FINDING_SECTIONS, compose_report, phrases
from petct_cli.report.sites import load_sites
from petct_cli.volume.phantom import make_phantom
from petct_cli.volume.phantom_anatomy import lesion_sites
from petct_cli.volume.phantom_raster import Grid
from petct_cli.volume.storage import load_volume

Petct = Callable[..., Result]


@pytest.fixture(scope="module")
def dicom(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Study]]:
    """Four studies as DICOM, made once."""
    folder = tmp_path_factory.mktemp("phantom")
    result = petct("phantom", "--studies", "4", "--seed", "11", "-o", "out", cwd=folder)
    assert result.code == 0, result.stderr
    records = [decode(line) for line in result.stdout.splitlines()]
    assert all(isinstance(record, Study) for record in records)
    return folder, records  # type: ignore[return-value]


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def slices(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def stored(dataset: pydicom.Dataset) -> npt.NDArray[np.float64]:
    return dataset.pixel_array.astype(np.float64)


def suv_by_the_header(dataset: pydicom.Dataset) -> npt.NDArray[np.float64]:
    """The rule for BQML in a few lines, apart from petct's own."""
    tracer = dataset.RadiopharmaceuticalInformationSequence[0]
    dose = float(tracer.RadionuclideTotalDose)
    if dataset.DecayCorrection == "START":
        form = "%H%M%S.%f"
        start = datetime.strptime(dataset.SeriesTime, form)
        injected = datetime.strptime(tracer.RadiopharmaceuticalStartTime, form)
        dose *= 2 ** (-(start - injected).total_seconds() / float(tracer.RadionuclideHalfLife))
    becquerel = stored(dataset) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return np.asarray(becquerel * float(dataset.PatientWeight) * 1000 / dose)


def test_a_phantom_depends_on_seed_and_index_alone() -> None:
    first, again = make_phantom(4, 17), make_phantom(4, 17)
    assert first == again
    assert sha256_array(first.render_pet()) == sha256_array(again.render_pet())
    assert make_phantom(4, 18).body != first.body
    assert make_phantom(5, 17).body != first.body


def test_every_site_and_side_occurs_and_lesions_keep_their_limits() -> None:
    placed = [make_phantom(0, index).placed for index in range(300)]
    assert {len(lesions) for lesions in placed} == {0, 1, 2, 3}
    places = Counter((lesion.site, lesion.side) for lesions in placed for lesion in lesions)
    expected = {
        (key, side) for key, site in load_sites().items() for side in (("left", "right") if site.lateral else (None,))
    }
    assert set(places) == expected
    assert len(expected) == 16
    assert min(places.values()) >= 10
    for lesions in placed:
        assert len({(lesion.site, lesion.side) for lesion in lesions}) == len(lesions)
        for lesion in lesions:
            assert 8 <= lesion.size_mm <= 40
            assert lesion.size_mm == int(lesion.size_mm)
            assert max(lesion.radii_mm) * 2 == lesion.size_mm
            assert 2.5 <= lesion.peak_suv <= 15


def test_a_left_lesion_lies_on_the_patients_left() -> None:
    sided = 0
    for index in range(200):
        phantom = make_phantom(1, index)
        middle, _ = phantom.body.centre_mm
        for lesion in phantom.placed:
            if lesion.side:
                sided += 1
                offset = lesion.centre_mm[0] - middle
                assert offset > 15 if lesion.side == "left" else offset < -15
    assert sided > 50


def test_the_heart_is_on_the_left_and_the_liver_on_the_right() -> None:
    phantom = make_phantom(2, 3)
    centre = phantom.body.centre_mm[0]
    parts = {round(part.hu): part for part in phantom.body.parts if part.radii_mm[0] > 40}
    assert parts[44].centre_mm[0] > centre
    assert parts[60].centre_mm[0] < centre + 20


def test_lesions_lie_in_the_third_of_the_scan_that_their_site_names() -> None:
    regions = {key: site.region for key, site in load_sites().items()}
    limits = {"head_neck": (0.0, 0.2), "chest": (0.2, 0.55), "abdomen_pelvis": (0.55, 1.0)}
    for index in range(200):
        phantom = make_phantom(3, index)
        height = phantom.pet_grid.shape[0] * phantom.pet_grid.spacing_mm[0]
        top = phantom.pet_grid.origin_mm[2] + height - phantom.pet_grid.spacing_mm[0] / 2
        for lesion in phantom.placed:
            low, high = limits[regions[lesion.site]]
            assert low < (top - lesion.centre_mm[2]) / height < high, lesion.site


def test_the_truth_is_what_the_noise_free_pet_shows() -> None:
    checked = 0
    for index in range(25):
        phantom = make_phantom(6, index)
        clean = phantom.render_pet(noise=False)
        z, y, x = (phantom.pet_grid.axis_mm(axis).astype(float) for axis in range(3))
        for lesion in phantom.lesions:
            assert lesion.centre_mm is not None
            assert lesion.size_mm is not None
            assert lesion.suv_max is not None
            cx, cy, cz = lesion.centre_mm
            distance = np.sqrt((z - cz)[:, None, None] ** 2 + (y - cy)[:, None] ** 2 + (x - cx) ** 2)
            inside = clean[distance < max(lesion.size_mm / 2, 6)]
            assert inside.max() == pytest.approx(lesion.suv_max, rel=0.1)
            checked += 1
    assert checked > 20


def test_small_lesions_look_cooler_than_they_are() -> None:
    lesions = [lesion for index in range(400) for lesion in make_phantom(7, index).placed]
    small = [lesion.peak_suv for lesion in lesions if lesion.size_mm <= 11]
    large = [lesion.peak_suv for lesion in lesions if lesion.size_mm >= 28]
    assert np.median(small) < 0.8 * np.median(large)


def test_uptake_and_densities_are_those_of_a_body() -> None:
    phantom = make_phantom(8, 1)
    pet, ct = phantom.render_pet(), phantom.render_ct()
    assert pet.dtype == np.float32
    assert ct.dtype == np.int16
    assert pet.shape == ct.shape == phantom.pet_grid.shape
    assert pet.min() >= 0
    depth = pet.shape[0]
    assert 5 < np.percentile(pet[int(depth * 0.9) : int(depth * 0.95), 24:40, 24:40], 60) < 15  # brain
    assert 7 < np.percentile(pet[: depth // 4], 99.99) < 32  # bladder
    assert (ct < -600).mean() > 0.2  # air around, and lungs
    lungs = ct[depth // 2 : depth * 3 // 4, 24:40, 16:48]
    assert -860 < np.median(lungs[lungs < -500]) < -780
    assert ct.max() > 600
    assert abs(float(np.median(ct[:, 0, 0])) + 1000) < 10


def test_ct_on_the_pet_grid_is_the_average_of_the_finer_ct() -> None:
    phantom = make_phantom(9, 2)
    fine, coarse = phantom.render_ct(phantom.ct_grid), phantom.render_ct()
    depth, height, width = coarse.shape
    average = fine.reshape(depth, height, 2, width, 2).mean(axis=(2, 4))
    difference = np.abs(average - coarse)
    assert np.median(difference) <= 1
    assert np.mean(difference > 60) < 0.02


def test_a_phantom_can_be_drawn_on_any_grid() -> None:
    phantom = next(phantom for phantom in (make_phantom(10, index) for index in range(50)) if phantom.placed)
    lesion = phantom.placed[0]
    x, y, z = lesion.centre_mm
    grid = Grid((30, 40, 40), (2.0, 2.0, 2.0), (x - 39, y - 39, z - 29))
    pet = phantom.render_pet(grid, noise=False)
    assert pet.shape == grid.shape
    assert pet[13:17, 18:22, 18:22].max() >= 0.9 * lesion.peak_suv


def test_the_table_has_enough_phrasings() -> None:
    table = phrases()
    for kind in set(table["kinds"].values()):
        templates = table["finding"][kind]
        assert len(set(templates)) >= 6
        for template in templates:
            assert {"{site}", "{size}", "{suv}"} <= set(re.findall(r"\{\w+\}", template))
    for section in FINDING_SECTIONS:
        assert len(set(table["negative"][section])) >= 6
    assert len(set(table["impression"]["lesion"])) >= 6
    assert len(set(table["impression"]["normal"])) >= 6
    sites = load_sites()
    assert set(table["names"]) == set(table["kinds"]) == set(sites) == {site.site for site in lesion_sites()}
    for key, names in table["names"].items():
        assert set(names) <= set(sites[key].terms)


def test_a_report_states_each_lesion_and_nothing_else_has_measures() -> None:
    sites, words = load_sites(), {"left": "trái", "right": "phải"}
    for index in range(150):
        phantom = make_phantom(12, index)
        facts = [
            Lesion(site=lesion.site, side=lesion.side, size_mm=lesion.size_mm, suv_max=lesion.peak_suv)
            for lesion in phantom.placed
        ]
        report = compose_report(facts, phantom.rng("text"))
        assert list(report) == [*FINDING_SECTIONS, "impression"]
        for section in FINDING_SECTIONS:
            here = [lesion for lesion in facts if sites[lesion.site].section == section]
            measured = [text for text in re.split(r"(?<=\.)\s", report[section]) if re.search(r"\d", text)]
            assert len(measured) == len(here)
            for lesion, sentence in zip(here, measured, strict=True):
                text = sentence.lower()
                assert any(term in text for term in sites[lesion.site].terms)
                assert re.search(rf"\b{lesion.size_mm:.0f} ?mm\b", text)
                assert re.search(rf"suvmax\W+{lesion.suv_max:.1f}\b".replace(r"\.", ".").replace(".", "[.,]"), text)
                assert "hai bên" not in text
                assert "không" not in text
                if lesion.side:
                    assert words[lesion.side] in text
                    assert words["right" if lesion.side == "left" else "left"] not in text
        assert not re.search(r"\d", report["impression"])


def test_lesions_without_measures_are_refused() -> None:
    with pytest.raises(ValueError, match="no size"):
        compose_report([Lesion(site="liver", suv_max=3.0)], np.random.default_rng(0))


def test_records_point_to_what_was_written(dicom: tuple[Path, list[Study]]) -> None:
    folder, records = dicom
    assert [path.name for path in sorted((folder / "out").iterdir())] == [f"study_000{n}" for n in range(1, 5)]
    for record in records:
        assert record.error is None
        assert record.truth
        assert record.report
        assert record.report.path
        head = pydicom.dcmread(folder / record.series[0].dir / "0001.dcm")  # type: ignore[operator]
        assert record.id == hashlib.sha256(head.StudyInstanceUID.encode()).hexdigest()[:16]
        assert (record.patient, record.sex, record.dates) == (head.PatientID, head.PatientSex, "full")
        assert record.weight_kg == float(head.PatientWeight)
        report = (folder / record.report.path).read_bytes()
        assert hashlib.sha256(report).hexdigest() == record.report.sha256
        for lesion in orjson.loads((folder / record.truth.lesions).read_bytes())["lesions"]:
            assert list(lesion) == ["site", "side", "size_mm", "suv_max", "centre_mm"]


def test_dicom_objects_are_valid(dicom: tuple[Path, list[Study]]) -> None:
    folder, records = dicom
    program = Path(sys.executable).with_name("dciodvfy")
    for record in records:
        for series in record.series:
            assert series.dir
            for name in ("0001.dcm", "0060.dcm"):
                done = subprocess.run([program, folder / series.dir / name], capture_output=True, text=True)
                said = done.stdout + done.stderr
                assert ("CTImage" if series.modality == "CT" else "PETImage") in said
                assert not [line for line in said.splitlines() if line.startswith(("Error", "Abort"))]


def test_ct_and_pet_share_patient_study_and_frame_of_reference(dicom: tuple[Path, list[Study]]) -> None:
    folder, records = dicom
    seen = set()
    for record in records:
        ct, pet = (slices(folder / series.dir) for series in record.series if series.dir)
        shared = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "AccessionNumber")
        for keyword in shared:
            assert len({str(getattr(one, keyword)) for one in (*ct, *pet)}) == 1
        assert len(ct) == len(pet)
        assert len(ct) + len(pet) < 250
        uids = [one.SOPInstanceUID for one in (*ct, *pet)]
        assert len(set(uids)) == len(uids)
        assert not seen & set(uids)
        seen |= set(uids)
        assert all(uid.is_valid for uid in uids)
        assert len({one.RescaleSlope for one in pet}) > 10
        positions = [float(one.ImagePositionPatient[2]) for one in pet]
        assert positions == sorted(positions, reverse=True)
        assert np.allclose(np.diff(positions), -8)
        assert re.search(r"[^\x00-\x7f]", str(pet[0].PatientName)) or re.search(r"[^\x00-\x7f]", pet[0].InstitutionName)


def test_stored_pixels_come_back_as_hu_and_suv(dicom: tuple[Path, list[Study]]) -> None:
    folder, records = dicom
    corrections = Counter[str]()
    for index, record in enumerate(records):
        phantom = make_phantom(11, index)
        ct, pet = (slices(folder / series.dir) for series in record.series if series.dir)
        corrections[pet[0].DecayCorrection] += 1
        truth = phantom.render_pet()[::-1]
        values = np.stack([suv_by_the_header(one) for one in pet])
        step = truth.max(axis=(1, 2), keepdims=True) / 32767
        assert np.all(np.abs(values - truth) <= 0.51 * step + 1e-6 * truth)
        hu = np.stack([stored(one) * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in ct])
        assert np.array_equal(hu, phantom.render_ct(phantom.ct_grid)[::-1])
    assert set(corrections) <= {"START", "ADMIN"}


def test_both_decay_corrections_give_the_same_suv() -> None:
    from petct_cli.dicom.synthesise import draw_protocol

    drawn = [draw_protocol(np.random.default_rng(seed), 60.0) for seed in range(60)]
    assert {protocol.decay_correction for protocol in drawn} == {"START", "ADMIN"}
    assert {protocol.signed for protocol in drawn} == {True, False}


def test_headers_and_reports_hold_identifiers_to_remove(dicom: tuple[Path, list[Study]]) -> None:
    folder, records = dicom
    for record in records:
        assert record.report
        assert record.report.path
        assert record.series[1].dir
        head = pydicom.dcmread(folder / record.series[1].dir / "0001.dcm", stop_before_pixels=True)
        document = orjson.loads((folder / record.report.path).read_bytes())
        family, given, middle = str(head.PatientName).split("^")
        name = f"{family} {middle} {given}"
        assert document["Hành chính"]["Họ tên"] == name.upper()
        assert document["Hành chính"]["Mã BN"] == head.PatientID
        assert name in document["Chỉ định"]
        assert set(document["Mô tả hình ảnh"]) == {"Đầu - cổ", "Lồng ngực", "Ổ bụng - khung chậu", "Hệ cơ - xương"}
        assert name in head.private_block(0x0011, "PETCT PHANTOM TECH NOTE")[0x01].value
        assert head.private_block(0x0009, "GEMS_PETD_01")[0x02].value == head.PatientID
        assert name in head.RequestAttributesSequence[0].ScheduledProcedureStepDescription
        assert 2017 <= int(head.StudyDate[:4]) <= 2023
        assert int(head.StudyDate[:4]) - int(head.PatientBirthDate[:4]) == int(head.PatientAge[:3])


def test_same_seed_same_bytes_for_any_number_of_jobs(
    petct: Petct, dicom: tuple[Path, list[Study]], tmp_path: Path
) -> None:
    folder, records = dicom
    result = petct("phantom", "--studies", "3", "--seed", "11", "-o", "out", "--jobs", "2", cwd=tmp_path)
    assert result.code == 0
    assert [decode(line) for line in result.stdout.splitlines()] == records[:3]
    for name in ("study_0001", "study_0002", "study_0003"):
        assert hashes(tmp_path / "out" / name) == hashes(folder / "out" / name)


def test_a_rerun_makes_nothing_again(petct: Petct, tmp_path: Path) -> None:
    command = ("phantom", "--studies", "2", "--seed", "1", "--as", "volumes", "-o", "out")
    first = petct(*command, cwd=tmp_path)
    made = tmp_path / "out" / "study_0001" / "report.json"
    before = made.stat()
    again = petct(*command, cwd=tmp_path)
    assert again.code == 0
    assert again.stdout == first.stdout
    assert (made.stat().st_ino, made.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_volumes_are_converted_studies_without_identifiers(petct: Petct, tmp_path: Path) -> None:
    result = petct("phantom", "--studies", "2", "--seed", "11", "--as", "volumes", "-o", "v", "-j", "2", cwd=tmp_path)
    assert result.code == 0
    for index, record in enumerate(decode(line) for line in result.stdout.splitlines()):
        assert isinstance(record, Study)
        assert record.ct
        assert record.pet
        assert record.pet.suv
        assert record.report
        phantom = make_phantom(11, index)
        for volume, expected, unit in (
            (record.ct, phantom.render_ct(), "HU"),
            (record.pet, phantom.render_pet(), "SUVbw"),
        ):
            array = load_volume(tmp_path / volume.path)
            assert volume.sha256 == sha256_array(array) == sha256_array(expected)
            assert (volume.unit, volume.dtype, volume.shape) == (unit, str(array.dtype), list(array.shape))
            assert volume.spacing_mm == [8.0, 6.0, 6.0]
            assert volume.affine == phantom.pet_grid.affine
        assert record.pet.suv.branch == "phantom"
        assert set(record.report.sections) == {*FINDING_SECTIONS, "impression"}
        assert record.report.path
        assert "Hành chính" not in orjson.loads((tmp_path / record.report.path).read_bytes())
        assert record.series == []
        assert record.study_date is None
        assert record.patient
        assert re.fullmatch("[0-9a-f]{16}", record.patient)


def test_bad_options_are_usage_errors(petct: Petct, tmp_path: Path) -> None:
    assert petct("phantom", "--studies", "0", "-o", "x", cwd=tmp_path).code == 2
    assert petct("phantom", "--studies", "1", "--as", "png", "-o", "x", cwd=tmp_path).code == 2
    assert not (tmp_path / "x").exists()


def test_an_unwritable_output_ends_the_command(petct: Petct, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = petct("phantom", "--studies", "1", "-o", "file/x", cwd=tmp_path)
    assert result.code == 74
    assert result.stdout == b""


def test_recovery_falls_with_size() -> None:
    from petct_cli.volume.phantom_anatomy import _recovery

    values = [_recovery(size, 6.0) for size in (8, 12, 20, 40)]
    assert values == sorted(values)
    assert values[0] < 0.5
    assert values[-1] == pytest.approx(1, abs=0.01)
    assert math.isfinite(values[0])


def test_converting_the_dicom_gives_the_volumes(petct: Petct, dicom: tuple[Path, list[Study]], tmp_path: Path) -> None:
    folder, records = dicom
    manifest = b"".join(encode(record) + b"\n" for record in records[:2])
    result = petct("convert", "-", "-o", tmp_path / "vol", stdin=manifest, cwd=folder)
    assert result.code == 0, result.stderr
    for index, record in enumerate(decode(line) for line in result.stdout.splitlines()):
        assert isinstance(record, Study)
        assert record.ct
        assert record.pet
        phantom = make_phantom(11, index)
        assert np.allclose(record.pet.affine, phantom.pet_grid.affine)
        assert np.abs(load_volume(record.pet.path) - phantom.render_pet()).max() < 0.001
        difference = np.abs(load_volume(record.ct.path).astype(float) - phantom.render_ct())
        assert np.median(difference) <= 4
        assert np.mean(difference > 100) < 0.02
