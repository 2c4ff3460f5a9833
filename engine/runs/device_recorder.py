"""The thread that records what the machine is doing while this process trains a run."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.machine.cards import CardProcess
from engine.machine.device_series import MOST_CARDS, column_names, most_of, values_of
from engine.machine.load_reader import Load, LoadReader
from engine.runs.device_lines import DeviceOthers, DevicePart, DeviceSample
from engine.runs.device_writer import DeviceWriter

FIRST_SECONDS = 1.0
"""Until the first sample: before it, the CPU has no share to speak of."""
_MOST_EVERY = 3600.0
_SECONDS_AT_THE_END = 2.0  # a driver may hang; a sample takes milliseconds
_SECONDS_TO_BEGIN = 0.5
"""That the end of a run waits for a driver which is still being loaded: a study has many short
probes, and a history of none of them is worth a second of each."""

# Of this module, so that tests can put clocks of their own here.
_monotonic = time.monotonic
_now = time.time


class DeviceRecorder:
    """Writes a sample of the load into a run's ``devices.jsonl`` every few seconds.

    What goes wrong is left out of the history, and never said or raised: a full disk, a folder that
    was removed, a driver that hangs are no reason to end a training. Nothing here waits for the
    device, or asks torch for anything; a sample costs a millisecond or a few of this thread
    (``tests/benchmarks/devices.py``).

    Args:
        path: ``devices.jsonl`` of the run, which this process owns.
        seconds: between samples.
        make_reader: makes what reads the machine; called in the thread, since it loads libraries.
    """

    def __init__(self, path: Path, seconds: float, make_reader: Callable[[], LoadReader]) -> None:
        self._path = path
        self._seconds = seconds
        self._make_reader = make_reader
        self._writer = DeviceWriter(path)
        self._every = seconds
        self._began = 0.0
        self._cards = 0
        self._others: Mapping[int, Sequence[CardProcess]] = {}
        self._has_begun = False
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._writing = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        # daemon: a process must be able to leave while a driver hangs.
        self._thread = threading.Thread(target=self._work, name="devices", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end the thread; behind this call it writes nothing.

        Waits 2 s at most. In a forked child, which has no such thread, it does nothing.
        """
        if os.getpid() != self._pid:
            return
        self._stopping.set()
        if self._ready.wait(_SECONDS_TO_BEGIN):
            self._thread.join(_SECONDS_AT_THE_END)
        self._closed = True
        # What is being written now is waited for, but not for ever: a disk may hang.
        if self._writing.acquire(timeout=_SECONDS_AT_THE_END):
            self._writing.release()

    def _work(self) -> None:
        try:
            with contextlib.suppress(Exception):
                self._record()
        finally:
            self._ready.set()

    def _record(self) -> None:
        reader = self._make_reader()
        try:
            self._ready.set()
            self._began = _monotonic()
            self._every = min(self._seconds * self._writer.factor, _MOST_EVERY)
            began_at = _now()
            due = min(FIRST_SECONDS, self._every)
            while not self._stopping.wait(max(self._began + due - _monotonic(), 0.0)):
                self.sample(reader.read(), began_at)
                due = self._next(due)
            self.sample(reader.read(), began_at)
        finally:
            reader.close()

    def _next(self, due: float) -> float:
        """When the next sample is due, in seconds of the part: what was missed is left out."""
        passed = _monotonic() - self._began
        return max(due, self._every * math.floor(passed / self._every)) + self._every

    def sample(self, load: Load, began_at: float) -> None:
        """Write a reading.

        Args:
            load: the reading.
            began_at: unix seconds at which the part began.
        """
        if not self._has_begun:
            self._has_begun = True
            self._cards = min(len(load.cards), MOST_CARDS)
            self._writer.begin(
                DevicePart(
                    began_at,
                    self._every,
                    tuple(column_names(self._cards)),
                    most_of(load),
                    tuple(card.name for card in load.cards[: self._cards]),
                    load.cores,
                    self._writer.factor,
                )
            )
        seconds = _monotonic() - self._began
        values = [math.nan if v is None else v for v in values_of(load, self._cards)]
        lines: list[DeviceSample | DeviceOthers] = [DeviceSample(seconds, values)]
        others = {at: c.others for at, c in enumerate(load.cards[: self._cards]) if c.others}
        told = _who(others) != _who(self._others)
        if told:
            lines.append(DeviceOthers(seconds, others))
        with self._writing, contextlib.suppress(OSError):
            if not self._closed:
                self._writer.append(lines)
                self._others = others if told else self._others
        self._every = max(self._every, min(self._seconds * self._writer.factor, _MOST_EVERY))


def _who(others: Mapping[int, Sequence[CardProcess]]) -> set[tuple[int, int, str]]:
    """Which processes these are; how much memory each has changes all the time."""
    return {(card, each.pid, each.user) for card, of in others.items() for each in of}
