"""Bodies of known landmarks as CT: each part in mm from the top of the head, painted on any grid, in any way stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Volume = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Part:
    """An upright elliptic cylinder between two distances below the vertex (mm), later ones over earlier ones."""

    top: float
    bottom: float
    centre: tuple[float, float]
    radii: tuple[float, float]
    hu: float
    box: bool = False


def trunk(width: float = 165.0, depth: float = 110.0) -> list[Part]:
    """A head, a neck, a trunk and two legs of 1.7 m, without lungs."""
    return [
        Part(0, 230, (0, 0), (75, 95), 40),
        Part(200, 290, (0, 0), (60, 65), 40),
        Part(270, 900, (0, 0), (width, depth), 40),
        Part(880, 1700, (75, 0), (70, 80), 40),
        Part(880, 1700, (-75, 0), (70, 80), 40),
        Part(0, 200, (0, 0), (68, 88), 800),
        Part(4, 196, (0, 0), (62, 82), 35),
        Part(120, 320, (0, -15), (9, 9), -1000),
    ]


def lungs(
    top: float = 300.0, bottom: float = 530.0, radii: tuple[float, float] = (50, 75), hu: float = -820
) -> list[Part]:
    return [Part(top, bottom, (side * 80, 0), radii, hu) for side in (1, -1)]


def arms_down() -> list[Part]:
    return [Part(300, 1000, (side * 215, 10), (42, 45), 40) for side in (1, -1)]


def arms_up() -> list[Part]:
    """Arms over the head that touch each other above it, and a head rest between them."""
    return [
        *(Part(-220, 300, (side * 125, 15), (45, 45), 40) for side in (1, -1)),
        Part(-220, -150, (0, 15), (120, 30), 40),
        Part(-150, 200, (0, 105), (110, 14), -930),
    ]


def table(touching: bool = True) -> list[Part]:
    """A couch: a shell around foam as light as lung, along the whole scan."""
    y = 128.0 if touching else 165.0
    return [
        Part(-400, 2000, (0, y), (230, 20), 60, box=True),
        Part(-400, 2000, (0, y), (226, 16), -930, box=True),
    ]


def clothes() -> list[Part]:
    """A blanket around the trunk, painted below the body."""
    return [Part(250, 1500, (0, 0), (205, 130), -900), Part(250, 1500, (0, 0), (200, 125), -1000)]


def bowel_gas() -> list[Part]:
    return [
        Part(560, 620, (60, -40), (45, 35), -1000),
        Part(600, 780, (-90, -20), (30, 30), -1000),
        Part(640, 820, (95, -10), (28, 32), -1000),
    ]


@dataclass(frozen=True)
class Scan:
    """What is scanned of a body: from `top` to `bottom` mm below the vertex, on planes of `size` pixels."""

    parts: Sequence[Part] = field(default_factory=list)
    top: float = -20.0
    bottom: float = 950.0
    spacing: tuple[float, float, float] = (4.0, 5.0, 5.0)
    size: tuple[int, int] = (120, 120)
    noise: float = 15.0
    blank: tuple[int, int] = (0, 0)

    def with_parts(self, *more: Part, before: bool = False) -> Scan:
        return replace(self, parts=[*more, *self.parts] if before else [*self.parts, *more])

    @property
    def shape(self) -> tuple[int, int, int]:
        return (round((self.bottom - self.top) / self.spacing[0]), *self.size)

    def down(self) -> npt.NDArray[np.float64]:
        """Return how far below the vertex each slice is, feet first as petct stores them."""
        return self.bottom - (np.arange(self.shape[0]) + 0.5) * self.spacing[0]

    def slices(self, top: float, bottom: float) -> tuple[int, int]:
        """Return the half-open range of slices between two distances below the vertex."""
        inside = np.flatnonzero((self.down() > top) & (self.down() < bottom))
        return int(inside[0]), int(inside[-1]) + 1

    def render(self, seed: int = 0) -> Volume:
        """Return the CT, ``(z, y, x)``, z ascending towards the head; `blank` slices at either end are padding."""
        height, width = self.size
        y = ((np.arange(height) - (height - 1) / 2) * self.spacing[1])[:, None]
        x = ((np.arange(width) - (width - 1) / 2) * self.spacing[2])[None, :]
        down = self.down()
        ct = np.full(self.shape, -1000, np.float32)
        for part in self.parts:
            right, back = (x - part.centre[0]) / part.radii[0], (y - part.centre[1]) / part.radii[1]
            inside = np.maximum(abs(right), abs(back)) <= 1 if part.box else right**2 + back**2 <= 1
            planes = np.flatnonzero((down > part.top) & (down < part.bottom))
            if len(planes):
                ct[planes[0] : planes[-1] + 1, inside] = part.hu
        ct += self.noise * np.random.default_rng(seed).standard_normal(ct.shape, np.float32)
        ct = ct.round().clip(-1024, 3071)
        feet, head = self.blank
        ct[:feet] = -1024
        ct[self.shape[0] - head :] = -1024
        return ct.astype(np.int16)


def affine(spacing: Sequence[float], shape: Sequence[int], *, ascending: bool = True) -> list[list[float]]:
    """Return the affine of an axial volume, array index (z, y, x, 1) to LPS mm."""
    dz, dy, dx = spacing
    step, start = (dz, 0.0) if ascending else (-dz, dz * (shape[0] - 1))
    return [[0.0, 0.0, dx, 0.0], [0.0, dy, 0.0, 0.0], [step, 0.0, 0.0, start], [0.0, 0.0, 0.0, 1.0]]


def slabs(ct: npt.NDArray[Any]) -> Any:
    return lambda start, stop: ct[start:stop]
