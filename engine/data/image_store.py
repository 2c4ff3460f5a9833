"""Room for images that come one after the other: in memory, or in a file for too many."""

from __future__ import annotations

import mmap
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.memory_share import fits_into_memory
from engine.errors import DataError
from engine.files import reason, write_all


class ImageStore:
    """Images of one size, in the order in which they are added.

    Args:
        most: how many will be added at most.
        size: their height and width, in pixels.
        folder: where the file is made; it has no name, so that nothing is left of it whenever the
            process ends.

    Attributes:
        count: how many there are.
        in_memory: whether they are kept there.

    Raises:
        DataError: when the file cannot be made, or memory runs out.
    """

    def __init__(self, most: int, size: int, folder: Path) -> None:
        self.count, self._size, self._folder = 0, size, folder
        shape = (most, 3, size, size)
        self.in_memory = fits_into_memory(most * 3 * size * size)
        self._room: NDArray[np.uint8] | None = None
        if self.in_memory:
            try:
                self._room = np.empty(shape, dtype=np.uint8)
            except MemoryError as error:  # a limit, or what others have taken since
                raise DataError(
                    f"The images take {most * 3 * size * size / 2**20:,.0f} MiB, and memory ran "
                    "out; data.limit or data.image_size makes them fewer or smaller."
                ) from error
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as its map
        except OSError as error:
            raise self._refusal(error) from error

    def add(self, images: NDArray[np.uint8]) -> None:
        """Adds images.

        Args:
            images: uint8 (n, 3, size, size), in any memory order.

        Raises:
            DataError: when the disk is full.
        """
        if self._room is not None:
            self._room[self.count : self.count + len(images)] = images
        else:
            try:
                # Written, not stored through a map: a disk that is full would end the process.
                write_all(self._file.fileno(), np.ascontiguousarray(images).reshape(-1).data)
            except OSError as error:
                raise self._refusal(error) from error
        self.count += len(images)

    def images(self) -> Tensor:
        """All of them, uint8 (count, 3, size, size); nothing may be added any more."""
        if self._room is not None:
            return torch.from_numpy(self._room[: self.count])
        return mapped_images(self._file.fileno(), 0, self.count, self._size)

    def _refusal(self, error: OSError) -> DataError:
        return DataError(
            f"The images take more memory than there is, and cannot be kept in {self._folder}: "
            f"{reason(error)}; --data-dir names another place, data.limit or data.image_size makes "
            "them fewer or smaller."
        )


def mapped_images(fd: int, offset: int, count: int, size: int) -> Tensor:
    """Images in a file, of which the system reads into memory what is looked at.

    The memory counts as the file's: the system takes it back where it is needed elsewhere.

    Args:
        fd: of the file, open for reading; it may be closed afterwards.
        offset: of the first byte.
        count: how many.
        size: their height and width, in pixels.

    Returns:
        uint8 (count, 3, size, size), on the CPU; nothing may be written to it.
    """
    if not count:
        return torch.empty((0, 3, size, size), dtype=torch.uint8)
    begin = offset - offset % mmap.ALLOCATIONGRANULARITY
    length = offset - begin + count * 3 * size * size
    # Read-only: the system counts what could be written against its memory, and refuses a map of
    # more than all of it.
    room = mmap.mmap(fd, length, access=mmap.ACCESS_READ, offset=begin)
    values = np.frombuffer(room, dtype=np.uint8, offset=offset - begin)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(values.reshape(count, 3, size, size))
