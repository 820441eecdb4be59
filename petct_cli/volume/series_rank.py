"""One of several series, by one criterion after the other, so that each one left out has its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

One = TypeVar("One")


@dataclass(frozen=True)
class Criterion(Generic[One]):
    """What is asked of the series that are left: those of the highest value stay.

    Attributes
    ----------
    merit
        What the chosen one has before those that this criterion left out, in plain words.
    values
        Sees all that are left and returns the value of each.
    why_not
        Says, of one that was left out and the one taken, why.
    """

    merit: str
    values: Callable[[Sequence[One]], Sequence[Any]]
    why_not: Callable[[One, One], str]


@dataclass(frozen=True)
class Verdict(Generic[One]):
    """The one taken, by what merits, and the reason of each other one (by its place among those given)."""

    place: int
    taken: One
    merits: tuple[str, ...]
    why_not: dict[int, str]


def each(value: Callable[[One], Any]) -> Callable[[Sequence[One]], list[Any]]:
    """Return a function of all series from one of a single series."""
    return lambda some: [value(one) for one in some]


def take_one(series: Sequence[One], criteria: Sequence[Criterion[One]]) -> Verdict[One]:
    """Take one of `series`; what is left after all criteria is decided by order.

    A criterion is not asked where only one series is left: values may be read from every header, which takes time.
    """
    left = list(range(len(series)))
    out: dict[int, Criterion[One]] = {}
    merits: list[str] = []
    for criterion in criteria:
        if len(left) == 1:
            break
        values = dict(zip(left, criterion.values([series[i] for i in left]), strict=True))
        best = max(values.values())
        losers = [i for i in left if values[i] < best]
        out |= dict.fromkeys(losers, criterion)
        left = [i for i in left if i not in out]
        if losers:
            merits.append(criterion.merit)
    place = left[0]
    taken = series[place]
    why_not = {i: criterion.why_not(series[i], taken) for i, criterion in out.items()}
    why_not |= dict.fromkeys(left[1:], "another series of equal rank was taken")
    return Verdict(place, taken, tuple(merits), why_not)
