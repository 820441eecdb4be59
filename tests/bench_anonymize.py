"""The part of ``make bench`` about `petct anonymize`: beside plain pydicom and other de-identifiers, in one run.

petct has every safety on: SUV proof, search of what was written, one sync per study. The others write and are done.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom

ROUNDS = 5
STUDIES, SLICES, SIZE = 32, 60, 512
Run = Callable[[list[Path], Path], object]


def large_studies(folder: Path, phantom: Path) -> list[Path]:
    """Write studies of CT slices of 512x512 with the headers of a phantom's, and return their folders."""
    template = pydicom.dcmread(sorted((phantom / "CT").iterdir())[0])
    rng = np.random.default_rng(0)
    template.Rows = template.Columns = SIZE
    template.BitsAllocated, template.BitsStored, template.HighBit = 16, 12, 11
    made = []
    for study in range(STUDIES):
        place = folder / f"study_{study}"
        place.mkdir(parents=True)
        template.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.{study + 1}"
        template.SeriesInstanceUID = f"{template.StudyInstanceUID}.1"
        for number in range(SLICES):
            template.SOPInstanceUID = f"{template.SeriesInstanceUID}.{number + 1}"
            template.file_meta.MediaStorageSOPInstanceUID = template.SOPInstanceUID
            template.InstanceNumber = number + 1
            template.ImagePositionPatient = [0, 0, 3.0 * number]
            template.PixelData = rng.integers(0, 4096, SIZE * SIZE, dtype="<u2").tobytes()
            template.save_as(place / f"{number}.dcm")
        made.append(place)
    return made


def petct(found: list[Path], out: Path) -> None:
    """De-identify in this process, on one core."""
    from petct_cli.dicom.deid.pseudonyms import Key
    from petct_cli.dicom.scan import scan_studies
    from petct_cli.stages.anonymize import Anonymize

    stage = Anonymize(out=out, key=Key(b"k" * 32))
    for record in scan_studies(found):
        assert all(result.error is None for result in stage(record))


def files_of(found: list[Path]) -> list[Path]:
    return [path for study in found for path in sorted(study.rglob("*.dcm"))]


def plain(found: list[Path], out: Path) -> None:
    for number, path in enumerate(files_of(found)):
        pydicom.dcmread(path).save_as(out / f"{number}.dcm")


def dcmanon(found: list[Path], out: Path) -> None:
    from dcmanon import Anonymizer

    anonymizer = Anonymizer()
    for number, path in enumerate(files_of(found)):
        (out / f"{number}.dcm").write_bytes(bytes(anonymizer.anonymize(str(path))))


def dicognito(found: list[Path], out: Path) -> None:
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer(seed="bench")
    for number, path in enumerate(files_of(found)):
        dataset = pydicom.dcmread(path)
        anonymizer.anonymize(dataset)
        dataset.save_as(out / f"{number}.dcm")


def dicom_anonymizer(found: list[Path], out: Path) -> None:
    from dicomanonymizer import anonymize_dicom_file

    for number, path in enumerate(files_of(found)):
        anonymize_dicom_file(str(path), str(out / f"{number}.dcm"))


OTHERS: dict[str, tuple[str, Run]] = {
    "pydicom dcmread+save_as": ("pydicom", plain),
    "dcmanon": ("dcmanon", dcmanon),
    "dicognito": ("dicognito", dicognito),
    "dicom-anonymizer": ("dicomanonymizer", dicom_anonymizer),
}


@contextlib.contextmanager
def empty_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder; what others left to be written to disk is written before, what this one leaves is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.sync()
    yield folder
    shutil.rmtree(folder)


def time_of(run: Run, found: list[Path], folder: Path) -> float:
    with empty_folder(folder / "bench_out") as out:
        start = time.perf_counter()
        run(found, out)
        return time.perf_counter() - start


def side_by_side(what: str, found: list[Path], folder: Path) -> None:
    """Print files per second of all, and how much faster petct is round by round."""
    others = {name: run for name, (module, run) in OTHERS.items() if importlib.util.find_spec(module)}
    sides: dict[str, Run] = {"petct": petct, **others}
    times: dict[str, list[float]] = {name: [] for name in sides}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        for number in range(ROUNDS + 1):
            for name, run in sides.items():
                took = time_of(run, found, folder)
                if number:
                    times[name].append(took)
        logging.disable(logging.NOTSET)
    files = len(files_of(found))
    print(f"anonymize, {what}: {files} files, one core")
    for name in sides:
        ratio = statistics.median(b / a for a, b in zip(times["petct"], times[name], strict=True))
        rate = files / statistics.median(times[name])
        print(f"  {name:<26} {rate:>8.1f} files/s   petct is {ratio:5.2f} times as fast")
    missing = [name for name, (module, _) in OTHERS.items() if name not in others]
    if missing:
        print(f"  not installed and so not compared: {', '.join(missing)} (pip install 'petct[bench]')")


def two_jobs(found: list[Path], folder: Path) -> None:
    """Print how much two worker processes help, start-up apart: it is what a run over one study takes."""
    key = folder / "bench_key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)

    def command(jobs: int) -> Run:
        def run(studies: list[Path], out: Path) -> None:
            arguments = ["anonymize", *map(str, studies), "-o", str(out), "--key-file", str(key), "-q", "-j", str(jobs)]
            subprocess.run([sys.executable, "-m", "petct_cli", *arguments], capture_output=True, check=True)

        return run

    for jobs in (1, 2):
        time_of(command(jobs), found, folder)  # not counted: memory that is new to the system comes slowly
    files = len(files_of(found)) - len(files_of(found[:1]))
    starts: dict[int, list[float]] = {1: [], 2: []}
    works: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for jobs in (1, 2):
            start = time_of(command(jobs), found[:1], folder)
            starts[jobs].append(start)
            works[jobs].append(time_of(command(jobs), found, folder) - start)
    for jobs in (1, 2):
        rate = files / statistics.median(works[jobs])
        start = statistics.median(starts[jobs])
        print(
            f"  --jobs {jobs}, whole command     {rate:>8.1f} files/s   after {start:.2f} s for the start and one study"
        )
    ratio = statistics.median(one / two for one, two in zip(works[1], works[2], strict=True))
    whole = statistics.median((starts[1][i] + works[1][i]) / (starts[2][i] + works[2][i]) for i in range(ROUNDS))
    print(f"  --jobs 2 is {ratio:.2f} times as fast as --jobs 1 ({whole:.2f} with the start)")


def bench(folder: Path, phantoms: list[Path]) -> None:
    """Run all of it on phantom studies below `folder`."""
    side_by_side("phantom slices (CT 128x128, PET 64x64)", phantoms, folder)
    large = large_studies(folder / "large", phantoms[0])
    side_by_side("CT slices of 512x512", large[:4], folder)
    two_jobs(large, folder)
