"""A synthetic patient from the chest up: lungs, neck, skull, brain, and a face with nose, lips, eyes, chin and ears."""

from __future__ import annotations

import numpy as np

AIR, FAT, SOFT, BRAIN, BONE, LUNG = -1000, -90, 45, 36, 900, -850
APEX, VERTEX = 0.0, 270.0
"""z in mm (LPS) of the lung apex and of the top of the head; the patient's nose points to -y."""


def ellipsoid(points: np.ndarray, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """Which points (..., 3), LPS mm, lie inside."""
    return (((points - np.array(centre)) / np.array(radii)) ** 2).sum(axis=-1) <= 1


def patient(points: np.ndarray, *, arms_up: bool = False, couch: bool = True) -> dict[str, np.ndarray]:
    """HU at `points` (LPS mm) without noise, and masks: nose, brain, skull, face (all that must go), below."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    hu = np.full(points.shape[:-1], AIR, np.int16)

    def paint(mask: np.ndarray, value: int) -> np.ndarray:
        hu[mask] = value
        return mask

    if couch:
        paint((np.abs(x) < 220) & (y > 118) & (y < 122), 0)
        paint((np.abs(x) < 220) & (y >= 122) & (y < 150), -940)
        # A head rest: a thin hard trough, foam in it.
        ring = np.hypot(x, y - 10)
        paint((z > 120) & (y > 0) & (ring > 112) & (ring < 116), 50)
        paint((z > 120) & (y > 40) & (ring > 104) & (ring <= 112), -930)
    for sign in (-1, 1):
        if arms_up:
            paint((np.hypot(x - sign * 165, y) < 38) & (z > -20), SOFT)
            paint((np.hypot(x - sign * 165, y) < 11) & (z > -20), BONE)
    paint(((x / 170) ** 2 + (y / 108) ** 2 <= 1) & (z < 25), FAT)
    paint(((x / 155) ** 2 + (y / 93) ** 2 <= 1) & (z < 20), SOFT)
    paint(((x / 60) ** 2 + ((y - 10) / 60) ** 2 <= 1) & (z < 160), SOFT)
    for sign in (-1, 1):
        paint(ellipsoid(points, (sign * 75, 5, -120), (62, 76, 120)), LUNG)
    paint((np.hypot(x, y - 45) < 18) & (z < 170), BONE)
    paint((np.hypot(x, y + 5) < 8) & (z < 130), AIR)

    head = ellipsoid(points, (0, 5, 185), (78, 97, 85))
    jaw = ellipsoid(points, (0, -25, 140), (55, 60, 48))
    nose = ellipsoid(points, (0, -98, 165), (16, 24, 22))
    chin = ellipsoid(points, (0, -78, 108), (22, 18, 16))
    lips = ellipsoid(points, (0, -86, 132), (26, 10, 9))
    ears = ellipsoid(points, (84, 10, 175), (12, 18, 30)) | ellipsoid(points, (-84, 10, 175), (12, 18, 30))
    for part in (head, jaw, nose, chin, lips, ears):
        paint(part, SOFT)
    skull = ellipsoid(points, (0, 8, 195), (70, 88, 68))
    paint(skull, BONE)
    brain = paint(ellipsoid(points, (0, 8, 197), (63, 81, 60)), BRAIN)
    face_bones = ellipsoid(points, (0, -20, 145), (45, 48, 38)) & ~skull
    paint(face_bones, BONE)
    paint(ellipsoid(points, (0, -20, 145), (38, 41, 31)) & ~skull, SOFT)
    paint(ellipsoid(points, (0, -50, 152), (12, 22, 22)) & ~skull, AIR)
    for sign in (-1, 1):
        paint(ellipsoid(points, (sign * 30, -72, 180), (12, 14, 12)), 10)
    skin = head | jaw | nose | chin | lips | ears
    outside = ~ellipsoid(points, (0, 5, 185), (80, 99, 87)) & ~ellipsoid(points, (0, -25, 140), (56, 61, 49))
    return {
        "hu": hu,
        "nose": nose & outside,
        "lips": lips & outside,
        "ears": ears & ~ellipsoid(points, (0, 5, 185), (80, 99, 87)),
        "brain": brain,
        "bone": hu == BONE,
        "below": z < APEX,
        "skin": skin,
    }


def grid(
    spacing: tuple[float, float, float] = (3.0, 2.0, 2.0), z: tuple[float, float] = (-240.0, 285.0)
) -> tuple[np.ndarray, np.ndarray]:
    """An axial grid: its points (slices, rows, columns, 3), and the position (x, y, z) of each slice."""
    zs = np.arange(z[0], z[1], spacing[0])
    ys, xs = np.arange(-180, 200, spacing[1]), np.arange(-230, 230, spacing[2])
    points = np.stack(np.meshgrid(zs, ys, xs, indexing="ij")[::-1], axis=-1)
    return points, points[:, 0, 0]
