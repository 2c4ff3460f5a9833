"""Starts detached trainers: processes in sessions of their own, which outlive who starts them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from engine.config import own_code
from engine.errors import RunBusyError, RunError
from engine.files import open_plain, reason
from engine.runs import RunFolder, command_line
from engine.runs.heartbeat import read_heartbeat, write_heartbeat
from engine.runs.run_lock import RunLock, Successor
from moco_tui.user import user_file

LIFE_SECONDS = 10.0
"""How long a starter waits for the first heartbeat of a detached trainer, which is written before
torch is imported."""

_POLL_SECONDS = 0.05


def spawn(
    folders: Sequence[RunFolder],
    data_dir: Path,
    *,
    lock_fds: Sequence[int],
    device_fd: int | None = None,
    other_data: Sequence[str] = (),
    device: str = "",
    devices: str = "",
) -> subprocess.Popen[bytes]:
    """Starts a process that trains runs one after the other.

    It has no terminal, reads nothing, and writes what it prints into the log of the run. The
    process inherits the descriptors; the caller closes its own.

    Args:
        folders: the runs, at least one, in order.
        data_dir: where data sets and their caches live.
        lock_fds: for every run the descriptor of its lock, held. A ``flock`` belongs to the open
            file, not to the process (flock(2)), so no lock is free between the two processes.
        device_fd: descriptor of the lock of the device that the first run computes on; None: the
            process takes that lock itself.
        other_data: ids of runs that may go on with other images or labels.
        device: see ``engine.jobs.execute.execute``.
        devices: of several ranks that compute the run together, as ``--devices`` takes them; empty
            for one process.

    Raises:
        RunError: when the process cannot be started.
    """
    command = child_command("_train", "--data-dir", str(data_dir))
    for folder, fd in zip(folders, lock_fds, strict=True):
        command += ["--lock-fd", str(fd), str(folder.path)]
    for run in other_data:
        command += ["--other-data", run]
    if device:
        command += ["--on", device]
    if devices:
        command += ["--devices", devices]
    passed = list(lock_fds)
    if device_fd is not None:
        command += ["--device-fd", str(device_fd)]
        passed.append(device_fd)
    try:
        with _open_log(folders[0].log_path) as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # no controlling terminal: no SIGHUP when that closes
                pass_fds=passed,
                cwd=os.sep,  # else it would keep a file system from being unmounted (daemon(7))
                env=child_environment(),
            )
    except OSError as error:
        raise RunError(
            f"A detached process for run {folders[0].id} could not be started: {reason(error)}."
        ) from error


def _open_log(path: Path) -> BinaryIO:
    """A log to append to, which no link may lead out of the run's folder.

    Raises:
        OSError: as of ``open_plain``.
    """
    return os.fdopen(open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


def _start_folder() -> list[str]:
    """The folder that ``python -m`` has put before all others, absolute; else nothing."""
    started = getattr(sys.modules.get("__main__"), "__spec__", None)
    if started is None or sys.flags.safe_path or not sys.path:
        return []
    return [str(Path(sys.path[0]).absolute())]


def child_command(*words: str, module: str = "moco_tui") -> list[str]:
    """What starts a process of this program; ``child_environment`` says where its modules are.

    Without ``-P``, ``-m`` would look for them in the working folder first, which may hold a package
    ``engine`` of another project, or anything else.
    """
    return [sys.executable, "-P", "-m", module, *words]


def child_environment() -> dict[str, str]:
    """The environment of a detached trainer, which starts in another folder than this process.

    Relative entries of PYTHONPATH are made absolute, and the folder of these packages is added: a
    checkout that is not installed is found through the working folder alone. Where this process was
    started with ``-m``, it finds modules in the folder where it was started, and so does the
    trainer, but after these packages. The code that a person has named in this process may run in
    the trainer too (``own_code``), its runs record the command that was typed, and the user's
    configuration is the same.
    """
    packages = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [packages, *(str(Path(entry).absolute()) for entry in known if entry), *_start_folder()]
    return {
        **os.environ,
        **own_code.environment(),
        **command_line.environment(),
        **user_file.environment(),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
    }


def accept_signals() -> None:
    """Unblocks all signals: a child inherits the mask of the app, see ``signals.Guard``."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def write_first_heartbeat(folder: RunFolder) -> None:
    """Says that a detached trainer has started, seconds before torch is imported."""
    # A folder that cannot be written is reported in a sentence by ``engine.runs.own``, soon after.
    with contextlib.suppress(OSError):
        write_heartbeat(folder.heartbeat_path)


