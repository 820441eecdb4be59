"""Volumes on disk: ``.b2nd`` (blosc2, for random crops) and ``.nii.gz`` (for exchange).

Arrays are ``(z, y, x)``; affines map array index ``(z, y, x, 1)`` to LPS mm. Equal input gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import InputError, UsageError
from petct_cli.volume import nifti

CHUNK = (32, 64, 64)
BLOCK = (8, 64, 64)
_AFFINE_KEY = "affine_lps"
SUFFIXES = {"b2nd": ".b2nd", "nifti": ".nii.gz"}
"""File name suffix of each ``--format``."""


def save_volume(path: Path, array: npt.NDArray[Any], affine: npt.ArrayLike | None = None) -> None:
    """Write one volume; the suffix of `path` (``.b2nd``, ``.nii``, ``.nii.gz``) chooses the format.

    Parameters
    ----------
    path
        File to write; an existing one is replaced. Atomicity is the caller's (`petct_cli.core.store`).
    array
        Shape ``(z, y, x)``; int16 HU for CT, float32 SUVbw for PET.
    affine
        4x4, array index ``(z, y, x, 1)`` to LPS mm, or None where the geometry is unknown.

    Raises
    ------
    UsageError
        ``volume_format``: an unknown suffix.
    """
    matrix = None if affine is None else np.asarray(affine, dtype=np.float64)
    if path.name.endswith(".b2nd"):
        _save_b2nd(path, array, matrix)
    elif path.name.endswith(".nii.gz"):
        path.write_bytes(nifti.gzip_bytes(nifti.encode(array, matrix)))
    elif path.name.endswith(".nii"):
        path.write_bytes(nifti.encode(array, matrix))
    else:
        raise UsageError("volume_format", f"unknown volume format: {path.name}", "use .b2nd, .nii or .nii.gz")


def _save_b2nd(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None) -> None:
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    shape = array.shape
    # Blocks and threads are fixed because blosc2 would otherwise derive them from the machine's caches and cores.
    chunks = tuple(min(c, max(n, 1)) for c, n in zip(CHUNK, shape, strict=True))
    blocks = tuple(min(b, c) for b, c in zip(BLOCK, chunks, strict=True))
    stored = blosc2.asarray(
        array,
        chunks=chunks,
        blocks=blocks,
        contiguous=True,
        cparams={
            "codec": blosc2.Codec.ZSTD,
            "clevel": 1,
            "filters": [blosc2.Filter.BITSHUFFLE],
            "filters_meta": [0],
            "splitmode": blosc2.SplitMode.NEVER_SPLIT,
            "nthreads": 1,
        },
        dparams={"nthreads": 1},
    )
    if affine is not None:
        stored.schunk.vlmeta[_AFFINE_KEY] = affine.tolist()
    # Written by us and not by blosc2, whose faults do not say that the disk is full.
    path.write_bytes(stored.to_cframe())


def load_volume(path: Path | str, region: Sequence[slice] | None = None) -> npt.NDArray[Any]:
    """Read a volume, or a box of it, as a native-endian array of axes ``(z, y, x)``.

    Parameters
    ----------
    path
        A ``.b2nd``, ``.nii`` or ``.nii.gz`` file.
    region
        Up to three slices with step 1; only the touched chunks of a ``.b2nd`` are read. None reads everything.

    Raises
    ------
    InputError
        ``volume_missing``: no such file. ``bad_volume``, ``bad_nifti``: damaged or of an unknown format.
    """
    path = Path(path)
    if not path.name.endswith(".b2nd"):
        array, _ = _read_nifti(path)
        return array if region is None else np.ascontiguousarray(array[tuple(region)])
    stored = _open_b2nd(path)
    box = tuple(slice(None) for _ in stored.shape) if region is None else tuple(region)
    return np.asarray(stored[box])


def stored_shape(path: Path | str) -> tuple[int, ...]:
    """Return the shape ``(z, y, x)`` of a ``.b2nd`` volume without reading it.

    Raises
    ------
    InputError
        As `load_volume`.
    """
    return tuple(int(length) for length in _open_b2nd(Path(path)).shape)


def load_affine(path: Path | str) -> npt.NDArray[np.float64] | None:
    """Return the 4x4 affine (array index to LPS mm) of a stored volume; None where the geometry is unknown.

    Raises
    ------
    InputError
        As `load_volume`.
    """
    path = Path(path)
    if not path.name.endswith(".b2nd"):
        return _read_nifti(path)[1]
    stored = _open_b2nd(path)
    meta = stored.schunk.vlmeta.getall()
    return np.array(meta[_AFFINE_KEY], dtype=np.float64) if _AFFINE_KEY in meta else None


def _read_nifti(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64] | None]:
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError("bad_volume", f"{path}: unknown volume format")
    _require(path)
    return nifti.decode(nifti.read_bytes(path))


def _open_b2nd(path: Path) -> Any:
    _require(path)
    try:
        return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
    except (RuntimeError, ValueError, OSError) as fault:
        raise InputError("bad_volume", f"{path}: not a blosc2 volume, or a damaged one") from fault


def _require(path: Path) -> None:
    if not path.is_file():
        raise InputError("volume_missing", f"{path}: no such volume")
