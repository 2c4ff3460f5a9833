"""Signs between processes in a run folder: the owner's lock, its heartbeat, requests to it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct

from engine.errors import RunError
from engine.files import reason, unwritable
from engine.sink import Request

REQUESTS: tuple[Request, ...] = get_args(Request)

HEARTBEAT_SECONDS = 3.0
POLL_SECONDS = 0.2
ALIVE_SECONDS = 15.0
"""A heartbeat (or a hand-over) younger than this counts as a sign of life."""
_HEARTBEAT_BYTES = 400

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})


@functools.cache
def host_name() -> str:
    """Name of this machine."""
    return socket.gethostname()


@functools.cache
def boot_id() -> str:
    """What tells one boot of this machine from the next; empty where the system does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


# --------------------------------------------------------------------------------------------
# The lock


class RunLock:
    """The lock of a run: an ``flock`` on ``<run>/lock`` that a child process can inherit.

    The system lets go of it when the last descriptor is closed, whatever killed the process, so
    neither a reused pid nor a reboot can feign an owner. ``fd`` may be passed on with
    ``subprocess.Popen(pass_fds=[fd])``; the child adopts it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def acquire(self, timeout: float = 0.5) -> bool:
        """Take the lock; False when another process has it.

        Tries again for ``timeout`` seconds: a viewer's probe holds it for microseconds.

        Raises:
            RunError: when the file cannot be opened or the file system knows no locks.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise unwritable(self.path, error) from error
            try:
                if _try_lock(fd, fcntl.LOCK_EX, self.path) and _is_file(fd, self.path):
                    now = time.time_ns()
                    os.utime(fd, ns=(now, now))
                    self.fd, fd = fd, -1
                    return True
            except OSError as error:
                raise unwritable(self.path, error) from error
            finally:
                if fd >= 0:
                    os.close(fd)
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)

    def adopt(self, fd: int) -> bool:
        """Go on with a descriptor that was inherited; False when another process has the lock.

        Raises:
            RunError: when the descriptor is not that of this run's lock.
        """
        try:
            right = _is_file(fd, self.path)
        except OSError:
            right = False
        if not right:
            raise RunError(f"Descriptor {fd} is not the lock {self.path}.")
        if not _try_lock(fd, fcntl.LOCK_EX, self.path):
            return False
        os.set_inheritable(fd, False)
        self.fd = fd
        return True

    @property
    def taken_at(self) -> int:
        """When the lock was taken, by whoever took it first and passed it on; unix nanoseconds."""
        return os.fstat(self.fd).st_mtime_ns

    def still_there(self) -> bool:
        """False when the file was removed and another process may have made and locked a new one.

        A removed file whose place is free is made anew, under the same descriptor.

        Raises:
            OSError: when the folder is gone or cannot be written.
        """
        if _is_file(self.fd, self.path):
            return True
        other = RunLock(self.path)
        if not other.acquire(0.0):
            return False
        os.dup2(other.fd, self.fd, inheritable=False)
        other.release()
        return True

    def release(self) -> None:
        """Close this process's descriptor; a child that inherited the lock keeps it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _try_lock(fd: int, mode: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise RunError(
                f"The file system of {path.parent} has no file locks (flock); keep the runs in "
                "another folder with --runs-dir."
            ) from error
        raise unwritable(path, error) from error
    return True


def _is_file(fd: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(fd)
    return (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino)


def lock_is_held(path: Path) -> bool:
    """True when some process owns the run. Never disturbs it; false where nobody can tell."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


# --------------------------------------------------------------------------------------------
# The heartbeat


class Heartbeat(Struct, kw_only=True):
    """A sign of life: which process of which machine wrote it, and when (unix seconds)."""

    host: str
    pid: int
    boot_id: str
    time: float


def beat(path: Path) -> None:
    """Write a sign of life. In place: it is worth nothing after a crash.

    Raises:
        OSError: when the folder is gone or read-only. A full disk is no reason to die.
    """
    life = Heartbeat(host=host_name(), pid=os.getpid(), boot_id=boot_id(), time=time.time())
    # Always as long: a reader that comes between two calls never sees the rest of an older one.
    data = msgspec.json.encode(life).ljust(_HEARTBEAT_BYTES)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.utime(fd)
    finally:
        os.close(fd)


