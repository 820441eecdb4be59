"""Volumes on disk: ``.b2nd`` (blosc2, for random crops) and ``.nii.gz`` (for exchange).

Arrays are ``(z, y, x)``; affines map array index ``(z, y, x, 1)`` to LPS mm. Equal input gives equal bytes.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import InputError, UsageError
from petct_cli.core.store import start_writing_back
from petct_cli.core.threads import in_threads
from petct_cli.volume import nifti

CHUNK = (32, 64, 64)
"""Chunks have at most this shape: near a training crop. An axis is cut into even parts, for padding costs time."""
_BLOCK_SLICES = 10
_SPECIAL_AT, _SPECIAL_ZERO = 31, 1
_ZERO_OFFSET = np.int64(_SPECIAL_ZERO << 56) | np.int64(-1 << 63)
_AFFINE_KEY = "affine_lps"
SUFFIXES = {"b2nd": ".b2nd", "nifti": ".nii.gz"}
"""File name suffix of each ``--format``."""


def save_volume(path: Path, array: npt.NDArray[Any], affine: npt.ArrayLike | None = None, threads: int = 1) -> None:
    """Write one volume; the suffix of `path` (``.b2nd``, ``.nii``, ``.nii.gz``) chooses the format.

    Parameters
    ----------
    path
        File to write; an existing one is replaced. Atomicity is the caller's (`petct_cli.core.store`).
    array
        Shape ``(z, y, x)``; int16 HU for CT, float32 SUVbw for PET.
    affine
        4x4, array index ``(z, y, x, 1)`` to LPS mm, or None where the geometry is unknown.
    threads
        How many to use; the bytes do not depend on it.

    Raises
    ------
    UsageError
        ``volume_format``: an unknown suffix.
    """
    matrix = None if affine is None else np.asarray(affine, dtype=np.float64)
    if path.name.endswith(".b2nd"):
        _save_b2nd(path, array, matrix, threads)
    elif path.name.endswith(".nii.gz"):
        path.write_bytes(nifti.gzip_bytes(nifti.encode(array, matrix)))
    elif path.name.endswith(".nii"):
        path.write_bytes(nifti.encode(array, matrix))
    else:
        raise UsageError("volume_format", f"unknown volume format: {path.name}", "use .b2nd, .nii or .nii.gz")


def _save_b2nd(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None, threads: int) -> None:
    array = np.asarray(array, dtype=array.dtype.newbyteorder("<"))
    chunk, block = _chunk_and_block(array.shape)
    # Blocks and threads are fixed because blosc2 would otherwise derive them from the machine's caches and cores.
    how = {
        "codec": blosc2.Codec.LZ4,
        "clevel": 1,
        "filters": [blosc2.Filter.BITSHUFFLE],
        "filters_meta": [0],
        "splitmode": blosc2.SplitMode.NEVER_SPLIT,
        "nthreads": 1,
    }
    empty = blosc2.empty(
        array.shape, array.dtype, chunks=chunk, blocks=block, contiguous=True, cparams=how, dparams={"nthreads": 1}
    )
    if affine is not None:
        empty.schunk.vlmeta[_AFFINE_KEY] = affine.tolist()
    how |= {"typesize": array.itemsize, "blocksize": int(np.prod(block)) * array.itemsize}
    corners = list(product(*(range(0, n, c) for n, c in zip(array.shape, chunk, strict=True))))

    def compressed(corner: tuple[int, ...]) -> bytes:
        part = array[tuple(slice(at, at + size) for at, size in zip(corner, chunk, strict=True))]
        if part.shape != chunk:
            whole = np.zeros(chunk, array.dtype)
            whole[tuple(map(slice, part.shape))] = part
            part = whole
        # Blocks are whole rows of the chunk, so that its bytes in C order are those of its blocks one after the other.
        return bytes(blosc2.compress2(np.ascontiguousarray(part), **how))

    frame = _filled(empty.to_cframe(), in_threads(compressed, corners, threads))
    # Written by us and not by blosc2, whose faults do not say that the disk is full.
    with path.open("wb") as file:
        file.writelines(frame)
        file.flush()
        start_writing_back(file.fileno())


def _filled(frame: bytes, chunks: list[bytes]) -> list[bytes]:
    """Return the pieces of the contiguous frame that an `empty` one becomes with these chunks.

    blosc2 itself takes four times as long to put compressed chunks into a frame as to compress them. The format is the
    published "Blosc2 Contiguous Frame Format": header, chunks, a chunk with the offsets of the chunks, trailer. Chunks
    of nothing but zeros are not stored; a mark stands for their offset.
    """
    header_bytes = int.from_bytes(frame[11:15], "big")
    index_bytes = int.from_bytes(frame[header_bytes + 12 : header_bytes + 16], "little")
    trailer = frame[header_bytes + index_bytes :]
    is_zero = np.array([chunk[_SPECIAL_AT] >> 4 & 7 == _SPECIAL_ZERO for chunk in chunks], bool)
    sizes = np.array([len(chunk) for chunk in chunks], "<i8") * ~is_zero
    offsets = np.where(is_zero, _ZERO_OFFSET, np.cumsum(sizes) - sizes)
    index = blosc2.compress2(offsets, codec=blosc2.Codec.LZ4, clevel=1, typesize=8, nthreads=1) if chunks else b""
    total = header_bytes + int(sizes.sum()) + len(index) + len(trailer)
    header = bytearray(frame[:header_bytes])
    header[16:24] = total.to_bytes(8, "big")
    header[39:47] = int(sizes.sum()).to_bytes(8, "big")
    stored = [chunk for chunk, zero in zip(chunks, is_zero, strict=True) if not zero]
    return [bytes(header), *stored, bytes(index), trailer]


def _chunk_and_block(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    even = [-(-n // -(-n // most)) if n else 1 for n, most in zip(shape, CHUNK, strict=True)]
    blocks = -(-even[0] // _BLOCK_SLICES)
    slices = -(-even[0] // blocks)
    return (slices * blocks, *even[1:]), (slices, *even[1:])


def load_volume(path: Path | str, region: Sequence[slice] | None = None) -> npt.NDArray[Any]:
    """Read a volume, or a box of it, as a native-endian array of axes ``(z, y, x)``.

    Parameters
    ----------
    path
        A ``.b2nd``, ``.nii`` or ``.nii.gz`` file.
    region
        Up to three slices with step 1, within the volume; an axis without one is read whole. Only the touched chunks
        of a ``.b2nd`` are read. None reads everything.

    Returns
    -------
    ndarray
        In the type it is stored in: int16 HU of a CT, float32 or float16 SUV of a PET.

    Raises
    ------
    InputError
        ``volume_missing``: no such file. ``bad_volume``, ``bad_nifti``: damaged or of an unknown format.
        ``outside_volume``, ``empty_region``: the region is not within the volume, or holds nothing; numpy would return
        less than was asked for.
    UsageError
        ``bad_region``: not up to three slices of whole numbers with step 1.
    """
    path = Path(path)
    if not path.name.endswith(".b2nd"):
        array, _ = _read_nifti(path)
        return array if region is None else np.ascontiguousarray(array[_box(region, array.shape)])
    stored = _open_b2nd(path)
    whole = tuple(slice(None) for _ in stored.shape)
    return np.asarray(stored[whole if region is None else _box(region, stored.shape)])


def _box(region: Sequence[slice], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return a region as one slice per axis with both ends given."""
    if isinstance(region, slice) or len(region) > len(shape) or not all(isinstance(one, slice) for one in region):
        raise UsageError("bad_region", f"a region is up to {len(shape)} slices, such as (slice(10, 42), slice(0, 64))")
    box = []
    for axis, length in enumerate(shape):
        wanted = region[axis] if axis < len(region) else slice(None)
        try:
            start = 0 if wanted.start is None else operator.index(wanted.start)
            stop = length if wanted.stop is None else operator.index(wanted.stop)
        except TypeError:
            raise UsageError("bad_region", "the slices of a region start and stop at whole numbers") from None
        if wanted.step not in (None, 1):
            raise UsageError("bad_region", "the slices of a region have step 1", "take every other voxel afterwards")
        if start < 0 or stop < 0 or start > length or stop > length:
            message = f"region {start}:{stop} of axis {axis} leaves the volume, which has {length} voxels there"
            raise InputError("outside_volume", message)
        if start >= stop:
            raise InputError("empty_region", f"region {start}:{stop} of axis {axis} holds no voxels")
        box.append(slice(start, stop))
    return tuple(box)


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
