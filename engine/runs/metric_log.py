"""Reading the metric log of a run: JSON lines, while another process appends to them."""

from __future__ import annotations

import itertools
import math
import operator
import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.errors import RunError
from engine.files import open_plain, reason
from engine.runs.metric_series import MetricSeries
from engine.runs.metric_writer import RESERVED, VOID
from engine.runs.record import unspell
from engine.runs.recorded_fields import KEY_LIMIT
from engine.text import plain_text

_CHUNK = 1 << 19  # bytes decoded at a time: bounds the memory of a first load
LINE_LIMIT = 1 << 20
"""Bytes that a line may have; the writer's have a few hundred. A line without an end is read again
with each poll up to so many bytes, and not again behind them."""
MOST_NAMES = 1000
"""Metrics that a log may have: each is a series in memory and a curve on the screen."""
_NUMBERS = {int, float}  # types, compared exactly: bool is a subclass of int
_TAIL = 1 << 14  # bytes; a line has a few hundred
_GUARD = 64  # the bytes read last, compared before reading on: a rewritten file differs there

_decoder = msgspec.json.Decoder(dict[str, Any])
# Not all of msgspec's errors are its own: bytes that are no UTF-8, numbers of thousands of digits
# (ValueError), and brackets nested too deep.
_UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class Break(NamedTuple):
    """A time in which a run was not trained: paused, stopped, or lost and resumed.

    Attributes:
        step: the last one before it.
        since: unix seconds of the last value before it that still counts.
        until: unix seconds at which the run went on.
    """

    step: int
    since: float
    until: float


