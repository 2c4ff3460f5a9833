"""The heartbeat of a run: which process of which machine works on it, and when it last wrote.

The lock alone would do on one machine. The heartbeat is for file systems that do not carry locks
from machine to machine, and for messages that name the owner.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from engine.files import open_plain, read_plain

HEARTBEAT_SECONDS = 3.0
ALIVE_SECONDS = 15.0
"""A heartbeat (or a hand-over) younger than this counts as alive: five beats, so that a busy disk
may swallow some."""
WATCH_SECONDS = 2.5 * HEARTBEAT_SECONDS
_BYTES = 400  # every heartbeat is padded to this, see write_heartbeat
_MOST_BYTES = 1 << 16  # a file that has more is no heartbeat


# Of this module, so that tests can put a clock of their own here.
_monotonic = time.monotonic
_now = time.time


class _Look(NamedTuple):
    """The first look of this process at what a file holds now."""

    content: Any
    at: float  # seconds of a monotonic clock
    changed: bool  # it was another content at the look before


_looks: dict[Path, _Look] = {}
_MOST_LOOKS = 10_000


@functools.cache
def host_name() -> str:
    """Name of this machine."""
    return socket.gethostname()


@functools.cache
def boot_id() -> str:
    """Random id of this boot of the machine; empty where the system has none (not Linux).

    With host and pid it names a process: pids are given out anew after a reboot.
    """
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


class Heartbeat(Struct, kw_only=True):
    """Which process of which machine wrote the file, and when (unix seconds, its own clock)."""

    host: str
    pid: int
    boot_id: str
    time: float


def is_process(heartbeat: Heartbeat) -> bool:
    """Whether the process that wrote a heartbeat on this host still lives, as far as is known."""
    if heartbeat.boot_id and boot_id() and heartbeat.boot_id != boot_id():
        return False
    try:
        os.kill(heartbeat.pid, 0)  # no signal: only looks (kill(2))
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError:  # of another user
        return True
    return heartbeat.pid > 0


def write_heartbeat(path: Path) -> None:
    """Write a heartbeat, in place: it need not survive a crash, and a new file needs free space.

    Raises:
        OSError: when the folder is gone or read-only, or what stands there is no plain file. On a
            full disk the file is only touched: a run that has nothing to write goes on.
    """
    heartbeat = Heartbeat(host=host_name(), pid=os.getpid(), boot_id=boot_id(), time=time.time())
    # One length: a reader between the two calls sees no rest of an older, longer heartbeat.
    data = msgspec.json.encode(heartbeat).ljust(_BYTES)
    fd = open_plain(path, os.O_WRONLY | os.O_CREAT)
    try:
        try:
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.utime(fd)  # the time of the file is what readers go by
    finally:
        os.close(fd)


def read_heartbeat(path: Path) -> tuple[Heartbeat | None, float]:
    """The last heartbeat (None when it is unreadable) and when the file was written.

    The second value is in unix seconds by the clock of the file system; 0 when there is no file. On
    a network that is one clock for all hosts, unlike ``Heartbeat.time``.
    """
    try:
        written = path.lstat().st_mtime
        return msgspec.json.decode(read_plain(path, _MOST_BYTES), type=Heartbeat), written
    except OSError:
        return None, 0.0
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, written


def is_young(path: Path, content: Any, written: float) -> bool:
    """Whether a file was written in the last ``ALIVE_SECONDS``, as far as that can be told at once.

    The clock of a file server may differ from this machine's by any amount, and either may be set.
    So what counts is whether the file changes between two looks of this process; only for the first
    look the clocks are compared. It is for what is shown. Who changes something watches the file
    (``changes``) before he takes it for old.

    Args:
        path: the file.
        content: what it holds, or another mark of it that every write changes.
        written: unix seconds, by the clock of the file system.
    """
    now = _monotonic()
    look = _looks.get(path)
    if look is None or look.content != content:
        if len(_looks) >= _MOST_LOOKS:  # of a process that has seen so many: it begins anew
            _looks.clear()
        look = _looks[path] = _Look(content, now, changed=look is not None)
    if now - look.at >= ALIVE_SECONDS:
        return False
    # abs: the clock of the file server may be ahead.
    return look.changed or abs(_now() - written) < ALIVE_SECONDS


def changes(path: Path) -> bool:
    """Whether a heartbeat is written while this process watches, whatever it and the clocks say.

    Takes up to 7.5 s (``WATCH_SECONDS``).
    """
    before = read_heartbeat(path)
    deadline = _monotonic() + WATCH_SECONDS
    while _monotonic() < deadline:
        time.sleep(0.1)
        if read_heartbeat(path) != before:
            return True
    return False
