"""The lines of a run's ``log.txt``, as they can be shown: the last ones, or those that match."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from engine.files import open_plain
from engine.text import visible_line

MOST_SEARCHED = 20_000
"""Lines from the end that a search looks at."""
MOST_FOUND = 1_000
"""Lines that a search finds; it ends with these, the newest."""
_BLOCK = 1 << 16  # read from the end: a log may be large, a screen is not
_MOST_BYTES = 1 << 24  # of one search: lines may be long


class LogMatches(NamedTuple):
    """What a search has found.

    Attributes:
        lines: those that match, the oldest first; of lines that are ended.
        open_line: the last line, where it matches and is not ended yet; else empty.
        begin: where the search ended, in bytes from the beginning; what lies before was not
            searched. Other than what was asked for where the log has become shorter, or is long.
        end: behind the last line that is ended, in bytes; a later search can begin there.
    """

    lines: list[str]
    open_line: str
    begin: int
    end: int


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log without control characters; empty when it cannot be read.

    Args:
        path: of the log.
        count: lines at most.
    """
    try:
        with _opened(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _BLOCK))
            data = file.read(_BLOCK)
    except OSError:
        return []
    if size > _BLOCK:  # the first line is cut, maybe within a character
        data = data.partition(b"\n")[2]
    text = data.decode("utf-8", errors="replace").rstrip("\n")
    found = [visible_line(line) for line in text.split("\n")] if text else []
    return found[-count:] if count > 0 else []


def matching_lines(
    path: Path, wanted: str, begin: int = 0, is_over: Callable[[], bool] = lambda: False
) -> LogMatches:
    """The lines of a log that contain a text, searched from the end; none where it cannot be read.

    It reads at most ``MOST_SEARCHED`` lines, and 16 MiB.

    Args:
        path: of the log.
        wanted: the text; upper and lower case are the same.
        begin: bytes at the beginning that are not searched: ``end`` of an earlier search. Where
            the log is shorter, all of it is.
        is_over: asked at each block of 64 KiB; the search ends once it says so.
    """
    wanted = wanted.lower()
    try:
        with _opened(path) as file:
            size = file.seek(0, os.SEEK_END)
            begin = begin if begin <= size else 0
            return _searched(_blocks(file, begin, size, is_over), wanted, begin, size)
    except OSError:
        return LogMatches([], "", 0, 0)


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(open_plain(path, os.O_RDONLY, follow_folder=True), "rb")


def _blocks(
    file: BinaryIO, begin: int, size: int, is_over: Callable[[], bool]
) -> Iterator[tuple[int, bytes]]:
    """The blocks of a file from its end, and where each begins."""
    at, least = size, max(begin, size - _MOST_BYTES)
    while at > least and not is_over():
        first = max(at - _BLOCK, least)
        file.seek(first)
        yield first, file.read(at - first)
        at = first


def _searched(
    blocks: Iterator[tuple[int, bytes]], wanted: str, begin: int, size: int
) -> LogMatches:
    found: list[str] = []
    open_line, end, reached = "", begin, size
    pieces: list[bytes] = []  # of the line that is being read, the last one first
    looked_at, is_last = 0, True

    def look(piece: bytes) -> None:
        nonlocal looked_at, is_last, open_line
        line = visible_line(b"".join([piece, *reversed(pieces)]).decode(errors="replace"))
        pieces.clear()
        looked_at += 1
        if wanted not in line.lower():
            line = ""
        if is_last:
            open_line, is_last = line, False
        elif line:
            found.append(line)

    for first, block in blocks:
        at = len(block)
        while (newline := block.rfind(b"\n", 0, at)) >= 0:
            end = max(end, first + newline + 1)
            look(block[newline + 1 : at])
            at, reached = newline, first + newline + 1
            if looked_at > MOST_SEARCHED or len(found) >= MOST_FOUND:
                return LogMatches(found[::-1], open_line, reached, end)
        pieces.append(block[:at])
        if first == begin:  # no newline stands before the first line
            look(b"")
            reached = begin
    return LogMatches(found[::-1], open_line, reached, end)
