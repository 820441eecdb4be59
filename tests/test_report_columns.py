"""Tables of reports whose columns are called as a hospital calls them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Result
from hypothesis import given
from hypothesis import strategies as st
from samples import lines, study

from petct_cli.core.errors import InputError, UsageError
from petct_cli.dataset.columns import TARGETS, ReportColumns, parse_columns
from petct_cli.dataset.report_files import load_reports
from petct_cli.report.sections import parse_report

Petct = Callable[..., Result]
SPEC = "findings=MoTa,impression=KetLuan,accession=SoPhieu,impression_en=KetLuanEN"
ROW = {
    "SoPhieu": "A1",
    "MoTa": "Lồng ngực: nốt phổi.",
    "KetLuan": "U phổi.",
    "KetLuanEN": "Lung tumour.",
    "Ghi chú": "x",
}


def table(suffix: str, *rows: dict[str, str]) -> bytes:
    if suffix == ".xlsx":
        from openpyxl import Workbook

        book = Workbook()
        book.active.append(["Bệnh viện X", "Năm 2024"])
        book.active.append(list(rows[0]))
        for row in rows:
            book.active.append(list(row.values()))
        book.create_sheet("Ghi chú").append(["nothing", "here"])
        out = io.BytesIO()
        book.save(out)
        return out.getvalue()
    if suffix == ".jsonl":
        return b"\n".join(map(orjson.dumps, rows))
    if suffix == ".json":
        return orjson.dumps(rows)
    mark = "\t" if suffix == ".tsv" else ";"
    return "\n".join(mark.join(cells) for cells in (rows[0], *(row.values() for row in rows))).encode()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".xlsx"])
def test_columns_are_what_the_map_says(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"r{suffix}").write_bytes(table(suffix, ROW))
    (entry,) = load_reports(tmp_path, parse_columns(SPEC))
    assert entry.fields == {"accession": "A1"}
    parsed = parse_report(entry.document)
    assert parsed.sections == {"chest": "nốt phổi.", "impression": "U phổi."}
    assert parsed.translations == {"en": {"impression": "Lung tumour."}}
    assert parsed.unknown == 1


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".xlsx"])
def test_a_column_that_is_not_there_is_named_with_its_table(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.csv").write_bytes(table(".csv", ROW))
    (tmp_path / f"NGUYEN_VAN_A{suffix}").write_bytes(table(suffix, {"SoPhieu": "A2", "KetLuan": "x", "KetLuanEN": "y"}))
    with pytest.raises(InputError) as caught:
        list(load_reports(tmp_path, parse_columns(SPEC)))
    assert caught.value.code == "report_column"
    assert caught.value.message == "report file 1 of 2 has no column 'MoTa'"


def test_files_of_one_report_each_may_lack_a_key_that_others_have(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(orjson.dumps({"MoTa": "x", "SoPhieu": "1"}))
    (tmp_path / "b.json").write_bytes(orjson.dumps({"MoTa": "y", "KetLuan": "z"}))
    columns = parse_columns("findings=MoTa,impression=KetLuan")
    assert [parse_report(entry.document).sections for entry in load_reports(tmp_path, columns)] == [
        {"findings": "x"},
        {"impression": "z", "findings": "y"},
    ]
    with pytest.raises(InputError) as caught:
        list(load_reports(tmp_path, parse_columns("findings=MoTa,history=TienSu")))
    assert caught.value.message == "the JSON reports have no column 'TienSu'"


def test_a_mapped_meaning_is_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("Mã BN,Số hồ sơ,Kết luận,KL\n1,2,cũ,mới\n", encoding="utf-8")
    (entry,) = load_reports(tmp_path, parse_columns("patient=số hồ sơ,impression=KL"))
    assert entry.fields == {"patient": "2"}
    assert parse_report(entry.document).sections == {"impression": "mới"}
    assert "1" in parse_report(entry.document).not_understood.values()


def test_several_columns_make_one_text_and_a_report_has_columns_beside(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('findings = ["A", "B, b"]\nlang = "L"\nreport = "R"\n', encoding="utf-8")
    (tmp_path / "c.json").write_bytes(orjson.dumps({"findings": ["A", "B, b"], "lang": "L", "report": "R"}))
    columns = parse_columns(str(tmp_path / "c.toml"))
    assert columns == parse_columns(str(tmp_path / "c.json"))
    row = {"A": "one", "B, b": "two", "L": "en", "R": "Kết luận: u."}
    (tmp_path / "r").mkdir()
    (tmp_path / "r/r.jsonl").write_bytes(orjson.dumps(row))
    (entry,) = load_reports(tmp_path / "r", columns)
    parsed = parse_report(entry.document)
    assert parsed.lang == "en"
    assert parsed.sections == {"impression": "u.", "findings": "one\ntwo"}


@pytest.mark.parametrize(
    "spec", ["", "x", "nobody=A", "findings=", "patient=A,patient=B", "gone.toml", "findings=A,,", "Findings:A"]
)
def test_maps_that_cannot_be_meant(petct: Petct, tmp_path: Path, spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_columns(spec)
    assert caught.value.code == "bad_report_columns"
    (tmp_path / "r.csv").write_bytes(table(".csv", ROW))
    arguments = ("pair", "--reports", "r.csv", "--report-columns", spec)
    assert petct(*arguments, stdin=b"", cwd=tmp_path).code == 2


def test_from_the_command_line(petct: Petct, tmp_path: Path) -> None:
    row = {"Study": "s1", "MoTa": "Lồng ngực: nốt phổi.", "EN": "Chest: lung nodule.", "Ghi chú": "gì đó"}
    (tmp_path / "r.csv").write_bytes(table(".csv", row))
    command = ("pair", "--regions", "whole", "--duplicates", "off", "--reports", "r.csv")
    stdin = lines(study("s1", report=None))
    spec = "study=Study,findings=MoTa,findings_en=EN"
    result = petct(*command, "--report-columns", spec, "--unmatched", "u.jsonl", stdin=stdin, cwd=tmp_path)
    (record,) = result.records
    assert record["reference"] == "nốt phổi."
    assert record["translations"] == {"en": "lung nodule."}
    assert "1 reports have parts that were not understood [report_not_understood]" in result.stderr
    assert "gì đó" not in result.stderr
    assert orjson.loads((tmp_path / "u.jsonl").read_bytes()) == {
        "side": "report", "report": 1, "code": "report_not_understood", "parts": 1,
    }  # fmt: skip
    missing = petct(*command, "--report-columns", "findings=Gone", stdin=stdin, cwd=tmp_path)
    assert missing.code == 65
    assert "report file 1 of 1 has no column 'Gone'" in missing.stderr


@given(
    st.dictionaries(st.sampled_from(TARGETS), st.text("abAB ạ", min_size=1).filter(str.strip), max_size=5), st.data()
)
def test_no_value_of_a_row_is_lost(targets: dict[str, str], data: Any) -> None:
    labels = data.draw(st.lists(st.text("abAB ạ", min_size=1), unique=True, max_size=6))
    row = {label: f"<{number}>" for number, label in enumerate(labels)}
    renamed = ReportColumns(tuple(targets.items())).renamed(row)
    assert all(any(value in text for text in renamed.values()) for value in row.values())
