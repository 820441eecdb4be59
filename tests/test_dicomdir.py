"""CDs and exports as hospitals deliver them: a DICOMDIR, names without extension, nested, flat and mixed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import PATIENT_NAME, STUDY_UID, write_series
from in_process import petct_here
from pydicom.fileset import FileSet

from petct_cli.dicom.dicomdir import contents, is_dicomdir
from petct_cli.dicom.scan import study_id

VALUES = np.arange(6 * 8 * 8).reshape(6, 8, 8)
ASKED: dict[str, Any] = {"StudyID": "1", "StudyTime": "100000", "AccessionNumber": "4711", "SeriesNumber": 1}


@pytest.fixture
def cd(tmp_path: Path) -> Path:
    """A CD as pydicom writes it: DICOMDIR and PT000000/ST000000/SE000000/IM000000."""
    table = FileSet()
    for modality in ("CT", "PT"):
        for path in write_series(tmp_path / "made" / modality, modality, VALUES, **ASKED):
            table.add(path)
    table.write(tmp_path / "cd")
    shutil.rmtree(tmp_path / "made")
    return tmp_path / "cd"


def roles(result: Any) -> list[list[str | None]]:
    return [[one.get("role") for one in record["series"]] for record in result.records]


def test_folder_with_a_dicomdir_and_the_dicomdir_give_the_same(cd: Path) -> None:
    folder = petct_here("convert", "cd", "-o", "out", cwd=cd.parent)
    table = petct_here("convert", "cd/DICOMDIR", "-o", "out2", cwd=cd.parent)
    assert (folder.code, table.code, table.stderr) == (0, 0, "")
    assert roles(folder) == roles(table) == [["ct", "pet"]]
    for role in ("ct", "pet"):
        assert folder.records[0][role]["sha256"] == table.records[0][role]["sha256"]


def test_a_dicomdir_means_only_what_it_names(cd: Path) -> None:
    write_series(cd / "more", "CT", VALUES, StudyInstanceUID="1.2.3")
    assert len(petct_here("convert", "cd", "-o", "out", cwd=cd.parent).records) == 2
    assert len(petct_here("convert", "cd/DICOMDIR", "-o", "out", cwd=cd.parent).records) == 1


@pytest.mark.parametrize("given", ["cd", "cd/DICOMDIR"])
def test_files_that_are_missing_are_told(cd: Path, given: str) -> None:
    images = sorted(path for path in cd.rglob("*") if path.is_file() and path.name != "DICOMDIR")
    for path in images[-2:]:  # the upper slices: nothing but the DICOMDIR knows of them
        path.unlink()
    result = petct_here("convert", given, "-o", "out", cwd=cd.parent)
    assert result.code == 1
    assert "2 of the 12 files that it names are not there [dicomdir_missing_files]" in result.stderr
    assert roles(result) == [["ct", "pet"]]
    assert PATIENT_NAME.split("^")[0] not in result.stderr
    assert petct_here("convert", given, "-o", "out", "--max-failures", "1", cwd=cd.parent).code == 0


def test_a_copy_in_small_letters(cd: Path) -> None:
    for path in sorted(cd.rglob("*"), key=lambda one: -len(one.parts)):
        if path.name != "DICOMDIR":
            path.rename(path.with_name(path.name.lower()))
    found = contents(cd / "DICOMDIR")
    assert (len(found.files), found.missing) == (12, 0)
    assert all(path.is_file() for path in found.files)


def test_a_dicomdir_of_another_name(cd: Path) -> None:
    other = (cd / "DICOMDIR").rename(cd / "index")
    assert is_dicomdir(other)
    assert not is_dicomdir(contents(other).files[0])
    assert roles(petct_here("convert", "cd/index", "-o", "out", cwd=cd.parent)) == [["ct", "pet"]]


def test_file_ids_that_lead_out_of_the_cd(cd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in ("writing_validation_mode", "reading_validation_mode"):
        monkeypatch.setattr(pydicom.config.settings, mode, pydicom.config.IGNORE)
    table = pydicom.dcmread(cd / "DICOMDIR")
    write_series(cd.parent / "outside", "CT", VALUES)
    images = [item for item in table.DirectoryRecordSequence if "ReferencedFileID" in item]
    images[0].ReferencedFileID = ["..", "outside", "IM0000"]
    images[1].ReferencedFileID = [str(cd.parent / "outside" / "IM0001")]
    table.save_as(cd / "DICOMDIR")
    found = contents(cd / "DICOMDIR")
    assert (len(found.files), found.missing) == (10, 2)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_damaged_dicomdir(cd: Path, share: float) -> None:
    whole = (cd / "DICOMDIR").read_bytes()
    (cd / "DICOMDIR").write_bytes(whole[: int(share * len(whole))])
    # Its folder is scanned all the same.
    assert roles(petct_here("convert", "cd", "-o", "out", cwd=cd.parent)) == [["ct", "pet"]]
    table = petct_here("convert", "cd/DICOMDIR", "-o", "out", cwd=cd.parent)
    assert (table.code, table.stdout) == (65, b"")
    assert "dicomdir_damaged" in table.stderr or "no_dicom" in table.stderr


@pytest.mark.parametrize("shape", ["flat", "nested", "by turns"])
def test_names_without_extension_in_any_shape(tmp_path: Path, shape: str) -> None:
    made = []
    for n, modality in ((1, "CT"), (1, "PT"), (2, "CT"), (2, "PT")):
        uid = f"{STUDY_UID}.{n}"
        folder = tmp_path / "made" / f"{n}{modality}"
        made += write_series(folder, modality, VALUES + n, series=f"{uid}.{modality == 'PT':d}", StudyInstanceUID=uid)
    for k, path in enumerate(made):
        folder = {"flat": "", "nested": f"a/{path.parent.name}/{'x' * (k % 3)}", "by turns": f"{k % 5}"}[shape]
        target = tmp_path / "in" / folder
        target.mkdir(parents=True, exist_ok=True)
        path.rename(target / f"{(k * 7919) % 10007:08d}")
    for name in ("VERSION", "autorun.inf", "viewer.exe", ".DS_Store"):
        (tmp_path / "in" / name).write_bytes(b"MZ no image " * 40)
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    assert (result.code, sorted(record["id"] for record in result.records)) == (
        0,
        sorted(study_id(f"{STUDY_UID}.{n}") for n in (1, 2)),
    )
    for record in result.records:
        assert {one.get("role") for one in record["series"]} == {"ct", "pet"}
        assert record["ct"]["shape"] == record["pet"]["shape"] == [6, 8, 8]
