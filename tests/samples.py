"""Small records to feed to commands."""

from __future__ import annotations

from typing import Any

import orjson

AFFINE = [[0.0, 0.0, 6.0, -190.0], [0.0, 6.0, 0.0, -190.0], [8.0, 0.0, 0.0, -800.0], [0.0, 0.0, 0.0, 1.0]]
SECTIONS = {
    "head_neck": "Hình ảnh bắt xạ theo đặc điểm sinh lý ở não.",
    "chest": "Nốt phổi phải kích thước 12 mm, tăng chuyển hóa FDG, SUVmax 5,3.",
    "abdomen_pelvis": "Không thấy tổn thương tăng chuyển hóa FDG ở gan, lách.",
    "musculoskeletal": "Tổn thương đốt sống ngực kích thước 15 mm, SUVmax 6,1. Các xương khác bình thường.",
}


def volume(name: str, **changes: Any) -> dict[str, Any]:
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
    return {**plain, **changes}


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
