"""Student's t and Holm's correction against scipy, closed forms and the closure principle."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from scipy import stats

from engine.study.statistics import deviation, holm, mean, t_interval, t_quantile, t_tail

DEGREES = [0.5, 1, 2, 3, 4, 5, 9, 17.3, 30, 99, 1000, 12_345, 1e5, 999_999, 2e6, 1e9]
PROBABILITIES = [1e-6, 0.001, 0.025, 0.2, 0.5, 0.6, 0.9, 0.95, 0.975, 0.995, 0.9995, 1 - 1e-9]


@pytest.mark.parametrize("df", DEGREES)
def test_quantiles_are_those_of_scipy(df: float) -> None:
    for p in PROBABILITIES:
        assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("df", DEGREES)
def test_tails_are_those_of_scipy(df: float) -> None:
    for t in (0.0, 1e-5, 0.1, 0.5, 1.0, 1.7, 2.0, 3.0, 5.0, 10.0, 100.0):
        assert t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-6, abs=1e-9)
        assert t_tail(-t, df) == pytest.approx(1 - stats.t.sf(t, df), rel=1e-6, abs=1e-9)


def test_the_quantile_undoes_the_tail_and_meets_closed_forms() -> None:
    for df in (1, 2, 3, 7, 40):
        for p in (0.6, 0.9, 0.975, 0.999):
            assert 1 - t_tail(t_quantile(p, df), df) == pytest.approx(p, abs=1e-12)
    # one degree of freedom is Cauchy's distribution; two have a closed form too
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)
    assert t_quantile(0.975, 2) == pytest.approx(2 * 0.475 * math.sqrt(2 / (4 * 0.975 * 0.025)))
    assert t_quantile(0.5, 3) == 0.0
    assert t_tail(math.inf, 3) == 0.0
    assert t_tail(-math.inf, 3) == 1.0


@pytest.mark.parametrize(("p", "df"), [(0.0, 3), (1.0, 3), (0.5, 0), (0.5, -1), (math.nan, 2)])
def test_there_is_no_quantile_outside_the_range(p: float, df: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        t_quantile(p, df)


@pytest.mark.parametrize(("t", "df"), [(1.0, 0), (1.0, -2), (math.nan, 3)])
def test_there_is_no_tail_outside_the_range(t: float, df: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        t_tail(t, df)


def test_intervals_are_those_of_scipy() -> None:
    rng = random.Random(5)
    for n in (2, 3, 5, 20):
        values = [rng.gauss(60, 2) for _ in range(n)]
        assert mean(values) == pytest.approx(sum(values) / n)
        assert deviation(values) == pytest.approx(stats.tstd(values))
        expected = stats.t.interval(0.9, n - 1, loc=sum(values) / n, scale=stats.sem(values))
        assert t_interval(values, 0.9) == pytest.approx(expected)


def test_intervals_of_three_cover_as_often_as_they_say() -> None:
    rng = random.Random(11)
    n = 20_000
    hits = 0
    for _ in range(n):
        low, high = t_interval([rng.gauss(50, 3) for _ in range(3)])
        hits += low <= 50 <= high
    assert hits / n == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / n))


def by_closure(p_values: list[float], family: int) -> list[float]:
    """Holm is the closed test whose local tests are Bonferroni's; absent members have p 1."""
    everybody = p_values + [1.0] * (family - len(p_values))
    adjusted = []
    for i in range(len(p_values)):
        worst = 0.0
        for size in range(1, family + 1):
            for members in itertools.combinations(range(family), size):
                if i in members:
                    worst = max(worst, min(1.0, size * min(everybody[j] for j in members)))
        adjusted.append(worst)
    return adjusted


def test_holm_is_the_closure_of_bonferroni() -> None:
    rng = random.Random(2)
    for _ in range(40):
        count = rng.randint(0, 6)
        family = rng.randint(max(count, 1), 7)
        p_values = [rng.choice([rng.random() ** 4, 0.01, 1.0, 0.0]) for _ in range(count)]
        assert holm(p_values, family) == pytest.approx(by_closure(p_values, family))
    assert holm([0.01, 0.04]) == [0.02, 0.04]
