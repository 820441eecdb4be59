"""The table of scores in each of its forms."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from petct_cli.core.score_records import Comparison, Score
from petct_cli.metrics.table_forms import FORMS, csv_rows, html, latex, markdown
from petct_cli.metrics.table_terminal import terminal


def score(metric: str = "bleu4", value: float | None = 11.5, **changes: Any) -> Score:
    plain: dict[str, Any] = {"id": metric, "metric": metric, "value": value, "n": 89 if value is not None else 0}
    plain |= {"ci95": [10.0, 12.25], "signature": "bleu:corpus|seed:0", "higher_is_better": metric != "size_mae_mm"}
    return Score(**{**plain, **changes})


def run_of(*systems: str | None) -> list[Score | Comparison]:
    """Return what two metrics of `systems` give, with groups, controls and comparisons."""
    found: list[Score | Comparison] = []
    for place, system in enumerate(systems):
        named = {} if system is None else {"system": system}
        for metric in ("bleu4", "size_mae_mm"):
            found.append(score(metric, 11.5 + place, **named))
            found += [score(metric, 20 + place, group=group, **named) for group in ("chest", "head_neck")]
            counts = {"image_signal": -0.001, "p_value": 0.9}
            signature = "bleu:corpus|shuffles:10|seed:0"
            found.append(score(metric, 11.501 + place, control="shuffled", counts=counts, signature=signature, **named))
            found.append(score(metric, 55.25, control="template", **named))
    for index, one in enumerate(systems):
        for other in systems[index + 1 :]:
            for metric in ("bleu4", "size_mae_mm"):
                fields: dict[str, Any] = {"metric": metric, "system": one, "against": other, "n": 89, "ci95": [-2, 0.1]}
                fields |= {"difference": -1.0, "p_value": 0.01, "p_adjusted": 0.03, "signature": "correction:holm-3"}
                found.append(Comparison(id="x", **fields))
    return found


def texts(records: list[Score | Comparison]) -> dict[str, str]:
    return {name: form(records) for name, form in FORMS.items()}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_tells_values_intervals_controls_differences_and_signatures(form: str) -> None:
    text = texts(run_of("A", "B", "C"))[form].replace("{[}", "[").replace("{-}", "-").replace("$", "")
    for part in ("11.5", "12.25", "89", "chest", "shuffled", "template", "55.25", "bleu:corpus", "shuffles:10"):
        assert part in text
    for part in ("-1", "0.01", "0.03", "0.9", "holm-3"):
        assert part in text


def test_the_signal_is_in_words_and_so_is_a_better_template() -> None:
    text = markdown(run_of(None))
    assert "- Image signal: none (BLEU-4 +0.00, p = 0.9; a template scores better on BLEU-4)" in text
    assert "| image signal |  | +0.00 p=0.9 | +0.00 p=0.9 |" in text


def test_what_is_over_another_number_says_so() -> None:
    table = markdown([score(), score("rouge1"), score("size_mae_mm", 6.0, n=10)])
    assert "| all | 89 | 6.00 [10.00, 12.25] n=10 |" in table
    assert "| On | n | Size MAE mm ↓ |" in table


def test_what_is_not_defined_is_empty() -> None:
    assert "| all | 89 |  | 11.50" in markdown([score("site_f1", None, ci95=None), score(), score("rouge1")])


def test_nothing_is_minus_zero() -> None:
    assert "[0.00, 0.00]" in markdown([score(value=-0.0001, ci95=[-0.001, 0.001])])


NASTY = ["[a] & 50 % of $x_1 #{^~}\\", 'Mô hình "Đ" <b>|-->', "c\nd"]


def test_latex_rows_have_as_many_cells_as_columns_whatever_the_names() -> None:
    text = latex(run_of(*NASTY))
    body = text.split("\\toprule")[1].split("\\bottomrule")[0]
    columns = re.search(r"begin{tabular}{(.+)}", text)
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert columns is not None
    assert len(rows) > 10
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == len(columns[1]) - 1
        assert not row.startswith("[")
        assert row.count("{") - row.count(r"\{") == row.count("}") - row.count(r"\}")
        assert re.findall(r"(?<!\\)[%#_^~<>|]", row) == []
        assert row.replace(r"\$", "").count("$") % 2 == 0
    assert "Mô hình" in text


def test_csv_is_a_row_per_record_in_full_precision() -> None:
    records = [score(value=11.216563, system=NASTY[0], counts={"failed": 1.0}), *run_of(*NASTY)]
    rows = list(csv.DictReader(io.StringIO(csv_rows(records))))
    assert len(rows) == len(records)
    assert rows[0]["value"] == "11.216563"
    assert (rows[0]["system"], rows[0]["counts"], rows[0]["group"]) == (NASTY[0], '{"failed":1.0}', "")
    assert {row["system"] for row in rows} == set(NASTY)
    last = rows[-1]
    assert (last["against"], last["value"], last["p_value"], last["p_adjusted"]) == (NASTY[2], "-1.0", "0.01", "0.03")
    signals = [row for row in rows if row["image_signal"]]
    assert {row["control"] for row in signals} == {"shuffled"}


class Cells(HTMLParser):
    """Counts the cells of each row, and sees that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append(0)
        self.rows[-1:] = [self.rows[-1] + 1] if tag in ("td", "th") else self.rows[-1:]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_and_shows_names_as_they_are() -> None:
    page = html(run_of(*NASTY))
    cells = Cells()
    cells.feed(page)
    assert cells.open == []
    assert set(cells.rows) == {5}
    assert "<b>" not in page
    assert "http" not in page


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_terminal_table_keeps_to_its_width(width: int) -> None:
    text = terminal(
        [*run_of("model-a", "model-b"), *(score(f"metric_{n}", system="model-a") for n in range(12))], width
    )
    table = text.split("\nLeft out:")[0]
    assert max(map(len, table.splitlines())) <= width
    assert all(f"metric_{n}" in table for n in range(12))
    assert "chest" in table


