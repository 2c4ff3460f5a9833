"""The owner of a run as the sink of its trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.runs import RunOwner
from engine.runtime.device_lock import DeviceLock
from engine.sink import Plan, Request


class OwnerSink:
    """Writes the trainer's reports into the run folder; an acknowledged pause changes its status.

    Args:
        owner: of the run.
        device_lock: the lock of the device; its file is touched with every checkpoint.

    Attributes:
        began: whether the trainer has sent its plan, which comes right before its first step.
    """

    def __init__(self, owner: RunOwner, device_lock: DeviceLock) -> None:
        self._owner, self._device_lock = owner, device_lock
        self.began = False

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self.began = True
        self._owner.plan(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
        self._owner.metrics(step, epoch, values)

    def progress(self, stage: str, done: int, total: int) -> None:
        """See ``Sink.progress``."""
        self._owner.progress(stage, done, total)

    def log(self, text: str) -> None:
        """See ``Sink.log``."""
        self._owner.log(text)

    def checkpointed(self, step: int) -> None:
        """See ``Sink.checkpointed``."""
        self._owner.checkpointed(step)
        self._device_lock.touch()

    def result(self, values: Mapping[str, Any]) -> None:
        """See ``Sink.result``."""
        self._owner.result(values)

    def request(self) -> Request | None:
        """See ``Sink.request``."""
        return self._owner.request()

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``: whoever sees the answer sees the state that it tells of."""
        if request == "pause":
            self._owner.transition("paused")
        elif request == "continue" and self._owner.record.status == "paused":
            self._owner.transition("running")
        self._owner.acknowledge(request, step)
