"""The extractor on invented findings: tables that were read by hand, and sentences put together from slots."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petct_cli.report.lesions import ExtractedLesion, extract_lesions
from petct_cli.report.normalise import fold
from petct_cli.report.spelling import unmarked

Told = dict[str, str]
HERE = Path(__file__).parent
TABLES = ("lesions_vi.txt", "lesions_vi_held_out.txt", "lesions_vi_third.txt", "lesions_vi_fourth.txt")


def read_table(name: str) -> list[tuple[str, list[Told]]]:
    cases: list[tuple[str, list[Told]]] = []
    for line in (HERE / name).read_text("utf-8").splitlines():
        if line.startswith(" "):
            cases[-1][1].append(dict(pair.split("=", 1) for pair in line.split()))
        elif line and not line.startswith("#"):
            cases.append((line, []))
    return cases


def told(lesion: ExtractedLesion) -> Told:
    given = {name: getattr(lesion, name) for name in ("kind", "organ", "side", "part", "level", "fdg", "count")}
    given["sizes"] = ",".join(f"{size:g}" for size in lesion.sizes_mm) or None
    given["suv"] = None if lesion.suv_max is None else f"{lesion.suv_max:g}"
    given["inv"] = {"no": "no", "yes": ",".join(lesion.invades) or "yes"}.get(lesion.invasion or "")
    return {name: str(value) for name, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("text", "lesions"),
    [case for name in TABLES for case in read_table(name)],
    ids=lambda case: str(case)[:40],
)
def test_a_sentence(text: str, lesions: list[Told]) -> None:
    assert [told(lesion) for lesion in extract_lesions(text)] == lesions


@pytest.mark.parametrize(("text", "lesions"), read_table("lesions_en.txt"), ids=lambda case: str(case)[:40])
def test_an_english_sentence(text: str, lesions: list[Told]) -> None:
    assert [told(lesion) for lesion in extract_lesions(text, "en")] == lesions


@pytest.mark.parametrize(
    "change", ["NFD", "upper", "tone", "point", "plain spaces", "tabs", "two spaces", "no break", "no width"]
)
def test_spelling_changes_nothing(change: str) -> None:
    for text, lesions in read_table("lesions_vi.txt"):
        other = {
            "NFD": unicodedata.normalize("NFD", text),
            "upper": text.upper(),
            "tone": text.replace("hóa", "hoá").replace("thùy", "thuỳ").replace("tụy", "tuỵ"),
            "point": point(text),
            "plain spaces": f"  {text}  ",
            "tabs": text.replace(" ", "\t"),
            "two spaces": text.replace(" ", "  "),
            "no break": text.replace(" ", "\u00a0"),
            "no width": text.replace(" ", " \u200b"),
        }[change]
        found = extract_lesions(other)
        assert [told(lesion) for lesion in found] == lesions, other
        stated = [words_of(other[lesion.span[0] : lesion.span[1]]) for lesion in found]
        assert stated == [words_of(text[lesion.span[0] : lesion.span[1]]) for lesion in extract_lesions(text)]


def words_of(text: str) -> list[str]:
    return fold(text.replace("\u200b", "").replace(",", ".")).split()


def point(text: str) -> str:
    return "".join(
        "." if char == "," and text[i - 1].isdigit() and text[i + 1 : i + 2].isdigit() else char
        for i, char in enumerate(text)
    )


def without_marks(text: str) -> str:
    return "".join(unmarked(char) if char.islower() else unmarked(char.lower()).upper() for char in text)


def some_words_without_marks(text: str, rng: Random) -> str:
    words = text.split(" ")
    marked = [index for index, word in enumerate(words) if not word.isascii()]
    for index in rng.sample(marked, min(2, len(marked))):
        words[index] = without_marks(words[index])
    return " ".join(words)


def two_letters_swapped(text: str, rng: Random) -> str:
    words = text.split(" ")
    long = [index for index, word in enumerate(words) if word.isalpha() and len(word) > 3]
    if long:
        index = rng.choice(long)
        at = rng.randrange(1, len(words[index]) - 1)
        word = words[index]
        words[index] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


@pytest.mark.parametrize(
    ("mistyped", "share"),
    [
        (lambda text, _: without_marks(text), 0.85),
        (some_words_without_marks, 0.78),
        (two_letters_swapped, 0.88),
    ],
    ids=["no marks", "two words without marks", "two letters swapped"],
)
def test_most_of_what_is_mistyped_is_understood(mistyped: Callable[[str, Random], str], share: float) -> None:
    cases = [case for name in TABLES for case in read_table(name)]
    rng = Random(0)
    right = sum([told(one) for one in extract_lesions(mistyped(text, rng))] == lesions for text, lesions in cases)
    print(f"{right} of {len(cases)}")
    assert right >= share * len(cases)


ORGANS = {
    # how it is written: (organ, site of something that is no node, has a side)
    "thùy dưới phổi": ("lung", "lung", True),
    "gan": ("liver", "liver", False),
    "lách": ("spleen", "spleen", False),
    "tuyến mang tai": ("parotid", None, True),
    "thượng thận": ("adrenal", None, True),
    "thận": ("kidney", None, True),
    "tinh hoàn": ("testis", None, True),
    "xương bả vai": ("scapula", None, True),
    "xương hàm dưới": ("mandible", None, True),
    "cánh chậu": ("iliac_bone", "iliac_bone", True),
    "đầu tụy": ("pancreas", None, False),
    "trực tràng": ("rectum", None, False),
    "thực quản": ("oesophagus", None, False),
    "tiểu não": ("brain", None, True),
    "buồng trứng": ("ovary", None, True),
    "xương đòn": ("clavicle", None, True),
    "cơ mông lớn": ("muscle", None, True),
    "nội mạc tử cung": ("uterus", None, False),
    "xương ức": ("sternum", None, False),
    "hốc mũi": ("nasal_cavity", None, True),
}
KINDS = {"nốt mờ": "nodule", "khối": "mass", "nang": "cyst", "ổ áp xe": "collection", "tổn thương": "lesion"}
SIDES = {"": None, "phải": "right", "bên trái": "left", "(P)": "right", "(T)": "left", "hai bên": "bilateral"}
SIZES = {
    "": (),
    "kích thước {a} x {b} mm": ("a", "b"),
    "KT {a}x{b}mm": ("a", "b"),
    "đk {a} mm": ("a",),
    "d = {a} mm": ("a",),
    "khoảng {a} × {b} × {a} mm": ("a", "b", "a"),
    "# {a} mm": ("a",),
    "đường kính ngang ~{a}mm": ("a",),
}
SUVS = ["", "SUVmax {v}", "SUVmax={v}", "SUV max: {v}", "(SUVmax ≈ {v})", "max SUV {v}", "SUVmax đạt {v}"]
UPTAKES = {
    "": None,
    "tăng chuyển hóa FDG": "increased",
    "bắt FDG mạnh": "increased",
    "tăng hấp thu glucose": "increased",
    "không tăng chuyển hóa FDG": "none",
    "không bắt xạ": "none",
    "chưa thấy tăng hấp thu FDG": "none",
}
FRAMES = [
    "{kind} {organ} {side}, {size}, {uptake}, {suv}.",
    "Trên CT thấy {kind} {organ} {side} {size}, {uptake} {suv}.",
    "Tại {organ} {side} có {kind} {size}, {uptake}, {suv}.",
    "{organ} {side}: {kind} {size}, {uptake}; không thấy vôi hóa.",
    "Còn {kind} ở {organ} {side}, {size}, {uptake} {suv}, nghĩ nhiều tới lành tính.",
]


@settings(max_examples=500, deadline=None)
@given(
    frame=st.sampled_from(FRAMES),
    kind=st.sampled_from(sorted(KINDS)),
    organ=st.sampled_from(sorted(ORGANS)),
    side=st.sampled_from(sorted(SIDES)),
    size=st.sampled_from(sorted(SIZES)),
    suv=st.sampled_from(SUVS),
    uptake=st.sampled_from(sorted(UPTAKES)),
    numbers=st.tuples(st.integers(5, 99), st.integers(3, 60), st.integers(11, 290)),
)
def test_every_slot_is_read(
    frame: str, kind: str, organ: str, side: str, size: str, suv: str, uptake: str, numbers: tuple[int, int, int]
) -> None:
    name, site, lateral = ORGANS[organ]
    side = side if lateral else ""
    a, b, tenths = numbers
    written = {
        "kind": kind,
        "organ": organ,
        "side": side,
        "size": size.format(a=a, b=b),
        "suv": suv.format(v=f"{tenths / 10:.1f}".replace(".", ",")),
        "uptake": uptake,
    }
    text = frame.format(**written)
    (lesion,) = extract_lesions(text[0].upper() + text[1:])
    assert (lesion.organ, lesion.site, lesion.side, lesion.kind) == (name, site, SIDES[side], KINDS[kind]), text
    assert lesion.sizes_mm == tuple({"a": float(a), "b": float(b)}[axis] for axis in SIZES[size]), text
    assert lesion.suv_max == (tenths / 10 if suv and "{suv}" in frame else None), text
    assert lesion.fdg == UPTAKES[uptake], text


@settings(max_examples=200, deadline=None)
@given(
    organ=st.sampled_from(sorted(ORGANS)),
    kind=st.sampled_from(sorted(KINDS)),
    denial=st.sampled_from(
        ["Không thấy {k} ở {o}.", "{o} chưa ghi nhận {k}.", "Không có {k} {o}.", "{o}: không phát hiện {k} bất thường."]
    ),
)
def test_what_is_denied_is_not_there(organ: str, kind: str, denial: str) -> None:
    assert extract_lesions(denial.format(o=organ, k=kind)) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(read_table("lesions_vi.txt")), min_size=2, max_size=4, unique_by=lambda case: case[0]))
def test_sentences_do_not_touch_each_other(cases: list[tuple[str, list[Told]]]) -> None:
    together = extract_lesions("\n".join(text for text, _ in cases))
    apart = [lesion for text, _ in cases for lesion in extract_lesions(text)]
    # Lesions of one place may be told to be the same one; nothing else may change.
    if len({(lesion.organ, lesion.side) for lesion in apart}) == len(apart):
        assert [told(lesion) for lesion in together] == [told(lesion) for lesion in apart]
