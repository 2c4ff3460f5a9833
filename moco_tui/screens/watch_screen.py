"""The base of monitor and study: polls the record of a run, and sends requests to its trainer."""

from __future__ import annotations

import asyncio
import contextlib
import os

from textual.binding import Binding

from engine.errors import UserError
from engine.files import is_gone
from engine.runs import Record, RunFolder
from engine.sink import Request
from moco_tui.present import fmt
from moco_tui.present.run_rows import GLYPHS, LIVE
from moco_tui.present.slurm_jobs import WAITS
from moco_tui.screens.about_dialog import AboutRun
from moco_tui.screens.messages import StartRuns
from moco_tui.screens.polling_screen import PollingScreen
from moco_tui.screens.stop_run import ask_to_stop
from moco_tui.screens.submitted_runs import is_submitted, withdraw_behind
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.text_panel import TextPanel

LOG_LINES = 300
"""Lines of the log's end that its panel shows."""
REREAD_SECONDS = 0.3
"""Seconds after a request until the record is read again, ahead of the usual poll."""
# What the top line says from a request until it is acknowledged, and the message after that.
REQUESTED = {
    "pause": "pausing",
    "continue": "continuing",
    "stop": "stopping",
    "checkpoint": "writing a checkpoint",
    "hand-over": "handing over",
}
ACKNOWLEDGED = {
    "pause": "Paused",
    "continue": "Goes on",
    "stop": "Stopped",
    "checkpoint": "Checkpoint written",
    "hand-over": "Handed over",
}

_NO_MESSAGE = {
    "finished": "It went through without a message: no warning, no error, no interruption.",
    "stopped": "It was stopped; there was no message before.",
}
"""What stands in place of an empty log."""


