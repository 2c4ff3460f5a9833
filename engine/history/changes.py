"""Hints on which runs have changed, beside an index that is too large to be written each time.

The index is one file, so a change of one run costs as much as there are runs: at 100,000 of them 49
MB are read and written. From ``EAGER_BYTES`` on, who changes a run leaves its id in a file of hints
and the index as it is. The next list finds the run by its stamp, as it finds any that the index has
not, and writes all that it found at once. Lists that are open read the hints, and look at these
alone. A hint is no truth: one that is lost costs the time until the next look at every folder.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from engine.files import open_plain

INDEX_NAME = "history.json"
CHANGES_NAME = "history.changes"
EAGER_BYTES = 8 << 20
"""Size of the index, about 17,000 runs, up to which a change is written into it at once."""
_MOST_BYTES = 1 << 20  # of hints; then the file begins anew, and who reads it looks at every folder
_NAME_CHARACTERS = 255


def is_large(root: Path) -> bool:
    """Whether the index of a folder is too large to be written at each change."""
    try:
        return (root / INDEX_NAME).stat().st_size > EAGER_BYTES
    except OSError:
        return False


def leave_hint(root: Path, run: str) -> None:
    """Note that a run has changed, or is gone.

    Never raises: where it cannot be written (a full disk, a file of another user) there is none.

    Args:
        root: the folder of the run folders.
        run: its id.
    """
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        fd = open_plain(root / CHANGES_NAME, flags, follow_folder=True)
        try:
            if os.fstat(fd).st_size > _MOST_BYTES:
                os.ftruncate(fd, 0)
            os.write(fd, f"{run}\n".encode())  # whole: appended in one call, and short
        finally:
            os.close(fd)


class HintReader:
    """Reads the hints that were left since it last looked.

    Args:
        root: the folder of the run folders.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / CHANGES_NAME
        self._inode, self._at = 0, 0

    def skip(self) -> None:
        """Take all hints so far as read: every folder is about to be looked at."""
        self._inode, self._at = self._state()

    def read(self) -> set[str] | None:
        """Ids of the runs that have changed; None where the file has begun anew since."""
        inode, size = self._state()
        if inode != self._inode and self._inode:
            return None
        self._inode = inode
        if size < self._at:
            return None
        if size == self._at:
            return set()
        data = b""
        with contextlib.suppress(OSError):
            fd = open_plain(self._path, os.O_RDONLY, follow_folder=True)
            try:
                data = os.pread(fd, size - self._at, self._at)
            finally:
                os.close(fd)
        end = data.rfind(b"\n") + 1  # half a line is read with its end
        self._at += end
        lines = data[:end].decode("utf-8", "replace").split("\n")
        return {line for line in lines if _is_name(line)}

    def _state(self) -> tuple[int, int]:
        with contextlib.suppress(OSError):
            found = self._path.stat()
            return found.st_ino, found.st_size
        return 0, 0


def _is_name(text: str) -> bool:
    """Whether a line can be the name of a run folder: others may write anything into the file."""
    if not text or text.startswith(".") or "/" in text:
        return False
    return text.isprintable() and len(text) <= _NAME_CHARACTERS
