"""What stands in for the process that trains apart from the app."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.errors import RunError
from engine.runs import RunFolder, own
from engine.runs.heartbeat import read_heartbeat, write_heartbeat


class Spawned:
    """Stands in for ``detached.spawn``: children that hold what they inherit, and show life.

    Attributes:
        calls: the runs of each child, by their ids, and the descriptor of its card's lock.
        children: the processes.
        on: the device of each child, by the id of its first run.
        error: is raised in place of the next child.
        dies: whether children end at once.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], int | None]] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self.on: dict[str, str] = {}
        self.error: RunError | None = None
        self.dies = False

    def __call__(
        self,
        folders: Sequence[RunFolder],
        data_dir: Path,
        *,
        lock_fds: Sequence[int],
        device_fd: int | None = None,
        other_data: Sequence[str] = (),
        device: str = "",
    ) -> subprocess.Popen[bytes]:
        if self.error is not None:
            raise self.error
        self.calls.append(([folder.id for folder in folders], device_fd))
        self.on[folders[0].id] = device
        for folder, fd in zip(folders, lock_fds, strict=True):
            assert _is_lock_of(folder, fd), "the descriptor is not that of the run's lock"
        child = subprocess.Popen(
            [sys.executable, "-c", "" if self.dies else "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=list(lock_fds),
        )
        self.children.append(child)
        if not self.dies:
            record = folders[0].heartbeat_path
            write_heartbeat(record)
            life, _ = read_heartbeat(record)
            assert life is not None
            record.write_text(record.read_text().replace(str(life.pid), str(child.pid)))
        return child

    def end(self, run: RunFolder) -> None:
        """The child of a run ends with it."""
        at = [ids[0] for ids, _ in self.calls].index(run.id)
        self.children[at].communicate(timeout=60)
        with own(run) as owner:
            owner.transition("running")
            owner.transition("finished")


def _is_lock_of(folder: RunFolder, fd: int) -> bool:
    here, there = os.fstat(fd), folder.lock_path.stat()
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
