"""The points of one metric in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

_COLUMNS = ("steps", "epochs", "times", "values")


class Series:
    """One metric: steps ascending, no step twice.

    Attributes:
        steps, epochs, times, values: columns of equal length; times in unix seconds.
    """

    __slots__ = ("epochs", "steps", "times", "values")

    def __init__(self) -> None:
        self.steps = array("q")
        self.epochs = array("d")
        self.times = array("d")
        self.values = array("d")

    def columns(self) -> tuple[array[Any], array[Any], array[Any], array[Any]]:
        """Steps, epochs, times and values."""
        return self.steps, self.epochs, self.times, self.values

    def extend(self, columns: Sequence[array[Any]]) -> None:
        """Add points whose steps ascend and lie behind all others."""

        def append(old: array[Any], new: array[Any]) -> None:
            old.extend(new)

        self._change(append, columns)

    def put(self, point: tuple[int, float, float, float]) -> None:
        """Add a point or replace the one of its step."""
        if not self.steps or point[0] > self.steps[-1]:
            self.extend(
                [array(c.typecode, [p]) for c, p in zip(self.columns(), point, strict=True)]
            )
            return
        at = bisect_left(self.steps, point[0])
        if self.steps[at] == point[0]:
            for column, value in zip(self.columns(), point, strict=True):
                column[at] = value
        else:

            def insert(old: array[Any], new: Any) -> None:
                old.insert(at, new)

            self._change(insert, point)

    def cut(self, step: int) -> None:
        """Drop everything after ``step``."""
        keep = bisect_right(self.steps, step)
        if keep < len(self.steps):

            def shorten(old: array[Any], _: None) -> None:
                del old[keep:]

            self._change(shorten, (None,) * 4)

    def _change(self, change: Callable[[array[Any], Any], None], news: Sequence[Any]) -> None:
        for name, new in zip(_COLUMNS, news, strict=True):
            column = getattr(self, name)
            try:
                change(column, new)
            except BufferError:  # a reader still looks at the memory: leave it the old array
                column = column[:]
                change(column, new)
                setattr(self, name, column)
