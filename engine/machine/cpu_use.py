"""How busy the CPUs are that this process may use, and how busy it keeps them itself."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.machine.control_groups import read_text
from engine.machine.cpu_count import quota_group

_LEAST_CPU_SECONDS = 0.25
"""Of all CPUs together; the system counts in hundredths."""
_SYSTEM = Path("/")

# Of this module, so that tests can put clocks of their own here.
_monotonic = time.monotonic
_process_time = time.process_time


class CpuUse:
    """Shares of the CPUs in use since the reading before.

    What a container or service may take is less than the machine has: under a quota the share is
    that of the control group which has it, in what it grants; else that of the CPUs which this
    process is allowed to run on, whoever uses them.

    Not psutil's ``cpu_percent``: it measures since the last call in the same thread, gives 0.0 for
    the first one, and noise where two calls are closer than the ticks of the system.

    Args:
        psutil: the module.
        system: the root of the file system.

    Attributes:
        cpus: how many the shares are of.
        everyone: share that is used by all, in [0, 1]; None while that is not known.
        own: share that this process uses, in [0, 1], children not counted; None likewise.
    """

    def __init__(self, psutil: Any, system: Path = _SYSTEM) -> None:
        self._psutil = psutil
        self._allowed = _allowed(psutil)
        self.cpus = float(len(self._allowed) or psutil.cpu_count() or 1)
        self._group: Path | None = None
        folder, quota = quota_group(system)
        if folder is not None and quota < self.cpus and _group_seconds(folder) is not None:
            self.cpus, self._group = quota, folder
        self.everyone: float | None = None
        self.own: float | None = None
        self._busy_before = 0.0, 0.0
        self._busy_before = self._busy()
        self._own_before = _monotonic(), _process_time()

    def read(self) -> None:
        """Bring both shares up to date; too soon after the last reading they stay."""
        busy, total = self._busy()
        worked, passed = busy - self._busy_before[0], total - self._busy_before[1]
        if passed >= _LEAST_CPU_SECONDS:
            self.everyone = min(max(worked / passed, 0.0), 1.0)
            self._busy_before = busy, total
        now, own = _monotonic(), _process_time()
        passed = (now - self._own_before[0]) * self.cpus
        if passed >= _LEAST_CPU_SECONDS:
            self.own = min(max((own - self._own_before[1]) / passed, 0.0), 1.0)
            self._own_before = now, own

    def _busy(self) -> tuple[float, float]:
        """Seconds that the CPUs have worked since some moment, and could have worked."""
        if self._group is not None:
            worked = _group_seconds(self._group)
            # It may be gone for a moment: then no time has passed.
            return self._busy_before if worked is None else (worked, _monotonic() * self.cpus)
        if self._allowed:
            each = self._psutil.cpu_times(percpu=True)
            counted = [_seconds(each[cpu]) for cpu in self._allowed if cpu < len(each)]
            return math.fsum(busy for busy, _ in counted), math.fsum(total for _, total in counted)
        return _seconds(self._psutil.cpu_times())


def _allowed(psutil: Any) -> Sequence[int]:
    """The CPUs that this process may run on; empty where these are all, or not known."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    allowed = sorted(os.sched_getaffinity(0))
    return allowed if len(allowed) < (psutil.cpu_count() or 0) else ()


def _seconds(times: Any) -> tuple[float, float]:
    """Seconds that CPUs have worked since the machine started, and seconds in all."""
    # On Linux the time of guests is part of that of user and nice.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _group_seconds(folder: Path) -> float | None:
    """CPU seconds that the processes of a control group have used; None where it does not say."""
    for line in read_text(folder / "cpu.stat").splitlines():  # version 2
        name, _, number = line.partition(" ")
        if name == "usage_usec" and number.isdecimal():
            return int(number) / 1e6
    counted = read_text(folder / "cpuacct.usage")  # version 1, nanoseconds
    return int(counted) / 1e9 if counted.isdecimal() else None
