"""Writing the metric log of a run: append-only JSON lines, each whole or not at all.

Appending costs the same at every step and leaves earlier lines alone, whatever happens to the
process or the disk; a resume therefore voids later steps by a line of its own (``void_line``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import RunError
from engine.files import open_plain, unwritable
from engine.runs.record import spell

VOID = "void_after"
RESERVED = ("step", "epoch", "time", VOID)
"""Keys of a line that are no metrics."""

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
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self.repaired = 0

    def append(self, data: bytes, *, sync: bool = False) -> None:
        """Write lines; either all are there or the file ends with the last one that fitted.

        Args:
            data: whole lines.
            sync: also force them to the disk.

        Raises:
            LogError: when not all of it could be written; it says how many bytes were.
        """
        written = 0
        try:
            if self._fd < 0:
                self._open()
            # Not the end that was written last: the file may have been truncated from outside.
            start = os.fstat(self._fd).st_size
            try:
                while written < len(data):
                    written += os.write(self._fd, data[written:] if written else data)
                if sync:
                    os.fsync(self._fd)
            except OSError:  # a full disk may have taken half a line: cut back to a whole one
                written = data.rfind(b"\n", 0, written) + 1
                os.ftruncate(self._fd, start + written)
                raise
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
