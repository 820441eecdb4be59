"""The baseline that needs no learning to speak of: one SUV threshold per region, each part above it named by its place.

It does see the true lesions of its training samples, to learn where the sites lie and which threshold serves best.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson
from scipy import ndimage

from petct_cli.core.errors import InputError, RecordError
from petct_cli.core.parallel import open_executor, ordered_map
from petct_cli.core.records import Image, Sample
from petct_cli.model.folder import ModelCard, write_card
from petct_cli.model.inputs import RegionVolume, load_region, region_name
from petct_cli.model.saliency import Frame, find_frame
from petct_cli.report.sites import load_sites
from petct_cli.volume.storage import load_affine

log = logging.getLogger(__name__)

RECIPE = "pet-threshold"
RULES_FILE = "threshold.json"
THRESHOLDS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
REACHES = (1.5, 2.0, 2.5, 3.0, 4.0, 6.0, math.inf)
TRAINING_SAMPLES = 150
MOST_PARTS = 64
_SMALLEST_SD = 0.05

NEGATIVE = "Không phát hiện tổn thương tăng chuyển hóa FDG bất thường."
_SIDES = {"left": " trái", "right": " phải", "bilateral": " hai bên"}

Floats = npt.NDArray[np.float64]
Name = tuple[str, str | None]


@dataclass(frozen=True)
class Part:
    """A connected part of the PET above a threshold: its place, the diameter of an equal sphere, and its SUVmax."""

    place: Floats
    size_mm: float
    suv_max: float


@dataclass(frozen=True)
class RegionRule:
    """What was chosen for one region.

    Attributes
    ----------
    suv
        Parts above it count.
    reach
        Parts farther than this from every site, in standard deviations, are not named.
    names, places
        The sites, and the mean place of each.
    spread
        Standard deviation of lesions about their site's mean, per coordinate.
    """

    suv: float
    reach: float
    names: list[Name]
    places: Floats
    spread: Floats

    def name(self, parts: Sequence[Part]) -> dict[Name, Part]:
        """Return the hottest part near each site."""
        found: dict[Name, Part] = {}
        for part in parts:
            off = (self.places - part.place) / self.spread
            distance = np.sqrt(np.nanmean(np.where(np.isnan(off), np.nan, off**2), axis=1))
            nearest = int(np.nanargmin(distance))
            if distance[nearest] > self.reach:
                continue
            name = self.names[nearest]
            if name not in found or part.suv_max > found[name].suv_max:
                found[name] = part
        return found


def place_of(point: Floats, frame: Frame) -> Floats:
    """Return where a voxel is, -1 to 1 across the body box and across the lung box (NaN without lungs), ``(6,)``."""

    def across(box: tuple[Any, Any]) -> Floats:
        return np.asarray((point + 0.5 - box[0]) / np.maximum(box[1] - box[0], 1) * 2 - 1, dtype=np.float64)

    lung = np.full(3, np.nan) if frame.lung is None else across(frame.lung)
    return np.concatenate([across(frame.body), lung])


def find_parts(volume: RegionVolume, frame: Frame, suv: float) -> list[Part]:
    """Return the connected parts above `suv`, of two voxels at least, the largest first."""
    labels, count = ndimage.label(volume.pet > suv)
    if count == 0:
        return []
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    chosen = [int(row) + 1 for row in np.argsort(-sizes, kind="stable")[:MOST_PARTS] if sizes[row] >= 2]
    if not chosen:
        return []
    centres = ndimage.center_of_mass(labels > 0, labels, chosen)
    hottest = ndimage.maximum(volume.pet, labels, chosen)
    voxel_mm3 = float(np.prod(volume.spacing_mm))
    return [
        Part(
            place_of(np.asarray(centre), frame),
            float((6 * sizes[label - 1] * voxel_mm3 / math.pi) ** (1 / 3)),
            float(suv_max),
        )
        for label, centre, suv_max in zip(chosen, centres, hottest, strict=True)
    ]


@dataclass(frozen=True)
class _Case:
    """One training sample: where its true lesions are and what lies above each threshold."""

    lesions: list[tuple[Name, Floats | None]]
    parts: dict[float, list[Part]]


def _study(sample: Sample) -> _Case | None:
    try:
        volume = load_region(sample)
    except RecordError:
        return None
    frame = find_frame(volume)
    pet = next(image for image in sample.images if image.modality == "PT")
    lesions: list[tuple[Name, Floats | None]] = []
    for lesion in sample.lesions or []:
        point = None if lesion.centre_mm is None or len(lesion.centre_mm) != 3 else _voxel(lesion.centre_mm, pet)
        lesions.append(((lesion.site, lesion.side), None if point is None else place_of(point, frame)))
    return _Case(lesions, {suv: find_parts(volume, frame, suv) for suv in THRESHOLDS})


def _voxel(centre_mm: Sequence[float], image: Image) -> Floats | None:
    affine = getattr(image, "affine", None)
    if affine is None:
        affine = load_affine(image.path)
    if affine is None:
        return None
    try:
        index = np.linalg.solve(np.asarray(affine, dtype=np.float64), [*centre_mm, 1.0])[:3]
    except (ValueError, TypeError, np.linalg.LinAlgError):
        return None
    return np.asarray(index - [image.z[0] if image.z else 0, 0, 0])


def train_threshold(samples: Sequence[Sample], folder: Path, jobs: int) -> dict[str, float]:
    """Choose each region's threshold and write the model into `folder`; return its metrics.

    Raises
    ------
    InputError
        ``no_truth`` when no training sample knows its lesions and where they are.
    """
    by_region: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.lesions is not None and sample.parent is None:
            by_region.setdefault(region_name(sample), []).append(sample)
    rules: dict[str, RegionRule] = {}
    metrics: dict[str, float] = {}
    dropped = 0
    with open_executor(jobs) as (executor, in_flight):
        for region, found in sorted(by_region.items()):
            chosen = found[:: -(-len(found) // TRAINING_SAMPLES)]
            cases = [case for case in ordered_map(_study, chosen, executor, in_flight) if case is not None]
            dropped += len(chosen) - len(cases)
            fitted = fit_region(cases)
            if fitted is not None:
                rules[region], metrics[f"train_site_f1_{region}"] = fitted[0], round(fitted[1], 4)
    if not rules:
        raise InputError(
            "no_truth",
            f"recipe {RECIPE} learns from true lesions, and no sample has any",
            "use phantoms, or --recipe saliency",
        )
    metrics["train_samples"] = float(sum(map(len, by_region.values())))
    metrics["dropped_samples"] = float(dropped)
    if dropped:
        log.warning("dropped %d samples whose images cannot be read", dropped)
    (folder / RULES_FILE).write_bytes(_dump(rules))
    write_card(folder, ModelCard(RECIPE), metrics)
    return metrics


def fit_region(cases: Sequence[_Case]) -> tuple[RegionRule, float] | None:
    """Return the rule with the best site F1 on `cases`, and that F1; None when no lesion's place is known."""
    seen: dict[Name, list[Floats]] = {}
    for case in cases:
        for name, place in case.lesions:
            if place is not None:
                seen.setdefault(name, []).append(place)
    if not seen:
        return None
    names = sorted(seen, key=str)
    places = np.stack([_mean(np.stack(seen[name])) for name in names])
    off = np.concatenate([np.stack(seen[name]) - mean for name, mean in zip(names, places, strict=True)])
    spread = np.maximum(np.sqrt(_mean(off**2)), _SMALLEST_SD)
    best: tuple[RegionRule, float] | None = None
    for suv in THRESHOLDS:
        for reach in REACHES:
            rule = RegionRule(suv, reach, names, places, spread)
            score = _site_f1((set(rule.name(case.parts[suv])), {name for name, _ in case.lesions}) for case in cases)
            if best is None or score > best[1]:
                best = rule, score
    return best


