"""The body of a phantom: the anatomy table, and one patient drawn from it."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from petct_cli.volume.phantom_raster import Outline, Ribs, Shape

Side = Literal["left", "right"]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class LesionSite:
    """One place where a lesion may be: a site key of the report vocabulary, its side and its ellipsoid of centres."""

    site: str
    side: Side | None
    centre: Point
    radii: Point
    activity: str
    hu: float


@dataclass(frozen=True)
class PlacedLesion:
    """A lesion put into a body.

    `centre_mm` and `radii_mm` are LPS (x, y, z); the longest diameter is `size_mm`. `peak_suv` is the noise-free
    SUVmax that the blurred PET shall show.
    """

    site: str
    side: Side | None
    centre_mm: Point
    radii_mm: Point
    size_mm: float
    peak_suv: float
    hu: float


@dataclass(frozen=True)
class Body:
    """One patient's geometry and tracer uptake, in LPS mm. Midline and mid-depth are at `centre_mm`."""

    centre_mm: tuple[float, float]
    top_mm: float
    scale: Point
    length_mm: float
    fwhm_mm: float
    activity: dict[str, float]
    outline: Outline
    parts: tuple[Shape, ...]
    ribs: Ribs


@cache
def anatomy() -> dict[str, Any]:
    """Return the anatomy table (``data/anatomy.toml``)."""
    with (Path(__file__).parent / "data" / "anatomy.toml").open("rb") as file:
        return tomllib.load(file)


@cache
def lesion_sites() -> tuple[LesionSite, ...]:
    """Return all (site, side) combinations in the order of the table, left before right."""
    sites: list[LesionSite] = []
    for row in anatomy()["site"]:
        x, y, down = row["centre"]
        sides: list[tuple[Side | None, int]] = [("left", 1), ("right", -1)] if row.get("lateral") else [(None, 1)]
        sites += [
            LesionSite(row["name"], side, (sign * x, y, down), tuple(row["radii"]), row["activity"], row["hu"])
            for side, sign in sides
        ]
    return tuple(sites)


def draw_body(rng: np.random.Generator) -> Body:
    """Draw a patient: girth within +-20 %, height within +-10 %, shifted up to 10 mm on the table."""
    table = anatomy()
    girth, tall = rng.uniform(0.83, 1.17), rng.uniform(0.9, 1.1)
    scale = (girth * rng.uniform(0.97, 1.03), girth * rng.uniform(0.97, 1.03), tall)
    centre = (rng.uniform(-9, 9), rng.uniform(-10, 10))
    top = round(rng.uniform(-400, 100), 1)
    fwhm = rng.uniform(5, 7)
    activity = {name: float(rng.uniform(*bounds)) for name, bounds in table["activity"].items()}

    def place(point: Point) -> Point:
        return centre[0] + point[0] * scale[0], centre[1] + point[1] * scale[1], top - point[2] * scale[2]

    def sized(radii: Point, factor: float = 1.0) -> Point:
        x, y, z = (radius * size * factor for radius, size in zip(radii, scale, strict=True))
        return x, y, z

    parts: list[Shape] = []
    for row in table["organ"]:
        for sign in (1, -1) if row.get("lateral") else (1,):
            x, y, down = row["centre"]
            jitter = rng.normal(0, 1.5, 3).clip(-3, 3)
            resize = rng.uniform(*row.get("resize", (0.95, 1.05)))
            suv = activity[row["activity"]] * rng.uniform(0.95, 1.05)
            middle = place((sign * x + jitter[0], y + jitter[1], down + jitter[2]))
            kind = row.get("shape", "ellipsoid")
            parts.append(Shape(kind, middle, sized(row["radii"], resize), row["hu"], float(suv)))
    fewest, most = table["bowel"]["count"]
    parts += [_bowel_loop(rng, place, sized) for _ in range(rng.integers(fewest, most + 1))]

    profile = table["outline"]
    feet_first = slice(None, None, -1)
    outline = Outline(
        z_mm=tuple(top - down * scale[2] for down in profile["down"][feet_first]),
        half_width_mm=tuple(value * scale[0] for value in profile["half_width"][feet_first]),
        half_depth_mm=tuple(value * scale[1] for value in profile["half_depth"][feet_first]),
        centre_y_mm=tuple(centre[1] + value * scale[1] for value in profile["centre_y"][feet_first]),
        centre_x_mm=centre[0],
        muscle_fraction=profile["muscle_fraction"],
        fat=(profile["fat_hu"], activity["fat"]),
        muscle=(profile["muscle_hu"], activity["muscle"]),
    )
    rib = table["ribs"]
    ribs = Ribs(
        z_mm=(top - rib["down"][1] * scale[2], top - rib["down"][0] * scale[2]),
        centre_mm=centre,
        half_width_mm=rib["half_width"] * scale[0],
        half_depth_mm=rib["half_depth"] * scale[1],
        inner=rib["inner"],
        pitch_mm=rib["pitch"] * scale[2],
        slant=rib["slant"],
        hu=rib["hu"],
    )
    length = table["length"] * scale[2]
    return Body(centre, top, scale, length, fwhm, activity, outline, tuple(parts), ribs)


