"""The part of ``make bench`` about `petct convert`: studies of clinical size, beside dcm2niix, in one run.

petct hashes what it reads, converts to HU and SUV, brings the CT to the grid of the PET, compresses, and syncs every
study to the disk; dcm2niix writes both series as ``.nii`` and leaves the disk to the system. Start-up is told apart.
"""

from __future__ import annotations

import functools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
from pydicom.encaps import encapsulate

from petct_cli.dicom.synthesise import Stack, draw_protocol, write_study
from petct_cli.dicom.synthesise_identity import draw_identity
from petct_cli.volume.phantom import make_phantom
from petct_cli.volume.phantom_raster import Grid

ROUNDS = 3
STUDIES, COMPRESSED_STUDIES = 10, 2
CT_SHAPE, CT_SPACING = (300, 512, 512), (3.27, 0.9766, 0.9766)
PET_SHAPE, PET_SPACING = (300, 200, 200), (3.27, 4.0728, 4.0728)
JPEG_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"
IMPORTS = (
    "import petct_cli.commands.convert, petct_cli.cli.runner, petct_cli.dicom.scan, petct_cli.stages.convert, "
    "petct_cli.volume.storage, petct_cli.volume.series_choice, petct_cli.volume.series_volume"
)


def clinical_studies(folder: Path, count: int = STUDIES) -> list[Path]:
    """Write studies of one phantom in clinical size, each with names and UIDs of its own; return their folders."""
    phantom = make_phantom(0, 0)
    stacks = {}
    for name, shape, spacing in (("ct", CT_SHAPE, CT_SPACING), ("pet", PET_SHAPE, PET_SPACING)):
        lowest = phantom.pet_grid.origin_mm[2]
        origin = (-spacing[2] * (shape[2] - 1) / 2, -spacing[1] * (shape[1] - 1) / 2, lowest)
        grid = Grid(shape, spacing, origin)
        voxels = phantom.render_ct(grid) if name == "ct" else phantom.render_pet(grid)
        stacks[name] = Stack(voxels, spacing, origin)
    protocol = draw_protocol(phantom.rng("protocol"), phantom.weight_kg)
    made = []
    for number in range(count):
        identity = draw_identity(make_phantom(0, number).rng("identity"), phantom.sex, phantom.age_years)
        place = folder / f"study_{number:02d}"
        place.mkdir(parents=True)
        write_study(
            place, (0, number), identity, protocol, height_m=phantom.height_m, weight_kg=phantom.weight_kg, **stacks
        )
        made.append(place)
    return made


