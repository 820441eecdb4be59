"""The public ViMed-PET release to volumes and records: no geometry, no SUV, and every known fault said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from in_process import petct_here

from petct_cli.dataset.vimed import release_metadata, release_studies, study_identity
from petct_cli.volume.storage import load_affine, load_volume

COLUMNS = ["name", "sex", "height", "weight", "year", "pet_path", "ct_path", "report_path", "report_en_path"]
FINDINGS = {
    "Đầu - cổ": "Bình thường.",
    "Lồng ngực": "Nốt thuỳ trên phổi phải.",
    "Ổ bụng - khung chậu": "Gan đều.",
    "Hệ cơ - xương": "Không tổn thương.",
}
DEPTH = 40


class Release:
    """A release in the making: add studies, then write the index."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[dict[str, Any]] = []

    def add(self, year: int, month: int, name: str, report: Any = None, suffix: str = ".npz", **row: Any) -> Path:
        place = f"PETCT{year}/THANG {month}"
        for kind, seed, low, high in (("PET", 1, 0, 32767), ("CT", 2, -2000, 4095)):
            values = np.random.default_rng(seed).integers(low, high, (DEPTH, 6, 5), dtype=np.int16)
            values[0] = 7  # the head
            path = self.root / place / kind / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == ".npz":
                np.savez_compressed(path, data=values)
            else:
                np.save(path, values)
        if report is not None:
            path = self.root / place / "reports" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(report if isinstance(report, str) else json.dumps(report, ensure_ascii=False), "utf-8")
        fields: dict[str, Any] = {"name": "patient_0", "sex": "F", "height": 1.6, "weight": 55.0, "year": year}
        for kind, column in (("PET", "pet_path"), ("CT", "ct_path"), ("reports", "report_path")):
            fields[column] = f"{place}/{kind}/{name}{'.json' if kind == 'reports' else '.npz'}"
        self.rows.append({**fields, **row})
        return self.root / place / "PET" / f"{name}{suffix}"

    def write(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        return self.root


def report(**more: Any) -> dict[str, Any]:
    return {"Mô tả hình ảnh": FINDINGS, "Nhận định kết quả": "U phổi phải.", **more}


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "vimed")


def convert(release: Release, *options: str) -> list[dict[str, Any]]:
    root = release.write()
    return petct_here("convert", root.name, "-o", "out", *options, cwd=root.parent).records


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("form", ["b2nd", "nifti"])
def test_volumes_without_geometry(release: Release, suffix: str, form: str) -> None:
    source = release.add(2017, 8, "day_1_patient_0", report(), suffix)
    (record,) = convert(release, "--format", form)
    assert (record["id"], record["period"], record["dates"]) == ("2017-08-day_1_patient_0", "2017-08", "none")
    assert (record["sex"], record["height_m"], record["weight_kg"]) == ("F", 1.6, 55.0)
    stored = np.load(source)
    values = stored["data"] if suffix == ".npz" else stored
    pet = record["pet"]
    assert (pet["unit"], pet["affine"], pet["spacing_mm"], "suv" in pet) == ("stored", None, None, False)
    assert pet["geometry"]["verdict"] == "unknown"
    assert (record["ct"]["unit"], record["ct"]["dtype"]) == ("HU", "int16")
    path = release.root.parent / pet["path"]
    assert load_affine(path) is None
    volume = load_volume(path)
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume, values[::-1])
    assert (volume[-1] == 7).all()  # the head is the last slice
    ct = load_volume(release.root.parent / record["ct"]["path"])
    other = np.load(source.parent.parent / "CT" / source.name)
    np.testing.assert_array_equal(ct, (other["data"] if suffix == ".npz" else other)[::-1])


