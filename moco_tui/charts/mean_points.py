"""The points of a mean over seeds, with the range that they lie in."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from moco_tui.charts.curve_points import CurveColumn, CurvePoints, Extremes


class MeanPoints(CurvePoints):
    """A curve whose band is the range around it; it is drawn as it is, never smoothed.

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
        self.raw.extend(mean)
        self._lows, self._highs = Extremes(), Extremes()
        self._lows.extend(low)
        self._highs.extend(high)

    def column(self, start: int, stop: int, joined: bool) -> CurveColumn:
        """The means of ``[start:stop]``, with the smallest low and the largest high as the band."""
        found = super().column(start, stop, joined)
        found.band = self._lows.range(start, stop)[0], self._highs.range(start, stop)[1]
        return found
