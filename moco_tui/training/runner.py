"""Trains runs: one at a time in a background thread of this process, or in processes of their own.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.runs import RunFolder
from engine.runs.requests import RunLock
from engine.runs.takeover import Successor
from engine.sink import NullSink, Plan, Request
from moco_tui import lazy
from moco_tui.training import detached as detach

Execute = Callable[..., Any]

PATIENCE_SECONDS = 10.0
"""How long a hand-over waits for a run that has not begun (its images are read or downloaded)."""


class _Wish(NullSink):
    """Asks the trainer for something from another thread of this process."""

    def __init__(self) -> None:
        self.wanted: Request | None = None
        self.began = False

    def plan(self, plan: Plan) -> None:
        self.began = True

    def request(self) -> Request | None:
        return self.wanted

    def acknowledge(self, request: Request, step: int) -> None:
        if request == self.wanted:
            self.wanted = None


@dataclass(frozen=True)
class _Job:
    """A run of this process, locked: others see that somebody is about to train it."""

    folder: RunFolder
    lock: RunLock
    wish: _Wish = field(default_factory=_Wish)
    passed_on: threading.Event = field(default_factory=threading.Event)


class Runner:
    """One training thread and the queue of runs that wait for it.

    Args:
        data_dir: where data sets and their caches live.
        execute: trains a run folder in the calling thread (``engine.jobs.execute.execute``,
            imported when the first run starts).
    """

    def __init__(self, data_dir: Path, execute: Execute | None = None) -> None:
        self.data_dir = data_dir
        self._execute = execute
        self._lock = threading.Lock()
        self._handing = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._passing: set[RunFolder] = set()
        self._active: _Job | None = None
        self._training = False  # the active run is in the trainer, no longer on its way there
        self._thread: threading.Thread | None = None
        self._closing = False
        self._trouble = self._leaving = False
        self.messages: deque[tuple[str, str]] = deque(maxlen=20)
        """(severity, sentence) of what went wrong in the thread, for the app to show."""
        self.kept: list[RunFolder] = []
        """Runs that were handed over to a process of their own."""
        self.stray_into: Callable[[Path | None], None] = _nowhere
        """Called with the log of the run that is trained from now on, and None after it."""

    @property
    def active(self) -> RunFolder | None:
        """The run that is trained in this process now."""
        job = self._active
        return None if job is None else job.folder

    @property
    def waiting(self) -> tuple[RunFolder, ...]:
        """Runs that start in turn when the active one has ended."""
        return tuple(job.folder for job in tuple(self._waiting))

    @property
    def busy(self) -> bool:
        """Whether this process trains a run or is about to."""
        return self._active is not None or bool(self._waiting)

    def start(self, folder: RunFolder) -> bool:
        """Train (or resume) a run here; True when at once, False when it waits for its turn.

        Raises:
            UserError: when another process trains the run or is about to.
        """
        with self._lock:
            if folder == self.active or folder in self.waiting:
                return folder == self.active
            self._waiting.append(_Job(folder, detach.lock(folder)))
            self._closing = False
            at_once = self._active is None and len(self._waiting) == 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="trainer", daemon=True)
                self._thread.start()
            return at_once

    def start_detached(self, *folders: RunFolder) -> subprocess.Popen[bytes]:
        """Train (or resume) runs in turn in a process of their own that outlives this one.

        Raises:
            UserError: when another process has one of them, or none can be started.
        """
        folder = folders[0]
        process = detach.start(*folders, data_dir=self.data_dir)

        def see_it_begin() -> None:
            if not detach.took_over(process, folder):
                text = f"The process for run {folder.id} ended before it began; see its log."
                self.messages.append(("error", text))
            process.wait()  # or a zombie is left

        threading.Thread(target=see_it_begin, name=f"detached-{folder.id}", daemon=True).start()
        return process

    def drop(self, folder: RunFolder) -> bool:
        """Take a waiting run out of the queue; False when it did not wait here."""
        with self._lock:
            for job in self._waiting:
                if job.folder == folder:
                    self._waiting.remove(job)
                    job.lock.release()
                    return True
            return False

    def leave(self) -> tuple[RunFolder, ...]:
        """Start nothing further; returns the runs that waited. They stay queued, and free."""
        with self._lock:
            self._closing = True
            waiting = self.waiting
            self._let_wait_elsewhere()
            return waiting

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread is done; True when it is."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def hand_over(self, *, leaving: bool = False) -> bool:
        """Let a detached process go on with the active run and those that wait behind it.

        The trainer stops at the next step boundary and saves; the process goes on from that very
        step. Waits as long as that takes. ``kept`` names the runs that go on, ``messages`` says
        what did not work. A second call waits for the first.

        Args:
            leaving: the caller ends this process right afterwards, whatever its threads do; then a
                run that has not begun after ``PATIENCE_SECONDS`` is not waited for.

        Returns:
            False when no process could be started; then the runs are stopped or still wait here.
        """
        self._leaving = self._leaving or leaving  # a call that waits already hears it too
        with self._handing:
            self._trouble = False
            self._hand_over()
            return not self._trouble

    def _hand_over(self) -> None:
        with self._lock:
            self._closing = True
            job, thread = self._active, self._thread
            if job is not None and not self._training:
                # Still importing the trainer, which nothing can interrupt: it will find the
                # door closed.
                self._waiting.appendleft(job)
                self._active = job = None
        if job is not None and thread is not None:
            job.wish.wanted = "hand-over"
            patient_until = time.monotonic() + PATIENCE_SECONDS
            while thread.is_alive():
                thread.join(0.05)
                if self._leaving and job.passed_on.is_set():
                    break  # what its thread still tidies up, the other process does too
                if self._leaving and not job.wish.began and time.monotonic() > patient_until:
                    with self._lock:
                        self._waiting.appendleft(job)
                    break
        with self._lock:
            jobs = tuple(self._waiting)
        if jobs:
            self._pass_on(jobs, jobs[0].lock.fd, None)

    def _successor(self, job: _Job) -> Successor:
        """Hands the active run over, from the training thread, and all that wait with it."""

        def take_over(lock_fd: int, device_fd: int | None) -> bool:
            with self._lock:
                jobs = (job, *self._waiting)
            return self._pass_on(jobs, lock_fd, device_fd)

        return take_over

    def _pass_on(self, jobs: tuple[_Job, ...], lock_fd: int, device_fd: int | None) -> bool:
        folder = jobs[0].folder
        with self._lock:
            if folder in self._passing or jobs[0].passed_on.is_set():
                return True  # one that was not waited for has begun after all: too late
            self._passing.add(folder)
        waiting = [(job.folder, job.lock.fd) for job in jobs[1:]]
        successor = detach.successor(folder, self.data_dir, waiting=waiting)
        trouble = f"The process for run {folder.id} ended before it began; see its log."
        try:
            done = successor(lock_fd, device_fd)
        except UserError as error:
            done, trouble = False, str(error)
        if not done:
            self._passing.discard(folder)
            self._trouble = True
            self.messages.append(("error", trouble))
            return False
        with self._lock:
            self._passing.discard(folder)
            for job in jobs:
                self.kept.append(job.folder)
                job.passed_on.set()
                if job in self._waiting:
                    self._waiting.remove(job)
                    job.lock.release()
        return True

    def _let_wait_elsewhere(self) -> None:
        while self._waiting:
            self._waiting.popleft().lock.release()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._closing:
                    self._active = self._thread = None
                    return
                self._active = job = self._waiting.popleft()
                self._training = False
            try:
                self._train(job)
            except UserError as error:  # the record says it too
                self.messages.append(("error", str(error)))
            except BaseException as error:
                text = f"Run {job.folder.id} ended with {type(error).__name__}: {error}."
                self.messages.append(("error", text))
            with self._lock:
                self._training = False
                if self._active is job:  # else it was taken from here on its way
                    job.lock.release()
                    self._active = None

    def _train(self, job: _Job) -> None:
        execute = self._execute or lazy.engine("jobs.execute").execute
        with self._lock:
            if self._active is not job:
                return
            self._training = True
        fd = os.dup(job.lock.fd)
        self.stray_into(job.folder.log_path)
        try:
            execute(
                job.folder,
                data_dir=self.data_dir,
                sink=job.wish,
                lock_fd=fd,
                successor=self._successor(job),
            )
        finally:
            self.stray_into(None)
            with contextlib.suppress(OSError):
                if os.path.sameopenfile(fd, job.lock.fd):  # the run could not be taken over
                    os.close(fd)


def _nowhere(log: Path | None) -> None:
    """Stray output stays where it is."""
