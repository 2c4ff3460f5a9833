"""A run in the queue of a runner, and whether runs that were handed over still go on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from engine.errors import UserError
from engine.runs import ACTIVE, RunFolder
from engine.runs.run_lock import RunLock
from moco_tui.training.device_lanes import Wish
from moco_tui.training.request_sink import RequestSink


@dataclass(frozen=True)
class QueuedJob:
    """A run of this process, locked: others see that somebody is about to train it.

    Attributes:
        wish: the devices that it needs.
        after: of a probe the pretraining that it waits for, where that was queued here before it;
            it begins by itself only when that has finished.
        allow_other_data: a person has said that it is to go on with other images or labels.
        handed_over: set once another process has taken the run over.
    """

    folder: RunFolder
    lock: RunLock
    wish: Wish
    after: RunFolder | None = None
    allow_other_data: bool = False
    sink: RequestSink = field(default_factory=RequestSink)
    handed_over: threading.Event = field(default_factory=threading.Event)


def goes_on(folder: RunFolder) -> bool:
    """Whether a process works on a run, or holds it until its turn."""
    try:
        status = folder.status()
    except UserError:
        return False
    return status in ACTIVE or (status == "queued" and folder.alive())


def record_failure(folder: RunFolder, sentence: str) -> None:
    """Record that a run which is still queued has failed, so that it does not wait for ever."""
    from engine.runs import unstarted  # the first screen starts nothing

    unstarted.record_failure(folder, sentence)
