"""Taking a run over: who may own it, and what was asked of it before."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.errors import RunBusyError
from engine.runs.folder import RunFolder
from engine.runs.owner import OnChange, RunOwner, nobody
from engine.runs.record import ACTIVE, Record
from engine.runs.requests import (
    ALIVE_SECONDS,
    HEARTBEAT_SECONDS,
    RunLock,
    drop_all,
    host_name,
    read_heartbeat,
)

Successor = Callable[[int, int | None], bool]
"""Starts the process that goes on with a run after a hand-over: takes the descriptors of the run's
lock and of the device's (None when there is none), says whether the process has taken over."""

_monotonic = time.monotonic
_now = time.time


def own(folder: RunFolder, *, lock_fd: int | None = None, on_change: OnChange = nobody) -> RunOwner:
    """Take a run over, to start, resume or end it. Use the result as a context manager.

    The state stays what it was until ``transition``. Requests that were left before a stopped,
    failed or lost run is taken over are dropped, with a line in its log; those to a queued or
    handed-over run, and those made since the lock was taken (here, or by the process that passed
    it on), are kept.

    Args:
        folder: the run.
        lock_fd: descriptor of the run's lock, inherited from the process that hands the run over
            (``RunOwner.lock_fd`` there).
        on_change: see ``RunOwner``; ``engine.history.index.note_change`` keeps the index of the
            history up to date.

    Raises:
        RunBusyError: when another process, here or on another host, works on the run.
        RunError: when the record cannot be read or the folder cannot be written.
    """
    folder.record()
    lock = RunLock(folder.lock_path)
    held = lock.acquire() if lock_fd is None else lock.adopt(lock_fd)
    if not held:
        raise _busy(folder)
    try:
        record = folder.record()
        if _works_elsewhere(folder, record):
            raise _busy(folder)
        owner = RunOwner(folder, lock, record, on_change)
    except BaseException:
        lock.release()
        raise
    if record.status not in ("queued", "handed-over"):
        pending = folder.pending_requests()
        stale = [asked for asked in pending if int(asked.id[:20]) < lock.taken_at]
        drop_all(folder.control_path, stale)
        for asked in stale:
            owner.log(f"dropped the request to {asked.request}, made before this start")
    return owner


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
