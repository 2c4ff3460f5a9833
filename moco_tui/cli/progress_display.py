"""The ways to show a run's progress on stderr: bars, plain lines, or nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Protocol

from tqdm import tqdm

from engine.sink import Plan
from engine.text import clean_lines
from moco_tui.cli.nonblocking_stream import NonBlockingStream
from moco_tui.cli.output import clean
from moco_tui.present.metric_text import short_texts

# Seconds between two drawings; a log file does not want ten lines a second.
_FILE_INTERVAL = 15.0
_TERMINAL_INTERVAL = 0.2
# Seconds; side work that is done sooner gets no bar of its own.
_SIDE_WORK_PATIENCE = 1.0
# What a step of a run is, where it is nothing that is called a step.
_UNITS = {"study": " cells"}


class ProgressDisplay(Protocol):
    """What shows the progress; the methods are those of a ``Sink``."""

    def plan(self, plan: Plan) -> None:
        """The work ahead."""

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Values after a step."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Side work."""

    def log(self, text: str) -> None:
        """A line of text."""

    def close(self) -> None:
        """Nothing more is shown."""


def display_for(label: str, stream: NonBlockingStream) -> ProgressDisplay:
    """The display that fits what stderr is.

    A study in a log file gets lines: the bars of its hundred runs would fill it.
    """
    if label in _UNITS and not stream.isatty():
        return LineDisplay(label, stream)
    return BarDisplay(label, stream)


class NoDisplay:
    """Shows nothing."""

    def plan(self, plan: Plan) -> None:
        """Nothing."""

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Nothing."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Nothing."""

    def log(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class LineDisplay:
    """A plain line of progress now and then.

    Args:
        label: what the lines begin with.
        stream: where they are written.
    """

    def __init__(self, label: str, stream: NonBlockingStream) -> None:
        self._label, self._stream = label, stream
        self._total_steps = 0
        self._written = -math.inf  # seconds, time of the last line

    def plan(self, plan: Plan) -> None:
        """How much is done already."""
        self._total_steps = plan.total_steps
        self._write(self._count(plan.start_step))

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """How much is done, at most every ``_FILE_INTERVAL`` seconds."""
        self._write_rarely(self._count(step))

    def progress(self, stage: str, done: int, total: int) -> None:
        """How much of the side work is done, as rarely."""
        self._write_rarely(f"{stage} {done}/{total}")

    def log(self, text: str) -> None:
        """A line, at once."""
        tqdm.write(clean_lines(text), file=self._stream)

    def close(self) -> None:
        """Nothing is left to end."""

    def _count(self, step: int) -> str:
        return f"{self._label}: {step}/{self._total_steps}{_UNITS[self._label]}"

    def _write_rarely(self, text: str) -> None:
        if time.monotonic() - self._written >= _FILE_INTERVAL:
            self._write(text)

    def _write(self, text: str) -> None:
        self._written = time.monotonic()
        self._stream.write(f"{clean(text)}\n")
        self._stream.flush()


class BarDisplay:
    """A bar for the steps, and a second one below it for side work that takes long.

    Args:
        label: what the bar is called.
        stream: where the bars are drawn.
    """

    def __init__(self, label: str, stream: NonBlockingStream) -> None:
        self._label, self._stream = label, stream
        self._interval = _TERMINAL_INTERVAL if stream.isatty() else _FILE_INTERVAL
        self._plan = Plan(total_steps=0)
        self._bar: tqdm[Any] | None = None
        self._shown: dict[str, float] = {}
        self._side: tqdm[Any] | None = None
        self._side_name, self._side_start = "", 0.0

    def plan(self, plan: Plan) -> None:
        """Starts the bar; it counts pairs of images where a step works on some."""
        self._close_side()
        self._plan = plan
        per_step = plan.pairs_per_step or 1
        self._bar = self._new_bar(
            self._label,
            total=plan.total_steps * per_step,
            initial=plan.start_step * per_step,
            unit=" pairs" if plan.pairs_per_step else _UNITS.get(self._label, " steps"),
            unit_scale=bool(plan.pairs_per_step),
        )

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Moves the bar; the newest value of each metric stands behind it."""
        self._close_side()
        if self._bar is None:
            return
        if step:  # at step 0 it is the untrained encoder's, which is no progress
            self._shown.update(values)
        # No refresh: the bar is drawn every ``mininterval`` seconds, not at every step.
        self._bar.set_postfix_str(self._postfix(epoch), refresh=False)
        _advance(self._bar, step * (self._plan.pairs_per_step or 1))

    def progress(self, stage: str, done: int, total: int) -> None:
        """Draws the second bar once the side work has taken longer than a second."""
        now = time.monotonic()
        if stage != self._side_name:
            self._close_side()
            self._side_name, self._side_start = stage, now
        if self._side is None and total and now - self._side_start >= _SIDE_WORK_PATIENCE:
            is_bytes = "download" in stage  # downloads count bytes, all else counts items
            self._side = self._new_bar(
                stage, total=total, unit="B" if is_bytes else "", unit_scale=is_bytes, leave=False
            )
        if self._side is not None:
            _advance(self._side, done)
        if done >= total:
            self._close_side()

    def log(self, text: str) -> None:
        """A line above the bars."""
        tqdm.write(clean_lines(text), file=self._stream)

    def close(self) -> None:
        """Ends the bars."""
        self._close_side()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _new_bar(self, label: str, **options: Any) -> tqdm[Any]:
        return tqdm(
            desc=clean(label),
            mininterval=self._interval,
            dynamic_ncols=True,
            file=self._stream,
            **options,
        )

    def _postfix(self, epoch: float) -> str:
        words = []
        if self._plan.steps_per_epoch:
            last = self._plan.total_steps // self._plan.steps_per_epoch
            # ``epoch`` counts those that are done; shown is the one that goes on.
            words.append(f"epoch {min(int(epoch) + 1, last)}/{last}")
        return ", ".join([*words, *short_texts(self._shown)])

    def _close_side(self) -> None:
        if self._side is not None:
            self._side.close()
            self._side = None
        self._side_name = ""


def _advance(bar: tqdm[Any], done: int) -> None:
    """Moves a bar forward, never back: values of an earlier step may come late."""
    if done > bar.n:
        bar.update(done - bar.n)
