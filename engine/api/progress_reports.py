"""Progress for a function of the caller's, and a Ctrl+C that ends a run with a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Self

from engine.sink import NullSink, Plan, Request, Sink, Tee


@dataclass(frozen=True)
class ProgressReport:
    """Where a run is.

    Attributes:
        step, total_steps: of the run; of a study its cells. 0 before the first.
        epoch: fractional, from 0.
        values: what was measured at this step, by the name of the metric; empty for side work.
        stage: side work that is going on, such as ``features``; else empty.
        stage_done, stage_total: units of it.
    """

    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    values: Mapping[str, float] = field(default_factory=dict)
    stage: str = ""
    stage_done: int = 0
    stage_total: int = 0


Watcher = Sink | Callable[[ProgressReport], object]
"""Told how a run goes on: a whole ``engine.sink.Sink``, or a function. Both are called in the
thread that trains, at every step, and should return at once."""


class CallbackSink(NullSink):
    """Calls a function with every step and every unit of side work.

    Args:
        tell: the function; what it returns does not matter. What it raises ends the run, which is
            recorded as failed.
    """

    def __init__(self, tell: Callable[[ProgressReport], object]) -> None:
        self._tell = tell
        self._at = ProgressReport()

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self._at = ProgressReport(plan.start_step, plan.total_steps)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
        self._at = ProgressReport(step, self._at.total_steps, epoch)
        self._tell(ProgressReport(step, self._at.total_steps, epoch, dict(values)))

    def progress(self, stage: str, done: int, total: int) -> None:
        """See ``Sink.progress``."""
        at = self._at
        self._tell(ProgressReport(at.step, at.total_steps, at.epoch, {}, stage, done, total))


class StopOnInterrupt(NullSink):
    """Within its context, the first Ctrl+C asks the run to stop with a checkpoint.

    A second one ends at once, as it always does. Python lets the main thread alone answer to
    signals: in any other the context changes nothing.

    Attributes:
        interrupted: whether Ctrl+C was pressed.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def request(self) -> Request | None:
        """See ``Sink.request``."""
        return "stop" if self.interrupted else None


def joined(stop: StopOnInterrupt, watcher: Watcher | None) -> Sink:
    """Both as one sink; what the first asks for comes first."""
    if watcher is None:
        return stop
    sink = watcher if not callable(watcher) else CallbackSink(watcher)
    return Tee([stop, sink])
