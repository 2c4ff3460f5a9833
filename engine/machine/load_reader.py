"""The load of this machine and of this process: CPU, memory and, where there are any, cards."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.machine.cards import Card, CardReader
from engine.machine.cpu_use import CpuUse
from engine.machine.group_memory import group_memory_use

_SYSTEM = Path("/")


@dataclass(slots=True)
class Load:
    """One reading of the machine; what cannot be read is None.

    Attributes:
        cpu: share of the CPUs in use, in [0, 1], since an earlier reading; None at first.
        cores: how many CPUs these are; a container may be granted parts of one.
        used, total: memory in bytes.
        process: resident memory of this process in bytes.
        cards: GPUs.
        own_cpu: share of the CPUs that this process used, in [0, 1].
    """

    cpu: float | None = None
    cores: float = 0
    used: int | None = None
    total: int | None = None
    process: int | None = None
    cards: list[Card] = field(default_factory=list)
    own_cpu: float | None = None


class LoadReader:
    """Reads the load; whatever cannot be read is left out, never an error.

    Any exception is suppressed, not only those of the libraries: psutil and NVML are optional, and
    a load that is not known is no reason to end a process that trains. CPU and memory are those
    that this process's control groups grant, where these are less than the machine's.

    Args:
        cards: see ``CardReader``; None: all.
        system: the root of the file system.
    """

    def __init__(self, cards: Sequence[str] | None = None, system: Path = _SYSTEM) -> None:
        self._system = system
        self._psutil: Any = None
        self._cpu: CpuUse | None = None
        with contextlib.suppress(Exception):
            import psutil

            self._psutil = psutil
            self._cpu = CpuUse(psutil, system)
        self._cards = CardReader(cards, self._user_of)

    def read(self) -> Load:
        """The load now."""
        load = Load()
        if self._cpu is not None:
            with contextlib.suppress(Exception):
                self._cpu.read()
                load.cpu, load.own_cpu = self._cpu.everyone, self._cpu.own
                load.cores = self._cpu.cpus
        if self._psutil is not None:
            with contextlib.suppress(Exception):
                load.used, load.total = self._memory()
            with contextlib.suppress(Exception):
                load.process = self._psutil.Process().memory_info().rss
        load.cards = self._cards.read()
        return load

    def close(self) -> None:
        """Let go of the driver of the cards."""
        self._cards.close()

    def _memory(self) -> tuple[int, int]:
        """Bytes used and granted: of the control group that grants least, or of the machine."""
        memory = self._psutil.virtual_memory()
        group = group_memory_use(self._system)
        if group is not None and group.limit < memory.total:
            return group.used, group.limit
        return memory.total - memory.available, memory.total

    def _user_of(self, pid: int) -> str:
        return str(self._psutil.Process(pid).username())
