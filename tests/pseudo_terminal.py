"""Programs in pseudo-terminals, whose screens are read as a person would.

The one place of the tests, benchmarks and survival scripts that opens a pseudo-terminal.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte

from tests.environment import with_packages


def environment(**more: str) -> dict[str, str]:
    """That of this process, with a usual terminal and these packages."""
    return with_packages(**({"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"} | more))


def app_command(root: Path, data: Path) -> list[str]:
    """The command line of the app."""
    here = ["--runs-dir", str(root), "--data-dir", str(data)]
    return [sys.executable, "-m", "moco_tui", *here]


# Makes the pseudo-terminal the controlling one, as a login does: the program gets SIGHUP when it
# closes. In a process of its own, since preexec_fn is not safe beside threads (subprocess docs).
_LAUNCH = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def open_terminal(size: tuple[int, int]) -> tuple[int, int]:
    """A new pseudo-terminal of so many columns and rows: our end, and the program's."""
    columns, rows = size
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return master, slave


def fill(terminal: int) -> tuple[int, int]:
    """Writes to a terminal until it takes no more: a descriptor that does not wait, and the bytes.

    Args:
        terminal: a descriptor of it.
    """
    fd, held = os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK), 0
    try:
        while True:
            held += os.write(fd, b"x" * 1000)
    except BlockingIOError:
        return fd, held


class Terminal:
    """A program in a pseudo-terminal, and what its screen shows.

    Args:
        command: what to run.
        environment: of the program.
        size: columns and rows.
        threads: this process has threads, or will have; the program starts a moment later then.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        size: tuple[int, int],
        *,
        threads: bool = False,
    ) -> None:
        self.alternate = False  # whether it has ever taken the whole screen
        self.screen = pyte.Screen(*size)
        self.stream = pyte.ByteStream(self.screen)
        self.master, slave = open_terminal(size)
        self.modes_before = termios.tcgetattr(slave)
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *command] if threads else command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=environment,
            preexec_fn=None if threads else lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    @property
    def pid(self) -> int:
        """Process id of the program."""
        return self.process.pid

    def modes(self) -> list[Any]:
        """Modes of the terminal, as ``termios.tcgetattr`` gives them (echo, line editing ...)."""
        return termios.tcgetattr(self.master)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def read(self, seconds: float) -> bool:
        """Takes what comes within this time, one piece of it; whether anything came."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the program has ended
            return False
        self.take(data)
        return bool(data)

    def take(self, data: bytes) -> None:
        """What the program has written."""
        self.alternate = self.alternate or b"\x1b[?1049h" in data
        # the keyboard protocol's sequences, which pyte prints as text
        self.stream.feed(re.sub(rb"\x1b\[[<>=]\d*u", b"", data))

    def until(self, condition: Callable[[str], object], seconds: float = 90.0) -> str:
        end = time.monotonic() + seconds
        while not condition(self.text):
            assert time.monotonic() < end, f"it never came so far:\n{self.text}"
            self.read(0.1)
        return self.text

    def keys(self, *keys: str) -> None:
        for key in keys:
            os.write(self.master, key.encode())
            self.read(0.2)

    def send(self, data: bytes) -> None:
        """Bytes as they are, with what is drawn meanwhile."""
        os.write(self.master, data)
        self.read(0)

    def spend(self, seconds: float) -> None:
        """Reads what is drawn for some time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def rest(self, seconds: float = 0.5) -> None:
        """Waits until it has written nothing and its threads have all slept for so long.

        A program that waits for a busy processor, or is stopped, has not come to rest.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.read(0.02) or not self._sleeps():
                end = time.monotonic() + seconds

    def _sleeps(self) -> bool:
        """Whether no thread of the program computes, or waits for a processor or a disk."""
        for path in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            try:
                state = path.read_text().rpartition(")")[2].split()[0]
            except OSError:  # the thread has ended
                continue
            if state not in "SIZX":  # proc(5): sleeping or idle, or ended
                return False
        return True

    def resize(self, columns: int, rows: int) -> None:
        """Another size, as of a window that is drawn larger; the program gets SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def wait(self, seconds: float = 60.0) -> int:
        """The exit code, once it has ended; all that it has written is on the screen."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still there:\n{self.text}"
            self.read(0.05)
        while self.read(0.05):  # each gives a few thousand bytes, however much there is
            pass
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
