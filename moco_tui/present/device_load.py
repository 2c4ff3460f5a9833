"""Load of this machine: CPU, memory and, where there is one, the NVIDIA card."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any


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
        cpu: share of all cores in use, in [0, 1], since the last reading.
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
    """Reads the load; whatever cannot be read is left out, never an error."""

    def __init__(self) -> None:
        self._psutil: Any = None
        self._nvml: Any = None
        self._handles: list[Any] = []
        with contextlib.suppress(Exception):
            import psutil

            psutil.cpu_percent(None)
            self._psutil = psutil
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
                load.cpu = self._psutil.cpu_percent(None) / 100
                load.cores = self._psutil.cpu_count() or 0
                memory = self._psutil.virtual_memory()
                load.used, load.total = memory.total - memory.available, memory.total
                load.process = self._psutil.Process().memory_info().rss
        load.cards = [self._card(handle) for handle in self._handles]
        return load

    def _card(self, handle: Any) -> Card:
        nvml = self._nvml
        card = Card("GPU")
        with contextlib.suppress(Exception):
            name = nvml.nvmlDeviceGetName(handle)
            card.name = name.decode() if isinstance(name, bytes) else str(name)
        with contextlib.suppress(Exception):
            card.load = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        with contextlib.suppress(Exception):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            card.used, card.total = int(memory.used), int(memory.total)
        with contextlib.suppress(Exception):
            card.watts = nvml.nvmlDeviceGetPowerUsage(handle) / 1000
        with contextlib.suppress(Exception):
            card.celsius = float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        return card
