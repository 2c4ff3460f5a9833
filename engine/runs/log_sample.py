"""A few values spread over a metric log, read without going through the file."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.files import open_plain
from engine.runs.metric_writer import VOID
from engine.runs.record import unspell

_BLOCK = 4096  # bytes read at each place: a line has a few hundred
Points = list[tuple[int, float]]
_decoder = msgspec.json.Decoder(dict[str, Any])


def sampled(
    path: Path, name_of: Callable[[Mapping[str, Any]], str], count: int = 32
) -> tuple[list[int], list[float]]:
    """Values of a metric at places of the log that lie evenly spread, each the mean of a few lines.

    Of a log of gigabytes ``4 * count`` KiB are read; one that is no longer than that is read whole.
    What a resume has voided is left out as far as a later sample of these steps tells.

    Args:
        path: ``metrics.jsonl``.
        name_of: which metric counts, of those that a line has; empty for none. The first that it
            names is that of all lines.
        count: places; of a log that is read whole there may be twice as many.

    Returns:
        Steps, ascending, and as many values, which may not be finite; both empty where the log
        cannot be read.
    """
    try:
        fd = open_plain(path, os.O_RDONLY, follow_folder=True)
    except OSError:
        return [], []
    try:
        size = os.fstat(fd).st_size
        if size <= count * _BLOCK:
            rows = _rows(os.pread(fd, size, 0), 0)
            return _thinned(_in_order([_points(rows, _name(rows, name_of))]), 2 * count)
        blocks = [
            _rows(os.pread(fd, _BLOCK, offset), offset)
            for offset in (number * (size - _BLOCK) // (count - 1) for number in range(count))
        ]
    except OSError:
        return [], []
    finally:
        os.close(fd)
    name = next(filter(None, (_name(rows, name_of) for rows in blocks)), "")
    found = [_points(rows, name) for rows in blocks]
    return _in_order([_mean(points) for points in found if points])


def _name(rows: list[dict[str, Any]], name_of: Callable[[Mapping[str, Any]], str]) -> str:
    return next(filter(None, map(name_of, rows)), "")


def _rows(block: bytes, offset: int) -> list[dict[str, Any]]:
    """The whole lines of a block that hold metrics."""
    found = []
    lines = block.split(b"\n")
    # The first line is the end of one, unless the block begins the file; the last is cut.
    for line in lines[1 if offset else 0 : -1]:
        try:
            row = _decoder.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        if VOID not in row:
            found.append(row)
    return found


def _points(rows: list[dict[str, Any]], name: str) -> Points:
    """Steps and values of a metric, in the order of the lines."""
    found = []
    for row in rows:
        step, value = row.get("step"), unspell(row.get(name))
        if type(step) is int and type(value) in (int, float):
            found.append((step, float(value)))
    return found


def _mean(points: Points) -> Points:
    """Points as one, at the last of their steps."""
    return [(points[-1][0], sum(value for _, value in points) / len(points))]


def _in_order(blocks: list[Points]) -> tuple[list[int], list[float]]:
    """Steps and values; a step takes the place of all that come at it or later before it."""
    steps: list[int] = []
    values: list[float] = []
    for step, value in itertools.chain.from_iterable(blocks):
        while steps and steps[-1] >= step:
            del steps[-1], values[-1]
        steps.append(step)
        values.append(value)
    return steps, values


def _thinned(found: tuple[list[int], list[float]], most: int) -> tuple[list[int], list[float]]:
    """At most so many points, of more means of as many each."""
    steps, values = found
    if len(steps) <= most:
        return found
    pairs = list(zip(steps, values, strict=True))
    size = -(-len(pairs) // most)
    return _in_order([_mean(pairs[at : at + size]) for at in range(0, len(pairs), size)])
