"""Locks between processes and threads by flock(2), which the system drops when its holder dies.

A file system that knows no flock (some network and FUSE ones) is refused at once, in a sentence
that names it. Without locks two processes could train one run, and no substitute is safe: a file
that marks an owner stays behind when the owner is killed.

Whoever can open a file can hold its lock, also when it is open for reading only. So a lock file can
be opened by those alone who may write it: nobody who may only look keeps an owner out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from engine.errors import RunBusyError, RunError
from engine.files import is_folder, open_new, open_plain, unwritable

_RETRY_SECONDS = 0.01

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


def open_lock(path: Path, *, follow_folder: bool = False) -> int:
    """Open a lock file to take its lock; made when it is missing.

    Its rights are those that the umask leaves, without the right to read for those who may not
    write: group members under a umask of 002, nobody but its owner under 022.

    Args:
        path: the file.
        follow_folder: its folder may be a link.

    Raises:
        OSError: when this user may not write it, or it is no plain file.
    """
    # Open for writing, without writing: NFS wants that for an exclusive lock (flock(2)). Made
    # without any right to read, which is given below: nobody may open it in between.
    flags = os.O_WRONLY | os.O_CREAT
    fd = open_plain(path, flags, follow_folder=follow_folder, mode=0o222)
    return _readable_by_writers(fd)


def _readable_by_writers(fd: int) -> int:
    """Let those read an open file who may write it, and nobody else, if it is this user's."""
    found = os.fstat(fd)
    writers = found.st_mode & 0o222
    wanted = writers | writers << 1
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != wanted:
        # Some file systems have rights of their own, which nobody can change.
        with contextlib.suppress(OSError):
            os.fchmod(fd, wanted)
    return fd


def open_locked(path: Path, timeout: float, *, follow_folder: bool = False) -> int | None:
    """Open a lock file with its lock; None when another open file has it for longer.

    Args:
        path: the file, see ``open_lock``.
        timeout: seconds to try again.
        follow_folder: its folder may be a link.

    Raises:
        RunError: when it cannot be opened, or the file system has no locks.
    """
    deadline = time.monotonic() + timeout
    while True:
        locked = False
        try:
            # Each time: the file may have been removed and made again meanwhile.
            fd = open_lock(path, follow_folder=follow_folder)
            try:
                # Of a file that was removed after it was opened the lock would keep nobody out.
                locked = try_flock(fd, path) and is_same_file(fd, path)
            finally:
                if not locked:
                    os.close(fd)
        except OSError as error:
            raise unwritable(path, error) from error
        if locked:
            return fd
        if time.monotonic() >= deadline:
            return None
        time.sleep(_RETRY_SECONDS)


class FileLock:
    """A lock to hold around a change of a file: against other processes, and other threads.

    One thread may take it again while it has it. The file stays when the lock is released.

    Args:
        path: of the lock's own file; made when it is missing, see ``open_lock``.
        follow_folder: its folder may be a link.
    """

    def __init__(self, path: Path, *, follow_folder: bool = False) -> None:
        self._path = path
        self._follow_folder = follow_folder
        self._of_thread = threading.local()  # ``depth``: how often this thread holds it

    @contextlib.contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Hold the lock.

        Args:
            timeout: seconds to wait for others.

        Raises:
            RunBusyError: when another process or thread has it for longer.
            RunError: when its file cannot be opened, or the file system has no locks.
        """
        if getattr(self._of_thread, "depth", 0):
            self._of_thread.depth += 1
            try:
                yield
            finally:
                self._of_thread.depth -= 1
            return
        fd = open_locked(self._path, timeout, follow_folder=self._follow_folder)
        if fd is None:
            raise RunBusyError(f"{self._path} is locked by another process.")
        self._of_thread.depth = 1
        try:
            yield
        finally:
            self._of_thread.depth = 0
            # Not only closed: a process that was forked meanwhile has a copy of the descriptor.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)
