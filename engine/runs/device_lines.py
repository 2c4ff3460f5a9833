"""The lines of a run's ``devices.jsonl``: what the machine was doing while the run was trained.

Of three kinds. A part, an object, stands before the samples of each process that trained the run:
when it began, how often it looked, what the columns are. A sample is a list: seconds since the part
began, by a clock that nobody sets, then a value for each column, null where it was not known. Other
processes on the cards are an object, written when they change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from engine.machine.cards import MOST_OTHERS, CardProcess
from engine.machine.device_series import MOST_CARDS, series_named
from engine.text import clean_text

SCHEMA = 1
MOST_COLUMNS = 600
MOST_SECONDS = 1e9
"""Of a part: 30 years."""
_MOST_TIME = 1e12  # unix seconds: the year 33658
_MOST_FACTOR = 1 << 16
_NAME_CHARACTERS = 64
_MOST_NUMBER = 1e18  # no machine has more bytes
# Not all of msgspec's errors are its own, see ``metric_log``.
_UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class DevicePart(NamedTuple):
    """What one process recorded of one run.

    Attributes:
        began: unix seconds, by the clock of the machine.
        every: seconds between samples, about.
        columns: names of the series, see ``engine.machine.device_series``.
        most: what series can have at most, by name.
        cards: names of the cards, in the order of their numbers.
        cpus: how many CPUs the shares are of; 0 where it is not known.
        factor: how often the history was thinned out to half, as the power of two that this gives.
    """

    began: float
    every: float
    columns: tuple[str, ...]
    most: Mapping[str, float] = {}
    cards: tuple[str, ...] = ()
    cpus: float = 0.0
    factor: int = 1


class DeviceSample(NamedTuple):
    """One look at the machine.

    Attributes:
        seconds: since the part began.
        values: of the part's columns; NaN where one was not known.
    """

    seconds: float
    values: Sequence[float]


class DeviceOthers(NamedTuple):
    """Other processes on the cards from a moment on.

    Attributes:
        seconds: since the part began.
        processes: on each card, by its number.
    """

    seconds: float
    processes: Mapping[int, Sequence[CardProcess]]


DeviceLine = DevicePart | DeviceSample | DeviceOthers


def encode_line_of(line: DeviceLine) -> bytes:
    """A line with its end."""
    if isinstance(line, DeviceSample):
        # One digit behind the point, as people see it; of bytes and counts none is there.
        values = [_short(value) for value in line.values]
        return _encode([_short(line.seconds), *values]) + b"\n"
    if isinstance(line, DevicePart):
        return _encode({"schema": SCHEMA, **line._asdict()}) + b"\n"
    each = [
        {"card": card, **process._asdict()}
        for card, processes in line.processes.items()
        for process in processes
    ]
    return _encode({"seconds": _short(line.seconds), "others": each}) + b"\n"


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    rounded = round(float(value), 1)
    return int(rounded) if rounded.is_integer() else rounded


def decode_line_of(line: bytes, columns: int) -> DeviceLine | None:
    """What a line says, with every text clean and every number in range; None for anything else.

    Args:
        line: without its end.
        columns: of the part that it stands in; 0 before the first one.
    """
    try:
        found = _decode(line)
    except _UNDECODABLE:
        return None
    if isinstance(found, list):
        return _sample(found, columns)
    if not isinstance(found, dict):
        return None
    return _others(found) if "others" in found else _part(found)


def _sample(found: list[Any], columns: int) -> DeviceSample | None:
    if not columns or len(found) != columns + 1:
        return None
    seconds = _number(found[0], MOST_SECONDS)
    if seconds is None:
        return None
    values = (_number(value, _MOST_NUMBER) for value in found[1:])
    return DeviceSample(seconds, [math.nan if value is None else value for value in values])


def _part(found: dict[str, Any]) -> DevicePart | None:
    began, every = _number(found.get("began"), _MOST_TIME), _number(found.get("every"), 1e6)
    columns, factor = found.get("columns"), found.get("factor")
    if began is None or not every or not isinstance(columns, list):
        return None
    if not 0 < len(columns) <= MOST_COLUMNS or len(set(map(str, columns))) != len(columns):
        return None
    # A column that a newer version added is kept in its place, and nobody asks for it.
    names = tuple(map(_name, columns))
    cards, most = found.get("cards"), found.get("most")
    known = {
        name: number
        for name, value in (most.items() if isinstance(most, dict) else ())
        if series_named(name) and (number := _number(value, _MOST_NUMBER))
    }
    named = tuple(map(_name, cards[:MOST_CARDS] if isinstance(cards, list) else ()))
    is_factor = type(factor) is int and 1 <= factor <= _MOST_FACTOR
    cpus = _number(found.get("cpus"), 1e6)
    return DevicePart(
        began, every, names, known, named, cpus or 0.0, int(factor) if is_factor and factor else 1
    )


def _others(found: dict[str, Any]) -> DeviceOthers | None:
    seconds, listed = _number(found.get("seconds"), MOST_SECONDS), found["others"]
    if seconds is None or not isinstance(listed, list):
        return None
    processes: dict[int, list[CardProcess]] = {}
    for each in listed[: MOST_OTHERS * MOST_CARDS]:
        if not isinstance(each, dict):
            continue
        card, pid = each.get("card"), each.get("pid")
        if type(card) is not int or type(pid) is not int:
            continue
        if not 0 <= card < MOST_CARDS or not 0 <= pid < 2**32:
            continue
        user, memory = each.get("user"), _number(each.get("memory"), _MOST_NUMBER)
        of_card = processes.setdefault(card, [])
        if len(of_card) < MOST_OTHERS:
            of_card.append(CardProcess(pid, _name(user), None if memory is None else int(memory)))
    return DeviceOthers(seconds, processes)


def _name(value: Any) -> str:
    """A text of the file in one clean line; empty for what is no text."""
    return clean_text(value, _NAME_CHARACTERS) if isinstance(value, str) else ""


def _number(value: Any, most: float) -> float | None:
    """A number from 0 to ``most`` as a float; None for anything else, a bool included."""
    if type(value) not in (int, float) or not 0 <= value <= most:  # also NaN, and any size of int
        return None
    return float(value)