def test_report_of_a_case_is_in_its_record(release: Release) -> None:
    release.add(2017, 8, "day_1_patient_0", report())
    (record,) = convert(release)
    told = record["report"]
    assert told["path"] == "vimed/PETCT2017/THANG 8/reports/day_1_patient_0.json"
    assert list(told["sections"]) == ["head_neck", "chest", "abdomen_pelvis", "musculoskeletal", "impression"]
    assert "lacks" not in told
    line = orjson.dumps(record)
    samples = petct_here("pair", "-", "--overlap", "2", stdin=line, cwd=release.root.parent)
    assert samples.code == 0, samples.stderr
    assert [one["region"]["name"] for one in samples.records] == ["head_neck", "chest", "abdomen_pelvis"]
    assert {one["region"]["z_mm"] for one in samples.records} == {None}
    in_mm = petct_here("pair", "-", "--overlap", "20mm", stdin=line, cwd=release.root.parent)
    assert (in_mm.code, in_mm.records[0]["error"]["code"]) == (1, "no_geometry")


def test_reports_that_lack_a_part_or_spell_keys_otherwise(release: Release) -> None:
    release.add(2017, 8, "a", {"Mô tả hình ảnh": FINDINGS})
    release.add(2017, 8, "b", {"Kết luận": "U phổi."})
    release.add(2017, 8, "c", {"Findings": {"Lồng ngực": "Nốt."}, "Impression": "U."})
    release.add(2017, 8, "d", "no JSON")
    release.add(2017, 8, "e")
    told = {one["id"][-1]: one for one in convert(release)}
    assert told["a"]["report"]["lacks"] == ["impression"]
    assert told["b"]["report"]["lacks"] == ["findings"]
    assert "lacks" not in told["c"]["report"]
    for name in ("d", "e"):
        assert "report" not in told[name]
        assert told[name]["release"]["left_out"] == ["report"]


def test_english_reports_stay_beside_their_vietnamese_ones(release: Release) -> None:
    english = {"Findings": {"Chest": "Nodule in the right lung."}, "Impression": "Lung tumour."}
    path = release.root / "PETCT2017/THANG 8/reports_en/a.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(english), "utf-8")
    (release.root / "outside.json").write_text("{", "utf-8")
    release.add(2017, 8, "a", report(), report_en_path="PETCT2017/THANG 8/reports_en/a.json")
    release.add(2017, 8, "b", {**report(), **english})
    release.add(2017, 8, "c", report(), report_en_path="../vimed/PETCT2017/THANG 8/reports_en/a.json")
    release.add(2017, 8, "d", report(**{"Ghi chú": "x"}), report_en_path="outside.json")
    told = {one["id"][-1]: one["report"] for one in convert(release)}
    sections = {"chest": "Nodule in the right lung.", "impression": "Lung tumour."}
    assert told["a"]["translations"]["en"]["path"] == "vimed/PETCT2017/THANG 8/reports_en/a.json"
    assert told["a"]["translations"]["en"]["sections"] == sections
    assert told["b"]["translations"] == {"en": {"sections": sections}}
    assert told["a"]["sections"] == told["b"]["sections"] == told["c"]["sections"]
    assert "translations" not in told["c"]
    assert "translations" not in told["d"]
    left_out = {one["id"][-1]: one["release"].get("left_out") for one in convert(release)}
    assert left_out == {"a": None, "b": None, "c": ["report_en"], "d": ["report_en"]}
    assert told["d"]["not_understood"] == 1
    samples = petct_here(
        "pair", "-", "--overlap", "2", stdin=orjson.dumps(convert(release)[0]), cwd=release.root.parent
    )
    found = {one["region"]["name"]: one.get("translations") for one in samples.records}
    assert found == {"head_neck": None, "chest": {"en": "Nodule in the right lung."}, "abdomen_pelvis": None}


