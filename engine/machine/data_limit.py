"""The memory that a limit of the process itself leaves it (``ulimit -d``, RLIMIT_DATA).

Linux counts what a process may write and has to itself: heap, anonymous memory, stacks of threads.
A file that is mapped to be read alone does not count, so that images can be left in one
(getrlimit(2), and ``VmData`` in proc_pid_status(5), which is the very number that is limited).
"""

from __future__ import annotations

import math
from pathlib import Path

from engine.machine.control_groups import read_text

_SYSTEM = Path("/")


def data_limit() -> float:
    """Bytes that this process may have to write to; infinite without a limit."""
    try:
        import resource
    except ImportError:  # no such system
        return math.inf
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return math.inf if soft == resource.RLIM_INFINITY else float(soft)


def data_used(system: Path = _SYSTEM) -> int:
    """Bytes of those that it has; 0 where the system does not say.

    Args:
        system: the root of the file system.
    """
    for line in read_text(system / "proc/self/status").splitlines():
        name, _, rest = line.partition(":")
        if name == "VmData" and rest.split()[1:] == ["kB"]:
            return int(rest.split()[0]) << 10
    return 0


def data_left(system: Path = _SYSTEM) -> float:
    """Bytes that it can still take; infinite without a limit.

    Args:
        system: the root of the file system.
    """
    return max(0.0, data_limit() - data_used(system))
