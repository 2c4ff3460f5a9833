"""Imagenette: ten classes of ImageNet, in the edition whose images are 160 pixels high or wide.

9,469 photographs to train on and 3,925 to test on (github.com/fastai/imagenette), unpacked beside
their archive and then read as any folder of images.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import Imagenette

from engine.config.data.imagenette import BY_FOLDER, CLASSES, PART
from engine.data import image_folder
from engine.data.dataset import Dataset, Split
from engine.data.image_decoder import decoder_name
from engine.data.published_archive import unpack_tree
from engine.data.published_file import PublishedFile, not_downloaded
from engine.errors import DataError
from engine.sink import Sink

_EDITION = "160px"
_IMAGES = 13_394


def load(_argument: str, data_dir: Path, sink: Sink, size: int = PART.image_size) -> Dataset:
    """The data set, downloaded and unpacked first if it is not in ``data_dir``.

    Raises:
        DataError: without network, on a full disk, when the archive is another one or damaged, or
            when images are missing from the folder or cannot be read.
        Interrupted: when the sink asked to stop.
    """
    root = folder(data_dir)
    if not root.exists():
        unpack_tree(_archive(), root.name, _IMAGES, data_dir, sink)
    found = image_folder.load_folder(root, data_dir, sink, size=size)
    parts = [found.train, *([] if found.test is None else [found.test])]
    count = sum(len(labels) for _, labels in parts)
    if set(found.class_names) != set(BY_FOLDER) or found.test is None or count != _IMAGES:
        broken = f"; {found.skipped[0]} cannot be read" if found.skipped else ""
        raise DataError(
            f"{root} holds {count:,} of the {_IMAGES:,} images of Imagenette{broken}; remove that "
            "folder, and it is unpacked again."
        )
    # By the names of the classes, as the labels of other sets are, not by the numbers of WordNet.
    order = torch.tensor([CLASSES.index(BY_FOLDER[name]) for name in found.class_names])
    train, test = (Split(images, order[labels]) for images, labels in (found.train, found.test))
    return Dataset(PART.name, train, test, CLASSES, decoder=decoder_name())


def sample(_argument: str, data_dir: Path, count: int, size: int = PART.image_size) -> Tensor:
    """A few training images, uint8 (n, 3, size, size), of files that are there already.

    Raises:
        DataError: when they are not, or cannot be read.
    """
    root = folder(data_dir)
    if not root.exists():
        raise not_downloaded(PART.title)
    return image_folder.sample(str(root), data_dir, count, size)


def _archive() -> PublishedFile:
    url, md5 = Imagenette._ARCHIVES[_EDITION]
    return PublishedFile(PART.title, url, url.rpartition("/")[2], md5)


def folder(data_dir: Path) -> Path:
    """Where the archive is unpacked, below the folder for data sets."""
    return data_dir / _archive().name.removesuffix(".tgz")
