"""The points of a mean over seeds, with the range that they lie in."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from moco_tui.charts.curve_points import CurvePoints, Extremes


class _Range(Extremes):
    """Values of which each stands for a range: ``range`` gives its ends."""

    def __init__(
        self, values: Sequence[float], low: Sequence[float], high: Sequence[float]
    ) -> None:
        super().__init__()
        self.extend(values)
        self._lows, self._highs = Extremes(), Extremes()
        self._lows.extend(low)
        self._highs.extend(high)

    def range(self, start: int, stop: int) -> tuple[float, float]:
        """Smallest low and largest high of ``[start:stop]``, which must not be empty."""
        return self._lows.range(start, stop)[0], self._highs.range(start, stop)[1]


class MeanPoints(CurvePoints):
    """A curve whose band is the range around it.

    Args:
        x: places on the axis, ascending.
        mean, low, high: as many finite values.
    """

    def __init__(
        self,
        x: Sequence[float],
        mean: Sequence[float],
        low: Sequence[float],
        high: Sequence[float],
    ) -> None:
        super().__init__()
        self.steps = array("d", x)
        self.smooth.extend(mean)
        self.raw = _Range(mean, low, high)

    @property
    def line(self) -> Extremes:
        """The means."""
        return self.smooth

    def set_smoothing(self, smoothing: float) -> None:
        """A mean over seeds is drawn as it is."""
