"""The command line's sink: progress on stderr, and signals as requests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from tqdm import tqdm

from engine.sink import Plan, Request
from moco_tui.cli.nonblocking_stream import NonBlockingStream
from moco_tui.cli.progress_display import NoDisplay, ProgressDisplay, display_for
from moco_tui.terminal import descriptors as tty


class TerminalSink:
    """Shows the progress of one run on stderr.

    Args:
        label: what the bar is called.
        quiet: show nothing; signals still count.
        hands_over: the loss of the terminal (SIGHUP) asks for a hand-over, not for a stop.
    """

    def __init__(self, label: str, *, quiet: bool = False, hands_over: bool = False) -> None:
        self._stream: Any = NonBlockingStream(sys.stderr)
        display: ProgressDisplay = NoDisplay() if quiet else display_for(label, self._stream)
        self._display, self._hands_over = display, hands_over
        self._requested: Request | None = None
        self._acknowledged = False
        self._notice = ""  # waits to be printed by the thread that draws
        self.interrupted = False
        """Whether a signal has come."""

    def plan(self, plan: Plan) -> None:
        """Starts the display."""
        self._display.plan(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Moves the display."""
        self._display.metrics(step, epoch, values)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Shows side work that takes long."""
        self._display.progress(stage, done, total)

    def log(self, text: str) -> None:
        """Shows a line."""
        self._display.log(text)

    def checkpointed(self, step: int) -> None:
        """Nothing to draw."""

    def result(self, values: Mapping[str, Any]) -> None:
        """Nothing to draw: the command prints the outcome at the end."""

    def request(self) -> Request | None:
        """What a signal asks for, until it is acknowledged."""
        if self._notice:  # not in the handler, which may interrupt tqdm while it draws
            tqdm.write(self._notice, file=self._stream)
            self._notice = ""
        return None if self._acknowledged else self._requested

    def acknowledge(self, request: Request, step: int) -> None:
        """Forgets the request of a signal once the trainer has answered it."""
        if request == self._requested:
            self._acknowledged = True

    def close(self) -> None:
        """Ends the display."""
        self._display.close()
        self._stream.close()

    def interrupt(self, number: int) -> None:
        """Asks the trainer to stop or hand over; a second Ctrl-C stops at once.

        Raises:
            KeyboardInterrupt: at the second SIGINT.
        """
        if number == signal.SIGHUP and self._hands_over:
            tty.silence()  # before the next drawing, which would fail on a terminal that is gone
            self._ask_for("hand-over")
        elif self.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        elif self._ask_for("stop"):
            name = signal.Signals(number).name
            self._notice = f"{name}: stopping after this step, with a checkpoint"
            if number == signal.SIGINT:
                self._notice += " (Ctrl-C again: at once, without one)"

    def _ask_for(self, request: Request) -> bool:
        """Notes the request of the first signal; False for a later one."""
        if self.interrupted:
            return False
        self.interrupted, self._requested = True, request
        return True


@contextmanager
def terminal_sink(
    label: str, *, quiet: bool = False, hands_over: bool = False
) -> Iterator[TerminalSink]:
    """A sink that takes SIGINT, SIGTERM, SIGUSR1 (a batch system's warning) and SIGHUP.

    For the arguments see ``TerminalSink``. The handlers from before are put back at the end.
    """
    with signals_reach(TerminalSink(label, quiet=quiet, hands_over=hands_over)) as sink:
        yield sink


S = TypeVar("S", bound=TerminalSink)


@contextmanager
def signals_reach(sink: S) -> Iterator[S]:
    """A sink that takes the signals of ``terminal_sink``, and is closed at the end."""

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        sink.interrupt(number)

    previous_handlers = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # started under nohup: it is to go on when the terminal closes
        previous_handlers[number] = signal.signal(number, handle)
    try:
        yield sink
    finally:
        sink.close()
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
