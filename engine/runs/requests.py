"""Requests to the owner of a run: a file each in its folder, or left in memory by its own process.

Files, since they need no server and no open port, outlive a sender that has left, and work from
another host on a shared file system.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any, get_args

from msgspec import Struct

from engine.errors import RunError
from engine.files import open_folder, reason
from engine.sink import Request

REQUESTS: tuple[Request, ...] = get_args(Request)

POLL_SECONDS = 0.2  # a step may take milliseconds: listing the folder at each would cost too much


class PendingRequest(Struct, kw_only=True, frozen=True):
    """A request that has not been acknowledged.

    Attributes:
        id: unix nanoseconds of the request (20 digits), then a part that makes it unique; sorts by
            time.
        request: its kind.
        time: when it was made, unix seconds.
    """

    id: str
    request: Request
    time: float


def write_request(folder: Path, request: Request) -> str:
    """Leave a request in ``<run>/control/``; returns its id.

    Raises:
        RunError: when it cannot be written.
    """
    now = time.time_ns()
    # An empty file whose name holds everything: it can be made on a full disk, and no reader sees
    # half a request.
    id_ = f"{now:020d}-{os.getpid()}-{secrets.token_hex(3)}"
    try:
        control = _open_or_make(folder)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(f"{id_}.{request}", flags, 0o666, dir_fd=control))
        finally:
            os.close(control)
    except OSError as error:
        raise RunError(f"The request could not be left in {folder}: {reason(error)}.") from error
    return id_


def _open_or_make(folder: Path) -> int:
    """Open the folder of the requests; made when it is missing.

    One that a group member makes has the rights of the run's folder, whatever that one's umask is:
    the run's owner removes what is answered.

    Raises:
        OSError: when it cannot be made, or is no folder.
    """
    run = open_folder(folder.parent)
    try:
        try:
            os.mkdir(folder.name, dir_fd=run)
        except FileExistsError:
            return open_folder(folder)
        control = open_folder(folder)
        os.fchmod(control, os.fstat(run).st_mode & 0o777)
        return control
    finally:
        os.close(run)


def read_requests(folder: Path) -> list[PendingRequest]:
    """The requests in a folder, oldest first; none where it is missing. Other files are ignored."""
    try:
        control = open_folder(folder)
        try:
            names = sorted(os.listdir(control))  # noqa: PTH208 - a descriptor, no path
        finally:
            os.close(control)
    except OSError:
        return []
    found = []
    for name in names:
        id_, dot, kind = name.rpartition(".")
        if dot and kind in REQUESTS and id_[:20].isdecimal():
            request: Request = kind
            found.append(PendingRequest(id=id_, request=request, time=int(id_[:20]) / 1e9))
    return found


def remove_requests(folder: Path, requests: list[PendingRequest]) -> None:
    """Remove requests that were answered or are out of date; some may be gone already."""
    if not requests:
        return
    with contextlib.suppress(OSError):
        control = open_folder(folder)
        try:
            for pending in requests:
                with contextlib.suppress(OSError):
                    os.unlink(f"{pending.id}.{pending.request}", dir_fd=control)
        finally:
            os.close(control)


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
    """The requests to the owner of a run, from files and from its own process.

    ``ask`` may be called from any thread, the rest from the trainer's thread only. A handler of
    signals in the trainer's thread must not call ``ask``: it may interrupt the holder of the lock.

    Args:
        folder: ``<run>/control``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next_poll = 0.0
        self._lock = threading.Lock()  # guards _in_process
        self._in_process: list[PendingRequest] = []
        self._waiting: list[PendingRequest] = []
        self._answered: set[str] = set()  # ids: a file may be one that cannot be removed

    def poll(self, now: float) -> bool:
        """Read the folder if the last time was ``POLL_SECONDS`` ago; True when it did.

        Args:
            now: a monotonic clock, in seconds.
        """
        if now < self._next_poll:
            return False
        self._next_poll = now + POLL_SECONDS
        with self._lock:
            in_process = list(self._in_process)
        found = [*in_process, *read_requests(self._folder)]
        self._waiting = sorted((p for p in found if p.id not in self._answered), key=_urgency)
        return True

    @property
    def first(self) -> Request | None:
        """The most urgent of the requests that the last poll found."""
        return self._waiting[0].request if self._waiting else None

    def ask(self, kind: Request) -> None:
        """Leave a request without a file, and make the next poll due at once."""
        now = time.time_ns()
        id_ = f"{now:020d}-{os.getpid()}-here"
        pending = PendingRequest(id=id_, request=as_request(kind), time=now / 1e9)
        with self._lock:
            self._in_process.append(pending)
        self._next_poll = 0.0

    def has(self, request: Request) -> bool:
        """True when the last poll found such a request."""
        return any(pending.request == request for pending in self._waiting)

    def newest(self, request: Request) -> str:
        """Id of the newest such request of the last poll; empty when there is none."""
        return max((p.id for p in self._waiting if p.request == request), default="")

    def remove(self, request: Request) -> None:
        """Remove the requests of this kind that the last poll found: they are answered."""
        # Those that came since the poll are left: the trainer has not seen them.
        acknowledged = [pending for pending in self._waiting if pending.request == request]
        self._waiting = [pending for pending in self._waiting if pending.request != request]
        with self._lock:
            self._in_process = [p for p in self._in_process if p not in acknowledged]
        self._answered.update(pending.id for pending in acknowledged)
        remove_requests(self._folder, acknowledged)


def _urgency(pending: PendingRequest) -> tuple[int, str]:
    """Sort key: stop first, since nothing asked before it matters then; each kind by time."""
    return {"stop": 0, "hand-over": 1}.get(pending.request, 2), pending.id
