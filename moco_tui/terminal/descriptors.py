"""The terminal's descriptors: kept from blocking or spinning this process when it is gone."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import termios
from pathlib import Path
from typing import Any

# Switches off what Textual has switched on: mouse, paste, focus and resize reports, keyboard
# protocol, alternate screen. Switches line wrap and cursor on.
_RESET = (
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2048l\x1b[?1004l"
    b"\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h"
)


def silence(*others: int) -> None:
    """Replaces this process's terminal, on descriptors 0 to 2, by one that nobody is at.

    Reads wait for ever (an end of file would make a loop that reads spin), writes are dropped.
    Descriptors of files and pipes are kept. Does not touch the terminal, so it cannot block.

    Args:
        others: further descriptors of the terminal that are written to.
    """
    with contextlib.suppress(OSError):
        reading, writing = os.pipe()
        os.set_inheritable(writing, False)  # stays open, so that a read never ends
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2, *others):
            if _is_terminal(fd):
                os.dup2(nowhere if fd else reading, fd, inheritable=fd < 3)


def _is_terminal(fd: int) -> bool:
    """True of any character device but /dev/null: isatty is False once a terminal has hung up."""
    with contextlib.suppress(OSError):
        status = os.fstat(fd)
        nowhere = Path(os.devnull).stat().st_rdev
        return stat.S_ISCHR(status.st_mode) and status.st_rdev != nowhere
    return False


def hung_up(fd: int) -> bool:
    """Whether the other side of the terminal is gone."""
    poll = select.poll()
    poll.register(fd, 0)  # a hang-up is reported in any case
    with contextlib.suppress(OSError):
        return any(
            event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0)
        )
    return True


class Display:
    """The terminal of the app, on a descriptor of its own.

    Textual draws on ``sys.__stderr__``, which is given this descriptor, so that what some library
    writes to descriptor 2 neither spoils the screen nor waits for it.
    """

    def __init__(self) -> None:
        self.fd = os.dup(1)
        self._before: list[Any] | None = None
        self._name = ""
        with contextlib.suppress(OSError, termios.error):
            self._name = os.ttyname(0)
            self._before = termios.tcgetattr(0)
        self._stderr, self._stderr_fd = (sys.__stderr__, sys.stderr), os.dup(2)
        encoding = getattr(sys.__stderr__, "encoding", None) or "utf-8"
        stream = open(self.fd, "w", encoding=encoding, errors="replace", closefd=False)  # noqa: SIM115
        sys.__stderr__ = sys.stderr = stream  # type: ignore[misc]
        self._redirects = _is_terminal(2)
        self.redirect_stderr(None)

    def redirect_stderr(self, log: Path | None) -> None:
        """Sends what is written to descriptor 2 into this file from now on; None: drops it."""
        if not self._redirects:
            return  # it was no terminal: the person has redirected it
        with contextlib.suppress(OSError):
            fd = os.open(
                log or os.devnull, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666
            )
            os.dup2(fd, 2)
            os.close(fd)

    def restore(self) -> None:
        """Puts every stream back; for the end of an app that was left by a key."""
        sys.__stderr__, sys.stderr = self._stderr  # type: ignore[misc]
        self._redirects = False
        os.dup2(self._stderr_fd, 2)

    def release(self, *, alive: bool) -> None:
        """Draws and reads no more.

        Args:
            alive: the terminal may still be there: switch its modes back.
        """
        self._redirects = False
        silence(self.fd)
        if alive:
            self._put(_RESET, modes=self._before)

    def write_line(self, text: str) -> None:
        """Writes a line on the terminal after ``release(alive=True)``."""
        self._put(text.encode(errors="replace") + b"\r\n")

    def _put(self, data: bytes, *, modes: list[Any] | None = None) -> None:
        """Writes to the terminal, opened again by its name, without waiting for it."""
        with contextlib.suppress(OSError, termios.error):
            fd = os.open(self._name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, data)
                if modes is not None:
                    termios.tcsetattr(fd, termios.TCSANOW, modes)
            finally:
                os.close(fd)
