"""The runs of an app: that of its thread, those beside it, those that wait, and for what.

A device has one run of this app at a time, and a queue. The first run that may begin is trained by
the thread of this process, every further one, on another device, in a process of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.runs import RunFolder
from moco_tui.training import detached as detach
from moco_tui.training.device_lanes import DeviceLanes, Wish
from moco_tui.training.queued_job import QueuedJob, goes_on
from moco_tui.training.queued_probes import is_finished, pretraining_of

_ANY = "auto"  # the lane of runs that take whichever card is free first


class RunQueue:
    """Who trains here, who waits, and who is next.

    Args:
        lanes: the devices.

    Attributes:
        lanes: the same.
        undecided: probes whose turn has come while their pretraining has ended unfinished, for
            the app to ask about; they are among ``held`` meanwhile.
    """

    # ``_lock`` guards all of it. It is never held while a process is started or waited for.

    def __init__(self, lanes: DeviceLanes) -> None:
        self.lanes = lanes
        self._lock = threading.Lock()
        self._waiting: deque[QueuedJob] = deque()
        self._held: list[QueuedJob] = []
        self._active: QueuedJob | None = None
        self._active_on: tuple[str, ...] = ()
        self._apart: dict[RunFolder, tuple[str, ...]] = {}  # in processes begun from this queue
        self.undecided: deque[RunFolder] = deque()

    @property
    def active(self) -> RunFolder | None:
        """The run that is trained in this process now."""
        job = self._active
        return None if job is None else job.folder

    @property
    def waiting(self) -> tuple[RunFolder, ...]:
        """Runs that start in turn when their devices are free."""
        return tuple(job.folder for job in tuple(self._waiting))

    @property
    def held(self) -> tuple[RunFolder, ...]:
        """Probes that wait until their pretraining is finished, which nobody trains here now."""
        return tuple(job.folder for job in tuple(self._held))

    @property
    def busy(self) -> bool:
        """Whether this process trains a run or is about to."""
        return self._active is not None or bool(self._waiting)

    def computing(self) -> dict[str, RunFolder]:
        """The run that this app has begun on each device, by the device's name."""
        with self._lock:
            job = self._active
            found = {} if job is None else dict.fromkeys(self._active_on, job.folder)
            for folder, devices in self._living_apart():
                found |= dict.fromkeys(devices, folder)
            return found

    def queues(self) -> dict[str, list[RunFolder]]:
        """The runs that wait here, by the device; ``auto`` for any card."""
        with self._lock:
            found: dict[str, list[RunFolder]] = {}
            for job in self._waiting:
                names = (_ANY,) if job.wish.any_of else job.wish.names
                for name in names:
                    found.setdefault(name, []).append(job.folder)
            return found

    def why_waiting(self, folder: RunFolder) -> str:
        """What a run waits for, in a sentence; empty where it does not wait."""
        job = next((job for job in tuple(self._waiting) if job.folder == folder), None)
        if job is None:
            return ""
        here = self.computing()
        taken = [name for name in job.wish.names if name in here]
        holders = {name: self.lanes.holder(name) for name in job.wish.names if name not in here}
        held = {name: holder for name, holder in holders.items() if holder}
        if not held:
            where = f" on {taken[0]}" if taken and len(self.lanes.cards) > 1 else ""
            return f"It starts when the run before it{where} has ended."
        name, holder = next(iter(held.items()))
        return f"{holder} trains on {name}; it starts when that has ended."

    def drop(self, folder: RunFolder) -> bool:
        """Take a waiting or held run out of the queue; False when it did not wait here."""
        with self._lock:
            for queue in (self._waiting, self._held):
                for job in queue:
                    if job.folder == folder:
                        queue.remove(job)
                        job.lock.release()
                        return True
            return False

    # What follows needs ``_lock``.

    def _new_job(self, folder: RunFolder, wish: Wish) -> QueuedJob:
        pretraining = pretraining_of(folder)
        here = pretraining is not None and self._is_here(pretraining)
        return QueuedJob(folder, detach.lock(folder), wish, after=pretraining if here else None)

    def _is_here(self, folder: RunFolder) -> bool:
        """Whether this app trains a run or is about to."""
        if folder in (self.active, *self.waiting):
            return True
        return any(folder == other for other, _ in self._living_apart())

    def _living_apart(self) -> Iterator[tuple[RunFolder, tuple[str, ...]]]:
        for folder in [folder for folder in self._apart if not goes_on(folder)]:
            del self._apart[folder]
        yield from self._apart.items()

    def _take_held(self, folder: RunFolder) -> QueuedJob | None:
        for job in self._held:
            if job.folder == folder:
                self._held.remove(job)
                return replace(job, after=None)
        return None

    def _release_ready(self) -> bool:
        """Put held probes whose pretraining has finished in front."""
        ready = [job for job in self._held if job.after is not None and is_finished(job.after)]
        self._held = [job for job in self._held if job not in ready]
        self._waiting.extendleft(reversed(ready))
        return bool(ready)

    def _hold_unready(self) -> None:
        """Hold the probes whose pretraining has ended here without being finished."""
        for job in tuple(self._waiting):
            if job.after is None or self._is_here(job.after) or is_finished(job.after):
                continue
            self._waiting.remove(job)
            self._held.append(job)
            self.undecided.append(job.folder)

    def _ready(self) -> list[tuple[QueuedJob, tuple[str, ...]]]:
        """The waiting runs whose devices are free, each with those, in order.

        Nobody overtakes a run on a device that it waits for.
        """
        taken = set(self._active_on)
        for _, devices in self._living_apart():
            taken.update(devices)
        found = []
        for job in self._waiting:
            if job.after is not None and self._is_here(job.after):
                continue  # its pretraining goes first, which is on some device or waits for one
            devices = self.lanes.assigned(job.wish, taken)
            if devices:
                found.append((job, devices))
            taken.update(devices or job.wish.names)
        return found

    def _lane(self, job: QueuedJob) -> str:
        """The queue of a waiting run: the first of its devices, or that of its pretraining."""
        if job.after is not None:
            if job.after == self.active:
                return self._active_lane()
            for other in self._waiting:
                if other.folder == job.after:
                    return self._lane(other)
        if not job.wish.any_of:
            return job.wish.names[0]
        return self._active_lane() if self._active is not None else _ANY

    def _active_lane(self) -> str:
        return self._active_on[0] if self._active_on else _ANY

    def _behind(self, job: QueuedJob) -> Sequence[QueuedJob]:
        """The runs that wait in the queue of the active one."""
        lane = self._active_lane() if job is self._active else self._lane(job)
        return [other for other in self._waiting if other is not job and self._lane(other) == lane]

    def _release_waiting(self) -> None:
        """Leave the runs that wait to other processes."""
        while self._waiting:
            self._waiting.popleft().lock.release()
        while self._held:
            self._held.pop().lock.release()
