"""Header and sidecar values that no scanner means: a code or the right figure, never a crash and never a silent one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import write_series
from pydicom.dataset import Dataset

from petct_cli.core.errors import RecordError
from petct_cli.core.records import Study
from petct_cli.dicom.header import LayeredHeader
from petct_cli.dicom.read import read_instance
from petct_cli.dicom.scan import scan_studies
from petct_cli.dicom.values import number
from petct_cli.stages.convert import Convert
from petct_cli.volume.pet_sidecar import Activity, sidecar_suv
from petct_cli.volume.series_volume import SeriesVolume, read_pet
from petct_cli.volume.suv import SuvResult, SuvRule
from petct_cli.volume.suv_assume import parse_assumptions

VALUES = np.arange(4 * 8 * 8).reshape(4, 8, 8)
HALF_LIFE = 6586.2
SIDECAR = {
    "PatientWeight": 70,
    "TracerRadionuclide": "F18",
    "InjectedRadioactivity": 350,
    "InjectedRadioactivityUnits": "MBq",
    "AttenuationCorrection": "CT",
    "DecayCorrection": "START",
}


def bw(seconds: float) -> float:
    return 70e3 / (350e6 * 2 ** (-seconds / HALF_LIFE))


def pet(folder: Path, change: Callable[[Dataset, Dataset], None], values: np.ndarray = VALUES) -> SeriesVolume:
    """The PET of the factory (injected at 10:00, scanned at 11:00) after a change to its header and injection."""

    def both(dataset: Dataset, _: int) -> None:
        change(dataset, dataset.RadiopharmaceuticalInformationSequence[0])

    return read_pet([read_instance(path) for path in write_series(folder, "PT", values, change=both)])


def test_a_placeholder_is_no_date(tmp_path: Path) -> None:
    def change(dataset: Dataset, tracer: Dataset) -> None:
        dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "00010101"
        dataset.SeriesTime = dataset.AcquisitionTime = "003000"
        tracer.RadiopharmaceuticalStartTime = "235000"

    suv = pet(tmp_path, change).suv
    assert suv is not None
    assert suv.factor == pytest.approx(bw(2400))
    assert suv.assumed == ("scan_date",)


def test_an_injection_before_the_calendar_is_none(tmp_path: Path) -> None:
    def change(dataset: Dataset, tracer: Dataset) -> None:
        dataset.TimezoneOffsetFromUTC = "-0500"
        tracer.RadiopharmaceuticalStartDateTime = "00010101010000+1400"

    suv = pet(tmp_path, change).suv
    assert suv is not None
    assert (suv.inputs["injection_time"], suv.inputs["interval_s"]) == ("start_time", 3600.0)


@pytest.mark.parametrize("milliseconds", ["999999999999", "-99999999999"])
def test_a_frame_of_decades_has_no_middle(tmp_path: Path, milliseconds: str) -> None:
    def change(dataset: Dataset, _: Dataset) -> None:
        dataset.DecayCorrection, dataset.CorrectedImage = "NONE", ["ATTN"]
        dataset.ActualFrameDuration = milliseconds

    with pytest.raises(RecordError) as fault:
        pet(tmp_path, change)
    assert fault.value.code == "suv_missing_frame_time"


def test_a_half_life_of_no_time(tmp_path: Path) -> None:
    def change(dataset: Dataset, tracer: Dataset) -> None:
        del tracer.RadionuclideCodeSequence
        dataset.DecayCorrection, dataset.CorrectedImage = "NONE", ["ATTN"]
        dataset.AcquisitionTime, tracer.RadiopharmaceuticalStartTime = "100000", "100000"
        tracer.RadionuclideHalfLife = "0.000001"

    with pytest.raises(RecordError) as fault:
        pet(tmp_path, change)
    assert fault.value.code == "suv_absurd_half_life"


@pytest.mark.parametrize("declared", [-32768, 32768])
def test_padding_of_a_pet_is_nothing(tmp_path: Path, declared: int) -> None:
    """Files write the padding of signed pixels with either sign; values beside it stay, also negative ones."""
    values = VALUES.copy()
    values[:, 0], values[:, 1] = -32768, -7

    def change(dataset: Dataset, _: Dataset) -> None:
        dataset.add_new("PixelPaddingValue", "SS" if declared < 0 else "US", declared)

    volume = pet(tmp_path, change, values)
    assert (volume.array[:, 0] == 0).all()
    assert (volume.array[:, 1] < 0).all()
    np.testing.assert_allclose(volume.array[:, 2:], VALUES[:, 2:] * bw(3600), rtol=1e-6)


def test_a_ct_of_iodine_is_no_ct(tmp_path: Path) -> None:
    uid = "1.2.826.0.1.3680043.8.498.7"
    write_series(tmp_path / "in" / "iodine", "CT", np.tile(VALUES, (2, 1, 1)), series=uid, RescaleType="MGML")
    write_series(tmp_path / "in" / "ct", "CT", VALUES, RescaleType="HU")
    (study,) = scan_studies([tmp_path / "in"])
    (record,) = Convert(tmp_path / "out")(study)
    assert isinstance(record, Study)
    told = {Path(one.dir or "").name: one.role or one.set_aside for one in record.series}
    assert told == {"ct": "ct", "iodine": "values that are no HU"}


def test_an_empty_element_of_a_frame_hides_nothing(tmp_path: Path) -> None:
    empty, full = (
        read_instance(write_series(tmp_path / name, "CT", VALUES[:1], PatientWeight=weight)[0]).header
        for name, weight in (("empty", ""), ("full", "71"))
    )
    assert number(LayeredHeader((empty, full), {}), "PatientWeight") == 71


def sidecar(suv: SuvRule | None = None, **facts: Any) -> SuvResult:
    return sidecar_suv({**SIDECAR, **facts}, Activity("BQML"), suv or SuvRule())


@pytest.mark.parametrize(
    ("facts", "seconds", "assumed"),
    [
        ({"RadiopharmaceuticalStartDateTime": "2024-03-05T10:00:00"}, 3600, ()),
        ({"RadiopharmaceuticalStartDateTime": "20240305100000.00"}, 3600, ()),
        ({"RadiopharmaceuticalStartDateTime": "2024-03-05T10:00:00+07:00"}, 3600, ("injection_time_zone",)),
        ({"RadiopharmaceuticalStartDateTime": "20240305100000+0700"}, 3600, ("injection_time_zone",)),
        (
            {"RadiopharmaceuticalStartDateTime": "2024-03-05T03:10:00+00:00", "TimezoneOffsetFromUTC": "+0700"},
            3000,
            (),
        ),
    ],
)
def test_an_injection_with_a_zone(facts: dict[str, Any], seconds: float, assumed: tuple[str, ...]) -> None:
    scan = {"SeriesDate": "2024-03-05", "SeriesTime": "11:00:00", "AcquisitionTime": "11:00:00"}
    found = sidecar(**scan, **facts)
    assert found.factor == pytest.approx(bw(seconds))
    assert [name for name in found.assumed if name != "half_life"] == list(assumed)


def test_moments_of_two_zones() -> None:
    found = sidecar(
        AcquisitionDateTime="2024-03-05T11:00:00+07:00", RadiopharmaceuticalStartDateTime="2024-03-05T03:00:00Z"
    )
    assert found.inputs["interval_s"] == 3600


@pytest.mark.parametrize("seconds", [1e300, -1e12])
def test_seconds_of_no_examination(seconds: float) -> None:
    for name in ("InjectionStart", "ImageDecayCorrectionTime"):
        with pytest.raises(RecordError) as fault:
            sidecar(**{"InjectionStart": 0, "ScanStart": 3600, "ImageDecayCorrectionTime": 3600, name: seconds})
        assert fault.value.code == "suv_absurd_interval"


def test_an_assumed_dose_is_not_called_missing() -> None:
    facts = {"InjectedRadioactivity": None, "DecayCorrection": None}
    for assume, code in (([], "suv_missing_dose"), (["dose_mbq=350"], "suv_correction_mixed")):
        with pytest.raises(RecordError) as fault:
            sidecar(SuvRule(assume=parse_assumptions(assume)), **facts)
        assert fault.value.code == code
