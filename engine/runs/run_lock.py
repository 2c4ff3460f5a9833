"""The lock by which a process owns a run."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from engine.errors import RunError
from engine.files import open_plain
from engine.runs.file_lock import is_same_file, open_locked, try_flock

Successor = Callable[[int, int | None], bool]
"""Starts the process that continues a run after a hand-over: takes the descriptors of the run's
lock and of the device's (None when there is none), returns whether the process has taken over."""


class RunLock:
    """The lock of a run: an ``flock`` on ``<run>/lock`` that a child process can inherit.

    The system releases it when the last descriptor is closed, whatever killed the process; so a
    reused pid or a reboot can never look like an owner. ``fd`` may be passed on with
    ``subprocess.Popen(pass_fds=[fd])``; the child adopts it. Not ``fcntl.lockf``: its locks belong
    to a process, so a child does not inherit them, and closing any descriptor of the file drops
    them (fcntl(2)).

    Args:
        path: the file; made when it is missing.

    Attributes:
        fd: descriptor of the locked file, -1 while the lock is not held.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def acquire(self, timeout: float = 0.5) -> bool:
        """Take the lock; False when another process has it.

        Tries again for ``timeout`` seconds: ``lock_is_held`` in another process has it for
        microseconds.

        Raises:
            RunError: when the file cannot be opened or the file system knows no locks.
        """
        fd = open_locked(self.path, timeout)
        self.fd = -1 if fd is None else fd
        return fd is not None

    def adopt(self, fd: int) -> bool:
        """Use a descriptor that was inherited; False when another process has the lock.

        Raises:
            RunError: when the descriptor is not that of this run's lock.
        """
        try:
            right = is_same_file(fd, self.path)
        except OSError:  # there is no such descriptor
            right = False
        if not right:
            raise RunError(f"Descriptor {fd} is not the lock {self.path}.")
        # On a descriptor that holds the lock already this does nothing (flock(2)).
        if not try_flock(fd, self.path):
            return False
        os.set_inheritable(fd, False)  # else every process that this one starts would hold the run
        self.fd = fd
        return True

    def still_there(self) -> bool:
        """False when the file was removed and another process has made and locked a new one.

        When nobody else has, the file is made again and locked under the same descriptor.

        Raises:
            OSError: when the folder is gone or cannot be written.
        """
        if is_same_file(self.fd, self.path):
            return True
        other = RunLock(self.path)
        if not other.acquire(0.0):
            return False
        # The same number: it may already be in the ``pass_fds`` of a child about to be started.
        os.dup2(other.fd, self.fd, inheritable=False)
        other.release()
        return True

    def release(self) -> None:
        """Close this process's descriptor; a child that inherited the lock keeps it.

        So does, until it runs its program, a child that another thread starts at this moment: the
        lock may then seem to be held for some milliseconds. See ``unlock``.
        """
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def unlock(self) -> None:
        """Free the lock, whoever has a copy of the descriptor. For one that is never passed on."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                fcntl.flock(self.fd, fcntl.LOCK_UN)
            self.release()


def lock_is_held(path: Path) -> bool | None:
    """Whether some process holds the lock; None where that cannot be found out.

    Takes it for a moment and writes nothing. None for a user who may not write the file, see
    ``open_lock``: that some process holds it is then seen by the heartbeat alone.
    """
    # For reading alone: on a read-only mount, and a file of an earlier version.
    for mode in (os.O_RDWR, os.O_RDONLY):
        try:
            fd = open_plain(path, mode, follow_folder=True)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                continue
            return None
        with contextlib.closing(os.fdopen(fd, "rb", buffering=0)):
            try:
                # Shared: two processes that look at once must not take each other for the owner.
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                return None
        return False
    return None
