"""What a report says not to be there, and what it only does not mention."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petct_cli.report.absences import stated_absences

BOTH_LUNGS = [("lung", "left"), ("lung", "right")]


def free(text: str) -> list[tuple[str | None, str | None]]:
    return [(one.site, one.side) for one in stated_absences(text)]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Không phát hiện hình ảnh tăng chuyển hóa FDG ở nhu mô phổi 2 bên.", BOTH_LUNGS),
        ("Hai phổi không có ổ tăng chuyển hoá FDG bất thường.", BOTH_LUNGS),
        ("Nhu mô gan không tăng chuyển hóa FDG bất thường.", [("liver", None)]),
        ("Không thấy hạch nách trái tăng chuyển hóa FDG.", [("axillary_node", "left")]),
        (
            "Không thấy tổn thương gan, lách hay hạch ổ bụng tăng chuyển hóa FDG.",
            [("liver", None), ("spleen", None), ("abdominal_node", None)],
        ),
        ("Chưa thấy bất thường chuyển hóa FDG ở lồng ngực.", [(None, None)]),
    ],
)
def test_denied_uptake(text: str, places: list[tuple[str | None, str | None]]) -> None:
    assert free(text) == places


@pytest.mark.parametrize(
    "text",
    [
        "Hạch trung thất không to.",  # of size, not of uptake
        "Không thấy hình ảnh gãy xương bệnh lý.",
        "Không phát hiện hình ảnh tràn dịch màng phổi hai bên.",
        "Ngoài ra không phát hiện bất thường chuyển hóa FDG khác ở phổi.",
        "Các vị trí khác chưa thấy bất thường chuyển hóa FDG.",
        "Nốt phổi phải 6 mm, không tăng chuyển hóa FDG.",  # a nodule is there
        "Hình ảnh dải mở ở thùy dưới hai phổi, không tăng chuyển hóa FDG.",  # misspelt, but something is shown
        "Gan đã phẫu thuật, không phát hiện tăng chuyển hóa FDG do tái phát tại chỗ.",
        "Tăng chuyển hóa FDG ở gan theo đặc điểm sinh lý, không thấy bất thường.",
        "Không thấy tăng chuyển hóa FDG ở phổi trái nhưng có ở gan.",
        "Hình ảnh bắt xạ theo đặc điểm sinh lý ở gan.",
        "",
    ],
)
def test_what_says_nothing(text: str) -> None:
    assert free(text) == []


def test_spans_show_the_sentence() -> None:
    text = "Phổi có nốt. Không thấy tổn thương gan tăng chuyển hóa FDG. Hết."
    (one,) = stated_absences(text)
    assert text[slice(*one.span)] == "Không thấy tổn thương gan tăng chuyển hóa FDG."


@given(st.text(alphabet="khônthấyáăgcueFDGphổigan ,.;12\u0301\n", max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert all(0 <= one.span[0] <= one.span[1] <= len(text) for one in stated_absences(text))
