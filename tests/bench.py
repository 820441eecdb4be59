"""``make bench``: petct beside what people use today, side by side in one run. Read the ratios, not the seconds.

Each row is the median of several interleaved runs of both sides on the same input, on one core, without start-up
(but for the row that measures start-up). Nothing here passes or fails.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bench_anonymize
import bench_convert
import bench_score

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as it is for users
ROUNDS = 5
REPOSITORY = Path(__file__).resolve().parent.parent
Side = Callable[[], object]


def compare(what: str, ours: Side, theirs: Side, other: str, unit: str, amount: float) -> None:
    """Print the rate of both sides and their ratio (above 1: petct is faster)."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    ours(), theirs()
    for _ in range(ROUNDS):
        for name, side in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            side()
            times[name].append(time.perf_counter() - start)
    ratio = statistics.median(b / a for a, b in zip(times["ours"], times["theirs"], strict=True))
    rates = [amount / statistics.median(times[name]) for name in ("ours", "theirs")]
    print(f"{what:<34} petct {rates[0]:>10.1f} {unit:<12} {other} {rates[1]:>10.1f} {unit:<12} ratio {ratio:5.2f}")


def cpu_of(command: list[str]) -> float:
    """Return the CPU seconds of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start_up() -> None:
    petct = statistics.median(cpu_of([sys.executable, "-m", "petct_cli", "--help"]) for _ in range(ROUNDS))
    typer = statistics.median(cpu_of([sys.executable, "-c", "import typer, typer.main"]) for _ in range(ROUNDS))
    print(f"{'petct --help, CPU':<34} petct {petct * 1e3:>10.0f} ms           import typer {typer * 1e3:>10.0f} ms")


def studies(folder: Path) -> list[Path]:
    """Make two full-size phantom studies and return their folders."""
    command = [sys.executable, "-m", "petct_cli", "phantom", "--studies", "2", "-o", str(folder / "raw")]
    subprocess.run(command, capture_output=True, check=True)
    return sorted((folder / "raw").iterdir())


def convert(folder: Path, found: list[Path]) -> None:
    import SimpleITK as sitk

    from petct_cli.dicom.scan import scan_studies
    from petct_cli.stages.convert import Convert

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    records = list(scan_studies(found))

    def ours() -> None:
        shutil.rmtree(folder / "vol", ignore_errors=True)
        for record in records:
            assert all(result.error is None for result in Convert(out=folder / "vol")(record))

    def by_sitk() -> None:
        for study in found:
            for series in ("CT", "PET"):
                reader = sitk.ImageSeriesReader()
                reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(study / series)))
                sitk.WriteImage(reader.Execute(), str(folder / "series.nii"))

    compare("convert to SUV on one grid", ours, by_sitk, "SimpleITK to .nii", "studies/s", len(found))


def pair() -> None:
    import orjson

    sys.path.insert(0, str(REPOSITORY / "tests"))
    from samples import study

    from petct_cli.core.jsonl import decode, encode
    from petct_cli.stages.pair import Pair
    from petct_cli.stages.pair_regions import RegionRule

    lines = [orjson.dumps(study(f"s{number}")) for number in range(500)]
    stage = Pair(RegionRule("paper"))

    def ours() -> None:
        for line in lines:
            for sample in stage(decode(line)):  # type: ignore[arg-type]
                encode(sample)

    def theirs() -> None:
        import json

        for line in lines:
            for _ in range(3):
                json.dumps(json.loads(line))

    compare("pair", ours, theirs, "json loads+dumps", "samples/s", 3 * len(lines))


def slices(folder: Path) -> None:
    """Measure the whole command, start included, on studies of the paper's length (568 slices)."""
    import json

    import orjson
    from samples import study, volume

    grid = {"shape": [568, 200, 200], "spacing_mm": [3.0, 4.0, 4.0]}
    ct, pet = volume("ct", path="vol/ct.b2nd", **grid), volume("pet", **grid)
    manifest = folder / "studies.jsonl"
    manifest.write_bytes(b"".join(orjson.dumps(study(f"s{n}", ct=ct, pet=pet)) + b"\n" for n in range(300)))
    command = [sys.executable, "-m", "petct_cli", "pair", "--slices", "--regions", "paper", str(manifest)]

    def ours() -> None:
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    def theirs() -> None:
        with open(os.devnull, "w", encoding="utf-8") as out:
            for line in manifest.read_text("utf-8").splitlines():
                known = json.loads(line)
                for z in range(568):
                    images = [{**known[name], "z": [z, z + 1]} for name in ("ct", "pet")]
                    pair = {"id": f"{known['id']}/slice/{z}", "study": known["id"], "z": z, "images": images}
                    out.write(json.dumps(pair) + "\n")

    compare("pair --slices, a whole process", ours, theirs, "json dumps", "slices/s", 300 * 568)


def regions(folder: Path) -> None:
    """Measure finding the lungs in a whole body on a PET's grid, read from disk, beside reading alone."""
    from bodies import Scan, lungs, slabs, trunk

    from petct_cli.volume.lungs import find_lungs, read_slabs
    from petct_cli.volume.storage import load_volume, save_volume

    scan = Scan(trunk() + lungs(), bottom=880, spacing=(3.0, 4.0, 4.0), size=(200, 200))
    path = folder / "ct.b2nd"
    save_volume(path, scan.render())

    def ours() -> None:
        assert find_lungs(read_slabs(path, scan.shape), scan.shape, scan.spacing) is not None

    compare("pair: lungs in 200x200x300", ours, lambda: slabs(load_volume(path)), "reading alone", "studies/s", 1)


def duplicates() -> None:
    """Time and memory of the duplicate index, per report at 25,000 and at 100,000: linear when both are the same."""
    import random
    import tracemalloc

    from petct_cli.dataset.duplicates import DuplicateIndex

    def reports(count: int) -> Iterator[str]:
        rng = random.Random(0)
        words = [f"từ{number}" for number in range(3000)]
        sentences = [" ".join(rng.choices(words, k=14)) + "." for _ in range(400)]
        for number in range(count):
            sizes = (f" nốt {rng.randrange(100)},{rng.randrange(10)} mm" for _ in range(4))
            text = " ".join(rng.sample(sentences, 18)) + "".join(sizes)
            yield text
            if number % 50 == 0:
                yield text.replace(" ", " khác ", 1)

    def find(count: int) -> int:
        with tempfile.TemporaryDirectory() as name:
            index = DuplicateIndex(Path(name))
            for text in reports(count * 50 // 51):
                index.add(text)
            return len(index.find().one)

    for count in (25_000, 100_000):
        started = time.process_time()
        pairs = find(count)
        rate = count / (time.process_time() - started)
        print(f"{f'duplicate index, {count} reports':<34} {rate:>16.0f} reports/s    {pairs} near duplicates")
    peaks = []
    for count in (10_000, 40_000):
        tracemalloc.start()
        find(count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    growth = (peaks[1] - peaks[0]) / 30_000
    print(
        f"{'duplicate index, memory':<34} {growth:>16.0f} bytes/report  beside {peaks[0] / 1e6 - growth / 100:.0f} MB"
    )


def main() -> None:
    """Run all benchmarks."""
    print(f"one core, median of {ROUNDS} interleaved rounds; ratio > 1: petct is faster\n")
    start_up()
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        folder = Path(name)
        found = studies(folder)
        bench_anonymize.bench(folder, found)
        convert(folder, found)
        bench_convert.bench(folder)
        pair()
        slices(folder)
        regions(folder)
    duplicates()
    if importlib.util.find_spec("rouge_score"):
        bench_score.bench()


if __name__ == "__main__":
    main()
