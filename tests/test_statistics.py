"""Intervals, paired tests and their correction against what they must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from petct_cli.metrics.statistics import Resampler, counted, holm, interval, p_value, sum_by_unit


def mean(sums: Any) -> Any:
    return sums[..., 0] / sums[..., 1]


def ci(rows: Any, resamples: int = 500, seed: int = 0) -> tuple[float, float] | None:
    drawn = Resampler(resamples, seed).sums(rows)
    return None if drawn is None else interval(mean(drawn))


def chance(one: Any, other: Any, resamples: int = 999, seed: int = 0) -> float:
    pair = Resampler(resamples, seed).exchanged(one, other)
    assert pair is not None
    found = p_value(float(mean(one.sum(0)) - mean(other.sum(0))), mean(pair[0]) - mean(pair[1]))
    assert found is not None
    return found


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        found = ci(np.column_stack([rng.normal(1, 1, 60), np.ones(60)]), 300, trial)
        assert found is not None
        covered += found[0] <= 1 <= found[1]
    assert 180 <= covered <= 200


def test_the_interval_has_the_width_of_the_standard_error() -> None:
    rows = np.column_stack([np.random.default_rng(0).normal(0, 2, 400), np.ones(400)])
    low, high = ci(rows, 4000) or (0, 0)
    assert high - low == pytest.approx(2 * 1.96 * rows[:, 0].std() / 20, rel=0.05)


def test_draws_are_a_bootstrap_of_the_units() -> None:
    units = 50
    drawn = Resampler(4000, 1).sums(np.eye(units))
    assert drawn is not None
    assert (drawn.sum(axis=1) == units).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(units), abs=0.08)
    # Multinomial: variance 1 - 1/n, covariance -1/n.
    assert drawn.var(axis=0).mean() == pytest.approx(1 - 1 / units, abs=0.03)
    assert np.cov(drawn.T)[~np.eye(units, dtype=bool)].mean() == pytest.approx(-1 / units, abs=0.002)


def test_the_unit_is_the_patient() -> None:
    rng = np.random.default_rng(4)
    rows = np.column_stack([np.repeat(rng.normal(0, 1, 40), 5), np.ones(200)])
    patients = [f"p{n // 5}" for n in range(200)]
    alone, clustered = ci(rows), ci(sum_by_unit(rows, patients))
    assert alone is not None
    assert clustered is not None
    assert clustered[1] - clustered[0] > 1.6 * (alone[1] - alone[0])
    order = rng.permutation(200)
    assert ci(sum_by_unit(rows[order], [patients[n] for n in order])) == pytest.approx(clustered)
    assert ci(rows[:1]) is None
    assert ci(rows, 0) is None


def test_what_else_is_scored_changes_nothing() -> None:
    rows = np.random.default_rng(0).uniform(1, 2, (70, 2))
    shared = Resampler(200, 0)
    for other in (5, 70, 300):
        shared.sums(np.ones((other, 3)))
        shared.exchanged(np.ones((other, 3)), np.zeros((other, 3)))
    after, alone = shared.sums(rows), Resampler(200, 0).sums(np.hstack([rows, rows]))
    assert after is not None
    assert alone is not None
    assert after == pytest.approx(alone[:, :2])


def test_draws_too_large_to_keep_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).uniform(1, 2, (70, 2))
    kept = Resampler(200, 0).sums(rows)
    monkeypatch.setattr("petct_cli.metrics.statistics._KEPT_BYTES", 1000)
    assert Resampler(200, 0).sums(rows) == pytest.approx(kept)


def test_units_of_another_kind_are_not_resampled() -> None:
    rows = np.array([[1.0, 1], [0, 0], [0, 1], [3, 1]])
    assert counted(rows).tolist() == [[1, 1], [0, 1], [3, 1]]


def test_sums_by_unit_are_in_the_order_of_the_names() -> None:
    rows = np.array([[1.0, 10], [2, 20], [4, 40]])
    assert sum_by_unit(rows, ["b", "a", "b"]).tolist() == [[2, 20], [5, 50]]
    assert sum_by_unit(rows[:0], []).shape == (0, 2)


def test_an_interval_of_what_is_mostly_undefined_is_none() -> None:
    assert interval(np.array([1.0, np.nan, np.nan])) is None
    assert interval(np.array([np.nan] * 3)) is None
    assert interval(np.array([1.0, 1.0, np.nan])) == (1, 1)
    values = np.random.default_rng(0).normal(size=137)
    assert interval(values) == pytest.approx(np.percentile(values, [2.5, 97.5]))


def test_the_paired_test_sees_a_difference_and_not_noise() -> None:
    rng = np.random.default_rng(5)
    one = np.column_stack([rng.normal(1, 1, 80), np.ones(80)])
    better = np.column_stack([one[:, 0] + 0.5, one[:, 1]])
    noisy = np.column_stack([rng.normal(1, 1, 80), np.ones(80)])
    assert chance(better, one) <= 0.002
    assert chance(noisy, one) > 0.05
    assert chance(one, one) == 1
    assert p_value(float("nan"), np.zeros(3)) is None


def test_p_values_are_uniform_when_two_systems_are_alike() -> None:
    rng = np.random.default_rng(6)
    found = []
    for trial in range(400):
        common = rng.normal(0, 1, 40)
        one, other = (np.column_stack([common + rng.normal(0, 1, 40), np.ones(40)]) for _ in range(2))
        found.append(chance(one, other, 199, trial))
    shares = [float(np.mean(np.array(found) <= level)) for level in (0.05, 0.25, 0.5, 0.75)]
    assert shares == pytest.approx([0.05, 0.25, 0.5, 0.75], abs=0.075)
    assert shares[0] < 0.085


def test_p_values_of_two_units_are_those_of_all_exchanges() -> None:
    one, other = np.array([[1.0, 1], [1, 1]]), np.array([[0.0, 1], [0, 1]])
    # Four exchanges, of which none and both give a difference as large.
    assert chance(one, other, 9999) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("given", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # R: p.adjust(p, "holm")
        ([0.2], [0.2]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.01, 0.01, 0.01], [0.03, 0.03, 0.03]),
        ([], []),
    ],
)
def test_holm_is_that_of_r(given: list[float], corrected: list[float]) -> None:
    assert holm(given) == pytest.approx(corrected)
