"""A file that a data set is published as: downloaded with its progress, and checked by its md5.

torchvision's own download draws a tqdm bar over the app, has no timeout and cannot be stopped, and
writes to the final name, so that an interrupted one leaves part of a file behind.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import secrets
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from torchvision.datasets import CIFAR10, CIFAR100, STL10, SVHN, Imagenette

from engine.errors import DataError
from engine.files import open_new, open_plain, read_plain, reason
from engine.sink import Sink, check_interrupt

_BLOCK = 1 << 16  # bytes read, hashed and written at a time; a stop is noticed once a block
_TIMEOUT = 20.0  # seconds without a byte
_HASHED = 1 << 22  # bytes hashed between two looks at whether to stop


@dataclass(frozen=True)
class PublishedFile:
    """A file as its authors have published it.

    Attributes:
        title: of the data set.
        url: where it is.
        name: in the folder for data sets.
        md5: of its bytes.
    """

    title: str
    url: str
    name: str
    md5: str


def fetch(file: PublishedFile, data_dir: Path, sink: Sink) -> Path:
    """The place of the file, downloaded first if it is not in ``data_dir``; it is not checked.

    Raises:
        DataError: without network, on a full disk, or where something else comes.
        Interrupted: when the sink asked to stop.
    """
    path = data_dir / file.name
    try:
        there = path.exists()
    except OSError as error:
        raise unwritable(file.title, data_dir, error) from error
    if not there:
        _download(file, path, sink)
    return path


def open_published(path: Path) -> BinaryIO:
    """The file, open for reading.

    Raises:
        OSError: when it cannot be read, or is no plain file.
    """
    # A folder that others write to may hold a pipe of this name; a link is a person's choice.
    return os.fdopen(open_plain(path, os.O_RDONLY, follow=True, follow_folder=True), "rb")


def check_content(file: PublishedFile, path: Path, opened: BinaryIO, sink: Sink) -> None:
    """Refuses a file whose md5 is another one; it is read from its first byte again afterwards.

    Raises:
        DataError: one sentence with what it is, where that is known.
        OSError: when it cannot be read.
        Interrupted: when the sink asked to stop.
    """
    found = md5_of(opened, sink)
    if found != file.md5:
        raise wrong_content(file, path, found)
    opened.seek(0)


def wrong_content(file: PublishedFile, path: Path, md5: str) -> DataError:
    """The error for a file of another content.

    Args:
        file: what it should be.
        path: where it is.
        md5: what was found.
    """
    other = _published().get(md5)
    if other is not None:
        return DataError(
            f"{path} is {other}, and no file of {file.title} of this name; give it its own name, "
            f"and {file.title} is downloaded."
        )
    return DataError(
        f"{path} is damaged (its md5 is not {file.md5}); remove it, and it is downloaded again."
    )


def _published() -> dict[str, str]:
    """What each file of a known set is, by its md5."""
    archives = {CIFAR10: "CIFAR-10", CIFAR100: "CIFAR-100", STL10: "STL-10"}
    found = {kind.tgz_md5: f"the archive of {title}" for kind, title in archives.items()}
    found |= {md5: f"{name} of SVHN" for _, name, md5 in SVHN.split_list.values()}
    for size, (_, md5) in Imagenette._ARCHIVES.items():
        found[md5] = f"the archive of Imagenette ({size})"
    return found


def md5_of(opened: BinaryIO, sink: Sink) -> str:
    """32 hexadecimal digits over what is left of a file.

    Raises:
        OSError: when it cannot be read.
        Interrupted: when the sink asked to stop.
    """
    # Without usedforsecurity=False, Pythons in FIPS mode refuse md5.
    md5 = hashlib.md5(usedforsecurity=False)
    while block := opened.read(_HASHED):
        check_interrupt(sink)
        md5.update(block)
    return md5.hexdigest()


def checked_bytes(path: Path, md5: str, largest: int) -> bytes | None:
    """The bytes of a file, or None where it is missing or its md5 is wrong.

    Args:
        path: the file.
        md5: of its bytes.
        largest: how many it has at most.

    Raises:
        OSError: when it is there and cannot be read.
    """
    try:
        data = read_plain(path, largest, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.EFBIG:
            return None
        raise
    right = hashlib.md5(data, usedforsecurity=False).hexdigest() == md5
    return data if right else None


def _download(file: PublishedFile, path: Path, sink: Sink) -> None:
    """Downloads the file under a temporary name; renames it once its md5 was found right.

    Raises:
        DataError: without network, for other content, or when the folder cannot be written.
        Interrupted: when the sink asked to stop.
    """
    temporary: Path | None = None
    md5 = hashlib.md5(usedforsecurity=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, since a rename is atomic only within a file system; a random name,
        # since two processes may download at the same time.
        part = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
        handle, temporary = open_new(part), part
        with os.fdopen(handle, "wb") as out:
            for block in _blocks(file, path, sink):
                out.write(block)
                md5.update(block)
        if md5.hexdigest() != file.md5:
            raise _unreachable(file, path, f"what came is not {file.name}")
        part.replace(path)
    except OSError as error:
        raise unwritable(file.title, path.parent, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _blocks(file: PublishedFile, path: Path, sink: Sink) -> Iterator[bytes]:
    """The bytes of the download.

    A generator of its own: an OSError of the network is reported here, one of the disk by the
    caller, each with a message of its own.
    """
    stage = f"downloading {file.title}"
    try:
        with urllib.request.urlopen(file.url, timeout=_TIMEOUT) as response:
            length = response.headers.get("Content-Length") or ""
            total = int(length) if length.isdecimal() else 0  # 0: the server does not say
            done = 0
            while block := response.read(_BLOCK):
                check_interrupt(sink)
                yield block
                done += len(block)
                sink.progress(stage, done, max(total, done))
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        raise _unreachable(file, path, getattr(cause, "strerror", None) or cause) from error
    if done < total:  # read(n) raises no IncompleteRead: a cut connection looks like the end
        raise _unreachable(file, path, f"the connection ended after {done} of {total} bytes")


def _unreachable(file: PublishedFile, path: Path, why: object) -> DataError:
    return DataError(
        f"{file.title} could not be downloaded ({why}); put {path.name} into {path.parent}, "
        "or use --data shapes, which needs no download."
    )


def unwritable(title: str, folder: Path, error: OSError) -> DataError:
    """The error for a set that the folder for data sets does not take."""
    return DataError(
        f"{title} cannot be stored in {folder}: {reason(error)}; --data-dir names another place."
    )


def unreadable(title: str, place: Path, error: OSError) -> DataError:
    """The error for files of a set that are there and cannot be read."""
    return DataError(f"{title} in {place} cannot be read: {reason(error)}.")


def not_downloaded(title: str) -> DataError:
    """The error of a preview, which downloads nothing."""
    return DataError(f"{title} is not downloaded yet; the first run on it does that.")
