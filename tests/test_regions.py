"""Regions go by what the CT shows: bodies of known landmarks, in every posture, cut and orientation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import (
    Part,
    Scan,
    affine,
    arms_down,
    arms_up,
    bowel_gas,
    clothes,
    lungs,
    slabs,
    table,
    trunk,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import study, volume

from petct_cli.core.errors import RecordError, UsageError
from petct_cli.core.records import Study
from petct_cli.stages.pair import Pair
from petct_cli.stages.pair_regions import RegionRule
from petct_cli.volume.lungs import LungRun, find_lungs, read_slabs
from petct_cli.volume.regions import Overlap, RegionBounds, ascends, height_adapted_mm, regions_by_lungs
from petct_cli.volume.storage import save_volume

APEX, BASE = 300.0, 530.0
BODY = Scan(trunk() + lungs())
TIGHT_ARMS = [Part(300, 1000, (side * 190, 10), (42, 45), 40) for side in (1, -1)]
HALF_COLLAPSED = [
    lungs()[0],
    Part(300, 530, (-80, 0), (50, 75), -1000),
    Part(380, 530, (-60, 20), (25, 35), -650),
]
THIN = [
    *trunk(60, 80),
    *(Part(280, 560, (side * 80, 0), (60, 85), 40) for side in (1, -1)),
    Part(270, 900, (0, 0), (60, 90), 40),
    *lungs(),
]
SMALL = [
    replace(
        part,
        top=part.top * 0.65,
        bottom=part.bottom * 0.65,
        centre=(part.centre[0] * 0.65, part.centre[1] * 0.65),
        radii=(part.radii[0] * 0.65, part.radii[1] * 0.65),
    )
    for part in trunk() + lungs()
]


def found_in(scan: Scan, **changes: Any) -> LungRun | None:
    ct = scan.render().astype(changes.pop("dtype", np.int16))
    return find_lungs(slabs(ct), scan.shape, scan.spacing)


@pytest.mark.parametrize(
    "scan",
    [
        BODY,
        BODY.with_parts(*arms_down(), before=True),
        BODY.with_parts(*TIGHT_ARMS, before=True),
        replace(BODY.with_parts(*arms_up(), before=True), top=-230),
        BODY.with_parts(*table(), before=True),
        BODY.with_parts(*table(touching=False), before=True),
        BODY.with_parts(*clothes(), before=True),
        BODY.with_parts(*bowel_gas()),
        replace(
            BODY.with_parts(*clothes(), *table(), *arms_up(), before=True).with_parts(*bowel_gas()), top=-230, noise=40
        ),
        replace(BODY.with_parts(*bowel_gas()), noise=80),
        Scan(trunk() + lungs()[:1]),
        Scan([*trunk(), lungs()[0], Part(400, 500, (-80, 0), (35, 55), -780)]),
        Scan(trunk() + HALF_COLLAPSED),
        Scan(trunk() + lungs(hu=-1000) + lungs(radii=(38, 60))),
        Scan(trunk() + lungs(hu=-955)),
        Scan(trunk() + lungs(hu=-680)),
        Scan(trunk(270, 200) + lungs(), size=(150, 150)),
        Scan(trunk(270, 200) + lungs(), size=(90, 64)),
        Scan(THIN, spacing=(4.0, 4.0, 4.0), size=(150, 150)),
        replace(BODY, size=(38, 46)),
        replace(BODY, size=(60, 36)),
        replace(BODY, spacing=(8.0, 8.0, 8.0), size=(75, 75)),
        replace(BODY, spacing=(1.5, 1.0, 1.0), size=(512, 512), top=240, bottom=590),
        replace(BODY, blank=(20, 15)),
    ],
    ids=[
        "plain",
        "arms down",
        "arms down, touching",
        "arms up around a head rest",
        "on a couch",
        "above a couch",
        "under a blanket",
        "bowel gas",
        "all at once",
        "noise",
        "one lung",
        "lungs unequal",
        "one lung collapsed in a pneumothorax",
        "air around both lungs",
        "emphysema",
        "dense lungs",
        "obese",
        "obese, cut by the field of view",
        "a wall of 10 mm",
        "field of view cuts the lungs at the back and front",
        "field of view cuts the lungs at both sides",
        "coarse",
        "fine",
        "no CT at either end",
    ],
)
def test_lungs_are_where_they_are(scan: Scan) -> None:
    run = found_in(scan)
    assert run is not None
    start, stop = scan.slices(APEX, BASE)
    assert abs(run.start - start) <= 1
    assert abs(run.stop - stop) <= 1
    assert not (run.cut_first or run.cut_last)


def test_a_child_has_lungs() -> None:
    scan = Scan(SMALL, bottom=620)
    run = found_in(scan)
    assert run is not None
    assert (run.start, run.stop) == pytest.approx(scan.slices(APEX * 0.65, BASE * 0.65), abs=1)


@pytest.mark.parametrize(
    "scan",
    [
        Scan(trunk(), bottom=230),
        Scan([*arms_up(), *trunk()], top=-230, bottom=230),
        Scan(trunk(), top=700, bottom=1700),
        Scan([*clothes(), *table(), *trunk()], top=700, bottom=1500),
        Scan([*table(), *trunk(), *bowel_gas()], top=540, bottom=1000),
        Scan([], bottom=300),
        Scan(trunk(), bottom=300, blank=(80, 0)),
        Scan(trunk() + lungs(radii=(15, 20))),
    ],
    ids=["head", "head, arms up", "legs", "legs on a couch", "abdomen with gas", "air", "no CT at all", "tiny lungs"],
)
def test_no_chest_is_no_chest(scan: Scan) -> None:
    assert found_in(scan) is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_any_dtype_and_not_a_number(dtype: type[np.generic]) -> None:
    ct = BODY.render().astype(dtype)
    if ct.dtype.kind == "f":
        ct[:, :5] = np.nan
        ct[:, 5:8] = np.inf
        ct[:, 8:9] = -np.inf
    assert find_lungs(slabs(ct), BODY.shape, BODY.spacing) == found_in(BODY)


def test_rows_and_columns_may_run_any_way() -> None:
    ct = BODY.with_parts(*table(), before=True).render()
    expected = find_lungs(slabs(ct), BODY.shape, BODY.spacing)
    assert expected is not None
    for turned in (ct[:, ::-1], ct[:, :, ::-1], ct.transpose(0, 2, 1)):
        run = find_lungs(slabs(turned), BODY.shape, BODY.spacing)
        assert run is not None
        assert (run.start, run.stop) == (expected.start, expected.stop)
    upside_down = find_lungs(slabs(ct[::-1]), BODY.shape, BODY.spacing)
    assert upside_down is not None
    assert upside_down.flipped(BODY.shape[0]) == expected


@settings(max_examples=12, deadline=None)
@given(
    st.floats(-230, 250),
    st.floats(560, 1000),
    st.floats(120, 260),
    st.floats(290, 420),
    st.sampled_from([[], arms_down(), arms_up(), TIGHT_ARMS]),
    st.sampled_from([[], table(), table(touching=False), clothes()]),
    st.sampled_from([[], bowel_gas()]),
    st.sampled_from([1.5, 3.0, 5.0, 8.0]),
)
def test_any_lungs_in_any_scan(
    top: float,
    bottom: float,
    length: float,
    apex: float,
    arms: list[Part],
    around: list[Part],
    gas: list[Part],
    spacing: float,
) -> None:
    base = min(apex + length, 545.0)
    parts = [*around, *arms, *trunk(), *lungs(apex, base), *gas]
    scan = Scan(parts, top, bottom, (spacing, 6.0, 6.0), (100, 100), 20.0)
    run = found_in(scan)
    assert run is not None
    start, stop = scan.slices(apex, base)
    tolerance = max(1, round(3.0 / spacing))
    assert abs(run.start - start) <= tolerance
    assert abs(run.stop - stop) <= tolerance
    assert not (run.cut_first or run.cut_last)


@pytest.mark.parametrize(
    ("scan", "cut"),
    [
        (replace(BODY, top=400), (False, True)),
        (replace(BODY, bottom=480), (True, False)),
        (replace(BODY, top=380, bottom=480), (True, True)),
        (replace(BODY, blank=(0, 110)), (False, True)),
        (replace(BODY, top=298), (False, True)),
    ],
    ids=["above", "below", "both", "where the CT ends before the PET", "just at the apex"],
)
def test_a_scan_that_ends_within_the_lungs_is_partial(scan: Scan, cut: tuple[bool, bool]) -> None:
    run = found_in(scan)
    assert run is not None
    assert (run.cut_first, run.cut_last) == cut
    bounds = regions_by_lungs(run, scan.shape[0], scan.spacing[0], Overlap(4))
    gone = {"head_neck": cut[1], "abdomen_pelvis": cut[0], "chest": False}
    assert {one.name for one in bounds} == {name for name, absent in gone.items() if not absent}
    assert all(one.partial for one in bounds)
    assert all("ends before the lungs" in (one.warning or "") for one in bounds)


def stored(folder: Path, scan: Scan, *, ascending: bool = True, name: str = "ct.b2nd", **fields: Any) -> Study:
    ct = scan.render()
    matrix = affine(scan.spacing, scan.shape, ascending=ascending)
    path = folder / name
    save_volume(path, ct if ascending else ct[::-1], matrix)
    shared = {"shape": list(scan.shape), "spacing_mm": list(scan.spacing), "affine": matrix, "path": str(path)}
    return Study.model_validate(study(ct=volume("ct", **shared), pet=volume("pet", **shared), **fields))


def test_regions_of_a_volume_in_either_order(tmp_path: Path) -> None:
    rule = RegionRule.parse("anatomy", "40mm")
    slices, (base, apex) = BODY.shape[0], BODY.slices(APEX, BASE)
    for name in ("ct.b2nd", "ct.nii.gz"):
        record = stored(tmp_path, BODY, name=name)
        assert record.ct is not None
        upright = rule.cut(record, record.ct)
        assert [(one.name, one.start, one.stop) for one in upright] == [
            ("head_neck", apex - 5, slices),
            ("chest", base - 5, apex + 5),
            ("abdomen_pelvis", 0, base + 5),
        ]
        assert {(one.method, one.partial, one.warning) for one in upright} == {("anatomy", False, None)}
        record = stored(tmp_path, BODY, ascending=False, name=name)
        assert record.ct is not None
        turned = rule.cut(record, record.ct)
        assert [(one.name, slices - one.stop, slices - one.start) for one in turned] == [
            (one.name, one.start, one.stop) for one in upright
        ]


def test_every_rule_knows_where_the_head_is(tmp_path: Path) -> None:
    record = stored(tmp_path, BODY, ascending=False)
    assert record.ct is not None
    for method in ("paper", "fractions:20,35,45", "anatomy"):
        head, _, abdomen = RegionRule.parse(method, "0").cut(record, record.ct)
        assert head.start == 0
        assert abdomen.stop == BODY.shape[0]


def test_slices_that_are_not_axial_have_no_regions() -> None:
    sagittal = [[4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    with pytest.raises(RecordError, match="not axial"):
        ascends(sagittal)
    shared = {"affine": sagittal}
    record = Study.model_validate(study(ct=volume("ct", **shared), pet=volume("pet", **shared)))
    assert {sample.error and sample.error.code for sample in Pair()(record)} == {"not_axial"}
    assert len(list(Pair(RegionRule("whole"))(record))) == 1


def test_a_scan_that_shows_a_stump_is_partial_there() -> None:
    scan = Scan(trunk() + lungs(), top=220, bottom=640)
    run = found_in(scan)
    assert run is not None
    head, chest, abdomen = regions_by_lungs(run, scan.shape[0], scan.spacing[0], Overlap(0))
    assert (head.partial, chest.partial, abdomen.partial) == (True, False, True)


def test_without_lungs_the_paper_serves_a_long_scan_and_nothing_a_short_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = stored(tmp_path, Scan(trunk(), spacing=(8.0, 8.0, 8.0), size=(75, 75)))
    samples = list(Pair()(long))
    assert [sample.region.name for sample in samples if sample.region] == ["head_neck", "chest", "abdomen_pelvis"]
    assert {sample.region.method for sample in samples if sample.region} == {"paper"}
    assert {sample.region.warning for sample in samples if sample.region} == {
        "no lungs are seen: cut by the paper's fractions"
    }
    short = stored(tmp_path, Scan(trunk(), bottom=230))
    caplog.clear()
    (sample,) = Pair()(short)
    assert sample.region is not None
    assert (sample.region.name, sample.region.method, sample.region.partial) == ("unknown", "none", True)
    assert sample.region.warning is not None
    assert sample.id == "s1/unknown/report"
    assert [message.split(":")[0] for message in caplog.messages] == ["s1"]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda path: path.unlink(), "ct_unreadable"),
        (lambda path: path.write_bytes(b"no volume"), "ct_unreadable"),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "ct_unreadable"),
        (lambda path: save_volume(path, np.zeros((9, 9, 9), np.int16)), "bad_volume"),
    ],
    ids=["gone", "another file", "cut short", "another shape"],
)
@pytest.mark.parametrize("name", ["ct.b2nd", "ct.nii.gz"])
def test_a_ct_that_cannot_be_read_fails_the_study(tmp_path: Path, spoil: Any, code: str, name: str) -> None:
    record = stored(tmp_path, Scan(trunk(), bottom=300), name=name)
    spoil(tmp_path / name)
    assert [sample.error and sample.error.code for sample in Pair()(record)] == [code] * 3
    assert all(str(tmp_path) not in (sample.error.message if sample.error else "") for sample in Pair()(record))


def test_the_paper_counts_down_to_the_knee_of_who_is_scanned_to_the_toes() -> None:
    feet = volume("ct", shape=[220, 8, 8]), volume("pet", shape=[220, 8, 8])
    whole = Study.model_validate(study(ct=feet[0], pet=feet[1], height_m=1.70))
    thigh = Study.model_validate(study(height_m=1.70))
    unknown = Study.model_validate(study(ct=feet[0], pet=feet[1]))
    rule = RegionRule.parse("paper", "0")

    def cuts(record: Study) -> list[tuple[int, int]]:
        assert record.ct is not None
        return [(one.start, one.stop) for one in rule.cut(record, record.ct)]

    length = 0.715 * 1700 / 8
    assert cuts(whole) == [
        (220 - round(0.2 * length), 220),
        (220 - round(0.55 * length), 220 - round(0.2 * length)),
        (0, 220 - round(0.55 * length)),
    ]
    assert cuts(unknown) == [(176, 220), (99, 176), (0, 99)]
    assert cuts(thigh) == [(88, 110), (49, 88), (0, 49)]
    assert [height_adapted_mm(height) for height in (None, 0.0, 17.0)] == [None] * 3


def test_rules() -> None:
    assert RegionRule().method == "anatomy"
    assert RegionRule.parse("anatomy", "20").fractions() is None
    with pytest.raises(UsageError, match="anatomy, paper, whole"):
        RegionRule.parse("anatomy:1", "20")


@given(
    st.integers(1, 600),
    st.floats(0.5, 10),
    st.floats(0, 1),
    st.floats(0, 1),
    st.one_of(st.floats(0, 200).map(lambda mm: Overlap(mm, "mm")), st.integers(0, 900).map(Overlap)),
)
def test_regions_by_lungs_cover_the_scan(
    slices: int, spacing: float, one: float, other: float, overlap: Overlap
) -> None:
    start, stop = sorted((round(one * (slices - 1)), round(other * (slices - 1))))
    stop += 1
    run = LungRun(start, stop, start == 0, stop == slices, 100.0)
    found = regions_by_lungs(run, slices, spacing, overlap)
    covered = set().union(*(range(region.start, region.stop) for region in found))
    assert covered == set(range(slices))
    assert all(0 <= region.start < region.stop <= slices for region in found)
    chest = next(region for region in found if region.name == "chest")
    assert chest.start <= start < stop <= chest.stop
    inner = {region.name: region for region in found}
    if len(inner) == 3 and overlap.in_slices(spacing) < 2 * min(start, stop - start, slices - stop):
        shared = round(overlap.in_slices(spacing))
        assert inner["chest"].stop - inner["head_neck"].start == shared
        assert inner["abdomen_pelvis"].stop - inner["chest"].start == shared


@given(st.integers(0, 2**32 - 1))
def test_noise_alone_has_no_lungs(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(-900, 200, (12, 30, 30)).astype(np.int16)
    run = find_lungs(slabs(noise), (12, 30, 30), (4.0, 5.0, 5.0))
    assert run is None or isinstance(run, LungRun)


def test_slabs_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "ct.b2nd"
    ct = BODY.render()
    save_volume(path, ct)
    read = read_slabs(path, BODY.shape)
    assert np.array_equal(read(7, 50), ct[7:50])
    assert find_lungs(read, BODY.shape, BODY.spacing) == found_in(BODY)


@pytest.mark.real
def test_a_real_chest(real_data: Path, tmp_path: Path) -> None:
    from petct_cli.dicom.scan import scan_studies
    from petct_cli.stages.convert import Convert

    (record,) = scan_studies([real_data / "lung1_001_ct"])
    (converted,) = Convert(out=tmp_path)(record)
    assert isinstance(converted, Study)
    assert converted.ct is not None
    head, chest, abdomen = RegionRule.parse("anatomy", "0").cut(converted, converted.ct)
    # The file's own order begins at the head: slices 30 to 103 of 134, 219 mm.
    slices = converted.ct.shape[0]
    assert (slices - chest.stop, slices - chest.start) == pytest.approx((30, 103), abs=2)
    assert (chest.stop - chest.start) * converted.ct.spacing_mm[0] == pytest.approx(219, abs=6)
    assert [isinstance(one, RegionBounds) and one.partial for one in (head, chest, abdomen)] == [True, False, True]
