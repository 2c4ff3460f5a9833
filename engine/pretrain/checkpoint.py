"""Checkpoints: from each a run continues to the same bits; none goes before the next is proven.

``save`` reads back what it wrote before that takes the place of the last checkpoint, and the last
one stays beside it (``checkpoint.previous.pt``) as long as the run is not finished. ``load_last``
is the way to go on from one, ``load`` to read one; they also bring those of earlier versions up to
date (see ``old_checkpoints``). A file is looked at whole before anything in it is unpickled (see
``checkpoint_archive``), and read with ``weights_only=True``, so it cannot run code.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import secrets
from pathlib import Path
from typing import Any, Self

import torch

from engine.errors import DamagedFileError, RunError, described
from engine.files import is_gone, open_folder, read_plain, reason, replace_file
from engine.pretrain.checkpoint_archive import (
    DamagedArchiveError,
    ForeignArchiveError,
    check_archive,
    check_members,
    holds_seal,
    seal,
)
from engine.pretrain.old_checkpoints import MIGRATIONS
from engine.runs.migrations import upgrade
from engine.text import clean_text

SCHEMA = 3

_WITH_DIGEST = 3  # the first schema of which every file has a digest
_LARGEST = 1 << 33  # bytes; that of a ResNet-50 has 0.3 GB
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def previous(path: Path) -> Path:
    """Where the checkpoint before the last one is."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save(path: Path, state: dict[str, Any]) -> None:
    """Replaces the file by one that holds ``state``; the old one becomes the previous one.

    The bytes reach the disk and are read back before the old file goes, so that whatever happens at
    any moment, the old checkpoint or the new one is whole. Where the disk is full, the previous
    checkpoint makes room.

    Args:
        path: the file.
        state: tensors, numbers, texts, and lists and dicts of these.

    Raises:
        RunError: when it cannot be written (a full disk, a folder that is gone or read-only), or
            ``state`` holds something else.
    """
    # Not torch.save to the file: it would report a full disk as a RuntimeError, not an OSError.
    buffer = io.BytesIO()
    torch.save({"schema": SCHEMA, **state}, buffer)
    try:
        check_members(buffer)
    except ForeignArchiveError as error:  # of an encoder of the user's own: it could not be loaded
        raise RunError(
            f"The checkpoint {path} cannot be written: the state of the model holds something "
            f"beside tensors, numbers, texts, lists and dicts ({error})."
        ) from error
    view = buffer.getbuffer()
    comment = seal(view)
    there = not is_gone(path)
    try:
        _replace(path, view, comment)
    except OSError as error:
        unharmed = "the one before it is unharmed" if there else "there is none before it"
        raise RunError(
            f"The checkpoint {path} cannot be written ({reason(error)}); {unharmed}."
        ) from error


def _replace(path: Path, archive: memoryview, comment: bytes) -> None:
    """Replaces the file and keeps the old one, where there is room for both.

    Raises:
        OSError: nothing has changed then, but that the previous one may be gone.
    """
    check = functools.partial(_check_written, comment=comment, path=path)
    with _SecondName(path) as old:
        try:
            replace_file(path, archive, comment, follow_folder=True, check=check)
        except OSError as error:
            if error.errno not in _NO_SPACE or not remove_previous(path):
                raise
            replace_file(path, archive, comment, follow_folder=True, check=check)
        old.keep()


def _check_written(fd: int, *, comment: bytes, path: Path) -> None:
    if not holds_seal(fd, comment):
        words = "what the disk gives back is not what was written"
        raise OSError(errno.EBADMSG, words, str(path))


