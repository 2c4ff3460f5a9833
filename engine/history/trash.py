"""The trash of a runs folder: what lies there, since when, how large it is; removing it for good.

A run is removed in two steps. First its folder gets a hidden name, from which nobody lists or
restores it; then its files go. Where that is cut short (a kill, a file that is open on a network
file system), what is left is no run any more and stays hidden, and the next removal takes it along.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from pathlib import Path

from msgspec import Struct

from engine.errors import RunBusyError, RunError
from engine.files import is_gone, reason
from engine.history.entry import Entry, read_entry
from engine.runs.folder import RunFolder
from engine.runs.folder_size import size_of
from engine.runs.root import folder_names
from engine.runs.run_lock import RunLock

TRASH_NAME = ".trash"
_REMAINS = re.compile(r"\.(?P<id>.+)\.[0-9a-f]{8}\.purged")


class DeletedRun(Struct, frozen=True):
    """A run in the trash.

    Attributes:
        entry: the run.
        deleted: when it was deleted, in unix seconds.
    """

    entry: Entry
    deleted: float


class Trash:
    """The deleted runs of a runs folder.

    Args:
        root: the runs folder; neither it nor the trash in it need exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / TRASH_NAME

    def runs(self) -> list[DeletedRun]:
        """The deleted runs, the one that was deleted last first.

        Raises:
            RunError: when the trash cannot be read.
        """
        dated = []
        for name in folder_names(self.path):
            entry = read_entry(RunFolder(self.path / name))
            if entry is not None:
                with contextlib.suppress(OSError):  # removed since, or it cannot be looked at
                    dated.append(((self.path / name).lstat().st_mtime_ns, name, entry))
        dated.sort(key=lambda found: found[:2], reverse=True)
        return [DeletedRun(entry, time_ns / 1e9) for time_ns, _, entry in dated]

    def size(self, id_: str) -> int:
        """Bytes of the files of a deleted run."""
        return size_of(self.path / id_)

    def has(self, id_: str) -> bool:
        """Whether something of this name lies in the trash."""
        return not is_gone(self.path / id_)

    def remains(self, id_: str = "") -> list[Path]:
        """What removals that were cut short have left.

        Args:
            id_: of one run; empty for all.
        """
        try:
            names = sorted(os.listdir(self.path))  # noqa: PTH208 - no Path each
        except OSError:
            return []
        found = [(name, _REMAINS.fullmatch(name)) for name in names]
        return [self.path / name for name, match in found if match and id_ in ("", match["id"])]

    def put(self, folder: RunFolder) -> None:
        """Move a run here; the caller holds its lock.

        Raises:
            OSError: when it cannot be moved.
        """
        self.path.mkdir(exist_ok=True)
        folder.path.rename(self.path / folder.id)
        # The trash is ordered by this time, which a rename leaves as it was.
        _set_time(self.path / folder.id, _later_than_all(self.path, folder.id))

    def purge(self, id_: str) -> None:
        """Remove a run for good, or what an earlier removal of it has left.

        Args:
            id_: a name that leads nowhere else, see ``History.folder``.

        Raises:
            RunBusyError: when a process holds it; nothing was changed then.
            RunError: when it is not there or cannot be removed.
        """
        remains = self.remains(id_)
        if not self.has(id_) and not remains:
            raise RunError(f"There is no run {id_} in the trash of {self.root}.")
        if self.has(id_):
            remains.append(self._hide(id_))
        for path in remains:
            self.remove(path)

    def _hide(self, id_: str) -> Path:
        """Give the folder of a run its hidden name; returns it.

        Raises:
            RunError: when somebody uses it, or it is known already that its files cannot go.
        """
        path = self.path / id_
        if path.is_symlink():
            raise RunError(
                f"The run {id_} cannot be removed: {path} is a link; remove by hand what it leads "
                "to, then the link."
            )
        if (closed := _closed_folder(path)) is not None:
            raise RunError(f"The run {id_} cannot be removed: permission is denied in {closed}.")
        hidden = self.path / f".{id_}.{secrets.token_hex(4)}.purged"
        lock = RunLock(path / "lock")
        if not lock.acquire():
            raise RunBusyError(f"The run {id_} is held by a process; it was not removed.")
        try:
            with RunFolder(path).notes_lock():  # nobody restores half of it
                path.rename(hidden)
        except FileNotFoundError as error:
            raise RunError(f"There is no run {id_} in the trash of {self.root}.") from error
        except OSError as error:
            raise RunError(f"The run {id_} cannot be removed: {reason(error)}.") from error
        finally:
            lock.unlock()
        return hidden

    def remove(self, remains: Path) -> None:
        """Remove what has got its hidden name; nothing where another process has done so.

        Raises:
            RunError: when files stay; calling it again goes on.
        """
        match = _REMAINS.fullmatch(remains.name)
        assert match is not None
        try:
            shutil.rmtree(remains)
        except FileNotFoundError:
            if not is_gone(remains):  # another process removes it as well
                self.remove(remains)
        except OSError as error:
            raise RunError(
                f"The run {match['id']} is not removed whole: {reason(error)}; moco-tui trash "
                f"--empty goes on with it."
            ) from error


def _closed_folder(path: Path) -> Path | None:
    """The first folder below one, itself included, whose entries this user may not remove."""
    for folder, _, _ in os.walk(path):
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return Path(folder)
    return None


def _set_time(path: Path, now: int) -> None:
    """Set the time of a folder, never of what a link leads to.

    A group member may only touch what another one owns (utimensat(2)): the file system's clock is a
    few milliseconds coarse. Never raises: the order of the trash is worth no failure.
    """
    with contextlib.suppress(OSError):
        try:
            os.utime(path, ns=(now, now), follow_symlinks=False)
        except PermissionError:
            os.utime(path, follow_symlinks=False)


def _later_than_all(trash: Path, id_: str) -> int:
    """A time in unix nanoseconds after those of all other runs in the trash.

    The present one, unless the clock was set back since one of them was deleted. Not the kernel's
    own stamps, which have the resolution of its clock tick.
    """
    newest = 0
    with os.scandir(trash) as entries:
        for entry in entries:
            if entry.name != id_ and not entry.name.startswith("."):
                with contextlib.suppress(OSError):
                    newest = max(newest, entry.stat(follow_symlinks=False).st_mtime_ns)
    return max(time.time_ns(), newest + 1)
