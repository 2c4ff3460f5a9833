"""How many bytes the files of a run folder have: what its deletion gives back."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder, as ``du --apparent-size`` counts them.

    Not the blocks that they take: some file systems say those only seconds after a write, when the
    run has long ended. A file with several names counts once, and what a link leads to not at all;
    the folder itself may be a link. What cannot be looked at counts nothing. Never raises.

    Args:
        folder: it need not exist.
    """
    return size_of_all([folder])


def size_of_all(folders: Iterable[Path]) -> int:
    """The same of several folders; a file that has names in two of them counts once."""
    total = 0
    linked: set[tuple[int, int]] = set()  # files of several names that were counted
    waiting = [str(folder) for folder in folders]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if found.st_nlink > 1:
                place = (found.st_dev, found.st_ino)
                if place in linked:
                    continue
                linked.add(place)
            total += found.st_size
    return total
