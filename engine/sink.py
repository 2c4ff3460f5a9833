"""The interface between a trainer and its surroundings: reports go out, requests come in.

The trainer knows this protocol and nothing of screens, files or bars. It calls every method from
one thread, never waits for an answer, and polls ``request`` at least once a step and between
the batches of every feature pass, kNN and solver.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

_PAUSE_POLL_SECONDS = 0.05  # a person who continues a run should not notice the wait

Request = Literal["pause", "continue", "stop", "checkpoint", "hand-over"]


class Plan(Struct, frozen=True, kw_only=True):
    """What a run is about to do, reported once the data and the model are ready.

    Attributes:
        total_steps: steps (or units of work) until the end.
        steps_per_epoch: steps in an epoch; 0 where there are no epochs.
        start_step: steps already done by an earlier part of the run.
        pairs_per_step: images (pairs, in pretraining) a step works on, for the rate.
        device: name of the device, for people (``cuda:0 NVIDIA H200``, ``cpu``).
        facts: everything that a repeat needs to know: versions, threads, precision, instruction
            set, sizes of the data, parameters; builtin values only.
        data: which images and labels, see ``engine.runs.data_identity.DataIdentity.facts``.
        chance: loss of equal logits over the positive key and the K negative ones (equation 1 of
            arXiv:1911.05722): ``ln(K + 1)`` nats, twice that for the symmetric sum; 0 if unknown.
    """

    total_steps: int
    steps_per_epoch: int = 0
    start_step: int = 0
    pairs_per_step: int = 0
    device: str = "cpu"
    facts: dict[str, Any] = {}  # msgspec makes a new one for every Plan
    data: dict[str, Any] = {}
    chance: float = 0.0


class Sink(Protocol):
    """Receives what a trainer reports. All methods return at once."""

    def plan(self, plan: Plan) -> None:
        """The work ahead; before the first metric."""

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Named values after ``step`` steps (from 1), ``epoch`` epochs (fractional, from 0).

        The steps of each name ascend; a value of step 0 (nothing trained) may come after others.
        """

    def progress(self, stage: str, done: int, total: int) -> None:
        """Side work without metrics: ``reading images``, ``features``, ``kNN``, ``solving``."""

    def log(self, text: str) -> None:
        """A line for the log, without a line end."""

    def checkpointed(self, step: int) -> None:
        """The resume point on disk now holds ``step`` steps."""

    def result(self, values: Mapping[str, Any]) -> None:
        """The outcome of the run so far (builtin values), replacing an earlier one."""

    def request(self) -> Request | None:
        """The oldest request that was not yet acknowledged, or None. Cheap: called every step."""

    def acknowledge(self, request: Request, step: int) -> None:
        """The trainer has done (or is about to do, for ``pause``) what was asked, at ``step``."""


class NullSink:
    """Ignores every report and asks for nothing."""

    def plan(self, plan: Plan) -> None: ...

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None: ...

    def progress(self, stage: str, done: int, total: int) -> None: ...

    def log(self, text: str) -> None: ...

    def checkpointed(self, step: int) -> None: ...

    def result(self, values: Mapping[str, Any]) -> None: ...

    def request(self) -> Request | None:
        return None

    def acknowledge(self, request: Request, step: int) -> None: ...


class Tee:
    """Several sinks as one. Requests are taken from the first that has any."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def plan(self, plan: Plan) -> None:
        for sink in self._sinks:
            sink.plan(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.metrics(step, epoch, values)

    def progress(self, stage: str, done: int, total: int) -> None:
        for sink in self._sinks:
            sink.progress(stage, done, total)

    def log(self, text: str) -> None:
        for sink in self._sinks:
            sink.log(text)

    def checkpointed(self, step: int) -> None:
        for sink in self._sinks:
            sink.checkpointed(step)

    def result(self, values: Mapping[str, Any]) -> None:
        for sink in self._sinks:
            sink.result(values)

    def request(self) -> Request | None:
        for sink in self._sinks:
            request = sink.request()
            if request is not None:
                return request
        return None

    def acknowledge(self, request: Request, step: int) -> None:
        # To all: any of them may hold the same request.
        for sink in self._sinks:
            sink.acknowledge(request, step)


class PassingSink:
    """Passes everything on to a sink; what is otherwise, a subclass says.

    Args:
        sink: the sink to pass everything on to.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self._sink.plan(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
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
        """See ``Sink.request``."""
        return self._sink.request()

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``."""
        self._sink.acknowledge(request, step)


class PausableSink(PassingSink):
    """Passes everything on to a sink, and of its requests only stop and hand-over to the work.

    A pause is acknowledged and waited out inside ``request``; a checkpoint is acknowledged at
    once, since the result so far is all there is to keep.

    Args:
        sink: the sink to pass everything on to.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self._step = 0

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self._step = plan.start_step
        super().plan(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
        self._step = step
        super().metrics(step, epoch, values)

    def request(self) -> Request | None:
        """``stop``, ``hand-over`` (both unacknowledged) or None; blocks while the run is paused."""
        paused = False
        while True:
            request = self._sink.request()
            # Not acknowledged here: only the work knows the step at which it really ends.
            if request in ("stop", "hand-over"):
                return request
            if request is not None:
                self._sink.acknowledge(request, self._step)
                # "continue" ends a pause, "checkpoint" leaves it as it is.
                paused = request == "pause" or (paused and request == "checkpoint")
            elif paused:
                time.sleep(_PAUSE_POLL_SECONDS)
            else:
                return None


class Interrupted(Exception):  # noqa: N818 - no error: an answer to a request
    """Raised by ``check_interrupt`` in side work when the run was asked to stop or hand over."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.request = request


def check_interrupt(sink: Sink) -> None:
    """Leave side work (a feature pass, kNN, a solver) when the run is to stop or hand over.

    Call it between batches. The request stays unacknowledged: the trainer's loop answers it.

    Raises:
        Interrupted: when a stop or a hand-over is wanted.
    """
    request = sink.request()
    if request in ("stop", "hand-over"):
        raise Interrupted(request)
