"""Where the locks of devices lie, and who holds one; ``engine.runtime.device_lock`` takes them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from engine.files import read_plain
from engine.text import clean_text

_MOST_BYTES = 1 << 20
_NAME_CHARACTERS = 80
_LOCKS = Path("/proc/locks")


def locks_folder() -> Path:
    """Where the lock files lie: the same place for every user, and for every login of one.

    ``$MOCO_TUI_LOCKS``, else ``/tmp``. Not the user's runtime folder, which goes at logout, nor
    ``$TMPDIR``, which may differ from job to job.
    """
    return Path(os.environ.get("MOCO_TUI_LOCKS") or "/tmp")


def lock_path(key: str) -> Path:
    """The lock file of a device.

    Args:
        key: from ``device_lock.device_key``: ``cuda-`` and the UUID of a card.
    """
    return locks_folder() / f"moco-tui-{re.sub('[^A-Za-z0-9-]', '_', key)}.lock"


def holder_of(key: str, locks: Path = _LOCKS) -> str:
    """Who holds the lock of a device, clean; empty where nobody does or the system does not tell.

    The lock itself is left alone: whoever tries it holds it for a moment, and a trainer would wait.

    Args:
        key: see ``lock_path``.
        locks: the kernel's list of locks, in which a file stands by its inode (proc(5)).
    """
    path = lock_path(key)
    try:
        inode = path.stat().st_ino
        held = any(
            " FLOCK " in line and line.split()[-3].endswith(f":{inode}")
            for line in locks.read_text(encoding="ascii").splitlines()
        )
        if not held:
            return ""
        holder = read_plain(path, _MOST_BYTES).decode(errors="replace")
    except (OSError, ValueError, IndexError):
        return ""
    return clean_text(holder, _NAME_CHARACTERS) or "another trainer"
