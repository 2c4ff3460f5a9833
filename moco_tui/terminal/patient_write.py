"""Writing to a terminal that may be busy, or hang: whole where it can be, and never for ever."""

from __future__ import annotations

import os
import select
import time

PATIENCE_SECONDS = 1.0
"""How long a terminal that is busy drawing may take for what must arrive whole."""
_TURN_SECONDS = 0.01


def write_patiently(fd: int, data: bytes, *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Writes all of it, waiting some time for a terminal that has no room for it yet.

    A terminal behind a slow connection is often full for a moment, and takes then a part of what
    is written, or nothing: half of a sequence would swallow what follows it.

    Args:
        fd: descriptor of the terminal, open for writing with ``O_NONBLOCK``.
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