def test_of_many_groups_the_terminal_shows_the_first() -> None:
    scores = [score(), *(score(group=f"patient=p{n}") for n in range(100))]
    text = terminal(scores, 80)
    assert "p23" in text
    assert "p24" not in text
    assert "Left out: 76 more groups; --format md or csv has everything." in text


def test_a_terminal_shows_what_fits_one_screen_and_says_what_it_leaves_out() -> None:
    text = terminal(run_of(*"ABCDEF"), 100)
    table, below = text.split("Left out: ")
    assert below.startswith("differences between the others, other metrics by group;")
    # Of 15 pairs of systems those with the first; intervals of systems, not of controls; one group line per group.
    assert table.count("A minus") == 1
    assert len(re.findall("p=0.03", table)) == 5 * 2
    assert table.count("10.0, 12.2") == 6 * 2
    assert len(re.findall("^ chest .*", table, re.MULTILINE)) == 1
    assert "Size MAE mm by group" not in table
    assert len(text.splitlines()) < 75
    assert "A: Image signal: none (BLEU-4" in below
    for line in ("bleu4: bleu:corpus", "shuffles:10", "holm-3", "all metrics: seed:0"):
        assert line in below


def test_a_name_gives_no_command_to_a_terminal_and_stays_on_its_line() -> None:
    records = run_of("a\x1b[31m\n\u202ex\0", "b|c")
    for form in (markdown, html, latex, lambda records: terminal(records, 100)):
        text = form(records)
        assert not {char for char in text if not char.isprintable()} - {"\n"}
    assert "| a\ufffd[31m \ufffdx\ufffd - b\\|c |" in markdown(records)


def test_a_system_without_controls_is_said_to_be_untested() -> None:
    for text in (markdown([score()]), terminal([score()], 80)):
        assert "Image signal: not tested (no null controls)" in text
