"""Structured reports of text: the content tree by section, and whose it is."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import write_series
from hypothesis import given
from hypothesis import strategies as st
from report_factory import code, item, sr

from petct_cli.core.errors import RecordError
from petct_cli.dataset.matching import ReportIndex, StudyKeys
from petct_cli.dataset.report_files import load_reports
from petct_cli.report.sections import parse_report
from petct_cli.report.structured import read_structured

FINDINGS, FINDING = code("121070", "DCM", "Findings"), code("121071", "DCM", "Finding")
IMPRESSIONS, IMPRESSION = code("121072", "DCM", "Impressions"), code("121073", "DCM", "Impression")


def text(name: Any, value: str, *children: Any) -> Any:
    return item("TEXT", name, *children, TextValue=value)


def sections(*items: Any, **header: Any) -> dict[str, str]:
    found = read_structured(sr(*items, **header))
    assert found is not None
    return parse_report(found.document).sections


def test_containers_are_sections_by_their_codes() -> None:
    size = item(
        "NUM",
        code("410668003", "SCT", "Length"),
        MeasuredValueSequence=[
            item("X", None, NumericValue="12.5", MeasurementUnitsCodeSequence=[code("mm", "UCUM", "mm")])
        ],
    )
    assert sections(
        item("CONTAINER", code("121060", "DCM", "Tiền căn"), text(code("1", "99X", "History"), "Hút thuốc.")),
        text(code("121109", "DCM", "Indications for Procedure"), "U phổi?"),
        item(
            "CONTAINER",
            FINDINGS,
            text(FINDING, "Nốt phổi phải.", size),
            item("CONTAINER", code("2", "99X", "Lồng ngực"), text(FINDING, "Hạch rốn phổi.")),
            item("CONTAINER", code("3", "99X", "Lách"), text(None, "Không to.")),
            item("CODE", code("4", "99X", "Uptake"), ConceptCodeSequence=[code("5", "99X", "High")]),
        ),
        item("CONTAINER", IMPRESSIONS, text(IMPRESSION, "U phổi."), text(FINDING, "Hạch di căn.")),
        item("CONTAINER", code("121068", "DCM", "Previous Findings"), text(FINDING, "Năm ngoái không có.")),
    ) == {
        "chest": "Hạch rốn phổi.",
        "impression": "U phổi.\nHạch di căn.",
        "history": "Hút thuốc.",
        "indication": "U phổi?",
        "abdomen_pelvis": "Lách: Không to.",
        "findings": "Nốt phổi phải.\nLength: 12.5 mm\nUptake: High",
    }


@pytest.mark.parametrize("number", [11, 22, 33, 34, 35])
def test_classes_of_text_are_read(number: int) -> None:
    told = sections(text(FINDING, "Phổi sáng."), sop_class=f"1.2.840.10008.5.1.4.1.1.88.{number}")
    assert told == {"findings": "Phổi sáng."}


def test_a_whole_report_in_one_text() -> None:
    whole = "Họ tên: Lý Hoa\r\nMÔ TẢ:\r\nLồng ngực: nốt.\r\nKẾT LUẬN: u phổi."
    assert sections(text(code("1", "99X", "Report text"), whole)) == {"chest": "nốt.", "impression": "u phổi."}


@pytest.mark.parametrize("charset", ["ISO_IR 192", "GB18030"])
def test_character_sets(charset: str) -> None:
    assert sections(text(FINDING, "Tổn thương phổi"), charset=charset) == {"findings": "Tổn thương phổi"}


def test_headers_and_observers_tell_whose_it_is_and_stay_out_of_the_text() -> None:
    person = item(
        "PNAME", code("121008", "DCM", "Person Observer Name"), relation="HAS OBS CONTEXT", PersonName="Vũ^Sơn"
    )
    found = read_structured(sr(person, text(FINDING, "Phổi sáng."), InstitutionName="BV X"))
    assert found is not None
    assert found.fields == {"study": "1.2.3", "accession": "ACC1", "patient": "P-77", "date": "20240103"}
    assert found.document == {"findings": "Phổi sáng."}
    assert {"Lý Hoa", "Vũ Sơn", "BV X"} <= set(found.beside.values())


@pytest.mark.parametrize(
    "keys", [{"study": ["1.2.3"]}, {"accession": ["acc1"]}, {"patient": ["P-77"], "date": "2024-01-03"}]
)
@pytest.mark.parametrize("name", ["a.dcm", "IM0001", "1.2.840.9"])
def test_matched_by_its_header_among_images(tmp_path: Path, keys: dict[str, Any], name: str) -> None:
    (tmp_path / name).write_bytes(sr(text(FINDING, "Phổi sáng.")))
    (tmp_path / "dose.dcm").write_bytes(sr(text(FINDING, "x"), sop_class="1.2.840.10008.5.1.4.1.1.88.67"))
    (tmp_path / "notes").write_bytes(b"nothing")
    write_series(tmp_path / "ct", "CT", np.ones((2, 4, 4), np.int16))
    index = ReportIndex(load_reports(tmp_path))
    assert index.size == 1
    assert index.match(StudyKeys(**keys)) is not None


@pytest.mark.parametrize(
    "data",
    [
        sr(text(FINDING, "x"), sop_class="1.2.840.10008.5.1.4.1.1.104.1"),
        sr(),
        sr(text(FINDING, "phổi" * 90))[:-120],
        b"\0" * 128 + b"DICM" + b"\xff" * 40,
    ],
    ids=["pdf", "empty", "cut", "noise"],
)
def test_what_cannot_be_read(data: bytes) -> None:
    with pytest.raises(RecordError) as caught:
        read_structured(data)
    assert caught.value.code == "report_format"


@given(st.integers(0, 2**32))
def test_any_damage_is_told_by_its_code(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(sr(item("CONTAINER", FINDINGS, text(FINDING, "Nốt phổi phải.")), text(IMPRESSION, "U phổi.")))
    for _ in range(rng.choice((1, 3, 20))):
        data[rng.randrange(128, len(data))] = rng.randrange(256)
    with suppress(RecordError):  # and nothing else
        read_structured(bytes(data))
