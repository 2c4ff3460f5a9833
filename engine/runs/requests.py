"""Requests to the owner of a run: a file each in its folder.

Files, since they need no server and no open port, outlive a sender that has left, and work from
another host on a shared file system.

Which request came first, and which are out of date, does not depend on clocks: those of two hosts
differ, and each may be set. An id sorts behind every id that its sender could see (the clock of
Lamport, 1978); what waits when the lock of a run is newly taken is set aside for good.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

from msgspec import Struct

from engine.errors import RunError
from engine.files import opened_folder, reason
from engine.sink import Request

REQUESTS: tuple[Request, ...] = get_args(Request)

_TICKS = re.compile(r"[0-9]{20}")
_LAST_TICK = 10**20 - 10**9  # larger ones are none of ours: this one is of the year 5138
_ASIDE = ".stale"

POLL_SECONDS = 0.2  # a step may take milliseconds: listing the folder at each would cost too much


class PendingRequest(Struct, kw_only=True, frozen=True):
    """A request that has not been acknowledged.

    Attributes:
        id: 20 digits, then a part that makes it unique. Larger than those of all requests that
            were waiting, and than the last one that was answered, when it was made; else the
            digits are unix nanoseconds.
        request: its kind.
    """

    id: str
    request: Request


def write_request(folder: Path, request: Request, last_answered: Callable[[], str]) -> str:
    """Leave a request in ``<run>/control/``; returns its id.

    Args:
        folder: that folder; made when it is missing.
        request: what is asked.
        last_answered: reads the id of the request that was answered last; empty for none.

    Raises:
        RunError: when it cannot be written.
    """
    # In this order: of a request that is gone when the folder is listed, the record has the answer.
    waiting = [pending.id for pending in read_requests(folder)]
    # An empty file whose name holds everything: it can be made on a full disk, and no reader sees
    # half a request.
    id_ = _new_id([*waiting, last_answered()], secrets.token_hex(3))
    try:
        _make(folder)
        with opened_folder(folder) as control:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(f"{id_}.{request}", flags, 0o666, dir_fd=control))
    except OSError as error:
        raise RunError(f"The request could not be left in {folder}: {reason(error)}.") from error
    return id_


def _make(folder: Path) -> None:
    """Make the folder of the requests where it is missing.

    One that a group member makes has the rights of the run's folder, whatever that one's umask is:
    the run's owner removes what is answered.

    Raises:
        OSError: when it cannot be made.
    """
    with opened_folder(folder.parent) as run:
        try:
            os.mkdir(folder.name, dir_fd=run)
        except FileExistsError:
            return
        with opened_folder(folder) as control:
            os.fchmod(control, os.fstat(run).st_mode & 0o777)


def _new_id(known: Iterable[str], unique: str) -> str:
    """An id larger than all of these."""
    ticks = [int(id_[:20]) for id_ in known if _TICKS.match(id_)]
    # Somebody may have made a file whose number leaves no room for another one.
    newest = max((tick for tick in ticks if tick < _LAST_TICK), default=0)
    return f"{max(time.time_ns(), newest + 1):020d}-{os.getpid()}-{unique}"


def read_requests(folder: Path) -> list[PendingRequest]:
    """The requests in a folder, oldest first; none where it is missing. Other files are ignored."""
    try:
        with opened_folder(folder) as control:
            names = sorted(os.listdir(control))  # noqa: PTH208 - a descriptor, no path
    except OSError:
        return []
    found = []
    for name in names:
        id_, dot, kind = name.rpartition(".")
        if dot and kind in REQUESTS and _TICKS.match(id_):
            request: Request = kind
            found.append(PendingRequest(id=id_, request=request))
    return found


def set_aside(folder: Path) -> None:
    """Rename the requests in a folder: from now on nobody takes them for requests.

    Renamed and not removed, since only an owner of the run can log what it was that was dropped.
    """
    with contextlib.suppress(OSError), opened_folder(folder) as control:
        for pending in read_requests(folder):
            name = f"{pending.id}.{pending.request}"
            with contextlib.suppress(OSError):  # gone in the meantime
                os.rename(name, name + _ASIDE, src_dir_fd=control, dst_dir_fd=control)


def remove_aside(folder: Path) -> list[Request]:
    """Remove the requests that ``set_aside`` has renamed; returns their kinds, oldest first."""
    removed: list[Request] = []
    with contextlib.suppress(OSError), opened_folder(folder) as control:
        for name in sorted(os.listdir(control)):  # noqa: PTH208 - a descriptor, no path
            kind = name.removesuffix(_ASIDE).rpartition(".")[2]
            if name.endswith(_ASIDE) and kind in REQUESTS and _TICKS.match(name):
                os.unlink(name, dir_fd=control)
                removed.append(as_request(kind))
    return removed


def remove_requests(folder: Path, requests: list[PendingRequest]) -> None:
    """Remove requests that were answered or are out of date; some may be gone already."""
    if not requests:
        return
    with contextlib.suppress(OSError), opened_folder(folder) as control:
        for pending in requests:
            with contextlib.suppress(OSError):
                os.unlink(f"{pending.id}.{pending.request}", dir_fd=control)


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
    """The requests to the owner of a run; of the trainer's thread only.

    Args:
        folder: ``<run>/control``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next_poll = 0.0
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
        found = read_requests(self._folder)
        self._waiting = sorted((p for p in found if p.id not in self._answered), key=_urgency)
        return True

    @property
    def first(self) -> Request | None:
        """The most urgent of the requests that the last poll found."""
        return self._waiting[0].request if self._waiting else None

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
        self._answered.update(pending.id for pending in acknowledged)
        remove_requests(self._folder, acknowledged)


def _urgency(pending: PendingRequest) -> tuple[int, str]:
    """Sort key: stop first, since nothing asked before it matters then; each kind by its id."""
    return {"stop": 0, "hand-over": 1}.get(pending.request, 2), pending.id
