"""STL-10: 105,000 training images, of which 5,000 have labels, and 8,000 test images.

All training images are pretrained on, the unlabelled ones behind the others; whatever takes labels
looks at the 5,000 alone (Coates, Lee, Ng, AISTATS 2011).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from torch import Tensor
from torchvision.datasets import STL10

from engine.config.data.stl10 import PART
from engine.data.dataset import Dataset
from engine.data.published_archive import unpack_files
from engine.data.published_file import (
    PublishedFile,
    md5_of,
    not_downloaded,
    open_published,
    unreadable,
)
from engine.data.resizing import resized_images
from engine.data.streamed_set import ColumnImages, LabelledImages, Parts, load_streamed
from engine.errors import DataError
from engine.sink import NullSink, Sink

_SIZE = PART.image_size
_OF_IMAGE = 3 * _SIZE * _SIZE


def load(_argument: str, data_dir: Path, sink: Sink, size: int = _SIZE) -> Dataset:
    """The data set, downloaded first if it is not in ``data_dir``.

    Every file is checked against its md5, the archive against its own; a file that is missing or
    damaged is unpacked again.

    Raises:
        DataError: without network, on a full disk, or when the archive is another one or damaged.
        Interrupted: when the sink asked to stop.
    """
    key = " ".join(md5 for _, md5 in _files())
    return load_streamed(PART, lambda: _parts(data_dir, sink), key, size, data_dir, sink)


def sample(_argument: str, data_dir: Path, count: int, size: int = _SIZE) -> Tensor:
    """The first training images, uint8 (count, 3, size, size), of files that are there already.

    Raises:
        DataError: when they are not, or cannot be read.
    """
    path = data_dir / STL10.base_folder / STL10.train_list[0][0]
    try:
        with ExitStack() as stack:
            file = _checked(path, STL10.train_list[0][1], stack, NullSink())
            if file is None:
                raise not_downloaded(PART.title)
            first = next(ColumnImages(count, _SIZE, file.read).blocks())
    except (OSError, EOFError) as error:
        raise DataError(f"{PART.title} in {path.parent} cannot be read: {error}.") from error
    return resized_images(first, size)


def _files() -> list[list[str]]:
    """Name and md5 of each file: images and labels to train on, unlabelled images; the test set."""
    return [*STL10.train_list, *STL10.test_list]


@contextmanager
def _parts(data_dir: Path, sink: Sink) -> Iterator[Parts]:
    """The three parts of the set, open.

    Raises:
        DataError: see ``load``.
    """
    folder = data_dir / STL10.base_folder
    with ExitStack() as stack:
        opened = _opened(folder, stack, sink)
        if opened is None:
            archive = PublishedFile(PART.title, STL10.url, STL10.filename, STL10.tgz_md5)
            names = [name for name, _ in _files()]
            unpack_files(archive, STL10.base_folder, names, data_dir, sink)
            opened = _opened(folder, stack, sink)
        if opened is None:
            raise DataError(
                f"{data_dir / STL10.filename} does not hold the files of {PART.title}; remove it."
            )
        images, labels, unlabelled, test_images, test_labels = opened
        try:
            yield (
                (_labelled(images, labels), _without_labels(unlabelled)),
                (_labelled(test_images, test_labels),),
            )
        except (OSError, EOFError) as error:
            reason = error if isinstance(error, OSError) else OSError(str(error))
            raise unreadable(PART.title, folder, reason) from error


def _opened(folder: Path, stack: ExitStack, sink: Sink) -> list[BinaryIO] | None:
    """All files, or None where one is missing or its md5 is wrong.

    Raises:
        DataError: when one is there and cannot be read.
    """
    found = []
    for number, (name, md5) in enumerate(_files()):
        sink.progress(f"checking {PART.title}", number, len(_files()))
        try:
            file = _checked(folder / name, md5, stack, sink)
        except OSError as error:
            raise unreadable(PART.title, folder, error) from error
        if file is None:
            return None
        found.append(file)
    return found


def _checked(path: Path, md5: str, stack: ExitStack, sink: Sink) -> BinaryIO | None:
    """A file at its beginning, or None where it is missing or its md5 is wrong.

    Raises:
        OSError: when it is there and cannot be read.
    """
    try:
        file = stack.enter_context(open_published(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if md5_of(file, sink) != md5:
        return None
    file.seek(0)
    return file


def _labelled(images: BinaryIO, labels: BinaryIO) -> LabelledImages:
    known = np.frombuffer(labels.read(), dtype=np.uint8).astype(np.int64) - 1  # in the file 1 to 10
    return LabelledImages(ColumnImages(len(known), _SIZE, images.read), known)


def _without_labels(images: BinaryIO) -> LabelledImages:
    count = images.seek(0, 2) // _OF_IMAGE
    images.seek(0)
    return LabelledImages(
        ColumnImages(count, _SIZE, images.read), np.full(count, -1, dtype=np.int64)
    )
