"""The owner of a run as the sink of its trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.runs import RunOwner
from engine.runtime.device_lock import DeviceLock
from engine.sink import Plan, Request


class OwnerSink:
    """Writes what the trainer says into the run; what it acknowledges becomes the run's state.

    Args:
        owner: of the run.
        device_lock: the lock of the device, shown as in use with every checkpoint.

    Attributes:
        began: whether the trainer has said what it is about to do: its first step may come.
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
        """See ``Sink.acknowledge``."""
        self._owner.acknowledge(request, step)
        if request == "pause":
            self._owner.transition("paused")
        elif request == "continue" and self._owner.record.status == "paused":
            self._owner.transition("running")
