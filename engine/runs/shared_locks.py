"""Whether the locks of a folder reach other machines: jobs of a cluster work on one runs folder."""

from __future__ import annotations

from pathlib import Path

from engine.errors import RunError
from engine.runs.root import check_place

# Options of a mount with which a lock keeps out processes of this machine alone: nfs(5),
# https://wiki.lustre.org/Mounting_a_Lustre_File_System_on_Client_Nodes
_LOCAL = frozenset({"nolock", "local_lock=all", "local_lock=flock", "localflock"})


def check_shared_locks(root: Path) -> None:
    """Refuses a runs folder without locks, or with such that end at this machine.

    Args:
        root: the runs folder; where it is missing, the nearest folder above it is looked at.

    Raises:
        RunError: with the file system and the option of its mount.
    """
    check_place(root)
    kind, options = mount_of(root)
    local = sorted(_LOCAL.intersection(options))
    if local:
        raise RunError(
            f"The file system of {root}, {kind}, is mounted with {local[0]}, so its locks do not "
            "reach other machines and two jobs could work on one run; mount it without that, or "
            "keep the runs elsewhere with --runs-dir."
        )


def mount_of(path: Path) -> tuple[str, tuple[str, ...]]:
    """Kind and options of the mount that a path lies on; empty where they are not known."""
    try:
        import psutil

        resolved = path.resolve()
        mounts = [
            (len(Path(part.mountpoint).parts), part.fstype, part.opts)
            for part in psutil.disk_partitions(all=True)
            if resolved.is_relative_to(part.mountpoint)
        ]
        _, kind, options = max(mounts)  # the deepest of the mounts above it
    except Exception:  # whatever fails: nothing is known against it
        return "", ()
    return str(kind), tuple(str(options).split(","))
