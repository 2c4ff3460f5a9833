"""The metric log of a run: append-only JSON lines, written whole, read from where one left off."""

from __future__ import annotations

import itertools
import math
import operator
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.atomic import reason, unwritable
from engine.errors import RunError
from engine.record import spell, unspell

RESERVED = ("step", "epoch", "time", "void_after")
_VOID = "void_after"
_CHUNK = 1 << 20  # bytes decoded at a time: bounds the memory of a first load
_COLUMNS = ("steps", "epochs", "times", "values")
_GUARD = 64  # bytes before the offset that must still be there when reading goes on

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(dict[str, Any])


def encode_line(step: int, epoch: float, time: float, values: Mapping[str, float]) -> bytes:
    """One line of the log with its line end; NaN and infinities become strings.

    Raises:
        ValueError: when a metric has one of the reserved names.
    """
    try:
        line = _encode({"step": step, "epoch": epoch, "time": time, **values})
    except TypeError:  # a number of another library
        values = {name: float(value) for name, value in values.items()}
        line = _encode({"step": step, "epoch": epoch, "time": time, **values})
    if b"null" in line:  # what msgspec makes of NaN and infinities
        spelled = {name: spell(float(value)) for name, value in values.items()}
        line = _encode({"step": step, "epoch": epoch, "time": time, **spelled})
    if not values.keys().isdisjoint(RESERVED):
        raise ValueError(f"a metric cannot be called any of {', '.join(RESERVED)}")
    return line + b"\n"


