"""Writing what is recorded of the machine while a run is trained: bounded, however long it takes.

A file that has grown to its bound is thinned out: two samples become one, and from then on half as
many are taken. So a history is evenly spread over the run, and each further halving takes twice as
long to come.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path

from engine.files import open_plain, read_plain, replace_file, write_all
from engine.machine.device_series import series_named
from engine.runs.device_lines import (
    DeviceLine,
    DeviceOthers,
    DevicePart,
    DeviceSample,
    decode_line_of,
    encode_line_of,
)

MOST_BYTES = 1 << 21
"""Bytes from which on a file is thinned out: with one card about 20,000 samples, two days at one
in 10 seconds."""
_MOST_OTHERS_LINES = 200  # that a thinned file keeps, the newest
_TAIL = 1 << 16  # bytes; a line of many cards has a few thousand


class DeviceWriter:
    """Appends whole lines; one process at a time, the owner of the run.

    The file is opened anew for each line: no descriptor outlives a fork, and one that was removed,
    replaced or cut is noticed. Then the part is written again before the line, which could not be
    read without it.

    Args:
        path: ``devices.jsonl``; made when it is missing.
        most_bytes: see ``MOST_BYTES``.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._part: DevicePart | None = None
        self._left_at: tuple[int, int, int] | None = None  # device, inode, size

    @property
    def factor(self) -> int:
        """How much further apart samples are than they were meant to be: 1, 2, 4 ..."""
        if self._part is not None:
            return self._part.factor
        return self._recorded_factor()

    def begin(self, part: DevicePart) -> None:
        """What is appended from now on is of another part; it is written with the first line."""
        self._part = part
        self._left_at = None

    def append(self, lines: Sequence[DeviceSample | DeviceOthers]) -> None:
        """Write lines of the part; all of them, or none.

        Raises:
            OSError: when they cannot be written; the file is as it was then. Also when it is larger
                than it could have become by this.
        """
        assert self._part is not None
        fd = open_plain(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            found = os.fstat(fd)
            if found.st_size > 2 * self._most_bytes:  # not by this program, or it cannot be thinned
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(self._path))
            data = b"".join(map(encode_line_of, lines))
            if (found.st_dev, found.st_ino, found.st_size) != self._left_at:
                _cut_half_line(fd, found.st_size)
                data = encode_line_of(self._part) + data
            begin = os.fstat(fd).st_size
            try:
                write_all(fd, data)
            except OSError:  # a full disk may have taken half a line
                os.ftruncate(fd, begin)
                raise
            self._left_at = found.st_dev, found.st_ino, begin + len(data)
        finally:
            os.close(fd)
        if self._left_at[2] > self._most_bytes:
            self._thin_out()

    def _thin_out(self) -> None:
        """Replace the file by one of half the samples.

        Raises:
            OSError: when that cannot be done; the file is as it was, and grows on a little.
        """
        lines = decoded(read_plain(self._path, 4 * self._most_bytes))
        kept = within(thinned(lines), self._most_bytes // 2)
        replace_file(self._path, b"".join(map(encode_line_of, kept)), durable=False)
        parts = [line for line in kept if isinstance(line, DevicePart)]
        if parts:  # the last one is that which is being written
            self._part = parts[-1]
        found = self._path.lstat()
        self._left_at = found.st_dev, found.st_ino, found.st_size

    def _recorded_factor(self) -> int:
        """That of the file: its first line, as all its parts, has been thinned out as often."""
        try:
            fd = open_plain(self._path, os.O_RDONLY)
            try:
                head = os.pread(fd, _TAIL, 0)
            finally:
                os.close(fd)
        except OSError:
            return 1
        found = decode_line_of(head.partition(b"\n")[0], 0)
        return found.factor if isinstance(found, DevicePart) else 1


def decoded(data: bytes) -> list[DeviceLine]:
    """The lines of a file; what is none is left out."""
    columns, found = 0, list[DeviceLine]()
    for text in data.split(b"\n"):
        line = decode_line_of(text, columns)
        if isinstance(line, DevicePart):
            columns = len(line.columns)
        elif line is None or not columns:
            continue
        found.append(line)
    return found


def thinned(lines: Sequence[DeviceLine]) -> list[DeviceLine]:
    """Two neighbouring samples of a part as one each, see ``DeviceSeries.merged``.

    Parts without a sample go, but for the last one.
    """
    others = [i for i, line in enumerate(lines) if isinstance(line, DeviceOthers)]
    first_others = others[-_MOST_OTHERS_LINES] if len(others) > _MOST_OTHERS_LINES else 0
    kept: list[DeviceLine] = []
    waiting: DeviceSample | None = None
    merge = ["mean"]
    for at, line in enumerate(lines):
        if isinstance(line, DeviceSample):
            if waiting is None:
                waiting = line
                continue
            line, waiting = _merged(waiting, line, merge), None
        elif isinstance(line, DevicePart):
            if waiting is not None:
                kept.append(waiting)
                waiting = None
            if kept and isinstance(kept[-1], DevicePart):
                kept.pop()
            merge = [_how_merged(name) for name in line.columns]
            line = line._replace(every=2 * line.every, factor=2 * line.factor)
        elif at < first_others:
            continue
        kept.append(line)
    return kept if waiting is None else [*kept, waiting]


def within(lines: Sequence[DeviceLine], most_bytes: int) -> list[DeviceLine]:
    """The lines without the oldest parts, as far as they have more bytes; the last part stays."""
    parts: list[list[DeviceLine]] = []
    for line in lines:
        if isinstance(line, DevicePart) or not parts:
            parts.append([])
        parts[-1].append(line)
    sizes = [sum(len(encode_line_of(line)) for line in part) for part in parts]
    first = 0
    while first < len(parts) - 1 and math.fsum(sizes[first:]) > 1.25 * most_bytes:
        first += 1
    return list(itertools.chain.from_iterable(parts[first:]))


def _how_merged(name: str) -> str:
    found = series_named(name)
    return "mean" if found is None else found.series.merged


def _merged(one: DeviceSample, two: DeviceSample, merge: Sequence[str]) -> DeviceSample:
    values = []
    for a, b, how in zip(one.values, two.values, merge, strict=True):
        if math.isnan(a) or math.isnan(b):
            values.append(b if math.isnan(a) else a)
        else:
            values.append(max(a, b) if how == "max" else (a + b) / 2)
    return DeviceSample(two.seconds, values)


def _cut_half_line(fd: int, size: int) -> None:
    """Cut off what a killed process left of a line, which the next one would be glued to."""
    begin = max(size - _TAIL, 0)
    tail = os.pread(fd, size - begin, begin)
    if tail and not tail.endswith(b"\n"):
        end = tail.rfind(b"\n") + 1
        if end or not begin:
            os.ftruncate(fd, begin + end)
        else:  # no line of this program
            write_all(fd, b"\n")
