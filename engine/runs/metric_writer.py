"""Writing the metric log of a run: append-only JSON lines, each whole or not at all.

Appending costs the same at every step and leaves earlier lines alone, whatever happens to the
process or the disk; a resume therefore voids later steps by a line of its own (``void_line``).

The file is held open for hours, in which somebody may remove, replace, cut or overwrite it. Each
append looks whether the name still leads to the open file, and whether that ends as it was left. A
file that has lost its name is written again from the open one; lines that are gone are an error.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import RunError
from engine.files import is_gone, open_new, open_plain, unwritable, write_all
from engine.runs.record import spell

VOID = "void_after"
RESERVED = ("step", "epoch", "time", VOID)
"""Keys of a line that are no metrics."""

_TAIL = 64  # bytes; a line differs from any other in fewer
_BLOCK = 1 << 20  # bytes copied at a time

_encode = msgspec.json.Encoder().encode


def encode_line(step: int, epoch: float, time: float, values: Mapping[str, float]) -> bytes:
    """One line of the log with its line end; NaN and infinities become strings.

    Raises:
        ValueError: when a metric has one of the reserved names.
    """
    try:
        line = _encode({"step": step, "epoch": epoch, "time": time, **values})
    except TypeError:  # a number of another library, such as numpy.float32
        values = {name: float(value) for name, value in values.items()}
        line = _encode({"step": step, "epoch": epoch, "time": time, **values})
    # msgspec writes null for NaN and infinities. Rare, so they are looked for in the result; a name
    # that holds "null" only takes the longer way.
    if b"null" in line:
        spelled = {name: spell(float(value)) for name, value in values.items()}
        line = _encode({"step": step, "epoch": epoch, "time": time, **spelled})
    if not values.keys().isdisjoint(RESERVED):
        raise ValueError(f"a metric cannot be called any of {', '.join(RESERVED)}")
    return line + b"\n"


def void_line(step: int, time: float) -> bytes:
    """The line that makes every value of a later step, written before it, void."""
    return _encode({VOID: step, "time": time}) + b"\n"


class MetricWriter:
    """Appends whole lines. One process at a time may have one: the owner of the run.

    Args:
        path: ``metrics.jsonl``; made when it is missing.

    Attributes:
        repaired: bytes of a half line that a killed process left, cut off on opening.
        notices: what others did to the file and what became of it, in words for the log; each is
            told once. The caller that tells them clears the list.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._end = 0  # bytes of the file when this had written to it last
        self._tail = b""  # the last of them
        self._told: set[str] = set()
        self.repaired = 0
        self.notices: list[str] = []

    def append(self, data: bytes, *, sync: bool = False) -> None:
        """Write lines; either all are there or the file ends with the last one that fitted.

        Args:
            data: whole lines; none only looks after the file.
            sync: also force them to the disk.

        Raises:
            LogError: when not all of it could be written, or lines of before are gone; it says how
                many bytes were written.
        """
        written = 0
        try:
            if self._fd < 0:
                self._open()
                self._remember()
            self._look_after()
            # Not the end that was written last: others may have appended.
            start = os.fstat(self._fd).st_size
            try:
                while written < len(data):
                    written += os.write(self._fd, data[written:] if written else data)
                if sync:
                    os.fsync(self._fd)
            except OSError:  # a full disk may have taken half a line: cut back to a whole one
                written = data.rfind(b"\n", 0, written) + 1
                os.ftruncate(self._fd, start + written)
                self._remember()
                raise
            self._remember()
        except OSError as error:
            raise LogError(unwritable(self._path, error), written) from error

    def _open(self) -> None:
        """Open the file, and cut off half a line, which the next line would be glued to."""
        fd = open_plain(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            size = os.fstat(fd).st_size
            whole = _end_of_last_line(fd, size)
            if whole < size:
                self.repaired = size - whole
                os.ftruncate(fd, whole)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _remember(self) -> None:
        """Note how the file ends now, for ``_look_after``."""
        self._end = os.fstat(self._fd).st_size
        self._tail = os.pread(self._fd, _TAIL, max(self._end - _TAIL, 0))

    def _look_after(self) -> None:
        """Find out what others did to the file, and mend what can be.

        Two calls of the system and 64 bytes at each append.

        Raises:
            LogError: lines that were written are gone.
            OSError: when the file cannot be looked at or written again.
        """
        size = os.fstat(self._fd).st_size
        begin = self._end - len(self._tail)
        if size < self._end or os.pread(self._fd, len(self._tail), begin) != self._tail:
            what = "cut short" if size < self._end else "overwritten"
            raise LogError(
                RunError(
                    f"{self._path} was {what} by another program while the run was trained; its "
                    "curves are incomplete. A resume goes on from the checkpoint."
                ),
                0,
            )
        if size > self._end:
            self._tell("another program wrote into the metric log; its lines are kept")
            if os.pread(self._fd, 1, size - 1) != b"\n":  # the next line would be glued to it
                write_all(self._fd, b"\n")
        if not self._is_named():
            self._write_again()

    def _is_named(self) -> bool:
        """True while the path leads to the open file."""
        try:
            named = self._path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        own = os.fstat(self._fd)
        return (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino)

    def _write_again(self) -> None:
        """Give the lines of the open file their name back, as a new file.

        What has the name now is kept under another one. The old file is not linked again, since the
        system refuses that for one without a name (linkat(2)).

        Raises:
            OSError: when it cannot be done; the open file stays as it is.
        """
        what = "the metric log was removed while the run was trained; it was written again"
        temp = self._path.with_name(f".{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        fd = open_new(temp)
        try:
            try:
                at = 0
                while block := os.pread(self._fd, _BLOCK, at):
                    write_all(fd, block)
                    at += len(block)
                os.fsync(fd)
            finally:
                os.close(fd)
            if not is_gone(self._path):
                aside = self._path.with_name(f"{self._path.name}.other-{time.time_ns()}")
                self._path.rename(aside)
                what = (
                    "the metric log was replaced while the run was trained; it was written again, "
                    f"and the other file is kept as {aside.name}"
                )
            temp.rename(self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                temp.unlink()
            raise
        self.close()
        self._open()
        self._tell(what)

    def _tell(self, what: str) -> None:
        about = what[:30]  # without names that change from time to time
        if about not in self._told:
            self._told.add(about)
            self.notices.append(what)

    @property
    def is_open(self) -> bool:
        """True once something was written."""
        return self._fd >= 0

    def close(self) -> None:
        """Close the file; lines are already in it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LogError(RunError):
    """Lines of the metric log that could not be written.

    Args:
        error: the sentence.
        written: bytes of the lines that are in the file, up to the end of a line.
    """

    def __init__(self, error: RunError, written: int) -> None:
        super().__init__(str(error))
        self.written = written


def _end_of_last_line(fd: int, size: int) -> int:
    """Bytes up to and with the last line end of a file of ``size`` bytes; 0 without any.

    Searched from its end in blocks: a log may have hundreds of megabytes.
    """
    end = size
    while end > 0:
        begin = max(0, end - 4096)
        found = os.pread(fd, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
