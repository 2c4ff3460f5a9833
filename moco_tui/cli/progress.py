"""The command line's sink: tqdm bars on stderr, and signals as requests."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from tqdm import tqdm

from engine.sink import Plan, Request
from moco_tui.cli.common import clean, say
from moco_tui.present.metric_text import short_texts
from moco_tui.terminal import descriptors as tty

# A log file does not want ten lines a second.
_PIPE_INTERVAL = 15.0
_TERMINAL_INTERVAL = 0.2
# Side work shorter than this needs no bar of its own.
_SIDE_WORK_PATIENCE = 1.0
# What a step of a run is, where it is nothing that is called a step.
_UNITS = {"study": " cells"}


class _Screen:
    """Where the bars are drawn: it never holds the trainer up and never fails.

    A terminal that takes no more (a connection that hangs, Ctrl-S) loses what does not fit; the
    next drawing paints over it. One that is gone, or a pipe whose reader is, takes nothing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._fd = stream, -1
        with contextlib.suppress(OSError, ValueError):
            if stream.isatty():
                # Not our stderr: the flag would hold for everybody who has the terminal open.
                name = os.ttyname(stream.fileno())
                self._fd = os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            if self._fd < 0:
                self._stream.write(text)
            else:
                os.write(self._fd, text.encode(self._stream.encoding or "utf-8", "replace"))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Terminal:
    """Draws the progress of one run on stderr.

    Args:
        label: what the bar is called.
        quiet: draw nothing; signals still count.
        hands_over: the loss of the terminal (SIGHUP) asks for a hand-over, not for a stop.
    """

    def __init__(self, label: str, *, quiet: bool = False, hands_over: bool = False) -> None:
        self._label, self._quiet, self._hands_over = label, quiet, hands_over
        self._screen: Any = _Screen(sys.stderr)
        self._interval = _TERMINAL_INTERVAL if sys.stderr.isatty() else _PIPE_INTERVAL
        # A log file does not want the bars of a hundred runs.
        self._lines = label in _UNITS and not sys.stderr.isatty() and not quiet
        self._said = -math.inf
        self._bar: tqdm[Any] | None = None
        self._side: tqdm[Any] | None = None
        self._side_name, self._side_start = "", 0.0
        self._plan = Plan(total_steps=0)
        self._shown: dict[str, float] = {}
        self._wanted: Request | None = None
        self._answered = False
        self._notice = ""
        self.interrupted = False

    def plan(self, plan: Plan) -> None:
        """Starts the bar."""
        self._close_side()
        self._plan = plan
        if self._lines:
            self._line(f"{self._label}: {self._count(plan.start_step)}")
        if self._quiet or self._lines:
            return
        per_step = plan.pairs_per_step or 1
        self._bar = tqdm(
            total=plan.total_steps * per_step,
            initial=plan.start_step * per_step,
            desc=self._label,
            unit=" pairs" if plan.pairs_per_step else _UNITS.get(self._label, " steps"),
            unit_scale=bool(plan.pairs_per_step),
            mininterval=self._interval,
            dynamic_ncols=True,
            file=self._screen,
        )

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Moves the bar; the newest value of each metric stands behind it."""
        self._close_side()
        if self._lines:
            self._line(f"{self._label}: {self._count(step)}", rarely=True)
        if self._bar is None:
            return
        self._shown.update(values)
        done = step * (self._plan.pairs_per_step or 1)
        words = []
        if self._plan.steps_per_epoch:
            last = self._plan.total_steps // self._plan.steps_per_epoch
            words.append(f"epoch {min(int(epoch) + 1, last)}/{last}")
        words += short_texts(self._shown)
        self._bar.set_postfix_str(", ".join(words), refresh=False)
        if done > self._bar.n:
            self._bar.update(done - self._bar.n)

    def progress(self, stage: str, done: int, total: int) -> None:
        """A second bar while side work takes longer than a second."""
        if self._lines:
            self._line(f"{stage} {done}/{total}", rarely=True)
        if self._quiet or self._lines:
            return
        now = time.monotonic()
        if stage != self._side_name:
            self._close_side()
            self._side_name, self._side_start = stage, now
        if self._side is None and total and now - self._side_start >= _SIDE_WORK_PATIENCE:
            is_bytes = "download" in stage
            self._side = tqdm(
                total=total,
                desc=stage,
                unit="B" if is_bytes else "",
                unit_scale=is_bytes,
                leave=False,
                mininterval=self._interval,
                dynamic_ncols=True,
                file=self._screen,
            )
        if self._side is not None and done > self._side.n:
            self._side.update(done - self._side.n)
        if done >= total:
            self._close_side()

    def log(self, text: str) -> None:
        """A line above the bars."""
        if not self._quiet:
            tqdm.write(text, file=self._screen)

    def checkpointed(self, step: int) -> None:
        """Nothing to draw."""

    def result(self, values: Mapping[str, Any]) -> None:
        """Nothing to draw: the command prints the outcome at the end."""

    def request(self) -> Request | None:
        """What a signal asks for, until it is acknowledged."""
        if self._notice:  # not in the handler: it may have interrupted a drawing
            tqdm.write(self._notice, file=self._screen)
            self._notice = ""
        return None if self._answered else self._wanted

    def acknowledge(self, request: Request, step: int) -> None:
        """Says so when it was this sink that asked."""
        if request == self._wanted:
            self._answered = True

    def close(self) -> None:
        """Ends the bars."""
        self._close_side()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._screen.close()

    def _count(self, step: int) -> str:
        return f"{step}/{self._plan.total_steps}{_UNITS[self._label]}"

    def _line(self, text: str, *, rarely: bool = False) -> None:
        """A plain line of progress; ``rarely``: not if there was one in the last seconds."""
        now = time.monotonic()
        if rarely and now - self._said < self._interval:
            return
        self._said = now
        self._screen.write(f"{clean(text)}\n")
        self._screen.flush()

    def _close_side(self) -> None:
        if self._side is not None:
            self._side.close()
            self._side = None
        self._side_name = ""

    def interrupt(self, number: int) -> None:
        """Asks the trainer to stop or hand over; a second Ctrl-C stops at once."""
        if number == signal.SIGHUP and self._hands_over:
            tty.silence()
            if not self.interrupted:
                self.interrupted = True
                self._wanted = "hand-over"
            return
        if self.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.interrupted:
            self.interrupted = True
            self._wanted = "stop"
            self._notice = (
                f"{signal.Signals(number).name}: stopping after this step, with a checkpoint"
            )
            if number == signal.SIGINT:
                self._notice += " (Ctrl-C again: at once, without one)"


@contextmanager
def terminal(label: str, *, quiet: bool = False, hands_over: bool = False) -> Iterator[Terminal]:
    """A ``Terminal`` that hears SIGINT, SIGTERM, SIGUSR1 (a batch system's warning) and SIGHUP."""
    sink = Terminal(label, quiet=quiet, hands_over=hands_over)

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        sink.interrupt(number)

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # nohup: whoever started it does not want it to end with the terminal
        before[number] = signal.signal(number, handle)
    try:
        yield sink
    finally:
        sink.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def say_outcome(outcome: str, run_id: str, *, resumable: bool) -> None:
    """One closing line of narration."""
    if outcome == "handed-over":
        return  # whoever handed it over has said where it goes on
    if outcome == "stopped" and resumable:
        say(f"stopped; moco-tui resume {run_id} goes on from there")
    else:
        say(f"{outcome}: run {run_id}")
