"""A PET that is not in SUV: samples say so, nothing is asked of its SUV, and its pictures show it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Result
from PIL import Image
from samples import lines, plain_ct, study, volume

from petct_cli.core.errors import RecordError
from petct_cli.core.hashing import sha256_array
from petct_cli.core.records import Sample
from petct_cli.dataset.pictures import region_pictures
from petct_cli.model.inputs import load_region
from petct_cli.volume.render import pet_window
from petct_cli.volume.storage import load_volume, save_volume

Petct = Callable[..., Result]
SHAPE = (110, 64, 64)
TASKS = ("pair", "--task", "report,vqa,compare", "--split", "test")


def of_unit(unit: str, *names: str) -> bytes:
    return lines(*(study(name, pet=volume("pet", unit=unit)) for name in names))


@pytest.mark.parametrize("unit", ["stored", "Bq/ml"])
def test_samples_and_slices_say_what_the_pet_is_in(petct: Petct, unit: str) -> None:
    for command in (("pair", "--split", "test"), ("pair", "--slices", "--split", "test")):
        found = petct(*command, stdin=of_unit(unit, "a")).records
        assert {(image["modality"], image.get("unit")) for one in found for image in one["images"]} == {
            ("CT", None),
            ("PT", unit),
        }
        plain = petct(*command, stdin=of_unit("SUVbw", "a")).records
        assert not [image for one in plain for image in one["images"] if "unit" in image]


@pytest.mark.parametrize("unit", ["stored", "Bq/ml", "SUVlbm"])
def test_no_suv_is_asked_or_compared(petct: Petct, unit: str) -> None:
    def told(made: Result) -> tuple[set[str], str]:
        kinds = {one["question"]["kind"] for one in made.records if one["task"] == "vqa"}
        return kinds, " ".join(one["reference"] for one in made.records if one["task"] == "compare")

    kinds, compared = told(petct(*TASKS, stdin=of_unit("SUVbw", "a", "b")))
    assert "suv" in kinds
    assert "SUVmax" in compared
    made = petct(*TASKS, stdin=of_unit(unit, "a", "b"))
    assert told(made)[0] == kinds - {"suv"}
    assert told(made)[1]
    assert "SUVmax" not in told(made)[1]
    assert f"a: PET in {unit}: no SUVmax is asked or compared" in made.stderr


@pytest.mark.parametrize("unit", ["stored", "Bq/ml"])
def test_pictures_of_stored_values_are_not_saturated(petct: Petct, tmp_path: Path, unit: str) -> None:
    hot = np.zeros(SHAPE, np.float32)
    hot[:, 16:48, 16:48] = 900.0
    hot[50:56, 28:34, 28:34] = 20000.0
    save_volume(tmp_path / "pet.b2nd", hot)
    pet = volume("pet", path=str(tmp_path / "pet.b2nd"), sha256=sha256_array(hot), unit=unit)
    made = petct("pair", "--export", "trl", "--export-dir", "ex", stdin=lines(study("a", pet=pet)), cwd=tmp_path)
    assert made.code == 0, made.stderr
    levels = np.asarray(Image.open(tmp_path / "ex/images/a/chest_pet.png").convert("L"))
    assert np.unique(levels[:, : levels.shape[1] // 2]).size > 2  # air, body and lesion: three greys at least
    window = pet_window(unit, hot.max(axis=1))
    assert window == (0.0, 900.0)
    ct = load_volume(plain_ct(SHAPE))
    in_suv = region_pictures(ct, hot / 900 * 8, (8.0, 6.0, 6.0))["pet"]
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(in_suv))),
        np.asarray(Image.open(io.BytesIO(region_pictures(ct, hot, (8.0, 6.0, 6.0), window)["pet"]))),
    )


def test_the_card_does_not_call_it_suv(petct: Petct, tmp_path: Path) -> None:
    def said(*studies: dict[str, Any]) -> str:
        assert petct("pair", "--card", "card.md", stdin=lines(*studies), cwd=tmp_path).code == 0
        return (tmp_path / "card.md").read_text("utf-8")

    stored = study("a", pet=volume("pet", unit="stored"))
    assert "PET in stored values that are no SUV on one grid" in said(stored)
    assert "PET in SUVbw on one grid" in said(study("b"))
    assert "PET in SUVbw (2 studies), Bq/ml, not SUV (1 studies) on one grid" in said(
        study("a", pet=volume("pet", unit="Bq/ml")), study("b"), study("c")
    )


def test_the_model_does_not_read_it(petct: Petct) -> None:
    (sample, *_) = petct("pair", stdin=of_unit("Bq/ml", "a")).records
    with pytest.raises(RecordError, match="not in SUV"):
        load_region(Sample.model_validate(sample))