def _mean(values: Floats) -> Floats:
    """Mean over rows without NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan))


def _site_f1(pairs: Iterable[tuple[set[Name], set[Name]]]) -> float:
    hits = told = true = 0
    for found, truth in pairs:
        hits, told, true = hits + len(found & truth), told + len(found), true + len(truth)
    return 2 * hits / max(1, told + true)


def _dump(rules: dict[str, RegionRule]) -> bytes:
    plain = {region: _plain(asdict(rule)) for region, rule in rules.items()}
    return orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _plain(value: Any) -> Any:
    # JSON knows neither NaN nor infinity: null stands for "not known" and "no limit".
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ThresholdAnswerer:
    """Writes a sentence per named part."""

    def __init__(self, rules: dict[str, RegionRule]) -> None:
        self._rules = rules

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the rules that `train_threshold` wrote."""
        rules = {}
        for region, fields in orjson.loads((folder / RULES_FILE).read_bytes()).items():
            names: list[Name] = [(site, side) for site, side in fields["names"]]
            reach = math.inf if fields["reach"] is None else float(fields["reach"])
            places, spread = (np.array(fields[key], dtype=np.float64) for key in ("places", "spread"))
            rules[region] = RegionRule(float(fields["suv"]), reach, names, places, spread)
        return cls(rules)

    def look(self, sample: Sample) -> str:
        """Return the report on the images of `sample`.

        Raises
        ------
        RecordError
            ``unknown_region``, or the images cannot be read.
        """
        rule = self._rules.get(region_name(sample))
        if rule is None:
            raise RecordError("unknown_region", f"the model was not trained on region {region_name(sample)}")
        volume = load_region(sample)
        found = rule.name(find_parts(volume, find_frame(volume), rule.suv))
        return " ".join(_sentence(name, part) for name, part in found.items()) or NEGATIVE

    def answer(self, samples: Sequence[Sample], seen: Sequence[str]) -> list[str]:
        """Return what `look` wrote."""
        return list(seen)


def _sentence(name: Name, part: Part) -> str:
    site, side = name
    known = load_sites().get(site)
    subject = (site.replace("_", " ") if known is None else known.vi) + _SIDES.get(side or "", "")
    suv = f"{part.suv_max:.1f}".replace(".", ",")
    return f"{subject[:1].upper()}{subject[1:]} kích thước {round(part.size_mm)} mm, SUVmax {suv}."
