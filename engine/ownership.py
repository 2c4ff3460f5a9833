"""The owner of a run: the only one who writes its record, and the sink of its trainer."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
import time
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from engine.atomic import reason, replace_file, unwritable, write_all
from engine.control import (
    ALIVE_SECONDS,
    HEARTBEAT_SECONDS,
    Asked,
    RunLock,
    as_request,
    beat,
    boot_id,
    drop_all,
    host_name,
    read_heartbeat,
    read_requests,
)
from engine.errors import RunBusyError, RunError
from engine.folder import RunFolder
from engine.metriclog import LogError, MetricWriter, encode_line, void_line
from engine.record import ACTIVE, TRANSITIONS, Ack, Record, Stage, Status, direction, encode_record
from engine.sink import Plan, Request

FLUSH_SECONDS = 0.5
RECORD_SECONDS = 1.0
POLL_SECONDS = 0.2
_FIXED = frozenset({"schema", "id", "kind", "created", "status"})
_monotonic = time.monotonic
_now = time.time


def own(folder: RunFolder, *, lock_fd: int | None = None) -> RunOwner:
    """Take a run over, to start, resume or end it. Use the result as a context manager.

    The state stays what it was until ``transition``. Requests that were left before a stopped,
    failed or lost run is taken over are dropped, with a line in its log; those to a queued or
    handed-over run, and those made since this call began, are kept.

    Args:
        folder: the run.
        lock_fd: descriptor of the run's lock, inherited from the process that hands the run over
            (``RunOwner.lock_fd`` there).

    Raises:
        RunBusyError: when another process, here or on another host, works on the run.
        RunError: when the record cannot be read or the folder cannot be written.
    """
    folder.record()
    stale = folder.pending_requests() if lock_fd is None else []
    lock = RunLock(folder.lock_path)
    held = lock.acquire() if lock_fd is None else lock.adopt(lock_fd)
    if not held:
        raise _busy(folder)
    try:
        record = folder.record()
        if record.status in ("queued", "handed-over"):
            stale = []
        if _works_elsewhere(folder, record):
            raise _busy(folder)
        return RunOwner(folder, lock, record, stale)
    except BaseException:
        lock.release()
        raise


def _busy(folder: RunFolder) -> RunBusyError:
    life, _ = read_heartbeat(folder.heartbeat_path)
    who = f"process {life.pid} on {life.host}" if life else "another process"
    return RunBusyError(f"The run {folder.id} is being worked on by {who}; stop it there first.")


def _works_elsewhere(folder: RunFolder, record: Record) -> bool:
    """True when another host shows signs of life, on a file system that carries no locks."""
    if record.status not in ACTIVE:
        return False
    life, written = read_heartbeat(folder.heartbeat_path)
    if life is None or life.host == host_name():
        return False
    age = abs(_now() - written)
    if age < ALIVE_SECONDS:
        return True
    if age > 3600:
        return False
    # Clocks may differ from host to host: a heartbeat that moves is alive at any age.
    deadline = _monotonic() + 2.5 * HEARTBEAT_SECONDS
    while _monotonic() < deadline:
        time.sleep(0.1)
        if read_heartbeat(folder.heartbeat_path)[0] != life:
            return True
    return False


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
    process is killed right after. ``progress`` with a new stage flushes too.

    Handing over: save, ``transition("handed-over")`` (from here on this owner writes nothing but
    heartbeats), start the child with ``pass_fds=[owner.lock_fd]``, ``close()``. The child calls
    ``own(folder, lock_fd=fd)`` and ``transition("running")``. If the child cannot be started,
    ``transition("running")`` or ``("failed")`` here takes the run back.
    """

    def __init__(
        self, folder: RunFolder, lock: RunLock, record: Record, stale: list[Asked]
    ) -> None:
        self.folder = folder
        self._lock = lock
        self._record = record
        self._io = threading.Lock()  # who writes; taken before _state
        self._state = threading.Lock()  # the fields below; held for microseconds
        self._lines: list[bytes] = []
        self._log_lines: list[str] = []
        self._unwritten = b""  # lines that a full disk refused
        self._dirty = False
        self._frozen = False  # handed over: another process writes now
        self._error: RunError | None = None
        self._closed = False
        self._directions: dict[str, int] = {}
        self._writer = MetricWriter(folder.metrics_path)
        self._next_poll = 0.0
        self._pending: list[Asked] = []
        self._asked_here: list[Asked] = []
        self._control = str(folder.control_path)
        self._wake = threading.Event()
        self._index_due = True
        record.host, record.pid, record.boot_id = host_name(), os.getpid(), boot_id()
        try:
            beat(folder.heartbeat_path)
        except OSError as error:
            raise unwritable(folder.heartbeat_path, error) from error
        self._save()
        drop_all(folder.control_path, stale)
        for asked in stale:
            self.log(f"dropped the request to {asked.request}, made before this start")
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
        if self._dirty and not self._frozen:
            with contextlib.suppress(RunError):
                self._save()
        self._update_index(timeout=1.0)
        with contextlib.suppress(RunError):
            self._write_buffers()
        self._writer.close()
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
        with self._state:
            old = self._record.status
            if status not in TRANSITIONS[old]:
                raise RunError(f"The run {self.folder.id} is {old}; it cannot become {status}.")
        if status == "handed-over":
            self.flush()
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
            self._frozen = False
        with contextlib.suppress(RunError):
            self._write_buffers()
        self._save()
        self._frozen = status == "handed-over"
        self._index_due = True
        self._wake.set()

    def resume_at(self, step: int) -> None:
        """Void every metric after ``step``: training goes on from the checkpoint that holds it.

        Raises:
            RunError: when it cannot be written.
        """
        with self._state:
            self._lines.append(void_line(step, _now()))
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
        self._write_buffers(sync=sync)

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
            self._check()
        line = encode_line(step, epoch, _now(), values)
        with self._state:
            self._lines.append(line)
            record = self._record
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
        """See ``Sink.progress``."""
        self._check()
        with self._state:
            old = self._record.stage
            begins = old is None or old["name"] != stage
            ended = done >= total
            self._record.stage = None if ended else Stage(name=stage, done=done, total=total)
            self._dirty = True
        if begins and not ended:
            self._write_buffers()

    def log(self, text: str) -> None:
        """See ``Sink.log``: the line goes into ``log.txt`` with the time of day before it."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with self._state:
            self._log_lines.append(f"{stamp} {text}\n")

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
            self._check()
        now = _monotonic()
        if now >= self._next_poll:
            self._next_poll = now + POLL_SECONDS
            self._poll_requests()
        return self._pending[0].request if self._pending else None

    def _poll_requests(self) -> None:
        with self._state:
            found = list(self._asked_here)
        found = sorted([*found, *read_requests(self._control)], key=_urgency)
        paused = self._record.status == "paused"
        idle: Request = "pause" if paused else "continue"
        self._pending = [asked for asked in found if asked.request != idle]
        if len(self._pending) < len(found):
            self._answer([asked for asked in found if asked.request == idle], self._record.step)

    def ask(self, kind: Request) -> None:
        """Leave a request from within this process (a signal, a key): no file is needed.

        May be called from any thread; ``request`` gives it at once.
        """
        kind = as_request(kind)
        asked = Asked(id=f"{time.time_ns():020d}-{os.getpid()}-here", request=kind, time=_now())
        with self._state:
            self._asked_here.append(asked)
        self._next_poll = 0.0

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``: every waiting request of this kind is answered."""
        self._check()
        self._answer([a for a in self._pending if a.request == request], step, request)
        self._pending = [asked for asked in self._pending if asked.request != request]
        self._next_poll = 0.0

    def _answer(self, asked: list[Asked], step: int, request: Request | None = None) -> None:
        """Record the answer first, then remove the files: who waits for that finds the record."""
        newest = max((a.id for a in asked), default="")
        with self._state:
            self._record.ack = Ack(
                id=newest, request=request or asked[0].request, step=step, time=_now()
            )
            self._asked_here = [a for a in self._asked_here if a not in asked]
        self._save()
        drop_all(self.folder.control_path, asked)

    # -------------------------------------------------------------------------------- writing

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _save(self) -> None:
        """Replace the record now."""
        with self._io:
            self._save_locked()

    def _save_locked(self) -> None:
        with self._state:
            self._dirty = False
            data = encode_record(self._record)
        try:
            replace_file(self.folder.record_path, data)
        except OSError as error:
            self._dirty = True
            raise unwritable(self.folder.record_path, error) from error

    def _write_buffers(self, *, sync: bool = False) -> None:
        with self._io:
            with self._state:
                data = self._unwritten + b"".join(self._lines)
                log = "".join(self._log_lines)
                self._lines.clear()
                self._log_lines.clear()
                self._unwritten = b""
            try:
                if data or sync:
                    self._writer.append(data, sync=sync)
            except LogError as error:
                self._unwritten = data[error.written :]
                self._error = self._error or error
                raise
            finally:
                if self._writer.repaired:
                    log += f"cut a half line of {self._writer.repaired} bytes off metrics.jsonl\n"
                    self._writer.repaired = 0
                if log:
                    self._write_log(log)

    def _write_log(self, text: str) -> None:
        path = self.folder.log_path
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                write_all(fd, text.encode("utf-8", errors="replace"))
            finally:
                os.close(fd)
        except OSError as error:
            self._error = self._error or unwritable(path, error)

    def _work(self) -> None:
        """The thread: heartbeat, buffers, record."""
        next_beat = next_record = 0.0
        while not self._closed:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            if self._closed:
                return
            now = _monotonic()
            try:
                if now >= next_beat:
                    next_beat = now + HEARTBEAT_SECONDS
                    self._beat()
                if self._index_due:
                    self._update_index(timeout=0.1)
                if self._frozen or self._error is not None:
                    continue
                if self._lines or self._log_lines:
                    self._write_buffers()
                if self._dirty and now >= next_record:
                    next_record = now + RECORD_SECONDS
                    self._save()
            except RunError as error:
                self._error = self._error or error

    def _update_index(self, *, timeout: float) -> None:
        """Bring the history's index up to date; it is reconciled later where that fails."""
        # Not at the top: a program that only reads a run has no use for the database.
        from engine.index import note_change

        if not self._index_due:
            return
        self._index_due = False
        try:
            note_change(self.folder, timeout=timeout)
        except RunBusyError:
            self._index_due = True  # with the next turn of the thread
        except RunError as error:
            self.log(f"the index was not brought up to date: {error}")

    def _beat(self) -> None:
        path = self.folder.heartbeat_path
        try:
            beat(path)
            if not self._lock.still_there():
                raise RunError(f"The lock of the run {self.folder.id} was removed and taken.")
        except OSError as error:
            raise RunError(
                f"The run folder {self.folder.path} cannot be written: {reason(error)}."
            ) from error


def _urgency(asked: Asked) -> tuple[int, str]:
    return {"stop": 0, "hand-over": 1}.get(asked.request, 2), asked.id


# A forked child (a worker of some library) must not keep the run's lock when the owner dies.
_owners: weakref.WeakSet[RunOwner] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for owner in list(_owners):
        owner._closed = True
        owner._lock.release()


os.register_at_fork(after_in_child=_leave_to_parent)