def _bowel_loop(rng: np.random.Generator, place: Any, sized: Any) -> Shape:
    bowel = anatomy()["bowel"]
    offsets = rng.uniform(-1, 1, 3) * bowel["half_extent"]
    centre = place(tuple(np.asarray(bowel["centre"]) + offsets))
    smallest, largest = bowel["radii"]
    radii = sized(tuple(rng.uniform(smallest, largest, 3)))
    return Shape("ellipsoid", centre, radii, float(rng.uniform(*bowel["hu"])), float(rng.uniform(*bowel["activity"])))


def draw_lesions(rng: np.random.Generator, body: Body) -> tuple[PlacedLesion, ...]:
    """Draw 0 to 3 lesions at distinct (site, side), apart from each other.

    The size is log-uniform in 8-40 mm. The peak SUV, as a reader would measure it, is log-uniform from what stands out
    (2.5, or 1.5 times the tissue around) up to 15 times the recovery of a sphere of that size under the PET's blur:
    small hot lesions look cooler than they are.
    """
    rules = anatomy()["lesion"]
    sites = lesion_sites()
    count = int(rng.integers(rules["count"][0], rules["count"][1] + 1))
    placed: list[PlacedLesion] = []
    for choice in rng.permutation(len(sites))[:count]:
        site = sites[int(choice)]
        size = float(round(math.exp(rng.uniform(*np.log(rules["size_mm"])))))
        floor = max(rules["suv_max"][0], rules["contrast"] * body.activity[site.activity])
        ceiling = max(1.3 * floor, rules["suv_max"][1] * _recovery(size, body.fwhm_mm))
        peak = round(math.exp(rng.uniform(math.log(floor), math.log(ceiling))), 1)
        shortest = float(rules["shortest_axis"])
        axes = rng.permutation([1.0, *rng.uniform(shortest, 1.0, 2)]) * size / 2
        radii: Point = (float(axes[0]), float(axes[1]), float(axes[2]))
        for _ in range(100):
            centre = _point_in(rng, site, body)
            gaps = [math.dist(centre, other.centre_mm) - (size + other.size_mm) / 2 for other in placed]
            if all(gap >= rules["gap_mm"] for gap in gaps):
                placed.append(PlacedLesion(site.site, site.side, centre, radii, size, peak, site.hu))
                break
    return tuple(placed)


def _point_in(rng: np.random.Generator, site: LesionSite, body: Body) -> Point:
    direction = rng.normal(size=3)
    direction *= rng.uniform() ** (1 / 3) / np.linalg.norm(direction)
    x, y, down = np.asarray(site.centre) + direction * site.radii
    scale_x, scale_y, scale_z = body.scale
    centre = (body.centre_mm[0] + x * scale_x, body.centre_mm[1] + y * scale_y, body.top_mm - down * scale_z)
    return round(float(centre[0]), 1), round(float(centre[1]), 1), round(float(centre[2]), 1)


def _recovery(size_mm: float, fwhm_mm: float) -> float:
    # Peak of a uniform sphere under a Gaussian; the 6 x 6 x 8 mm voxel adds its own variance (h^2 / 12) to the blur.
    sigma = math.sqrt(fwhm_mm**2 / (8 * math.log(2)) + (6 * 6 * 8) ** (2 / 3) / 12)
    ratio = size_mm / 2 / sigma
    return math.erf(ratio / math.sqrt(2)) - math.sqrt(2 / math.pi) * ratio * math.exp(-(ratio**2) / 2)
