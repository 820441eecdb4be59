"""Which CT and which PET: every kind of series that lies beside them, several scans, and picks by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import STUDY_UID, write_series
from hypothesis import given
from hypothesis import strategies as st
from in_process import petct_here
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.records import Study
from petct_cli.dicom.scan import scan_studies
from petct_cli.stages.convert import Convert
from petct_cli.volume.series_pick import SeriesPick
from petct_cli.volume.storage import load_volume

NAME = "Trần Văn Kín"


def add(folder: Path, name: str, modality: str, slices: int, start: float = 0.0, **fields: Any) -> None:
    """A series of its own UID with `slices` 3 mm apart from `start` up; its values are its number of slices."""
    uid = f"{STUDY_UID}.{int.from_bytes(name.encode()[:6], 'big')}"
    positions = fields.pop("positions", [[0, 0, start + 3.0 * k] for k in range(slices)])
    write_series(folder / name, modality, np.full((slices, 4, 4), slices), positions, series=uid, **fields)


def convert(folder: Path, **options: Any) -> Study:
    (study,) = scan_studies([folder])
    (done,) = Convert(folder.parent / "out", "native", **options)(study)
    assert isinstance(done, Study)
    return done


def told(record: Study) -> dict[str, str | None]:
    return {Path(one.dir or "").name: one.role or one.set_aside for one in record.series}


def because(record: Study) -> dict[str, str]:
    return {one.role: one.model_extra["chosen_because"] for one in record.series if one.role and one.model_extra}


def spect() -> DicomSequence:
    tracer, nuclide = Dataset(), Dataset()
    nuclide.CodeValue, nuclide.CodingSchemeDesignator, nuclide.CodeMeaning = "C-163A8", "SRT", "^99m^Technetium"
    tracer.RadionuclideCodeSequence = DicomSequence([nuclide])
    return DicomSequence([tracer])


ASIDE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "nac": ("PT", "no attenuation correction", {"CorrectedImage": ["DECY"]}),
    "mip": ("PT", "projection", {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}),
    "reprojection": ("PT", "projection", {"SeriesType": ["WHOLE BODY", "REPROJECTION"]}),
    "spect": ("PT", "single-photon image stored as PT", {"RadiopharmaceuticalInformationSequence": spect()}),
    "scout": ("CT", "localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    "capture": ("CT", "secondary capture", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}),
    "dose sheet": ("SR", "modality SR", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}),
    "dose screen": ("CT", "no position, orientation or pixel spacing", {"PixelSpacing": None}),
    "coronal": ("CT", "not axial", {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}),
    "derived": ("CT", "derived image, the original is there", {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}),
    "gated": ("PT", "gated, a static series is there", {"SeriesType": ["GATED", "IMAGE"]}),
    "gated too": ("PT", "gated, a static series is there", {"ImageType": ["ORIGINAL", "PRIMARY", "GATED"]}),
    "slots": ("PT", "gated, a static series is there", {"NumberOfTimeSlots": 8}),
    "dynamic": (
        "PT",
        "dynamic, a static series is there",
        {"SeriesType": ["DYNAMIC", "IMAGE"], "NumberOfTimeSlices": 3},
    ),
    "elsewhere": ("PT", "no CT in its frame of reference", {"FrameOfReferenceUID": "1.2.3"}),
}


@pytest.mark.parametrize("name", ASIDE)
def test_what_is_set_aside_and_why(tmp_path: Path, name: str) -> None:
    modality, reason, fields = ASIDE[name]
    add(tmp_path / "in", "ct", "CT", 20)
    add(tmp_path / "in", "pet", "PT", 20)
    # More slices than the right ones, and a smaller UID: only the reason told sets it aside.
    positions = [[0, 0, 1.5 * k] for k in range(40)]
    add(tmp_path / "in", name, modality, 40, positions=positions, SeriesDescription=NAME, **fields)
    record = convert(tmp_path / "in")
    assert told(record) == {"ct": "ct", "pet": "pet", name: reason}
    assert set(because(record)) == {"ct", "pet"}
    assert NAME not in record.model_dump_json()


def test_why_the_only_one_and_why_one_of_many(tmp_path: Path) -> None:
    add(tmp_path / "in", "pet", "PT", 20)
    add(tmp_path / "in", "ct", "CT", 20)
    add(tmp_path / "in", "nac", "PT", 20, CorrectedImage=["DECY"])
    add(tmp_path / "in", "thin", "CT", 40, positions=[[0, 0, 1.5 * k] for k in range(40)])
    record = convert(tmp_path / "in")
    assert because(record) == {"pet": "corrected for attenuation", "ct": "most slices"}
    assert told(record)["ct"] == "fewer slices (20, taken: 40)"


@pytest.mark.parametrize("first", ["a", "b"])
def test_dual_time_point_takes_the_earlier(tmp_path: Path, first: str) -> None:
    times = {first: "110000", "ab".replace(first, ""): "123000"}
    for name, clock in times.items():
        # The delayed scan has more slices; the reconstructions were made in the other order.
        count = 20 if name == first else 21
        series_time = "140000" if name == first else "130000"
        add(tmp_path / "in", name, "PT", count, AcquisitionTime=clock, SeriesTime=series_time)
    record = convert(tmp_path / "in")
    other = "ab".replace(first, "")
    assert told(record) == {first: "pet", other: "delayed: starts 90 min after the one taken, in the same region"}
    assert because(record)["pet"] == "the earlier of two scans of one region"


def test_short_delayed_scan_is_called_delayed(tmp_path: Path) -> None:
    add(tmp_path / "in", "whole", "PT", 40)
    add(tmp_path / "in", "late", "PT", 8, 30.0, AcquisitionTime="130000")
    reason = "delayed: starts 120 min after the one taken, in the same region"
    assert told(convert(tmp_path / "in")) == {"whole": "pet", "late": reason}


def test_delayed_scan_that_lies_a_little_higher(tmp_path: Path) -> None:
    add(tmp_path / "in", "soon", "PT", 40)
    add(tmp_path / "in", "late", "PT", 40, 24.0, AcquisitionTime="123000")
    reason = "delayed: starts 90 min after the one taken, in the same region"
    assert told(convert(tmp_path / "in")) == {"soon": "pet", "late": reason}


def test_reconstructions_of_one_scan_are_not_delayed(tmp_path: Path) -> None:
    add(tmp_path / "in", "thick", "PT", 20, SeriesTime="090000")
    add(tmp_path / "in", "thin", "PT", 40, positions=[[0, 0, 1.5 * k] for k in range(40)], SeriesTime="123000")
    assert told(convert(tmp_path / "in")) == {"thin": "pet", "thick": "fewer slices (20, taken: 40)"}


@pytest.mark.parametrize("reverse", [False, True])
def test_legs_that_continue_the_torso_are_joined(tmp_path: Path, reverse: bool) -> None:
    late = {"AcquisitionTime": "113000", "SeriesTime": "113000"}
    add(tmp_path / "in", "legs" if reverse else "a legs", "PT", 29, -87.0, **late)
    add(tmp_path / "in", "torso", "PT", 30, 0.0)
    add(tmp_path / "in", "torso ct", "CT", 30, 0.0)
    add(tmp_path / "in", "legs ct", "CT", 29, -87.0)
    record = convert(tmp_path / "in")
    assert set(told(record).values()) == {"ct", "pet"}
    reasons = {Path(one.dir or "").name: (one.model_extra or {})["chosen_because"] for one in record.series}
    assert {name for name, reason in reasons.items() if reason == "continues the one taken"} == {
        "legs" if reverse else "a legs",
        "legs ct",
    }
    assert record.pet is not None
    assert record.ct is not None
    assert record.pet.suv is not None
    assert record.ct.shape == record.pet.shape == [59, 4, 4]
    assert record.pet.affine == record.ct.affine
    assert record.pet.affine is not None
    assert record.pet.affine[2] == [3.0, 0.0, 0.0, -87.0]
    factors = [70e3 / (350e6 * 2 ** (-seconds / 6586.2)) for seconds in (5400, 3600)]
    np.testing.assert_allclose(record.pet.suv.per_slice, [factors[0]] * 29 + [factors[1]] * 30)
    volume = load_volume(record.pet.path)
    np.testing.assert_allclose(volume[:, 0, 0], [29 * factors[0]] * 29 + [30 * factors[1]] * 30, rtol=1e-6)
    assert record.pet.suv.inputs["interval_s"] == [3600.0, 5400.0]


@pytest.mark.parametrize(
    ("shift", "change"),
    [
        (3.0, {}),  # a slice is missing between them
        (-3.0, {}),  # they share a slice
        (0.4, {}),
        (0.0, {"ConvolutionKernel": "XYZ"}),
        (0.0, {"FrameOfReferenceUID": None}),
        (0.0, {"PixelSpacing": [2, 2.1]}),
        (0.0, {"PatientWeight": "71"}),
        (0.0, {"SeriesType": ["GATED", "IMAGE"]}),
        (0.0, {"PatientWeight": None}),
    ],
)
def test_what_does_not_quite_continue_is_not_joined(tmp_path: Path, shift: float, change: dict[str, Any]) -> None:
    add(tmp_path / "in", "torso", "PT", 30, 0.0)
    add(tmp_path / "in", "legs", "PT", 29, -87.0 - shift, **change)
    record = convert(tmp_path / "in")
    assert told(record)["torso"] == "pet"
    assert told(record)["legs"] not in ("pet", None)
    assert record.pet is not None
    assert record.pet.shape == [30, 4, 4]


@pytest.mark.parametrize(("change", "code"), [({"PatientWeight": ""}, "suv_missing_weight"), ({}, "dicom_truncated")])
def test_legs_that_cannot_be_read_say_so(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    add(tmp_path / "in", "torso", "PT", 30, 0.0)
    add(tmp_path / "in", "legs", "PT", 29, -87.0, **change)
    if not change:
        cut = sorted((tmp_path / "in" / "legs").iterdir())[7]
        cut.write_bytes(cut.read_bytes()[:-4])
    assert told(convert(tmp_path / "in")) == {
        "torso": "pet",
        "legs": f"may continue the one taken, but cannot be read: {code}",
    }


def test_a_pick_is_not_joined(tmp_path: Path) -> None:
    add(tmp_path / "in", "torso", "PT", 30, 0.0, SeriesNumber=1)
    add(tmp_path / "in", "legs", "PT", 29, -87.0, SeriesNumber=2)
    record = convert(tmp_path / "in", pet_series="number:2")
    assert told(record) == {"torso": "--pet-series names another", "legs": "pet"}


def test_three_beds_in_a_row(tmp_path: Path) -> None:
    for name, start in (("c", -60.0), ("a", 0.0), ("b", -30.0)):
        add(tmp_path / "in", name, "PT", 10, start)
    record = convert(tmp_path / "in")
    assert told(record) == {"a": "pet", "b": "pet", "c": "pet"}
    assert record.pet is not None
    assert record.pet.suv is not None
    assert (record.pet.shape, record.pet.suv.per_slice) == ([30, 4, 4], None)


def test_legs_beside_the_torso(tmp_path: Path) -> None:
    add(tmp_path / "in", "torso", "PT", 30, 0.0)
    add(tmp_path / "in", "legs", "PT", 30, -88.0, AcquisitionTime="104000")
    add(tmp_path / "in", "torso ct", "CT", 30, 0.0)
    add(tmp_path / "in", "legs ct", "CT", 34, -96.0)
    record = convert(tmp_path / "in")
    assert told(record) == {
        "torso": "pet",
        "legs": "another region of the body, 88 mm beyond the one taken: not joined",
        "torso ct": "ct",
        "legs ct": "covers less of the PET",
    }
    assert because(record)["pet"] == "nearest to the head"


def test_ct_with_most_overlap_where_none_covers_the_pet(tmp_path: Path) -> None:
    add(tmp_path / "in", "pet", "PT", 40)
    add(tmp_path / "in", "chest", "CT", 60, positions=[[0, 0, 60 + 0.5 * k] for k in range(60)])
    add(tmp_path / "in", "trunk", "CT", 25, 0.0)
    record = convert(tmp_path / "in")
    assert told(record) == {"pet": "pet", "chest": "covers less of the PET", "trunk": "ct"}


def test_midnight_lies_between_two_scans(tmp_path: Path) -> None:
    late = {"AcquisitionDate": "20240306", "AcquisitionTime": "003000"}
    add(tmp_path / "in", "late", "PT", 20, **late)
    add(tmp_path / "in", "soon", "PT", 20, AcquisitionTime="230000", SeriesTime="230000")
    reason = "delayed: starts 90 min after the one taken, in the same region"
    assert told(convert(tmp_path / "in")) == {"soon": "pet", "late": reason}


@pytest.mark.parametrize("kind", ["GATED", "DYNAMIC"])
def test_nothing_but_gated_or_dynamic_is_refused_until_picked(tmp_path: Path, kind: str) -> None:
    for name in ("one", "two"):
        number = 4 if name == "one" else 5
        add(tmp_path / "in", name, "PT", 12, SeriesType=[kind, "IMAGE"], SeriesNumber=number)
    with pytest.raises(RecordError) as fault:
        convert(tmp_path / "in")
    assert fault.value.code == f"pet_{kind.lower()}_only"
    record = convert(tmp_path / "in", pet_series="number:5")
    assert told(record) == {"one": "--pet-series names another", "two": "pet"}
    assert because(record)["pet"] == "--pet-series"


def test_picked_gates_in_one_series_are_never_stacked(tmp_path: Path) -> None:
    def gate(dataset: Dataset, k: int) -> None:
        dataset.TriggerTime = 500 * (k % 3)

    places = [[0, 0, 3.0 * (k // 3)] for k in range(12)]
    add(tmp_path / "in", "gates", "PT", 12, positions=places, change=gate, SeriesNumber=4)
    with pytest.raises(RecordError) as fault:
        convert(tmp_path / "in")
    assert fault.value.code == "pet_gated_only"
    with pytest.raises(RecordError) as fault:
        convert(tmp_path / "in", pet_series="number:4")
    assert fault.value.code == "geometry_duplicate_slice"


def test_one_frame_of_a_dynamic_protocol_is_static(tmp_path: Path) -> None:
    add(tmp_path / "in", "brain", "PT", 12, SeriesType=["DYNAMIC", "IMAGE"], NumberOfTimeSlices=1)
    assert told(convert(tmp_path / "in")) == {"brain": "pet"}


@pytest.fixture
def many(tmp_path: Path) -> Path:
    add(tmp_path / "in", "early", "PT", 20, SeriesNumber=3, SeriesDescription=f"PET WB {NAME}")
    late = {"AcquisitionTime": "130000", "SeriesDescription": f"PET delayed {NAME}"}
    add(tmp_path / "in", "late", "PT", 19, SeriesNumber=4, **late)
    mip = {"ImageType": ["DERIVED", "PRIMARY", "MIP"], "SeriesDescription": f"MIP {NAME}"}
    add(tmp_path / "in", "mip", "PT", 20, SeriesNumber=9, **mip)
    add(tmp_path / "in", "soft", "CT", 20, SeriesNumber=1, SeriesDescription="CT mềm")
    add(tmp_path / "in", "lung", "CT", 21, SeriesNumber=2, SeriesDescription="CT phổi")
    return tmp_path / "in"


@pytest.mark.parametrize("pick", ["number:4", "description:DELAYED", "uid"])
def test_picks(many: Path, pick: str) -> None:
    uid = f"uid:{STUDY_UID}.{int.from_bytes(b'late', 'big')}"
    record = convert(many, pet_series=uid if pick == "uid" else pick, ct_series="description:mềm$")
    assert told(record) == {
        "early": "--pet-series names another",
        "late": "pet",
        "mip": "projection",
        "soft": "ct",
        "lung": "--ct-series names another",
    }
    assert record.pet is not None
    assert record.pet.shape == [19, 4, 4]
    assert load_volume(record.pet.path).any()


@pytest.mark.parametrize(
    ("pick", "code", "says"),
    [
        ("number:7", "series_pick_none", "none of the 2 PET series"),
        ("number:1", "series_pick_none", "none of the 2 PET series"),
        ("description:^PET", "series_pick_several", "2 of the 2 PET series"),
        ("number:9", "series_pick_unusable", "projection"),
    ],
)
def test_picks_that_name_no_one_series(many: Path, pick: str, code: str, says: str) -> None:
    result = petct_here("convert", many, "-o", "out", "--pet-series", pick, cwd=many.parent)
    (record,) = result.records
    assert (result.code, record["error"]["code"]) == (1, code)
    assert says in result.stderr
    assert "Kín" not in result.stdout.decode() + result.stderr


def test_a_pick_of_what_a_study_lacks_fails_it(tmp_path: Path) -> None:
    add(tmp_path / "in", "ct", "CT", 10)
    with pytest.raises(RecordError) as fault:
        convert(tmp_path / "in", pet_series="number:3")
    assert fault.value.code == "series_pick_none"


def test_a_pick_counts_as_an_option(many: Path) -> None:
    plain, picked = convert(many), convert(many, pet_series="number:4")
    assert plain.provenance[-1].options_sha256 != picked.provenance[-1].options_sha256


@pytest.mark.parametrize(
    "text", ["", "4", "number:", "number:x", "number:１", "uid:", "uid:a.b", "description:", "description:(", "name:x"]
)
def test_bad_picks(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as fault:
        SeriesPick.parse(text)
    assert fault.value.code == "bad_series_pick"
    if text:
        with pytest.raises(UsageError):
            Convert(tmp_path, ct_series=text)


@given(st.text(max_size=30))
def test_a_pick_is_read_or_refused(text: str) -> None:
    try:
        pick = SeriesPick.parse(text)
    except UsageError:
        return
    assert f"{pick.kind}:{pick.value}" == text
