"""NIfTI-1 single files (``.nii``, ``.nii.gz``), the exchange format: enough of it to write and read volumes exactly.

The byte layout is that of ``nifti1.h`` (https://nifti.nimh.nih.gov/nifti-1). Arrays are ``(z, y, x)`` and affines map
array index ``(z, y, x, 1)`` to LPS mm, as everywhere in petct; the file holds ``(i, j, k) = (x, y, z)`` and RAS mm.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import InputError

HEADER_BYTES = 348
DATA_OFFSET = 352
_XFORM_SCANNER = 1
_UNITS_MM = 2
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, mtime 0, unknown system

_TYPE_CODES: dict[str, int] = {
    "uint8": 2,
    "int16": 4,
    "int32": 8,
    "float32": 16,
    "float64": 64,
    "int8": 256,
    "uint16": 512,
    "uint32": 768,
    "int64": 1024,
    "uint64": 1280,
}
_TYPE_NAMES = {code: name for name, code in _TYPE_CODES.items()}
_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSE_AXES = [2, 1, 0, 3]


def encode(array: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None) -> bytes:
    """Return the bytes of a ``.nii`` file.

    Parameters
    ----------
    array
        Volume of shape ``(z, y, x)``, any type that NIfTI knows.
    affine
        4x4, array index ``(z, y, x, 1)`` to LPS mm; None leaves both transforms of the header unset.

    Raises
    ------
    ValueError
        `array` is not three-dimensional or has a type that NIfTI does not know.
    """
    if array.ndim != 3:
        raise ValueError(f"a volume has three axes, this array has {array.ndim}")
    if array.dtype.name not in _TYPE_CODES:
        raise ValueError(f"NIfTI has no type {array.dtype.name}")
    ras = None if affine is None else _RAS_FROM_LPS @ np.asarray(affine, dtype=np.float64)[:, _REVERSE_AXES]
    little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return _header(array.shape, array.dtype, ras) + b"\0" * (DATA_OFFSET - HEADER_BYTES) + little_endian.tobytes()


def _header(shape: tuple[int, ...], dtype: np.dtype[Any], ras: npt.NDArray[np.float64] | None) -> bytes:
    nz, ny, nx = shape
    steps = np.ones(3) if ras is None else np.linalg.norm(ras[:3, :3], axis=0)
    qfac, quaternion = (1.0, None) if ras is None else _quaternion(ras[:3, :3] / steps)
    header = bytearray(HEADER_BYTES)
    struct.pack_into("<i", header, 0, HEADER_BYTES)
    header[38] = ord("r")
    struct.pack_into("<8h", header, 40, 3, nx, ny, nz, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _TYPE_CODES[dtype.name], dtype.itemsize * 8)
    struct.pack_into("<8f", header, 76, qfac, *steps, 0.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, float(DATA_OFFSET), 1.0, 0.0)
    header[123] = _UNITS_MM
    if ras is not None:
        struct.pack_into("<2h", header, 252, 0 if quaternion is None else _XFORM_SCANNER, _XFORM_SCANNER)
        if quaternion is not None:
            struct.pack_into("<6f", header, 256, *quaternion, *ras[:3, 3])
        struct.pack_into("<12f", header, 280, *ras[:3].ravel())
    struct.pack_into("4s", header, 344, b"n+1\0")
    return bytes(header)


def _quaternion(directions: npt.NDArray[np.float64]) -> tuple[float, tuple[float, float, float] | None]:
    """Return (qfac, (b, c, d)) of orthonormal `directions`; no quaternion where they are sheared."""
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-5):
        return 1.0, None
    qfac = 1.0 if np.linalg.det(directions) > 0 else -1.0
    r = directions * np.array([1.0, 1.0, qfac])
    # The eigenvector form (Bar-Itzhack 2000) has no special cases for half turns, which are common in medical images.
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0.0, 0.0, 0.0],
            [r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], 0.0, 0.0],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1], 0.0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    values, vectors = np.linalg.eigh(k / 3.0)
    b, c, d, a = (float(v) + 0.0 for v in vectors[:, int(np.argmax(values))])
    sign = -1.0 if a < 0 else 1.0
    return qfac, (sign * b, sign * c, sign * d)


def gzip_bytes(data: bytes, level: int = 1) -> bytes:
    """Return `data` as one gzip member that names neither time, file nor system, so equal input gives equal bytes."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    trailer = struct.pack("<2I", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"".join((_GZIP_HEADER, deflate.compress(data), deflate.flush(), trailer))


