"""The background thread of a run's owner: writes what the trainer's thread leaves in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engine.errors import RunBusyError, RunError, described
from engine.files import reason
from engine.runs.folder import RunFolder
from engine.runs.heartbeat import HEARTBEAT_SECONDS, write_heartbeat
from engine.runs.journal import Journal
from engine.runs.record_writer import RecordWriter
from engine.runs.run_lock import RunLock
from engine.text import one_line

_BUSY_SECONDS = 60.0  # after which a person is told that others hold the index
_SAID_CHARACTERS = 500  # of an error of somebody else's
FLUSH_SECONDS = 0.5  # how far a monitor lags behind, at most
RECORD_SECONDS = 1.0  # the record is replaced whole, with an fsync: dearer than appending lines
_monotonic = time.monotonic

OnChange = Callable[[RunFolder, float], None]
"""Takes a run whose state changed and the seconds that it may wait for other processes.

It may raise RunBusyError (called again later); every other error is logged, once."""


class OwnerThread:
    """Writes heartbeat, metrics, log and record while the trainer is busy, and reports changes.

    Metrics and log after at most 0.5 s, the record after at most 1 s, a heartbeat every 3 s. A
    thread of its own, since a trainer may be in one call of torch for minutes.

    Only what keeps the run's own files from being written ends the training. Any other error, the
    index's above all, is one line in the log, and the thread goes on.

    Args:
        folder: the run.
        lock: its lock, held.
        record: its record.
        journal: its metrics and its log.
        on_change: called after each change of state.
        follow_clock: called in each turn, see ``training_time.RunningSince``.

    Attributes:
        failure: the first error in writing, else None. After it the thread writes heartbeats alone,
            and the trainer's next call raises it.
    """

    def __init__(
        self,
        folder: RunFolder,
        lock: RunLock,
        record: RecordWriter,
        journal: Journal,
        on_change: OnChange,
        follow_clock: Callable[[], None],
    ) -> None:
        self.failure: RunError | None = None
        self._folder = folder
        self._lock = lock
        self._record = record
        self._journal = journal
        self._on_change = on_change
        self._follow_clock = follow_clock
        self._change_pending = True
        self._busy_since: float | None = None
        self._said: set[str] = set()
        self._stopping = False
        self._wake = threading.Event()
        self._next_beat = self._next_record = 0.0
        # daemon: an owner that was never closed must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"run-{folder.id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; it completes a turn first."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def check(self) -> None:
        """Raise the error of the thread in the calling one.

        Raises:
            RunError: ``failure``.
        """
        if self.failure is not None:
            raise self.failure

    def note_change(self) -> None:
        """The state has changed: ``on_change`` is called in the next turn, which begins at once."""
        self._change_pending = True
        self._wake.set()

    def report_change(self, *, timeout: float) -> None:
        """Call ``on_change`` in the calling thread, if the state has changed since the last call.

        Args:
            timeout: seconds that it may wait for other processes.
        """
        if not self._change_pending:
            return
        self._change_pending = False  # before the call: a change during it is reported again
        try:
            self._on_change(self._folder, timeout)
            self._busy_since = None
        except RunBusyError as error:
            self._change_pending = True  # tried again in the next turn of the thread
            now = _monotonic()
            self._busy_since = now if self._busy_since is None else self._busy_since
            if now - self._busy_since >= _BUSY_SECONDS:
                self._say("the index", f"the index is not brought up to date: {error}")
        # Whatever it is, it is no reason to end a training: the index can be made anew.
        except Exception as error:
            words = str(error) if isinstance(error, RunError) else described(error)
            self._say("the index", f"the index was not brought up to date: {words}")

    def _say(self, about: str, text: str) -> None:
        """Put a line into the log, the first time that there is something to say about this."""
        if about not in self._said:
            self._said.add(about)
            self._journal.add_text(one_line(text)[:_SAID_CHARACTERS])

    def beat(self) -> None:
        """Write a heartbeat, and make sure that the run is still this owner's.

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
            self._wake.clear()  # before the turn: what is set during it causes another one
            self._turn(_monotonic())

    def _turn(self, now: float) -> None:
        # Each part by itself: an odd value in the record must not keep the metrics from the disk.
        for what, part in (
            ("write the heartbeat", self._beat_if_due),
            ("report the change", self._report),
            ("write the metrics", self._write_lines),
            ("save the record", self._save_record),
        ):
            try:
                part(now)
            except RunError as error:
                self.failure = self.failure or error
            except Exception as error:
                self._say(what, f"the background thread could not {what}: {described(error)}")

    def _beat_if_due(self, now: float) -> None:
        if now >= self._next_beat:
            self._next_beat = now + HEARTBEAT_SECONDS
            self.beat()

    def _report(self, now: float) -> None:
        self.report_change(timeout=0.1)  # short: metrics and heartbeat wait behind it

    def _write_lines(self, now: float) -> None:
        if self._journal.waiting and not self._is_ended:
            self._journal.write()

    def _save_record(self, now: float) -> None:
        self._follow_clock()
        if self._record.dirty and now >= self._next_record and not self._is_ended:
            self._next_record = now + RECORD_SECONDS
            self._record.save()

    @property
    def _is_ended(self) -> bool:
        """Another process writes the run now, or nothing can be written any more."""
        return self._record.frozen or self.failure is not None
