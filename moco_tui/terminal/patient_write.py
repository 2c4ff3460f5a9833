"""Writing to a terminal that may be busy, or hang: whole where it can be, and never for ever."""

from __future__ import annotations

import os
import select
import time

PATIENCE_SECONDS = 1.0
"""How long a terminal that is busy drawing may take for what must arrive whole."""
_TURN_SECONDS = 0.01


def open_again(name: str) -> int:
    """A descriptor of a terminal, to write to without waiting; the caller closes it.

    Opened anew: ``O_NONBLOCK`` on one that exists already would hold for every process that shares
    it, the shell among them (fcntl(2), F_SETFL).

    Args:
        name: of the terminal, as ``os.ttyname`` gives it.

    Raises:
        OSError: the terminal is gone.
    """
    return os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)


def write_patiently(fd: int, data: bytes, *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Writes all of it, waiting some time for a terminal that has no room for it yet.

    A terminal behind a slow connection is often full for a moment, and takes then a part of what
    is written, or nothing: half of a sequence would swallow what follows it.

    Args:
        fd: descriptor of the terminal, from ``open_again``.
        data: what is written.
        seconds: how long it is waited for.

    Returns:
        Whether all was taken.

    Raises:
        OSError: the terminal is gone.
    """
    view, end = memoryview(data), time.monotonic() + seconds
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    while True:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # A write of another thread that waits in the kernel keeps ours out although there may
            # be room, of which poll tells at once (tty_write_lock in Linux): no spinning then.
            time.sleep(_TURN_SECONDS)
        if not view:
            return True
        left = end - time.monotonic()
        if left <= 0:
            return False
        poll.poll(left * 1000)
