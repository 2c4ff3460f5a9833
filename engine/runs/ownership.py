"""Which user a run belongs to: what a program takes up by itself must be of the user it works for.

A run of another user may hold whatever that user wrote into it. It can be looked at, and it can be
named; a study does not take its numbers or go on with it unasked. Root is a user like any other.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Container, Iterable
from pathlib import Path
from typing import Protocol, TypeVar


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


_T = TypeVar("_T", bound=_HasId)


def owner_of(path: Path) -> int | None:
    """Id of the user who owns a run folder; None where that is not one user, or not known.

    Where the folder is a link, who made the link must own what it leads to.
    """
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) and os.stat(path).st_uid != found.st_uid:  # noqa: PTH116
            return None
    except OSError:
        return None
    return found.st_uid


def users_of(study: Path | None = None) -> frozenset[int]:
    """The users whose runs count for a study: this one, and the one whose study was named.

    Args:
        study: folder of the study; None where there is none yet.
    """
    named = None if study is None else owner_of(study)
    return frozenset({os.geteuid()} if named is None else {os.geteuid(), named})


def owned(entries: Iterable[_T], root: Path, users: Collection[int]) -> list[_T]:
    """Those of the runs of a folder that belong to one of some users.

    Args:
        entries: what has an ``id``, such as the entries of a history.
        root: the folder of the run folders.
        users: see ``users_of``.
    """
    return [entry for entry in entries if owner_of(root / entry.id) in users]


class OwnedIds(Container[str]):
    """``owned_ids`` of runs that are not listed: each is looked at when it is asked for.

    Args:
        root: the folder of the run folders.
        users: see ``users_of``.
    """

    def __init__(self, root: Path, users: Collection[int]) -> None:
        self._root, self._users = root, users

    def __contains__(self, run: object) -> bool:
        return isinstance(run, str) and owner_of(self._root / run) in self._users


def owned_ids(entries: Iterable[_T], root: Path, users: Collection[int]) -> frozenset[str]:
    """The ids of those runs, see ``owned``."""
    return frozenset(entry.id for entry in owned(entries, root, users))
