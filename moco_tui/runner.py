"""Trains runs: one at a time in a background thread of this process, or in processes of their own.

A plain thread, not a worker of the screen library: it must not be cancelled with a screen and must
not delay quitting. The screens learn of a run from its folder alone, as from any other process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.runs import RunFolder
from moco_tui import lazy

Execute = Callable[..., Any]


def _engine_execute(folder: RunFolder, *, data_dir: Path) -> Any:
    return lazy.engine("execute").execute(folder, data_dir=data_dir)


class Runner:
    """One training thread and the queue of runs that wait for it.

    Args:
        data_dir: where data sets and their caches live.
        execute: trains a run folder in the calling thread (``engine.execute.execute``).
    """

    def __init__(self, data_dir: Path, execute: Execute = _engine_execute) -> None:
        self.data_dir = data_dir
        self._execute = execute
        self._lock = threading.Lock()
        self._waiting: deque[RunFolder] = deque()
        self._active: RunFolder | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self.messages: deque[tuple[str, str]] = deque(maxlen=20)
        """(severity, sentence) of what went wrong in the thread, for the app to show."""

    @property
    def active(self) -> RunFolder | None:
        """The run that is trained in this process now."""
        return self._active

    @property
    def waiting(self) -> tuple[RunFolder, ...]:
        """Runs that start in turn when the active one has ended."""
        return tuple(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether this process trains a run or is about to."""
        return self._active is not None or bool(self._waiting)

    def start(self, folder: RunFolder) -> bool:
        """Train (or resume) a run here; True when at once, False when it waits for its turn."""
        with self._lock:
            if folder == self._active or folder in self._waiting:
                return folder == self._active
            self._waiting.append(folder)
            self._closing = False
            at_once = self._active is None and len(self._waiting) == 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="trainer", daemon=True)
                self._thread.start()
            return at_once

    def start_detached(self, folder: RunFolder) -> subprocess.Popen[bytes]:
        """Train (or resume) a run in a process of its own session that outlives this one.

        Raises:
            UserError: when the process cannot be started.
        """
        command = [sys.executable, "-m", "moco_tui", "_train", str(folder.path)]
        command += ["--data-dir", str(self.data_dir)]
        try:
            with folder.log_path.open("ab") as log:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd=os.sep,
                    env=child_environment(),
                )
        except OSError as error:
            raise UserError(f"The detached process did not start: {error}.") from error

    def drop(self, folder: RunFolder) -> bool:
        """Take a waiting run out of the queue; False when it did not wait here."""
        with self._lock:
            if folder in self._waiting:
                self._waiting.remove(folder)
                return True
            return False

    def leave(self) -> tuple[RunFolder, ...]:
        """Start nothing further; returns the runs that waited."""
        with self._lock:
            self._closing = True
            waiting = tuple(self._waiting)
            self._waiting.clear()
            return waiting

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread is done; True when it is."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._closing:
                    self._active = self._thread = None
                    return
                self._active = self._waiting.popleft()
            folder = self._active
            try:
                self._execute(folder, data_dir=self.data_dir)
            except UserError as error:  # the record says it too
                self.messages.append(("error", str(error)))
            except BaseException as error:
                text = f"Run {folder.id} ended with {type(error).__name__}: {error}."
                self.messages.append(("error", text))
            with self._lock:
                self._active = None


def child_environment() -> dict[str, str]:
    """The environment of a detached trainer: it must find this package from any folder."""
    environment = dict(os.environ)
    here = str(Path(__file__).resolve().parent.parent)
    known = environment.get("PYTHONPATH", "")
    if here not in known.split(os.pathsep):
        environment["PYTHONPATH"] = here + (os.pathsep + known if known else "")
    return environment
