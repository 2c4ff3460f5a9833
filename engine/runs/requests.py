"""Requests to the owner of a run: one file each in its folder, or left within its process."""

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
from engine.files import reason
from engine.sink import Request

REQUESTS: tuple[Request, ...] = get_args(Request)

POLL_SECONDS = 0.2


class PendingRequest(Struct, kw_only=True, frozen=True):
    """A request that waits for its answer.

    Attributes:
        id: unix nanoseconds of asking (20 digits), then what makes it unique; sorts by time.
        request: what is wanted.
        time: when it was asked, unix seconds.
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
    # The file is empty and its name says everything: no reader can see half a request.
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


def read_requests(folder: Path | str) -> list[PendingRequest]:
    """The requests that wait, oldest first. Other files in the folder are ignored."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - called five times a second
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
    """The requests that wait for the owner of a run, from files and from its own process.

    The trainer's thread calls everything but ``ask``, which any thread may call.

    Args:
        folder: ``<run>/control``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed = str(folder)  # for os.listdir, five times a second
        self._next_poll = 0.0
        self._lock = threading.Lock()  # guards _from_here
        self._from_here: list[PendingRequest] = []
        self._waiting: list[PendingRequest] = []

    def poll(self, now: float) -> bool:
        """Read the folder if the last time was ``POLL_SECONDS`` ago; True when it did.

        Args:
            now: a monotonic clock, in seconds.
        """
        if now < self._next_poll:
            return False
        self._next_poll = now + POLL_SECONDS
        with self._lock:
            from_here = list(self._from_here)
        self._waiting = sorted([*from_here, *read_requests(self._listed)], key=_urgency)
        return True

    @property
    def first(self) -> Request | None:
        """The most urgent of the requests that the last poll found."""
        return self._waiting[0].request if self._waiting else None

    def ask(self, kind: Request) -> None:
        """Leave a request without a file; the next poll is due at once and finds it."""
        now = time.time_ns()
        id_ = f"{now:020d}-{os.getpid()}-here"
        asked = PendingRequest(id=id_, request=as_request(kind), time=now / 1e9)
        with self._lock:
            self._from_here.append(asked)
        self._next_poll = 0.0

    def has(self, request: Request) -> bool:
        """True when the last poll found such a request."""
        return any(asked.request == request for asked in self._waiting)

    def newest(self, request: Request) -> str:
        """Id of the newest such request of the last poll; empty when there is none."""
        return max((a.id for a in self._waiting if a.request == request), default="")

    def remove(self, request: Request) -> None:
        """Remove the requests of this kind that the last poll found: they are answered."""
        answered = [asked for asked in self._waiting if asked.request == request]
        self._waiting = [asked for asked in self._waiting if asked.request != request]
        with self._lock:
            self._from_here = [asked for asked in self._from_here if asked not in answered]
        remove_requests(self._folder, answered)


def _urgency(asked: PendingRequest) -> tuple[int, str]:
    return {"stop": 0, "hand-over": 1}.get(asked.request, 2), asked.id
