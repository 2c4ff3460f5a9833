"""The terminal's descriptors: when the terminal is gone, no read or write may block or spin."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.files import open_plain
from moco_tui.terminal.patient_write import open_again, write_patiently

# Switches off what Textual has switched on (textual/drivers/linux_driver.py): mouse, paste, focus
# and resize reports, keyboard protocol, alternate screen. Switches line wrap and cursor on.
_RESET = (
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?2004l\x1b[?2048l\x1b[?1004l"
    b"\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h"
)


def silence(*others: int) -> None:
    """Puts a pipe (to read from) and /dev/null (to write to) in place of the terminal.

    On descriptors 0 to 2 where they are a terminal; those of files and pipes are kept. Reads wait
    for ever, since an end of file would make Textual's reading loop spin; writes are dropped. The
    terminal itself is not touched, so this cannot block.

    Args:
        others: further descriptors of the terminal that are written to.
    """
    with contextlib.suppress(OSError):
        reading, _ = os.pipe()  # the end to write to stays open, so that a read never ends
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1, 2, *others):
            if _is_terminal(fd):
                # Not closed: the next file that is opened would get the number, and with it what
                # is meant for the terminal. Children inherit the standard three, as ever.
                os.dup2(null if fd else reading, fd, inheritable=fd < 3)


def _is_terminal(fd: int) -> bool:
    """True of any character device but /dev/null: isatty is False once a terminal has hung up."""
    with contextlib.suppress(OSError):
        status = os.fstat(fd)
        null = Path(os.devnull).stat().st_rdev
        return stat.S_ISCHR(status.st_mode) and status.st_rdev != null
    return False


def hung_up(fd: int) -> bool:
    """Whether the other side of the terminal is gone."""
    poll = select.poll()
    poll.register(fd, 0)  # no events asked for: these three are reported in any case (poll(2))
    with contextlib.suppress(OSError):
        return any(
            event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0)
        )
    return True  # what cannot be polled cannot be drawn on either


class Display:
    """The terminal of the app, on a descriptor of its own.

    Textual draws on ``sys.__stderr__`` (LinuxDriver), which is given this descriptor. Descriptor 2
    goes to a log or nowhere, so that what a library writes there neither spoils the screen nor
    waits for the terminal.

    Attributes:
        fd: the descriptor that is drawn on.
        farewell: gives what takes the pictures from the terminal.
    """

    def __init__(self) -> None:
        self.farewell: Callable[[], str] = str
        self.fd = os.dup(1)
        self._modes: list[Any] | None = None
        self._name = ""
        # Kept for the end, when the standard descriptors no longer lead to the terminal.
        with contextlib.suppress(OSError, termios.error):
            self._name = os.ttyname(0)
            self._modes = termios.tcgetattr(0)
        self._stderr, self._stderr_fd = (sys.__stderr__, sys.stderr), os.dup(2)
        encoding = getattr(sys.__stderr__, "encoding", None) or "utf-8"
        # closefd: a stream that is collected must not close what the guard still watches.
        stream = open(self.fd, "w", encoding=encoding, errors="replace", closefd=False)  # noqa: SIM115
        sys.__stderr__ = sys.stderr = stream  # type: ignore[misc]
        self._redirects = _is_terminal(2)
        self.redirect_stderr(None)

    def redirect_stderr(self, log: Path | None) -> None:
        """Sends what is written to descriptor 2 into this file from now on; None: drops it.

        Where descriptor 2 was no terminal, its user has redirected it, and it is left alone.
        """
        if not self._redirects:
            return
        with contextlib.suppress(OSError):
            # Appends: the owner of the run writes lines into the same log.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            fd = open_plain(log, flags) if log else os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(fd, 2)
            os.close(fd)

    def restore(self) -> None:
        """Puts every stream back, for the end of an app that was left by a key."""
        sys.__stderr__, sys.stderr = self._stderr  # type: ignore[misc]
        self._redirects = False  # a training thread that ends later would redirect it once more
        os.dup2(self._stderr_fd, 2)

    def release(self, *, alive: bool) -> None:
        """Stops drawing and reading; Textual's own end would wait for a terminal that hangs.

        Args:
            alive: the terminal may still be there: switch its modes back.
        """
        self._redirects = False
        silence(self.fd)
        if alive:
            self._put(self.farewell().encode() + _RESET, modes=self._modes)

    def write_line(self, text: str) -> None:
        """Writes a line on the terminal after ``release(alive=True)``."""
        self._put(text.encode(errors="replace") + b"\r\n")

    def _put(self, data: bytes, *, modes: list[Any] | None = None) -> None:
        """Writes to the terminal, with little patience: one that hangs must not hold us up."""
        with contextlib.suppress(OSError, termios.error):
            fd = open_again(self._name)
            try:
                with contextlib.suppress(OSError):
                    write_patiently(fd, data)
                if modes is not None:  # whatever it has taken
                    termios.tcsetattr(fd, termios.TCSANOW, modes)
            finally:
                os.close(fd)
