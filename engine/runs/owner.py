"""The owner of a run: the only one who writes its record, and the sink of its trainer.

What it consists of, and what guards what:

- ``RecordWriter``: the record and its file, each under a lock of its own.
- ``Journal``: lines of the metrics and the log, and their files, each under a lock of its own.
- ``Inbox``: requests, of the trainer's thread only.
- ``OwnerThread``: writes the first two in the background, with the heartbeat. Its flags (and
  ``dirty``, ``frozen``) are read without a lock: a change that it misses is seen in its next turn,
  half a second later.

No lock of one part is held while another part is called. Within a part the lock of a file is taken
before that of the memory, and a thread that only fills memory never takes that of a file.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from engine.errors import RunError
from engine.files import is_gone, replace_file, unwritable
from engine.runs import record_updates as updates
from engine.runs.folder import RunFolder
from engine.runs.heartbeat import boot_id, host_name, read_heartbeat, write_heartbeat
from engine.runs.journal import Journal
from engine.runs.log_summary import take_log
from engine.runs.metric_log import last_written
from engine.runs.metric_writer import encode_line, void_line
from engine.runs.owner_thread import OnChange, OwnerThread
from engine.runs.record import ACTIVE, Record, Status
from engine.runs.record_writer import RecordWriter
from engine.runs.requests import Inbox
from engine.runs.run_lock import RunLock
from engine.runs.training_time import RunningSince, end_of_killed
from engine.runs.transitions import change_status, check_transition, fulfilled_request
from engine.sink import Plan, Request

# Of this module, so that tests can put a clock of their own here.
_monotonic = time.monotonic
_now = time.time


def ignore_change(folder: RunFolder, timeout: float) -> None:
    """An ``OnChange`` that keeps no index."""


class RunOwner:
    """Owns a run: writes its record, metrics, log and heartbeat, and receives requests.

    It is the ``Sink`` of the trainer. The trainer's thread only fills memory, and a second thread
    writes (see ``OwnerThread``). These calls alone are on disk when they return: ``transition``,
    ``plan``, ``checkpointed``, ``result``, ``acknowledge``, ``resume_at``, ``flush``.

    When something could not be written, the next call from the trainer raises the RunError. What
    was in the folder before is intact then.

    Pausing is the trainer's: on ``"pause"`` it calls ``transition("paused")`` and
    ``acknowledge("pause", step)``, then looks at ``request()`` (with short sleeps) until
    ``continue`` (``transition("running")``, ``acknowledge``), ``stop`` or ``hand-over`` comes;
    ``checkpoint`` may come as well. The state goes first, so that it is there for those who have
    waited for the answer.

    Before saving a checkpoint call ``flush()``: the log then holds every step of it, even if the
    process is killed right after. ``progress`` with a new stage does it too.

    Handing over: save, ``transition("handed-over")`` (from here on this owner writes nothing but
    heartbeats), start the child with ``pass_fds=[owner.lock_fd]``, ``close()``. The child calls
    ``own(folder, lock_fd=fd)`` and ``transition("running")``. If the child cannot be started,
    ``transition("running")`` or ``("failed")`` here takes the run back.

    Args:
        folder: the run.
        lock: its lock, held.
        record: its record, read while the lock was held.
        on_change: called after each change of state, such as to keep an index of runs up to date.

    Raises:
        RunError: when the folder cannot be written.
    """

    def __init__(
        self,
        folder: RunFolder,
        lock: RunLock,
        record: Record,
        on_change: OnChange = ignore_change,
    ) -> None:
        heartbeat, _ = read_heartbeat(folder.heartbeat_path)
        end_of_killed(record, heartbeat, last_written(folder.metrics_path))
        record.host, record.pid, record.boot_id = host_name(), os.getpid(), boot_id()
        # Of an owner that was killed in it. Left here, the same stage would not count as new, and
        # ``progress`` would not flush before the next checkpoint.
        record.stage = None
        self.folder = folder
        self._lock = lock
        self._record = RecordWriter(folder.record_path, record)
        self._journal = Journal(folder)
        self._inbox = Inbox(folder.control_path)
        self._running_since = RunningSince()
        self._thread = OwnerThread(
            folder, lock, self._record, self._journal, on_change, self._follow_clock
        )
        self._closed = False
        try:
            write_heartbeat(folder.heartbeat_path)
            self._record.make_reserve()
        except OSError as error:
            raise unwritable(folder.path, error) from error
        self._record.save()
        _owners.add(self)
        self._thread.start()

    # ------------------------------------------------------------------------------- lifetime

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A last resort: engine.jobs records failures itself, with the traceback in the log. A
        # KeyboardInterrupt is no failure: the run then counts as lost and can be resumed.
        if isinstance(error, Exception) and self._record.status in ("running", "paused"):
            with contextlib.suppress(RunError):
                self.transition("failed", error=str(error) or type(error).__name__)
        self.close()

    def close(self) -> None:
        """Write what is left, end the thread, release the lock. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        # The thread first: nothing else may write from here on. The lock last: until then no other
        # process may take the run over. Errors are dropped: a full disk must not hide the one that
        # the program is leaving with.
        self._thread.stop()
        with contextlib.suppress(Exception):
            self._record.close()
        with contextlib.suppress(Exception):
            self._journal.write()
        self._journal.close()
        if self._record.status not in ACTIVE:
            self._thread.note_change()  # the size of the folder is what it stays now
        self._thread.report_change(timeout=1.0)
        _owners.discard(self)
        self._lock.release()

    @property
    def lock_fd(self) -> int:
        """Descriptor of the lock, for ``pass_fds`` of a child that takes the run over."""
        return self._lock.fd

    @property
    def record(self) -> Record:
        """The record as it is now: a copy."""
        return self._record.copy()

    # ---------------------------------------------------------------------------------- state

    def transition(self, status: Status, **changes: Any) -> None:
        """Change the state, and other fields of the record with it; on disk when it returns.

        ``started`` and ``ended`` are kept here; leaving ``running`` clears ``stage``.

        Args:
            status: the new state.
            changes: further fields of ``Record``, for example ``error``.

        Raises:
            RunError: when the state cannot follow the present one, or cannot be written; in the
                second case the owner holds the new state in memory and tries again on ``close``.
                Also when a run is to be ``finished`` whose metrics could not be written, or are
                gone: its state stays as it was.
        """
        self._record.change(check_transition, status, changes)
        self._follow_clock()
        if (self._record.status, status) == ("paused", "running"):
            # Voids nothing: it tells those who read the log that time went by untrained.
            self._journal.add(void_line(self._record.step, _now()))
        if status == "handed-over":
            self.flush()  # raises: the child must find every step
        elif status == "finished":  # raises: what is called so has all of its curves
            self._thread.check()
            self._journal.write(look=True)
        else:  # that a run has failed is recorded even where its metrics cannot be written
            with contextlib.suppress(RunError):
                self._journal.write()
        self._record.change(change_status, status, changes, now=_now())
        self._running_since.begin(_monotonic())
        self._record.save(status)
        self._thread.note_change()

    def _follow_clock(self) -> None:
        """See ``RunningSince``; the thread saves the record where the clock was set."""
        self._record.change_later_if(self._running_since.follow, _now(), _monotonic())

    def resume_at(self, step: int) -> None:
        """Void every metric after ``step``: training goes on from the checkpoint that holds it.

        The record's newest and best values are then those of the log without them.

        Raises:
            RunError: when it cannot be written, or the log cannot be read.
        """
        self._journal.add(void_line(step, _now()))
        self.flush()
        log = self.folder.metrics()
        log.poll()
        self._record.change(updates.set_step, step)
        self._record.change(take_log, log)
        self._record.save()

    def flush(self, *, sync: bool = True) -> None:
        """Write buffered metrics and log lines now.

        Args:
            sync: also force them to the disk (they survive the process in any case).

        Raises:
            RunError: when they cannot be written, or something before could not.
        """
        self._thread.check()
        try:
            self._journal.write(sync=sync)
        except RunError as error:
            self._thread.failure = error
            raise

    def set_config(self, config: dict[str, Any]) -> None:
        """Change the recorded configuration: only settings that leave every result as it is.

        Raises:
            RunError: when it cannot be written.
        """
        self._record.change(updates.set_config, config)
        self._record.save()

    def note_provenance(
        self, step: int, values: Mapping[str, Any], files: Mapping[str, bytes]
    ) -> dict[str, Any]:
        """Record what the run is computed with from a step on; from any thread.

        Args:
            step: the steps that are done.
            values: see ``engine.runs.provenance``.
            files: what lies beside the record, by name; one that is there is left.

        Returns:
            What it was before; empty where that is not known.

        Raises:
            RunError: when something cannot be written.
        """
        for name, data in files.items():
            path = self.folder.path / name
            try:
                if is_gone(path):
                    replace_file(path, data, durable=False)
            except OSError as error:
                raise unwritable(path, error) from error
        before = self._record.change(updates.set_provenance, step, _now(), values)
        self._record.save()
        return before

    # ----------------------------------------------------------------------------------- sink

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self._thread.check()
        self._record.change(updates.set_plan, plan)
        self._record.save()

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``. A few microseconds; no file is touched."""
        self._thread.check()
        self._journal.add(encode_line(step, epoch, _now(), values))
        self._record.change_later(updates.add_metrics, step, epoch, values)

    def progress(self, stage: str, done: int, total: int) -> None:
        """See ``Sink.progress``. What was measured before a stage is written when it begins."""
        self._thread.check()
        if self._record.change_later(updates.set_stage, stage, done, total):
            self.flush(sync=False)

    def log(self, text: str) -> None:
        """See ``Sink.log``: the line goes into ``log.txt`` with the time of day before it."""
        self._journal.add_text(text)

    def checkpointed(self, step: int) -> None:
        """See ``Sink.checkpointed``."""
        self.flush()
        self._record.change(updates.set_checkpoint, step, _now())
        self._record.save()

    def result(self, values: Mapping[str, Any]) -> None:
        """See ``Sink.result``."""
        # First: a resumed probe skips the rows that its result has, and never measures them again.
        self.flush()
        self._record.change(updates.set_result, values)
        self._record.save()

    def request(self) -> Request | None:
        """The request to answer next, or None. The folder is read every 0.2 s at most.

        Oldest first, but ``stop`` goes before everything and ``hand-over`` before the rest: side
        work answers to these two only, and must see them at once. ``pause`` of a paused run and
        ``continue`` of one that is not are acknowledged here, since there is nothing to do.
        """
        self._thread.check()
        if self._inbox.poll(_monotonic()):
            done = fulfilled_request(self._record.status)
            if self._inbox.has(done):
                self._answer(done, self._record.step)
        return self._inbox.first

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``: every waiting request of this kind is answered."""
        self._thread.check()
        self._answer(request, step)

    def _answer(self, request: Request, step: int) -> None:
        newest = self._inbox.newest(request)
        self._record.change(updates.set_ack, newest, request, step, _now())
        # The record before the files: a process that sees its request gone reads the answer there.
        self._record.save()
        self._inbox.remove(request)


# Weak: being in this list must not keep an owner that was never closed.
_owners: weakref.WeakSet[RunOwner] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Close a forked child's copy of the lock's descriptor (a worker of multiprocessing, say).

    An flock lives until its last descriptor is closed: such a child would keep the run of a killed
    owner alive. It must not write to the folder either.
    """
    for owner in list(_owners):
        owner._closed = True
        owner._lock.release()


os.register_at_fork(after_in_child=_leave_to_parent)
