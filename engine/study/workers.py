"""Which processes compute a study together, and which part of it each of them has.

The unit of work is a pretraining with its probes, in the order of ``grid.pretrainings``. A process
has a unit while it holds the lock ``<study>/units/NNNN.lock``, which the system drops when the
process dies, however that happens. A worker is a process beside the one that has the study; what
it does stands in a run folder of its own, ``<study>/workers/ID``: lock, heartbeat, log and requests
are those of any run, but no history lists it. Its record is that of a study whose ``parent`` is the
study that it works for. What a worker computes are ordinary runs beside the study.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.config.schema import StudyConfig
from engine.errors import RunError
from engine.files import read_plain, reason
from engine.runs import RunFolder, create, folders, own
from engine.runs.heartbeat import host_name
from engine.runs.run_lock import RunLock, lock_is_held
from engine.sink import Request

WORKERS = "workers"
UNITS = "units"
_CLAIM_SECONDS = 0.05  # ``lock_is_held`` in another process has the lock for microseconds
_HOLDER_BYTES = 1 << 12


class Holder(Struct, frozen=True):
    """The process that has a unit.

    Attributes:
        pid: its number.
        host: its machine.
        since: when it took the unit, unix seconds.
    """

    pid: int
    host: str
    since: float


class Units:
    """The claims on the units of a study.

    Args:
        study: its folder.
    """

    def __init__(self, study: RunFolder) -> None:
        self._study = study

    def _path(self, unit: int) -> Path:
        return self._study.path / UNITS / f"{unit:04d}.lock"

    @contextlib.contextmanager
    def claimed(self, unit: int) -> Iterator[bool]:
        """Has a unit within this context; False when another process has it.

        Raises:
            RunError: when the folder of the study cannot be written.
        """
        _make(self._study.path / UNITS)
        lock = RunLock(self._path(unit))
        mine = lock.acquire(_CLAIM_SECONDS)
        try:
            if mine:
                holder = Holder(os.getpid(), host_name(), time.time())
                # Only for the words of others: on a full disk the lock alone has to do.
                with contextlib.suppress(OSError):
                    data = msgspec.json.encode(holder)
                    os.pwrite(lock.fd, data, 0)
                    os.ftruncate(lock.fd, len(data))
            yield mine
        finally:
            lock.unlock()

    def held(self, unit: int) -> bool:
        """Whether some process has a unit, as far as is known."""
        return bool(lock_is_held(self._path(unit)))

    def holder(self, unit: int) -> Holder | None:
        """Who has a unit; None when nobody has, or it is not known who."""
        if not self.held(unit):
            return None
        try:
            return msgspec.json.decode(read_plain(self._path(unit), _HOLDER_BYTES), type=Holder)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None


def _make(folder: Path) -> None:
    """Makes a folder inside that of the study; one that is a link would lead out of it.

    Raises:
        RunError: when there is something else, or it cannot be made.
    """
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise RunError(f"{folder} is no folder; the workers of the study need one there.")
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {reason(error)}.") from error


def new_worker(study: RunFolder, config: StudyConfig, name: str) -> RunFolder:
    """The folder of a new worker.

    Args:
        study: what it works for.
        config: the study, with the device and the threads that the worker computes with.
        name: what it is called, for people.

    Raises:
        RunError: when it cannot be made.
    """
    root = study.path / WORKERS
    _make(root)
    return create(root, "study", config, name=name, parent=study.id)


def study_of(worker: RunFolder) -> RunFolder | None:
    """The study that a folder is a worker of; None for any other run."""
    study = worker.path.parent.parent
    if worker.path.parent.name != WORKERS:
        return None
    with contextlib.suppress(RunError):
        record = worker.record()
        if record.kind == "study" and record.parent == study.name:
            return RunFolder(study)
    return None


def workers_of(study: RunFolder) -> list[RunFolder]:
    """The workers that a study has or had."""
    root = study.path / WORKERS
    if root.is_symlink():
        return []
    with contextlib.suppress(RunError):
        return [folder for folder in folders(root) if study_of(folder) == study]
    return []


def living_workers(study: RunFolder) -> list[RunFolder]:
    """The workers of a study whose processes live."""
    return [folder for folder in workers_of(study) if folder.alive()]


def remove_ended(study: RunFolder) -> None:
    """Removes the folders of workers that have ended: of an earlier part of the study.

    The lock of the study must be held.
    """
    for folder in workers_of(study):
        # A queued one was made a moment ago by a process that is about to join.
        with contextlib.suppress(RunError):
            if not folder.alive() and folder.record().status != "queued":
                shutil.rmtree(folder.path, ignore_errors=True)


def ask_workers(study: RunFolder, kind: Request) -> list[RunFolder]:
    """Leaves a request to every living worker; returns those that were asked."""
    asked = []
    for folder in living_workers(study):
        with contextlib.suppress(RunError):  # it has ended meanwhile
            folder.request(kind)
            asked.append(folder)
    return asked


def answered(worker: RunFolder, kind: Request) -> bool:
    """Whether a worker does what it was asked for, or has ended."""
    if not worker.alive():
        return True
    with contextlib.suppress(RunError):
        if kind == "pause":
            return worker.record().status == "paused"
        if kind == "continue":
            return worker.record().status != "paused"
    return kind not in ("pause", "continue", "stop")


def worker_words(worker: RunFolder) -> str:
    """A worker and what it is at: ``worker 2 (process 71 on host: K 16, seed 0: running)``."""
    try:
        record = worker.record()
    except RunError:
        return worker.id
    at = record.stage["name"] if record.stage is not None else record.status
    return f"{record.name or worker.id} (process {record.pid} on {record.host}: {at})"


def set_workers(study: RunFolder, workers: int, devices: Sequence[str] = ()) -> None:
    """Records how many workers, or which devices, a study that was begun has from now on.

    Raises:
        RunBusyError: when another process has the study.
        RunError: when its record cannot be read or written.
    """
    with own(study) as owner:
        changed = {"workers": workers, "devices": list(devices)}
        owner.set_config({**owner.record.config, **changed})
