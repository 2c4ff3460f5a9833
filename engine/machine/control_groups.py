"""The control groups of Linux that this process is in, which limit what it may take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def group_folders(controller: str, system: Path) -> Iterator[Path]:
    """Folders that may hold a limit: of the process's own group, and of all above it.

    Of either version of control groups; some may not exist.
    https://docs.kernel.org/admin-guide/cgroup-v2.html#organizing-processes-and-threads

    Args:
        controller: ``cpu`` or ``memory``.
        system: the root of the file system.
    """
    mounted = system / "sys/fs/cgroup"
    for line in read_text(system / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:  # version 2; beside version 1 it is mounted as "unified"
            tops = [mounted, mounted / "unified"]
        elif controller in controllers.split(","):
            tops = [mounted / controllers, mounted / controller]
        else:
            continue
        # In a container the path may be the host's: then only the top is there, and is its own.
        path = PurePosixPath(group.lstrip("/"))
        if ".." in path.parts:
            path = PurePosixPath()
        yield from (top / folder for top in tops for folder in (path, *path.parents))


def read_text(path: Path) -> str:
    """What a file of the kernel says; empty where it cannot be read."""
    try:
        return path.read_text("ascii", errors="replace").strip()
    except OSError:
        return ""
