"""How many threads this process can have at work at once."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

_SYSTEM = Path("/")


def available_cpus() -> int:
    """Cores that this process may use.

    Fewer than the machine has under taskset or a batch system, and under the CPU quota of a
    container or service. The two hyperthreads of a core count once: they share its arithmetic
    units, which is what a training step waits for.
    """
    allowed = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )
    cores, quota = physical_cores(allowed), cpu_quota()
    return cores if quota >= cores else math.ceil(quota)


def physical_cores(cpus: list[int], system: Path = _SYSTEM) -> int:
    """How many cores these CPUs of the system belong to, at least 1.

    Where the system does not say, each CPU counts as a core.

    Args:
        cpus: numbers of CPUs.
        system: the root of the file system.
    """
    folder = system / "sys/devices/system/cpu"
    cores = {_read(folder / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus}
    return max(1, len(cores))


def cpu_quota(system: Path = _SYSTEM) -> float:
    """The CPU time that this process's control groups grant, in CPUs; infinite without a limit.

    The smallest of the process's own group and all above it, of either version of cgroups.
    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files

    Args:
        system: the root of the file system.
    """
    quotas = [math.inf]
    mounted = system / "sys/fs/cgroup"
    for line in _read(system / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:  # version 2; beside version 1 it is mounted as "unified"
            tops = [mounted, mounted / "unified"]
        elif "cpu" in controllers.split(","):
            tops = [mounted / controllers, mounted / "cpu"]
        else:
            continue
        # In a container the path may be the host's: then only the top is there, and is its own.
        path = PurePosixPath(group.lstrip("/"))
        if ".." in path.parts:
            path = PurePosixPath()
        quotas += [_quota_of(top / folder) for top in tops for folder in (path, *path.parents)]
    return min(quotas)


def _quota_of(folder: Path) -> float:
    """Of one control group, in CPUs."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us")
        period = _read(folder / "cpu.cfs_period_us")
    try:
        granted = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return math.inf
    return granted if granted > 0.0 else math.inf  # -1: no limit


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", errors="replace").strip()
    except OSError:
        return ""
