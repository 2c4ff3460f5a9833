"""The command line's sink: tqdm bars on stderr, and signals as requests."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tqdm import tqdm

from engine.sink import Plan, Request
from moco_tui.cli.common import say

# A log file does not want ten lines a second.
_PIPE_INTERVAL = 15.0
_TERMINAL_INTERVAL = 0.2
# Side work shorter than this needs no bar of its own.
_SIDE_WORK_PATIENCE = 1.0


class Terminal:
    """Draws the progress of one run on stderr.

    Args:
        label: what the bar is called.
        quiet: draw nothing; signals still count.
    """

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self._label, self._quiet = label, quiet
        self._interval = _TERMINAL_INTERVAL if sys.stderr.isatty() else _PIPE_INTERVAL
        self._bar: tqdm[Any] | None = None
        self._side: tqdm[Any] | None = None
        self._side_name, self._side_start = "", 0.0
        self._plan = Plan(total_steps=0)
        self._shown: dict[str, float] = {}
        self._wanted: Request | None = None
        self._answered = False
        self.interrupted = False

    def plan(self, plan: Plan) -> None:
        """Starts the bar."""
        self._close_side()
        self._plan = plan
        if self._quiet:
            return
        per_step = plan.pairs_per_step or 1
        self._bar = tqdm(
            total=plan.total_steps * per_step,
            initial=plan.start_step * per_step,
            desc=self._label,
            unit=" pairs" if plan.pairs_per_step else " steps",
            unit_scale=bool(plan.pairs_per_step),
            mininterval=self._interval,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Moves the bar; the newest value of each metric stands behind it."""
        self._close_side()
        if self._bar is None:
            return
        self._shown.update(values)
        done = step * (self._plan.pairs_per_step or 1)
        words = []
        if self._plan.steps_per_epoch:
            last = self._plan.total_steps // self._plan.steps_per_epoch
            words.append(f"epoch {min(int(epoch) + 1, last)}/{last}")
        for key, short, form in (
            ("train/loss", "loss", ".3f"),
            ("train/lr", "lr", ".3g"),
            ("knn/top1", "kNN %", ".1f"),
        ):
            if key in self._shown:
                words.append(f"{short} {self._shown[key]:{form}}")
        self._bar.set_postfix_str(", ".join(words), refresh=False)
        if done > self._bar.n:
            self._bar.update(done - self._bar.n)

    def progress(self, stage: str, done: int, total: int) -> None:
        """A second bar while side work takes longer than a second."""
        if self._quiet:
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
                file=sys.stderr,
            )
        if self._side is not None and done > self._side.n:
            self._side.update(done - self._side.n)
        if done >= total:
            self._close_side()

    def log(self, text: str) -> None:
        """A line above the bars."""
        if not self._quiet:
            tqdm.write(text, file=sys.stderr)

    def checkpointed(self, step: int) -> None:
        """Nothing to draw."""

    def result(self, values: Mapping[str, Any]) -> None:
        """Nothing to draw: the command prints the outcome at the end."""

    def request(self) -> Request | None:
        """``stop`` after a signal, until it is acknowledged."""
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

    def _close_side(self) -> None:
        if self._side is not None:
            self._side.close()
            self._side = None
        self._side_name = ""

    def interrupt(self, number: int) -> None:
        """Asks the trainer to stop; a second interrupt from the keyboard stops at once."""
        if self.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.interrupted:
            self.interrupted = True
            self._wanted = "stop"
            name = signal.Signals(number).name
            tqdm.write(
                f"{name}: stopping after this step, with a checkpoint "
                "(Ctrl-C again: at once, without one)",
                file=sys.stderr,
            )


@contextmanager
def terminal(label: str, *, quiet: bool = False) -> Iterator[Terminal]:
    """A ``Terminal`` whose stop is asked for by SIGINT, SIGTERM, SIGHUP and SIGUSR1."""
    sink = Terminal(label, quiet=quiet)

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        sink.interrupt(number)

    signals = [signal.SIGINT, signal.SIGTERM]
    signals += [getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield sink
    finally:
        sink.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def say_outcome(outcome: str, run_id: str, *, resumable: bool) -> None:
    """One closing line of narration."""
    if outcome == "stopped" and resumable:
        say(f"stopped; moco-tui resume {run_id} goes on from there")
    else:
        say(f"{outcome}: run {run_id}")