def read_heartbeat(path: Path) -> tuple[Heartbeat | None, float]:
    """The last sign of life (None when it is unreadable) and when the file was written.

    The second value is in unix seconds by the clock of the file system; 0 when there is no file.
    """
    try:
        written = path.stat().st_mtime
        return msgspec.json.decode(path.read_bytes(), type=Heartbeat), written
    except OSError:
        return None, 0.0
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, written


# --------------------------------------------------------------------------------------------
# Requests: one file each, so that any number of processes may ask at the same time


class Asked(Struct, kw_only=True, frozen=True):
    """A request that waits for its answer.

    Attributes:
        id: sorts by the time of asking.
        request: what is wanted.
        time: unix seconds.
    """

    id: str
    request: Request
    time: float


def drop_request(folder: Path, request: Request) -> str:
    """Leave a request in ``<run>/control/``; returns its id.

    Raises:
        RunError: when it cannot be written.
    """
    now = time.time_ns()
    # The name carries all that matters: a file that exists is a request that is complete.
    id_ = f"{now:020d}-{os.getpid()}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(exist_ok=True)
        fd = os.open(
            folder / f"{id_}.{request}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666
        )
        os.close(fd)
    except OSError as error:
        raise RunError(f"The request could not be left in {folder}: {reason(error)}.") from error
    return id_


def read_requests(folder: Path | str) -> list[Asked]:
    """The requests that wait, oldest first. What is no request is left alone."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - called five times a second
    except OSError:
        return []
    found = []
    for name in names:
        id_, dot, kind = name.rpartition(".")
        if dot and kind in REQUESTS and id_[:20].isdecimal():
            request: Request = kind
            found.append(Asked(id=id_, request=request, time=int(id_[:20]) / 1e9))
    return found


def drop_all(folder: Path, requests: list[Asked]) -> None:
    """Remove requests that were answered or are stale; those already gone are no matter."""
    for asked in requests:
        with contextlib.suppress(OSError):
            (folder / f"{asked.id}.{asked.request}").unlink()


def as_request(text: Any) -> Request:
    """The text as a request.

    Raises:
        RunError: when it is none.
    """
    if text not in REQUESTS:
        raise RunError(f"{text} is no request; it must be one of {', '.join(REQUESTS)}.")
    request: Request = text
    return request


class Inbox:
    """What waits for the owner of a run: requests in its folder, and those of its own process.

    Args:
        folder: ``<run>/control``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._text = str(folder)
        self._next_look = 0.0
        self._lock = threading.Lock()
        self._here: list[Asked] = []
        self._waiting: list[Asked] = []

    def look(self, now: float) -> bool:
        """Look again if the last look is ``POLL_SECONDS`` ago; True when it did.

        Args:
            now: a monotonic clock, in seconds.
        """
        if now < self._next_look:
            return False
        self._next_look = now + POLL_SECONDS
        with self._lock:
            here = list(self._here)
        self._waiting = sorted([*here, *read_requests(self._text)], key=_urgency)
        return True

    @property
    def first(self) -> Request | None:
        """The most urgent of the requests that the last look found."""
        return self._waiting[0].request if self._waiting else None

    def ask(self, kind: Request) -> None:
        """Leave a request without a file; the next look finds it and is due at once."""
        now = time.time_ns()
        asked = Asked(id=f"{now:020d}-{os.getpid()}-here", request=as_request(kind), time=now / 1e9)
        with self._lock:
            self._here.append(asked)
        self._next_look = 0.0

    def has(self, request: Request) -> bool:
        """True when the last look found such a request."""
        return any(asked.request == request for asked in self._waiting)

    def newest(self, request: Request) -> str:
        """Id of the newest such request of the last look; empty when there is none."""
        return max((a.id for a in self._waiting if a.request == request), default="")

    def drop(self, request: Request) -> None:
        """Remove the requests of this kind that the last look found; they are answered."""
        answered = [asked for asked in self._waiting if asked.request == request]
        self._waiting = [asked for asked in self._waiting if asked.request != request]
        with self._lock:
            self._here = [asked for asked in self._here if asked not in answered]
        drop_all(self._folder, answered)


def _urgency(asked: Asked) -> tuple[int, str]:
    return {"stop": 0, "hand-over": 1}.get(asked.request, 2), asked.id