def test_patient_numbers_repeat_and_reports_are_shared(release: Release) -> None:
    release.add(2017, 8, "day_1_patient_0", report())
    release.add(2018, 8, "day_1_patient_0", {"Nhận định kết quả": "U  phổi phải.", "Mô tả hình ảnh": FINDINGS})
    release.add(2023, 11, "day_1_patient_0", report(**{"Kết luận": "Khác."}))
    records = convert(release)
    assert len({record["patient"] for record in records}) == 3
    first, second, third = records
    assert first["report"]["duplicates"] == [second["id"]]
    assert second["report"]["duplicates"] == [first["id"]]
    assert "duplicates" not in third["report"]


def test_rows_that_are_no_study(release: Release) -> None:
    release.add(2017, 8, "a", report())
    release.rows.append(dict(release.rows[0]))
    release.add(2017, 8, "b", report(), pet_path="../../etc/passwd.npz")
    release.add(2017, 8, "c", report(), report_path="/etc/passwd")
    release.add(2017, 8, "d", report(), ct_path="")
    release.add(2017, 8, "e", report(), sex="x", height="160", weight="")
    root = release.write()
    result = petct_here("convert", root.name, "-o", "out", cwd=root.parent)
    assert [record["id"][-1] for record in result.records] == ["a", "e"]
    assert result.records[1]["release"]["left_out"] == ["sex", "height", "weight"]
    assert result.code == 1
    for line, code in ((3, "duplicate_row"), (4, "unsafe_path"), (5, "unsafe_path"), (6, "row")):
        assert f"vimed/metadata.csv:{line}: " in result.stderr
        assert f"[vimed_{code}]" in result.stderr


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("array_missing", "missing"),
        ("array_damaged", "cut"),
        ("array_damaged", "key"),
        ("array_damaged", "pickle"),
        ("array_shape", "shape"),
        ("slices_differ", "slices"),
    ],
)
def test_damaged_volumes_fail_their_study_only(release: Release, code: str, fault: str) -> None:
    path = release.add(2017, 8, "a", report())
    release.add(2017, 8, "b", report())
    values = np.load(path)["data"]
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:900])
    elif fault == "key":
        np.savez_compressed(path, volume=values)
    elif fault == "pickle":
        np.savez(path, data=np.array([{"a": 1}], dtype=object))
    elif fault == "shape":
        np.savez(path, data=values[0])
    else:
        np.savez(path, data=values[:-1])
    first, second = convert(release)
    assert (first["error"]["code"], "error" in second) == (code, False)
    assert first["report"]["sections"]  # a failed study keeps its identity and its reference


def test_millimetres_cannot_be_had(release: Release) -> None:
    release.add(2017, 8, "a")
    (record,) = convert(release, "--grid", "iso:4")
    assert record["error"]["code"] == "no_geometry"


def test_the_index_itself_and_other_csv(release: Release, tmp_path: Path) -> None:
    release.add(2017, 8, "a")
    index = release.write() / "metadata.csv"
    assert release_metadata(index) == release_metadata(release.root) == index
    result = petct_here("convert", index, "-o", "out", cwd=tmp_path)
    assert len(result.records) == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metadata.csv").write_text("a,b\n1,2\n")
    assert release_metadata(tmp_path / "other") is None


def test_identity_is_the_path() -> None:
    assert study_identity("PETCT2017\\THANG 8\\PET\\x.npy") == study_identity("PETCT2017/THANG 8/PET/x.npz")
    others = {study_identity(f"{place}/x.npz") for place in ("A", "B", "PETCT2017/THANG 8/PET/more")}
    assert len(others) == 3
    assert all(len(one) == 16 for one in others)


@pytest.mark.real
def test_real_index(tmp_path: Path, real_data: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes((real_data / "vimed" / "metadata_head.csv").read_bytes())
    rows = list(csv.DictReader((tmp_path / "metadata.csv").open(encoding="utf-8-sig")))
    studies = list(release_studies(tmp_path / "metadata.csv"))
    assert len(studies) == len(rows) == len({study.id for study in studies if not hasattr(study, "place")})
    first: Any = studies[0]
    assert (first.id, first.sex, first.height_m) == ("2017-08-day_1_patient_0", "M", 1.59)
