"""SVHN: 73,257 digits to train on and 26,032 to test on (Netzer et al., 2011), 32x32 pixels.

With its extra images 604,388 to train on. The files call the digit 0 class 10; here it is class 0.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from torch import Tensor
from torchvision.datasets import SVHN

from engine.config.data import svhn, svhn_extra
from engine.config.data.data_set import DataSetPart
from engine.data.dataset import Dataset
from engine.data.mat_file import UINT8, MatArray, arrays
from engine.data.published_file import (
    PublishedFile,
    check_content,
    fetch,
    md5_of,
    not_downloaded,
    open_published,
    unreadable,
)
from engine.data.resizing import resized_images
from engine.data.streamed_set import ColumnImages, LabelledImages, Parts, load_streamed
from engine.errors import DataError
from engine.sink import NullSink, Sink

_SIZE = svhn.PART.image_size
_BYTE_TYPES = (1, UINT8)  # of labels; they are 1 to 10


def load(_argument: str, data_dir: Path, sink: Sink, size: int = _SIZE) -> Dataset:
    """The data set, downloaded first if it is not in ``data_dir``; every file has its right md5.

    Raises:
        DataError: without network, on a full disk, or when a file is another one or damaged.
        Interrupted: when the sink asked to stop.
    """
    return _load(svhn.PART, ("train",), size, data_dir, sink)


def load_with_extra(_argument: str, data_dir: Path, sink: Sink, size: int = _SIZE) -> Dataset:
    """The same with the extra images behind the other training images."""
    return _load(svhn_extra.PART, ("train", "extra"), size, data_dir, sink)


def sample(_argument: str, data_dir: Path, count: int, size: int = _SIZE) -> Tensor:
    """The first training images, uint8 (count, 3, size, size), of a file that is there already.

    Raises:
        DataError: when it is not, or cannot be read.
    """
    file = _published("train")
    path = data_dir / file.name
    try:
        with open_published(path) as opened:
            if md5_of(opened, NullSink()) != file.md5:
                raise not_downloaded(file.title)
            images = _labelled(opened).images
            some = ColumnImages(min(count, images.count), _SIZE, images.read)
            return resized_images(next(some.blocks()), size)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise not_downloaded(file.title) from error
    except OSError as error:
        raise unreadable(file.title, path, error) from error
    except (ValueError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error


def _published(name: str) -> PublishedFile:
    url, file, md5 = SVHN.split_list[name]
    return PublishedFile(svhn.PART.title, url, file, md5)


def _load(
    part: DataSetPart, train: tuple[str, ...], size: int, data_dir: Path, sink: Sink
) -> Dataset:
    files = [_published(name) for name in (*train, "test")]
    key = " ".join(file.md5 for file in files)

    return load_streamed(part, lambda: _parts(files, data_dir, sink), key, size, data_dir, sink)


@contextmanager
def _parts(files: Sequence[PublishedFile], data_dir: Path, sink: Sink) -> Iterator[Parts]:
    """What the files hold, the last one to test on.

    Raises:
        DataError: see ``load``.
    """
    # All of them first: a download that fails wastes no reading of the others.
    paths = [fetch(file, data_dir, sink) for file in files]
    path = paths[0]
    found: list[LabelledImages] = []
    with ExitStack() as stack:
        try:
            for file, path in zip(files, paths, strict=True):
                sink.progress(f"checking {file.title}", len(found), len(files))
                opened = stack.enter_context(open_published(path))
                check_content(file, path, opened, sink)
                found.append(_labelled(opened))
            yield found[:-1], found[-1:]
        except OSError as error:
            raise unreadable(svhn.PART.title, path, error) from error
        except (ValueError, EOFError, zlib.error) as error:
            raise _damaged(path, error) from error


def _labelled(file: BinaryIO) -> LabelledImages:
    """The images of a file, which come as they are read, and their labels.

    Raises:
        ValueError: when the file holds something else.
        EOFError: when it ends early.
        OSError: when it cannot be read.
        zlib.error: when it is damaged.
    """
    file.seek(0)
    labels = [array.read(math.prod(array.shape)) for array in _named(file, "y")]
    file.seek(0)
    images = next(_named(file, "X"), None)
    if not labels or images is None or images.shape[:3] != (_SIZE, _SIZE, 3):
        raise ValueError("it holds no images X and labels y")
    known = np.frombuffer(labels[0], dtype=np.uint8).astype(np.int64) % 10
    if images.shape[3:] != (len(known),):
        raise ValueError(f"it holds {len(known)} labels, and images of the shape {images.shape}")
    return LabelledImages(ColumnImages(len(known), _SIZE, images.read), known)


def _named(file: BinaryIO, name: str) -> Iterator[MatArray]:
    """The arrays of bytes of this name."""
    return (array for array in arrays(file) if array.name == name and array.type in _BYTE_TYPES)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is damaged ({error}); remove it, and it is downloaded again.")
