"""Reading what was recorded of the machine while a run was trained, as it grows."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.errors import RunError
from engine.files import open_plain, reason
from engine.machine.cards import CardProcess
from engine.machine.device_series import series_named
from engine.runs.device_lines import (
    DeviceOthers,
    DevicePart,
    DeviceSample,
    decode_line_of,
)

READ_BYTES = 1 << 23
"""Bytes of such a file that are read; the writer's have half of that at most."""
MOST_LINES = 150_000
MOST_VALUES = 2_000_000
"""Lines, and values in memory, that are taken of a file; the writer's have a half at most. What
comes behind is left out, so that nobody waits for a file that somebody prepared."""
MOST_GAP = 30 * 86_400.0
"""Seconds between two parts that are believed; a clock that says more is wrong."""
_GUARD = 64  # the bytes read last, compared before reading on: a rewritten file differs there
_LATE = 2.5  # intervals without a sample, from which on there is a gap


class SeriesSummary(NamedTuple):
    """A series over a run, as far as it has values.

    Attributes:
        mean: of the samples.
        most: the largest one.
        last: the newest one.
    """

    mean: float
    most: float
    last: float


class DeviceLog:
    """Reads the history of the devices of a run, by name of the series.

    ``poll`` reads what is new; the other methods answer from memory. All series have the same
    points, at ``seconds``; where one has no value, and at each gap, it is NaN. Lines that are none
    are skipped and counted. One thread at a time may use an object.

    Args:
        path: ``devices.jsonl``; it need not exist.

    Attributes:
        seconds: of the points, since the first part began, ascending. Between parts lies what the
            clock of the machine says, 30 days at most; a clock that was set back says 0.
        times: of the points, unix seconds by the clock at the beginning of their part.
        part: the newest part; None where nothing was recorded.
        others: other processes on each card when they last changed, by number of the card.
        skipped: lines that are none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reset()

    def _reset(self) -> None:
        self.seconds = array("d")
        self.times = array("d")
        self.part: DevicePart | None = None
        self.others: Mapping[int, Sequence[CardProcess]] = {}
        self.skipped = 0
        self._values: dict[str, array[float]] = {}
        self._last: dict[str, float] = {}  # by name: the newest value that is one
        self._lines = 0
        self._offset = 0  # bytes read, up to the end of a line
        self._guard = b""
        self._identity = (0, 0)  # device and inode
        self._shift = 0.0  # seconds from the beginning of the first part to that of this one
        self._before: float | None = None  # seconds of the last sample of this part

    def poll(self) -> bool:
        """Read the whole lines that were added since the last call.

        A file that was replaced, as it is when it is thinned out, is read again.

        Returns:
            True when anything changed.

        Raises:
            RunError: when the file is there and cannot be read, or is too large to be one.
        """
        try:
            fd = open_plain(self.path, os.O_RDONLY, follow_folder=True)
        except FileNotFoundError:
            changed = self.part is not None
            self._reset()
            return changed
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {reason(error)}.") from error
        try:
            return self._read(fd)
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {reason(error)}.") from error
        finally:
            os.close(fd)

    def _read(self, fd: int) -> bool:
        info = os.fstat(fd)
        if info.st_size > READ_BYTES:
            raise RunError(
                f"{self.path} cannot be read: it has {info.st_size:,} bytes, more than the "
                f"{READ_BYTES:,} that such a file may have."
            )
        identity, changed = (info.st_dev, info.st_ino), False
        begin = self._offset - len(self._guard)
        if (
            identity != self._identity
            or info.st_size < self._offset
            or os.pread(fd, len(self._guard), begin) != self._guard
        ):
            changed = self.part is not None
            self._reset()
        self._identity = identity
        data = b""
        while block := os.pread(fd, READ_BYTES - len(data), self._offset + len(data)):
            data += block
        end = data.rfind(b"\n") + 1  # the writer may be within a line
        if not end:
            return changed
        self._offset += end
        self._guard = (self._guard + data[max(end - _GUARD, 0) : end])[-_GUARD:]
        for line in data[:end].split(b"\n")[:-1]:
            self._take(line)
        return True

    def _take(self, line: bytes) -> None:
        self._lines += 1
        if self._lines > MOST_LINES or len(self.seconds) * len(self._values) > MOST_VALUES:
            self.skipped += 1
            return
        found = decode_line_of(line, 0 if self.part is None else len(self.part.columns))
        if isinstance(found, DevicePart):
            self._begin(found)
        elif isinstance(found, DeviceSample):
            self._add(found)
        elif isinstance(found, DeviceOthers):
            self.others = found.processes
        else:
            self.skipped += 1

    def _begin(self, part: DevicePart) -> None:
        """A process began to record: the time up to then is a gap."""
        if self.seconds:
            idle = min(max(part.began - self.times[-1], 0.0), MOST_GAP)
            self._shift = self.seconds[-1] + idle
            self._break()
        self.part, self._before, self.others = part, None, {}
        for name in part.columns:
            if series_named(name) is None or name in self._values:
                continue
            if len(self.seconds) * (len(self._values) + 1) <= MOST_VALUES:
                self._values[name] = array("d", [math.nan]) * len(self.seconds)

    def _add(self, sample: DeviceSample) -> None:
        assert self.part is not None  # before the first part no line is a sample
        if self._before is not None:
            if sample.seconds < self._before:
                self.skipped += 1
                return
            if sample.seconds - self._before > _LATE * self.part.every:
                self._break()
        self._before = sample.seconds
        self.seconds.append(self._shift + sample.seconds)
        self.times.append(self.part.began + sample.seconds)
        known = dict(zip(self.part.columns, sample.values, strict=True))
        for name, values in self._values.items():
            value = known.get(name, math.nan)
            values.append(value)
            if value == value:
                self._last[name] = value

    def _break(self) -> None:
        """A point without values, at the last one: no line is drawn across it."""
        self.seconds.append(self.seconds[-1])
        self.times.append(self.times[-1])
        for values in self._values.values():
            values.append(math.nan)

    # ------------------------------------------------------------------------------- answers

    @property
    def is_empty(self) -> bool:
        """Whether no value was recorded."""
        return not self.names()

    @property
    def notice(self) -> str:
        """A sentence where something was left out, the same however much it is; else empty."""
        if not self.skipped:
            return ""
        return f"Some lines of {self.path} are no records of the devices and are left out."

    def names(self) -> list[str]:
        """The series that have a value, the machine's first, then card by card."""
        return [name for name in self._values if name in self._last]

    def series(self, name: str) -> tuple[Sequence[float], Sequence[float]]:
        """Seconds and values of a series; empty for one that is not there.

        The arrays are the log's own: they grow with the next ``poll``.
        """
        values = self._values.get(name)
        return (array("d"), array("d")) if values is None else (self.seconds, values)

    def last(self, name: str) -> float | None:
        """The newest value of a series; None where it has none."""
        return self._last.get(name)

    def newest(self, name: str) -> float | None:
        """The value of a series in the newest sample; None where it was not known then."""
        values = self._values.get(name)
        return values[-1] if values and values[-1] == values[-1] else None

    def most(self, name: str) -> float | None:
        """What a series can have at most, such as the memory of the card; None: not known."""
        found = series_named(name)
        if found is not None and found.series.most is not None:
            return found.series.most
        return None if self.part is None else self.part.most.get(name)

    def summary(self, name: str) -> SeriesSummary | None:
        """Mean and largest value over the run; None where the series has no value."""
        known = [value for value in self._values.get(name, ()) if value == value]
        if not known:
            return None
        return SeriesSummary(math.fsum(known) / len(known), max(known), known[-1])

    def rows(self) -> Iterator[tuple[float, float, dict[str, float]]]:
        """Seconds, unix seconds and the known values of every sample."""
        names = self.names()
        columns = [self._values[name] for name in names]
        for at, (seconds, time) in enumerate(zip(self.seconds, self.times, strict=True)):
            values = zip(names, (column[at] for column in columns), strict=True)
            known = {name: value for name, value in values if value == value}
            if known:
                yield seconds, time, known
