"""SUV types and ``--assume``: numbers worked out by hand, through headers, the library and the command."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conftest import Result
from dicom_factory import write_series
from hypothesis import given
from hypothesis import strategies as st
from in_process import petct_here
from test_suv import SCAN, START, after

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.dicom.read import read_instance
from petct_cli.dicom.scan import scan_studies
from petct_cli.stages.convert import Convert
from petct_cli.volume.pet_header import PetHeader
from petct_cli.volume.series_volume import read_pet
from petct_cli.volume.storage import load_volume
from petct_cli.volume.suv import SuvResult, SuvRule, suv_factors
from petct_cli.volume.suv_assume import Assumptions, parse_assumptions
from petct_cli.volume.suv_types import SUV_TYPES

# A woman of 70 kg and 175 cm. Masses in kg; of a surface of 1.8481 m2 the "mass" that gives cm2/ml.
SURFACE_CM2 = 0.007184 * 70**0.425 * 175**0.725 * 1e4
MASS = {
    "BW": 70.0,
    "LBM": 1.07 * 70 - 148 * (70 / 175) ** 2,
    "LBMJAMES128": 1.07 * 70 - 148 * (70 / 175) ** 2,
    "LBMJANMA": 9270 * 70 / (8780 + 244 * 70 / 1.75**2),
    "IBW": 45.5 + 0.91 * (175 - 152),
    "BSA": SURFACE_CM2 / 1000,
}
OF_TYPE = {"bw": "BW", "lbm": "LBMJANMA", "lbm-james": "LBMJAMES128", "bsa": "BSA", "ibw": "IBW"}
UNIT = {"bw": "SUVbw", "lbm": "SUVlbm", "lbm-james": "SUVlbm", "bsa": "SUVbsa", "ibw": "SUVibw"}


def assuming(header: PetHeader, *texts: str, kind: str = "bw") -> SuvResult:
    return suv_factors([header], kind, parse_assumptions(texts))


@pytest.mark.parametrize("kind", OF_TYPE)
def test_activity_becomes_any_type(kind: str) -> None:
    result = suv_factors([START, START], kind)
    assert result.factor == pytest.approx(after(3600) * MASS[OF_TYPE[kind]] / 70, rel=1e-12)
    assert (result.type, SUV_TYPES[kind].unit, result.branch) == (kind, UNIT[kind], "BQML/START")
    wanted = {"weight_kg", "dose_bq", "half_life_s", "scan_time", "injection_time", "interval_s"}
    if kind != "bw":
        wanted |= {"formula", "height_m"} | ({"sex"} if kind != "bsa" else set())
    assert set(result.inputs) == wanted


@pytest.mark.parametrize("kind", OF_TYPE)
@pytest.mark.parametrize("stored", MASS)
def test_every_stored_type_becomes_every_type(stored: str, kind: str) -> None:
    header = replace(START, units="CM2ML" if stored == "BSA" else "GML", suv_type=stored, dose=None)
    result = suv_factors([header], kind)
    assert result.factor == pytest.approx(MASS[OF_TYPE[kind]] / MASS[stored], rel=1e-12)
    assert result.type == kind


@pytest.mark.parametrize("kind", OF_TYPE)
def test_values_of_the_wanted_type_need_no_body(kind: str) -> None:
    stored = OF_TYPE[kind]
    bare = replace(START, weight_kg=None, height_m=None, sex=None, dose=None)
    result = suv_factors([replace(bare, units="CM2ML" if stored == "BSA" else "GML", suv_type=stored)], kind)
    assert (result.factor, result.type, result.inputs) == (1.0, kind, {})


def test_factors_of_every_slice_are_converted() -> None:
    first = replace(START, decay_correction="NONE", corrected_image=frozenset({"ATTN"}))
    second = replace(first, acquisition_time=SCAN + timedelta(seconds=300))
    result = suv_factors([second, first], "bsa")
    ratio = SURFACE_CM2 / 70e3
    assert result.per_slice == pytest.approx((after(3960) * ratio, after(3660) * ratio), rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "code", "change"),
    [
        ("lbm", "suv_missing_height", {"height_m": None}),
        ("lbm", "suv_missing_height", {"height_m": 0.0}),
        ("bsa", "suv_missing_height", {"height_m": None}),
        ("ibw", "suv_absurd_height", {"height_m": 175.0}),
        ("lbm", "suv_missing_sex", {"sex": None}),
        ("lbm-james", "suv_missing_sex", {"sex": "U"}),
        ("ibw", "suv_missing_sex", {"sex": ""}),
        ("ibw", "suv_absurd_height", {"height_m": 1.0, "sex": "M"}),
        ("lbm", "suv_missing_weight", {"weight_kg": None, "units": "GML"}),
    ],
)
def test_types_refuse_what_they_lack(kind: str, code: str, change: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as fault:
        suv_factors([replace(START, **change)], kind)
    assert fault.value.code == code


BARE = replace(
    START, weight_kg=None, height_m=None, sex=None, dose=None, half_life_s=None, nuclide=None, injection_time=None
)


def test_a_bare_header_and_everything_assumed() -> None:
    told = ["weight_kg=70", "dose_mbq=350", "half_life_s=6586.2", "injection_time=10:00"]
    result = assuming(BARE, *told)
    assert result.factor == pytest.approx(after(3600), rel=1e-12)
    assert result.assumed == ("dose_bq", "half_life_s", "injection_time", "weight_kg")
    assert result.inputs["weight_kg"] == 70.0
    assert result.inputs["dose_bq"] == 350e6
    assert result.inputs["injection_time"] == "assumed"
    lean = assuming(BARE, *told, "height_m=1.75", "sex=f", kind="lbm")
    assert lean.factor == pytest.approx(after(3600) * MASS["LBMJANMA"] / 70, rel=1e-12)
    assert {"height_m", "sex"} <= set(lean.assumed)


@pytest.mark.parametrize(
    ("told", "change", "seconds", "assumed"),
    [
        ("injection_time=2024-03-05T09:30:00", {"injection_time": None}, 5400, ("injection_time",)),
        ("injection_time=20240304233000", {"injection_time": None}, 41400, ("injection_time",)),
        ("injection_time=11:30", {"injection_time": None}, 23.5 * 3600, ()),
        ("interval_s=3000", {"injection_time": None}, 3000, ("interval_s",)),
        (
            "interval_s=3000",
            {"injection_time": None, "series_time": None, "acquisition_time": None},
            3000,
            ("interval_s",),
        ),
        ("interval_s=3000", {"series_time": None, "acquisition_time": None}, 3000, ("interval_s",)),
        ("scan_time=11:20", {"series_time": None, "acquisition_time": None}, 4800, ("scan_time",)),
        ("scan_time=20240305112000", {"series_time": None, "acquisition_time": None}, 4800, ("scan_time",)),
        ("half_life_s=6586.2", {"half_life_s": 0.0, "nuclide": "Tc-99m"}, 3600, ("half_life_s",)),
        ("half_life_s=6600", {"half_life_s": None}, None, ("half_life_s",)),
        # What is there stays.
        ("half_life_s=6600", {}, 3600, ()),
        ("weight_kg=99", {}, 3600, ()),
        ("dose_bq=1e8", {}, 3600, ()),
        ("dose_bq=1e8", {"dose": 350.0}, 3600, ()),
        ("injection_time=08:00", {}, 3600, ()),
        ("interval_s=60", {}, 3600, ()),
        ("scan_time=08:00", {}, 3600, ()),
        ("height_m=1.1", {}, 3600, ()),
    ],
)
def test_assumed_values(told: str, change: dict[str, Any], seconds: float | None, assumed: tuple[str, ...]) -> None:
    header = replace(START, **change)
    if told == "injection_time=11:30":  # a clock later than the scan is yesterday's; for F-18 that is too long ago
        with pytest.raises(RecordError) as fault:
            assuming(header, told)
        assert fault.value.code == "suv_absurd_interval"
        return
    result = assuming(header, told)
    expected = 70e3 / (350e6 * 0.5 ** (3600 / 6600)) if seconds is None else after(seconds)
    assert result.factor == pytest.approx(expected, rel=1e-12)
    assert result.assumed == assumed


@pytest.mark.parametrize(
    ("code", "told", "change"),
    [
        ("suv_absurd_weight", "weight_kg=70", {"weight_kg": 70000.0}),
        ("suv_absurd_dose", "dose_mbq=350", {"dose": 0.35}),
        ("suv_absurd_half_life", "half_life_s=6586", {"half_life_s": 109.77}),
        ("suv_absurd_half_life", "half_life_s=4057.7", {"half_life_s": None}),
        ("suv_absurd_interval", "interval_s=80000", {"injection_time": None}),
        ("suv_injection_after_scan", "injection_time=20240305120000", {"injection_time": None}),
        ("suv_missing_weight", "dose_mbq=350", {"weight_kg": None}),
        ("suv_missing_frame_time", "scan_time=11:00", {
            "decay_correction": "NONE", "corrected_image": frozenset({"ATTN"}), "acquisition_time": None,
            "series_time": None,
        }),
    ],
)  # fmt: skip
def test_assumptions_do_not_make_absurd_headers_good(code: str, told: str, change: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as fault:
        assuming(replace(START, **change), told)
    assert fault.value.code == code


def test_a_value_that_some_slices_have_is_not_missing() -> None:
    with pytest.raises(RecordError) as fault:
        suv_factors([START, replace(START, weight_kg=None)], "bw", parse_assumptions(["weight_kg=70"]))
    assert fault.value.code == "suv_inconsistent"


def test_unused_assumptions_are_not_told() -> None:
    result = assuming(replace(BARE, units="GML"), "weight_kg=70", "height_m=1.75", "sex=F", "interval_s=3600")
    assert (result.factor, result.assumed) == (1.0, ())
    admin = replace(BARE, decay_correction="ADMIN")
    assert assuming(admin, "weight_kg=70", "dose_mbq=350", "interval_s=3600").assumed == ("dose_bq", "weight_kg")


def test_interval_without_decay_correction_counts_to_the_first_frame() -> None:
    first = replace(
        START, decay_correction="NONE", corrected_image=frozenset({"ATTN"}), injection_time=None, series_time=None
    )
    second = replace(first, acquisition_time=SCAN + timedelta(seconds=300))
    result = suv_factors([second, first], "bw", parse_assumptions(["interval_s=3600"]))
    assert result.per_slice == pytest.approx((after(3960), after(3660)), rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["weight=70", "weight_kg", "weight_kg=", "weight_kg=seventy", "weight_kg=0", "weight_kg=70,5", "weight_kg=70000",
     "height_m=175", "sex=X", "dose_bq=350", "dose_mbq=350e6", "half_life_s=109.77m", "injection_time=10",
     "injection_time=20240305", "scan_time=25:00", "interval_s=-1", "weight_kg=nan", "=70", ""],
)  # fmt: skip
def test_bad_assumptions_are_usage_errors_that_keep_the_value_to_themselves(text: str) -> None:
    with pytest.raises(UsageError) as fault:
        parse_assumptions([text])
    assert fault.value.code == "bad_assumption"
    value = text.partition("=")[2]
    assert len(value) < 4 or value not in str(fault.value)


@pytest.mark.parametrize(
    "texts",
    [["weight_kg=70", "weight_kg=71"], ["dose_bq=350e6", "dose_mbq=350"], ["injection_time=10:00", "interval_s=60"]],
)
def test_one_thing_is_said_once(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_assumptions(texts)


def test_a_typo_is_answered_with_the_name() -> None:
    with pytest.raises(UsageError, match="weight_kg was perhaps meant"):
        parse_assumptions(["wieght_kg=70"])


@given(st.sampled_from(["", "sex=", "scan_time=", "weight_kg=", "injection_time="]), st.text(max_size=20))
def test_any_text_is_read_or_refused(start: str, text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_assumptions([start + text])


def test_spelling_and_order_do_not_change_the_key() -> None:
    one = parse_assumptions(["weight_kg=70", "dose_mbq=350", "injection_time=10:00"])
    other = parse_assumptions(["injection_time=100000", "dose_bq=350000000", "weight_kg=70.0"])
    assert one == other
    assert str(one) == str(other) == "weight_kg=70.0 dose_bq=350000000.0 injection_time=10:00:00"
    assert str(Assumptions()) == ""
    assert parse_assumptions(["injection_time=2024-03-05T10:00:30"]).injection_time == datetime(2024, 3, 5, 10, 0, 30)
    assert parse_assumptions(["scan_time=0930"]).scan_time == time(9, 30)


VALUES = np.arange(5 * 4 * 4).reshape(5, 4, 4)


def test_the_command_writes_the_type_and_says_so(tmp_path: Path) -> None:
    write_series(tmp_path / "in", "PT", VALUES)
    for kind, unit in UNIT.items():
        (record,) = petct_here("convert", "in", "-o", kind, "--suv", kind, cwd=tmp_path).records
        pet = record["pet"]
        assert (pet["unit"], pet["suv"]["type"]) == (unit, kind)
        expected = VALUES * after(3600) * MASS[OF_TYPE[kind]] / 70
        np.testing.assert_allclose(load_volume(tmp_path / pet["path"]), expected, rtol=1e-6)


def test_options_of_suv_are_part_of_what_was_done(petct: Callable[..., Result], tmp_path: Path) -> None:
    write_series(tmp_path / "in", "PT", VALUES, PatientWeight=None)
    missing = petct_here("convert", "in", "-o", "out", cwd=tmp_path)
    assert (missing.code, missing.records[0]["error"]["code"]) == (1, "suv_missing_weight")
    told = {}
    for weight in ("70", "80"):
        (told[weight],) = petct_here(
            "convert", "in", "-o", "out", "--assume", f"weight_kg={weight}", cwd=tmp_path
        ).records
        assert told[weight]["pet"]["suv"]["assumed"] == ["weight_kg"]
    assert told["80"]["pet"]["suv"]["factor"] == pytest.approx(told["70"]["pet"]["suv"]["factor"] * 8 / 7)
    assert len({one["provenance"][-1]["options_sha256"] for one in told.values()}) == 2
    twice = ["--assume", "weight_kg=70", "--assume", "dose_mbq=9", "--suv", "bsa"]
    (lean,) = petct("convert", "in", "-o", "out", *twice, cwd=tmp_path).records
    assert (lean["pet"]["unit"], lean["pet"]["suv"]["assumed"]) == ("SUVbsa", ["weight_kg"])
    assert lean["pet"]["suv"]["inputs"]["dose_bq"] == 350e6
    for options in (["--assume", "weigth_kg=70"], ["--assume", "weight_kg"], ["--suv", "lean"]):
        failed = petct("convert", "in", "-o", "out", *options, cwd=tmp_path)
        assert (failed.code, failed.stdout) == (2, b"")


def test_library_refuses_what_the_command_does(tmp_path: Path) -> None:
    for options, code in (({"suv": "lean"}, "bad_suv_type"), ({"assume": ("x=1",)}, "bad_assumption")):
        with pytest.raises(UsageError) as fault:
            Convert(tmp_path, **options)
        assert fault.value.code == code


@pytest.mark.real
@pytest.mark.parametrize("kind", ["lbm", "lbm-james", "bsa", "ibw"])
def test_reference_objects_in_other_types(real_data: Path, tmp_path: Path, kind: str) -> None:
    # Their subject: 70 kg, 175 cm, sex O (the mean of both formulas).
    mean = {
        "lbm": (9270 * 70 / (6680 + 216 * 70 / 1.75**2) + 9270 * 70 / (8780 + 244 * 70 / 1.75**2)) / 2,
        "lbm-james": (77 - 128 * 0.16 + 74.9 - 148 * 0.16) / 2,
        "bsa": SURFACE_CM2 / 1000,
        "ibw": (48 + 1.06 * 23 + 45.5 + 0.91 * 23) / 2,
    }[kind]
    for name in ("0_0", "2_0", "2_3"):
        files = sorted((real_data / "ibsi_suv" / f"DRO_{name}").iterdir())
        header = pydicom.dcmread(files[0], stop_before_pixels=True)
        assert (float(header.PatientWeight), float(header.PatientSize), header.PatientSex) == (70, 1.75, "O")
        volume = read_pet([read_instance(path) for path in files], SuvRule(kind)).array
        inside = volume[volume > 0.001]
        found = [float(value) * 70 / mean for value in (inside.min(), np.median(inside), inside.max())]
        assert found == pytest.approx([0.20, 1.00, 4.00], abs=0.03 if name == "2_3" else 0.002)


@pytest.mark.real
def test_reference_object_without_its_dose_and_times(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "ibsi_suv" / "DRO_0_0"
    weight = injected = 0.0
    for path in sorted(source.iterdir()):
        dataset = pydicom.dcmread(path)
        tracer = dataset.RadiopharmaceuticalInformationSequence[0]
        weight, injected = float(dataset.PatientWeight), float(tracer.RadionuclideTotalDose)
        del dataset.PatientWeight, tracer.RadionuclideTotalDose, tracer.RadiopharmaceuticalStartTime
        for keyword in ("RadiopharmaceuticalStartDateTime",):
            if keyword in tracer:
                del tracer[keyword]
        dataset.save_as(tmp_path / path.name)
    told = (f"weight_kg={weight}", f"dose_bq={injected}", "interval_s=3600")
    (study,) = scan_studies([tmp_path])
    (record,) = Convert(tmp_path / "out", assume=told)(study)
    volume = load_volume(record.pet.path)  # type: ignore[attr-defined]
    inside = volume[volume > 0.01]
    assert [float(inside.min()), float(np.median(inside)), float(inside.max())] == pytest.approx(
        [0.20, 1.00, 4.00], abs=5e-4
    )
