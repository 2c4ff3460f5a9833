"""Tells the log of a run what its trainer reports: once for each epoch, checkpoint and request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.runs import log_words
from engine.runs.log_words import EPOCH_END
from engine.sink import Plan, Request

_monotonic = time.monotonic
CHECKPOINT = "checkpoint"
"""The stage in which a checkpoint is written."""


class LogTeller:
    """Makes lines of reports; ``OwnerSink`` passes them on.

    The line of an epoch waits for what is measured at its end, which comes after its loss.

    Args:
        log: takes a line.
        checkpoint: the file that is written.
        rows: sources that the result of a probe has already.
        kind: of the run.
    """

    def __init__(
        self,
        log: Callable[[str], None],
        checkpoint: Path,
        rows: set[str],
        kind: str = "pretrain",
    ) -> None:
        self._log, self._checkpoint, self._rows, self._kind = log, checkpoint, rows, kind
        self._per_epoch = self._epochs = 0
        self._ended: dict[str, float] = {}  # what is known of the epoch that has just ended
        self._ended_step = 0
        self._seconds: float | None = None  # that it took
        self._since: float | None = None  # the end of the one before
        self._saving: float | None = None

    def plan(self, plan: Plan, source: str) -> None:
        """The work ahead."""
        self._per_epoch = plan.steps_per_epoch
        self._epochs = plan.total_steps // plan.steps_per_epoch if plan.steps_per_epoch else 0
        for line in log_words.plan_lines(plan, source, self._kind):
            self._log(line)
        # Of an epoch that has begun before, the time is not known.
        whole = not self._per_epoch or plan.start_step % self._per_epoch == 0
        self._since = _monotonic() if whole else None

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Values after a step; a line where an epoch has ended, and for the untrained encoder."""
        if step == 0:
            if line := log_words.untrained_line(values):
                self._log(line)
            return
        if self._ended:
            if step == self._ended_step:
                self._ended.update(values)
                return
            if step > self._ended_step:
                self.tell_epoch()
        if EPOCH_END in values and self._per_epoch:
            self._ended, self._ended_step = dict(values), step
            now = _monotonic()
            self._seconds = None if self._since is None else now - self._since
            self._since = now

    def tell_epoch(self) -> None:
        """The line of the epoch that has ended, if it was not told yet."""
        if self._ended:
            epoch = self._ended_step // self._per_epoch
            self._log(log_words.epoch_line(epoch, self._epochs, self._ended, self._seconds))
            self._ended = {}

    def progress(self, stage: str, done: int) -> None:
        """Side work: of a checkpoint when it begins."""
        if stage == CHECKPOINT and done == 0:
            self._saving = _monotonic()

    def checkpointed(self, step: int) -> None:
        """A checkpoint is on the disk; one that was there already is no news."""
        self.tell_epoch()
        if self._saving is None:
            return
        try:
            size: int | None = self._checkpoint.stat().st_size
        except OSError:
            size = None
        self._log(log_words.checkpoint_line(step, _monotonic() - self._saving, size))
        self._saving = None

    def answered(self, request: Request, step: int) -> None:
        """A request is answered."""
        self.tell_epoch()
        self._log(log_words.answer_line(request, step, self._kind))
        if request in ("pause", "continue"):  # the time of this epoch is none of training alone
            self._since = None

    def result(self, values: Mapping[str, Any]) -> None:
        """The outcome so far: of a probe a line for each new row."""
        if self._kind != "probe":
            return
        for row in log_words.new_rows(values, self._rows):
            self._rows.add(str(row.get("source")))
            self._log(log_words.row_line(row))
