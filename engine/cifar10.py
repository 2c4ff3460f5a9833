"""CIFAR-10: torchvision's reader behind a download that reports its progress."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10

from engine.errors import DataError
from engine.sink import Sink, attend

_BLOCK = 1 << 16
_TIMEOUT = 20.0  # seconds without a byte


def load_cifar10(data_dir: Path, sink: Sink) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The training and the test set, downloaded first if they are not in ``data_dir``.

    Every file is checked against its md5 (by torchvision), the archive against its own.

    Returns:
        ``(images, labels)`` of train and test: uint8 ``(N, 3, 32, 32)`` and int64 ``(N,)``.

    Raises:
        DataError: without network, on a full disk, or when a file is damaged.
    """
    if not _complete(data_dir):
        archive = data_dir / CIFAR10.filename
        if not archive.exists():
            _download(archive, sink)
        sink.progress("checking CIFAR-10", 0, 1)
        if _md5(archive) != CIFAR10.tgz_md5:
            raise DataError(
                f"{archive} is damaged (its md5 is not {CIFAR10.tgz_md5}); remove it, and it is "
                "downloaded again."
            )
        _unpack(archive)
        if not _complete(data_dir):
            raise DataError(f"{archive} does not hold the files of CIFAR-10; remove it.")
        sink.progress("checking CIFAR-10", 1, 1)
    return _read(data_dir, train=True), _read(data_dir, train=False)


def _complete(data_dir: Path) -> bool:
    folder = data_dir / CIFAR10.base_folder
    lists = [*CIFAR10.train_list, *CIFAR10.test_list]
    return all((folder / name).is_file() and _md5(folder / name) == md5 for name, md5 in lists)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _read(data_dir: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    try:
        split = CIFAR10(root=data_dir, train=train, download=False)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(
            f"CIFAR-10 in {data_dir / CIFAR10.base_folder} cannot be read ({error}); remove the "
            "folder, and it is made again."
        ) from error
    images = torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(split.targets)


def _download(archive: Path, sink: Sink) -> None:
    """Fetches the archive under another name and gives it its own when it is whole."""
    temporary = ""
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".cifar10-", dir=archive.parent)
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(CIFAR10.url, timeout=_TIMEOUT) as response,
        ):
            total = int(response.headers.get("Content-Length") or 0)
            done = 0
            while block := response.read(_BLOCK):
                attend(sink)
                file.write(block)
                done += len(block)
                sink.progress("downloading CIFAR-10", done, max(total, done))
        if total and done < total:
            raise urllib.error.URLError(f"the connection ended after {done} of {total} bytes")
        Path(temporary).replace(archive)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        why = getattr(error, "reason", error)
        raise DataError(
            f"CIFAR-10 could not be downloaded ({why}); put {archive.name} into {archive.parent}, "
            "or use --data shapes, which needs no download."
        ) from error
    except OSError as error:
        raise DataError(
            f"CIFAR-10 cannot be stored in {archive.parent} ({error.strerror or error}); "
            "--data-dir names another place."
        ) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _unpack(archive: Path) -> None:
    import tarfile

    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(archive.parent, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); remove it.") from error
    except OSError as error:
        raise DataError(
            f"CIFAR-10 cannot be unpacked in {archive.parent} ({error.strerror or error}); "
            "--data-dir names another place."
        ) from error
