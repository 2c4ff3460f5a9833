"""Completing the path of a folder as a shell does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from msgspec import Struct

MOST_ENTRIES = 5000
"""Entries of a folder that are looked at: there are folders with millions."""


class Completion(Struct, frozen=True):
    """What a path may go on with.

    Attributes:
        text: the path as far as all candidates have it in common, at least as typed.
        candidates: names of the folders that it may mean, sorted, each with a slash.
    """

    text: str
    candidates: tuple[str, ...] = ()


def complete(typed: str) -> Completion:
    """The folders that begin with a path.

    Args:
        typed: a path; ``~`` is the person's own folder. What is typed before its last slash stays
            as it is.
    """
    if typed in ("~", ".", ".."):
        return Completion(f"{typed}/")
    head, slash, start = typed.rpartition("/")
    try:
        folder = Path(head + slash or ".").expanduser()
        names = sorted(
            name
            for name in _folders(folder)
            if name.startswith(start) and (start or not name.startswith("."))
        )
    # no such folder or no right to look; an unknown user; a null character
    except (OSError, RuntimeError, ValueError):
        return Completion(typed)
    if not names:
        return Completion(typed)
    common = names[0] if len(names) == 1 else _common_start(names[0], names[-1])
    end = "/" if len(names) == 1 else ""
    return Completion(f"{head}{slash}{common}{end}", tuple(f"{name}/" for name in names))


def _folders(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in islice(entries, MOST_ENTRIES):
            # a name that is no text could not be typed, nor be written into a configuration
            if entry.is_dir() and entry.name.isprintable():
                yield entry.name


def _common_start(first: str, last: str) -> str:
    """What two names begin with; of sorted names the first and the last differ soonest."""
    for place, (a, b) in enumerate(zip(first, last, strict=False)):
        if a != b:
            return first[:place]
    return first[: len(last)]
