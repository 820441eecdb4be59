"""Studies that come in archives: found as if they lay loose, whatever the archive is called or tries."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from conftest import REPOSITORY, Result, clean_environment, default_signals
from dicom_factory import PATIENT_NAME, STUDY_UID, image, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import petct_here

from petct_cli.core.errors import InputError
from petct_cli.core.scratch import scratch_folder
from petct_cli.dicom.archive_members import ArchiveError, archive_kind, zip_directory
from petct_cli.dicom.archives import Unpacker, locate, origin_of, shown_in
from petct_cli.dicom.scan import Scan, scan, study_id, study_record

Petct = Callable[..., Result]
SLICES = np.arange(3 * 4 * 6).reshape(3, 4, 6)
OTHER_UID = "1.2.3.4"
KINDS = {"zip": "zip", "tar": "tar", "gztar": "tar.gz", "bztar": "tar.bz2", "xztar": "tar.xz"}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir(mode=0o700)
    return folder


def look(scratch: Path, *paths: Path) -> Scan:
    return scan(paths, Unpacker(scratch))


def codes(found: Scan) -> list[str]:
    return [fault.code for fault in found.faults()]


def files_of(found: Scan) -> dict[str, list[str]]:
    """The names of the files of each study, by the study's id."""
    return {
        study.id: sorted(path.name for series in study.series for path in series.files) for study in found.studies()
    }


def make_study(folder: Path, uid: str = STUDY_UID) -> Path:
    for modality in ("CT", "PT"):
        write_series(folder / "study" / modality, modality, SLICES, StudyInstanceUID=uid)
    return folder


def pack(folder: Path, kind: str, target: Path) -> Path:
    made = Path(shutil.make_archive(str(target.with_name(target.name + ".tmp")), kind, folder))
    return made.rename(target)