class WatchScreen(PollingScreen):
    """Shows a run, read from its folder, whichever process trains it.

    A state changes here when the trainer has acknowledged it.

    Attributes:
        record: as last read; None until it could be.
        status: the state to show; ``gone`` when the folder is.
    """

    BINDINGS = [
        Binding("p", "pause", "Pause"),
        Binding("s", "stop", "Stop"),
        Binding("K", "checkpoint", "Checkpoint"),
        Binding("r", "resume", "Resume"),
        Binding("r", "begin", "Start"),  # the same key on a run that has not begun
        Binding("B", "detach", "Detach: go on in the background", show=False),
        Binding("i", "about", "Settings and origin", show=False),
    ]

    def __init__(self, session: Session, folder: RunFolder) -> None:
        super().__init__(session)
        self.folder = folder
        self.record: Record | None = None
        self.status = ""
        self._log_stamp: tuple[int, int, bool] = (-1, -1, False)
        self._stamp = -1
        self._request: tuple[str, Request] | None = None
        self._title_shown = folder.id
        self._reported = ""

    # ---------------------------------------------------------------------------- looking

    def read_record(self) -> None:
        """Read the record when it changed; derive the state."""
        try:
            # the record is replaced as a whole, so its time tells whether it is another one
            stamp = os.stat(self.folder.record_path).st_mtime_ns  # noqa: PTH116
            if stamp != self._stamp:
                self.record = self.folder.record()
                self._stamp = stamp
                self._title_shown = fmt.clean(self.folder.title())
            assert self.record is not None  # the first stamp differs from any
            before = self.status
            if self.record.status in LIVE:  # a trainer that was killed leaves it unchanged
                self.status = self.folder.status(self.record)
            else:
                self.status = self.record.status
            if before != self.status:
                self.refresh_bindings()
        except (UserError, OSError) as error:
            gone = is_gone(self.folder.path)
            text = "The run folder is gone." if gone else str(error)
            self.report(text)
            return
        self._reported = ""
        self._check_request()
        self.session.runs.jobs.look_behind_one(self.folder.id, self.status)
        self.show_record()

    def report(self, text: str) -> None:
        """Report a problem with the run folder, once until it is solved."""
        if text != self._reported:
            self._reported = text
            self.status = "gone" if is_gone(self.folder.path) else self.status
            self.say(text, severity="error")
            self.top.set(f"{self._title_shown}  {text}")
            self.refresh_bindings()

    def _check_request(self) -> None:
        """Report what the trainer has acknowledged; forget a request that can have no answer."""
        if self._request is None or self.record is None:
            return
        request_id, kind = self._request
        ack = self.record.ack
        if (ack is None or ack["id"] != request_id) and (
            self.status not in LIVE
            or all(pending.id != request_id for pending in self.folder.pending_requests())
        ):
            # Answered since the record was read: the answer is written before the request goes. Or
            # the run has ended, or a later request was answered: the record has the last one alone.
            self._request = None
            with contextlib.suppress(UserError):
                ack = self.folder.record().ack
        if ack is not None and ack["id"] == request_id:
            self._request = None
            after = f" after step {fmt.count(ack['step'])}" if ack["step"] else ""
            self.say(f"{ACKNOWLEDGED[kind]}{after}.")

    def show_record(self) -> None:
        """Show the state and the name in the top line."""
        record = self.record
        if record is None:
            return
        glyph = GLYPHS.get(self.status, "?")
        state = self.status
        if self._request is not None:
            state = f"{REQUESTED[self._request[1]]} ..."
        subject = self._title_shown
        if self._title_shown != record.id:
            subject += f"  ({record.id})"
        if record.error:
            subject += f"  {record.error}"
        if self.status in WAITS:
            subject += f"  {self.session.runs.jobs.words(self.folder.id)}".rstrip()
        self.top.set(subject, state=(f"{glyph} {state}", self.status))

    def show_log(self) -> None:
        """Show the end of the log in the panel ``#log`` when it changed."""
        try:
            info = os.stat(self.folder.log_path)  # noqa: PTH116
            stamp = (info.st_size, info.st_mtime_ns)
        except OSError:
            stamp = (0, 0)
        if (*stamp, self.status in LIVE) != self._log_stamp:
            self._log_stamp = (*stamp, self.status in LIVE)
            lines = self.folder.log_tail(LOG_LINES)
            live = self.status in LIVE
            empty = "no message yet" if live else _NO_MESSAGE.get(self.status, "no message")
            self.query_one("#log", TextPanel).show_texts(lines or [empty])

    # ---------------------------------------------------------------------------- requests

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys that make no sense in the state of the run."""
        del parameters
        if action in ("pause", "checkpoint"):
            return self.status in ("running", "paused")
        if action == "stop":
            return self.status in LIVE
        if action == "detach":
            return self.session.runner.active == self.folder
        if action == "resume":
            return self.status in ("stopped", "failed", "lost")
        if action == "begin":
            return self.status == "queued"
        return True

    def _send(self, kind: Request) -> None:
        """Leave a request in the run folder; whichever process trains the run finds it there."""
        if not self.writable():
            return
        try:
            self._request = (self.folder.request(kind), kind)
        except UserError as error:
            self.say(str(error), severity="error")
            return
        self.show_record()
        self.set_timer(REREAD_SECONDS, self.tick)

    def action_pause(self) -> None:
        """Pause, or continue when it is paused."""
        self._send("continue" if self.status == "paused" else "pause")

    def action_stop(self) -> None:
        """Stop at the next step, with a checkpoint, after a question."""
        if self.record is not None and self.writable():
            of = (self._title_shown, self.record.id, self.record.kind, self.status)
            ask_to_stop(self, *of, self._stop)

    def _stop(self) -> None:
        if self.status == "queued" and self.session.runner.drop(self.folder):
            self.say("It no longer waits for its turn; r starts it.")
            return
        if is_submitted(self.folder):
            withdraw_behind(self, self.folder, self._title_shown)
            return
        self._send("stop")

    def action_checkpoint(self) -> None:
        """Write the resume point now."""
        self._send("checkpoint")

    def action_resume(self) -> None:
        """Resume from the last checkpoint, in this app."""
        if self.writable():
            self.ask_app(StartRuns(self.folder))  # the app says what becomes of it

    def action_begin(self) -> None:
        """Start a run that waits, in this app."""
        self.action_resume()

    def action_about(self) -> None:
        """Show what the run was set to, and where it came from."""
        if self.record is not None:
            self.app.push_screen(AboutRun(self._title_shown, self.record))

    def action_detach(self) -> None:
        """Hand this run and those that wait behind it over to a process of their own."""
        if self.writable() and self.session.runner.active == self.folder:
            work_behind(self, self._hand_over, group="detach", exclusive=True)

    async def _hand_over(self) -> None:
        # what does not work is in the runner's messages, which the app shows
        if await asyncio.to_thread(self.session.runner.hand_over):
            self.say("It goes on in a process of its own.")
