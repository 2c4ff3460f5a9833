"""The base of screens that poll run folders, no more often than their drawing allows."""

from __future__ import annotations

from textual import on
from textual.timer import Timer

from moco_tui.screens.base_screen import BaseScreen
from moco_tui.session import Session
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.redraw_pace import RedrawPace


class PollingScreen(BaseScreen):
    """Polls while it is shown: every ``tick`` ends by scheduling the next one.

    A chain of timers rather than one that repeats: a poll that takes longer than the interval is
    never overtaken by the next, and the interval follows the cost.

    Attributes:
        pace: how often it polls, from what polling and drawing cost.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.pace = RedrawPace()
        self._timer: Timer | None = None

    def tick(self) -> None:
        """Poll once and schedule the next poll."""
        raise NotImplementedError

    def schedule_poll(self) -> None:
        """Schedule the next poll at the pace that the cost of the last ones allows."""
        self._timer = self.set_timer(self.pace.next_interval(), self.tick)

    def cancel_poll(self) -> None:
        """Cancel the scheduled poll."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def show_cost(self) -> None:
        """Show at the right of the last line what polling and drawing take."""
        self.keys.note = f"the app: {self.pace.share_text}"

    def on_screen_suspend(self) -> None:
        """The screen is hidden: stop polling."""
        self.cancel_poll()

    @on(Chart.Drawn)
    def _drawn(self, event: Chart.Drawn) -> None:
        self.pace.spend(event.seconds)
