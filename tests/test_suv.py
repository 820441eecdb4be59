"""SUV: known answers of the IBSI reference objects, a real series against an independent conversion, every branch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import image
from hypothesis import given
from hypothesis import strategies as st

from petct_cli.core.errors import RecordError
from petct_cli.dicom.read import read_instance
from petct_cli.dicom.values import to_date, to_datetime, to_time
from petct_cli.volume.body_size import body_weight_factor
from petct_cli.volume.nuclides import find_nuclide
from petct_cli.volume.series_volume import read_pet
from petct_cli.volume.suv import PetHeader, pet_header, suv_factors
from petct_cli.volume.suv_private import PrivateSources

SCAN = datetime(2024, 3, 5, 11, 0, 0)
LAMBDA = math.log(2) / 6586.2
START = PetHeader(
    units="BQML",
    corrected_image=frozenset({"ATTN", "DECY"}),
    decay_correction="START",
    series_time=SCAN,
    acquisition_time=SCAN,
    frame_reference_s=60.0,
    frame_duration_s=120.0,
    injection_time=SCAN - timedelta(hours=1),
    dose=350e6,
    half_life_s=6586.2,
    nuclide="F-18",
    weight_kg=70.0,
    height_m=1.75,
    sex="F",
)


def after(seconds: float) -> float:
    """The factor of `START` when the dose decays for `seconds`."""
    return 70e3 / (350e6 * math.exp(-LAMBDA * seconds))


@pytest.mark.real
@pytest.mark.parametrize("name", ["0_0", "1_0", "2_0", "2_3", "3_0", "3_2", "4_0", "5_0"])
def test_ibsi_reference_object(real_data: Path, name: str) -> None:
    files = sorted((real_data / "ibsi_suv" / f"DRO_{name}").iterdir())
    volume = read_pet([read_instance(path) for path in files]).array
    inside = volume[volume > 0.01]
    quantised = 0.03 if name == "2_3" else 0.0005
    assert inside.min() == pytest.approx(0.20, abs=quantised)
    assert np.median(inside) == pytest.approx(1.00, abs=quantised)
    assert inside.max() == pytest.approx(4.00, abs=quantised)


@pytest.mark.real
def test_real_series_equals_an_independent_conversion(real_data: Path) -> None:
    raw, crop = (
        read_pet([read_instance(path) for path in sorted((real_data / "sts_001" / name).iterdir())])
        for name in ("pet_raw_ge", "pet_crop")
    )
    assert raw.suv is not None
    assert raw.suv.branch == "BQML/START"
    assert crop.suv is not None
    assert crop.suv.branch == "GML/BW"
    z, y, x = np.rint(np.linalg.solve(raw.grid.affine, crop.grid.affine)[:3, 3]).astype(int)
    same = raw.array[z : z + crop.array.shape[0], y : y + crop.array.shape[1], x : x + crop.array.shape[2]]
    assert np.abs(same - crop.array).max() <= 8e-4
    seen = crop.array > 0.1
    assert np.median(same[seen] / crop.array[seen]) == pytest.approx(1.0, abs=2e-7)


def test_start_decays_from_injection_to_scan() -> None:
    result = suv_factors([START, START])
    assert result.branch == "BQML/START"
    assert result.factor == pytest.approx(after(3600))
    assert result.per_slice is None
    assert result.inputs["interval_s"] == 3600.0
    assert result.assumed == ()


def test_admin_does_not_decay() -> None:
    result = suv_factors([replace(START, decay_correction="ADMIN", injection_time=None, half_life_s=None)])
    assert (result.branch, result.factor) == ("BQML/ADMIN", pytest.approx(after(0)))


def test_none_decays_each_slice_to_mid_frame() -> None:
    first = replace(START, decay_correction="NONE", corrected_image=frozenset({"ATTN"}))
    second = replace(first, acquisition_time=SCAN + timedelta(seconds=300))
    result = suv_factors([second, first])
    assert result.factor is None
    assert result.per_slice == pytest.approx((after(3960), after(3660)))
    assert result.factors(2) == result.per_slice


def test_scan_begins_with_the_earliest_acquisition_of_any_slice() -> None:
    late = replace(START, acquisition_time=SCAN + timedelta(minutes=20), frame_reference_s=1260.0)
    assert suv_factors([late, START]).inputs["scan_time"] == "series"
    moved = SCAN + timedelta(minutes=5)
    back = suv_factors([replace(late, series_time=moved), replace(START, series_time=moved)])
    average = math.log(LAMBDA * 120 / (1 - math.exp(-LAMBDA * 120))) / LAMBDA
    assert back.inputs["scan_time"] == "back_computed"
    assert back.inputs["interval_s"] == pytest.approx(3600 + average - 60, abs=1e-5)


def test_private_scan_times() -> None:
    postprocessed = replace(START, series_time=SCAN + timedelta(hours=5))
    ge = replace(postprocessed, private=PrivateSources(ge_scan_time=SCAN))
    assert suv_factors([ge]).inputs["scan_time"] == "ge_scan_time"
    assert suv_factors([ge]).factor == pytest.approx(after(3600))
    bare = PrivateSources(siemens_scan_time=SCAN, without_creator=("siemens_scan_time",))
    assert suv_factors([replace(postprocessed, private=bare)]).assumed == ("siemens_scan_time_creator",)


def test_earliest_acquisition_is_the_last_resort_and_said() -> None:
    result = suv_factors([replace(START, series_time=SCAN + timedelta(hours=5), frame_reference_s=None)])
    assert result.inputs["scan_time"] == "earliest_acquisition"
    assert result.assumed == ("scan_time",)


def test_injection_clock_before_midnight() -> None:
    scan = datetime(2024, 3, 5, 0, 20)
    header = replace(START, series_time=scan, acquisition_time=scan, injection_time=None, injection_clock=time(23, 20))
    result = suv_factors([header])
    assert result.factor == pytest.approx(after(3600))
    assert result.inputs["injection_time"] == "start_time_previous_day"


def test_dose_in_mbq() -> None:
    result = suv_factors([replace(START, dose=350.0)])
    assert result.factor == pytest.approx(after(3600))
    assert result.inputs["dose_unit"] == "MBq"


def test_known_half_life_fills_a_gap_and_is_said() -> None:
    result = suv_factors([replace(START, half_life_s=None)])
    assert result.factor == pytest.approx(after(3600))
    assert result.assumed == ("half_life",)


@pytest.mark.parametrize(
    ("private", "branch", "factor"),
    [
        (PrivateSources(philips_suv=0.25, philips_bqml=2.0), "CNTS/philips_suv", 0.25),
        (PrivateSources(philips_bqml=2.0), "CNTS/philips_bqml/START", 2 * after(3600)),
    ],
)
def test_philips_counts(private: PrivateSources, branch: str, factor: float) -> None:
    result = suv_factors([replace(START, units="CNTS", private=private)])
    assert (result.branch, result.factor) == (branch, pytest.approx(factor))


def test_gml_is_suv_already() -> None:
    assert suv_factors([replace(START, units="GML", weight_kg=None)]).factor == 1.0
    assert suv_factors([replace(START, units="GML", suv_type="BW")]).branch == "GML/BW"


@pytest.mark.parametrize(
    ("suv_type", "sex", "mass_kg"),
    [
        ("LBM", "M", 1.10 * 70 - 120 * (70 / 175) ** 2),
        ("LBMJAMES128", "M", 1.10 * 70 - 128 * (70 / 175) ** 2),
        ("LBMJAMES128", "F", 1.07 * 70 - 148 * (70 / 175) ** 2),
        ("LBMJANMA", "F", 9270 * 70 / (8780 + 244 * 70 / 1.75**2)),
        ("LBMJANMA", "M", 9270 * 70 / (6680 + 216 * 70 / 1.75**2)),
        ("IBW", "M", 48 + 1.06 * 23),
        ("IBW", "O", (48 + 1.06 * 23 + 45.5 + 0.91 * 23) / 2),
    ],
)
def test_other_masses_become_body_weight(suv_type: str, sex: str, mass_kg: float) -> None:
    result = suv_factors([replace(START, units="GML", suv_type=suv_type, sex=sex)])
    assert result.factor == pytest.approx(70 / mass_kg)


def test_body_surface_becomes_body_weight() -> None:
    result = suv_factors([replace(START, units="CM2ML", sex=None)])
    assert result.factor == pytest.approx(70e3 / (0.007184 * 70**0.425 * 175**0.725 * 1e4))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("suv_missing_weight", {"weight_kg": None}),
        ("suv_missing_weight", {"weight_kg": 0.0}),
        ("suv_absurd_weight", {"weight_kg": 70000.0}),
        ("suv_missing_dose", {"dose": 0.0}),
        ("suv_missing_dose", {"dose": None}),
        ("suv_absurd_dose", {"dose": 0.35}),
        ("suv_unknown_half_life", {"half_life_s": None, "nuclide": None}),
        ("suv_unknown_half_life", {"half_life_s": 0.0, "nuclide": "Tc-99m"}),
        ("suv_absurd_half_life", {"half_life_s": 109.77}),
        ("suv_not_attenuation_corrected", {"corrected_image": frozenset({"DECY"})}),
        ("suv_correction_mixed", {"corrected_image": frozenset({"ATTN"})}),
        ("suv_correction_mixed", {"decay_correction": "NONE"}),
        ("suv_correction_mixed", {"decay_correction": None}),
        ("suv_units_unsupported", {"units": "PROPCPS"}),
        ("suv_units_unsupported", {"units": None}),
        ("suv_units_unsupported", {"units": "CNTS"}),
        ("suv_type_unsupported", {"units": "GML", "suv_type": "BSA"}),
        ("suv_type_unsupported", {"units": "GML", "suv_type": "SOMETHING"}),
        ("suv_missing_height", {"units": "GML", "suv_type": "LBM", "height_m": None}),
        ("suv_absurd_height", {"units": "GML", "suv_type": "LBM", "height_m": 175.0}),
        ("suv_missing_sex", {"units": "GML", "suv_type": "LBM", "sex": None}),
        ("suv_injection_after_scan", {"injection_time": SCAN + timedelta(seconds=1)}),
        ("suv_absurd_interval", {"injection_time": SCAN - timedelta(days=30)}),
        ("suv_missing_injection_time", {"injection_time": None}),
        ("suv_missing_scan_time", {"series_time": None, "acquisition_time": None}),
    ],
)
def test_refusals(code: str, change: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as fault:
        suv_factors([replace(START, **change)])
    assert fault.value.code == code


def test_slices_that_disagree_are_refused() -> None:
    with pytest.raises(RecordError, match="PatientWeight") as fault:
        suv_factors([START, replace(START, weight_kg=71.0)])
    assert fault.value.code == "suv_inconsistent"


def test_without_any_date_the_clock_still_counts() -> None:
    header = replace(START, has_dates=False, injection_time=datetime(2024, 3, 5, 10, 0))
    result = suv_factors([header])
    assert result.factor == pytest.approx(after(3600))
    assert result.assumed == ("scan_date",)


def private_block(creator: str | None, group: int, element: int, value: str) -> Callable[[Any], None]:
    def add(dataset: Any) -> None:
        if creator is not None:
            dataset.add_new((group, 0x0010), "LO", creator)
        dataset.add_new((group, 0x1000 | element), "UN", value.encode())

    return add


@pytest.mark.parametrize(
    ("creator", "manufacturer", "expected", "assumed"),
    [
        ("Philips PET Private Group", "somebody", 0.5, ()),
        (None, "Philips Medical Systems", 0.5, ("philips_suv",)),
        (None, "somebody", None, ()),
        ("ANOTHER CREATOR", "Philips", None, ()),
    ],
)
def test_private_elements_count_by_creator(
    creator: str | None, manufacturer: str, expected: float | None, assumed: tuple[str, ...]
) -> None:
    dataset = image("PT", np.zeros((2, 2)), "1.2.3", 1, Manufacturer=manufacturer)
    private_block(creator, 0x7053, 0x00, "0.5 ")(dataset)
    header = pet_header(dataset)
    assert (header.private.philips_suv, header.private.without_creator) == (expected, assumed)


def test_ge_scan_time_is_read_from_its_block() -> None:
    dataset = image("PT", np.zeros((2, 2)), "1.2.3", 1)
    private_block("GEMS_PETD_01", 0x0009, 0x0D, "20240305110000.00")(dataset)
    assert pet_header(dataset).private.ge_scan_time == SCAN


def test_header_without_dates_and_with_malformed_numbers() -> None:
    dataset = image("PT", np.zeros((2, 2)), "1.2.3", 1, SeriesDate=None, AcquisitionDate=None, StudyDate=None)
    dataset["PatientWeight"]._value = "Nguyen"
    header = pet_header(dataset)
    assert (header.has_dates, header.weight_kg) == (False, None)
    assert header.series_time is not None
    assert header.series_time.time() == time(11, 0)


def test_acquisition_past_midnight_without_its_own_date() -> None:
    dataset = image(
        "PT", np.zeros((2, 2)), "1.2.3", 1, SeriesTime="235500", AcquisitionTime="000100", AcquisitionDate=None
    )
    header = pet_header(dataset)
    assert header.acquisition_time == datetime(2024, 3, 6, 0, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("20240305", (2024, 3, 5)), ("2024.03.05", (2024, 3, 5)), ("20241305", None), ("", None), (None, None)],
)
def test_dates(value: str | None, expected: tuple[int, ...] | None) -> None:
    day = to_date(value)
    assert (None if day is None else (day.year, day.month, day.day)) == expected


def test_times_and_zones() -> None:
    assert to_time("1105") == time(11, 5)
    assert to_time("11:05:09.5") == time(11, 5, 9, 500000)
    assert to_time("110560") == time(11, 5, 59)
    assert to_time("2505") is None
    assert to_datetime("20240305100000.5+0700") == datetime(2024, 3, 5, 10, 0, 0, 500000)
    assert to_datetime("20240305030000+0000", "+0700") == datetime(2024, 3, 5, 10)
    assert to_datetime("2024") is None


@given(st.text(max_size=24))
def test_no_text_breaks_the_readers(value: str) -> None:
    to_date(value), to_time(value), to_datetime(value), find_nuclide(value, value)


@given(st.floats(1, 300), st.floats(0.5, 2.3), st.sampled_from(["LBM", "LBMJAMES128", "LBMJANMA", "IBW", "BSA"]))
def test_factor_is_positive_or_refused(weight: float, height: float, suv_type: str) -> None:
    try:
        factor = body_weight_factor(suv_type, weight, height, "O")
    except RecordError:
        return  # no positive mass from this weight and height
    assert factor > 0
