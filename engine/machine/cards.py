"""NVIDIA cards as their driver describes them: load, memory, power, heat, who else is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from engine.text import clean_text

MOST_OTHERS = 16
"""Other processes on a card that are named; all are counted."""
_NAME_CHARACTERS = 64
_PIDS_OF_HOST = "pid:[4026531836]"
"""What ``/proc/self/ns/pid`` leads to outside of containers: the kernel gives the first namespace
always this number (PROC_PID_INIT_INO in its include/linux/proc_ns.h)."""
_PID_NAMESPACE = Path("/proc/self/ns/pid")


class CardProcess(NamedTuple):
    """Another process on a card.

    Attributes:
        pid: its number.
        user: name of its user, clean; empty where the system does not tell.
        memory: bytes that it has on the card; None where the driver does not tell.
    """

    pid: int
    user: str = ""
    memory: int | None = None


@dataclass(slots=True)
class Card:
    """One GPU now; what the driver does not tell is None.

    Attributes:
        name: its name.
        load: share of the time it computed, in [0, 1].
        used, total: memory in bytes.
        watts: power.
        celsius: temperature.
        most_watts: power at which it slows down.
        own_load: share that this process had, in [0, 1].
        own_used: memory of this process in bytes.
        others: other processes on it, at most ``MOST_OTHERS``, those with most memory first.
        others_count: how many there are.
        others_used: their memory in bytes.
        index: number that the driver gives it, from 0.
        uuid: its UUID as CUDA spells it, without ``GPU-`` before it; empty where it is not known.
    """

    name: str
    load: float | None = None
    used: int | None = None
    total: int | None = None
    watts: float | None = None
    celsius: float | None = None
    most_watts: float | None = None
    own_load: float | None = None
    own_used: int | None = None
    others: Sequence[CardProcess] | None = None
    others_count: int | None = None
    others_used: int | None = None
    index: int | None = None
    uuid: str = ""


class CardReader:
    """Reads cards through NVML, which asks the driver and does not wait for the card's work.

    Every value is asked for by itself: NVML raises NVMLError_NotSupported for what a card does not
    tell, and NVMLError_NoPermission for what a container may not ask. Any exception is suppressed,
    not only those of the library: a value that is not known is no reason to end a training.

    Args:
        cards: UUIDs of the cards to read, with or without ``GPU-`` before them; None: all. One that
            the driver does not know by these is left out.
        user_of: name of the user of a process; None: nobody is named.
    """

    def __init__(
        self, cards: Sequence[str] | None = None, user_of: Callable[[int], str] | None = None
    ) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        self._seen: dict[int, int] = {}  # by position: time of the last sample of processes
        self._users: dict[int, str] = {}
        self._user_of = user_of
        self._pids_of_host = _sees_pids_of_host()
        if cards is not None and not cards:
            return
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = list(_handles(pynvml, cards))

    def read(self) -> list[Card]:
        """The cards now."""
        found = [self._card(at, handle) for at, handle in enumerate(self._handles)]
        here = {each.pid for card in found for each in card.others or ()}
        self._users = {pid: name for pid, name in self._users.items() if pid in here}
        return found

    def close(self) -> None:
        """Let go of the driver; ``read`` finds no card then."""
        self._handles = []
        if self._nvml is not None:
            with contextlib.suppress(Exception):
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _card(self, at: int, handle: Any) -> Card:
        nvml = self._nvml
        card = Card("GPU")
        with contextlib.suppress(Exception):
            card.name = clean_text(_text(nvml.nvmlDeviceGetName(handle)), _NAME_CHARACTERS)
        with contextlib.suppress(Exception):
            card.index = int(nvml.nvmlDeviceGetIndex(handle))
        with contextlib.suppress(Exception):
            card.uuid = _bare(_text(nvml.nvmlDeviceGetUUID(handle)))
        with contextlib.suppress(Exception):
            card.load = min(max(nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100, 0.0), 1.0)
        with contextlib.suppress(Exception):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            card.used, card.total = int(memory.used), int(memory.total)
        with contextlib.suppress(Exception):
            card.watts = nvml.nvmlDeviceGetPowerUsage(handle) / 1000  # it gives milliwatts
        with contextlib.suppress(Exception):
            card.most_watts = nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        with contextlib.suppress(Exception):
            card.celsius = float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        with contextlib.suppress(Exception):
            self._add_processes(card, at, handle)
        return card

    def _add_processes(self, card: Card, at: int, handle: Any) -> None:
        """Who is on the card, as far as it can be told apart.

        Drivers give the numbers that processes have on the host, or, newer ones, those within the
        container that asks. So in a container whose own process is not among them nothing is known:
        any of them might be this one.
        """
        own = os.getpid()
        memory = self._memory_by_pid(handle)
        if memory is None:
            return
        if own in memory:
            card.own_used = memory.pop(own)
        elif not self._pids_of_host:
            return
        card.own_load = self._own_load(at, handle, own)
        card.others_count = len(memory)
        # A value that is missing, of one of several, would make the sum wrong.
        known = [taken for taken in memory.values() if taken is not None]
        card.others_used = sum(known) if len(known) == len(memory) else None
        most_first = sorted(memory, key=lambda pid: (-(memory[pid] or 0), pid))
        card.others = [
            CardProcess(pid, self._user(pid), memory[pid]) for pid in most_first[:MOST_OTHERS]
        ]

    def _memory_by_pid(self, handle: Any) -> dict[int, int | None] | None:
        """Bytes of each process that computes or draws on the card; None where nobody tells."""
        nvml, found, told = self._nvml, dict[int, int | None](), False
        for name in (
            "nvmlDeviceGetComputeRunningProcesses",
            "nvmlDeviceGetGraphicsRunningProcesses",
        ):
            with contextlib.suppress(Exception):
                for process in getattr(nvml, name)(handle):
                    # Some drivers say 0 where they do not know; every process there has some.
                    taken = int(process.usedGpuMemory or 0) or None
                    known = found.get(int(process.pid))
                    found[int(process.pid)] = max(taken or 0, known or 0) or None
                told = True
        return found if told else None

    def _own_load(self, at: int, handle: Any, own: int) -> float | None:
        """The share of the card that this process had since the reading before."""
        nvml = self._nvml
        try:
            samples = nvml.nvmlDeviceGetProcessUtilization(handle, self._seen.get(at, 0))
        except Exception as error:
            # There is a sample for each process that had any share: none says that it had none.
            missing = getattr(nvml, "NVMLError_NotFound", ())
            return 0.0 if self._pids_of_host and isinstance(error, missing) else None
        self._seen[at] = max((int(s.timeStamp) for s in samples), default=self._seen.get(at, 0))
        # Some drivers fill the rest of the list with numbers that are no per cent.
        shares = [s.smUtil / 100 for s in samples if s.pid == own and 0 <= s.smUtil <= 100]
        if not shares:
            return 0.0 if self._pids_of_host else None
        return float(sum(shares) / len(shares))

    def _user(self, pid: int) -> str:
        if self._user_of is None:
            return ""
        if pid not in self._users:
            self._users[pid] = ""
            with contextlib.suppress(Exception):  # it has ended, or may not be looked at
                self._users[pid] = clean_text(self._user_of(pid), _NAME_CHARACTERS)
        return self._users[pid]


def _handles(nvml: Any, cards: Sequence[str] | None) -> Iterator[Any]:
    """The driver's handles of the cards."""
    every = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    if cards is None:
        yield from every
        return
    known = {}
    for handle in every:
        with contextlib.suppress(Exception):
            known[_bare(_text(nvml.nvmlDeviceGetUUID(handle)))] = handle
    for card in cards:
        if _bare(card) in known:
            yield known[_bare(card)]
        else:  # a slice of a card, which no index leads to
            with contextlib.suppress(Exception):
                yield nvml.nvmlDeviceGetHandleByUUID(f"MIG-{_bare(card)}")


def _bare(uuid: str) -> str:
    """A UUID without the letters that NVML, but not CUDA, puts before it."""
    return uuid.lower().removeprefix("gpu-").removeprefix("mig-")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)  # older


def _sees_pids_of_host() -> bool:
    """Whether this process knows others by the numbers that the host gives them."""
    try:
        return str(_PID_NAMESPACE.readlink()) == _PIDS_OF_HOST
    except OSError:  # no Linux: there are no containers of this kind
        return True
