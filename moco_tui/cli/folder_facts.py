"""Whether runs or data can be kept in a folder: rights, locks, space."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from moco_tui.cli.logout_facts import user_name
from moco_tui.present import fmt

_LOW_DISK = 2 << 30  # bytes: a few checkpoints of the larger model and the image cache


def folder(path: Path, problems: list[str], *, write: bool) -> dict[str, Any]:
    """Rights, locks and space of a folder, or of the place where it would be made.

    Args:
        path: the folder.
        problems: gets a sentence for each thing that is wrong.
        write: also try the locks, in a file that is removed again.
    """
    found: dict[str, Any] = {"path": str(path), "exists": path.is_dir()}
    nearest = path  # the nearest folder above it that exists
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if path.exists() and not path.is_dir():
        problems.append(f"{path} is no folder.")
        return found
    rights = os.access(nearest, os.W_OK | os.X_OK)
    found["writable"] = rights
    if not rights:
        problems.append(f"{nearest} cannot be written by {user_name()}.")
    found["file system"] = _file_system(nearest)
    with contextlib.suppress(OSError):
        space = shutil.disk_usage(nearest)
        found["free"] = f"{fmt.size(space.free)} of {fmt.size(space.total)}"
        if space.free < _LOW_DISK:
            problems.append(f"{nearest} has only {fmt.size(space.free)} of free space.")
    if write and rights:
        found["locks"] = _locks_work(nearest)
        if found["locks"] is False:
            problems.append(
                f"The file system of {nearest} has no file locks (flock); keep runs elsewhere."
            )
    return found


def _locks_work(place: Path) -> bool | None:
    """Whether a second descriptor is refused the lock that a first one holds; None: unknown."""
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as first:
            try:
                fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            # A lock belongs to an open file, not to a process (flock(2)), so a second one of this
            # process is refused as one of another process would be. Some file systems grant both.
            with open(first.name, "rb") as second:  # noqa: PTH123 - the name is a text
                try:
                    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                return False
    except OSError:
        return None


def _file_system(path: Path) -> str | None:
    """Kind of the file system that a path lies on."""
    with contextlib.suppress(Exception):
        import psutil

        resolved = path.resolve()
        mounts = [
            (len(Path(part.mountpoint).parts), part.fstype)
            for part in psutil.disk_partitions(all=True)
            if resolved.is_relative_to(part.mountpoint)
        ]
        return str(max(mounts)[1])  # the deepest of the mounts above it
    return None
