"""Whether runs or data can be kept in a folder: rights, locks, space."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.files import is_folder, is_gone, reason
from engine.history.history import History
from engine.runs.file_lock import file_system, locks_work
from moco_tui.cli.logout_facts import user_name
from moco_tui.present import fmt
from moco_tui.present.disk_usage import usage

_LOW_DISK = 2 << 30  # bytes: a few checkpoints of the larger model and the image cache


def folder(path: Path, problems: list[str], *, write: bool) -> dict[str, Any]:
    """Rights, locks and space of a folder, or of the place where it would be made.

    Args:
        path: the folder.
        problems: gets a sentence for each thing that is wrong.
        write: also try the locks, in a file that is removed again.
    """
    found: dict[str, Any] = {"path": str(path), "exists": is_folder(path)}
    nearest = path  # the nearest folder above it that exists
    while is_gone(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not is_gone(path) and not is_folder(path):
        problems.append(_why_no_folder(path))
        return found
    rights = os.access(nearest, os.W_OK | os.X_OK)
    found["writable"] = rights
    if not rights:
        problems.append(f"{nearest} cannot be written by {user_name()}.")
    found["file system"] = file_system(nearest) or None
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


def runs_held(root: Path, problems: list[str]) -> dict[str, Any]:
    """How many runs a folder holds and what they take, those in the trash apart.

    Args:
        root: the runs folder.
        problems: gets a sentence where it cannot be read.
    """
    if not is_folder(root):
        return {}
    try:
        found = usage(History(root, read_only=True))
    except RunError as error:
        problems.append(str(error))
        return {}
    held = {"runs": f"{found.runs:,}, {fmt.size(found.size)}"}
    return held | {"trash": f"{found.trashed:,}, {fmt.size(found.trash_size)}"}


def _why_no_folder(path: Path) -> str:
    try:
        path.stat()
    except OSError as error:
        return f"{path} cannot be looked at: {reason(error)}."
    return f"{path} is no folder."


def _locks_work(place: Path) -> bool | None:
    """Whether files can be locked there; None: unknown."""
    try:
        return locks_work(place)
    except OSError:
        return None
