"""Taking a run over: whether it may be owned, and what becomes of earlier requests."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from engine.errors import RunBusyError
from engine.files import opened_folder
from engine.runs.folder import RunFolder
from engine.runs.heartbeat import read_heartbeat
from engine.runs.owner import RunOwner, ignore_change
from engine.runs.owner_thread import OnChange
from engine.runs.provenance import FILE
from engine.runs.requests import remove_aside
from engine.runs.run_lock import RunLock

# What ``replace_file`` and ``checkpoint.save`` leave when they are killed, of the files that only a
# run's owner writes; version 0.1 called that of a checkpoint otherwise.
_UNFINISHED = re.compile(
    r"\.(checkpoint(\.previous)?\.pt|run\.json|metrics\.jsonl|devices\.jsonl|"
    + FILE.pattern
    + r")\.\d+-[0-9a-f]{8}\.tmp"
    r"|\.checkpoint-[a-z0-9_]{8}"
)


def own(
    folder: RunFolder, *, lock_fd: int | None = None, on_change: OnChange = ignore_change
) -> RunOwner:
    """Take a run over, to start, resume or end it. Use the result as a context manager.

    The state stays what it was until ``transition``. Requests made before the lock was taken (here,
    or by the process that passed it on) were meant for an earlier owner: they are dropped, with a
    line in the log, unless the run was queued or handed over (see ``RunFolder.take_lock``).

    Args:
        folder: the run.
        lock_fd: descriptor of the run's lock, inherited from the process that hands the run over
            (``RunOwner.lock_fd`` there), or of ``RunFolder.take_lock``.
        on_change: see ``RunOwner``; ``engine.history.index.note_change`` keeps the index of the
            history up to date.

    Raises:
        RunBusyError: when another process, here or on another host, works on the run.
        RunError: when the record cannot be read or the folder cannot be written.
    """
    folder.record()  # raises for a folder that is no run, before a lock file is made in it
    lock = folder.take_lock() if lock_fd is None else _adopted(folder, lock_fd)
    if lock is None:
        raise _busy(folder)
    try:
        record = folder.record()  # again: an owner may have written it before it released the lock
        removed = _sweep(folder.path)  # before the owner writes: a full disk may need the room
        owner = RunOwner(folder, lock, record, on_change)
    except BaseException:
        lock.release()
        raise
    if removed:
        owner.log(f"removed what a killed process left unfinished ({removed})")
    for request in remove_aside(folder.control_path):
        owner.log(f"dropped the request to {request}, made before this start")
    return owner


def _adopted(folder: RunFolder, lock_fd: int) -> RunLock | None:
    """The lock behind a descriptor; None when another process works on the run."""
    lock = RunLock(folder.lock_path)
    if not lock.adopt(lock_fd):
        return None
    if folder.works_elsewhere(folder.record()):
        lock.release()
        return None
    return lock


def _sweep(folder: Path) -> int:
    """Removes unfinished files of an owner that was killed; returns how many there were.

    The lock of the run must be held: nobody else writes these files then.
    """
    removed = 0
    # Whoever writes next says what is wrong with the folder.
    with contextlib.suppress(OSError), opened_folder(folder, follow=True) as fd:
        for name in filter(_UNFINISHED.fullmatch, os.listdir(fd)):  # noqa: PTH208 - of a descriptor
            with contextlib.suppress(OSError):  # a folder of such a name is not ours
                os.unlink(name, dir_fd=fd)
                removed += 1
    return removed


def _busy(folder: RunFolder) -> RunBusyError:
    heartbeat, _ = read_heartbeat(folder.heartbeat_path)
    who = f"process {heartbeat.pid} on {heartbeat.host}" if heartbeat else "another process"
    return RunBusyError(f"The run {folder.id} is being worked on by {who}; stop it there first.")
