"""Trains runs: one in a background thread of this process, others in processes of their own.

A plain thread, not a worker of the screen library: it must not be cancelled with a screen and must
not delay quitting. The screens learn of a run from its folder alone, as from any other process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.runs import RunFolder
from engine.runs.data_identity import OtherDataError
from engine.runs.run_lock import Successor
from moco_tui import lazy
from moco_tui.training import detached as detach
from moco_tui.training.device_lanes import DeviceLanes
from moco_tui.training.queued_job import QueuedJob, goes_on, record_failure
from moco_tui.training.run_queue import RunQueue
from moco_tui.training.turns import short_turns

Execute = Callable[..., Any]

START_TIMEOUT_SECONDS = 10.0
"""How long a hand-over waits for a run that has not begun (its images are read or downloaded)."""


class Runner(RunQueue):
    """One training thread, the processes beside it, and the runs that wait for their devices.

    Args:
        data_dir: where data sets and their caches live.
        execute: trains a run folder in the calling thread (``engine.jobs.execute.execute``,
            imported when the first run starts).
        lanes: the devices; None: those of this machine.

    Attributes:
        messages: (severity, sentence) of what went wrong in the thread, for the app to show.
        refused: runs that did not go on since their images or labels have changed, with the
            sentence that says so; ``start`` with ``allow_other_data`` goes on.
        handed_over: runs that were handed over to a process of their own, or begun in one.
        redirect_stderr: called with the log of the run that is trained from now on, and with None
            after it, so that stray output goes there and not on the screen.
        notified: makes a function that also tells how a run ends of the one that trains.
    """

    # ``_lock`` also guards which runs are being handed over. ``_handing_over`` keeps a second
    # hand-over waiting, and is taken first.

    def __init__(
        self, data_dir: Path, execute: Execute | None = None, lanes: DeviceLanes | None = None
    ) -> None:
        super().__init__(lanes or DeviceLanes())
        self.data_dir = data_dir
        self._execute = execute
        self._handing_over = threading.Lock()
        self._training = False  # the trainer has the active run, and looks for requests
        self._claimed: set[RunFolder] = set()  # a successor is being started for them
        self._thread: threading.Thread | None = None
        self._closing = False  # no further run is started
        self._leaving = False  # this process ends after the hand-over
        self._failed = False  # in the hand-over that goes on now
        self.messages: deque[tuple[str, str]] = deque(maxlen=20)
        self.refused: deque[tuple[RunFolder, str]] = deque()
        self.handed_over: list[RunFolder] = []
        self.redirect_stderr: Callable[[Path | None], None] = lambda _: None
        self.notified: Callable[[Execute], Execute] = lambda execute: execute

    def going_on(self) -> list[RunFolder]:
        """Runs that were handed over and have not ended since, or wait for those before them."""
        return [folder for folder in dict.fromkeys(self.handed_over) if goes_on(folder)]

    def start(self, folder: RunFolder, *, allow_other_data: bool = False) -> bool:
        """Train (or resume) a run; True when at once, False when it waits for its devices.

        The first run is trained here, one on another device in a process of its own. A probe behind
        its own pretraining waits until that has finished; one that is held already is begun with
        the encoder as it stands.

        Args:
            folder: the run.
            allow_other_data: go on also with images or labels that have changed.

        Raises:
            UserError: when another process trains the run or is about to.
        """
        wish = self.lanes.wish_of(folder)
        with self._lock:
            if folder == self.active or folder in self.waiting:
                return folder == self.active
            # Locked while it waits: no other process starts it or takes it for a lost run.
            job = self._take_held(folder) or self._new_job(folder, wish)
            self._waiting.append(replace(job, allow_other_data=allow_other_data))
            at_once = any(ready.folder == folder for ready, _ in self._ready())
            self._start_thread()
        self._begin_apart()
        return at_once

    def start_ready(self) -> None:
        """Begin the held probes whose pretraining has been finished, here or elsewhere."""
        with self._lock:
            if self._held and self._release_ready():
                self._start_thread()
        self._begin_apart()

    def begin_ready(self) -> None:
        """Begin the waiting runs whose devices another process has left; called now and then."""
        with self._lock:
            if not self._waiting or self._closing:
                return
            self._hold_unready()
            if self._ready():
                self._start_thread()
        self._begin_apart()

    def _start_thread(self) -> None:
        self._closing = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="trainer", daemon=True)
            self._thread.start()

    def _begin_apart(self) -> None:
        """Begin the runs that can begin beside that of the thread, in processes of their own."""
        while (found := self._next_apart()) is not None:
            job, devices = found
            try:
                process = detach.spawn(
                    [job.folder],
                    self.data_dir,
                    lock_fds=[job.lock.fd],
                    other_data=[job.folder.id] if job.allow_other_data else [],
                    device=devices[0] if job.wish.any_of else "",
                )
            except UserError as error:
                with self._lock:
                    self._apart.pop(job.folder, None)
                job.lock.release()
                self.messages.append(("error", str(error)))
                record_failure(job.folder, str(error))
                continue
            job.lock.release()  # the process has it
            self.handed_over.append(job.folder)
            self._watch_start(process, job.folder)

    def _next_apart(self) -> tuple[QueuedJob, tuple[str, ...]] | None:
        with self._lock:
            ready = [] if self._closing else self._ready()
            # The first of all is the thread's, which is about to take it.
            mine = self._active is None and self._thread is not None
            if not ready[mine:]:
                return None
            job, devices = ready[mine]
            self._waiting.remove(job)
            self._apart[job.folder] = devices
            return job, devices

    def start_detached(self, *folders: RunFolder) -> subprocess.Popen[bytes]:
        """Train (or resume) runs in turn in a process of their own that outlives this one.

        Raises:
            UserError: when another process has one of them, or none can be started.
        """
        process = detach.start(*folders, data_dir=self.data_dir)
        self._watch_start(process, folders[0])
        return process

    def _watch_start(self, process: subprocess.Popen[bytes], folder: RunFolder) -> None:
        """Say so if a process ends before it has begun its run."""

        def watch_start() -> None:
            if not detach.took_over(process, folder):
                text = f"The process for run {folder.id} ended before it began; see its log."
                self.messages.append(("error", text))
                record_failure(folder, text)
            process.wait()  # else it would stay as a zombie

        threading.Thread(target=watch_start, name=f"detached-{folder.id}", daemon=True).start()

    def leave(self) -> tuple[RunFolder, ...]:
        """Start nothing further; returns the runs that waited.

        They stay queued, and their locks are released, so that another process may start them.
        """
        with self._lock:
            self._closing = True
            waiting = self.waiting
            self._release_waiting()
            return waiting

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the training thread has ended; True when it has.

        Args:
            timeout: seconds; None: as long as it takes.
        """
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def hand_over(self, *, leaving: bool = False) -> bool:
        """Let a detached process go on with the active run and those that wait behind it.

        The trainer stops at the next step boundary and saves; the process goes on from that very
        step. Waits as long as that takes. ``handed_over`` names the runs that go on, ``messages``
        says what did not work. A second call waits for the first.

        Args:
            leaving: the caller ends this process right afterwards, whatever its threads do; then a
                run that has not begun after ``START_TIMEOUT_SECONDS`` is not waited for.

        Returns:
            False when no process could be started; then the runs are stopped or still wait here.
        """
        self._leaving = self._leaving or leaving  # also for a call that is waiting already
        with self._handing_over:
            self._failed = False
            job, thread = self._stop_starting()
            if job is not None and thread is not None:
                self._hand_over_active(job, thread)
            self._hand_over_waiting()
            return not self._failed

    def _stop_starting(self) -> tuple[QueuedJob | None, threading.Thread | None]:
        """Start no further run; returns the one that the trainer has, and its thread."""
        with self._lock:
            self._closing = True
            job = self._active
            if job is not None and not self._training:
                # Its thread still imports the trainer, which nothing can interrupt; when that is
                # done, it finds that the run is no longer the active one (see _train).
                self._waiting.appendleft(job)
                self._active = job = None
            return job, self._thread

    def _hand_over_active(self, job: QueuedJob, thread: threading.Thread) -> None:
        """Ask the trainer, which calls ``_successor`` in its thread, and wait for that."""
        job.sink.wanted = "hand-over"
        give_up = time.monotonic() + START_TIMEOUT_SECONDS
        while thread.is_alive():
            thread.join(0.05)
            if not self._leaving:
                continue
            if job.handed_over.is_set():
                return  # the thread has only memory to free, and this process is about to end
            if not job.sink.began and time.monotonic() > give_up:
                with self._lock:
                    self._waiting.appendleft(job)  # handed over with those that wait
                return

    def _hand_over_waiting(self) -> None:
        """A process for each queue that is left: one device does not wait for another."""
        tried: set[str] = set()
        while True:
            with self._lock:
                first = next((j for j in self._waiting if self._lane(j) not in tried), None)
                if first is None:
                    return
                tried.add(self._lane(first))
                jobs = (first, *self._behind(first))
            self._hand_over(jobs, first.lock.fd, None)

    def _successor(self, job: QueuedJob) -> Successor:
        """Hands the active run over, from the training thread, and all in the queue behind it."""

        def take_over(lock_fd: int, device_fd: int | None) -> bool:
            with self._lock:
                jobs = (job, *self._behind(job))
            return self._hand_over(jobs, lock_fd, device_fd)

        return take_over

    def _hand_over(self, jobs: tuple[QueuedJob, ...], lock_fd: int, device_fd: int | None) -> bool:
        """Start one process for all these runs; True when it has taken them over."""
        first = jobs[0]
        with self._lock:
            if first.folder in self._claimed or first.handed_over.is_set():
                # The hand-over did not wait for this run to begin, and gave it to a successor; now
                # its thread has come so far as to ask for one itself.
                return True
            self._claimed.add(first.folder)
        problem = self._start_successor(jobs, lock_fd, device_fd)
        with self._lock:
            self._claimed.discard(first.folder)
            if not problem:
                self._note_handed_over(jobs)
        if problem:
            self._failed = True
            self.messages.append(("error", problem))
        return not problem

    def _start_successor(
        self, jobs: tuple[QueuedJob, ...], lock_fd: int, device_fd: int | None
    ) -> str:
        """Start the process and wait for its sign of life; returns what went wrong, or nothing."""
        folder = jobs[0].folder
        waiting = [(job.folder, job.lock.fd) for job in jobs[1:]]
        allowed = [job.folder.id for job in jobs if job.allow_other_data]
        start = detach.successor(folder, self.data_dir, waiting=waiting, other_data=allowed)
        try:
            if start(lock_fd, device_fd):
                return ""
        except UserError as error:
            return str(error)
        return f"The process for run {folder.id} ended before it began; see its log."

    def _note_handed_over(self, jobs: tuple[QueuedJob, ...]) -> None:
        """Let go of runs that another process has; ``_lock`` is held."""
        for job in jobs:
            self.handed_over.append(job.folder)
            job.handed_over.set()
            if job in self._waiting:  # the lock of the active one is released by its thread
                self._waiting.remove(job)
                job.lock.release()

    # The training thread

    def _work(self) -> None:
        while (job := self._take_next()) is not None:
            failure = ""
            try:
                with short_turns():
                    self._train(job)
            except OtherDataError as error:  # the app asks what is to be done
                self.refused.append((job.folder, str(error)))
            except UserError as error:  # the record says it too
                self.messages.append(("error", str(error)))
            except BaseException as error:  # whatever it is: the runs behind it have their turn
                text = f"Run {job.folder.id} ended with {type(error).__name__}: {error}."
                self.messages.append(("error", text))
                failure = text
            with self._lock:
                self._training = False
                # Another one is active, or none, when it was handed over before the trainer had it.
                ours = self._active is job
                if ours:
                    job.lock.release()
                    self._active, self._active_on = None, ()
            if failure and ours:  # the trainer records what it comes to know: an import that fails
                record_failure(job.folder, failure)

    def _take_next(self) -> QueuedJob | None:
        """Make the next run that waits the active one; None ends the thread."""
        with self._lock:
            self._training = False
            self._active, self._active_on = None, ()
            if not self._closing:
                self._release_ready()
                self._hold_unready()
                for job, devices in self._ready():
                    self._waiting.remove(job)
                    self._active, self._active_on = job, devices
                    return job
            self._thread = None
            return None

    def _train(self, job: QueuedJob) -> None:
        # imports torch: seconds
        execute = self.notified(self._execute or lazy.engine("jobs.execute").execute)
        with self._lock:
            if self._active is not job:
                return
            self._training = True
            device = self._active_on[0] if job.wish.any_of else ""
        # A copy for the owner of the run, who closes it. This process keeps its own until the run
        # has ended here or in the successor's hands.
        fd = os.dup(job.lock.fd)
        self.redirect_stderr(job.folder.log_path)
        try:
            execute(
                job.folder,
                data_dir=self.data_dir,
                sink=job.sink,
                lock_fd=fd,
                successor=self._successor(job),
                allow_other_data=job.allow_other_data,
                start_worker=lambda worker: detach.start(worker, data_dir=self.data_dir),
                device=device,
            )
        finally:
            self.redirect_stderr(None)
            # Still open when ``execute`` failed before there was an owner. After an owner has
            # closed it, the number may stand for another file, which must not be closed.
            with contextlib.suppress(OSError):
                if os.path.sameopenfile(fd, job.lock.fd):
                    os.close(fd)
