"""Locks between processes and threads by flock(2), which the system drops when its holder dies.

A file system that knows no flock (some network and FUSE ones) is refused at once, in a sentence
that names it. Without locks two processes could train one run, and no substitute is safe: a file
that marks an owner (to which the package filelock would fall back by itself) stays behind when the
owner is killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import filelock

from engine.errors import RunBusyError, RunError
from engine.files import is_folder, open_new, unwritable

# What flock sets where another open file holds the lock; EACCES on some network file systems.
_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
# What flock sets where a file system does not support it; it differs between file systems.
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})


def took_lock(fd: int) -> bool:
    """Whether the lock of an open file was free and is this descriptor's now.

    Raises:
        OSError: when it cannot be locked at all.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def try_flock(fd: int, path: Path) -> bool:
    """Lock an open file for this descriptor alone; False when another one holds the lock.

    Args:
        fd: of the file.
        path: of the file, for messages.

    Raises:
        RunError: when the file system has no locks, or the lock fails for another reason.
    """
    try:
        return took_lock(fd)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise no_locks(path.parent) from error
        raise unwritable(path, error) from error


def is_same_file(fd: int, path: Path) -> bool:
    """True when the path still names the file that the descriptor was opened on.

    Raises:
        OSError: when there is no such descriptor, or the path cannot be looked at.
    """
    own = os.fstat(fd)
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino)


def no_locks(folder: Path) -> RunError:
    """The error for a folder on a file system without locks."""
    kind = file_system(folder)
    return RunError(
        f"The file system of {folder}{f', {kind},' if kind else ''} has no file locks (flock), "
        "without which two processes could work on one run; keep the runs in a folder of another "
        "file system with --runs-dir, or mount this one with locks."
    )


def file_system(path: Path) -> str:
    """Kind of the file system that a path lies on (``ext4``, ``nfs4``); empty when unknown."""
    with contextlib.suppress(Exception):  # only for messages: whatever fails, it is not known
        import psutil

        resolved = path.resolve()
        mounts = [
            (len(Path(part.mountpoint).parts), part.fstype)
            for part in psutil.disk_partitions(all=True)
            if resolved.is_relative_to(part.mountpoint)
        ]
        return str(max(mounts)[1])  # the deepest of the mounts above it
    return ""


def locks_work(folder: Path) -> bool:
    """Whether a second open file is refused the lock that a first one holds.

    A lock belongs to an open file, not to a process (flock(2)), so a second one of this process is
    refused as one of another process would be. Some file systems grant both.

    Args:
        folder: a file is made in it for a moment.

    Raises:
        OSError: when that file cannot be made.
    """
    path = folder / f".lock-{os.getpid()}-{secrets.token_hex(4)}"
    first = open_new(path)
    try:
        second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            with contextlib.suppress(RunError):
                return try_flock(first, path) and not try_flock(second, path)
            return False
        finally:
            os.close(second)
    finally:
        os.close(first)
        with contextlib.suppress(OSError):
            path.unlink()


def check_locks(folder: Path) -> None:
    """Refuse a folder whose file system does not keep locks.

    Args:
        folder: it need not exist; then the nearest one above it is looked at.

    Raises:
        RunError: with the kind of the file system.
        OSError: when nothing can be written there.
    """
    while not is_folder(folder) and folder != folder.parent:
        folder = folder.parent
    if not locks_work(folder):
        raise no_locks(folder)


class FileLock:
    """A lock to hold around a change of a file: against other processes, and other threads.

    One thread may take it again while it has it. The file stays when the lock is released.

    Args:
        path: of the lock's own file; made when it is missing, with the rights that the umask leaves
            (filelock before version 4 set a mode of its own by fchmod).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = filelock.FileLock(path, fallback_to_soft=False)

    @contextlib.contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Hold the lock.

        Args:
            timeout: seconds to wait for others.

        Raises:
            RunBusyError: when another process or thread has it for longer.
            RunError: when its file cannot be opened, or the file system has no locks.
        """
        try:
            self._lock.acquire(timeout=timeout)
        except filelock.Timeout:
            raise RunBusyError(f"{self._path} is locked by another process.") from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise no_locks(self._path.parent) from error
            raise unwritable(self._path, error) from error
        try:
            yield
        finally:
            self._lock.release()
