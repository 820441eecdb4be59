"""SUV: known answers of the IBSI reference objects, a real series against an independent conversion, every branch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import image
from hypothesis import given
from hypothesis import strategies as st

from petct_cli.core.errors import RecordError
from petct_cli.dicom.read import read_instance
from petct_cli.dicom.values import to_date, to_datetime, to_time
from petct_cli.volume.body_size import body_weight_factor
from petct_cli.volume.geometry import SlicePlane, stack_slices
from petct_cli.volume.nuclides import find_nuclide
from petct_cli.volume.series_volume import Slices, _volume, read_pet
from petct_cli.volume.suv import PetHeader, SuvResult, pet_header, suv_factors
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


def tell(dataset: Any, **elements: Any) -> None:
    """Set elements of a PET header; those of the tracer in its sequence."""
    tracer = dataset.RadiopharmaceuticalInformationSequence[0]
    for keyword, value in elements.items():
        place = tracer if keyword.startswith("Radio") else dataset
        if value is None:
            if keyword in place:
                delattr(place, keyword)
        else:
            setattr(place, keyword, value)


def hand_decayed(bq: float, seconds: float) -> float:
    return bq * 0.5 ** (seconds / 6586.2)


# Manufacturer, private element (creator, group, element, value), elements; seconds from injection that the dose decays
LATE = {"SeriesTime": "153000", "AcquisitionTime": "110230", "FrameReferenceTime": 0}
WHOLE_HEADERS: dict[str, tuple[str, tuple[Any, ...] | None, dict[str, Any], float, tuple[str, ...]]] = {
    "GE": ("GE MEDICAL SYSTEMS", ("GEMS_PETD_01", 0x0009, 0x0D, "20240305110000.00"), LATE, 3600, ()),
    "GE without creator": (
        "GE MEDICAL SYSTEMS",
        (None, 0x0009, 0x0D, "20240305110000.00"),
        LATE,
        3600,
        ("ge_scan_time_creator",),
    ),
    "Siemens": ("SIEMENS", ("SIEMENS MED PT", 0x0071, 0x22, "20240305110000.00"), LATE, 3600, ()),
    "GE time of another day": (
        "GE MEDICAL SYSTEMS",
        ("GEMS_PETD_01", 0x0009, 0x0D, "20240309110000.00"),
        LATE,
        3750,
        ("scan_time",),
    ),
    "no creator, another maker": ("X", (None, 0x0009, 0x0D, "20240305110000.00"), LATE, 3750, ("scan_time",)),
    "reference time 0 says nothing": ("X", None, LATE, 3750, ("scan_time",)),
    "start of day": (
        "X",
        None,
        {"SeriesTime": "001500", "AcquisitionTime": "001500", "RadiopharmaceuticalStartTime": "234500.5"},
        1799.5,
        (),
    ),
    "moment with a zone": (
        "X",
        None,
        {"TimezoneOffsetFromUTC": "+0700", "RadiopharmaceuticalStartDateTime": "20240305030000.25+0000"},
        3599.75,
        (),
    ),
    "moment with a zone, times without": (
        "X",
        None,
        {"RadiopharmaceuticalStartDateTime": "20240305100000+0700"},
        3600,
        ("injection_time_zone",),
    ),
    "moment without a time": ("X", None, {"RadiopharmaceuticalStartDateTime": "20240305"}, 3600, ()),
    "no half-life": ("X", None, {"RadionuclideHalfLife": None}, 3600, ("half_life",)),
    "MBq": ("X", None, {"RadionuclideTotalDose": 350}, 3600, ()),
}


@pytest.mark.parametrize("name", WHOLE_HEADERS)
def test_factor_of_whole_headers(name: str) -> None:
    manufacturer, element, elements, seconds, assumed = WHOLE_HEADERS[name]
    dataset = image("PT", np.zeros((2, 2)), "1.2.3", 1, Manufacturer=manufacturer)
    tell(dataset, **elements)
    if element is not None:
        creator, group, number, value = element
        private_block(creator, group, number, value)(dataset)
    result = suv_factors([pet_header(dataset)])
    assert result.factor == pytest.approx(70_000 / hand_decayed(350e6, seconds), rel=1e-9)
    assert result.assumed == assumed


def test_gallium_fills_its_own_half_life() -> None:
    dataset = image("PT", np.zeros((2, 2)), "1.2.3", 1)
    tell(dataset, RadionuclideHalfLife=None, RadionuclideTotalDose=150e6)
    code = dataset.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "C-131A1", "^68^Gallium"
    result = suv_factors([pet_header(dataset)])
    assert result.factor == pytest.approx(70_000 / (150e6 * 0.5 ** (3600 / 4057.7)))
    assert (result.inputs["half_life_s"], result.assumed) == (4057.7, ("half_life",))


def test_beds_of_a_rewritten_series_give_one_scan_time_in_any_order() -> None:
    rate, headers = math.log(2) / 6586.2, []
    for bed in range(5):
        dataset = image("PT", np.zeros((2, 2)), "1.2.3", bed, SeriesTime="140000", AcquisitionTime=f"11{3 * bed:02d}00")
        average = math.log(rate * 180 / (1 - math.exp(-rate * 180))) / rate
        tell(dataset, ActualFrameDuration=180_000, FrameReferenceTime=f"{(bed * 180 + average) * 1000:.4f}")
        headers.append(pet_header(dataset))
    factors = {suv_factors(headers[turn:] + headers[:turn]).factor for turn in range(5)}
    (factor,) = factors
    assert factor == pytest.approx(70_000 / hand_decayed(350e6, 3600), rel=1e-6)


def test_private_scan_times_of_several_beds_mean_the_first() -> None:
    beds = []
    for bed in (2, 0, 1):
        moment = SCAN + timedelta(minutes=3 * bed)
        private = PrivateSources(ge_scan_time=moment, without_creator=("ge_scan_time",) if bed == 1 else ())
        beds.append(replace(START, acquisition_time=moment, series_time=SCAN + timedelta(hours=5), private=private))
    result = suv_factors(beds)
    assert result.factor == pytest.approx(after(3600))
    assert result.assumed == ("ge_scan_time_creator",)


def test_two_injections_are_refused() -> None:
    dataset = image("PT", np.zeros((2, 2)), "1.2.3", 1)
    sequence = dataset.RadiopharmaceuticalInformationSequence
    sequence.append(copy.deepcopy(sequence[0]))
    assert suv_factors([pet_header(dataset)]).factor == pytest.approx(after(3600))
    sequence[1].RadionuclideTotalDose = 100e6
    with pytest.raises(RecordError) as fault:
        suv_factors([pet_header(dataset)])
    assert fault.value.code == "suv_several_tracers"


def _philips(
    dataset: Any, slice_index: int, suv: str | None, creator: str | None = "Philips PET Private Group"
) -> None:
    dataset.Units, dataset.Manufacturer = "CNTS", "Philips Medical Systems"
    private_block(creator, 0x7053, 0x09, "1")(dataset)
    if suv is not None:
        private_block(creator, 0x7053, 0x00, suv)(dataset)


def _undecayed(dataset: Any, slice_index: int) -> None:
    """As if no decay had been corrected: each slice holds what was left in the middle of its frame."""
    dataset.DecayCorrection, dataset.ActualFrameDuration = "NONE", 120_000
    dataset.CorrectedImage = [value for value in dataset.CorrectedImage if value != "DECY"]
    dataset.AcquisitionTime = f"11{slice_index:02d}30"
    scale = hand_decayed(1.0, 60 * slice_index + 30 + 60)
    dataset.RescaleSlope = f"{float(dataset.RescaleSlope) * scale:.12g}"


def _of_mass(dataset: Any, suv_type: str, kg: float) -> None:
    dataset.SUVType, dataset.RescaleSlope = suv_type, f"{float(dataset.RescaleSlope) * kg / 70:.12g}"


SUV_PER_BQML = 70e3 / hand_decayed(368.08e6, 3600)
DERIVED: dict[str, tuple[str, Callable[[Any, int], None]]] = {
    "CNTS": ("0_0", lambda dataset, k: _philips(dataset, k, f"{SUV_PER_BQML:.10g}")),
    "CNTS, factor 0": ("0_0", lambda dataset, k: _philips(dataset, k, "0")),
    "CNTS, no factor, no creator": ("0_0", lambda dataset, k: _philips(dataset, k, None, None)),
    "NONE": ("0_0", _undecayed),
    "ADMIN": (
        "0_0",
        lambda dataset, k: tell(dataset, DecayCorrection="ADMIN", RadionuclideTotalDose=hand_decayed(368.08e6, 3600)),
    ),
    "no SUV type": ("2_0", lambda dataset, k: tell(dataset, SUVType=None)),
    "LBM": ("2_0", lambda dataset, k: _of_mass(dataset, "LBM", (77 - 120 * 0.16 + 74.9 - 148 * 0.16) / 2)),
    "LBMJAMES128": ("2_0", lambda dataset, k: _of_mass(dataset, "LBMJAMES128", (77 - 20.48 + 74.9 - 23.68) / 2)),
    "LBMJANMA": ("2_0", lambda dataset, k: _of_mass(dataset, "LBMJANMA", (55.7635 + 45.3232) / 2)),
    "IBW": ("2_0", lambda dataset, k: _of_mass(dataset, "IBW", (72.38 + 66.43) / 2)),
}


@pytest.mark.real
@pytest.mark.parametrize("name", DERIVED)
def test_reference_objects_told_in_other_ways(real_data: Path, tmp_path: Path, name: str) -> None:
    base, change = DERIVED[name]
    for k, path in enumerate(sorted((real_data / "ibsi_suv" / f"DRO_{base}").iterdir())):
        dataset = pydicom.dcmread(path)
        change(dataset, k)
        dataset.save_as(tmp_path / path.name)
    volume = read_pet([read_instance(path) for path in sorted(tmp_path.iterdir())]).array
    inside = volume[volume > 0.01]
    found = [float(inside.min()), float(np.median(inside)), float(inside.max())]
    assert found == pytest.approx([0.20, 1.00, 4.00], rel=1e-3)


def test_per_slice_factors_follow_sagittal_slices() -> None:
    stack = stack_slices([SlicePlane((-3.0 * k, 0, 0), (0, 1, 0), (0, 0, 1), (2, 2), (3, 4)) for k in range(3)])
    assert stack.grid.affine[0, 0] > 0
    mirrored = stack_slices([SlicePlane((3.0 * k, 0, 0), (0, 1, 0), (0, 0, -1), (2, 2), (3, 4)) for k in range(3)])
    suv = SuvResult("BQML/NONE", None, (1.0, 2.0, 3.0))
    for one, expected in ((stack, (1.0, 2.0, 3.0)), (mirrored, (3.0, 2.0, 1.0))):
        planes = np.broadcast_to(np.arange(3.0)[:, None, None], (3, 3, 4))
        volume = _volume(Slices((3, 3, 4), planes.dtype, planes.__getitem__), one, suv)
        assert volume.suv is not None
        assert volume.suv.per_slice == expected
        np.testing.assert_array_equal(volume.array[0, 0] + 1, expected)


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
    assert [to_time(value) for value in ("2505", "10", "10000", "1100001", "110075", "100000.")] == [None] * 6
    assert to_time("110000.1234567") == time(11, 0, 0, 123456)
    assert to_datetime("20240305100000.5+0700") == datetime(2024, 3, 5, 10, 0, 0, 500000)
    assert to_datetime("20240305030000+0000", "+0700") == datetime(2024, 3, 5, 10)
    assert [to_datetime(value) for value in ("2024", "20240305", "2024030510", "20240305+0700")] == [None] * 4


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
