"""The contact sheet: every study has its tile, failed ones their code; pages are whole, the records go by unchanged."""

from __future__ import annotations

import base64
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_process import petct_here
from samples import lines
from test_convert import make_study, only

from petct_cli.core.records import Record, Study
from petct_cli.stages.contact_sheet import ContactSheet, remarks

HOSTILE = "<script>alert(1)</script>\"'"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sheet")
    make_study(folder / "in")
    told = [
        only(petct_here("convert", "in", "-o", name, *more, cwd=folder))
        for name, more in (("a", ["--preview"]), ("b", []))
    ]
    return folder, told[0], told[1]


def failed(number: int, code: str = "geometry_missing_slice") -> dict[str, Any]:
    error = {"stage": "convert", "code": code, "message": f"{HOSTILE} in/secret/path"}
    return {"type": "study", "schema": 1, "id": f"bad{number}", "error": error}


def images(page: Path) -> list[bytes]:
    return [
        base64.b64decode(one) for one in re.findall(r'src="data:image/png;base64,([^"]+)"', page.read_text("utf-8"))
    ]


def test_previews_and_volumes_alike_become_tiles(converted: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    folder, with_preview, without = converted
    records = [with_preview, without, failed(1)]
    result = petct_here("gallery", "-", "-o", "check.html", "--title", HOSTILE, stdin=lines(*records), cwd=folder)
    assert (result.code, result.records) == (0, records)
    stored = (folder / with_preview["preview"]["path"]).read_bytes()
    # Drawn anew from the stored volumes it is the same picture.
    assert images(folder / "check.html") == [stored, stored]
    page = (folder / "check.html").read_text("utf-8")
    assert "failed in convert: geometry_missing_slice" in page
    assert "1 failed: geometry_missing_slice 1" in page
    assert "CT 10 x 16 x 16, 3 x 4 x 4 mm" in page
    assert "<script" not in page and "secret" not in page and "://" not in page


def test_pages_follow_each_other_and_old_ones_go(converted: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    folder, study, _ = converted
    records = [{**study, "id": f"s{k}"} for k in range(7)]
    (folder / "p-5.html").write_text("a page of somebody else")
    petct_here("gallery", "-", "-o", "p.html", "--per-page", "2", stdin=lines(*records), cwd=folder)
    pages = [folder / name for name in ("p.html", "p-2.html", "p-3.html", "p-4.html")]
    assert [len(images(page)) for page in pages] == [2, 2, 2, 1]
    assert [re.findall(r'href="\./(p[^"]*)"', page.read_text("utf-8"))[:2] for page in pages] == [
        ["p-2.html", "p-2.html"],
        ["p.html", "p-3.html"],
        ["p-2.html", "p-4.html"],
        ["p-3.html", "p-3.html"],
    ]
    assert "7 studies in all, none failed" in pages[3].read_text("utf-8")
    assert "studies 3 to 4" in pages[1].read_text("utf-8")
    petct_here("gallery", "-", "-o", "p.html", "--per-page", "2", stdin=lines(*records[:3]), cwd=folder)
    assert sorted(page.name for page in folder.glob("p*.html")) == ["p-2.html", "p-5.html", "p.html"]


@pytest.mark.parametrize(
    ("preview", "why"),
    [
        ("absent.png", "No such file"),
        ("letter.txt", "bad_preview"),
        ("huge.png", "bad_preview"),
        (".", "Is a directory"),
    ],
)
def test_a_picture_that_is_none_is_said(tmp_path: Path, preview: str, why: str) -> None:
    (tmp_path / "letter.txt").write_text("Bệnh nhân Nguyễn Thị Bí Mật")
    (tmp_path / "huge.png").write_bytes(PNG + bytes(3_000_000))
    record = {"type": "study", "schema": 1, "id": HOSTILE, "preview": {"path": preview, "sha256": "0"}}
    result = petct_here("gallery", "-", "-o", "page.html", stdin=lines(record), cwd=tmp_path)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert (result.code, result.records) == (0, [record])
    assert f"no picture: {why}" in page
    assert "&lt;script&gt;" in page and "<script" not in page
    assert images(tmp_path / "page.html") == []


def test_what_deserves_a_second_look_is_marked() -> None:
    volume = {"path": "x", "sha256": "0", "shape": [1, 1, 1], "spacing_mm": [1.0, 1.0, 1.0], "dtype": "float32"}
    suv = {"type": "bw", "branch": "b", "assumed": ["half_life"]}
    study = Study.model_validate(
        {
            "id": "s",
            "ct": {**volume, "unit": "HU", "geometry": {"verdict": "tilt"}},
            "pet": {**volume, "unit": "SUVbw", "geometry": {"verdict": "even", "z_overlap": 0.22}, "suv": suv},
        }
    )
    assert list(remarks(study)) == ["CT slices: tilt", "assumed: half_life", "the CT covers 22 % of the PET"]
    bare = study.with_fields(
        ct=None, pet=study.pet.model_copy(update={"unit": "stored", "suv": None, "geometry": None})
    )  # type: ignore[union-attr]
    assert list(remarks(bare)) == ["PET unit: stored"]


def test_memory_holds_one_page(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(PNG[:8] + bytes(60_000))
    preview = {"path": str(tmp_path / "p.png"), "sha256": "0"}

    def many(count: int) -> Iterator[Record]:
        for k in range(count):
            yield Study.model_validate({"id": f"s{k}", "preview": preview})

    peaks = []
    for count in (20, 200):
        tracemalloc.start()
        assert sum(1 for _ in ContactSheet(tmp_path / "c.html", per_page=10).collect(many(count))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_stream_of_samples_is_a_gallery_as_before_and_nothing_is_a_page(tmp_path: Path) -> None:
    assert petct_here("gallery", "-", "-o", "none.html", stdin=b"", cwd=tmp_path).code == 0
    assert "No case has images" in (tmp_path / "none.html").read_text("utf-8")


def test_studies_have_no_scores(tmp_path: Path) -> None:
    result = petct_here("gallery", "-", "-o", "x.html", "--scores", "s.jsonl", stdin=lines(failed(1)), cwd=tmp_path)
    assert result.code == 2
    assert "--scores goes with samples" in result.stderr
