"""Replacing files whole or not at all, and sentences for the errors of the file system."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from engine.errors import RunError

# The words of strerror ("No space left on device") are for programmers; these finish a sentence.
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENOENT: "it is gone",  # nearly always: a run folder removed under a running program
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.ESTALE: "the network file system dropped it",
    errno.EISDIR: "a folder stands where a file should be",
    errno.ELOOP: "it is a link that leads back to itself",
    errno.EIO: "the disk reports an error",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
}


def reason(error: OSError) -> str:
    """Why the system refused, in words that follow a colon; an unknown errno keeps its strerror."""
    return _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())


def unwritable(path: Path, error: OSError) -> RunError:
    """The error for a file that could not be written."""
    return RunError(f"{path} cannot be written: {reason(error)}.")


def is_gone(path: Path) -> bool:
    """True when nothing has this name; False where that cannot be found out.

    ``Path.exists`` raises in a folder that one may not look into, and calls a link to nothing gone.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def is_folder(path: Path) -> bool:
    """True when there is a folder of this name; False, too, where that cannot be found out."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable: fsync of a file does not cover its name (fsync(2)).

    Raises:
        OSError: when the folder cannot be opened. An fsync that is refused is no error.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Some network file systems refuse fsync of a folder; all they offer is the rename.
        with contextlib.suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; ``os.write`` may stop short on a disk that runs full.

    Args:
        fd: descriptor, open for writing.
        data: bytes, or a contiguous view of single bytes (format ``B``).

    Raises:
        OSError: from the write that took no byte; what came before it is in the file.
    """
    view = memoryview(data)  # a slice of bytes would copy the rest at every turn
    while view:
        view = view[os.write(fd, view) :]


def open_new(path: Path) -> int:
    """Open a file for writing that must not exist; its rights are those that the umask leaves.

    ``tempfile.mkstemp`` would make it the user's alone, and a rename keeps that.

    Raises:
        OSError: when it exists or cannot be made.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def replace_file(path: Path, *parts: bytes | memoryview, durable: bool = True) -> None:
    """Replace a file whole: after a crash either the old or the new one is there.

    Written under another name in the same folder, forced to the disk, renamed. The new file has the
    rights that the umask leaves, as any other file that a program makes.

    Args:
        path: the file; it need not exist, its folder must.
        parts: what the file shall hold, one after the other; a part of gigabytes is not copied.
        durable: wait until the disk has the file and its name. Without it a power cut, but no
            killed process, may leave an incomplete file: for what can be checked and made again.

    Raises:
        OSError: the old file is untouched then, and no other file is left behind.
    """
    # In the same folder, since a rename is atomic only within a file system; with a dot before it,
    # since those who list runs skip such names; with a random part, since threads share the pid.
    temp = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    fd = open_new(temp)
    try:
        try:
            for part in parts:
                write_all(fd, part)
            if durable:
                os.fsync(fd)  # before the rename: else the new name may outlive a crash, empty
        finally:
            os.close(fd)
        os.replace(temp, path)  # noqa: PTH105 - the same call, told apart from str.replace
    except BaseException:  # a KeyboardInterrupt, too, must leave no file behind
        with contextlib.suppress(OSError):
            temp.unlink()
        raise
    if durable:
        sync_folder(path.parent)
