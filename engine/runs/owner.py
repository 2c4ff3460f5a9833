"""The owner of a run: the only one who writes its record, and the sink of its trainer."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from engine.errors import RunBusyError, RunError
from engine.files import reason, replace_file, unwritable
from engine.runs.folder import RunFolder
from engine.runs.heartbeat import HEARTBEAT_SECONDS, boot_id, host_name, write_heartbeat
from engine.runs.journal import Journal
from engine.runs.metric_log import encode_line, void_line
from engine.runs.record import TRANSITIONS, Ack, Record, Stage, Status, direction, encode_record
from engine.runs.requests import Inbox
from engine.runs.run_lock import RunLock
from engine.sink import Plan, Request

FLUSH_SECONDS = 0.5
RECORD_SECONDS = 1.0
_RESERVE_BYTES = 16 * 1024
_FIXED = frozenset({"schema", "id", "kind", "created", "status"})
_monotonic = time.monotonic
_now = time.time


OnChange = Callable[[RunFolder, float], None]
"""Takes a run whose state changed and the seconds that it may wait for others.

It may raise RunBusyError (told again later) or RunError (logged)."""


def nobody(folder: RunFolder, timeout: float) -> None:
    """Told of changes and keeps no index."""


class RunOwner:
    """Owns a run: writes its record, metrics, log and heartbeat, and hears what is asked of it.

    It is the ``Sink`` of the trainer. The trainer's thread only fills memory; a thread of its own
    writes (metrics and log after at most 0.5 s, the record after at most 1 s, a heartbeat every
    3 s). What must be on disk before the call returns is: ``transition``, ``checkpointed``,
    ``result``, ``acknowledge``, ``resume_at``, ``flush``.

    When something could not be written, the next call from the trainer raises the RunError. What
    was in the folder before is intact then.

    Pausing is the trainer's: on ``"pause"`` it calls ``acknowledge("pause", step)`` and
    ``transition("paused")``, then looks at ``request()`` (with short sleeps) until ``continue``
    (``acknowledge``, ``transition("running")``), ``stop`` or ``hand-over`` comes; ``checkpoint``
    may come as well.

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
        on_change: told of each change of state, beside the folder: what keeps an index of runs.
    """

    def __init__(
        self,
        folder: RunFolder,
        lock: RunLock,
        record: Record,
        on_change: OnChange = nobody,
    ) -> None:
        self.folder = folder
        self._on_change = on_change
        self._lock = lock
        self._record = record
        self._journal = Journal(folder)
        self._inbox = Inbox(folder.control_path)
        self._saving = threading.Lock()  # taken before _state
        self._state = threading.Lock()  # the record; held for microseconds
        self._dirty = False
        self._frozen = False  # handed over: another process writes now
        self._error: RunError | None = None
        self._index_due = True
        self._closed = False
        self._directions: dict[str, int] = {}
        self._wake = threading.Event()
        record.host, record.pid, record.boot_id = host_name(), os.getpid(), boot_id()
        record.stage = None  # that of an owner who died in it
        self._reserve = folder.path / ".reserve"
        try:
            write_heartbeat(folder.heartbeat_path)
            # Room for one last record: a run that fills the disk can still say that it failed.
            self._reserve.write_bytes(os.urandom(_RESERVE_BYTES))
        except OSError as error:
            raise unwritable(folder.path, error) from error
        self._save()
        self._thread = threading.Thread(target=self._work, name=f"run-{folder.id}", daemon=True)
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
        # A last resort: whoever runs the trainer writes the outcome, with its traceback.
        if isinstance(error, Exception) and self._record.status in ("running", "paused"):
            with contextlib.suppress(RunError):
                self.transition("failed", error=str(error) or type(error).__name__)
        self.close()

    def close(self) -> None:
        """Write what is left, end the thread, let go of the lock. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self._thread.join()
        if not self._frozen:
            with contextlib.suppress(RunError):
                if self._dirty:
                    self._save(self._record.status)
            with contextlib.suppress(OSError):
                self._reserve.unlink(missing_ok=True)
        self._update_index(timeout=1.0)
        with contextlib.suppress(RunError):
            self._journal.write()
        self._journal.close()
        _owners.discard(self)
        self._lock.release()

    @property
    def lock_fd(self) -> int:
        """Descriptor of the lock, for ``pass_fds`` of a child that takes the run over."""
        return self._lock.fd

    @property
    def record(self) -> Record:
        """The record as it is now: a copy."""
        with self._state:
            now = copy.copy(self._record)
            now.last, now.best = dict(now.last), dict(now.best)
            return now

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
        """
        for name in changes:
            if name in _FIXED or name not in Record.__struct_fields__:
                raise TypeError(f"{name} is no field of a record that may change")
        old = self._record.status
        if status not in TRANSITIONS[old]:
            raise RunError(f"The run {self.folder.id} is {old}; it cannot become {status}.")
        if status == "handed-over":
            self.flush()
        else:
            with contextlib.suppress(RunError):
                self._journal.write()
        with self._state:
            record = self._record
            record.status = status
            if status == "running":
                record.started = record.started or _now()
                record.ended, record.error = None, ""
            elif status in ("finished", "stopped", "failed"):
                record.ended = _now()
            if status != "running":
                record.stage = None
            for name, value in changes.items():
                setattr(record, name, value)
        self._save(status)
        self._index_due = True
        self._wake.set()

    def resume_at(self, step: int) -> None:
        """Void every metric after ``step``: training goes on from the checkpoint that holds it.

        Raises:
            RunError: when it cannot be written.
        """
        self._journal.add(void_line(step, _now()))
        with self._state:
            self._record.step = step
            if self._record.steps_per_epoch:
                self._record.epoch = step / self._record.steps_per_epoch
        self.flush()
        self._save()

    def flush(self, *, sync: bool = True) -> None:
        """Write buffered metrics and log lines now.

        Args:
            sync: also force them to the disk (they survive the process in any case).

        Raises:
            RunError: when they cannot be written, or something before could not.
        """
        self._check()
        try:
            self._journal.write(sync=sync)
        except RunError as error:
            self._error = error
            raise

    # ----------------------------------------------------------------------------------- sink

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self._check()
        with self._state:
            record = self._record
            record.total_steps = plan.total_steps
            record.steps_per_epoch = plan.steps_per_epoch
            record.pairs_per_step = plan.pairs_per_step
            record.device = plan.device
            record.facts = dict(plan.facts)
            record.chance = plan.chance
            record.step = plan.start_step
            if plan.steps_per_epoch:
                record.epoch = plan.start_step / plan.steps_per_epoch
        self._save()

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``. A few microseconds; no file is touched."""
        if self._error is not None:
            raise self._error
        self._journal.add(encode_line(step, epoch, _now(), values))
        with self._state:
            record = self._record
            if step >= record.step:  # a value may be told late: that of the untrained encoder
                record.step, record.epoch = step, epoch
            last, best = record.last, record.best
            for name, value in values.items():
                last[name] = value = float(value)
                way = self._directions.get(name)
                if way is None:
                    way = self._directions[name] = direction(name)
                if way:
                    old = best.get(name)
                    if value == value and (old is None or (value - old) * way > 0):
                        best[name] = value
            self._dirty = True

    def progress(self, stage: str, done: int, total: int) -> None:
        """See ``Sink.progress``. What was measured before a stage is written when it begins."""
        self._check()
        ended = done >= total
        with self._state:
            old = self._record.stage
            self._record.stage = None if ended else Stage(name=stage, done=done, total=total)
            self._dirty = True
        if not ended and (done == 0 or old is None or old["name"] != stage):
            self.flush(sync=False)

    def log(self, text: str) -> None:
        """See ``Sink.log``: the line goes into ``log.txt`` with the time of day before it."""
        self._journal.say(text)

    def checkpointed(self, step: int) -> None:
        """See ``Sink.checkpointed``."""
        self.flush()
        with self._state:
            self._record.checkpoint_step = step
            self._record.checkpoint_time = _now()
        self._save()

    def result(self, values: Mapping[str, Any]) -> None:
        """See ``Sink.result``."""
        self._check()
        with self._state:
            self._record.result = dict(values)
        self._save()

    def request(self) -> Request | None:
        """The request to answer next, or None. The folder is looked at every 0.2 s at most.

        Oldest first, but ``stop`` goes before everything and ``hand-over`` before the rest, so
        that they are heard during side work. ``pause`` of a paused run and ``continue`` of one
        that is not are acknowledged here: they are done.
        """
        if self._error is not None:
            raise self._error
        if self._inbox.poll(_monotonic()):
            done: Request = "pause" if self._record.status == "paused" else "continue"
            if self._inbox.has(done):
                self._answer(done, self._record.step)
        return self._inbox.first

    def ask(self, kind: Request) -> None:
        """Leave a request from within this process (a signal, a key): no file is needed.

        May be called from any thread; the next ``request`` gives it.
        """
        self._inbox.ask(kind)

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``: every waiting request of this kind is answered."""
        self._check()
        self._answer(request, step)

    def _answer(self, request: Request, step: int) -> None:
        newest = self._inbox.newest(request)
        with self._state:
            self._record.ack = Ack(id=newest, request=request, step=step, time=_now())
        # The record first, then the files: who waits for the file to go finds the answer.
        self._save()
        self._inbox.remove(request)

    # -------------------------------------------------------------------------------- writing

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _save(self, new: Status | None = None) -> None:
        """Replace the record now.

        Args:
            new: the state, when that is what changed: it may use the room that was kept for it,
                and from ``handed-over`` on nothing else is written.
        """
        path = self.folder.record_path
        with self._saving:
            if self._frozen and new is None:
                return
            with self._state:
                self._dirty = False
                data = encode_record(self._record)
            try:
                try:
                    replace_file(path, data)
                except OSError as error:
                    if new is None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                        raise
                    self._reserve.unlink(missing_ok=True)
                    replace_file(path, data)
            except OSError as error:
                self._dirty = True
                raise unwritable(path, error) from error
            if new is not None:
                # Under the lock: a save of the thread that was under way is over, a later one
                # would overwrite the record of the process that takes the run over.
                self._frozen = new == "handed-over"

    def _work(self) -> None:
        """The thread: heartbeat, buffers, record, index."""
        next_beat = next_record = 0.0
        while not self._closed:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            now = _monotonic()
            try:
                if now >= next_beat:
                    next_beat = now + HEARTBEAT_SECONDS
                    self._beat()
                self._update_index(timeout=0.1)
                if self._frozen or self._error is not None:
                    continue
                if self._journal.waiting:
                    self._journal.write()
                if self._dirty and now >= next_record:
                    next_record = now + RECORD_SECONDS
                    self._save()
            except RunError as error:
                self._error = self._error or error

    def _update_index(self, *, timeout: float) -> None:
        """Bring the history's index up to date; it is reconciled later where that fails."""
        if not self._index_due:
            return
        self._index_due = False
        try:
            self._on_change(self.folder, timeout)
        except RunBusyError:
            self._index_due = True  # with the next turn of the thread
        except RunError as error:
            self.log(f"the index was not brought up to date: {error}")

    def _beat(self) -> None:
        try:
            write_heartbeat(self.folder.heartbeat_path)
            if not self._lock.still_there():
                raise RunError(
                    f"The lock of the run {self.folder.id} was removed, and another process has "
                    "taken the run over."
                )
        except OSError as error:
            raise RunError(
                f"The run folder {self.folder.path} cannot be written: {reason(error)}."
            ) from error


# A forked child (a worker of some library) must not keep the run's lock when the owner dies.
_owners: weakref.WeakSet[RunOwner] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for owner in list(_owners):
        owner._closed = True
        owner._lock.release()


os.register_at_fork(after_in_child=_leave_to_parent)