def took_over(process: subprocess.Popen[bytes], folder: RunFolder) -> bool:
    """Waits until a process that was started for a run has begun, or has ended.

    Returns:
        True once the process has written the run's heartbeat or record, or when it still lives
        after ``LIFE_SECONDS``; False when it ended without.
    """
    deadline = time.monotonic() + LIFE_SECONDS
    while True:
        # Before the files are read: one that wrote them and ended right after has begun.
        ended = process.poll() is not None
        life, _ = read_heartbeat(folder.heartbeat_path)
        if life is not None and life.pid == process.pid:
            return True
        # On a full disk the heartbeat names no process (see write_heartbeat); the record may.
        with contextlib.suppress(RunError):
            if folder.record().pid == process.pid:
                return True
        if ended:
            return False
        if time.monotonic() >= deadline:
            return True  # a slow machine: it holds the lock, and begins when it comes to it
        time.sleep(_POLL_SECONDS)


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Takes the exit status of a child in a thread, so that it does not stay as a zombie."""
    threading.Thread(target=process.wait, name=f"reaper-{process.pid}", daemon=True).start()


def lock(folder: RunFolder) -> RunLock:
    """Takes the lock of a run that waits for its turn, or whose lock a child will inherit.

    Raises:
        RunBusyError: when another process has it.
        RunError: when the folder cannot be written.
    """
    held = folder.take_lock()
    if held is None:
        raise RunBusyError(
            f"Run {folder.id} is being trained by another process, or waits for its turn there."
        )
    return held


def start(
    *folders: RunFolder, data_dir: Path, other_data: Sequence[str] = (), devices: str = ""
) -> subprocess.Popen[bytes]:
    """Trains (or resumes) runs in a process of their own, one after the other.

    For the arguments see ``spawn``.

    Raises:
        RunBusyError: when another process has one of them.
        RunError: when the process cannot be started.
    """
    # The stack closes this process's descriptors in any case; the child keeps its copies, and
    # where none was started the locks are free again.
    with contextlib.ExitStack() as held:
        fds = []
        for folder in folders:
            fds.append(lock(folder).fd)
            held.callback(os.close, fds[-1])
        return spawn(folders, data_dir, lock_fds=fds, other_data=other_data, devices=devices)


def successor(
    folder: RunFolder,
    data_dir: Path,
    *,
    begun: Callable[[int], None] | None = None,
    waiting: Sequence[tuple[RunFolder, int]] = (),
    other_data: Sequence[str] = (),
) -> Successor:
    """What ``engine.jobs.execute`` calls to start a detached process that goes on with a run.

    Args:
        folder: the run.
        data_dir: where data sets and their caches live.
        begun: called with the pid of that process once it has taken the run over.
        waiting: runs that follow it, with the descriptors of their locks; looked at when the
            process is started, so the list may still change until then.
        other_data: see ``spawn``.
    """

    def take_over(lock_fd: int, device_fd: int | None) -> bool:
        process = spawn(
            [folder, *(other for other, _ in waiting)],
            data_dir,
            lock_fds=[lock_fd, *(fd for _, fd in waiting)],
            device_fd=device_fd,
            other_data=other_data,
        )
        if not took_over(process, folder):
            return False
        _reap(process)
        if begun is not None:
            begun(process.pid)
        return True

    return take_over


def redirect_output(log: Path) -> None:
    """Sends all that this process prints from now on into a log."""
    with contextlib.suppress(OSError), _open_log(log) as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # what was printed before belongs to the log before
            os.dup2(file.fileno(), stream.fileno())
