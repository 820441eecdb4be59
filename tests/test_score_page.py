"""``petct score --html``: what the page says, and what a browser makes of it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import Browser, browser, find_browser
from hypothesis import given
from hypothesis import strategies as st
from in_process import petct_here
from numpy.typing import NDArray
from samples import lines
from test_score import predictions

from petct_cli.core.score_records import Comparison, Score
from petct_cli.metrics.families import Item
from petct_cli.metrics.interval_plot import Line, Point, interval_plot, nice_ticks
from petct_cli.metrics.verdict import verdict
from petct_cli.stages.score_cases import LONGEST_TEXT, Case, Mark, case_html, marked_text
from petct_cli.stages.score_page import best_systems

HOSTILE = "<script>window.hacked = 1</script><img src='http://127.0.0.1:9/x.png' onerror=\"window.hacked = 1\">\"'&lt;"
SIGHTS = {"desk": (1280, 900), "wide": (1600, 1000), "phone": (390, 844), "small phone": (360, 740)}
SIGNAL = {"yes": "Image signal: yes", "none": "Image signal: none", "untested": "Image signal: not tested"}


def one_of_each(number: int = 30) -> list[dict[str, Any]]:
    """Three systems: a good one with flaws of every kind and failures, one that saw nothing, and a hostile one."""
    good, blind = predictions(number, 1.0), predictions(number, 0.0)
    records = []
    for index, (one, other) in enumerate(zip(good, blind, strict=True)):
        text = one["hypothesis"]
        if index % 5 == 0:
            text = text.replace("phải", "\0").replace("trái", "phải").replace("\0", "trái")
        if index % 5 == 1:
            text = ".".join(text.split(".")[1:])
        if index % 5 == 2:
            text += " Nốt gan kích thước 77 mm, tăng chuyển hóa FDG (SUVmax: 33,3)."
        records.append({**one, "hypothesis": text, "system": "careful"})
        records.append({**other, "system": "blind"})
        records.append({**other, "hypothesis": f"{HOSTILE} {other['hypothesis']}\u202e", "system": HOSTILE})
    records[3] = {**records[3], "error": {"stage": "generate", "code": "timeout", "message": HOSTILE}}
    records[7] = {**records[7], "hypothesis": None}
    return records


def page_of(folder: Path, *records: dict[str, Any], more: tuple[str, ...] = ()) -> str:
    result = petct_here("score", "--html", "page.html", "-q", *more, cwd=folder, stdin=lines(*records))
    assert result.code == 0, result.stderr
    return (folder / "page.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    page_of(folder, *one_of_each(), more=("--bootstrap", "300"))
    return folder / "page.html"


class _Tags(HTMLParser):
    """Every tag closed in its turn, every attribute and every piece of text."""

    VOID = frozenset({"meta", "br", "img", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_of_a_record_is_markup(page: Path) -> None:
    tags = _Tags(page.read_text("utf-8"))
    assert not tags.seen & {"script", "img", "iframe", "link", "a href", "object", "form"}
    assert not {name for name in tags.attributes if name.startswith("on") or name in ("style", "src")}
    assert "<script>window.hacked" in tags.text
    assert "\u202e" not in tags.text


def test_the_verdict_comes_first_and_the_rest_follows(page: Path) -> None:
    text = _Tags(page.read_text("utf-8")).text
    order = ["1 of 3 systems shows an image signal", *["Leaderboard", "By region", "Worst cases", "Null controls"]]
    places = [text.rindex(part) for part in order]
    assert places == sorted(places)
    assert text.count("of 60 hypotheses failed or are missing") == 2
    for told in ("Counts", "Signatures", "extractor:rules-vi", "Another patient's report", "Reference itself"):
        assert told in text


def test_the_best_is_marked_and_only_there(page: Path) -> None:
    found = re.findall(r'<tr><th scope="row">([^<]+).*?</tr>', page.read_text("utf-8"))
    rows = [row for row in re.findall(r"<tr>.*?</tr>", page.read_text("utf-8")) if 'class="best"' in row]
    assert rows and len(rows) < len(found)
    assert all(row.count('class="best"') == 1 for row in rows)
    assert any("Site F1" in row for row in rows)


def test_the_records_are_those_without_the_page_and_the_bytes_are_the_same(petct: Any, tmp_path: Path) -> None:
    data = lines(*one_of_each(8))
    plain = petct("score", stdin=data, cwd=tmp_path)
    pages = []
    for number, name in enumerate(("a.html", "sub/b.html")):
        environment = {"PYTHONHASHSEED": str(number)}
        result = petct("score", "--html", name, stdin=data, cwd=tmp_path, env=environment)
        assert (result.code, result.stdout) == (0, plain.stdout)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.html", "b.html"]


def test_a_table_and_a_page_at_once(tmp_path: Path) -> None:
    done = petct_here("score", "--html", "p.html", "--format", "md", "-q", cwd=tmp_path, stdin=lines(*predictions(4)))
    assert done.stdout.startswith(b"| On |")
    assert (tmp_path / "p.html").exists()


def test_a_page_never_replaces_what_it_is_about(petct: Any, tmp_path: Path) -> None:
    data = lines(*predictions(4))
    (tmp_path / "a.jsonl").write_bytes(data)
    for arguments in (("--html", "a.jsonl"), ("--html", "p", "--append", "p"), ("--html", "p", "--lock", "p")):
        result = petct("score", "a.jsonl", *arguments, cwd=tmp_path)
        assert (result.code, result.stdout) == (2, b"")
        assert "[same_file]" in result.stderr
    os.mkfifo(tmp_path / "pipe")
    assert petct("score", "a.jsonl", "--html", "pipe", cwd=tmp_path).code == 74
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "a.jsonl").read_bytes() == data


def test_no_page_of_nothing_and_none_where_none_can_be_written(petct: Any, tmp_path: Path) -> None:
    assert petct("score", "--html", "page.html", stdin=b"", cwd=tmp_path).code == 65
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    result = petct("score", "--html", "file/page.html", stdin=lines(*predictions(4)), cwd=tmp_path)
    assert (result.code, result.stdout) == (74, b"")


@pytest.mark.parametrize(
    ("right", "more", "level"), [(1.0, (), "yes"), (0.0, (), "none"), (1.0, ("--no-controls",), "untested")]
)
def test_one_system_has_its_verdict_for_a_heading(
    tmp_path: Path, right: float, more: tuple[str, ...], level: str
) -> None:
    text = page_of(tmp_path, *predictions(24, right), more=more)
    assert f"<h1>{SIGNAL[level]}</h1>" in text
    assert ("Null controls" in text) == (level != "untested")


def test_each_field_of_groups_has_its_plots(tmp_path: Path) -> None:
    records = [{**one, "sex": "FM"[number % 2]} for number, one in enumerate(predictions(12))]
    text = page_of(tmp_path, *records, more=("--group-field", "region,sex", "--bootstrap", "50"))
    told = {name: text[text.index(f'<section id="by-{name}">') :].split("</section>")[0] for name in ("region", "sex")}
    assert ">abdomen pelvis</text>" in told["region"] and ">F</text>" not in told["region"]
    assert ">F</text>" in told["sex"] and "chest" not in told["sex"]


@pytest.mark.parametrize("metrics", ["bleu4", "suv_r", "size_mae_mm,rouge1"])
def test_any_metrics_make_a_page(tmp_path: Path, metrics: str) -> None:
    text = page_of(tmp_path, *predictions(6), more=("--metrics", metrics))
    assert '<article class="case">' in text
    _Tags(text)


def test_a_single_sample_without_a_word_makes_a_page(tmp_path: Path) -> None:
    text = page_of(tmp_path, {"id": "1", "reference": "Gan to.", "hypothesis": ""})
    assert "(empty)" in text
    _Tags(text)


def test_true_lesions_without_a_reference_are_listed(tmp_path: Path) -> None:
    records = [{**one, "reference": None, "hypothesis": "Nốt gan 12 mm, SUVmax 4,1."} for one in predictions(4)]
    text = page_of(tmp_path, *records, more=("--metrics", "site_f1"))
    assert "Lesions that came with the record" in text
    assert "(only in the reference: omitted)" in text
    assert "True lesions: " in text


def test_an_extraction_that_failed_is_no_text_without_lesions() -> None:
    item = Item("1", "p", "chest", None, "Nốt phổi.", "Gan to.")
    shown = case_html(Case(item, {"site_f1": float("nan")}, [], [], ["hypothesis"]), frozenset())
    assert "No lesions could be read from the hypothesis." in shown
    assert "<mark" not in shown and "nan" not in shown


def test_the_page_stays_small_whatever_comes(tmp_path: Path) -> None:
    records = [{**one, "hypothesis": f"{one['hypothesis']} {'lặp lại ' * 4000}"} for one in predictions(60)]
    records = [{**one, "region": f"{number % 40}"} for number, one in enumerate(records)]
    text = page_of(tmp_path, *records, more=("--metrics", "site_f1", "--bootstrap", "10"))
    assert text.count('<article class="case">') == 6
    assert "28 more groups are in the records" in text
    assert len(text.encode()) < 6 * (3 * LONGEST_TEXT + 4000) + 80_000


def score(metric: str, value: float, **more: Any) -> Score:
    return Score(metric=metric, value=value, n=3, signature="s", **more)


def test_a_signal_the_wrong_way_round_and_a_template_that_errs_less() -> None:
    own = {"site_f1": score("site_f1", 10.0), "rouge1": score("rouge1", 30.0, ci95=[20.0, 40.0])}
    shuffled = {"site_f1": score("site_f1", 30.0, counts={"image_signal": -20.0, "p_value": 0.01})}
    template = {"site_f1": score("site_f1", 9.0), "rouge1": score("rouge1", 35.0)}
    found = verdict(own, {"shuffled": shuffled, "template": template})
    assert (found.level, found.why) == ("against", "Site F1 -20.00, p = 0.01; a template scores better on ROUGE-1")
    assert "Fits other patients better than its own: 10.0 against 30.0" in found.reasons["site_f1"][0]
    errors = {"size_mae_mm": score("size_mae_mm", 5.0, higher_is_better=False)}
    fewer = {"size_mae_mm": score("size_mae_mm", 4.0, higher_is_better=False)}
    assert "errs less: 4.00" in verdict(errors, {"template": fewer}).reasons["size_mae_mm"][0]


def comparison(
    one: str, other: str, difference: float, p_value: float, metric: str = "m", up: bool = True
) -> Comparison:
    fields = {
        "id": "",
        "metric": metric,
        "system": one,
        "against": other,
        "difference": difference,
        "n": 3,
        "signature": "s",
    }
    return Comparison(**fields, p_value=p_value, p_adjusted=p_value, higher_is_better=up)


def test_a_verdict_says_why_there_is_none() -> None:
    own = {"bleu4": score("bleu4", 10.0)}
    for counts, why in (
        ({"image_signal": 3.0}, "no resamples to test it with"),
        ({"without_partner": 1.0}, "the texts could not be tested against those of other patients"),
    ):
        found = verdict(own, {"shuffled": {"bleu4": score("bleu4", 7.0, counts=counts)}})
        assert (found.level, found.why) == ("untested", why)


def test_the_best_has_beaten_every_other_system() -> None:
    won = [comparison("a", "b", 2.0, 0.01), comparison("c", "a", -1.0, 0.02), comparison("b", "c", 1.0, 0.3)]
    assert best_systems(won, 3) == {"m": "a"}
    assert best_systems([*won[:1], comparison("c", "a", -1.0, 0.2)], 3) == {}
    assert best_systems([comparison("a", "b", 2.0, 0.01, up=False)], 2) == {"m": "b"}
    # A third system that could not be compared may be better still.
    assert best_systems([comparison("a", "b", 2.0, 0.01)], 3) == {}


def without_notes(html: str) -> str:
    """The text that a person would copy from marked text."""
    html = re.sub(r'<span class="(?:unseen|note)">.*?</span>|<sup>.*?</sup>', "", html, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", "", html))


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"]), max_size=80),
    st.lists(st.tuples(st.integers(0, 80), st.integers(1, 30)), max_size=8),
)
def test_marking_changes_no_letter(text: str, spans: list[tuple[int, int]]) -> None:
    kinds = itertools.cycle(("matched", "omitted", "differs", "hallucinated"))
    inside = [(start, min(len(text), start + length)) for start, length in spans if start < len(text)]
    marks = [Mark(kind, (span,), "<b>", number) for number, (span, kind) in enumerate(zip(inside, kinds, strict=False))]
    html = marked_text(text, marks, frozenset())
    assert without_notes(html) == text
    _Tags(html)
    assert (html.count("<mark") > 0) == bool(inside)


def test_lesions_of_one_sentence_are_one_mark_that_says_which() -> None:
    text = "Nốt phổi hai bên. Gan to."
    marks = [Mark("omitted", ((0, 16),), "phổi trái"), Mark("differs", ((0, 16),), "phổi phải", 3, ("size", "suv"))]
    html = marked_text(text, marks, frozenset({"gan to"}))
    assert '<mark class="differs"' in html
    assert "<sup>3</sup>" in html
    assert "omitted: phổi trái; size, SUV: phổi phải" in html
    assert '<span class="stock">Gan to.</span>' in html


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_in_order_and_hold_the_values(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    assert ticks == sorted(ticks)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + width * 1e-3 and ticks[-1] >= low + width * (1 - 1e-3)


def test_a_plot_is_well_formed_and_says_its_values() -> None:
    points = [Point(series, "a<b", 10.0 * series, (10.0 * series - 1, 10.0 * series + 1)) for series in range(7)]
    svg = ElementTree.fromstring(interval_plot('x "y"', [Line("<one>", points), Line("a name of many letters", [])]))
    assert 'x "y". <one>: a<b 0 (-1 to 1), a<b 10 (9 to 11)' in svg.attrib["aria-label"]
    shapes = [group.findall("path")[-1].attrib["d"] for group in svg.findall("g")]
    assert len({re.sub(r"^M[-\d.]+ [-\d.]+", "", shape) for shape in shapes}) == 7


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tab(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium fonts-dejavu-core")
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(browser(program, tmp_path_factory.mktemp("profile")))
        except OSError as error:
            pytest.skip(f"{program} does not start here: {error}")
        opened.open(page)
        yield opened


def test_the_page_asks_for_nothing_and_runs_nothing(tab: Browser, page: Path) -> None:
    tab.look(*SIGHTS["desk"])
    assert tab.requests() == [page.as_uri()]
    assert tab.complaints() == []
    assert tab.value("typeof window.hacked") == "undefined"
    # The policy stands beside the escaping: what a page slips in does not run either.
    tab.value("document.body.insertAdjacentHTML('beforeend', '<img id=x src=http://127.0.0.1:9/y onerror=hacked=1>')")
    assert tab.value("new Promise(done => setTimeout(() => done(typeof window.hacked), 200))") == "undefined"
    assert any("Content Security Policy" in one for one in tab.complaints())
    tab.value("document.getElementById('x').remove()")


@pytest.mark.parametrize("sight", SIGHTS)
def test_nothing_sticks_out_and_the_verdict_is_seen_first(tab: Browser, sight: str) -> None:
    width, height = SIGHTS[sight]
    seen = tab.look(width, height)
    assert seen.shape == (height, width, 3)
    assert tab.value("document.documentElement.scrollWidth") == width
    assert tab.value("document.scrollingElement.scrollTop = 0, document.querySelector('h1').innerText") == (
        "1 of 3 systems shows an image signal"
    )
    box = tab.value("(r => [r.top, r.bottom, r.left, r.right])(document.querySelector('h1').getBoundingClientRect())")
    assert 0 <= box[0] < box[1] < height / 3
    assert 0 <= box[2] < box[3] <= width
    # Ink on paper: the heading's letters are there, in a font that has them.
    letters = tab.look(width, height)[int(box[0]) : int(box[1]), int(box[2]) : int(box[3])]
    assert 0.02 < float((letters.min(axis=2) < 100).mean()) < 0.5
    wide = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('.unseen')"
    assert tab.value(f"{wide} && e.getBoundingClientRect().right > innerWidth + 1).length") == 0


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", ["matched", "differs", "omitted", "hallucinated"])
def test_lesions_are_told_by_colour_and_line(tab: Browser, kind: str, dark: bool) -> None:
    tab.look(*SIGHTS["desk"], dark=dark)
    mark = f"document.querySelector('.text mark.{kind}')"
    tab.value(f"{mark}.scrollIntoView({{block: 'center'}})")
    styles = tab.value(f"(s => [s.backgroundColor, s.textDecorationColor])(getComputedStyle({mark}))")
    box = tab.value(f"(r => [r.top, r.bottom, r.left, r.right].map(Math.round))({mark}.getBoundingClientRect())")
    seen = tab.look(*SIGHTS["desk"], dark=dark)[max(0, box[0]) : box[1] + 8, box[2] : box[3]]
    fill, line = (colour(style) for style in styles)
    assert share(seen, fill) > 0.2
    assert share(seen, line) > 0.005


def test_lesions_are_told_without_any_colour(tab: Browser) -> None:
    tab.look(*SIGHTS["desk"])
    kinds = ["matched", "differs", "omitted", "hallucinated"]
    styles = [
        tab.value(f"getComputedStyle(document.querySelector('.text mark.{kind}')).textDecorationStyle")
        for kind in kinds
    ]
    assert len(set(styles)) == len(kinds)


def colour(css: str) -> NDArray[np.int64]:
    return np.array([int(number) for number in re.findall(r"\d+", css)[:3]])


def share(seen: NDArray[np.uint8], wanted: NDArray[np.int64]) -> float:
    return float((np.abs(seen.astype(np.int64) - wanted).max(axis=2) <= 3).mean())


CONTRAST = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
    .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255, 255, 255)'; };
  const worst = {};
  for (const e of document.querySelectorAll('main *, header *')) {
    if (e.closest('svg, .unseen') || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const name = e.tagName + '.' + e.className;
    worst[name] = Math.min(worst[name] ?? 99, ratio);
  }
  return worst; })()"""


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_can_be_read(tab: Browser, dark: bool) -> None:
    tab.look(*SIGHTS["desk"], dark=dark)
    found = tab.value(CONTRAST)
    assert any("stock" in name for name in found)
    # WCAG 2.2, 1.4.3, level AA.
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


def test_dark_is_dark_and_paper_is_white(tab: Browser) -> None:
    assert tab.look(*SIGHTS["desk"]).mean() > 200
    assert tab.look(*SIGHTS["desk"], dark=True).mean() < 80
    assert tab.look(*SIGHTS["desk"], dark=True, medium="print").mean() > 200


def test_tables_say_what_their_heads_belong_to(tab: Browser) -> None:
    assert tab.value("document.querySelectorAll('th:not([scope]), table:not(:has(caption))').length") == 0
    assert tab.value("document.querySelectorAll('.plot:not([role=img][aria-label])').length") == 0
    assert tab.value("document.documentElement.lang + document.querySelector('.text').lang") == "envi"
    levels = tab.value("[...document.querySelectorAll('h1,h2,h3,h4,h5')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


# --- with the real outputs --------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_published_outputs_show_no_image_signal(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "vimed" / "reports.jsonl"
    result = petct_here("score", source, "--html", "page.html", "-q", cwd=tmp_path)
    assert result.code == 0, result.stderr
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<h1>Image signal: none</h1>" in text
    assert re.search(r"a template scores better on [^<;]*ROUGE-L", text)
    assert text.count('<article class="case">') == 6
