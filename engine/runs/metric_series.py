"""The points of one metric in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

LATE_LIMIT = 1000
"""Points that may come after one of a later step. A trainer tells few (those of step 0); each moves
all points behind it, so a log of descending steps would take hours."""

_COLUMNS = ("steps", "epochs", "times", "values")


class MetricSeries:
    """One metric: steps ascending, no step twice. 32 bytes a point.

    Args:
        most: points to keep, 0 for all. When there are more, every second one is dropped, and of
            later points only every second one is kept; each further halving doubles that stride, so
            the points kept are evenly spread.

    Attributes:
        steps, epochs, times, values: columns of equal length; times in unix seconds.
        newest: step and value of the newest point, kept or not; None when there is none.
    """

    __slots__ = (
        "_added",
        "_late",
        "_most",
        "_stride",
        "epochs",
        "newest",
        "steps",
        "times",
        "values",
    )

    def __init__(self, most: int = 0) -> None:
        self.steps = array("q")
        self.epochs = array("d")
        self.times = array("d")
        self.values = array("d")
        self.newest: tuple[int, float] | None = None
        self._most = most
        self._stride = 1  # one of so many added points is kept
        self._added = 0
        self._late = 0

    def columns(self) -> tuple[array[Any], array[Any], array[Any], array[Any]]:
        """Steps, epochs, times and values."""
        return self.steps, self.epochs, self.times, self.values

    def extend(self, columns: Sequence[array[Any]]) -> None:
        """Add points whose steps ascend and lie behind all others; at least one."""

        def append(old: array[Any], new: array[Any]) -> None:
            old.extend(new)

        self.newest = columns[0][-1], columns[3][-1]
        # Points 0, stride, 2 * stride ... of all that were ever added are kept.
        first = -self._added % self._stride
        self._added += len(columns[0])
        if self._stride > 1:
            columns = [column[first :: self._stride] for column in columns]
        self._change(append, columns)
        self._thin()

    def _thin(self) -> None:
        while self._most and len(self.steps) > self._most:
            for name in _COLUMNS:
                setattr(self, name, getattr(self, name)[::2])
            self._stride *= 2

    def put(self, point: tuple[int, float, float, float]) -> bool:
        """Add a point or replace the one of its step; False for one of too many, see LATE_LIMIT."""
        if not self.steps or point[0] > self.steps[-1]:
            self.extend(
                [array(c.typecode, [p]) for c, p in zip(self.columns(), point, strict=True)]
            )
            return True
        at = bisect_left(self.steps, point[0])
        if self.steps[at] == point[0]:
            for column, value in zip(self.columns(), point, strict=True):
                column[at] = value
            if at == len(self.steps) - 1:
                self.newest = point[0], point[3]
        elif self._late >= LATE_LIMIT:
            return False
        else:
            self._late += 1

            def insert(old: array[Any], new: Any) -> None:
                old.insert(at, new)

            self._change(insert, point)
            self._thin()
        return True

    def cut(self, step: int) -> None:
        """Drop everything after ``step``."""
        if self.newest is None or self.newest[0] <= step:
            return
        keep = bisect_right(self.steps, step)
        if keep < len(self.steps):

            def shorten(old: array[Any], _: None) -> None:
                del old[keep:]

            self._change(shorten, (None,) * 4)
        # The next point is then one to keep, as if only the kept ones had been added.
        self._added = keep * self._stride
        self.newest = (self.steps[-1], self.values[-1]) if self.steps else None

    # An array that a memoryview (a chart, numpy) looks at cannot be resized: BufferError.
    def _change(self, change: Callable[[array[Any], Any], None], news: Sequence[Any]) -> None:
        for name, new in zip(_COLUMNS, news, strict=True):
            column = getattr(self, name)
            try:
                change(column, new)
            except BufferError:  # the reader keeps the old array, the series goes on with a copy
                column = column[:]
                change(column, new)
                setattr(self, name, column)
