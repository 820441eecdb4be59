"""The picture of a study's regions: head up, patient's right on the left, lines where the record says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import Scan, affine, lungs, slabs, trunk
from conftest import Result
from PIL import Image
from samples import lines, study, volume

from petct_cli.volume.region_preview import coronal_film, coronal_mip
from petct_cli.volume.storage import save_volume

Petct = Callable[..., Result]
BODY = Scan(trunk() + lungs()[:1])
MARGIN, GUTTER = 8, 190
BLUE, RED, GREEN = (0, 110, 200), (200, 60, 0), (0, 130, 70)


def written(folder: Path, scan: Scan, name: str, *, ascending: bool = True, unit: str = "SUVbw") -> dict[str, Any]:
    ct = scan.render()
    pet = np.zeros(scan.shape, np.float32)
    pet[-30:-10, 50:70, 85:95] = 20.0  # hot at the head, to the patient's left
    matrix = affine(scan.spacing, scan.shape, ascending=ascending)
    order = slice(None) if ascending else slice(None, None, -1)
    fields = {"shape": list(scan.shape), "spacing_mm": list(scan.spacing), "affine": matrix}
    for kind, array in (("ct", ct), ("pet", pet)):
        save_volume(folder / f"{name}_{kind}.b2nd", array[order], matrix)
    return study(
        name,
        ct=volume("ct", path=str(folder / f"{name}_ct.b2nd"), **fields),
        pet=volume("pet", path=str(folder / f"{name}_pet.b2nd"), **{**fields, "unit": unit}),
    )


def rows_of(picture: Image.Image, colour: tuple[int, int, int]) -> list[int]:
    left = np.asarray(picture)[:, 1]
    return [int(row) for row in np.flatnonzero((left == colour).all(axis=1))]


@pytest.mark.parametrize("ascending", [True, False])
def test_lines_stand_where_the_record_says(petct: Petct, tmp_path: Path, ascending: bool) -> None:
    record = written(tmp_path, BODY, "s1", ascending=ascending)
    plain = petct("pair", "--overlap", "0", stdin=lines(record))
    drawn = petct("pair", "--overlap", "0", "--preview", tmp_path / "look", stdin=lines(record))
    assert drawn.stdout == plain.stdout
    picture = Image.open(tmp_path / "look/s1.png")
    width, height = 300, round(BODY.shape[0] * 2)
    assert picture.size == (2 * width + GUTTER, height + 2 * MARGIN)
    # Where two regions meet, the line of the one shows the last row above the cut, that of the other the first below.
    starts = [record["region"]["z"] for record in drawn.records]
    slices = BODY.shape[0]
    tops = [slices - stop if ascending else start for start, stop in starts]
    assert rows_of(picture, BLUE)[0] == MARGIN
    assert rows_of(picture, RED)[0] == MARGIN + 2 * tops[1]
    assert rows_of(picture, GREEN) == [MARGIN + 2 * tops[2], MARGIN + height - 1]


def test_head_up_and_right_on_the_left(petct: Petct, tmp_path: Path) -> None:
    record = written(tmp_path, BODY, "s1")
    assert petct("pair", "--preview", tmp_path, stdin=lines(record)).code == 0
    picture = np.asarray(Image.open(tmp_path / "s1.png").convert("L")).astype(float)
    pet = picture[MARGIN:, 300 + GUTTER :]
    dark = np.argwhere(pet < 10)
    assert 0.02 < dark[:, 0].mean() / len(pet) < 0.15
    assert dark[:, 1].mean() > 200
    ct = picture[MARGIN + 170 : MARGIN + 270, :300]
    # The only lung is the left one, at x > 0: dark on the right of the picture.
    assert ct[:, 60:140].mean() > ct[:, 160:240].mean() + 20


def test_the_same_picture_every_time_and_any_jobs(petct: Petct, tmp_path: Path) -> None:
    records = [written(tmp_path, BODY, name) for name in ("s1", "s2")]
    for folder, jobs in (("a", "1"), ("b", "2")):
        assert petct("pair", "--preview", tmp_path / folder, "--jobs", jobs, stdin=lines(*records)).code == 0
    for name in ("s1.png", "s2.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_study_that_cannot_be_drawn_still_has_its_samples(petct: Petct, tmp_path: Path) -> None:
    result = petct("pair", "--preview", tmp_path / "look", stdin=lines(study("s1"), study("../s2")))
    assert result.code == 0
    assert len(result.records) == 6
    assert "s1: no preview: the PET cannot be read: no such file" in result.stderr
    assert "the id cannot be the name of a folder" in result.stderr
    assert not list(tmp_path.rglob("*.png"))


def test_a_short_scan_has_room_for_its_words(petct: Petct, tmp_path: Path) -> None:
    short = Scan(trunk() + lungs(), top=240, bottom=560)
    record = written(tmp_path, short, "s1", unit="raw")
    assert petct("pair", "--preview", tmp_path, "--regions", "anatomy", stdin=lines(record)).code == 0
    picture = Image.open(tmp_path / "s1.png")
    assert picture.size[1] == max(160, 3 * 4 * 14) + 2 * MARGIN


def test_preview_does_not_go_with_slices(petct: Petct, tmp_path: Path) -> None:
    result = petct("pair", "--slices", "--preview", tmp_path, stdin=lines(study()))
    assert result.code == 2
    assert "go with samples: not with --slices [bad_option]" in result.stderr


def test_projections_of_what_is_not_a_number() -> None:
    ct = np.full((40, 6, 5), np.nan, np.float32)
    ct[:, 2] = 3000
    film = coronal_film(slabs(ct), 40)
    assert film.shape == (40, 5)
    assert np.isfinite(film).all()
    pet = np.full((40, 6, 5), np.nan, np.float32)
    assert (coronal_mip(slabs(pet), 40) == 1).all()
    pet[3, 3, 3] = 32000
    assert coronal_mip(slabs(pet), 40, None).min() == 0
