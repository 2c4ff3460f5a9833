"""The base of the screen that lists runs: it reads them in a thread while it is shown."""

from __future__ import annotations

import asyncio
import importlib

from textual.timer import Timer

from moco_tui.screens.base_screen import BaseScreen
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind

REFRESH_SECONDS = 1.0
FIRST_PAINT_SECONDS = 0.1
"""How long the first paint waits for the runs; a history that takes longer shows up after it."""


class ListingScreen(BaseScreen):
    """Polls the list of runs every second while it is visible, one poll at a time.

    Args:
        session: what all screens share.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._refreshing = False
        self._counting = False
        self._warm = False
        self._timer: Timer | None = None
        self._left_out: tuple[str, ...] = ()  # sentences that were said

    def show_rows(self, *, force: bool = False) -> None:
        """Bring what is shown up to date if anything changed.

        Args:
            force: even if nothing did.
        """
        raise NotImplementedError

    async def read_first(self) -> None:
        """Read the runs, and wait for them briefly: nothing is painted before the end of this."""
        # A paint of the empty table costs more time than reading a usual history. No batch of
        # updates is held for it: that would hold up every screen, whatever comes meanwhile.
        reading = asyncio.ensure_future(asyncio.to_thread(self.session.runs.refresh))
        await asyncio.wait({reading}, timeout=FIRST_PAINT_SECONDS)
        if reading.done():
            reading.result()
            self.show_rows()

    def on_screen_resume(self) -> None:
        """Poll now, then every second while the screen is visible."""
        if self._timer is None:
            self._timer = self.set_interval(REFRESH_SECONDS, self.poll)
        self._timer.resume()
        self.call_after_refresh(self.poll)

    def on_screen_suspend(self) -> None:
        """The screen is hidden: stop polling."""
        if self._timer is not None:
            self._timer.pause()

    def poll(self) -> None:
        """Read changes in a thread, then show them; one poll at a time."""
        if not self._refreshing:
            self._refreshing = True
            work_behind(self, self._poll, group="poll")

    async def _poll(self) -> None:
        try:
            await asyncio.to_thread(self.session.runs.refresh)
        finally:
            self._refreshing = False
        if self.is_mounted:  # the app may have been left while the thread was reading
            self._name_left_out()
            self.show_rows()
            # Behind it: a list does not wait for a look at every file.
            work_behind(self, self._count_sizes, group="sizes")
            self.session.runs.ask_for_jobs()
        if not self._warm:
            self._warm = True
            # after the first paint, which must not share the interpreter with an import
            self.call_after_refresh(work_behind, self, self.warm_up, group="warm-up")

    async def _count_sizes(self) -> None:
        """Count the files of some runs whose size is not known; the next poll shows them."""
        if not self._counting:
            self._counting = True
            try:
                await asyncio.to_thread(self.session.runs.count_sizes)
            finally:
                self._counting = False

    def _name_left_out(self) -> None:
        """Say once which entries of the runs folder cannot be looked at."""
        left_out = self.session.runs.history.left_out
        for sentence in left_out:
            if sentence not in self._left_out:
                self.say(sentence, severity="warning")
        self._left_out = left_out

    async def warm_up(self) -> None:
        """Import the monitor ahead of the first Enter, and ask the driver for the cards once.

        Both may take a second, which the first run to be shown or started would wait for.
        """
        await asyncio.to_thread(importlib.import_module, "moco_tui.screens.monitor_screen")
        await asyncio.to_thread(lambda: self.session.runner.lanes.cards)
