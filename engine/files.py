"""Files that are replaced whole or not at all, and the sentences for a disk that refuses."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import unicodedata
from pathlib import Path

from engine.errors import RunError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENOENT: "it is gone",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.ESTALE: "the network file system dropped it",
    errno.EIO: "the disk reports an error",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
}

# Marks that change the direction of the text around them; they can make a name look like another.
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")


def reason(error: OSError) -> str:
    """Why the system refused, in words that follow a colon."""
    return _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())


def unwritable(path: Path, error: OSError) -> RunError:
    """The error for a file that could not be written."""
    return RunError(f"{path} cannot be written: {reason(error)}.")


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; file systems that cannot are left alone."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Some network file systems do not know fsync of a folder; their rename is what it is.
        with contextlib.suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; ``os.write`` may stop short on a disk that runs full."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path``: after a crash either the old or the new file is there.

    Temp file in the same folder, fsync, rename, fsync of the folder.

    Raises:
        OSError: the old file is untouched then, and no temp file is left behind.
    """
    temp = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temp, path)  # noqa: PTH105 - the same call, told apart from str.replace
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise
    sync_folder(path.parent)


def clean_text(text: str, limit: int = 200) -> str:
    """Text of a person in one line: no control characters, at most ``limit`` characters.

    Line ends and tabs become spaces; control characters, lone surrogates and marks that turn the
    direction of writing are dropped; everything else (brackets, emoji) stays as it was given.
    """
    spaced = "".join(" " if c in "\n\r\t\v\f\x85\u2028\u2029" else c for c in text)
    kept = (c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs") and c not in _BIDI)
    return "".join(kept).strip()[:limit].rstrip()
