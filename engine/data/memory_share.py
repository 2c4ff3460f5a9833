"""How much of the memory images may take, before they are left in a file."""

from __future__ import annotations

import math
from pathlib import Path

import psutil

from engine.machine.control_groups import group_folders, read_text

SHARE = 0.5
"""Of the memory that is free for this process: images that take more stay in a file, of which the
system keeps in memory what it has room for. The other half is for the model and its steps."""

_SYSTEM = Path("/")


def fits_into_memory(amount: int) -> bool:
    """Whether images of so many bytes are kept in memory."""
    return amount <= SHARE * free_memory()


def free_memory(system: Path = _SYSTEM) -> float:
    """Bytes that this process can still take: of the machine, and of its control groups.

    Args:
        system: the root of the file system.
    """
    return min(float(psutil.virtual_memory().available), group_memory(system))


def group_memory(system: Path = _SYSTEM) -> float:
    """Bytes that this process's control groups still grant; infinite without a limit.

    The smallest of the process's own group and all above it, of either version of cgroups. What
    the system holds of files does not count, since it gives that back.
    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files

    Args:
        system: the root of the file system.
    """
    return min(map(_left_in, group_folders("memory", system)), default=math.inf)


def _left_in(folder: Path) -> float:
    """Of one control group."""
    for limit, used, files in (
        ("memory.max", "memory.current", "file "),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache "),
    ):
        try:
            most, taken = int(read_text(folder / limit)), int(read_text(folder / used))
        except ValueError:  # "max", or no such file
            continue
        held = read_text(folder / "memory.stat").splitlines()
        cached = sum(int(line.split()[1]) for line in held if line.startswith(files))
        return max(0.0, most - max(0, taken - cached))
    return math.inf
