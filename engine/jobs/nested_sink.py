"""The sink of a run inside a study: passes requests to the run, and its progress to the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.sink import Plan, Request, Sink


class NestedSink:
    """Passes the study's requests on to one of its runs, and the run's progress to the study.

    Args:
        study: the sink of the study.
        name: of the run, for the progress.
        step: of the study, at which its requests are acknowledged meanwhile.

    Attributes:
        ending_request: ``stop`` or ``hand-over`` when that was passed on, else None; the study
            acknowledges it itself.
    """

    def __init__(self, study: Sink, name: str, step: int) -> None:
        self._study, self._name, self._step = study, name, step
        self._total, self._passed_on = 0, set[Request]()
        self._paused = False
        self.ending_request: Request | None = None

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
        """Ignored: the resume points of a study are its finished cells."""

    def result(self, values: Mapping[str, Any]) -> None:
        """Stays in the run's own record."""

    def request(self) -> Request | None:
        """The oldest request to the study; of a hand-over, the run is told to stop.

        The successor of the study resumes the run: it is not handed over by itself.
        """
        request = self._study.request()
        if request in ("stop", "hand-over"):
            self.ending_request = request
            return "stop"
        if request is not None:
            self._passed_on.add(request)
        return request

    def acknowledge(self, request: Request, step: int) -> None:
        """Acknowledges to the study what its run has done, but for a stop.

        The run may also be paused through its own folder: requests that did not come from the study
        are not acknowledged to it, except the continue that ends a pause of the study.
        """
        if request == "stop":  # the study stops after its run, and acknowledges that then
            return
        if request in self._passed_on or (request == "continue" and self._paused):
            self._passed_on.discard(request)
            if request in ("pause", "continue"):
                self._paused = request == "pause"
            self._study.acknowledge(request, self._step)
