"""The devices of this machine: which run computes on each, which runs wait for it."""

from __future__ import annotations

import asyncio
import os

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.timer import Timer
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.machine.load_reader import LoadReader
from engine.runs.device_holder import holder_of
from engine.runs.heartbeat import host_name
from moco_tui.present.device_rows import DeviceUse, device_line, device_rows
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.messages import OpenRun
from moco_tui.screens.steady_screen import SteadyList
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.panel import Frame
from moco_tui.widgets.shown_text import show_text

LOOK_SECONDS = 2.0
"""How often the devices are looked at while the screen is shown."""


class DevicesScreen(BaseScreen):
    """Every card and the processor, with the runs on them and behind them."""

    TITLE_TEXT = "Devices"
    HELP = """Every card of this machine and its processor: what it is, who computes on it, and
which runs of this app wait for it. A run for a device that is free begins at once; one for a device
that has a run waits until that has ended. A card has one run at a time, whichever process trains
it. Enter opens the run."""
    BINDINGS = [Binding("enter", "open_it", "Open the run", show=False)]
    DEFAULT_CSS = """
    DevicesScreen {
        & #devices { height: 1fr; border: none; padding: 0; background: $surface; }
        & #devices:focus { border: none; }
        & #words { height: auto; padding: 0 1; color: $text-muted; }
    }
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._rows: list[DeviceUse] = []
        self._timer: Timer | None = None
        self._looking = False

    def content(self) -> ComposeResult:
        """The list, and what it does not show."""
        with Frame("devices"):
            yield SteadyList(id="devices")
        yield Static("reading ...", id="words", markup=False)

    def on_mount(self) -> None:
        """Look at once, and again while the screen is shown."""
        self.query_one("#devices").focus()
        self.top.set(host_name())
        self._timer = self.set_interval(LOOK_SECONDS, self._look)
        self._look()

    def on_screen_suspend(self) -> None:
        """The screen is hidden: stop looking."""
        if self._timer is not None:
            self._timer.pause()

    def on_screen_resume(self) -> None:
        """The screen is shown again."""
        if self._timer is not None:
            self._timer.resume()

    def on_resize(self) -> None:
        """Lay the lines out for another width."""
        self._show()

    def _look(self) -> None:
        if not self._looking:
            self._looking = True
            work_behind(self, self._read, group="look")

    async def _read(self) -> None:
        try:
            rows = await asyncio.to_thread(self._found)
        finally:
            self._looking = False
        if self.is_open and rows != self._rows:
            self._rows = rows
            self._show()

    def _found(self) -> list[DeviceUse]:
        """Called in a thread: the driver may take a while."""
        self.session.runs.refresh()
        reader = LoadReader()
        try:
            load = reader.read()
        finally:
            reader.close()
        waiting = self.session.runner.queues()
        return device_rows(
            load,
            visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
            holders={c.uuid: holder_of(f"cuda-{c.uuid}") for c in load.cards if c.uuid},
            rows=list(self.session.runs.rows.values()),
            host=host_name(),
            queues={name: [folder.id for folder in runs] for name, runs in waiting.items()},
        )

    def _show(self) -> None:
        devices = self.query_one("#devices", OptionList)
        at = devices.highlighted or 0
        devices.clear_options()
        lines = [device_line(row, self.size.width) for row in self._rows]
        devices.add_options([Option(Text(line, no_wrap=True)) for line in lines])
        if self._rows:
            devices.highlighted = min(at, len(self._rows) - 1)
            cards = any(row.name.startswith("cuda") for row in self._rows)
            words = "" if cards else "No card is found; runs compute on the processor."
            show_text(self.query_one("#words", Static), words)

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.action_open_it()

    def action_open_it(self) -> None:
        """Open the run that computes on the device under the cursor."""
        at = self.query_one("#devices", OptionList).highlighted
        row = self._rows[at] if at is not None and at < len(self._rows) else None
        if row is None or not row.run:
            self.say("No run of this folder computes there.")
        else:
            self.ask_app(OpenRun(row.run))
