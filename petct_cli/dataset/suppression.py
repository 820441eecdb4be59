"""Small cells of a table of patients are not shown, nor what would give them away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SMALLEST = 5
"""Fewer patients than this are not told."""

Key = tuple[str, ...]


def hidden(counts: Mapping[Key, int], smallest: int = SMALLEST) -> set[Key]:
    """Return the cells of a table of one or two dimensions that must not be shown.

    Those are the ones with 1 to ``smallest - 1`` patients and, where a row or column would have only one hidden cell,
    its next smallest: totals are told elsewhere, and a difference would be enough. Empty cells are shown as 0.
    """
    found = {key for key, count in counts.items() if 0 < count < smallest}
    lines = _lines(list(counts))
    changed = True
    while changed:
        changed = False
        for line in lines:
            told = sorted((counts[key], key) for key in line if key not in found and counts[key] > 0)
            if len(found.intersection(line)) == 1 and told:
                found.add(told[0][1])
                changed = True
    return found


def _lines(keys: Sequence[Key]) -> list[list[Key]]:
    """Return the rows and columns of a table; a list is one row."""
    if all(len(key) == 1 for key in keys):
        return [list(keys)]
    return [
        [key for key in keys if key[axis] == value] for axis in (0, 1) for value in sorted({key[axis] for key in keys})
    ]
