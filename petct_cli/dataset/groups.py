"""Patients who belong together because their reports say the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from petct_cli.dataset.duplicates import Alike, smallest_connected


@dataclass(frozen=True)
class Groups:
    """Which patients belong together.

    Attributes
    ----------
    leader
        The first patient of each patient's group, shape (patients,): itself, for most.
    templates
        How many patients share each text that was taken for a template.
    near_templates
        Whether each text belongs to so many near duplicates that they were taken for variants of a template.
    """

    leader: NDArray[np.int64]
    templates: tuple[int, ...] = ()

    @cached_property
    def patients(self) -> NDArray[np.int64]:
        """Number of patients in each patient's group."""
        return np.bincount(self.leader, minlength=len(self.leader))[self.leader]

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.leader, kind="stable")

    def members(self, leader: int) -> NDArray[np.int64]:
        """Return the patients of a group."""
        sorted_leaders = self.leader[self._order]
        start, stop = np.searchsorted(sorted_leaders, [leader, leader + 1])
        return self._order[start:stop]


def group_patients(patient: NDArray[np.int64], number: int, alike: Alike | None, template: int) -> Groups:
    """Join patients through exact and near duplicates, as far as these are no templates.

    A text that more than `template` patients share joins nobody. Where near duplicates would join more than that, only
    the exact ones do: such a chain leads from one variant of a template to the next.

    Parameters
    ----------
    patient
        Number of each report's patient.
    number
        How many patients there are.
    alike
        Which reports say the same; None: nobody belongs together.
    """
    alone = np.arange(number)
    if alike is None or not number:
        return Groups(alone)
    worded = alike.text >= 0
    pairs = np.unique(np.stack([alike.text[worded], patient[worded]], axis=1), axis=0)
    texts = int(alike.text.max()) + 1 if worded.any() else 0
    shared = np.bincount(pairs[:, 0], minlength=texts) if texts else np.empty(0, np.int64)
    is_template = shared > template
    exact = pairs[~is_template[pairs[:, 0]]]
    near = np.stack([alike.one, alike.other], axis=1)
    near = near[~is_template[near].any(axis=1)]
    leader = _leaders(number, texts, exact, near)
    size = np.bincount(leader[:number], minlength=number)
    chained = size[leader[:number]] > template
    templates = [int(n) for n in shared[is_template]]
    if chained.any() and len(near):
        loose = size[leader[number + near[:, 0]]] > template
        again = _leaders(number, texts, exact, near[~loose])
        heads = np.unique(leader[:number][chained])
        templates += [int(size[head]) for head in heads if (again[:number][leader[:number] == head] != head).any()]
        leader = again
    return Groups(leader[:number], tuple(sorted(templates, reverse=True)))


def _leaders(patients: int, texts: int, exact: NDArray[np.int64], near: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the smallest node of each node's component; patients are nodes 0.., texts follow."""
    one = np.concatenate([exact[:, 1], near[:, 0] + patients])
    other = np.concatenate([exact[:, 0] + patients, near[:, 1] + patients])
    return smallest_connected(patients + texts, one, other)
