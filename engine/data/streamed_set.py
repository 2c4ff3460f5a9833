"""Data sets in a few large files: read a block of images at a time, and cached as one array.

Their images lie column by column, as MATLAB keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.config.data.data_set import DataSetPart
from engine.data.dataset import Dataset, Split
from engine.data.image_cache import ImageArrays, cached
from engine.data.image_store import ImageStore
from engine.data.resizing import add_resized, resizer
from engine.sink import Sink

_BLOCK = 1 << 24  # bytes of images read at a time


@dataclass(frozen=True)
class ColumnImages:
    """Images that come one after the other, each (3, width, height): column by column.

    Attributes:
        count: how many.
        size: their height and width, in pixels.
        read: ``read(n)`` gives the next ``n`` bytes, fewer at the end.
    """

    count: int
    size: int
    read: Callable[[int], bytes]

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """uint8 (n, 3, height, width), until there are no more.

        Raises:
            EOFError: when the bytes end before.
        """
        of_image = 3 * self.size * self.size
        together = max(1, _BLOCK // of_image)
        for done in range(0, self.count, together):
            n = min(together, self.count - done)
            data = self.read(n * of_image)
            if len(data) != n * of_image:
                raise EOFError(f"it ends after {done} of {self.count} images")
            columns = np.frombuffer(data, dtype=np.uint8).reshape(n, 3, self.size, self.size)
            yield columns.transpose(0, 1, 3, 2)


@dataclass(frozen=True)
class LabelledImages:
    """A part of a set.

    Attributes:
        images: of the part.
        labels: int64 (N,); -1 without one.
    """

    images: ColumnImages
    labels: NDArray[np.int64]


Parts = tuple[Sequence[LabelledImages], Sequence[LabelledImages]]
"""Those that make up the training images, one after the other, and the test images."""


def load_streamed(
    part: DataSetPart,
    open_parts: Callable[[], AbstractContextManager[Parts]],
    key: str,
    size: int,
    data_dir: Path,
    sink: Sink,
) -> Dataset:
    """The images of a set, from its cache where that was made of the same files.

    Args:
        part: of the registry.
        open_parts: opens the files, which have the right md5; asked where there is no cache.
        key: of the files, such as their md5s.
        size: height and width that is wanted, in pixels.
        data_dir: the cache lives in ``data_dir/cache``, and does without the files.
        sink: receives the progress, and is asked whether to stop.

    Raises:
        DataError: what ``open_parts`` refuses, and a full disk.
        Interrupted: when the sink asked to stop.
    """
    path = data_dir / "cache" / f"{part.name}-{size}.images"

    def make() -> ImageArrays:
        with open_parts() as (train, test):
            every = (*train, *test)
            store = ImageStore(sum(each.images.count for each in every), size, path.parent)
            for each in every:
                for block in each.images.blocks():
                    add_resized(block, size, store, sink)
        labels = [np.concatenate([each.labels for each in half]) for half in (train, test)]
        known = [torch.from_numpy(values) for values in labels]
        images, count = store.images(), len(known[0])
        return ImageArrays((images[:count], known[0]), (images[count:], known[1]), part.class_names)

    found = cached(path, f"{key}, {resizer()}", sink, make, size=size)
    assert found.test is not None
    decoder = "" if size == part.image_size else resizer()
    return Dataset(
        part.name, Split(*found.train), Split(*found.test), part.class_names, decoder=decoder
    )