def compressed_studies(folder: Path, found: Sequence[Path], syntax: str) -> list[Path]:
    """Write studies again in a compressed transfer syntax; return their folders."""
    import imagecodecs

    encode: dict[str, Callable[[Any], bytes]] = {
        JPEG_LOSSLESS: lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=16),
        JPEG_2000: lambda pixels: imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="j2k"),
    }
    made = []
    for study in found:
        for path in sorted(study.rglob("*.dcm")):
            dataset = pydicom.dcmread(path)
            pixels = dataset.pixel_array.astype("u2")
            dataset.PixelData = encapsulate([encode[syntax](pixels)])
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = syntax
            target = folder / path.relative_to(study.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(target)
        made.append(folder / study.name)
    return made


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process, and those it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def timed(run: Callable[[], object]) -> float:
    os.sync()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_mb(command: list[str]) -> float:
    """Return the peak memory of a process of its own, in MB."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)"
    )
    return float(subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=True).stdout)


def petct_command(found: Sequence[Path], out: Path, jobs: int = 1) -> list[str]:
    return [sys.executable, "-m", "petct_cli", "convert", *map(str, found), "-o", str(out), "-q", "-j", str(jobs)]


def side_by_side(what: str, found: list[Path], folder: Path) -> None:
    """Print the seconds per study of both, and of petct on all cores, with caches warm."""
    program = Path(sys.executable).with_name("dcm2niix")
    out = folder / "bench_out"

    def petct(jobs: int = 1) -> None:
        subprocess.run(petct_command(found, out, jobs), stdout=subprocess.DEVNULL, check=True)

    def start_up() -> None:
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)

    def dcm2niix() -> None:
        for study in found:
            command = [str(program), "-o", str(out), "-z", "n", "-w", "1", str(study)]
            subprocess.run(command, capture_output=True, check=True)

    times: dict[str, list[float]] = defaultdict(list)
    read_all(found)
    for _ in range(ROUNDS):
        with one_core():
            times["start"].append(timed(start_up))
            for name, run in (("petct", petct), ("dcm2niix", dcm2niix)):
                if name == "dcm2niix" and not program.exists():
                    continue
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                times[name].append(timed(run))
        shutil.rmtree(out)
        for name, jobs in (("cores", 1), ("jobs", 2)):
            times[name].append(timed(partial(petct, jobs)))
            shutil.rmtree(out)
    count = len(found)
    start = statistics.median(times["start"])
    own = [(whole - start) / count for whole in times["petct"]]
    cores = len(os.sched_getaffinity(0))
    print(f"convert, {what}: {count} studies of CT 512x512x300 and PET 200x200x300, warm cache; start-up {start:.2f} s")
    print(f"  petct, one core            {statistics.median(own):7.3f} s/study")
    for name, title in (("cores", f"petct, {cores} cores, --jobs 1"), ("jobs", f"petct, {cores} cores, --jobs 2")):
        many = [(whole - start) / count for whole in times[name]]
        ratio = statistics.median(a / b for a, b in zip(own, many, strict=True))
        print(f"  {title:<26} {statistics.median(many):7.3f} s/study   {ratio:5.2f} times as fast as one core")
    if times["dcm2niix"]:
        theirs = [whole / count for whole in times["dcm2niix"]]
        ratio = statistics.median(b / a for a, b in zip(own, theirs, strict=True))
        print(
            f"  dcm2niix -z n, one core    {statistics.median(theirs):7.3f} s/study   "
            f"petct is {ratio:5.2f} times as fast"
        )
    else:
        print("  dcm2niix is not installed: not compared")
    with one_core():
        print(f"  peak memory of petct       {peak_mb(petct_command(found[:2], out)):7.0f} MB")
        shutil.rmtree(out)
        shares(found[0], out)


def read_all(found: Sequence[Path]) -> int:
    return sum(len(path.read_bytes()) for study in found for path in study.rglob("*.dcm"))


# What each step of a conversion is called, and where it happens: (module, function or class.method).
STEPS = {
    "scan: grouping by heads": ("petct_cli.dicom.scan", "scan"),
    "headers": ("petct_cli.stages.convert_dicom", "_candidates"),
    "choice, geometry, SUV": ("petct_cli.stages.convert", "read_study"),
    "reading files": ("petct_cli.dicom.input_files", "InputFiles._read"),
    "hash of the input": ("petct_cli.dicom.input_files", "sha256_bytes"),
    "pixels (decoding)": ("petct_cli.volume.series_volume", "stored_values"),
    "HU": ("petct_cli.volume.series_volume", "_hounsfield"),
    "SUV and one grid": ("petct_cli.stages.convert", "place_on_grid"),
    "hash of the volumes": ("petct_cli.stages.convert_record", "sha256_array"),
    "compressing and writing": ("petct_cli.volume.storage", "save_volume"),
    "sync": ("petct_cli.core.store", "sync_filesystem"),
}


def shares(study: Path, out: Path) -> None:
    """Print the share of each step of one conversion, each without the steps inside of it, and the physical limit."""
    import importlib

    from petct_cli.dicom import scan as scan_module
    from petct_cli.stages.convert import Convert

    spent: dict[str, float] = defaultdict(float)
    inner: list[float] = [0.0]
    undo: list[Callable[[], None]] = []

    def watch(name: str, owner: Any, attribute: str) -> None:
        original = getattr(owner, attribute)

        @functools.wraps(original)
        def watched(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            inner.append(0.0)
            try:
                return original(*arguments, **named)
            finally:
                took = time.perf_counter() - start
                spent[name] += took - inner.pop()
                inner[-1] += took

        setattr(owner, attribute, watched)
        undo.append(lambda: setattr(owner, attribute, original))

    def convert() -> None:
        (record,) = map(scan_module.study_record, scan_module.scan([study]).studies())
        assert all(result.error is None for result in Convert(out)(record))
        shutil.rmtree(out)

    convert()
    for name, (module, attribute) in STEPS.items():
        owner: Any = importlib.import_module(module)
        *classes, last = attribute.split(".")
        for one in classes:
            owner = getattr(owner, one)
        watch(name, owner, last)
    try:
        whole, fastest = min((_clean(spent, convert), sorted(spent.items())) for _ in range(ROUNDS))
    finally:
        for restore in undo:
            restore()
    steps = dict(fastest)
    for name in STEPS:
        print(f"    {name:<26} {steps[name] * 1e3:7.1f} ms  {100 * steps[name] / whole:4.1f} %")
    rest = whole - sum(steps.values())
    print(f"    {'everything else':<26} {rest * 1e3:7.1f} ms  {100 * rest / whole:4.1f} %")
    limit = min(timed(lambda: _read_and_decode(study)) for _ in range(ROUNDS))
    print(
        f"  physical limit: reading and decoding alone {limit * 1e3:.0f} ms; petct takes {whole / limit:.2f} times that"
    )
    runs = (lambda: _read_and_decode(study), convert)
    from_disk = [[_from_disk(study, run) for run in runs] for _ in range(ROUNDS)]
    limit, whole = (statistics.median(times) for times in zip(*from_disk, strict=True))
    print(f"  from the disk, not from memory, {limit * 1e3:.0f} ms; petct takes {whole / limit:.2f} times that")


def _clean(spent: dict[str, float], run: Callable[[], None]) -> float:
    spent.clear()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _from_disk(study: Path, run: Callable[[], None]) -> float:
    """Time a run over files that the system has forgotten."""
    os.sync()
    for path in study.rglob("*.dcm"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return timed(run)


def _read_and_decode(study: Path) -> None:
    """Read every file and decode its pixels, and do nothing with them."""
    from petct_cli.dicom.input_files import InputFiles
    from petct_cli.dicom.read import read_instance, stored_values

    files = InputFiles()
    for path in study.rglob("*.dcm"):
        stored_values(read_instance(path), files._read(path))


def bench(folder: Path) -> None:
    """Run all of it on studies made below `folder`."""
    raw = clinical_studies(folder / "clinical")
    side_by_side("raw", raw, folder)
    for what, syntax in (("JPEG lossless", JPEG_LOSSLESS), ("JPEG 2000", JPEG_2000)):
        found = compressed_studies(folder / syntax, raw[:COMPRESSED_STUDIES], syntax)
        side_by_side(what, found, folder)
