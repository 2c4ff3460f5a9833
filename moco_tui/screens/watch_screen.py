"""What the screens of one run share: its record, its state, and what its trainer is asked for."""

from __future__ import annotations

import asyncio
import os

from textual import on
from textual.binding import Binding
from textual.timer import Timer

from engine.errors import UserError
from engine.runs import Record, RunFolder
from engine.sink import Request
from moco_tui.present import fmt
from moco_tui.present.run_rows import GLYPHS, LIVE
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.redraw_pace import Pace
from moco_tui.widgets.text_panel import Panel

LOG_LINES = 300
ANSWER_SECONDS = 0.3
"""When to look for the answer to a request, ahead of the next look."""
DOING = {
    "pause": "pausing",
    "continue": "continuing",
    "stop": "stopping",
    "checkpoint": "writing a checkpoint",
    "hand-over": "handing over",
}
DONE = {
    "pause": "Paused",
    "continue": "Goes on",
    "stop": "Stopped",
    "checkpoint": "Checkpoint written",
    "hand-over": "Handed over",
}


class WatchScreen(BaseScreen):
    """Watches a run through its folder, whoever trains it.

    A state changes here when the trainer has acknowledged it.

    Attributes:
        record: as last read; None until it could be.
        status: the state to show; ``gone`` when the folder is.
        pace: how often it looks, from what looking and drawing cost.
    """

    BINDINGS = [
        Binding("p", "pause", "Pause"),
        Binding("s", "stop", "Stop"),
        Binding("k", "checkpoint", "Checkpoint"),
        Binding("r", "resume", "Resume"),
        Binding("d", "detach", "Detach", show=False),
    ]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder
        self.record: Record | None = None
        self.status = ""
        self.pace = Pace()
        self._timer: Timer | None = None
        self._log_stamp: tuple[int, int] = (-1, -1)
        self._stamp = -1
        self._asked: tuple[str, Request] | None = None
        self._called = folder.id
        self._trouble = ""

    def tick(self) -> None:
        """Look at the run once and arm the next look."""
        raise NotImplementedError

    def arm(self) -> None:
        """Have the next look come at the pace that the last ones allow."""
        self._timer = self.set_timer(self.pace.next_interval(), self.tick)

    def disarm(self) -> None:
        """Let no look come by itself."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def on_screen_suspend(self) -> None:
        """Hidden: look no more."""
        self.disarm()

    @on(Chart.Drawn)
    def _drawn(self, event: Chart.Drawn) -> None:
        self.pace.spend(event.seconds)

    # ---------------------------------------------------------------------------- looking

    def look(self) -> None:
        """Read the record when it changed; derive the state."""
        try:
            stamp = os.stat(self.folder.record_path).st_mtime_ns  # noqa: PTH116
            if stamp != self._stamp:
                self.record = self.folder.record()
                self._stamp = stamp
                self._called = fmt.clean(self.folder.title())
            assert self.record is not None
            before = self.status
            if self.record.status in LIVE:
                self.status = self.folder.status(self.record)
            else:
                self.status = self.record.status
            if before != self.status:
                self.refresh_bindings()
        except (UserError, OSError) as error:
            gone = not self.folder.path.exists()
            text = "The run folder is gone." if gone else str(error)
            self.fault(text)
            return
        if self._trouble:
            self._trouble = ""
        self._answered()
        self.show_record()

    def fault(self, text: str) -> None:
        """Say once what is wrong with the run folder."""
        if text != self._trouble:
            self._trouble = text
            self.status = "gone" if not self.folder.path.exists() else self.status
            self.say(text, severity="error")
            self.top.set(f"{self._called}  {text}")
            self.refresh_bindings()

    def _answered(self) -> None:
        """Whether the trainer has acknowledged what was asked of it."""
        if self._asked is None or self.record is None:
            return
        asked, kind = self._asked
        ack = self.record.ack
        if ack is not None and ack["id"] == asked:
            self._asked = None
            after = f" after step {fmt.count(ack['step'])}" if ack["step"] else ""
            self.say(f"{DONE[kind]}{after}.")
        elif self.status not in LIVE or all(
            wait.id != asked for wait in self.folder.pending_requests()
        ):
            self._asked = None

    def show_record(self) -> None:
        """Show the state and the name in the top line."""
        record = self.record
        if record is None:
            return
        glyph = GLYPHS.get(self.status, "?")
        state = self.status
        if self._asked is not None:
            state = f"{DOING[self._asked[1]]} ..."
        subject = f"{glyph} {state}  {self._called}"
        if self._called != record.id:
            subject += f"  ({record.id})"
        if record.error:
            subject += f"  {record.error}"
        self.top.set(subject)

    def show_log(self) -> None:
        """Show the end of the log in the panel ``#log`` when it changed."""
        try:
            info = os.stat(self.folder.log_path)  # noqa: PTH116
            stamp = (info.st_size, info.st_mtime_ns)
        except OSError:
            stamp = (0, 0)
        if stamp != self._log_stamp:
            self._log_stamp = stamp
            lines = self.folder.log_tail(LOG_LINES)
            self.query_one("#log", Panel).show_texts(lines or ["nothing in the log"])

    # ---------------------------------------------------------------------------- requests

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be asked of the run in its state is offered."""
        del parameters
        if action in ("pause", "checkpoint"):
            return self.status in ("running", "paused")
        if action == "stop":
            return self.status in LIVE
        if action == "detach":
            return self.moco.runner.active == self.folder
        if action == "resume":
            return self.status in ("stopped", "failed", "lost", "queued")
        return True

    def _ask(self, kind: Request) -> None:
        if not self.moco.writable():
            return
        try:
            self._asked = (self.folder.request(kind), kind)
        except UserError as error:
            self.say(str(error), severity="error")
            return
        self.show_record()
        self.set_timer(ANSWER_SECONDS, self.tick)

    def action_pause(self) -> None:
        """Pause, or go on when it is paused."""
        self._ask("continue" if self.status == "paused" else "pause")

    def action_stop(self) -> None:
        """Stop at the next step, with a checkpoint."""
        if self.status == "queued" and self.moco.runner.drop(self.folder):
            self.say("It no longer waits for its turn; r starts it.")
            self.status = "queued"
            return
        self._ask("stop")

    def action_checkpoint(self) -> None:
        """Write the resume point now."""
        self._ask("checkpoint")

    def action_resume(self) -> None:
        """Go on from the last checkpoint, in this app."""
        if self.moco.writable():
            self.moco.start_run(self.folder)
            self.say("Resuming ...")

    def action_detach(self) -> None:
        """Let a process of its own go on with this run, and those that wait behind it."""
        if self.moco.writable() and self.moco.runner.active == self.folder:
            self.run_worker(self._hand_over(), group="detach", exclusive=True)

    async def _hand_over(self) -> None:
        if await asyncio.to_thread(self.moco.runner.hand_over):
            self.say("It goes on in a process of its own.")
