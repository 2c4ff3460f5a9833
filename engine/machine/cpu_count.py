"""How many threads this process can have at work at once."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from engine.machine.control_groups import group_folders, read_text

_SYSTEM = Path("/")


def available_cpus() -> int:
    """Cores that this process may use.

    Fewer than the machine has under taskset or a batch system (also one that only counts the cores
    of its jobs), and under the CPU quota of a container or service. The two hyperthreads of a core
    count once: they share its arithmetic units, which is what a training step waits for.
    """
    allowed = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )
    cores, quota = min(physical_cores(allowed), slurm_cores()), cpu_quota()
    return int(cores if quota >= cores else math.ceil(quota))


def slurm_cores(environment: Mapping[str, str] = os.environ) -> float:
    """CPUs that this process's job of Slurm was granted; infinite without a job.

    A cluster that does not bind its jobs to cores counts on them to take no more. What was asked
    for a task comes first; else what the job has of this machine.
    https://slurm.schedmd.com/sbatch.html#SECTION_OUTPUT-ENVIRONMENT-VARIABLES

    Args:
        environment: the variables of this process.
    """
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        text = environment.get(name, "")
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return math.inf


def physical_cores(cpus: list[int], system: Path = _SYSTEM) -> int:
    """How many cores these CPUs of the system belong to, at least 1.

    Where the system does not say, each CPU counts as a core.

    Args:
        cpus: numbers of CPUs.
        system: the root of the file system.
    """
    folder = system / "sys/devices/system/cpu"
    cores = {
        read_text(folder / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus
    }
    return max(1, len(cores))


def cpu_quota(system: Path = _SYSTEM) -> float:
    """The CPU time that this process's control groups grant, in CPUs; infinite without a limit.

    The smallest of the process's own group and all above it, of either version of cgroups.
    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files

    Args:
        system: the root of the file system.
    """
    return quota_group(system)[1]


def quota_group(system: Path = _SYSTEM) -> tuple[Path | None, float]:
    """The control group with the smallest quota, and that, see ``cpu_quota``; None without one.

    Args:
        system: the root of the file system.
    """
    found = [(_quota_of(folder), folder) for folder in group_folders("cpu", system)]
    quota, folder = min(found, key=lambda each: each[0], default=(math.inf, None))
    return (None if quota == math.inf else folder), quota


def _quota_of(folder: Path) -> float:
    """Of one control group, in CPUs."""
    quota, _, period = read_text(folder / "cpu.max").partition(" ")
    if not quota:
        quota = read_text(folder / "cpu.cfs_quota_us")
        period = read_text(folder / "cpu.cfs_period_us")
    try:
        granted = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return math.inf
    return granted if granted > 0.0 else math.inf  # -1: no limit
