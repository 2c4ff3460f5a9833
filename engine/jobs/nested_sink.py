"""The sink of a run inside a study: requests go down to it, its progress goes up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.sink import Plan, Request, Sink


class NestedSink:
    """Passes the study's requests on to one of its runs, and the run's progress to the study.

    Args:
        study: the sink of the study.
        name: of the run, for the progress.
        step: that the study is at: where it answers what it is asked meanwhile.

    Attributes:
        asked: ``stop`` or ``hand-over`` when that was passed on; the study answers it itself.
    """

    def __init__(self, study: Sink, name: str, step: int) -> None:
        self._study, self._name, self._step = study, name, step
        self._total, self._passed_on = 0, set[Request]()
        self._paused = False
        self.asked: Request | None = None

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self._total = plan.total_steps

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
        self._study.progress(self._name, step, self._total)

    def progress(self, stage: str, done: int, total: int) -> None:
        """See ``Sink.progress``."""
        self._study.progress(f"{self._name}: {stage}", done, total)

    def log(self, text: str) -> None:
        """Stays in the run's own log."""

    def checkpointed(self, step: int) -> None:
        """See ``Sink.checkpointed``: the study's own resume points are its cells."""

    def result(self, values: Mapping[str, Any]) -> None:
        """Stays in the run's own record."""

    def request(self) -> Request | None:
        """What the study was asked. The run stops where the study is handed over."""
        request = self._study.request()
        if request in ("stop", "hand-over"):
            self.asked = request
            return "stop"
        if request is not None:
            self._passed_on.add(request)
        return request

    def acknowledge(self, request: Request, step: int) -> None:
        """The study has done what it was asked when its run has; it stops on its own account."""
        if request == "stop":
            return
        if request in self._passed_on or (request == "continue" and self._paused):
            self._passed_on.discard(request)
            if request in ("pause", "continue"):
                self._paused = request == "pause"
            self._study.acknowledge(request, self._step)
