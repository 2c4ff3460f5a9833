"""CIFAR-10 and CIFAR-100: the md5s of torchvision, and a reader of their files.

torchvision's reader checks the md5 of a file and then opens it again to unpickle it: in a folder
that others write to, that may be another file by then, and a pickle runs code.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10

from engine.data.published_archive import unpack_files
from engine.data.published_file import PublishedFile, checked_bytes, not_downloaded, unreadable
from engine.errors import DataError
from engine.sink import Sink

_LARGEST_FILE = 1 << 28  # bytes; the largest file, of CIFAR-100, has 155 million

Splits = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images and labels of train and test: uint8 ``(N, 3, 32, 32)`` and int64 ``(N,)``."""


class CifarBatches:
    """One of the two sets.

    Args:
        kind: its class in torchvision, which names the files and their md5s.
        title: of the set.
        labels: what the labels are called in its files.
    """

    def __init__(self, kind: type[CIFAR10], title: str, labels: str) -> None:
        self._kind, self._title, self._labels = kind, title, labels

    def load(self, data_dir: Path, sink: Sink) -> Splits:
        """The training and the test set, downloaded first if they are not in ``data_dir``.

        Every file is checked against its md5, the archive against its own. A file that is missing
        or damaged is unpacked again.

        Raises:
            DataError: without network, on a full disk, or when the archive is damaged.
            Interrupted: when the sink asked to stop.
        """
        splits = self.read(data_dir)
        if splits is None:
            kind = self._kind
            archive = PublishedFile(self._title, kind.url, kind.filename, kind.tgz_md5)
            names = [name for name, _ in (*kind.train_list, *kind.test_list)]
            names.append(kind.meta["filename"])
            unpack_files(archive, kind.base_folder, names, data_dir, sink)
            splits = self.read(data_dir)
        if splits is None:
            raise DataError(
                f"{data_dir / self._kind.filename} does not hold the files of {self._title}; "
                "remove it."
            )
        return splits

    def read(self, data_dir: Path) -> Splits | None:
        """Both parts, or None when a file is missing or its md5 is wrong; never from the network.

        Raises:
            DataError: when a file is there and cannot be read.
        """
        kind, folder = self._kind, data_dir / self._kind.base_folder
        try:
            # Its md5 belongs to the set, though nothing of it is used.
            meta = folder / kind.meta["filename"]
            if checked_bytes(meta, kind.meta["md5"], _LARGEST_FILE) is None:
                return None
            train = self._split(folder, kind.train_list)
            test = self._split(folder, kind.test_list)
        except OSError as error:
            raise unreadable(self._title, folder, error) from error
        return None if train is None or test is None else (train, test)

    def sample(self, data_dir: Path, count: int) -> Tensor:
        """The first training images, uint8 (count, 3, 32, 32), of files that are there already.

        Raises:
            DataError: when they are not, or cannot be read.
        """
        splits = self.read(data_dir)
        if splits is None:
            raise not_downloaded(self._title)
        (images, _), _ = splits
        return images[:count].clone()

    def _split(self, folder: Path, files: list[list[str]]) -> tuple[Tensor, Tensor] | None:
        """Images and labels of some files, or None where one is missing or damaged.

        Raises:
            OSError: when one is there and cannot be read.
        """
        images, labels = [], []
        for name, md5 in files:
            data = checked_bytes(folder / name, md5, _LARGEST_FILE)
            if data is None:
                return None
            # Of a pickle that is known to the byte: the md5 is that of these very bytes.
            batch = pickle.loads(data, encoding="latin1")
            images.append(batch["data"].reshape(-1, 3, 32, 32))
            labels += batch[self._labels]
        return torch.from_numpy(np.concatenate(images)), torch.tensor(labels, dtype=torch.int64)
