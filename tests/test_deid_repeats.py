"""Slices that lie like one before: what their differences tell must be what the whole of them tells."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from dicom_trees import CT_CLASS, SYNTAXES, Node, Tree, file_of, trees
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian
from test_deid_rewrite import KEY, ct, saved

from petct_cli.core.errors import RecordError
from petct_cli.dicom.deid.files import DicomBytes, parse_dicom
from petct_cli.dicom.deid.identifiers import Collector
from petct_cli.dicom.deid.known import Known, know
from petct_cli.dicom.deid.layouts import Repeats
from petct_cli.dicom.deid.output import ResidualScan, write_deidentified
from petct_cli.dicom.deid.pieces import join
from petct_cli.dicom.deid.profile import load_profile
from petct_cli.dicom.deid.rewrite import Rewriter
from petct_cli.dicom.deid.selection import sop_class_of
from petct_cli.dicom.deid.study import Survey, survey_study
from petct_cli.dicom.deid.syntax import PIXEL_TAGS

CHARACTERS = st.sampled_from(b"0123456789 ABCabc^\\.\0\x80")
Edits = list[list[tuple[int, int, int]]]


@st.composite
def edits(draw: st.DrawFn) -> Edits:
    """For each further slice: which element, which byte of its value, and what to write there."""
    edit = st.tuples(st.integers(0, 80), st.integers(0, 40), CHARACTERS)
    return draw(st.lists(st.lists(edit, max_size=4), min_size=1, max_size=4))


def series_of(data: bytes, changes: Edits) -> list[bytes]:
    """Return `data` and copies of it with other bytes in some values; no element moves."""
    elements = [e for e in parse_dicom(data).elements if e.value_end > e.value and e.tag not in PIXEL_TAGS]
    files = [data]
    for slice_changes in changes:
        copy = bytearray(data)
        for element, at, byte in slice_changes:
            chosen = elements[element % len(elements)]
            # Not in sequences: their items tell where they end.
            if chosen.vr not in (b"SQ", b"UN"):
                copy[chosen.value + at % (chosen.value_end - chosen.value)] = byte
        files.append(bytes(copy))
    return files


def rewriter_of(known: Known, dicom: DicomBytes) -> Rewriter:
    def clean(text: str) -> str:
        for hit in reversed(known.find(text)):
            text = text[: hit.start] + text[hit.end :]
        return text

    return Rewriter(KEY, "tcia", "A", dicom.text(0x00100020), clean, known.find, dicom.text(0x00080070))


def rewritten(rewriter: Rewriter, dicom: DicomBytes) -> bytes:
    inserts = {0x00100010: (b"PN", b"pseudonym"), 0x00120062: (b"CS", b"YES")}
    return join(dicom.buffer, rewriter.data_set(dicom, sop_class_of(dicom), inserts))


@settings(max_examples=120, deadline=None)
@given(tree=trees(), syntax=st.sampled_from(SYNTAXES[:3]), changes=edits())
def test_a_slice_becomes_what_it_would_become_alone(tree: Tree, syntax: str, changes: Edits) -> None:
    found = [parse_dicom(data) for data in series_of(file_of(tree, syntax), changes)]
    collector, alone = Collector(load_profile("tcia")), [Collector(load_profile("tcia")) for _ in found]
    for dicom, own in zip(found, alone, strict=True):
        collector.add(dicom)
        own.add(dicom)
    for field in fields(collector.found):
        every = set().union(*(getattr(own.found, field.name) for own in alone))
        assert getattr(collector.found, field.name) == every, field.name
    known = know(collector.found)
    shared = rewriter_of(known, found[0])
    counts: Counter[str] = Counter()
    for dicom in found:
        own_rewriter = rewriter_of(known, found[0])
        assert rewritten(shared, dicom) == rewritten(own_rewriter, dicom)
        counts += own_rewriter.counts
        assert own_rewriter.written <= shared.written
    assert +shared.counts == +counts


def test_the_layout_is_recognised_at_all() -> None:
    one, other = (parse_dicom(saved(ct(InstanceNumber=number))) for number in (1, 2))
    assert one.layout is not None
    assert other.layout is one.layout


def test_many_large_layouts_are_not_all_held() -> None:
    repeats: Repeats[int] = Repeats()
    found = [parse_dicom(saved(ct(ImageComments="x" * 600_000, SeriesDescription="x" * n))) for n in range(2, 62, 2)]
    for number, dicom in enumerate(found):
        repeats.remember(dicom.layout, dicom.buffer, number)
        assert repeats.find(dicom.layout, dicom.buffer) == (number, [])
    assert sum(repeats.find(dicom.layout, dicom.buffer) is not None for dicom in found) < 15


def test_a_leak_in_a_later_slice_alone_is_found(tmp_path: Path) -> None:
    files = [saved(ct(PatientID="77123456", SeriesDescription=words)) for words in ("thorax  ", "77123456")]
    found = [parse_dicom(data) for data in files]
    collector = Collector(load_profile("tcia"))
    for dicom in found:
        collector.add(dicom)
    known = know(collector.found)
    rewriter = Rewriter(KEY, "tcia", "A", "77123456", lambda text: text, lambda _: (), "")
    scan = ResidualScan(known, rewriter.written)
    write_deidentified(found[0], tmp_path / "a", rewriter, None)
    scan.check(found[0], tmp_path / "a")
    write_deidentified(found[1], tmp_path / "b", rewriter, None)
    with pytest.raises(RecordError, match="is left in"):
        scan.check(found[1], tmp_path / "b")


def surveyed(folder: Path, *files: bytes) -> Survey:
    for number, data in enumerate(files):
        (folder / f"{number}").write_bytes(data)
    return survey_study(sorted(folder.iterdir()), "tcia")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned_in_annotation"),
        ({"ConversionType": "WSD"}, "secondary_capture"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "SCREEN "]}, "text_bearing_image_type"),
    ],
)
def test_a_later_slice_is_set_aside_for_what_it_alone_says(
    tmp_path: Path, changed: dict[str, object], reason: str
) -> None:
    base = {"BurnedInAnnotation": "NO ", "ConversionType": "   ", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL  "]}
    files = [saved(ct(**{**base, "SOPInstanceUID": f"1.2.3.{n}", "InstanceNumber": n})) for n in (1, 2)]
    odd = saved(ct(**{**base, **changed, "SOPInstanceUID": "1.2.3.3", "InstanceNumber": 3}))
    survey = surveyed(tmp_path, *files, odd)
    assert [one.reason for one in survey.quarantined] == [reason]
    assert [one.instance_number for one in survey.images] == [1, 2]


def test_a_later_slice_is_set_aside_for_what_its_file_meta_alone_says(tmp_path: Path) -> None:
    capture = b"1.2.840.10008.5.1.4.1.1.7"
    nodes = (
        Node(0x00080008, "CS", b"ORIGINAL\\PRIMARY\\AXIAL"), Node(0x00080060, "CS", b"CT"),
        Node(0x00100020, "LO", b"A"), Node(0x0020000D, "UI", b"1.2"), Node(0x7FE00010, "OW", bytes(128)),
    )  # fmt: skip
    image = file_of(Tree(nodes, (), frozenset()), ExplicitVRLittleEndian)
    survey = surveyed(tmp_path, image, image.replace(CT_CLASS.encode(), capture, 1))
    assert [one.reason for one in survey.quarantined] == ["secondary_capture"]
    assert len(survey.images) == 1


def test_two_patients_are_told_apart_by_slices_that_lie_alike(tmp_path: Path) -> None:
    files = [saved(ct(PatientID=number, SOPInstanceUID=f"1.2.3.{number}")) for number in ("10000001", "10000002")]
    with pytest.raises(RecordError, match="name 2 patients"):
        surveyed(tmp_path, *files)


def test_the_damaged_name_of_a_character_set_is_no_fault(tmp_path: Path) -> None:
    data = bytearray(saved(ct(SpecificCharacterSet="ISO_IR 100", SeriesDescription="khoá ngực é")))
    data[data.index(b"ISO_IR 100") + 7] = 0
    dicom = parse_dicom(bytes(data))
    collector = Collector(load_profile("tcia"))
    collector.add(dicom)
    assert dicom.decoded(0x0008103E).startswith("kho")
    write_deidentified(dicom, tmp_path / "a", rewriter_of(know(collector.found), dicom), None)
