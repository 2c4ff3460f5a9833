"""A curve in one row of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*#@"  # as heavy as they stand for; all in the line or above it


def spark(
    steps: Sequence[float],
    values: Sequence[float],
    width: int,
    *,
    end: float,
    ascii_only: bool,
) -> str:
    """The values over the steps from 0, each cell the mean of those that fall into it.

    A cell without a value goes on with that to its left, so that few points make a line too; in
    front of the first one, behind the last one and where values are not finite it is empty.

    Args:
        steps: ascending, at least 0.
        values: as many.
        width: cells.
        end: the step at the right edge; steps above it fall into the last cell.
        ascii_only: characters of ASCII alone.

    Returns:
        ``width`` characters; empty for a width below 1.
    """
    if width < 1:
        return ""
    cells: list[list[float]] = [[] for _ in range(width)]
    for step, value in zip(steps, values, strict=True):
        place = int(step / end * width) if end > 0 else width
        cells[max(min(place, width - 1), 0)].append(value)
    means = [sum(cell) / len(cell) if cell else None for cell in cells]
    known = [mean for mean in means if mean is not None and math.isfinite(mean)]
    if not known:
        return " " * width
    marks = _ASCII if ascii_only else _BLOCKS
    low, high = min(known), max(known)
    last = max(at for at, mean in enumerate(means) if mean is not None)
    text, mark = "", " "
    for mean in means[: last + 1]:
        if mean is not None:
            mark = _mark(mean, low, high, marks) if math.isfinite(mean) else " "
        text += mark
    return text.ljust(width)


def _mark(value: float, low: float, high: float, marks: str) -> str:
    span = high / 2 - low / 2  # halves, since the whole may be no float
    if not span:
        return marks[len(marks) // 2 - 1]  # a level: neither low nor high
    share = (value / 2 - low / 2) / span
    return marks[min(int(share * len(marks)), len(marks) - 1)]
