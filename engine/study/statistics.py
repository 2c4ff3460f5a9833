"""Student's t distribution and Holm's correction, in plain Python.

The screen of a study and its commands compute these before torch or numpy are imported, and scipy
is no dependency. The tests compare the functions with scipy's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

_EPSILON = 3e-16  # relative; a double has 2.2e-16
_TINY = 1e-300  # in place of 0 in a denominator; its reciprocal is still finite
# Degrees of freedom. Above, lgamma of about 6e6 leaves an absolute error of 1e-9, while the normal
# approximation is right to 1e-12.
_NORMAL_ABOVE = 1e6
_MOST_TERMS = 100_000  # a bound for safety: the fraction has converged long before


def t_tail(t: float, df: float) -> float:
    """Probability that Student's t is above ``t``; absolute error below 1e-9.

    Args:
        t: any number, also an infinity.
        df: degrees of freedom, above 0.

    Raises:
        ValueError: when ``df`` is not above 0 or ``t`` is NaN.
    """
    if not df > 0 or t != t:
        raise ValueError(f"t {t} with {df} degrees of freedom has no probability")
    if t < 0:
        return 1.0 - t_tail(-t, df)
    if math.isinf(t):
        return 0.0
    if df > _NORMAL_ABOVE:
        # Abramowitz and Stegun 26.7.8: a normal deviate, right to 1 / df^2
        return 0.5 * math.erfc(
            t * (1.0 - 0.25 / df) / math.sqrt(1.0 + 0.5 * t * t / df) / math.sqrt(2.0)
        )
    # x = df / (df + t^2), y = 1 - x. hypot keeps the squares of large numbers finite, and y is not
    # made by a subtraction, which would cancel for small t.
    whole = math.hypot(math.sqrt(df), t)
    x = (math.sqrt(df) / whole) ** 2
    y = (t / whole) ** 2
    return 0.5 * _incomplete_beta(x, y, 0.5 * df, 0.5)


@functools.lru_cache(maxsize=256)
def t_quantile(p: float, df: float) -> float:
    """The value that Student's t stays below with probability ``p``, by bisection.

    Args:
        p: in (0, 1).
        df: degrees of freedom, above 0.

    Raises:
        ValueError: when an argument is outside its range.
    """
    if not 0.0 < p < 1.0 or not df > 0:
        raise ValueError(f"there is no quantile for {p} with {df} degrees of freedom")
    if p < 0.5:
        return -t_quantile(1.0 - p, df)
    if df > _NORMAL_ABOVE:
        z = NormalDist().inv_cdf(p)
        return z + (z**3 + z) / (4.0 * df)  # Abramowitz and Stegun 26.7.5, first term
    above = 1.0 - p
    low, high = 0.0, 1.0
    while t_tail(high, df) > above:  # double until the quantile is enclosed
        low, high = high, 2.0 * high
        if math.isinf(high):
            raise ValueError(f"the quantile for {p} with {df} degrees of freedom is too large")
    # Bisection, not Newton: the tail is monotone, so it cannot fail, and results are cached.
    while high - low > 1e-14 * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):  # neighbouring doubles
            break
        if t_tail(middle, df) > above:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _incomplete_beta(x: float, y: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), with ``y`` = 1 - ``x`` given exactly."""
    if x <= 0.0 or y <= 0.0:
        return 0.0 if x <= 0.0 else 1.0
    # x^a y^b / B(a, b), in logarithms, since the Gamma function overflows beyond 171. The logarithm
    # of the share near 1 comes from the other one, which is known to more digits.
    front = math.exp(
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * (math.log(x) if x < 0.5 else math.log1p(-y))
        + b * (math.log(y) if y < 0.5 else math.log1p(-x))
    )
    # The fraction converges fast on this side only (DLMF 8.17(v)); else I_x(a, b) = 1 - I_y(b, a).
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(y, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_TERMS):
        for term in (  # the coefficients of orders 2m and 2m + 1
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / _away(1.0 + term * d)
            c = _away(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < _EPSILON:
            break
    return value


def _away(value: float) -> float:
    """The value, kept away from 0, by which Lentz's method divides."""
    return value if abs(value) > _TINY else _TINY


def mean(values: Sequence[float]) -> float:
    """The mean of at least one number."""
    return math.fsum(values) / len(values)  # exact sum: equal values have that value as their mean


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of at least two numbers as a sample (over n - 1)."""
    middle = mean(values)
    return math.sqrt(math.fsum((v - middle) ** 2 for v in values) / (len(values) - 1))


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of at least two independent numbers.

    Args:
        values: at least two.
        level: how often it is to cover the mean, in (0, 1).
    """
    n = len(values)
    half = t_quantile(0.5 + 0.5 * level, n - 1) * deviation(values) / math.sqrt(n)
    return mean(values) - half, mean(values) + half


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Holm's adjusted p-values (Holm 1979), in the order given.

    A verdict at 0.05 on each keeps the chance of any false one in the family below 0.05, however
    the comparisons depend on each other.

    Args:
        p_values: of the comparisons that could be made.
        family: how many were planned; those that could not be made count as undecided.
    """
    m = len(p_values) if family is None else max(family, len(p_values))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, least = [0.0] * len(p_values), 0.0
    # The smallest p times m, the next times m - 1 and so on, each at least as large as the one
    # before: once a comparison is not decided, none with a larger p is.
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted
