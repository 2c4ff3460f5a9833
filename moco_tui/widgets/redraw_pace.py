"""How often to redraw: once a second, less often when that would cost more than 2 % of the time."""

from __future__ import annotations

INTERVAL = 1.0
"""Seconds between two updates that cost little."""
SHARE = 0.02
"""Of the wall time; drawing shares the interpreter with a training in the same process."""


class RedrawPace:
    """Keeps the cost of drawing below a share of the wall time.

    Args:
        interval: shortest time between two updates, in seconds.
        share: largest share of the wall time that updates may take.
    """

    def __init__(self, interval: float = INTERVAL, share: float = SHARE) -> None:
        self.base = interval
        self.limit = share
        self._cost = 0.0
        self._spent = 0.0

    def spend(self, seconds: float) -> None:
        """Count work of the present update: polling by the screen, drawing by its charts."""
        self._spent += seconds

    def next_interval(self) -> float:
        """Close the update; returns the seconds until the next one."""
        # Smoothed, so that one slow update, after a resize say, does not hold up the next for long.
        # The first is taken as it is: the mean would begin at zero.
        self._cost = self._spent if self._cost == 0 else 0.7 * self._cost + 0.3 * self._spent
        self._spent = 0.0
        return self.interval

    @property
    def interval(self) -> float:
        """Seconds between two updates at the present cost."""
        return max(self.base, self._cost / self.limit)

    @property
    def share(self) -> float:
        """Share of the wall time that updates take now."""
        return self._cost / self.interval

    @property
    def share_text(self) -> str:
        """The same in words: drawing is done by one thread, so it takes at most one core."""
        percent = 100 * self.share
        return f"{percent:.{0 if percent >= 9.95 else 1}f} % of a core"