class MetricLog:
    """Reads a metric log as it grows.

    ``poll`` reads what is new; the other methods answer from memory. The arrays that they return
    are the log's own: they grow with the next ``poll``, so copy what must stay. Lines and values
    that are no metrics are skipped and counted in ``skipped``, and so is a line of more than
    ``LINE_LIMIT`` bytes. Names are cleaned and cut to ``KEY_LIMIT`` characters; there are at most
    ``MOST_NAMES``. One thread at a time may use an object.
    ``breaks`` has the times in which the run was not trained, by ascending step.

    Args:
        path: ``metrics.jsonl``; it need not exist yet.
        most: points of a metric to keep in memory, 0 for all; of more, an evenly spread part.
    """

    def __init__(self, path: Path, *, most: int = 0) -> None:
        self.path = path
        self.most = most
        self.skipped = 0
        self._reset()

    def _reset(self) -> None:
        self._offset = 0  # bytes read: up to the end of a line, or within one that is skipped
        self._in_long_line = False  # what comes up to the next line end is part of one
        self._guard = b""  # the last _GUARD bytes before _offset
        self._identity: tuple[int, int] | None = None  # device and inode
        self._series: dict[str, MetricSeries] = {}
        self._names = set(RESERVED)  # all that were seen, also of lines that were voided
        self.breaks: list[Break] = []
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
        # Opened anew each time: an open descriptor would go on showing a file that was replaced.
        try:
            fd = open_plain(self.path, os.O_RDONLY, follow_folder=True)
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
        if not self._is_continued(fd, identity, info.st_size):
            changed = bool(self._series)
            self._reset()
        self._identity = identity
        begin = position = self._offset
        carry = bytearray()  # of a line that is longer than a chunk, or half written
        # On behind max_bytes within a line: else it would be begun anew with each call.
        while (
            max_bytes is None or position - begin < max_bytes or (carry and self._offset == begin)
        ):
            block = os.pread(fd, _CHUNK, position)
            if not block:
                break
            position += len(block)
            if self._in_long_line:
                end = block.find(b"\n") + 1
                self._pass(block[:end] if end else block)
                self._in_long_line = not end
                changed = True
                block = block[end:] if end else b""
            # Only whole lines: the writer may be within one. What is left is read again next time.
            end = block.rfind(b"\n") + 1
            if not end:
                carry += block
                if len(carry) > LINE_LIMIT:
                    self.skipped += 1
                    self._pass(carry)
                    self._in_long_line = changed = True
                    carry = bytearray()
                continue
            whole = bytes(carry) + block[:end] if carry else block[:end]
            carry = bytearray(block[end:])
            self._take(self._without_long_line(whole))
            self._pass(whole)
            changed = True
        return changed

    def _pass(self, data: bytes | bytearray) -> None:
        """Count bytes as read."""
        self._offset += len(data)
        self._guard = (self._guard + data[-_GUARD:])[-_GUARD:]

    def _without_long_line(self, whole: bytes) -> bytes:
        """Whole lines without the first one where that is too long; all others are of a chunk."""
        first = whole.find(b"\n") + 1
        if first <= LINE_LIMIT:
            return whole
        self.skipped += 1
        return whole[first:]

    def _is_continued(self, fd: int, identity: tuple[int, int], size: int) -> bool:
        """True when the file is the one that was read before, with nothing but more at its end."""
        return (
            self._identity in (None, identity)
            and size >= self._offset
            and os.pread(fd, len(self._guard), self._offset - len(self._guard)) == self._guard
        )

    def _take(self, data: bytes) -> None:
        """Add whole lines to the series."""
        rows = [self._named(row) for row in self._decode(data)]
        layouts = dict.fromkeys(map(tuple, rows))  # a set in order; a log has only a few
        if not any(VOID in names for names in layouts):
            self._take_rows(rows, layouts)
            return
        # In the order of the lines: a voiding line acts on what stands before it alone.
        for voids, group in itertools.groupby(rows, lambda row: VOID in row):
            block = list(group)
            if voids:
                for row in block:
                    self._void(row)
            else:
                self._take_rows(block, dict.fromkeys(map(tuple, block)))

    def _decode(self, data: bytes) -> list[dict[str, Any]]:
        try:
            return _decoder.decode_lines(data)
        except _UNDECODABLE:
            pass  # some line is no row: decode them one by one
        rows = []
        for line in filter(None, data.split(b"\n")):
            try:
                rows.append(_decoder.decode(line))
            except _UNDECODABLE:
                self.skipped += 1
        return rows

    def _named(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row, with every name as it can be shown."""
        # The names of a log are few, and nearly always all known.
        if row.keys() <= self._names:
            return row
        clean: dict[str, Any] = {}
        for name, value in row.items():
            shown = name if name in self._names else plain_text(name, KEY_LIMIT)
            if shown in self._names or len(self._names) < MOST_NAMES:
                self._names.add(shown)
                clean.setdefault(shown, value)
            else:
                self.skipped += 1
        return clean

    def _void(self, row: dict[str, Any]) -> None:
        """Drop the points after a step: a resumed training comes to these steps once more."""
        step = row[VOID]
        if type(step) is not int:
            self.skipped += 1
            return
        for series in self._series.values():
            series.cut(step)
        self._series = {name: series for name, series in self._series.items() if series.steps}
        # A break at the same step or a later one is part of this: nothing was kept since then.
        self.breaks = [known for known in self.breaks if known.step < step]
        until = _as_float(row.get("time"))
        # Without those of the untrained encoder, whose step is 0 although they come later.
        times = [s.times[-1] for s in self._series.values() if s.steps[-1] > 0]
        if until is not None and times:
            self.breaks.append(Break(step, max(times), until))

    def _take_rows(self, rows: list[dict[str, Any]], layouts: Iterable[tuple[str, ...]]) -> None:
        """Add rows metric by metric, as columns: row by row would take ten times as long.

        Args:
            rows: lines without a voiding one.
            layouts: the different keys that a line has, in their order.
        """
        # The writer puts step, epoch and time first; anything else goes the slow way, row by row.
        heads = _heads(rows) if all(keys[:3] == RESERVED[:3] for keys in layouts) else None
        if heads is None:
            for row in rows:
                self._take_row(row)
            return
        for name in dict.fromkeys(name for keys in layouts for name in keys[3:]):
            some, columns = rows, heads
            if not all(name in keys for keys in layouts):
                some = [row for row in rows if name in row]
                columns = _heads(some) or heads  # never None: it was valid for all rows
            values = _values(some, name)
            series = self._series.get(name)
            if values is not None and _follows(series, columns[0]):
                self._series.setdefault(name, MetricSeries(self.most)).extend([*columns, values])
            else:
                for row in some:
                    self._put(name, row)

    def _take_row(self, row: dict[str, Any]) -> None:
        step = row.get("step")
        epoch, time = _as_float(row.get("epoch", 0.0)), _as_float(row.get("time", 0.0))
        # Steps are kept as int64 (array "q").
        if type(step) is not int or abs(step) >= 2**63 or epoch is None or time is None:
            self.skipped += 1
            return
        for name in row:
            if name not in RESERVED:
                self._put(name, {**row, "epoch": epoch, "time": time})

    def _put(self, name: str, row: dict[str, Any]) -> None:
        number = _as_float(unspell(row[name]))
        if number is not None:
            point = (row["step"], row["epoch"], row["time"], number)
            if self._series.setdefault(name, MetricSeries(self.most)).put(point):
                return
        self.skipped += 1

    @property
    def notice(self) -> str:
        """A sentence where something was left out, the same however much it is; else empty."""
        return f"Some lines of {self.path} are no metrics and are left out." if self.skipped else ""

    def names(self) -> list[str]:
        """Names of the metrics, in the order in which they appeared."""
        return list(self._series)

    def series(self, name: str) -> tuple[Sequence[int], Sequence[float]]:
        """Steps (ascending, each once) and values of a metric; empty for one that is not there."""
        series = self._series.get(name) or MetricSeries()
        return series.steps, series.values

    def epochs(self, name: str) -> Sequence[float]:
        """Epoch (fractional, from 0) of every point of ``series(name)``."""
        return (self._series.get(name) or MetricSeries()).epochs

    def times(self, name: str) -> Sequence[float]:
        """Unix seconds of every point of ``series(name)``."""
        return (self._series.get(name) or MetricSeries()).times

    def idle_seconds(self, after: int, upto: int) -> float:
        """Seconds between two steps in which the run was not trained."""
        spans = (b.until - b.since for b in self.breaks if after <= b.step < upto)
        return sum(max(span, 0.0) for span in spans)

    def last(self, name: str) -> float | None:
        """Value at the largest step, or None when there is none."""
        series = self._series.get(name)
        # Not values[-1]: a thinned series may have dropped its newest point.
        return series.newest[1] if series is not None and series.newest is not None else None


def last_written(path: Path) -> float | None:
    """Unix seconds at which the last whole line of a log was told; None where there is none.

    Only the end of the file is read.
    """
    try:
        with os.fdopen(open_plain(path, os.O_RDONLY, follow_folder=True), "rb") as file:
            file.seek(-min(_TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            tail = file.read()
    except OSError:
        return None
    for line in reversed(tail.split(b"\n")[:-1]):  # behind the last line end: a half line, or none
        try:
            return _as_float(_decoder.decode(line).get("time"))
        except _UNDECODABLE:
            continue
    return None


def _as_float(value: Any) -> float | None:
    """A number of any size as a float; None for what is none, a bool included."""
    if type(value) is float:
        return value
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _heads(rows: list[dict[str, Any]]) -> list[array[Any]] | None:
    """Step, epoch and time of rows as columns; None when one has another type or is too large."""
    columns = []
    try:
        for name, allowed in (("step", {int}), ("epoch", _NUMBERS), ("time", _NUMBERS)):
            column = list(map(operator.itemgetter(name), rows))
            if not set(map(type, column)) <= allowed:
                return None
            columns.append(array("q" if name == "step" else "d", column))
    except OverflowError:
        return None
    return columns


def _values(rows: list[dict[str, Any]], name: str) -> array[Any] | None:
    """A metric of rows as a column; None when not every value is a number."""
    column = list(map(operator.itemgetter(name), rows))
    kinds = set(map(type, column))
    if str in kinds:
        column = list(map(unspell, column))
        kinds = set(map(type, column))
    if not kinds <= _NUMBERS:
        return None
    try:
        return array("d", column)
    except OverflowError:
        return None


def _follows(series: MetricSeries | None, steps: array[Any]) -> bool:
    """True when the steps ascend and lie behind all that the series has."""
    if series is not None and series.steps and series.steps[-1] >= steps[0]:
        return False
    return all(map(operator.lt, steps, itertools.islice(steps, 1, None)))
