"""CIFAR-10: names and md5s of torchvision, a download that reports its progress, and a reader.

torchvision's own download draws a tqdm bar over the app, has no timeout and cannot be stopped, and
writes to the final name, so that an interrupted one leaves part of an archive behind. Its reader
checks the md5 of a file and then opens it again to unpickle it: in a folder that others write to,
that may be another file by then, and a pickle runs code.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import pickle
import secrets
import tarfile
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10

from engine.config.data.cifar10 import CLASSES
from engine.data.dataset import Dataset, Split
from engine.errors import DataError
from engine.files import open_new, open_plain, read_plain, reason, replace_file
from engine.sink import Sink, check_interrupt

_BLOCK = 1 << 16  # bytes read, hashed and written at a time; a stop is noticed once a block
_TIMEOUT = 20.0  # seconds without a byte
_LARGEST_FILE = 1 << 25  # bytes; the files of CIFAR-10 have 31 million

_Splits = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def load(_argument: str, data_dir: Path, sink: Sink) -> Dataset:
    """The data set; see ``load_cifar10``."""
    train, test = load_cifar10(data_dir, sink)
    return Dataset("cifar10", Split(*train), Split(*test), CLASSES)


def sample(_argument: str, data_dir: Path, count: int) -> Tensor:
    """The first training images, uint8 (count, 3, 32, 32), of files that are there already.

    Raises:
        DataError: when they are not, or cannot be read.
    """
    splits = read_cifar10(data_dir)
    if splits is None:
        raise DataError("CIFAR-10 is not downloaded yet; the first run on it does that.")
    (images, _), _ = splits
    return images[:count].clone()


def load_cifar10(data_dir: Path, sink: Sink) -> _Splits:
    """The training and the test set, downloaded first if they are not in ``data_dir``.

    Every file is checked against its md5, the archive against its own. A file
    that is missing or damaged is unpacked again.

    Returns:
        ``(images, labels)`` of train and test: uint8 ``(N, 3, 32, 32)`` and int64 ``(N,)``.

    Raises:
        DataError: without network, on a full disk, or when the archive is damaged.
        Interrupted: when the sink asked to stop.
    """
    splits = read_cifar10(data_dir)
    if splits is None:
        archive = data_dir / CIFAR10.filename
        try:
            there = archive.exists()
        except OSError as error:
            raise _unwritable(data_dir, error) from error
        if not there:
            _download(archive, sink)
        _unpack(archive, sink)
        splits = read_cifar10(data_dir)
    if splits is None:
        raise DataError(f"{archive} does not hold the files of CIFAR-10; remove it.")
    return splits


def read_cifar10(data_dir: Path) -> _Splits | None:
    """Both sets, or None when a file is missing or its md5 is wrong; never from the network.

    Raises:
        DataError: when a file is there and cannot be read.
    """
    folder = data_dir / CIFAR10.base_folder
    try:
        # Its md5 belongs to the set, though nothing of it is used.
        if _checked(folder, CIFAR10.meta["filename"], CIFAR10.meta["md5"]) is None:
            return None
        train, test = _split(folder, CIFAR10.train_list), _split(folder, CIFAR10.test_list)
    except OSError as error:
        raise DataError(f"CIFAR-10 in {folder} cannot be read: {reason(error)}.") from error
    return None if train is None or test is None else (train, test)


def _split(folder: Path, files: list[list[str]]) -> tuple[Tensor, Tensor] | None:
    """Images and labels of some files, or None where one is missing or damaged.

    Raises:
        OSError: when one is there and cannot be read.
    """
    images, labels = [], []
    for name, md5 in files:
        data = _checked(folder, name, md5)
        if data is None:
            return None
        # Of a pickle that is known to the byte: the md5 is that of these very bytes.
        batch = pickle.loads(data, encoding="latin1")
        images.append(batch["data"].reshape(-1, 3, 32, 32))
        labels += batch["labels"]
    return torch.from_numpy(np.concatenate(images)), torch.tensor(labels, dtype=torch.int64)


def _checked(folder: Path, name: str, md5: str) -> bytes | None:
    """The bytes of a file, or None where it is missing or its md5 is wrong.

    Raises:
        OSError: when it is there and cannot be read.
    """
    try:
        data = read_plain(folder / name, _LARGEST_FILE, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.EFBIG:
            return None
        raise
    right = hashlib.md5(data, usedforsecurity=False).hexdigest() == md5
    return data if right else None


def _download(archive: Path, sink: Sink) -> None:
    """Downloads the archive under a temporary name; renames it once its md5 was found right.

    Raises:
        DataError: without network, for other content, or when the folder cannot be written.
        Interrupted: when the sink asked to stop.
    """
    temporary: Path | None = None
    # Without usedforsecurity=False, Pythons in FIPS mode refuse md5.
    md5 = hashlib.md5(usedforsecurity=False)
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, since a rename is atomic only within a file system; a random name,
        # since two processes may download at the same time.
        part = archive.with_name(f".cifar10-{os.getpid()}-{secrets.token_hex(4)}")
        handle, temporary = open_new(part), part
        with os.fdopen(handle, "wb") as file:
            for block in _blocks(archive, sink):
                file.write(block)
                md5.update(block)
        if md5.hexdigest() != CIFAR10.tgz_md5:
            raise _unreachable(archive, "what came is not its archive")
        part.replace(archive)
    except OSError as error:
        raise _unwritable(archive.parent, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _blocks(archive: Path, sink: Sink) -> Iterator[bytes]:
    """The bytes of the download.

    A generator of its own: an OSError of the network is reported here, one of the disk by the
    caller, each with a message of its own.
    """
    try:
        with urllib.request.urlopen(CIFAR10.url, timeout=_TIMEOUT) as response:
            length = response.headers.get("Content-Length") or ""
            total = int(length) if length.isdecimal() else 0  # 0: the server does not say
            done = 0
            while block := response.read(_BLOCK):
                check_interrupt(sink)
                yield block
                done += len(block)
                sink.progress("downloading CIFAR-10", done, max(total, done))
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        raise _unreachable(archive, getattr(cause, "strerror", None) or cause) from error
    if done < total:  # read(n) raises no IncompleteRead: a cut connection looks like the end
        raise _unreachable(archive, f"the connection ended after {done} of {total} bytes")


def _unpack(archive: Path, sink: Sink) -> None:
    """Unpacks the files that torchvision reads.

    Raises:
        DataError: when the archive is damaged or the folder cannot be written.
        Interrupted: when the sink asked to stop.
    """
    sink.progress("unpacking CIFAR-10", 0, 1)
    folder = archive.parent / CIFAR10.base_folder
    names = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)]
    wanted = {f"{CIFAR10.base_folder}/{name}" for name in (*names, CIFAR10.meta["filename"])}
    try:
        # A folder that others write to may hold a pipe of this name; a link is a person's choice.
        fd = open_plain(archive, os.O_RDONLY, follow=True, follow_folder=True)
        with os.fdopen(fd, "rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            if md5.hexdigest() != CIFAR10.tgz_md5:
                raise DataError(
                    f"{archive} is damaged (its md5 is not {CIFAR10.tgz_md5}); remove it, and it "
                    "is downloaded again."
                )
            file.seek(0)
            folder.mkdir(exist_ok=True)
            # File by file in place of extractall, so that a stop is noticed in between.
            with tarfile.open(fileobj=file, mode="r:gz") as tar:
                for member in tar:
                    check_interrupt(sink)
                    source = tar.extractfile(member) if member.name in wanted else None
                    if source is not None:
                        # Whole or not at all, and never through a link that somebody left there.
                        target = folder / Path(member.name).name
                        replace_file(target, source.read(_LARGEST_FILE), follow_folder=True)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); remove it.") from error
    except OSError as error:
        raise _unwritable(archive.parent, error) from error
    sink.progress("unpacking CIFAR-10", 1, 1)


def _unreachable(archive: Path, why: object) -> DataError:
    return DataError(
        f"CIFAR-10 could not be downloaded ({why}); put {archive.name} into {archive.parent}, "
        "or use --data shapes, which needs no download."
    )


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"CIFAR-10 cannot be stored in {folder}: {reason(error)}; --data-dir names another place."
    )
