"""One lock for each device of a machine: two trainers share a card only when they are told to.

A run whose device is taken waits for it, says so in its log and as its stage, and can be stopped
or handed over meanwhile. The CPU is not locked: its cores are shared by the system. A trainer that
hands its run over passes the descriptor of the lock on to the next process, so that no waiting run
gets the device in between. ``MOCO_TUI_SHARE_DEVICE=1`` lets a trainer share a card with others.

The lock is an flock: it belongs to the open file, so a child can inherit it, and the kernel drops
it when the last process that holds the file ends, however that happens.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from engine.files import open_plain, reason
from engine.runs.device_holder import lock_path
from engine.runs.file_lock import is_same_file, took_lock
from engine.sink import Sink, check_interrupt

POLL_SECONDS = 0.2  # a blocking flock could not be interrupted by a request to stop


def device_key(device: torch.device) -> str:
    """A name for the device that is the same in every process of this machine.

    ``cuda:0`` means different cards under different ``CUDA_VISIBLE_DEVICES``: the card's (or its
    slice's) UUID does not. Empty for a device that is not locked.
    """
    if device.type == "cpu":
        return ""
    if device.type == "cuda":
        return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
    return device.type


class DeviceLock:
    """The lock of the device that a run computes on.

    Args:
        fd: descriptor inherited from the process that hands the run over, or None.

    Attributes:
        fd: descriptor of the lock, to be passed on; None while there is none.
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd: int | None = fd

    def acquire(self, key: str, *, name: str, holder: str, sink: Sink) -> None:
        """Take the lock, however long that takes.

        Where no lock file can be made, or ``MOCO_TUI_SHARE_DEVICE`` is set, the run goes on
        without, with a line in its log.

        Args:
            key: from ``device_key``; empty takes no lock.
            name: the device for people.
            holder: who to name to others that wait.
            sink: receives the wait as a line and a stage, and is asked for requests meanwhile.

        Raises:
            Interrupted: the run is to stop or to be handed over.
        """
        inherited, self.fd = self.fd, None
        if not key or os.environ.get("MOCO_TUI_SHARE_DEVICE", "0") not in ("", "0"):
            _close(inherited)
            return
        path = lock_path(key)
        try:
            if inherited is not None and _is_same_file(inherited, path) and took_lock(inherited):
                # Children that are started later must not hold the lock by accident.
                os.set_inheritable(inherited, False)
                self.fd, inherited = inherited, None
            else:
                self._wait(path, name, sink)
        except OSError as error:
            sink.log(f"no lock for {name} ({path}: {reason(error)}); going on without it")
        finally:
            _close(inherited)
        if self.fd is not None:
            # Only for the message of others that wait; the file may be read-only for this user.
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, 0)
                os.pwrite(self.fd, holder.encode(errors="replace"), 0)

    def take_first(self, keys: Sequence[str]) -> str:
        """Takes the first lock that is free, without waiting; ``acquire`` goes on with it.

        The one that was inherited goes before the others: its device is that of the run so far.

        Args:
            keys: of the devices, the best first.

        Returns:
            The key of the lock that is held now; empty where none is free, or none is wanted.
        """
        if os.environ.get("MOCO_TUI_SHARE_DEVICE", "0") not in ("", "0"):
            return ""
        if self.fd is not None:
            return next((key for key in keys if _is_same_file(self.fd, lock_path(key))), "")
        for key in keys:
            path = lock_path(key)
            with contextlib.suppress(OSError):  # ``acquire`` says what is wrong
                fd = _open(path)
                try:
                    if took_lock(fd) and _is_same_file(fd, path):
                        self.fd, fd = fd, -1
                        return key
                finally:
                    _close(fd)
        return ""

    def _wait(self, path: Path, name: str, sink: Sink) -> None:
        """Opens and locks the file, again and again until that succeeds.

        Raises:
            Interrupted: the run is to stop or to be handed over.
            OSError: when the file cannot be opened or locked.
        """
        stage = f"waiting for {name}"
        waited = False
        while True:
            fd = _open(path)  # each time: the file may have been removed and made again
            try:
                # The check comes after the lock: between _open and _try_lock a cleaner may have
                # removed the file, and a lock on a removed file keeps nobody out.
                if took_lock(fd) and _is_same_file(fd, path):
                    self.fd, fd = fd, -1  # -1: _close leaves it open
                    break
                holder = os.pread(fd, 200, 0).decode(errors="replace") if not waited else ""
            finally:
                _close(fd)
            if not waited:
                waited = True
                # Any user can write to the file: no control characters of it reach the terminal.
                clean = "".join(c for c in holder if c.isprintable()) or "another trainer"
                sink.log(
                    f"{name} is used by {clean}; waiting until it is free "
                    "(MOCO_TUI_SHARE_DEVICE=1 would share it)"
                )
                sink.progress(stage, 0, 1)
            check_interrupt(sink)
            time.sleep(POLL_SECONDS)
        if waited:
            sink.progress(stage, 1, 1)

    def touch(self) -> None:
        """Show the file as in use: cleaners of ``/tmp`` remove what is old."""
        if self.fd is not None:
            with contextlib.suppress(OSError):
                os.utime(self.fd)

    def close(self) -> None:
        """Close this process's descriptor; a child that inherited the lock keeps it."""
        _close(self.fd)
        self.fd = None


def _open(path: Path) -> int:
    """The lock file, made when it is missing, with rights for everybody.

    Raises:
        OSError: when it cannot be opened or is no plain file.
    """
    while True:
        # In a sticky folder the kernel may refuse O_CREAT for a file of another user
        # (fs.protected_regular), so an existing file is opened without it. A plain file only: in
        # /tmp another user could have put a link there, a hard link to a file of this one, a pipe.
        for mode in (os.O_RDWR, os.O_RDONLY):
            try:
                return open_plain(path, mode, follow_folder=True)
            except FileNotFoundError:
                break
            except PermissionError:
                if mode == os.O_RDONLY:
                    raise
        try:
            fd = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, follow_folder=True)
        except FileExistsError:
            continue
        with contextlib.suppress(OSError):
            os.fchmod(fd, 0o666)  # the umask has taken rights away from other users
        return fd


def _is_same_file(fd: int, path: Path) -> bool:
    """Whether the open file still is the one of this name: a cleaner may have removed it."""
    with contextlib.suppress(OSError):
        return is_same_file(fd, path)
    return False


def _close(fd: int | None) -> None:
    if fd is not None and fd >= 0:
        with contextlib.suppress(OSError):
            os.close(fd)
