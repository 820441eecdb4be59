"""Text in pictures, read by tesseract where it is installed. What it reads never leaves this module."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.dicom.deid.known import Known
from petct_cli.dicom.deid.pixels import PixelFormat, Words

Picture = npt.NDArray[np.uint8]

_READ, _CONFIDENT = 30.0, 80.0
_FEW_WORDS = 3
_SHORTEST_WORD = 3
_MOST_FRAMES = 16
_WIDTH = 1600
"""Pixels across that pictures are enlarged to: scanners write letters of 8 to 14 pixels, tesseract wants 20 to 40."""
_TIMEOUT_S = 300
_ENLARGED_AT_MOST = 4


def tesseract_version() -> str:
    """Return the version of the tesseract that is installed, which decides what it reads.

    Raises
    ------
    UsageError
        ``ocr_missing``.
    """
    program = shutil.which("tesseract")
    if program is not None:
        said = subprocess.run([program, "--version"], check=False, capture_output=True).stdout.decode(
            "ascii", "replace"
        )
        if said.startswith("tesseract "):
            return said.split()[1]
    raise UsageError("ocr_missing", "--ocr needs the program tesseract", "install it (apt-get install tesseract-ocr)")


def shows_text(words: Words, form: PixelFormat, known: Known) -> bool:
    """Say whether text stands in an image: one of the patient's own values, or more than a few confident words.

    Of many frames, some are looked at, the first and the last among them.

    Raises
    ------
    RecordError
        ``ocr_failed``.
    """
    count = min(form.frames, _MOST_FRAMES)
    frames = np.unique(np.linspace(0, form.frames - 1, count).round().astype(int))
    return any(_is_text(_read(picture), known) for frame in frames for picture in _pictures(words[frame], form))


def _is_text(lines: Sequence[Sequence[tuple[str, float]]], known: Known) -> bool:
    confident = sum(
        confidence >= _CONFIDENT and sum(map(str.isalnum, word)) >= _SHORTEST_WORD
        for line in lines
        for word, confidence in line
    )
    if confident > _FEW_WORDS:
        return True
    texts = [" ".join(word for word, _ in line) for line in lines]
    # A name may go on in the next line.
    return any(known.find(text) for text in (*texts, " ".join(texts)))


def _pictures(words: Words, form: PixelFormat) -> Iterator[Picture]:
    """Yield one frame as 8-bit grey, enlarged, in several windows: text may be brightest of all, or just bright."""
    values = form.values(words).astype(np.float32)
    if form.samples == 3:
        weights = np.array([1, 0, 0] if form.photometric == "YBR_FULL" else [0.299, 0.587, 0.114], np.float32)
        grey = values @ weights
    else:
        grey = values[..., 0]
    # What was blacked out must not set the scale of the rest; nor, in one of the windows, may a few voxels.
    shown = grey[(grey > form.limits[0]) & (grey < form.limits[1])]
    low, usual, bright, high = np.percentile(shown if shown.size > grey.size // 4 else grey, (1.0, 98.0, 99.5, 100.0))
    if high == bright:
        high = float(grey.max())
    for start, stop in ((low, high), (low, bright), (usual, high)):
        if stop > start:
            yield _enlarged((np.clip((grey - start) / (stop - start), 0, 1) * 255).round().astype(np.uint8))


def _enlarged(levels: Picture) -> Picture:
    from PIL import Image

    factor = min(_ENLARGED_AT_MOST, max(1, round(_WIDTH / levels.shape[1])))
    size = levels.shape[1] * factor, levels.shape[0] * factor
    large = np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC), np.uint8)
    # Black on white is what tesseract reads best.
    return 255 - large if levels.mean() < 128 else large


def _read(picture: Picture) -> list[list[tuple[str, float]]]:
    """Return the words of a picture with their confidence, by line."""
    from PIL import Image

    program = shutil.which("tesseract")
    if program is None:
        raise UsageError("ocr_missing", "--ocr needs the program tesseract")
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG", compress_level=1, dpi=(300, 300))
    try:
        done = subprocess.run(
            [program, "stdin", "stdout", "--psm", "11", "tsv"],
            check=False,
            input=png.getvalue(),
            capture_output=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise RecordError("ocr_failed", "tesseract could not be run on an image") from None
    if done.returncode != 0:
        raise RecordError("ocr_failed", f"tesseract failed on an image with exit code {done.returncode}")
    lines: dict[tuple[Any, ...], list[tuple[str, float]]] = {}
    for row in _rows(done.stdout.decode("utf-8", "replace")):
        confidence = float(row["conf"])
        if confidence >= _READ and row["text"].strip():
            place = (row["page_num"], row["block_num"], row["par_num"], row["line_num"])
            lines.setdefault(place, []).append((row["text"].strip(), confidence))
    return list(lines.values())


def _rows(table: str) -> Iterator[dict[str, str]]:
    for row in csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row.get("text") is not None and row.get("conf") is not None:
            yield row
