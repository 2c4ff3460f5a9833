"""Readings of a machine that is made up, and the history of a run on it."""

from __future__ import annotations

from pathlib import Path

from engine.machine.cards import Card, CardProcess
from engine.machine.device_series import column_names, most_of, values_of
from engine.machine.load_reader import Load
from engine.runs.device_lines import DeviceOthers, DevicePart, DeviceSample
from engine.runs.device_log import DeviceLog
from engine.runs.device_writer import DeviceWriter

GIB = 2**30


def others_of(seconds: float, pid: int = 77) -> DeviceOthers:
    return DeviceOthers(seconds, {0: [CardProcess(pid, "ann", GIB)]})


def load_at(share: float, cards: int = 1) -> Load:
    """A machine of 4 CPUs and 16 GiB that is busy by a share in [0, 1]."""
    each = [
        Card(
            "NVIDIA H200",
            share,
            round(9 * GIB * share),
            139 * GIB,
            100 + 400 * share,
            40 + 20 * share,
            700.0,
            share / 2,
            round(8 * GIB * share),
            [CardProcess(77, "ann", GIB)],
            1,
            GIB,
            at,
        )
        for at in range(cards)
    ]
    return Load(share, 4, round(16 * GIB * share), 16 * GIB, GIB, each, share / 4)


def write_history(
    path: Path, shares: list[float], *, began: float, every: float = 10.0, cards: int = 1
) -> None:
    """A part of the history of a run, with one sample for each share."""
    writer = DeviceWriter(path)
    first = load_at(1.0, cards)
    names = tuple(card.name for card in first.cards)
    part = DevicePart(
        began, every, tuple(column_names(cards)), most_of(first), names, first.cores, writer.factor
    )
    writer.begin(part)
    for at, share in enumerate(shares):
        values = [float(v or 0.0) for v in values_of(load_at(share, cards), cards)]
        writer.append([DeviceSample(1.0 + every * at, values)])
    if cards:
        writer.append([others_of(1.0)])


def read_history(path: Path) -> DeviceLog:
    """What stands in the history of a run."""
    log = DeviceLog(path)
    log.poll()
    return log
