"""Clocks, turns and the arithmetic on what they gave."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch


@dataclass(frozen=True)
class Lap:
    """What one turn of one way gave.

    Attributes:
        steps: steps done.
        seconds: wall time of all of them.
        processor: processor time of this process, all its threads and its workers, in seconds.
    """

    steps: int
    seconds: float
    processor: float


class Way(Protocol):
    """One way to do a step. Between its turns it keeps no processor busy."""

    def open(self) -> None:
        """Start what runs beside the step, and bring it to its steady state."""

    def step(self) -> None:
        """One step."""

    def close(self) -> None:
        """End what ``open`` started."""


def wait_for(device: torch.device) -> None:
    """Return when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def processor_seconds() -> float:
    """Processor time of this process and of its living children so far, in seconds."""
    times = [psutil.Process().cpu_times()]
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times.append(child.cpu_times())
    return float(sum(part.user + part.system for part in times))


def lap(step: Callable[[], None], device: torch.device, *, seconds: float, least: int) -> Lap:
    """Repeat ``step`` for at least so many seconds and so many times."""
    wait_for(device)
    processor, start = processor_seconds(), time.perf_counter()
    count = 0
    while count < least or time.perf_counter() - start < seconds:
        step()
        count += 1
    wait_for(device)
    spent = time.perf_counter() - start
    return Lap(count, spent, processor_seconds() - processor)


def take_turns(
    ways: Mapping[str, Way],
    device: torch.device,
    *,
    repeats: int,
    seconds: float,
    least: int,
    say: Callable[[str], None],
) -> dict[str, list[Lap]]:
    """Every way once a repeat, one after the other, so that a busy machine slows all alike."""
    laps: dict[str, list[Lap]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name, way in ways.items():
            with opened(way):
                done = lap(way.step, device, seconds=seconds, least=least)
            laps[name].append(done)
            say(f"{repeat + 1}/{repeats} {name}: {1000 * done.seconds / done.steps:.4g} ms a step")
    return laps


@contextlib.contextmanager
def opened(way: Way) -> Iterator[None]:
    """The way open inside the block."""
    way.open()
    try:
        yield
    finally:
        way.close()


@dataclass(frozen=True)
class Figure:
    """Median, smallest and largest of some repeats."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{short(self.median)} ({short(self.low)} - {short(self.high)})"


def short(value: float) -> str:
    """A number with about four digits that count."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.4g}" if size >= 1e-3 or value == 0 else f"{value:.2e}"


def ratios(ours: Sequence[Lap], theirs: Sequence[Lap], of: Callable[[Lap], float]) -> Figure:
    """How many times ``theirs`` takes what ``ours`` takes, turn by turn.

    Turns of the same number stood next to each other, so what slowed one slowed the other.
    """
    return Figure.of([of(b) / of(a) for a, b in zip(ours, theirs, strict=True)])


def wall(turn: Lap) -> float:
    """Seconds a step."""
    return turn.seconds / turn.steps


def work(turn: Lap) -> float:
    """Processor seconds a step."""
    return turn.processor / turn.steps


def growth(sizes: Sequence[float], costs: Sequence[float]) -> list[float | None]:
    """The exponent by which the cost grew from each size to the next, None for the first.

    1 is linear, 0 is free. Sizes and costs are above 0, and no two neighbours of one size.
    """
    out: list[float | None] = [None]
    for i in range(1, len(sizes)):
        out.append(math.log(costs[i] / costs[i - 1]) / math.log(sizes[i] / sizes[i - 1]))
    return out


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 1),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def processor_name() -> str:
    """The processor as the system names it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with aligned columns; numbers as ``short`` writes them."""
    cells = [[short(c) if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(head), *cells]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in [list(head), *cells]
    ]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
