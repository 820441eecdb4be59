"""Rows of cells under a header, as tables of reports come: what each row holds by label, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from petct_cli.dataset.matching import field_named, holds_report
from petct_cli.report.sections import section_named

HEADER_WITHIN = 20
_LONGEST_LABEL = 100
NO_VALUE = "\0"
"""A cell whose value nobody knows: a formula that was saved without its result."""
Merged = tuple[int, int, int]
"""Cells of one column, counted from 0, that are one: the column, its first row and its last."""
IsHeader = Callable[[Sequence[str]], bool]


@dataclass(frozen=True)
class Labelled:
    """A table.

    Attributes
    ----------
    labels
        Of the header, without empty ones.
    rows
        Number and values by label of each row that has any.
    damaged
        Numbers of the rows that reach beyond the header, or lack the value of a cell that means something.
    is_known
        Whether the header tells whose reports these are, or where their text is.
    """

    labels: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]
    damaged: frozenset[int]
    is_known: bool


def known_labels(texts: Sequence[str]) -> int:
    """Return how many of the texts name what petct looks for in a report."""
    labels = [text for text in texts if len(text) <= _LONGEST_LABEL]
    return sum(bool(field_named(text) or section_named(text) or holds_report(text)) for text in labels)


def labelled(
    rows: Sequence[tuple[int, Sequence[str]]], is_header: IsHeader | None = None, merged: Iterable[Merged] = ()
) -> Labelled:
    """Return numbered rows of cells by the labels of their header, below a title if there is one.

    Two rows of labels (merged cells above those that they span) are one header. A text under a label that stands twice
    is joined with the first; other values under such a label, and words in a column without one, get a label that
    nobody knows, so that they count as not understood.

    Parameters
    ----------
    is_header
        Tells the row of labels; None: the first that has two labels known to petct, else two cells.
    merged
        Below the header, each row of them has the value of the first.
    """
    filled = [(number, [text.strip() for text in texts]) for number, texts in rows if any(map(str.strip, texts))]
    if not filled:
        return Labelled((), [], frozenset(), is_known=False)
    head = _header([texts for _, texts in filled[:HEADER_WITHIN]], is_header)
    labels = filled[head][1]
    below = filled[head + 1 :]
    if below and _is_second_header(below[0][1]):
        width = max(len(labels), len(below[0][1]))
        upper, lower = (texts + [""] * (width - len(texts)) for texts in (labels, below.pop(0)[1]))
        labels = [second or first for first, second in zip(upper, lower, strict=True)]
    labels = [label.replace(NO_VALUE, "") for label in labels]
    _fill_down(dict(below), merged)
    meaning = [bool(known_labels([label]) or (is_header is not None and is_header([label]))) for label in labels]
    found = [(number, _by_label(labels, texts)) for number, texts in below]
    damaged = frozenset(
        number
        for number, texts in below
        if any(texts[len(labels) :])
        or any(told and text == NO_VALUE for told, text in zip(meaning, texts, strict=False))
    )
    return Labelled(
        labels=tuple(filter(None, labels)),
        rows=[(number, row) for number, row in found if row or number in damaged],
        damaged=damaged,
        is_known=known_labels(labels) > 0 or (is_header is not None and is_header(labels)),
    )


def _header(rows: Sequence[Sequence[str]], is_header: IsHeader | None) -> int:
    """Return which row holds the labels: above it there may be a title, a hospital and a date."""
    tests: list[IsHeader] = [is_header or (lambda texts: known_labels(texts) >= 2)]
    tests.append(lambda texts: sum(map(bool, texts)) >= 2)
    for test in tests:
        for place, texts in enumerate(rows):
            if test([text for text in texts if text]):
                return place
    return 0


def _is_second_header(texts: Sequence[str]) -> bool:
    cells = [text for text in texts if text]
    return known_labels(cells) == len(cells)


def _fill_down(rows: Mapping[int, list[str]], merged: Iterable[Merged]) -> None:
    for column, first, last in merged:
        above = rows.get(first, [])
        for number in range(first + 1, min(last, max(rows)) + 1) if column < len(above) else ():
            texts = rows.get(number)
            if texts is not None:
                texts += [""] * (column + 1 - len(texts))
                texts[column] = texts[column] or above[column]


def _by_label(labels: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, text in enumerate(texts):
        label = labels[place] if place < len(labels) else ""
        if text in ("", NO_VALUE) or (not label and not any(map(str.isalpha, text))):
            # A number in a column without a label is the number of the row.
            continue
        if label in found and (section_named(label) or holds_report(label)):
            found[label] += f"\n{text}"
        else:
            found[label if label and label not in found else f"{label or 'column'} ({place + 1})"] = text
    return found
