"""Images that took long to read, kept as one array in a file.

Reading 60,000 JPEG files takes many seconds, the cache about one. Of images that take more of the
memory than ``memory_share`` lets them, the file is mapped: the system reads those that are asked
for.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config.data.data_set import SIZE
from engine.data.image_store import mapped_images
from engine.data.memory_share import fits_into_memory
from engine.files import open_plain, reason, replace_file
from engine.sink import Sink
from engine.text import clean_text

_LABEL_BYTES = 8
_BLOCK = 1 << 24  # bytes of a mapped file whose checksum is worked out at a time
_VERSION = 3  # of the layout of a cache file
_LONGEST_HEADER = 1 << 26  # bytes; names of skipped images may be many
_LONGEST_TEXT = 1000  # characters of a name or reason
_MOST_IMAGES = 1 << 31


@dataclass(frozen=True)
class ImageArrays:
    """Images of a source.

    Attributes:
        train: uint8 ``(N, 3, H, W)`` and int64 ``(N,)`` labels; -1 without one.
        test: the same of the test images, or None.
        class_names: names of the classes; empty without classes.
        skipped: images that could not be read, with the reason.
        lasting: whether reading them again would give the same. False when an image was skipped for
            a reason that may pass (an error of the disk, too little memory): then they are not
            cached, so that the next run reads them again.
        foreign: how many files were no images, and were not called so.
        first_foreign: the path of the first of them.
        left_out: what of the source is not among the images, in one line; not in the cache.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor] | None
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    lasting: bool = True
    foreign: int = 0
    first_foreign: str = ""
    left_out: str = ""


class _Header(msgspec.Struct):
    """Second line of a cache file, after a checksum of all that follows it.

    The arrays come after it: train images, train labels, test images, test labels. ``size`` is the
    height and width of the images; a file that does not say has those of 32 pixels.
    """

    version: int
    key: str
    classes: list[str]
    skipped: list[str]
    train: int
    test: int | None
    foreign: int
    first_foreign: str
    size: int = SIZE


def cached(
    path: Path,
    key: str,
    sink: Sink,
    make: Callable[[], ImageArrays],
    *,
    size: int = SIZE,
    most: int = _MOST_IMAGES,
) -> ImageArrays:
    """What ``make`` gives, taken from a cache file when that was made for the same ``key``.

    A cache that is damaged or of another key is made anew in its place; one that cannot be
    written is done without.

    Args:
        path: the cache file; its folder is made when it is missing.
        key: of everything that the images depend on.
        sink: logs why a cache is not used or not written.
        make: reads the images.
        size: their height and width, in pixels; part of the key, too, where it is not the usual.
        most: how many images there can be: a file that says more is damaged.
    """
    found = _load(path, key, sink, most, size)
    if found is None:
        found = make()
        if found.lasting and _save(path, key, found, sink) and not fits_into_memory(_bytes(found)):
            # Of the file that has a name, in place of the one that ``make`` put them into.
            found = _mapped_again(path, key, sink, most, size, found)
    return found


def _bytes(found: ImageArrays) -> int:
    parts = filter(None, (found.train, found.test))
    return sum(images.numel() for images, _ in parts)


def _mapped_again(
    path: Path, key: str, sink: Sink, most: int, size: int, made: ImageArrays
) -> ImageArrays:
    """What was just written, as it lies in the cache; what was made where that is gone already."""
    again = _load(path, key, sink, most, size)
    return made if again is None else replace(again, left_out=made.left_out)


