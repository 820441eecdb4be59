"""Small records to feed to commands."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from petct_cli.volume.storage import save_volume

AFFINE = [[0.0, 0.0, 6.0, -190.0], [0.0, 6.0, 0.0, -190.0], [8.0, 0.0, 0.0, -800.0], [0.0, 0.0, 0.0, 1.0]]
SECTIONS = {
    "head_neck": "Hình ảnh bắt xạ theo đặc điểm sinh lý ở não.",
    "chest": "Nốt phổi phải kích thước 12 mm, tăng chuyển hóa FDG, SUVmax 5,3.",
    "abdomen_pelvis": "Không thấy tổn thương tăng chuyển hóa FDG ở gan, lách.",
    "musculoskeletal": "Tổn thương đốt sống ngực kích thước 15 mm, SUVmax 6,1. Các xương khác bình thường.",
}


_FOLDER = tempfile.TemporaryDirectory(prefix="petct-tests-")


@cache
def plain_ct(shape: tuple[int, ...]) -> str:
    """Write a body with lungs where the paper's fractions have the chest and return its path; the same for a shape."""
    depth, height, width = shape
    y, x = np.mgrid[:height, :width]

    def disc(row: float, column: float, radius: float) -> Any:
        return ((y + 0.5) / height - row) ** 2 + ((x + 0.5) / width - column) ** 2 < radius**2

    ct = np.full(shape, -1000, np.int16)
    ct[:, disc(0.5, 0.5, 0.42)] = 40
    ct[depth - round(0.55 * depth) : depth - round(0.20 * depth), disc(0.5, 0.3, 0.15) | disc(0.5, 0.7, 0.15)] = -800
    path = Path(_FOLDER.name) / f"ct_{depth}_{height}_{width}.b2nd"
    save_volume(path, ct)
    return str(path)


def volume(name: str, **changes: Any) -> dict[str, Any]:
    """Return the fields of a volume; a CT's file is there, so that regions can be found in it."""
    unit, dtype = ("HU", "int16") if name == "ct" else ("SUVbw", "float32")
    plain = {
        "path": f"vol/{name}.b2nd",
        "sha256": name * 4,
        "shape": [110, 64, 64],
        "spacing_mm": [8.0, 6.0, 6.0],
        "affine": AFFINE,
        "unit": unit,
        "dtype": dtype,
    }
    fields = {**plain, **changes}
    if name == "ct" and "path" not in changes and len(fields["shape"]) == 3 and min(fields["shape"]) > 0:
        fields["path"] = plain_ct(tuple(fields["shape"]))
    return fields


def study(identity: str = "s1", **changes: Any) -> dict[str, Any]:
    plain = {
        "type": "study",
        "schema": 1,
        "id": identity,
        "patient": f"P-{identity}",
        "report": {"lang": "vi", "sections": SECTIONS},
        "ct": volume("ct"),
        "pet": volume("pet"),
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def lines(*records: dict[str, Any] | bytes) -> bytes:
    return b"".join((record if isinstance(record, bytes) else orjson.dumps(record)) + b"\n" for record in records)
