"""How much of the memory images may take, before they are left in a file."""

from __future__ import annotations

from pathlib import Path

import psutil

from engine.machine.data_limit import data_left
from engine.machine.group_memory import group_memory

SHARE = 0.5
"""Of the memory that is free for this process: images that take more stay in a file, of which the
system keeps in memory what it has room for. The other half is for the model and its steps."""

_SYSTEM = Path("/")


def fits_into_memory(amount: int) -> bool:
    """Whether images of so many bytes are kept in memory."""
    return amount <= SHARE * free_memory()


def free_memory(system: Path = _SYSTEM) -> float:
    """Bytes that this process can still take: of the machine, its control groups, its own limit.

    Args:
        system: the root of the file system.
    """
    available = float(psutil.virtual_memory().available)
    return min(available, group_memory(system), data_left(system))
