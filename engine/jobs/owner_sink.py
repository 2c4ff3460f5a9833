"""The owner of a run as the sink of its trainer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from engine.jobs.log_teller import LogTeller
from engine.runs import RunOwner, log_words
from engine.runtime.device_lock import DeviceLock
from engine.sink import Plan, Request


class OwnerSink:
    """Writes the trainer's reports into the run folder, and tells its log what happens.

    An acknowledged pause changes the status of the run.

    Args:
        owner: of the run.
        device_lock: the lock of the device; its file is touched with every checkpoint.

    Attributes:
        began: whether the trainer has sent its plan, which comes right before its first step.
    """

    def __init__(self, owner: RunOwner, device_lock: DeviceLock) -> None:
        self._owner, self._device_lock = owner, device_lock
        record = owner.record
        rows = {str(row.get("source")) for row in log_words.new_rows(record.result, set())}
        self._teller = LogTeller(owner.log, owner.folder.checkpoint_path, rows, record.kind)
        self.began = False

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self.began = True
        self._owner.plan(plan)
        self._teller.plan(plan, _source(self._owner.record.config))

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
        self._teller.metrics(step, values)
        self._owner.metrics(step, epoch, values)

    def progress(self, stage: str, done: int, total: int) -> None:
        """See ``Sink.progress``."""
        self._teller.progress(stage, done)
        self._owner.progress(stage, done, total)

    def log(self, text: str) -> None:
        """See ``Sink.log``."""
        self._owner.log(text)

    def checkpointed(self, step: int) -> None:
        """See ``Sink.checkpointed``."""
        self._teller.checkpointed(step)
        self._owner.checkpointed(step)
        self._device_lock.touch()

    def result(self, values: Mapping[str, Any]) -> None:
        """See ``Sink.result``."""
        self._teller.result(values)
        self._owner.result(values)

    def request(self) -> Request | None:
        """See ``Sink.request``."""
        return self._owner.request()

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``: whoever sees the answer sees the state that it tells of."""
        self._teller.answered(request, step)
        if request == "pause":
            self._owner.transition("paused")
        elif request == "continue" and self._owner.record.status == "paused":
            self._owner.transition("running")
        self._owner.acknowledge(request, step)

    def tell_end(self, outcome: str) -> None:
        """Say in the log how the run ends, before its state says it."""
        self._teller.tell_epoch()
        self._owner.log(log_words.end_line(self._owner.record, outcome, time.time()))


def _source(config: Mapping[str, Any]) -> str:
    """The data set that a configuration names; empty where it names none."""
    data = config.get("data")
    source = data.get("source") if isinstance(data, Mapping) else None
    return source if isinstance(source, str) else ""
