"""Taking a run over: whether it may be owned, and what becomes of earlier requests."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from engine.errors import RunBusyError
from engine.files import open_folder
from engine.runs.folder import RunFolder
from engine.runs.heartbeat import (
    ALIVE_SECONDS,
    HEARTBEAT_SECONDS,
    host_name,
    read_heartbeat,
)
from engine.runs.owner import RunOwner, ignore_change
from engine.runs.owner_thread import OnChange
from engine.runs.record import ACTIVE, Record
from engine.runs.requests import remove_requests
from engine.runs.run_lock import RunLock

_STALE_SECONDS = 3600.0  # no clock is that wrong: an older heartbeat is of a dead owner
# What ``replace_file`` and ``checkpoint.save`` leave when they are killed, of the files that only a
# run's owner writes; version 0.1 called that of a checkpoint otherwise.
_UNFINISHED = re.compile(
    r"\.(checkpoint(\.previous)?\.pt|run\.json)\.\d+-[0-9a-f]{8}\.tmp|\.checkpoint-[a-z0-9_]{8}"
)
_monotonic = time.monotonic
_now = time.time


def own(
    folder: RunFolder, *, lock_fd: int | None = None, on_change: OnChange = ignore_change
) -> RunOwner:
    """Take a run over, to start, resume or end it. Use the result as a context manager.

    The state stays what it was until ``transition``. Requests made before the lock was taken (here,
    or by the process that passed it on) were meant for an earlier owner: they are dropped, with a
    line in the log, unless the run was queued or handed over.

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
    folder.record()  # raises for a folder that is no run, before a lock file is made in it
    lock = RunLock(folder.lock_path)
    held = lock.acquire() if lock_fd is None else lock.adopt(lock_fd)
    if not held:
        raise _busy(folder)
    try:
        record = folder.record()  # again: an owner may have written it before it released the lock
        if _works_elsewhere(folder, record):
            raise _busy(folder)
        removed = _sweep(folder.path)  # before the owner writes: a full disk may need the room
        owner = RunOwner(folder, lock, record, on_change)
    except BaseException:
        lock.release()
        raise
    if removed:
        owner.log(f"removed what a killed process left unfinished ({removed})")
    if record.status not in ("queued", "handed-over"):
        _drop_requests(folder, owner, lock.taken_at)
    return owner


def _sweep(folder: Path) -> int:
    """Removes unfinished files of an owner that was killed; returns how many there were.

    The lock of the run must be held: nobody else writes these files then.
    """
    removed = 0
    # Whoever writes next says what is wrong with the folder.
    with contextlib.suppress(OSError):
        fd = open_folder(folder, follow=True)
        try:
            for name in filter(_UNFINISHED.fullmatch, os.listdir(fd)):  # noqa: PTH208 - of a descriptor
                with contextlib.suppress(OSError):  # a folder of such a name is not ours
                    os.unlink(name, dir_fd=fd)
                    removed += 1
        finally:
            os.close(fd)
    return removed


def _drop_requests(folder: RunFolder, owner: RunOwner, before_ns: int) -> None:
    """Drop the requests that were made before a time in unix nanoseconds."""
    # A "stop" that came too late for the last owner would end a resumed run at once.
    stale = [pending for pending in folder.pending_requests() if int(pending.id[:20]) < before_ns]
    remove_requests(folder.control_path, stale)
    for pending in stale:
        owner.log(f"dropped the request to {pending.request}, made before this start")


def _busy(folder: RunFolder) -> RunBusyError:
    heartbeat, _ = read_heartbeat(folder.heartbeat_path)
    who = f"process {heartbeat.pid} on {heartbeat.host}" if heartbeat else "another process"
    return RunBusyError(f"The run {folder.id} is being worked on by {who}; stop it there first.")


def _works_elsewhere(folder: RunFolder, record: Record) -> bool:
    """True when another host works on the run, on a file system that carries no locks.

    May take 7.5 s: so long it watches a heartbeat that another clock has dated.
    """
    if record.status not in ACTIVE:
        return False
    heartbeat, written = read_heartbeat(folder.heartbeat_path)
    if heartbeat is None or heartbeat.host == host_name():
        return False
    age = abs(_now() - written)
    if age < ALIVE_SECONDS:
        return True
    if age > _STALE_SECONDS:
        return False
    # Clocks of hosts may differ by minutes: whatever its age, a heartbeat that changes is alive.
    deadline = _monotonic() + 2.5 * HEARTBEAT_SECONDS
    while _monotonic() < deadline:
        time.sleep(0.1)
        if read_heartbeat(folder.heartbeat_path)[0] != heartbeat:
            return True
    return False