def tar_of(target: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(target, "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target


def dicom_bytes(number: int = 1, uid: str = STUDY_UID) -> bytes:
    buffer = io.BytesIO()
    image("CT", SLICES[0], "1.2.9", number, StudyInstanceUID=uid).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["{}", "export"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_known_by_its_content_and_read_as_a_folder(
    tmp_path: Path, scratch: Path, kind: str, name: str
) -> None:
    make_study(tmp_path / "in")
    archive = pack(tmp_path / "in", kind, tmp_path / name.format(f"export.{KINDS[kind]}"))
    (loose,) = scan([tmp_path / "in"]).studies()
    (study,) = look(scratch, archive).studies(named=True)
    assert (study.id, study.facts) == (loose.id, loose.facts)
    assert [str(path) for series in study.series for path in series.files] == [
        str(path).replace(str(tmp_path / "in"), f"{archive}!") for series in loose.series for path in series.files
    ]
    assert [one.dir for one in study_record(study).series] == [f"{archive}!/study/CT", f"{archive}!/study/PT"]


def test_archives_anywhere_below_a_folder_join_with_what_lies_loose(tmp_path: Path, scratch: Path) -> None:
    make_study(tmp_path / "one")
    write_series(tmp_path / "in" / "loose", "CT", SLICES, series="1.2.77")
    (tmp_path / "in" / "deep" / "er").mkdir(parents=True)
    pack(tmp_path / "one", "zip", tmp_path / "in" / "deep" / "er" / "a")
    make_study(tmp_path / "two", OTHER_UID)
    pack(tmp_path / "two", "gztar", tmp_path / "in" / "b.tgz")
    found = look(scratch, tmp_path / "in")
    assert {name: len(files) for name, files in files_of(found).items()} == {
        study_id(STUDY_UID): 9,
        study_id(OTHER_UID): 6,
    }
    assert codes(found) == []


def test_an_archive_is_no_file_of_the_series_beside_it(tmp_path: Path, scratch: Path) -> None:
    write_series(tmp_path / "in", "CT", SLICES)
    make_study(tmp_path / "two", OTHER_UID)
    pack(tmp_path / "two", "zip", tmp_path / "in" / "IM0009")
    records = [study_record(study) for study in look(scratch, tmp_path / "in").studies()]
    assert records[0].series[0].files == ["IM0000", "IM0001", "IM0002"]


def test_three_archives_deep_and_no_further(tmp_path: Path, scratch: Path) -> None:
    make_study(tmp_path / "in")
    inner = pack(tmp_path / "in", "zip", tmp_path / "1.zip")
    for depth, kind in ((2, "gztar"), (3, "tar"), (4, "zip")):
        (tmp_path / f"d{depth}").mkdir()
        shutil.copy(inner, tmp_path / f"d{depth}" / inner.name)
        inner = pack(tmp_path / f"d{depth}", kind, tmp_path / f"{depth}.{KINDS[kind]}")
    found = look(scratch, tmp_path / "3.tar")
    (study,) = found.studies(named=True)
    assert str(study.series[0].files[0]) == f"{tmp_path}/3.tar!/2.tar.gz!/1.zip!/study/CT/IM0000"
    assert not list(scratch.rglob("1.zip"))  # what was unpacked from it is enough
    with scratch_folder() as other:
        found = look(other, tmp_path / "4.zip")
        assert codes(found) == ["archive_too_deep"]
        with pytest.raises(InputError):
            list(found.studies())


def test_places_in_archives_are_named_and_found_again(tmp_path: Path) -> None:
    make_study(tmp_path / "in!")
    archive = pack(tmp_path / "in!", "zip", tmp_path / "odd!.zip")
    with scratch_folder() as scratch:
        found = look(scratch, archive)
        real = [path for study in found.studies() for series in study.series for path in series.files]
        named = [path for study in found.studies(named=True) for series in study.series for path in series.files]
        assert [locate(scratch, str(path)) for path in named] == list(map(str, real))
        assert [shown_in(scratch, f"{path}: bad") for path in real] == [f"{path}: bad" for path in named]
        assert list(map(origin_of, real)) == named
    loose = tmp_path / "in!" / "study" / "CT" / "IM0000"
    assert (locate(scratch, str(loose)), origin_of(loose)) == (str(loose), loose)


HOSTILE = [
    "../../evil", "/evil", "a/../../../evil", "..", "./x/./evil", "a\0b", "n" * 300, "d/" * 300 + "x", "d/" * 300 + "y",
    "/".join("pqrstuvwxyz" * 20 for _ in range(12)),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, scratch: Path, kind: str) -> None:
    if kind == "tar":
        archive = tar_of(tmp_path / "a", *((tarfile.TarInfo(name), dicom_bytes(k)) for k, name in enumerate(HOSTILE)))
    else:
        archive = tmp_path / "a"
        with zipfile.ZipFile(archive, "w") as made:
            for k, name in enumerate(HOSTILE):
                made.writestr(name, dicom_bytes(k))
    before = set(tmp_path.rglob("*")) - set(scratch.rglob("*"))
    found = look(scratch, archive)
    assert len(next(iter(files_of(found).values()))) == len(HOSTILE)
    assert set(tmp_path.rglob("*")) - set(scratch.rglob("*")) == before


def special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


def test_links_and_devices_are_never_made(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "secret").write_bytes(dicom_bytes(9, OTHER_UID))
    archive = tar_of(
        tmp_path / "a.tar",
        special("link", tarfile.SYMTYPE, str(tmp_path)),
        (tarfile.TarInfo("link/IM1"), dicom_bytes()),
        special("secret", tarfile.LNKTYPE, "../../../secret"),
        special("also", tarfile.SYMTYPE, str(tmp_path / "secret")),
        special("pipe", tarfile.FIFOTYPE),
        special("null", tarfile.CHRTYPE),
    )
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as made:
        entry = zipfile.ZipInfo("link")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        made.writestr(entry, str(tmp_path))
        made.writestr("IM2", dicom_bytes(2))
    found = look(scratch, archive, tmp_path / "b.zip")
    assert files_of(found) == {study_id(STUDY_UID): ["IM1", "IM2"]}
    assert all(stat.S_IFMT(path.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR) for path in scratch.rglob("*"))
    assert not (tmp_path / "IM1").exists()


def test_two_members_of_one_name_are_both_taken(tmp_path: Path, scratch: Path) -> None:
    names = ["IM1", "IM1", "IM1/below", "a/IM2", "a"]
    archive = tar_of(tmp_path / "a", *((tarfile.TarInfo(name), dicom_bytes(k)) for k, name in enumerate(names)))
    assert [len(files) for files in files_of(look(scratch, archive)).values()] == [len(names)]


def test_names_that_are_not_utf8_can_stand_in_records(tmp_path: Path, scratch: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding="cp1258") as tar:
        info = tarfile.TarInfo("Nguyê\u0303n/IM1")
        info.size = len(dicom_bytes())
        tar.addfile(info, io.BytesIO(dicom_bytes()))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as made:
        made.writestr("Nguyen/IM2", dicom_bytes(2))
    raw = (tmp_path / "b.zip").read_bytes().replace(b"Nguyen/", b"Nguy\xean/")
    (tmp_path / "b.zip").write_bytes(raw)
    (study,) = look(scratch, tmp_path / "a.tar", tmp_path / "b.zip").studies(named=True)
    record = study_record(study)
    assert [one.set_aside for one in record.series] == [None]
    assert [name.rpartition("/")[2] for name in record.series[0].files or ()] == ["IM1", "IM2"]


def damaged(tmp_path: Path, scratch: Path, archive: Path) -> list[str]:
    """The faults of an archive that lies beside a sound study; nothing of it may be used, and nothing of it stays."""
    if not (tmp_path / "sound").exists():
        make_study(tmp_path / "sound", OTHER_UID)
    found = look(scratch, archive, tmp_path / "sound")
    assert list(files_of(found)) == [study_id(OTHER_UID)]
    assert list(scratch.iterdir()) == []
    return codes(found)


@pytest.mark.parametrize("flag", [0x1, 0x41])
def test_an_encrypted_archive_is_told(tmp_path: Path, scratch: Path, flag: int) -> None:
    make_study(tmp_path / "in")
    archive = pack(tmp_path / "in", "zip", tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    last = data.rfind(b"PK\x01\x02")
    data[last + 8] |= flag
    archive.write_bytes(data)
    assert damaged(tmp_path, scratch, archive) == ["archive_encrypted"]


@pytest.mark.parametrize("method", [9, 93, 98])
def test_methods_that_python_does_not_know_are_told(tmp_path: Path, scratch: Path, method: int) -> None:
    make_study(tmp_path / "in")
    archive = pack(tmp_path / "in", "zip", tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 10] = method
    archive.write_bytes(data)
    assert damaged(tmp_path, scratch, archive) == ["archive_unsupported"]


@pytest.mark.parametrize(
    "start", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01", b"\x28\xb5\x2f\xfd", b"PK\x07\x08", b"\0" * 32769 + b"CD001"]
)
def test_kinds_that_are_not_read_are_no_silent_loss(tmp_path: Path, scratch: Path, start: bytes) -> None:
    (tmp_path / "a").write_bytes(start + bytes(1000))
    assert damaged(tmp_path, scratch, tmp_path / "a") == ["archive_unsupported"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(KINDS)), share=st.floats(0.02, 0.999))
def test_an_archive_cut_anywhere_gives_nothing_and_says_so(
    tmp_path: Path, scratch: Path, kind: str, share: float
) -> None:
    source = tmp_path / f"whole.{KINDS[kind]}"
    if not source.exists():
        pack(make_study(tmp_path / "in"), kind, source)
    whole = source.read_bytes()
    if kind == "tar":  # its last blocks are padding
        whole = whole.rstrip(b"\0") + bytes(512)
    cut = max(600, int(share * len(whole))) if kind == "tar" else max(60, int(share * len(whole)))
    (tmp_path / "cut").write_bytes(whole[:cut])
    assert damaged(tmp_path, scratch, tmp_path / "cut") in (["archive_damaged"], ["archive_unsupported"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["zip", "gztar", "bztar", "xztar"]), place=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_a_changed_bit_never_loses_a_file_in_silence(tmp_path: Path, kind: str, place: float, bit: int) -> None:
    source = tmp_path / f"whole.{KINDS[kind]}"
    if not source.exists():
        pack(make_study(tmp_path / "in"), kind, source)
    data = bytearray(source.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    archive = tmp_path / f"changed.{KINDS[kind]}"
    archive.write_bytes(data)
    with scratch_folder() as scratch:
        found = look(scratch, archive)
        if not codes(found):
            files = [path.read_bytes() for study in found.studies() for one in study.series for path in one.files]
            assert sorted(files) == sorted(path.read_bytes() for path in (tmp_path / "in").rglob("IM*"))


@pytest.mark.parametrize("name", ["a.zip", "a.TAR", "a.tar.gz", "a.tgz", "a.tar.zst", "a.iso"])
def test_what_is_left_of_an_archive_is_told_by_its_name(tmp_path: Path, scratch: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert damaged(tmp_path, scratch, tmp_path / name) == ["archive_damaged"]
    (tmp_path / name).unlink()
    (tmp_path / f"._{name}").write_bytes(b"\0\5\x16\7")  # what a Mac adds
    assert damaged(tmp_path, scratch, tmp_path / f"._{name}") == []


def test_a_tar_whose_first_header_is_damaged(tmp_path: Path, scratch: Path) -> None:
    archive = pack(make_study(tmp_path / "in"), "tar", tmp_path / "export")
    data = bytearray(archive.read_bytes())
    data[150] ^= 1
    archive.write_bytes(data)
    assert damaged(tmp_path, scratch, archive) == ["archive_damaged"]


def test_a_tar_with_more_after_its_end_is_not_read_in_part(tmp_path: Path, scratch: Path) -> None:
    one = pack(make_study(tmp_path / "one"), "tar", tmp_path / "1.tar").read_bytes()
    two = pack(make_study(tmp_path / "two", OTHER_UID), "tar", tmp_path / "2.tar").read_bytes()
    (tmp_path / "both.tar").write_bytes(one + two)
    assert damaged(tmp_path, scratch, tmp_path / "both.tar") == ["archive_damaged"]


def test_a_damaged_archive_inside_of_another_costs_only_itself(tmp_path: Path, scratch: Path) -> None:
    inner = pack(make_study(tmp_path / "in", OTHER_UID), "zip", tmp_path / "inner.zip").read_bytes()
    make_study(tmp_path / "outer")
    (tmp_path / "outer" / "cut.zip").write_bytes(inner[:-40])
    found = look(scratch, pack(tmp_path / "outer", "gztar", tmp_path / "a.tgz"))
    assert list(files_of(found)) == [study_id(STUDY_UID)]
    (fault,) = found.faults()
    assert (fault.code, fault.what, fault.place) == ("archive_damaged", "archive", 2)
    assert str(fault.shown) == f"{tmp_path}/a.tgz!/cut.zip"


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_too_large_for_the_disk_is_refused_before_it_is_full(tmp_path: Path, kind: str) -> None:
    archive = pack(make_study(tmp_path / "in"), kind, tmp_path / "a")
    with archive.open("rb") as file, scratch_folder() as scratch:
        file_kind = archive_kind(file.read(512))
        assert file_kind is not None
        free = os.statvfs(scratch).f_bavail * os.statvfs(scratch).f_frsize
        unpacker = Unpacker(scratch, reserve=2 * free)
        told = set()
        for copy in range(100):  # small members are counted together, so that it takes a few to notice
            try:
                unpacker.unpack(file, file_kind, f"{copy}")
            except ArchiveError as fault:
                told.add(fault.code)
        assert told == {"archive_too_large"}


def test_a_member_that_says_it_is_beyond_all_disks(tmp_path: Path, scratch: Path) -> None:
    info = tarfile.TarInfo("bomb")
    info.size = 1 << 56
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + dicom_bytes())
    assert damaged(tmp_path, scratch, tmp_path / "a.tar") == ["archive_too_large"]


def test_a_name_that_would_fill_memory_is_refused(tmp_path: Path, scratch: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(5000))
    assert damaged(tmp_path, scratch, tmp_path / "a.tar") == ["archive_damaged"]


def test_documents_count_as_one_file_that_is_no_dicom(tmp_path: Path, scratch: Path) -> None:
    write_series(tmp_path / "in", "CT", SLICES)
    with zipfile.ZipFile(tmp_path / "in" / "letter.docx", "w") as made:
        for name in ("[Content_Types].xml", "word/document.xml"):
            made.writestr(name, "<x/>")
    with gzip.open(tmp_path / "in" / "list.csv.gz", "wb") as file:
        file.write(b"a,b\n")
    found = look(scratch, tmp_path / "in")
    assert (found.skipped, codes(found), list(scratch.iterdir())) == (2, [], [])
    (study,) = found.studies()
    assert study_record(study).series[0].dir == str(tmp_path / "in")


@pytest.mark.parametrize("compressed", [gzip.compress, bz2.compress, lzma.compress])
def test_single_compressed_files(tmp_path: Path, scratch: Path, compressed: Callable[[bytes], bytes]) -> None:
    for number in (1, 2):
        (tmp_path / f"IM{number}.dcm.gz").write_bytes(compressed(dicom_bytes(number)))
    assert files_of(look(scratch, tmp_path)) == {study_id(STUDY_UID): ["IM1.dcm", "IM2.dcm"]}


def test_zip_media_with_a_dicomdir(tmp_path: Path, scratch: Path) -> None:
    make_study(tmp_path / "in" / "DICOM")
    directory = image("CT", SLICES[0], "1.2.3", 9)
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    del directory.SOPClassUID
    directory.save_as(tmp_path / "in" / "DICOMDIR")
    found = look(scratch, pack(tmp_path / "in", "zip", tmp_path / "media.zip"))
    assert (found.images, found.skipped, found.damaged) == (6, 1, 0)


@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n" * 20])
def test_a_directory_of_many_entries_is_not_held_in_memory(tmp_path: Path, prefix: bytes) -> None:
    count = 70_000  # needs the 64-bit end record
    path = tmp_path / "many.zip"
    path.write_bytes(prefix)
    with zipfile.ZipFile(path, "a") as made:
        for number in range(count):
            made.writestr(f"CT/IM{number:06d}", b"")
        names = made.namelist()
    with path.open("rb") as file:
        tracemalloc.start()
        seen = sum(entry.filename == name for entry, name in zip(zip_directory(file), names, strict=True))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert seen == count
    assert peak < 8 << 20


def shelter(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder for temporary files of its own, and the environment that says so."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder, {"TMPDIR": str(folder)}


@pytest.fixture(scope="module")
def raw(petct: Petct, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom studies, loose and in archives."""
    folder = tmp_path_factory.mktemp("raw")
    made = petct("phantom", "--studies", "2", "--seed", "3", "--ct-grid", "pet", "-o", "raw", cwd=folder)
    assert made.code == 0, made.stderr
    pack(folder / "raw", "zip", folder / "export.zip")
    pack(folder / "raw", "gztar", folder / "export.tar.gz")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("archive", ["export.zip", "export.tar.gz"])
def test_anonymize_gives_the_same_bytes_for_an_archive(petct: Petct, raw: Path, tmp_path: Path, archive: str) -> None:
    own, environment = shelter(tmp_path)
    loose, packed = tmp_path / "loose", tmp_path / "packed"
    for cwd, source, more in ((loose, "raw", ()), (packed, archive, ("--jobs", "2"))):
        cwd.mkdir()
        result = petct(
            "anonymize", raw / source, "-o", "clean", "--key-file", tmp_path / "key", "--new-key", *more,
            cwd=cwd, env=environment,
        )  # fmt: skip
        assert result.code == 0, result.stderr
        (cwd / "records").write_bytes(result.stdout)
    assert tree(packed) == tree(loose)
    written = {path: path.stat().st_mtime_ns for path in (packed / "clean").rglob("*")}
    again = petct(
        "anonymize", raw / archive, "-o", "clean", "--key-file", tmp_path / "key", cwd=packed, env=environment
    )
    assert again.stdout == (loose / "records").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in (packed / "clean").rglob("*")} == written
    assert list(own.iterdir()) == []


def test_anonymize_goes_on_beside_a_bad_archive_and_names_nothing(petct: Petct, raw: Path, tmp_path: Path) -> None:
    own, environment = shelter(tmp_path)
    folder = tmp_path / "NGUYEN VAN A"
    shutil.copytree(raw / "raw" / "study_0001", folder / "study")
    (folder / "NGUYEN.zip").write_bytes((raw / "export.zip").read_bytes()[:-200])
    result = petct(
        "anonymize", folder, "-o", "clean", "--key-file", "key", "--new-key", "--private-log", "log",
        cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert (result.code, len(result.records)) == (1, 1)
    assert "archive 1: " in result.stderr
    assert "[archive_damaged]" in result.stderr
    assert "NGUYEN" not in result.stderr + result.stdout.decode()
    (noted,) = map(orjson.loads, (tmp_path / "log").read_bytes().splitlines())
    assert noted == {"study": "", "code": "archive_damaged", "path": str(folder / "NGUYEN.zip")}
    assert list(own.iterdir()) == []


def test_anonymize_names_a_bad_file_of_an_archive_in_the_private_log_only(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    make_study(tmp_path / "in" / "NGUYEN", OTHER_UID)
    victim = tmp_path / "in" / "NGUYEN" / "study" / "CT" / "IM0001"
    victim.write_bytes(victim.read_bytes()[:60])
    lost = tmp_path / "in" / "lost" / "IM0001"
    lost.parent.mkdir()
    lost.write_bytes(dicom_bytes()[:200])
    pack(tmp_path / "in", "zip", tmp_path / "a.zip")
    arguments = ("-o", "clean", "--key-file", "key", "--new-key", "--private-log", "log")
    result = petct_here("anonymize", "a.zip", *arguments, cwd=tmp_path)
    failed = [record["error"] for record in result.records if "error" in record]
    assert [(error["code"], error["message"]) for error in failed] == [
        ("dicom_truncated", "series 3: a file is cut short")
    ]
    assert result.code == 1
    assert "1 damaged files lie in no study's folder" in result.stderr
    assert "NGUYEN" not in result.stderr + result.stdout.decode()
    noted = [orjson.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [one["path"] for one in noted] == ["a.zip!/lost/IM0001", "a.zip!/NGUYEN/study/CT/IM0001"]


def volumes(result: Result) -> list[Any]:
    return [{k: v for k, v in record.items() if k not in ("series", "provenance")} for record in result.records]


def test_convert_names_members_and_never_where_they_lay(petct: Petct, raw: Path, tmp_path: Path) -> None:
    own, environment = shelter(tmp_path)
    shutil.copy(raw / "export.tar.gz", tmp_path)
    first = petct("convert", "export.tar.gz", "-o", "vol", cwd=tmp_path, env=environment)
    assert (first.code, len(first.records)) == (0, 2), first.stderr
    assert [(one["dir"], one["role"]) for one in first.records[1]["series"]] == [
        ("export.tar.gz!/study_0002/CT", "ct"),
        ("export.tar.gz!/study_0002/PET", "pet"),
    ]
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "vol").rglob("*")}
    again = petct("convert", "export.tar.gz", "-o", "vol", "--jobs", "2", cwd=tmp_path, env=environment)
    assert again.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "vol").rglob("*")} == written
    loose = petct("convert", raw / "raw", "-o", "vol", cwd=tmp_path, env=environment)
    assert volumes(loose) == volumes(first)
    assert all(str(own).encode() not in data for data in tree(tmp_path / "vol").values())
    assert list(own.iterdir()) == []


def test_convert_of_a_series_in_two_archives_and_a_folder(tmp_path: Path) -> None:
    slices = np.zeros((9, 8, 8))
    names = [f"IM{number}" for number in range(9)]
    for place, some in (("one", slice(0, 3)), ("two", slice(3, 6)), ("loose", slice(6, 9))):
        positions = [[0, 0, 3.0 * number] for number in range(9)][some]
        uids = iter(range(9)[some])
        write_series(
            tmp_path / place / "CT", "CT", slices[some], positions, names=names[some],
            change=lambda dataset, _, uids=uids: setattr(dataset, "SOPInstanceUID", f"1.2.{next(uids) + 1}"),
        )  # fmt: skip
    for place in ("one", "two"):
        pack(tmp_path / place, "zip", tmp_path / f"{place}.zip")
    result = petct_here("convert", "one.zip", "loose", "two.zip", "-o", "vol", cwd=tmp_path)
    (record,) = result.records
    assert (result.code, record["ct"]["shape"]) == (0, [9, 8, 8])
    assert sorted(record["series"][0]["files"]) == [
        *(f"loose/CT/IM{number}" for number in range(6, 9)),
        *(f"one.zip!/CT/IM{number}" for number in range(3)),
        *(f"two.zip!/CT/IM{number}" for number in range(3, 6)),
    ]


def test_convert_tells_of_a_bad_file_and_a_bad_archive_by_name(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    victim = tmp_path / "in" / "study" / "PT" / "IM0001"
    victim.write_bytes(victim.read_bytes()[:-20])
    pack(tmp_path / "in", "zip", tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-30])
    with scratch_folder() as folder:
        pass
    result = petct_here("convert", "a.zip", "b.zip", "-o", "vol", cwd=tmp_path)
    (record,) = result.records
    assert (result.code, record["error"]["code"]) == (1, "dicom_truncated")
    assert "a.zip!/study/PT/IM0001" in record["error"]["message"]
    assert "b.zip: the archive is damaged" in result.stderr
    assert folder.parent.as_posix() + "/petct-scratch" not in result.stderr + result.stdout.decode()
    assert PATIENT_NAME.split("^")[0] not in result.stderr + result.stdout.decode()


@contextlib.contextmanager
def waiting_convert(tmp_path: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A `petct convert` that has read an archive and now waits for stdin to say more."""
    pack(make_study(tmp_path / "in"), "zip", tmp_path / "a.zip")
    process = subprocess.Popen(
        [sys.executable, "-m", "petct_cli", "convert", "a.zip", "-", "-o", "vol", *more],
        cwd=tmp_path,
        env={**clean_environment({"TMPDIR": str(tmp_path / "tmp")}), "PYTHONPATH": str(REPOSITORY)},
        preexec_fn=default_signals,  # noqa: PLW1509  no thread holds a lock in these tests
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"type":"study"')
        yield process
        process.kill()


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_nothing_unpacked_stays_after_a_signal(tmp_path: Path, number: signal.Signals, code: int, jobs: str) -> None:
    own, _ = shelter(tmp_path)
    with waiting_convert(tmp_path, "--jobs", jobs) as process:
        (folder,) = own.glob("petct-scratch-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(folder.rglob("IM0001"))
        process.send_signal(number)
        assert process.wait(60) == code
        assert list(own.glob("petct-scratch-*")) == []


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    own, environment = shelter(tmp_path)
    with waiting_convert(tmp_path) as process:
        (left,) = own.glob("petct-scratch-*")
        running = own / "petct-scratch-young"
        running.mkdir()
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-m", "petct_cli", "convert", "a.zip", "-o", "again"],
                cwd=tmp_path,
                env={**clean_environment(environment), "PYTHONPATH": str(REPOSITORY)},
                capture_output=True,
            )
            assert done.returncode == 0, done.stderr
            if process.poll() is not None:
                break
            assert left.exists()  # in use
            process.kill()
            process.wait()
            os.utime(left, (0, 0))
    assert (left.exists(), running.exists()) == (False, True)


def test_a_scratch_folder_goes_after_an_error_too() -> None:
    folders = []

    def fail() -> None:
        with scratch_folder() as folder:
            folders.append(folder)
            (folder / "x").write_bytes(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [folder.exists() for folder in folders] == [False]
