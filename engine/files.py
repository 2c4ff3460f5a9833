"""Opening plain files only, replacing files whole or not at all, and why the system refused.

A run folder may have been prepared by somebody else: a link in it would lead a write into another
file, a pipe would wait for ever, a device would deliver without end. So nothing in one is opened
but by ``open_plain``, ``read_plain`` and ``replace_file``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
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
    errno.ENXIO: "it is no plain file",  # open of a socket, and of a pipe that nobody reads
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


def open_folder(path: Path, *, follow: bool = False) -> int:
    """Open a folder, so that what is done relative to it stays in it whatever its name becomes.

    Args:
        path: the folder.
        follow: it may be a link.

    Raises:
        OSError: when it is no folder, or a link that must not be followed.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except NotADirectoryError as error:
        # A link gives this error too (open(2)), not ELOOP.
        if not follow and path.is_symlink():
            raise _not_plain("it is a link", path) from error
        raise


@contextlib.contextmanager
def opened_folder(path: Path, *, follow: bool = False) -> Iterator[int]:
    """The descriptor of ``open_folder``, which is closed behind the block."""
    fd = open_folder(path, follow=follow)
    try:
        yield fd
    finally:
        os.close(fd)


def open_plain(
    path: Path,
    flags: int,
    *,
    follow: bool = False,
    follow_folder: bool = False,
    mode: int = 0o666,
) -> int:
    """Open a plain file, or none: no link, pipe, device or socket; never waits for another process.

    Args:
        path: the file.
        flags: of ``os.open``, without ``O_TRUNC``: what is cut must have been looked at first. A
            file that ``O_CREAT`` makes has the rights that the umask leaves.
        follow: the file may be a link to a plain file; for what a person named.
        follow_folder: the folder may be a link, as people make for runs on another disk.
        mode: the most rights of a file that ``O_CREAT`` makes.

    Raises:
        OSError: when the system refuses, or it is no plain file, or it has a second name (a hard
            link) and was to be written: that would change a file elsewhere.
    """
    if flags & os.O_TRUNC:
        raise ValueError("O_TRUNC cuts a file before anyone has looked at it")
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    if not follow:
        flags |= os.O_NOFOLLOW
    with opened_folder(path.parent, follow=follow_folder) as folder:
        try:
            fd = os.open(path.name, flags, mode, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP and not follow:
                raise _not_plain("it is a link", path) from error
            raise
    try:
        _check_plain(os.fstat(fd), path, writes=bool(flags & (os.O_WRONLY | os.O_RDWR)))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_plain(found: os.stat_result, path: Path, *, writes: bool) -> None:
    """Refuse what is no plain file.

    Raises:
        OSError: with a ``strerror`` that ``reason`` takes over.
    """
    if stat.S_ISLNK(found.st_mode):
        raise _not_plain("it is a link", path)
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISFIFO(found.st_mode):
        raise _not_plain("it is a pipe and no plain file", path)
    if not stat.S_ISREG(found.st_mode):
        raise _not_plain("it is a device or socket and no plain file", path)
    if writes and found.st_nlink > 1:
        raise _not_plain("it is a hard link, and its other name would change", path)


def _not_plain(words: str, path: Path) -> OSError:
    # An errno that ``reason`` has no words for: it takes over the text.
    return OSError(errno.ENODEV, words, str(path))


def read_plain(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The bytes of a plain file of bounded size.

    Args:
        path: the file; its folder may be a link.
        limit: bytes that such a file may have.
        follow: the file itself may be a link to a plain file.

    Raises:
        OSError: when it cannot be read, is no plain file or has more bytes than ``limit``.
    """
    fd = open_plain(path, os.O_RDONLY, follow=follow, follow_folder=True)
    with os.fdopen(fd, "rb") as file:
        size = os.fstat(fd).st_size
        if size > limit:
            words = f"it has {size:,} bytes, more than the {limit:,} that such a file may have"
            raise OSError(errno.EFBIG, words, str(path))
        return file.read(size)  # and not to its end: it may grow meanwhile


def open_new(path: Path) -> int:
    """Open a file for writing that must not exist; its rights are those that the umask leaves.

    ``tempfile.mkstemp`` would make it the user's alone, and a rename keeps that.

    Raises:
        OSError: when it exists or cannot be made.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def replace_file(
    path: Path,
    *parts: bytes | memoryview | Iterator[bytes],
    durable: bool = True,
    follow_folder: bool = False,
    check: Callable[[int], None] | None = None,
) -> None:
    """Replace a file whole: after a crash either the old or the new one is there.

    Written under another name in the same folder, forced to the disk, renamed. The new file has the
    rights that the umask leaves, as any other file that a program makes.

    Args:
        path: the file; it need not exist, its folder must.
        parts: what the file shall hold, one after the other; a part of gigabytes is not copied,
            and an iterator is asked for one piece after the other.
        durable: wait until the disk has the file and its name. Without it a power cut, but no
            killed process, may leave an incomplete file: for what can be checked and made again.
        follow_folder: the folder may be a link.
        check: called with a descriptor of the new file, when that is written and has not got its
            name yet; raises an OSError where it is not what was written.

    Raises:
        OSError: the old file is untouched then, and no other file is left behind; also when what
            stands there is no plain file, which a rename would destroy.
    """
    # In the same folder, since a rename is atomic only within a file system; with a dot before it,
    # since those who list runs skip such names; with a random part, since threads share the pid.
    temp = f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    with opened_folder(path.parent, follow=follow_folder) as folder:
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            _check_plain(found, path, writes=False)
        # O_EXCL follows no link (open(2)).
        access = os.O_WRONLY if check is None else os.O_RDWR
        fd = os.open(temp, access | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
        try:
            try:
                for part in parts:
                    for piece in part if isinstance(part, Iterator) else (part,):
                        write_all(fd, piece)
                if durable:
                    os.fsync(fd)  # before the rename: else the new name may outlive a crash, empty
                if check is not None:
                    check(fd)
            finally:
                os.close(fd)
            os.replace(temp, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:  # a KeyboardInterrupt, too, must leave no file behind
            with contextlib.suppress(OSError):
                os.unlink(temp, dir_fd=folder)
            raise
        if durable:
            # fsync of a file does not cover its name (fsync(2)). Some network file systems refuse
            # it of a folder; all they offer is the rename.
            with contextlib.suppress(OSError):
                os.fsync(folder)
