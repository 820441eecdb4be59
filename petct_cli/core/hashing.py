"""SHA-256 of bytes, files, JSON values and arrays, always as lowercase hex."""

from __future__ import annotations

import hashlib
from os import PathLike
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from mmap import mmap

    import numpy as np
    from numpy.typing import NDArray


def sha256_bytes(data: bytes | memoryview | mmap) -> str:
    """Return the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | PathLike[str]) -> str:
    """Return the SHA-256 of the bytes of the file at `path`."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of `value` written as JSON with sorted keys, so that key order does not matter."""
    return sha256_bytes(orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY))


def sha256_array(array: NDArray[np.generic]) -> str:
    """Return the SHA-256 of an array: dtype, shape and voxels in C order, little-endian.

    The same values give the same hash whatever file format holds them, so a hash outlives its compression.
    """
    little = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{little.str}{list(array.shape)}".encode())
    contiguous = array.astype(little, order="C", copy=False)
    digest.update(contiguous.reshape(-1).view("u1").data if contiguous.size else b"")
    return digest.hexdigest()