def _load(path: Path, key: str, sink: Sink, most: int, size: int) -> ImageArrays | None:
    try:
        # A link is followed, as people make for large files; no pipe or device, without an end.
        fd = open_plain(path, os.O_RDONLY, follow=True, follow_folder=True)
        with os.fdopen(fd, "rb") as file:
            checksum = int(file.readline(9), 16)  # 8 hexadecimal digits and the line end
            # Bounded: a damaged file may have no further line end, and gigabytes behind it.
            line = file.readline(_LONGEST_HEADER)
            header = msgspec.json.decode(line, type=_Header)
            if (header.version, header.key, header.size) != (_VERSION, key, size):
                return None
            count = header.train + (header.test or 0)
            if header.train < 0 or (header.test or 0) < 0 or count > most:
                raise ValueError("wrong number of images")
            # Before the arrays are made: a damaged header may ask for any amount of memory.
            rest = os.fstat(file.fileno()).st_size - file.tell()
            if rest != count * (3 * size * size + _LABEL_BYTES):
                raise ValueError("wrong size")
            take = _Reader(file, size, mapped=not fits_into_memory(rest))
            crc = zlib.crc32(line)
            train, crc = take(header.train, crc)
            test = None
            if header.test is not None:
                test, crc = take(header.test, crc)
            if crc != checksum:
                raise ValueError("wrong checksum")
            _check_labels(train[1], len(header.classes))
            if test is not None:
                _check_labels(test[1], len(header.classes))
    except FileNotFoundError:
        return None
    except OSError as error:
        sink.log(f"the image cache {path} cannot be read: {reason(error)}; it is made again")
        return None
    except MemoryError:
        sink.log(f"the image cache {path} cannot be read: memory ran out; it is made again")
        return None
    except (ValueError, msgspec.MsgspecError, RecursionError):
        sink.log(f"the image cache {path} is damaged; it is made again")
        return None
    return ImageArrays(
        train,
        test,
        tuple(clean_text(name, _LONGEST_TEXT) for name in header.classes),
        tuple(clean_text(text, _LONGEST_TEXT) for text in header.skipped),
        foreign=header.foreign,
        first_foreign=clean_text(header.first_foreign, _LONGEST_TEXT),
    )


def _check_labels(labels: Tensor, classes: int) -> None:
    """Refuses numbers of classes that there are not: indexing by them would fail much later.

    Raises:
        ValueError: when there is one.
    """
    if len(labels) and not -1 <= int(labels.min()) <= int(labels.max()) < max(classes, 1):
        raise ValueError("a label is no class")


class _Reader:
    """Reads images and labels from where a cache file is read next.

    Args:
        file: the file.
        size: height and width of its images, in pixels.
        mapped: leave the images in the file.
    """

    def __init__(self, file: BufferedReader, size: int, *, mapped: bool) -> None:
        self._file, self._size, self._mapped = file, size, mapped

    def __call__(self, count: int, crc: int) -> tuple[tuple[Tensor, Tensor], int]:
        """The next ``count`` images and labels.

        Returns:
            The images uint8 (count, 3, H, W) and labels int64 (count,), and the CRC-32 ``crc``
            continued over their bytes.

        Raises:
            ValueError: when the file ends before them.
        """
        images, crc = self._map(count, crc) if self._mapped else self._read(count, crc)
        labels = np.empty(count, dtype="<i8")  # the file is little-endian on every machine
        crc = self._fill(labels.view(np.uint8), crc)
        return (images, torch.from_numpy(labels.astype(np.int64))), crc

    def _read(self, count: int, crc: int) -> tuple[Tensor, int]:
        images = np.empty((count, 3, self._size, self._size), dtype=np.uint8)
        crc = self._fill(images.reshape(-1), crc)
        return torch.from_numpy(images), crc

    def _map(self, count: int, crc: int) -> tuple[Tensor, int]:
        file = self._file
        begin, length = file.tell(), count * 3 * self._size * self._size
        block = np.empty(min(_BLOCK, length), dtype=np.uint8)
        for done in range(0, length, _BLOCK):
            crc = self._fill(block[: min(_BLOCK, length - done)], crc)
        return mapped_images(file.fileno(), begin, count, self._size), crc

    def _fill(self, values: NDArray[np.uint8], crc: int) -> int:
        if self._file.readinto(values.data) != len(values):
            raise ValueError("too short")
        return zlib.crc32(values.data, crc)


def _save(path: Path, key: str, found: ImageArrays, sink: Sink) -> bool:
    """Writes the cache; whether it could be."""
    header = _Header(
        version=_VERSION,
        key=key,
        classes=list(found.class_names),
        skipped=list(found.skipped),
        train=len(found.train[0]),
        test=None if found.test is None else len(found.test[0]),
        foreign=found.foreign,
        first_foreign=found.first_foreign,
        size=found.train[0].shape[-1],
    )
    parts: list[bytes | memoryview] = [msgspec.json.encode(header) + b"\n"]
    for images, labels in filter(None, (found.train, found.test)):
        parts.append(images.numpy().reshape(-1).data)  # no copy: it may be gigabytes
        parts.append(labels.numpy().astype("<i8").tobytes())
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():  # replaced as any cache of another key; what it leads to stays
            path.unlink()
        # Not durable: a file that a power cut left incomplete fails its checksum and is made anew.
        replace_file(path, b"%08x\n" % crc, *parts, durable=False, follow_folder=True)
    except OSError as error:
        sink.log(f"the images are not cached in {path.parent}: {reason(error)}")
        return False
    return True
