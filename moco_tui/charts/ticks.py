"""Round numbers for the axes, and short texts for them."""

from __future__ import annotations

import math


def linear(low: float, high: float, count: int) -> list[float]:
    """Round values within the limits: about ``count``, a third more at most."""
    if count < 1 or not high > low or not math.isfinite(high - low):
        return []
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 0.0
    if power <= 0:
        return []
    step = next(m * power for m in (1, 2, 5, 10, 20) if m * power >= 0.75 * raw)
    if low + step == low or high + step == high:
        return []
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log10(low: float, high: float, count: int) -> list[float]:
    """Values for a logarithmic axis whose limits are given as powers of ten (log10)."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if last - first + 1 >= 2:
        stride = max(1, math.ceil((last - first + 1) / max(count, 1)))
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
        text = f"{value:.3g}"
        if size >= 1e6 and size < 1e9:
            text = f"{value / 1e6:.4g}M"
        return text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
    if size >= 10_000 and (not span or span >= 100):
        return f"{value / 1e3:.4g}k"
    if span:
        digits = max(0, -math.floor(math.log10(span) + 1e-9))
        return f"{value:,.{min(digits, 8)}f}"
    return f"{value:.4g}"
