"""A sink for work without resume points of its own: it answers what does not end the work."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from engine.sink import Plan, Request, Sink

_LOOK = 0.05  # seconds between two looks for a request during a pause


class Answering:
    """Passes everything on to a sink, and of its requests only stop and hand-over to the work.

    A pause is acknowledged and waited out inside ``request``; a checkpoint is acknowledged at
    once, since the result so far is all there is to keep.

    Args:
        sink: the sink to pass everything on to.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._step = 0

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self._step = plan.start_step
        self._sink.plan(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
        self._step = step
        self._sink.metrics(step, epoch, values)

    def progress(self, stage: str, done: int, total: int) -> None:
        """See ``Sink.progress``."""
        self._sink.progress(stage, done, total)

    def log(self, text: str) -> None:
        """See ``Sink.log``."""
        self._sink.log(text)

    def checkpointed(self, step: int) -> None:
        """See ``Sink.checkpointed``."""
        self._sink.checkpointed(step)

    def result(self, values: Mapping[str, Any]) -> None:
        """See ``Sink.result``."""
        self._sink.result(values)

    def request(self) -> Request | None:
        """``stop``, ``hand-over`` (both unacknowledged) or None; returns when no pause lasts."""
        paused = False
        while True:
            request = self._sink.request()
            if request in ("stop", "hand-over"):
                return request
            if request is not None:
                self._sink.acknowledge(request, self._step)
                paused = request == "pause" or (paused and request == "checkpoint")
            elif paused:
                time.sleep(_LOOK)
            else:
                return None

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``."""
        self._sink.acknowledge(request, step)
