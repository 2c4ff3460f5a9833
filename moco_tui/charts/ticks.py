"""Round numbers for the axes, and short texts for them."""

from __future__ import annotations

import math


def linear(low: float, high: float, count: int) -> list[float]:
    """Round values within the limits: about ``count``, a third more at most.

    Their distance is 1, 2 or 5 times a power of ten, and at least 3/4 of ``(high - low) / count``.
    """
    if count < 1 or not high > low or not math.isfinite(high - low):
        return []
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 0.0
    if power <= 0:  # the distance, or its power of ten, is below the smallest float
        return []
    step = next(m * power for m in (1, 2, 5, 10, 20) if m * power >= 0.75 * raw)
    if low + step == low or high + step == high:  # lost in rounding: all would be one value
        return []
    # A limit that is round itself is a tick, though the division may fall beside the integer.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log10(low: float, high: float, count: int) -> list[float]:
    """Values for a logarithmic axis: powers of ten, or round values between less than two of them.

    Args:
        low: log10 of the value at the lower edge.
        high: log10 of the value at the upper edge.
        count: about how many; fewer powers of ten, at equal distances, where there are more.
    """
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if last - first + 1 >= 2:
        stride = max(1, math.ceil((last - first + 1) / max(count, 1)))
        # float64 ends at 1.8e308, and its full precision at 2.2e-308
        return [10.0**i for i in range(first, last + 1, stride) if -300 < i < 300]
    if not (low > -300 and high < 300):
        return []
    return [value for value in linear(10.0**low, 10.0**high, count) if value > 0]


def label(value: float, span: float = 0.0) -> str:
    """A short text of a tick; ``span`` (distance of two ticks) says how many digits it needs."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or (size < 1e-4 and (not span or span < 1e-4)):
        # Of two ticks that are close together all the digits that tell them apart.
        apart = math.floor(math.log10(size)) - math.floor(math.log10(span)) + 1 if span else 0
        text = f"{value:.{min(max(3, apart), 17)}g}"
        if size >= 1e6 and size < 1e9:
            text = f"{value / 1e6:.{min(max(4, apart), 17)}g}M"
        return text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
    if size >= 10_000 and (not span or span >= 100):
        return f"{value / 1e3:.4g}k"
    if span:
        digits = max(0, -math.floor(math.log10(span) + 1e-9))  # those of the distance of two ticks
        return f"{value:,.{min(digits, 8)}f}"
    return f"{value:.4g}"
