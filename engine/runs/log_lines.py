"""The end of a run's ``log.txt``, as it can be shown."""

from __future__ import annotations

import os
from pathlib import Path

from engine.files import open_plain
from engine.text import visible_line

_TAIL_BYTES = 1 << 16  # read from the end: a log may be large, a screen is not


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log without control characters; empty when it cannot be read.

    Args:
        path: of the log.
        count: lines at most.
    """
    try:
        fd = open_plain(path, os.O_RDONLY, follow_folder=True)
        with os.fdopen(fd, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read(_TAIL_BYTES)
    except OSError:
        return []
    if size > _TAIL_BYTES:  # the first line is cut, maybe within a character
        data = data.partition(b"\n")[2]
    text = data.decode("utf-8", errors="replace").rstrip("\n")
    found = [visible_line(line) for line in text.split("\n")] if text else []
    return found[-count:] if count > 0 else []
