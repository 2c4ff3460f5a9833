"""The thread of a run's owner: writes what the trainer's thread leaves in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engine.errors import RunBusyError, RunError
from engine.files import reason
from engine.runs.folder import RunFolder
from engine.runs.heartbeat import HEARTBEAT_SECONDS, write_heartbeat
from engine.runs.journal import Journal
from engine.runs.record_writer import RecordWriter
from engine.runs.run_lock import RunLock

FLUSH_SECONDS = 0.5
RECORD_SECONDS = 1.0
_monotonic = time.monotonic

OnChange = Callable[[RunFolder, float], None]
"""Takes a run whose state changed and the seconds that it may wait for others.

It may raise RunBusyError (told again later) or RunError (logged)."""


class OwnerThread:
    """Writes heartbeat, metrics, log and record while the trainer is busy, and tells of changes.

    Metrics and log after at most 0.5 s, the record after at most 1 s, a heartbeat every 3 s. A
    process may be in one call of torch for minutes, and its run is seen to be alive all the same.

    Args:
        folder: the run.
        lock: its lock, held.
        record: its record.
        journal: its metrics and its log.
        on_change: told of each change of state.

    Attributes:
        failure: the first thing that could not be written; the thread writes heartbeats alone
            from then on, and the trainer's next call raises it.
    """

    def __init__(
        self,
        folder: RunFolder,
        lock: RunLock,
        record: RecordWriter,
        journal: Journal,
        on_change: OnChange,
    ) -> None:
        self.failure: RunError | None = None
        self._folder = folder
        self._lock = lock
        self._record = record
        self._journal = journal
        self._on_change = on_change
        self._change_untold = True
        self._stopping = False
        self._wake = threading.Event()
        self._next_beat = self._next_record = 0.0
        self._thread = threading.Thread(target=self._work, name=f"run-{folder.id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after one more turn."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what could not be written.

        Raises:
            RunError: ``failure``.
        """
        if self.failure is not None:
            raise self.failure

    def note_change(self) -> None:
        """The state has changed: ``on_change`` is to be told soon."""
        self._change_untold = True
        self._wake.set()

    def tell_change(self, *, timeout: float) -> None:
        """Tell ``on_change``, if there is anything to tell, in the calling thread.

        Args:
            timeout: seconds that it may wait for other processes.
        """
        if not self._change_untold:
            return
        self._change_untold = False
        try:
            self._on_change(self._folder, timeout)
        except RunBusyError:
            self._change_untold = True  # told again in the next turn of the thread
        except RunError as error:
            self._journal.say(f"the index was not brought up to date: {error}")

    def beat(self) -> None:
        """Give a sign of life, and make sure that the run is still this owner's.

        Raises:
            RunError: when the folder cannot be written, or another process has taken the run over.
        """
        try:
            write_heartbeat(self._folder.heartbeat_path)
            still_ours = self._lock.still_there()
        except OSError as error:
            raise RunError(
                f"The run folder {self._folder.path} cannot be written: {reason(error)}."
            ) from error
        if not still_ours:
            raise RunError(
                f"The lock of the run {self._folder.id} was removed, and another process has "
                "taken the run over."
            )

    def _work(self) -> None:
        while not self._stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            try:
                self._turn(_monotonic())
            except RunError as error:
                self.failure = self.failure or error

    def _turn(self, now: float) -> None:
        if now >= self._next_beat:
            self._next_beat = now + HEARTBEAT_SECONDS
            self.beat()
        self.tell_change(timeout=0.1)
        if self._record.frozen or self.failure is not None:
            return
        if self._journal.waiting:
            self._journal.write()
        if self._record.dirty and now >= self._next_record:
            self._next_record = now + RECORD_SECONDS
            self._record.save()
