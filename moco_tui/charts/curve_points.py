"""One curve's points: gaps masked, quick to ask for extremes and means of any part of it.

Everything here is pure Python over ``array``: the first chart must not wait for numpy, and a
point that arrives costs the same however many came before.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

MOST_POINTS = 1 << 18
"""Points of a metric that a screen keeps, however long the run: all of the notebook's 242,500, and
of more an evenly spread part."""

BLOCK = 64
"""Points summarised by one entry; a query touches at most two blocks' points and the entries."""


class Extremes:
    """An append-only row of finite numbers that answers for the part from i to j.

    It tells the smallest and the largest of them, and their mean.

    Attributes:
        values: the numbers, as float64.
    """

    def __init__(self) -> None:
        self.values = array("d")
        self._low = array("d")  # of whole blocks; the points behind the last one have no entry
        self._high = array("d")
        self._sum = array("d")

    def __len__(self) -> int:
        return len(self.values)

    def extend(self, values: Sequence[float]) -> None:
        """Append finite values."""
        self.values.extend(array("d", values))
        for start in range(len(self._low) * BLOCK, len(self.values) - BLOCK + 1, BLOCK):
            block = self.values[start : start + BLOCK]
            self._low.append(min(block))
            self._high.append(max(block))
            self._sum.append(sum(block))

    def _blocks(self, start: int, stop: int) -> tuple[int, int]:
        """The blocks that lie within ``[start:stop]`` as a whole."""
        return -(-start // BLOCK), min(stop // BLOCK, len(self._low))  # rounded up, and down

    def range(self, start: int, stop: int) -> tuple[float, float]:
        """Smallest and largest of ``values[start:stop]``, which must not be empty."""
        first, last = self._blocks(start, stop)
        if first >= last:
            part = self.values[start:stop]
            return min(part), max(part)
        low, high = min(self._low[first:last]), max(self._high[first:last])
        for edge in (self.values[start : first * BLOCK], self.values[last * BLOCK : stop]):
            if edge:
                low, high = min(low, min(edge)), max(high, max(edge))
        return low, high

    def mean(self, start: int, stop: int) -> tuple[float, float, float]:
        """Smallest, mean and largest of ``values[start:stop]``, which must not be empty."""
        first, last = self._blocks(start, stop)
        if first >= last:
            part = self.values[start:stop]
            low, total, high = min(part), sum(part), max(part)
        else:
            low, high = self.range(start, stop)
            total = sum(self.values[start : first * BLOCK]) + sum(self._sum[first:last])
            total += sum(self.values[last * BLOCK : stop])
        mean = total / (stop - start)
        if not math.isfinite(mean):  # a sum beyond the largest float
            return low, low / 2 + high / 2, high
        return low, min(max(mean, low), high), high  # rounding may carry it beyond


class CurveColumn:
    """What one column of the chart shows of a curve.

    Attributes:
        line: smallest and largest value of the line in the column.
        first, last: the line's first and last value, where it joins its neighbours.
        band: smallest and largest of the points that the line is made of.
        joined: whether the line comes from the column before without a gap.
    """

    __slots__ = ("band", "first", "joined", "last", "line")

    def __init__(
        self,
        line: tuple[float, float],
        first: float,
        last: float,
        band: tuple[float, float],
        joined: bool,
    ) -> None:
        self.line, self.first, self.last, self.band, self.joined = line, first, last, band, joined


class CurvePoints:
    """Points of one curve, by step: what is not finite becomes a gap; smoothed when it is drawn.

    Args:
        window: how many points the line is the mean of, centred at each; 1 draws the points
            themselves. A mean over what lies behind alone would lag, and leave the range of the
            points where the curve falls.

    Attributes:
        steps: of the finite points, ascending.
        raw: their values.
        gaps: indices into ``steps``; the line is broken before the point there.
        masked: how many points are not finite.
    """

    def __init__(self, window: int = 1) -> None:
        self.window = window
        self.steps = array("d")
        self.raw = Extremes()
        self.gaps = array("q")
        self.masked = 0
        self._read_count = 0  # points taken over, the masked among them
        self._last_point: tuple[float, float] | None = None  # the last of these

    def __len__(self) -> int:
        return len(self.steps)

    def _around(self, start: int, stop: int) -> tuple[int, int]:
        """The points that the line of ``[start:stop]`` is the mean of."""
        half = self.window // 2
        return max(start - half, 0), min(stop + half, len(self.steps))

    def value(self, index: int) -> float:
        """What the line shows at a point."""
        if self.window == 1:
            return self.raw.values[index]
        return self.raw.mean(*self._around(index, index + 1))[1]

    def column(self, start: int, stop: int, joined: bool) -> CurveColumn:
        """What a column of the chart shows of ``[start:stop]``, which must not be empty.

        A smoothed line has one value there, the mean: it lies within its band, the range of the
        points that it is made of.
        """
        if self.window == 1:
            values, extent = self.raw.values, self.raw.range(start, stop)
            return CurveColumn(extent, values[start], values[stop - 1], extent, joined)
        low, mean, high = self.raw.mean(*self._around(start, stop))
        return CurveColumn((mean, mean), mean, mean, (low, high), joined)

    def update(self, steps: Sequence[float], values: Sequence[float]) -> bool:
        """Take over a growing pair of sequences; True when anything changed.

        Only what was appended is read. A resume makes the metric log drop points, and write
        others in their place: then the last point taken over is another, and the curve begins
        anew.

        Args:
            steps: ascending.
            values: as many; NaN and infinities are left out, and break the line there.
        """
        count = len(steps)
        if count < self._read_count or (
            self._read_count
            and not _same(
                self._last_point, (steps[self._read_count - 1], values[self._read_count - 1])
            )
        ):
            self.__init__(self.window)  # type: ignore[misc]
        if count == self._read_count:
            return False
        start, self._read_count = self._read_count, count
        self._last_point = (steps[count - 1], values[count - 1])
        new_steps, new_values = steps[start:count], values[start:count]
        if all(map(math.isfinite, new_values)):  # as a rule, and at once
            self._append(new_steps, new_values)
            return True
        run_steps: list[float] = []
        run_values: list[float] = []
        for step, value in zip(new_steps, new_values, strict=True):
            if math.isfinite(value):
                run_steps.append(step)
                run_values.append(value)
                continue
            self.masked += 1
            self._append(run_steps, run_values)
            run_steps, run_values = [], []
            self.gaps.append(len(self.steps))
        self._append(run_steps, run_values)
        return True

    def _append(self, steps: Sequence[float], values: Sequence[float]) -> None:
        self.steps.extend(array("d", steps))
        self.raw.extend(values)

    def index_range(self, low: float, high: float) -> tuple[int, int]:
        """Indices ``[start, stop)`` of the points whose step is in ``[low, high]``."""
        return bisect_left(self.steps, low), bisect_right(self.steps, high)

    def has(self, step: float) -> bool:
        """Whether there is a point at a step."""
        at = bisect_left(self.steps, step)
        return at < len(self.steps) and self.steps[at] == step

    def nearest(self, step: float) -> int | None:
        """Index of the point whose step is nearest, or None when there is no point."""
        if not self.steps:
            return None
        right = bisect_left(self.steps, step)
        if right == len(self.steps):
            return right - 1
        if right and step - self.steps[right - 1] <= self.steps[right] - step:
            return right - 1
        return right


def _same(a: tuple[float, float] | None, b: tuple[float, float]) -> bool:
    """Whether two points are equal, NaN being equal to NaN."""
    return a is not None and a[0] == b[0] and (a[1] == b[1] or (a[1] != a[1] and b[1] != b[1]))


def columns(series: CurvePoints, low: float, high: float, count: int) -> list[CurveColumn | None]:
    """The curve between two steps as ``count`` columns; None where no point falls.

    A point on the view's right edge belongs to the last column. Points are not gone through one
    by one: the end of a column is found by bisection, its extremes block by block.

    Args:
        series: the points.
        low: the step at the left edge.
        high: the step at the right edge.
        count: how many columns.
    """
    out: list[CurveColumn | None] = [None] * count
    width = (high - low) / count if count > 0 else 0.0
    if not series.steps or not width > 0:  # also between two steps that are next to 0
        return out
    start, end = series.index_range(low, high)
    steps = series.steps
    gaps = series.gaps
    previous = start - 1
    index = start
    while index < end:
        column = min(int((steps[index] - low) / width), count - 1)
        stop = (
            end
            if column == count - 1
            else bisect_left(steps, low + (column + 1) * width, index + 1, end)
        )
        if gaps:
            gap = bisect_right(gaps, index)  # gaps at or before the first point of the column
            joined = not (gap and gaps[gap - 1] > previous)
        else:
            joined = True
        out[column] = series.column(index, stop, joined and index > start)
        previous = stop - 1
        index = stop
    return out


def log10_columns(linear: list[CurveColumn | None]) -> list[CurveColumn | None]:
    """Columns on a log10 scale; a column without a positive value is a gap."""

    def log(value: float) -> float:
        return math.log10(value) if value > 0 else -400.0  # below any float64, so off the canvas

    return [
        None
        if column is None or column.line[1] <= 0
        else CurveColumn(
            (log(column.line[0]), log(column.line[1])),
            log(column.first),
            log(column.last),
            (log(column.band[0]), log(column.band[1])),
            column.joined,
        )
        for column in linear
    ]