def decode(data: bytes, *, read_only: bool = False) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64] | None]:
    """Return (array ``(z, y, x)``, affine to LPS mm or None) of a ``.nii`` file's bytes.

    Voxels keep the stored type unless the header scales them (``scl_slope``), which makes them float32.

    Parameters
    ----------
    read_only
        Let the array be a view of `data` where it can.

    Raises
    ------
    InputError
        ``bad_nifti``: not a NIfTI-1 single file, an unknown type, not three-dimensional, or shorter than it says.
    """
    if len(data) < DATA_OFFSET or data[344:347] != b"n+1":
        raise InputError("bad_nifti", "not a NIfTI-1 single file")
    order = "<" if struct.unpack_from("<i", data, 0)[0] == HEADER_BYTES else ">"
    rank, nx, ny, nz, *rest = struct.unpack_from(f"{order}8h", data, 40)
    if not 2 <= rank <= 7 or min(nx, ny) < 1 or any(n > 1 for n in rest[: max(rank - 3, 0)]):
        raise InputError("bad_nifti", "the NIfTI file does not hold one three-dimensional volume")
    nz = nz if rank >= 3 else 1
    code = struct.unpack_from(f"{order}h", data, 70)[0]
    if code not in _TYPE_NAMES:
        raise InputError("bad_nifti", f"NIfTI type code {code} is not a plain number")
    stored = np.dtype(_TYPE_NAMES[code]).newbyteorder(order)  # type: ignore[arg-type]
    offset, slope, intercept = struct.unpack_from(f"{order}3f", data, 108)
    start = int(offset) if offset >= DATA_OFFSET else DATA_OFFSET
    count = nx * ny * nz
    if len(data) < start + count * stored.itemsize:
        raise InputError("bad_nifti", "the NIfTI file is shorter than its header says")
    array: npt.NDArray[Any] = np.frombuffer(data, stored, count, start).reshape(nz, ny, nx)
    array = array.astype(stored.newbyteorder("="), copy=not read_only)
    if math.isfinite(slope) and math.isfinite(intercept) and slope != 0.0 and (slope, intercept) != (1.0, 0.0):
        scaled = np.empty(array.shape, np.float32)
        for z, plane in enumerate(array):  # by slices: in float64 the whole would be four times as large as it is
            scaled[z] = plane * np.float64(slope) + np.float64(intercept)
        array = scaled
    ras = _ras_affine(data, order)
    return array, None if ras is None else _RAS_FROM_LPS @ ras[:, _REVERSE_AXES]


def _ras_affine(data: bytes, order: str) -> npt.NDArray[np.float64] | None:
    qform, sform = struct.unpack_from(f"{order}2h", data, 252)
    if sform > 0:
        ras = np.eye(4)
        ras[:3] = np.array(struct.unpack_from(f"{order}12f", data, 280)).reshape(3, 4)
        return ras
    return _qform_ras(data, order) if qform > 0 else None


def qform_affine(data: bytes) -> npt.NDArray[np.float64] | None:
    """Return the affine to LPS mm of the header's quaternion where it is set, whatever its matrix says."""
    order = "<" if struct.unpack_from("<i", data, 0)[0] == HEADER_BYTES else ">"
    if struct.unpack_from(f"{order}h", data, 252)[0] <= 0:
        return None
    return np.asarray(_RAS_FROM_LPS @ _qform_ras(data, order)[:, _REVERSE_AXES])


def _qform_ras(data: bytes, order: str) -> npt.NDArray[np.float64]:
    ras = np.eye(4)
    qfac, *steps = struct.unpack_from(f"{order}4f", data, 76)
    b, c, d, *origin = struct.unpack_from(f"{order}6f", data, 256)
    a = max(0.0, 1.0 - b * b - c * c - d * d) ** 0.5
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    ras[:3, :3] = rotation * np.array([steps[0], steps[1], steps[2] * (-1.0 if qfac < 0 else 1.0)])
    ras[:3, 3] = origin
    return ras


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a ``.nii`` or ``.nii.gz`` file, unpacked.

    Raises
    ------
    InputError
        ``bad_nifti``: damaged gzip.
    """
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    members = []
    while data.strip(b"\0"):  # parallel compressors write several members, tapes pad with zeros
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            members.append(unpack.decompress(data))
        except zlib.error as fault:
            raise InputError("bad_nifti", f"{path}: damaged gzip") from fault
        if not unpack.eof:
            raise InputError("bad_nifti", f"{path}: the gzip stream is cut short")
        data = unpack.unused_data
    return b"".join(members)
