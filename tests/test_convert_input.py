"""What hospitals and manifests hand to ``petct convert``: doubles, damage, odd names, and series that look alike."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from dicom_factory import STUDY_UID, write_series
from in_process import petct_here

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Series, Study
from petct_cli.dicom.scan import UNNAMEABLE, UNREADABLE, scan_studies, study_id
from petct_cli.stages.convert import Convert

VALUES = np.arange(8 * 8 * 8).reshape(8, 8, 8)


def make_study(folder: Path, study: str = STUDY_UID) -> Path:
    for modality in ("CT", "PT"):
        write_series(folder / modality.lower(), modality, VALUES, StudyInstanceUID=study)
    return folder


def convert(out: Path, *folders: Path) -> Study:
    (study,) = scan_studies(folders)
    (done,) = Convert(out, "native")(study)
    assert isinstance(done, Study)
    return done


def refused(out: Path, record: Study | Path) -> str:
    with pytest.raises(RecordError) as fault:
        convert(out, record) if isinstance(record, Path) else Convert(out)(record)
    return fault.value.code


def told(record: Study) -> dict[str, str | None]:
    return {Path(one.dir or "").name: one.role or one.set_aside for one in record.series}


def test_ct_of_the_whole_pet_before_one_with_more_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "pet", "PT", np.zeros((20, 4, 4)))
    write_series(tmp_path / "in" / "whole", "CT", np.zeros((20, 4, 4)), series="1.2.1")
    thin = [[0, 0, 20 + 0.5 * k] for k in range(40)]
    write_series(tmp_path / "in" / "chest", "CT", np.zeros((40, 4, 4)), thin, series="1.2.2")
    record = convert(tmp_path / "out", tmp_path / "in")
    assert told(record) == {"pet": "pet", "whole": "ct", "chest": "covers less of the PET"}


def test_static_pet_before_a_dynamic_one_that_does_not_say_so(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "static", "PT", np.zeros((6, 4, 4)), series="1.2.1")
    twice = [[0, 0, 3.0 * (k % 6)] for k in range(18)]
    write_series(tmp_path / "in" / "dynamic", "PT", np.zeros((18, 4, 4)), twice, series="1.2.2")
    record = convert(tmp_path / "out", tmp_path / "in")
    assert told(record) == {"static": "pet", "dynamic": "several images of each place"}


def test_ct_and_pet_of_different_studies_are_not_mixed(tmp_path: Path) -> None:
    # Without frames of reference nothing else would tell them apart.
    write_series(tmp_path / "ct", "CT", VALUES, FrameOfReferenceUID=None)
    write_series(tmp_path / "pet", "PT", VALUES, FrameOfReferenceUID=None, StudyInstanceUID="1.2.3")
    series = [Series(modality="CT", dir=str(tmp_path / "ct")), Series(modality="PT", dir=str(tmp_path / "pet"))]
    assert refused(tmp_path / "out", Study(id="s", series=series)) == "study_mismatch"
    write_series(tmp_path / "own", "CT", VALUES, FrameOfReferenceUID=None, StudyInstanceUID="1.2.3", series="1.2.9")
    series.append(Series(modality="CT", dir=str(tmp_path / "own")))
    (done,) = Convert(tmp_path / "out")(Study(id="s", series=series))
    assert isinstance(done, Study)
    assert told(done) == {"ct": "another study than the PET", "pet": "pet", "own": "ct"}


def test_ct_beside_the_pet_does_not_overlap(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "pet", "PT", VALUES)
    write_series(tmp_path / "in" / "ct", "CT", VALUES, [[500, 0, 3.0 * k] for k in range(8)])
    assert refused(tmp_path / "out", tmp_path / "in") == "no_overlap"


@pytest.mark.parametrize("size", [0, 90, 200])
@pytest.mark.parametrize("place", [0, 7])
def test_outer_slice_that_is_damaged_is_not_just_left_out(tmp_path: Path, place: int, size: int) -> None:
    victim = make_study(tmp_path / "in") / "pt" / f"IM{place:04d}"
    victim.write_bytes(victim.read_bytes()[:size])
    (study,) = scan_studies([tmp_path / "in"])
    assert [one.files for one in study.series if one.set_aside == UNREADABLE] == [[victim.name]]
    assert refused(tmp_path / "out", tmp_path / "in") == "dicom_truncated"
    by_hand = Study(id="s", series=[Series(modality="PT", dir=str(tmp_path / "in" / "pt"))])
    assert refused(tmp_path / "out", by_hand) == "dicom_truncated"


def test_empty_files_that_are_no_slices_do_no_harm(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "in")
    for name in (".nomedia", "LOCK", "IM0001.tmp"):
        (folder / "pt" / name).touch()
    record = convert(tmp_path / "out", folder)
    assert told(record) == {"ct": "ct", "pt": "pet"}


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read, even by root")
def test_unreadable_file_fails_its_study_only(tmp_path: Path) -> None:
    make_study(tmp_path / "in" / "a")
    make_study(tmp_path / "in" / "b", "1.2.3")
    victim = tmp_path / "in" / "a" / "pt" / "IM0007"
    victim.unlink()
    victim.symlink_to("/proc/self/mem")
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    codes = {record["id"]: record.get("error", {}).get("code") for record in result.records}
    assert (result.code, codes) == (1, {study_id(STUDY_UID): "dicom_truncated", study_id("1.2.3"): None})
    assert "in/a/pt/IM0007" in result.stderr


def test_record_of_bare_file_names(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "in")
    files = sorted(str(path) for path in folder.rglob("IM*"))
    (done,) = Convert(tmp_path / "out")(Study(id="s", series=[Series(modality="unknown", files=files)]))
    assert isinstance(done, Study)
    assert [(one.modality, one.role, one.files) for one in done.series] == [
        ("CT", "ct", files[:8]),
        ("PT", "pet", files[8:]),
    ]


def test_file_that_the_record_names_must_be_dicom(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "in") / "pt"
    (folder / "letter").write_text("no DICOM " * 50)
    series = Series(modality="PT", dir=str(folder), files=[*(f"IM{k:04d}" for k in range(8)), "letter"])
    assert refused(tmp_path / "out", Study(id="s", series=[series])) == "not_dicom"


def test_names_that_are_not_utf8_fail_their_study_only(tmp_path: Path) -> None:
    make_study(tmp_path / "in" / "a")
    make_study(tmp_path / "in" / "b", "1.2.3")
    os.rename(os.fsencode(tmp_path / "in" / "a" / "pt"), os.fsencode(tmp_path / "in" / "a") + b"/\xe9\xb5nh")
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    codes = {record["id"]: record.get("error", {}).get("code") for record in result.records}
    assert (result.code, codes) == (1, {study_id(STUDY_UID): "file_name_encoding", study_id("1.2.3"): None})
    (failed,) = (record for record in result.records if "error" in record)
    assert failed["series"] == [{"modality": "CT", "dir": "in/a/ct"}, {"modality": "PT", "set_aside": UNNAMEABLE}]


def test_an_id_is_worked_on_once(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    (study,) = scan_studies([tmp_path / "in"])
    lines = [orjson.dumps(study.with_fields(site=site).to_json()) for site in ("A", "B")]
    (tmp_path / "two.jsonl").write_bytes(b"\n".join(lines))
    result = petct_here("convert", "two.jsonl", "in", "-o", "out", "--jobs", "2", cwd=tmp_path)
    codes = [(one.get("site"), one.get("error", {}).get("code")) for one in result.records]
    assert (result.code, codes) == (1, [("A", None), ("B", "duplicate_id"), (None, "duplicate_id")])


def test_two_studies_in_one_folder(tmp_path: Path) -> None:
    for n in (1, 2):
        for modality in ("CT", "PT"):
            names = [f"{modality}{n}{k}" for k in range(8)]
            uid, series = f"1.2.{n}", f"1.2.{n}.{modality == 'PT':d}"
            write_series(tmp_path / "in", modality, VALUES, names=names, StudyInstanceUID=uid, series=series)
    result = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    assert [record["id"] for record in result.records] == [study_id("1.2.1"), study_id("1.2.2")]
    for n, record in enumerate(result.records, start=1):
        named = {name for one in record["series"] for name in one["files"]}
        assert named == {f"{modality}{n}{k}" for modality in ("CT", "PT") for k in range(8)}


def test_finished_work_is_named_by_the_folder_as_typed_now(tmp_path: Path) -> None:
    source = make_study(tmp_path / "in")
    (tmp_path / "sub").mkdir()
    first = petct_here("convert", source, "-o", "out", cwd=tmp_path).records[0]
    volume = tmp_path / first["pet"]["path"]
    written = volume.stat().st_mtime_ns
    again = petct_here("convert", source, "-o", "../out", "--jobs", "2", cwd=tmp_path / "sub").records[0]
    assert volume.stat().st_mtime_ns == written
    assert again["pet"]["path"] == f"../{first['pet']['path']}"
    for record in (first, again):
        for role in ("ct", "pet"):
            del record[role]["path"]
    assert again == first


@pytest.mark.parametrize("options", [{"grid": "ct"}, {"form": "nifti"}])
def test_every_option_and_every_byte_counts(tmp_path: Path, options: dict[str, str]) -> None:
    source = make_study(tmp_path / "in")
    (study,) = scan_studies([source])

    def work(**changed: Any) -> tuple[str, int]:
        (done,) = Convert(tmp_path / "out", changed.get("grid", "pet"), changed.get("form", "b2nd"))(study)
        assert isinstance(done, Study)
        assert done.pet is not None
        return done.provenance[-1].inputs_sha256, Path(done.pet.path).parent.stat().st_ino

    first = work()
    assert work() == first
    assert work(**options)[1] != first[1]
    first = work()
    victim = source / "ct" / "IM0003"
    changed = bytearray(victim.read_bytes())
    changed[-1] ^= 1
    victim.write_bytes(changed)
    assert work()[0] != first[0]
