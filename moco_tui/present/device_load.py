"""Load of this machine, read and in words: CPU, memory and, where there is one, the NVIDIA card."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from moco_tui.present import fmt
from moco_tui.present.lines import Line

_LEAST_CPU_SECONDS = 0.25
"""Of all cores together; the system counts in hundredths."""


@dataclass(slots=True)
class Card:
    """One GPU now; what the driver does not tell is None.

    Attributes:
        name: its name.
        load: share of the time it computed, in [0, 1].
        used, total: memory in bytes.
        watts: power.
        celsius: temperature.
    """

    name: str
    load: float | None = None
    used: int | None = None
    total: int | None = None
    watts: float | None = None
    celsius: float | None = None


@dataclass(slots=True)
class Load:
    """One reading of the machine.

    Attributes:
        cpu: share of all cores in use, in [0, 1], since an earlier reading; None at first.
        cores: number of cores.
        used, total: memory in bytes.
        process: resident memory of this process in bytes.
        cards: its GPUs.
    """

    cpu: float | None = None
    cores: int = 0
    used: int | None = None
    total: int | None = None
    process: int | None = None
    cards: list[Card] = field(default_factory=list)


class Sampler:
    """Reads the load; whatever cannot be read is left out, never an error.

    Any exception is suppressed, not only those of the libraries: psutil and NVML are optional, and
    a load that is not shown is no reason to end an app that trains.
    """

    def __init__(self) -> None:
        self._psutil: Any = None
        self._before = (0.0, 0.0)  # seconds that the cores have worked, and seconds in all
        self._cpu: float | None = None
        self._nvml: Any = None
        self._handles: list[Any] = []
        with contextlib.suppress(Exception):
            import psutil

            self._psutil = psutil
            self._before = _cpu_seconds(psutil)
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = [
                pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())
            ]

    def read(self) -> Load:
        """The load now."""
        load = Load()
        if self._psutil is not None:
            with contextlib.suppress(Exception):
                load.cpu = self._cpu_share()
                load.cores = self._psutil.cpu_count() or 0
                memory = self._psutil.virtual_memory()
                load.used, load.total = memory.total - memory.available, memory.total
                load.process = self._psutil.Process().memory_info().rss
        load.cards = [self._card(handle) for handle in self._handles]
        return load

    def _cpu_share(self) -> float | None:
        """The share of all cores in use since the last call, or that of the last call."""
        # Not psutil's cpu_percent: it measures since the last call in the same thread, gives 0.0
        # for the first one, and noise where two calls are closer than the ticks of the system.
        busy, total = _cpu_seconds(self._psutil)
        if total - self._before[1] >= _LEAST_CPU_SECONDS:
            share = (busy - self._before[0]) / (total - self._before[1])
            self._cpu = min(max(share, 0.0), 1.0)
            self._before = (busy, total)
        return self._cpu

    def _card(self, handle: Any) -> Card:
        # Each value by itself: NVML raises NVMLError_NotSupported for what a card does not tell,
        # such as power and utilisation on some.
        nvml = self._nvml
        card = Card("GPU")
        with contextlib.suppress(Exception):
            name = nvml.nvmlDeviceGetName(handle)
            card.name = name.decode() if isinstance(name, bytes) else str(name)  # older: bytes
        with contextlib.suppress(Exception):
            card.load = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        with contextlib.suppress(Exception):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            card.used, card.total = int(memory.used), int(memory.total)
        with contextlib.suppress(Exception):
            card.watts = nvml.nvmlDeviceGetPowerUsage(handle) / 1000  # it gives milliwatts
        with contextlib.suppress(Exception):
            card.celsius = float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        return card


def _cpu_seconds(psutil: Any) -> tuple[float, float]:
    """Seconds that the cores of this machine have worked since it started, and seconds in all."""
    times = psutil.cpu_times()
    # On Linux the time of guests is part of that of user and nice.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _gauge(share: float | None, cells: int, ascii_only: bool) -> str:
    if share is None:
        return " " * cells
    return fmt.bar(round(min(max(share, 0.0), 1.0) * cells), cells, ascii_only=ascii_only)


def device_lines(load: Load, *, ascii_only: bool, app: str = "") -> list[Line]:
    """The load of this machine.

    Args:
        load: as read.
        ascii_only: characters of ASCII alone.
        app: what else is known of what the app takes.
    """

    def line(name: str, share: float | None, text: str) -> Line:
        return [
            (f"{name:<7}", "muted"),
            (_gauge(share, 12, ascii_only), "good" if (share or 0) < 0.9 else "bad"),
            (f"  {text}", ""),
        ]

    lines: list[Line] = []
    if load.cpu is not None:
        lines.append(line("CPU", load.cpu, f"{fmt.percent(load.cpu, 0)} of {load.cores} cores"))
    if load.used is not None and load.total:
        lines.append(
            line(
                "memory", load.used / load.total, f"{fmt.size(load.used)} of {fmt.size(load.total)}"
            )
        )
    if load.process is not None:
        lines.append(
            [
                (f"{'app':<7}", "muted"),
                (", ".join(filter(None, (f"{fmt.size(load.process)} resident", app))), ""),
            ]
        )
    for card in load.cards:
        lines.append([(fmt.clean(card.name), "strong")])
        lines.append(line("GPU", card.load, fmt.percent(card.load, 0)))
        if card.used is not None and card.total:
            text = f"{fmt.size(card.used)} of {fmt.size(card.total)}"
            lines.append(line("memory", card.used / card.total, text))
        watts = "–" if card.watts is None else f"{card.watts:.0f} W"
        heat = "–" if card.celsius is None else f"{card.celsius:.0f} °C"
        lines.append([(f"{'power':<7}", "muted"), (f"{watts}  {heat}", "")])
    if not load.cards:
        lines.append([("no NVIDIA card", "muted")])
    return lines or [[("nothing can be read here", "muted")]]
