"""The table of scores in the forms that papers and other programs take: Markdown, LaTeX, CSV, HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from types import MappingProxyType

import orjson

from petct_cli.core.score_records import Comparison, Score
from petct_cli.metrics.table import Cell, Line, Sheet, sheet

Records = Sequence[Score | Comparison]


def _heading(page: Sheet) -> list[str]:
    return [*(["System"] if page.named else []), "On", "n", *page.headings.values()]


def _texts(page: Sheet, line: Line) -> list[str]:
    return [*([line.system] if page.named else []), line.on, line.n]


def _cells(page: Sheet, line: Line) -> list[Cell]:
    return [line.cells.get(metric, Cell()) for metric in page.headings]


def markdown(records: Records) -> str:
    """Return the scores as a Markdown table, with the signatures below."""
    page = sheet(records)
    heading = _heading(page)
    rows = [[*_texts(page, line), *map(str, _cells(page, line))] for line in page.lines]
    table = "\n".join(
        "| " + " | ".join(map(_in_a_cell, row)) + " |" for row in [heading, ["---"] * len(heading), *rows]
    )
    return f"{table}\n\n" + "\n".join(f"- {' '.join(note.split())}" for note in page.notes) + "\n"


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


# A bracket that opens a row would be an argument of the line end before it.
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "[": "{[}",
        "]": "{]}",
        "-": "{-}",
        "↓": r"$\downarrow$",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)
_LATEX_HEAD = """\
% needs \\usepackage{booktabs}, and for names in Vietnamese XeLaTeX, LuaLaTeX or \\usepackage[T5]{fontenc}
"""


def latex(records: Records) -> str:
    """Return the scores as a LaTeX table (booktabs), with the notes and signatures as comments below."""
    page = sheet(records)
    labels = len(_heading(page)) - len(page.headings)
    lines = [r"\begin{tabular}{" + "l" * (labels - 1) + "r" * (len(page.headings) + 1) + "}", r"\toprule"]
    lines += [" & ".join(map(_escaped, _heading(page))) + r" \\"]
    section = ""
    for line in page.lines:
        if line.section != section:
            lines.append(r"\midrule")
            section = line.section
        cells = [_latex_cell(cell) for cell in _cells(page, line)]
        lines.append(" & ".join([*map(_escaped, _texts(page, line)), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = "".join(f"% {' '.join(note.split())}\n" for note in page.notes)
    return _LATEX_HEAD + "\n".join(lines) + "\n" + notes


def _escaped(text: str) -> str:
    # Control characters are errors to LaTeX.
    return "".join(char for char in " ".join(text.split()) if char.isprintable()).translate(_LATEX)


def _latex_number(text: str) -> str:
    return f"${text}$" if text[:1] in ("+", "-") else text


def _latex_cell(cell: Cell) -> str:
    beside = " ".join(map(_escaped, cell.beside)).replace("{-}", "$-$")
    return _latex_number(cell.value) + (rf" {{\scriptsize {beside}}}" if beside else "")


_COLUMNS = [
    *("metric", "value", "ci95_low", "ci95_high", "n", "higher_is_better", "system", "against", "group", "control"),
    *("image_signal", "p_value", "p_adjusted", "signature", "counts"),
]


def csv_rows(records: Records) -> str:
    """Return one row per record: a score, or with ``against`` the difference between two systems in ``value``."""
    page = io.StringIO()
    writer = csv.DictWriter(page, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: value for name, value in _row(record).items() if value is not None})
    return page.getvalue()


def _row(record: Score | Comparison) -> dict[str, object]:
    low, high = record.ci95 or (None, None)
    common: dict[str, object] = {
        "metric": record.metric,
        "ci95_low": low,
        "ci95_high": high,
        "n": record.n,
        "higher_is_better": str(record.higher_is_better).lower(),
        "system": record.system,
        "signature": record.signature,
    }
    if isinstance(record, Comparison):
        own = {"value": record.difference, "against": record.against}
        return {**common, **own, "p_value": record.p_value, "p_adjusted": record.p_adjusted}
    counts = dict(record.counts or {})
    own = {"value": record.value, "group": record.group, "control": record.control}
    tested = {name: counts.pop(name, None) for name in ("image_signal", "p_value")}
    return {**common, **own, **tested, "counts": orjson.dumps(counts).decode() if counts else None}


_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2rem}table{border-collapse:collapse}"
    "th,td{padding:.25rem .6rem;text-align:right;white-space:nowrap}.name{text-align:left}"
    "thead{border-block:1px solid}tbody{border-bottom:1px solid}small{display:block;color:#666}"
    "li{overflow-wrap:anywhere}"
)


def html(records: Records) -> str:
    """Return a small HTML page of its own with the table and the signatures below."""
    page = sheet(records)
    names = 2 if page.named else 1
    lines = ["<!doctype html>", '<html lang="en"><head><meta charset="utf-8"><title>petct score</title>']
    lines += [f"<style>{_STYLE}</style></head><body><table><thead>"]
    lines += [_html_row("th", [(text, ()) for text in _heading(page)], names), "</thead>"]
    section = ""
    for line in page.lines:
        if line.section != section:
            lines.append("</tbody><tbody>" if section else "<tbody>")
            section = line.section
        cells = [(text, ()) for text in _texts(page, line)] + [(cell.value, cell.beside) for cell in _cells(page, line)]
        lines.append(_html_row("td", cells, names))
    lines += ["</tbody></table><ul>", *(f"<li>{escape(note)}</li>" for note in page.notes), "</ul></body></html>"]
    return "\n".join(lines) + "\n"


def _html_row(tag: str, cells: Sequence[tuple[str, Sequence[str]]], names: int) -> str:
    def cell(place: int, text: str, beside: Sequence[str]) -> str:
        small = "".join(f"<small>{escape(part)}</small>" for part in beside)
        name = ' class="name"' if place < names else ""
        return f"<{tag}{name}>{escape(text)}{small}</{tag}>"

    return "<tr>" + "".join(cell(place, text, beside) for place, (text, beside) in enumerate(cells)) + "</tr>"


FORMS: Mapping[str, Callable[[Records], str]] = MappingProxyType(
    {"md": markdown, "latex": latex, "csv": csv_rows, "html": html}
)