class _SecondName:
    """A second name of a file, by which it stays when the first one gets another file.

    A hard link: a copy would cost as much again, and between two renames there would be no
    checkpoint. Where the file system has none, or there is no file yet, nothing is kept.

    Args:
        path: the file; its folder must exist.

    Raises:
        OSError: when the folder cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._last = previous(path).name
        self._folder = open_folder(path.parent, follow=True)
        # A name of its own until the new file is in its place: of the two checkpoints that are
        # there at any moment, none is given up for one that may turn out bad.
        self._name = f".{self._last}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        self._made = False
        with contextlib.suppress(OSError):
            folder = self._folder
            os.link(
                path.name, self._name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False
            )
            self._made = True

    def __enter__(self) -> Self:
        return self

    def keep(self) -> None:
        """Gives the old file the name of the previous one."""
        if self._made:
            with contextlib.suppress(OSError):
                os.replace(self._name, self._last, src_dir_fd=self._folder, dst_dir_fd=self._folder)
                self._made = False

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            if self._made:
                os.unlink(self._name, dir_fd=self._folder)
        os.close(self._folder)


def remove_previous(path: Path) -> bool:
    """Removes the checkpoint before the last one; False where there is none, or it stays."""
    try:
        previous(path).unlink()
    except OSError:
        return False
    return True


def exists(path: Path) -> bool:
    """Whether there is something to go on from: the last checkpoint or the one before it."""
    return not (is_gone(path) and is_gone(previous(path)))


def load_last(path: Path) -> tuple[dict[str, Any], str]:
    """The last checkpoint, or the one before it where that is damaged or gone.

    Args:
        path: the file of the last one.

    Returns:
        The state as of ``load``, and a sentence where it is not that of the last checkpoint.

    Raises:
        RunError: when neither can be used.
    """
    if is_gone(path):
        state = load(previous(path))
        return state, f"{path.name} is gone; going on from the one before it"
    try:
        return load(path), ""
    except DamagedFileError as error:
        if is_gone(previous(path)):
            raise DamagedFileError(
                f"{error} There is none before it to go on from; remove the file, and the run "
                "begins again."
            ) from error
        try:
            state = load(previous(path))
        except RunError as second:
            raise DamagedFileError(
                f"{error} The one before it, {previous(path).name}, cannot be used either; remove "
                "both, and the run begins again."
            ) from second
        return state, f"{error} Going on from the one before it."


def load(path: Path) -> dict[str, Any]:
    """Reads what ``save`` wrote, in this version or an earlier one.

    Args:
        path: the file; its folder may be a link.

    Returns:
        The state under today's names, and its ``schema``; every tensor on the CPU.

    Raises:
        DamagedFileError: when it is truncated or damaged.
        RunError: when there is no file, or it cannot be read, is none of this program, or of a
            newer version.
    """
    data = _read(path)
    try:
        sealed = check_archive(data)
        # From the bytes that were looked at: the file may be changed meanwhile.
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except DamagedArchiveError as error:
        raise DamagedFileError(
            f"The checkpoint {path} cannot be read: it is truncated or damaged."
        ) from error
    except Exception as error:  # torch's readers raise nearly anything for what others have made
        # torch's own allocator raises a RuntimeError.
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise RunError(f"The checkpoint {path} cannot be read: memory ran out.") from error
        why = "" if isinstance(error, ForeignArchiveError) else f" ({_words(error)})"
        raise RunError(f"The checkpoint {path} was not written by moco-tui{why}.") from error
    if not isinstance(state, dict) or type(state.get("schema")) is not int:
        raise RunError(f"The checkpoint {path} was not written by moco-tui.")
    if not sealed and state["schema"] == _WITH_DIGEST:
        raise DamagedFileError(f"The checkpoint {path} is damaged: its digest is missing.")
    try:
        return upgrade(state, current=SCHEMA, steps=MIGRATIONS, what=f"The checkpoint {path}")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise RunError(f"The checkpoint {path} is damaged: something is missing in it.") from error


def _words(error: Exception) -> str:
    """An error of torch in one line."""
    return clean_text(described(error).partition("\n")[0], 200)


def _read(path: Path) -> bytes:
    """The bytes of a checkpoint.

    Raises:
        RunError: when it cannot be read.
    """
    try:
        return read_plain(path, _LARGEST)
    except FileNotFoundError:
        raise RunError(f"There is no checkpoint {path}; the run never reached one.") from None
    except MemoryError as error:
        raise RunError(f"The checkpoint {path} cannot be read: memory ran out.") from error
    except OSError as error:
        raise RunError(f"The checkpoint {path} cannot be read: {reason(error)}.") from error
