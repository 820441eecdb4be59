"""Features of many samples: calibrated, described in parallel, kept on disk chunk by chunk."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from petct_cli.core.errors import RecordError
from petct_cli.core.hashing import sha256_json
from petct_cli.core.parallel import open_executor, ordered_map
from petct_cli.core.records import Sample
from petct_cli.core.store import write_atomically
from petct_cli.model.describe import DESCRIPTION_VERSION
from petct_cli.model.inputs import image_key, load_region, region_name
from petct_cli.model.processor import FeatureExtractor, npz_bytes
from petct_cli.model.saliency import (
    Calibrator,
    RegionCalibration,
    box_mm,
    choose_grid,
    pack_calibrations,
    pair_maxima,
    unpack_calibrations,
)

log = logging.getLogger(__name__)

CALIBRATION_VOLUMES = 500
_GRID_VOLUMES = 16
_CHUNK = 64

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Failure:
    """A sample whose images could not be read."""

    code: str
    message: str


@dataclass(frozen=True)
class Described:
    """Features of samples.

    Attributes
    ----------
    features
        ``(images, tokens, features)``, float16; samples that show the same images share a row.
    row
        For each sample its row, or why it has none.
    """

    features: npt.NDArray[np.float16]
    row: list[int | Failure]


def _try(function: Callable[[Sample], Array], samples: Sequence[Sample]) -> list[Array | Failure]:
    torch.set_num_threads(1)
    results: list[Array | Failure] = []
    for sample in samples:
        try:
            results.append(function(sample))
        except RecordError as error:
            results.append(Failure(error.code, error.message))
    return results


def _box(sample: Sample) -> Array:
    return box_mm(load_region(sample))


def _maxima(grid: tuple[int, int, int], sample: Sample) -> Array:
    return pair_maxima(load_region(sample), grid)


def _chunks(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), _CHUNK):
        yield samples[start : start + _CHUNK]


def unique_images(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first sample of each set of images, in order."""
    seen: dict[str, Sample] = {}
    for sample in samples:
        seen.setdefault(image_key(sample), sample)
    return list(seen.values())


def calibrate(samples: Sequence[Sample], jobs: int, cache: Path) -> dict[str, RegionCalibration]:
    """Learn what is usual in each region, from up to 500 volumes of each; kept in `cache`."""
    by_region: dict[str, list[Sample]] = {}
    for sample in unique_images(samples):
        by_region.setdefault(region_name(sample), []).append(sample)
    chosen = {name: found[:: -(-len(found) // CALIBRATION_VOLUMES)] for name, found in sorted(by_region.items())}
    keys = [[name, [image_key(sample) for sample in found]] for name, found in chosen.items()]
    file = cache / f"calibration-{sha256_json([DESCRIPTION_VERSION, keys])[:20]}.npz"
    kept = _kept_calibration(file)
    if kept is not None:
        return kept
    regions = {}
    failures = 0
    with open_executor(jobs) as (executor, in_flight):
        for name, found in chosen.items():
            boxes = _first_boxes(found)
            if not boxes:
                failures += len(found)
                continue
            calibrator = Calibrator(choose_grid(np.stack(boxes)))
            work = partial(_try, partial(_maxima, calibrator.grid))
            for chunk in ordered_map(work, _chunks(found), executor, in_flight):
                for maxima in chunk:
                    if isinstance(maxima, Failure):
                        failures += 1
                    else:
                        calibrator.add(maxima)
            regions[name] = calibrator.finish()
    # Volumes that cannot be read today may be there tomorrow, and then count.
    if not failures:
        write_atomically(file, npz_bytes(pack_calibrations(regions)))
    return regions


def _kept_calibration(file: Path) -> dict[str, RegionCalibration] | None:
    """Return a calibration made earlier; None where there is none that can be read."""
    if not file.is_file():
        return None
    try:
        with np.load(file) as packed:
            return unpack_calibrations(dict(packed))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        log.warning("%s cannot be read and is made again", file)
        return None


def _first_boxes(samples: Sequence[Sample]) -> list[Array]:
    """Return the body boxes of the first samples that can be read."""
    boxes: list[Array] = []
    for sample in samples:
        (box,) = _try(_box, [sample])
        if not isinstance(box, Failure):
            boxes.append(box)
        if len(boxes) == _GRID_VOLUMES:
            break
    return boxes


def describe_samples(
    samples: Sequence[Sample], extractor: FeatureExtractor, jobs: int, cache: Path | None
) -> Described:
    """Describe the images of `samples` with `jobs` processes.

    Finished chunks are kept in `cache`, so that a run that was killed goes on where it was.
    """
    distinct = unique_images(samples)
    chunks = list(_chunks(distinct))
    files = [None if cache is None else cache / name for name in _chunk_names(chunks, extractor)]
    kept = [_kept_features(file, len(chunk)) for file, chunk in zip(files, chunks, strict=True)]
    missing = [number for number, block in enumerate(kept) if block is None]
    made: dict[int, list[Array | Failure]] = {}
    with open_executor(jobs if len(missing) > 1 else 1) as (executor, in_flight):
        work = partial(_try, extractor)
        done = ordered_map(work, (chunks[number] for number in missing), executor, in_flight)
        for number, results in zip(missing, done, strict=True):
            file = files[number]
            whole = [result for result in results if not isinstance(result, Failure)]
            if file is not None and len(whole) == len(results):
                write_atomically(file, _npy_bytes(np.stack(whole)))
            made[number] = results
            if number % 16 == 15:
                log.info("described %d of %d regions", min(len(distinct), (number + 1) * _CHUNK), len(distinct))
    rows: dict[str, int | Failure] = {}
    blocks: list[Array] = []
    for number, (chunk, block) in enumerate(zip(chunks, kept, strict=True)):
        results = made[number] if block is None else list(block)
        for sample, result in zip(chunk, results, strict=True):
            if isinstance(result, Failure):
                rows[image_key(sample)] = result
            else:
                rows[image_key(sample)] = len(blocks)
                blocks.append(result)
    features = np.stack(blocks) if blocks else np.zeros((0, extractor.settings.tokens, 0), np.float16)
    return Described(features, [rows[image_key(sample)] for sample in samples])


def _kept_features(file: Path | None, count: int) -> Array | None:
    """Return the features of a chunk described earlier; None where there are none that can be read."""
    if file is None or not file.is_file():
        return None
    try:
        block: Array = np.load(file)
    except (OSError, ValueError, EOFError):
        block = np.zeros(0)
    if len(block) != count:
        log.warning("%s cannot be read and is made again", file)
        return None
    return block


def _chunk_names(chunks: Sequence[Sequence[Sample]], extractor: FeatureExtractor) -> list[str]:
    made_by = sha256_json([DESCRIPTION_VERSION, pack_calibrations(extractor.regions), asdict(extractor.settings)])
    keys = (sha256_json([made_by, [image_key(sample) for sample in chunk]]) for chunk in chunks)
    return [f"features-{key[:20]}.npy" for key in keys]


def _npy_bytes(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
