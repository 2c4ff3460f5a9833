"""What was told already, so that of several processes one tells it, and once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from engine.files import open_new

_MOST = 2000  # marks; then old ones go
_OLD_SECONDS = 30 * 86_400.0  # a run that was lost longer ago is told no more (FRESH_SECONDS)


class Told:
    """Marks of what was told: empty files, whose making is the question and the answer at once.

    Args:
        folder: of the marks, beside the user's configuration; made when the first is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self, *parts: object) -> bool | None:
        """Whether this process is the one that tells something.

        Args:
            parts: what is told, of which run.

        Returns:
            True once, for the first that asks; False afterwards; None where no mark can be made.
        """
        key = hashlib.sha256("\n".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:32]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(
                open_new(self._folder / key)
            )  # one process alone can make it (open(2), O_EXCL)
        except FileExistsError:
            return False
        except OSError:
            return None
        self._forget()
        return True

    def _forget(self) -> None:
        """Take old marks away, once there are many."""
        with contextlib.suppress(OSError):
            marks = list(os.scandir(self._folder))
            if len(marks) <= _MOST:
                return
            for mark in marks:
                if time.time() - mark.stat(follow_symlinks=False).st_mtime > _OLD_SECONDS:
                    Path(mark.path).unlink()