class MetricWriter:
    """Appends whole lines. One process at a time may have one: the owner of the run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self.repaired = 0
        """Bytes of a half line that a killed process left, cut off on opening."""

    def append(self, data: bytes, *, sync: bool = False) -> None:
        """Write lines; either all are there or the file ends with the last one that fitted.

        Args:
            data: whole lines.
            sync: also force them to the disk.

        Raises:
            RunError: one sentence; ``lost_from`` says from which byte of ``data`` on nothing was
                written.
        """
        written = 0
        try:
            if self._fd < 0:
                self._open()
            start = os.fstat(self._fd).st_size
            try:
                while written < len(data):
                    written += os.write(self._fd, data[written:] if written else data)
                if sync:
                    os.fsync(self._fd)
            except OSError:
                written = data.rfind(b"\n", 0, written) + 1
                os.ftruncate(self._fd, start + written)
                raise
        except OSError as error:
            raise LogError(unwritable(self._path, error), written) from error

    def _open(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
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
    """Lines that could not be written.

    Args:
        error: the sentence.
        written: bytes of the lines that are in the file all the same.
    """

    def __init__(self, error: RunError, written: int) -> None:
        super().__init__(str(error))
        self.written = written


def _end_of_last_line(fd: int, size: int) -> int:
    end = size
    while end > 0:
        begin = max(0, end - 4096)
        found = os.pread(fd, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def void_line(step: int, time: float) -> bytes:
    """The line that makes every value of a later step, written before it, void."""
    return _encode({_VOID: step, "time": time}) + b"\n"


class _Series:
    """One metric: steps ascending, no step twice."""

    __slots__ = ("epochs", "steps", "times", "values")

    def __init__(self) -> None:
        self.steps = array("q")
        self.epochs = array("d")
        self.times = array("d")
        self.values = array("d")

    def columns(self) -> tuple[array[Any], array[Any], array[Any], array[Any]]:
        return self.steps, self.epochs, self.times, self.values

    def extend(self, columns: Sequence[array[Any]]) -> None:
        def append(old: array[Any], new: array[Any]) -> None:
            old.extend(new)

        self._change(append, columns)

    def put(self, point: tuple[int, float, float, float]) -> None:
        """Add a point or replace the one of its step."""
        if not self.steps or point[0] > self.steps[-1]:
            self.extend(
                [array(c.typecode, [p]) for c, p in zip(self.columns(), point, strict=True)]
            )
            return
        at = bisect_left(self.steps, point[0])
        if self.steps[at] == point[0]:
            for column, value in zip(self.columns(), point, strict=True):
                column[at] = value
        else:

            def insert(old: array[Any], new: Any) -> None:
                old.insert(at, new)

            self._change(insert, point)

    def cut(self, step: int) -> None:
        """Drop everything after ``step``."""
        keep = bisect_right(self.steps, step)
        if keep < len(self.steps):

            def shorten(old: array[Any], _: None) -> None:
                del old[keep:]

            self._change(shorten, (None,) * 4)

    def _change(self, change: Callable[[array[Any], Any], None], news: Sequence[Any]) -> None:
        for name, new in zip(_COLUMNS, news, strict=True):
            column = getattr(self, name)
            try:
                change(column, new)
            except BufferError:  # a reader still looks at the memory: leave it the old array
                column = column[:]
                change(column, new)
                setattr(self, name, column)


class MetricLog:
    """Reads a metric log as it grows.

    ``poll`` reads what is new; the other methods answer from memory. The arrays that they return
    are the log's own: they grow with the next ``poll``, so copy what must stay. Lines that are no
    metrics are skipped and counted in ``skipped``. One thread at a time may use an object.

    Args:
        path: ``metrics.jsonl``; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = 0
        self._reset()

    def _reset(self) -> None:
        self._offset = 0
        self._guard = b""
        self._identity: tuple[int, int] | None = None
        self._series: dict[str, _Series] = {}
        self.skipped = 0

    def poll(self, max_bytes: int | None = None) -> bool:
        """Read the whole lines that were added since the last call.

        A file that was replaced, truncated or rewritten is read again from its beginning.

        Args:
            max_bytes: read about this much at most (the rest with the next call); None: all.

        Returns:
            True when anything changed.

        Raises:
            RunError: when the file is there and cannot be read.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            changed = bool(self._series)
            self._reset()
            return changed
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {reason(error)}.") from error
        try:
            return self._read(fd, max_bytes)
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {reason(error)}.") from error
        finally:
            os.close(fd)

    def _read(self, fd: int, max_bytes: int | None) -> bool:
        info = os.fstat(fd)
        identity = (info.st_dev, info.st_ino)
        changed = False
        if (
            (self._identity is not None and identity != self._identity)
            or info.st_size < self._offset
            or os.pread(fd, len(self._guard), self._offset - len(self._guard)) != self._guard
        ):
            changed = bool(self._series)
            self._reset()
        self._identity = identity
        begin = self._offset
        carry = b""
        position = self._offset
        while max_bytes is None or position - begin < max_bytes:
            block = os.pread(fd, _CHUNK, position)
            if not block:
                break
            position += len(block)
            end = block.rfind(b"\n") + 1
            if not end:
                carry += block
                continue
            whole = carry + block[:end]
            carry = block[end:]
            self._take(whole)
            self._offset += len(whole)
            self._guard = whole[-_GUARD:]
            changed = True
        return changed

    def _take(self, data: bytes) -> None:
        try:
            rows = _decoder.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            rows = []
            for line in data.split(b"\n"):
                if line:
                    try:
                        rows.append(_decoder.decode(line))
                    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                        self.skipped += 1
        # Neighbours with the same names are taken as columns: a loop over a quarter of a million
        # lines would cost ten times as much.
        for names, group in itertools.groupby(rows, tuple):
            block = list(group)
            if _VOID in names:
                for row in block:
                    self._void(row)
            elif not self._take_columns(names, block):
                for row in block:
                    self._take_row(row)

    def _void(self, row: dict[str, Any]) -> None:
        step = row[_VOID]
        if type(step) is not int:
            self.skipped += 1
            return
        for series in self._series.values():
            series.cut(step)
        self._series = {name: series for name, series in self._series.items() if series.steps}

    def _take_columns(self, names: tuple[str, ...], rows: list[dict[str, Any]]) -> bool:
        """Add rows at once; False (and nothing done) when they need to be looked at one by one."""
        if names[:3] != RESERVED[:3] or len(rows) < 2:
            return False
        columns = []
        try:
            for name in names:
                column = list(map(operator.itemgetter(name), rows))
                if not set(map(type, column)) <= ({int} if name == "step" else {int, float}):
                    return False
                columns.append(array("q" if name == "step" else "d", column))
        except OverflowError:
            return False
        steps = columns[0]
        if not all(map(operator.lt, steps, itertools.islice(steps, 1, None))):
            return False
        for name in names[3:]:
            old = self._series.get(name)
            if old is not None and old.steps and old.steps[-1] >= steps[0]:
                return False
        for name, values in zip(names[3:], columns[3:], strict=True):
            self._series.setdefault(name, _Series()).extend([*columns[:3], values])
        return True

    def _take_row(self, row: dict[str, Any]) -> None:
        step, epoch, time = row.get("step"), _number(row.get("epoch", 0.0)), row.get("time", 0.0)
        time = _number(time)
        if type(step) is not int or abs(step) >= 2**63 or epoch is None or time is None:
            self.skipped += 1
            return
        for name, value in row.items():
            number = None if name in RESERVED else _number(unspell(value))
            if number is not None:
                self._series.setdefault(name, _Series()).put((step, epoch, time, number))

    def names(self) -> list[str]:
        """Names of the metrics, in the order in which they appeared."""
        return list(self._series)

    def series(self, name: str) -> tuple[Sequence[int], Sequence[float]]:
        """Steps (ascending, each once) and values of a metric; empty for one that is not there."""
        series = self._series.get(name) or _Series()
        return series.steps, series.values

    def epochs(self, name: str) -> Sequence[float]:
        """Epoch (fractional, from 0) of every point of ``series(name)``."""
        return (self._series.get(name) or _Series()).epochs

    def times(self, name: str) -> Sequence[float]:
        """Unix seconds of every point of ``series(name)``."""
        return (self._series.get(name) or _Series()).times

    def last(self, name: str) -> float | None:
        """Value at the largest step, or None when there is none."""
        series = self._series.get(name)
        return series.values[-1] if series is not None and series.values else None


def _number(value: Any) -> float | None:
    if type(value) is float:
        return value
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
