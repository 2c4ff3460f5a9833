"""The memory that this process's control groups limit: how much of it is taken."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from engine.machine.control_groups import group_folders, read_text

_SYSTEM = Path("/")
_FILES = (
    ("memory.max", "memory.current", "file "),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache "),
)
"""Of version 2 and of version 1: the limit, what is used, and what of that the system holds of
files."""


class GroupMemory(NamedTuple):
    """Memory of a control group, in bytes.

    Attributes:
        used: what its processes hold, without files, which the system gives back.
        limit: what they may hold.
    """

    used: int
    limit: int

    @property
    def left(self) -> float:
        """Bytes that can still be taken."""
        return max(0.0, self.limit - self.used)


def group_memory_use(system: Path = _SYSTEM) -> GroupMemory | None:
    """Memory of the control group that leaves this process the least; None without a limit.

    Of the process's own group and all above it, of either version of control groups.
    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files

    Args:
        system: the root of the file system.
    """
    found = map(_use_of, group_folders("memory", system))
    return min((use for use in found if use is not None), key=lambda u: u.left, default=None)


def group_memory(system: Path = _SYSTEM) -> float:
    """Bytes that this process's control groups still grant; infinite without a limit.

    Args:
        system: the root of the file system.
    """
    use = group_memory_use(system)
    return math.inf if use is None else use.left


def _use_of(folder: Path) -> GroupMemory | None:
    """Of one control group."""
    for limit, used, files in _FILES:
        try:
            most, taken = int(read_text(folder / limit)), int(read_text(folder / used))
        except ValueError:  # "max", or no such file
            continue
        held = read_text(folder / "memory.stat").splitlines()
        cached = sum(int(line.split()[1]) for line in held if line.startswith(files))
        return GroupMemory(max(0, taken - cached), most)
    return None
