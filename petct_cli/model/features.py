"""Features of many samples: calibrated, described in parallel, kept on disk chunk by chunk."""

from __future__ import annotations

import io
import logging
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
    if file.is_file():
        with np.load(file) as packed:
            return unpack_calibrations(dict(packed))
    regions = {}
    with open_executor(jobs) as (executor, in_flight):
        for name, found in chosen.items():
            boxes = [box for box in _try(_box, found[:_GRID_VOLUMES]) if not isinstance(box, Failure)]
            if not boxes:
                continue
            calibrator = Calibrator(choose_grid(np.stack(boxes)))
            work = partial(_try, partial(_maxima, calibrator.grid))
            for chunk in ordered_map(work, _chunks(found), executor, in_flight):
                for maxima in chunk:
                    if not isinstance(maxima, Failure):
                        calibrator.add(maxima)
            regions[name] = calibrator.finish()
    write_atomically(file, npz_bytes(pack_calibrations(regions)))
    return regions


def describe_samples(
    samples: Sequence[Sample], extractor: FeatureExtractor, jobs: int, cache: Path | None
) -> Described:
    """Describe the images of `samples` with `jobs` processes.

    Finished chunks are kept in `cache`, so that a run that was killed goes on where it was.
    """
    distinct = unique_images(samples)
    chunks = list(_chunks(distinct))
    files = [None if cache is None else cache / name for name in _chunk_names(chunks, extractor)]
    missing = [number for number, file in enumerate(files) if file is None or not file.is_file()]
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
    for number, (chunk, file) in enumerate(zip(chunks, files, strict=True)):
        results = made[number] if number in made else list(np.load(file)) if file is not None else []
        for sample, result in zip(chunk, results, strict=True):
            if isinstance(result, Failure):
                rows[image_key(sample)] = result
            else:
                rows[image_key(sample)] = len(blocks)
                blocks.append(result)
    features = np.stack(blocks) if blocks else np.zeros((0, extractor.settings.tokens, 0), np.float16)
    return Described(features, [rows[image_key(sample)] for sample in samples])


def _chunk_names(chunks: Sequence[Sequence[Sample]], extractor: FeatureExtractor) -> list[str]:
    made_by = sha256_json([DESCRIPTION_VERSION, pack_calibrations(extractor.regions), asdict(extractor.settings)])
    keys = (sha256_json([made_by, [image_key(sample) for sample in chunk]]) for chunk in chunks)
    return [f"features-{key[:20]}.npy" for key in keys]


def _npy_bytes(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
