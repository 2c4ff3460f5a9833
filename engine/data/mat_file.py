"""Arrays of whole numbers in a MAT file of level 5, read from its beginning to its end.

As much of the format as SVHN needs (MathWorks, "MAT-File Format", chapter 1): real numeric arrays,
compressed or not, little-endian. scipy, which reads all of it, keeps a whole array in memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Bytes of a value, by the type of the data."""
UINT8 = 2
"""The type of bytes."""
_BLOCK = 1 << 20  # compressed bytes read at a time
_LONGEST_NAME = 63  # of a variable
_MOST_DIMENSIONS = 32


@dataclass(frozen=True)
class MatArray:
    """An array whose values come next.

    Attributes:
        name: of the variable.
        shape: its dimensions; the first one varies fastest.
        type: of the values as they are stored, such as ``UINT8``.
        read: ``read(n)`` gives the next ``n`` bytes of its values, fewer at the end.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    read: Callable[[int], bytes]


def arrays(file: BinaryIO) -> Iterator[MatArray]:
    """The arrays of a file, one after the other; each is read before the next is asked for.

    Args:
        file: at its beginning.

    Raises:
        ValueError: when it is no such file.
        zlib.error: when it is damaged.
        EOFError: when it ends early.
    """
    header = file.read(_HEADER)
    if len(header) < _HEADER or header[124:128] != b"\x00\x01IM":
        raise ValueError("it is no MAT file of level 5")
    while tag := file.read(8):
        if len(tag) < 8:
            raise EOFError("it ends within a tag")
        kind, length = struct.unpack("<II", tag)
        end = file.tell() + length
        if kind == _COMPRESSED:
            read = _Inflated(file, length).read
            kind, length = struct.unpack("<II", _exactly(read, 8))
        else:
            read = _Limited(file.read, length).read
        if kind == _MATRIX:
            yield _array(read)
        file.seek(end)


def _array(read: Callable[[int], bytes]) -> MatArray:
    _element(read, 64)  # flags and class
    dimensions = _element(read, 4 * _MOST_DIMENSIONS)
    if len(dimensions) % 4:
        raise ValueError("its dimensions are no whole numbers")
    shape = struct.unpack(f"<{len(dimensions) // 4}i", dimensions)
    name = _element(read, _LONGEST_NAME).decode("ascii", errors="replace")
    kind, length, small = _tag(read)
    if kind not in _WIDTHS or min(shape, default=0) < 0:
        raise ValueError(f"the array {name!a} holds no numbers")
    source = read if small is None else io.BytesIO(small).read
    return MatArray(name, shape, kind, _Limited(source, length).read)


def _tag(read: Callable[[int], bytes]) -> tuple[int, int, bytes | None]:
    """Type and length of an element, and its bytes where they lie in the tag itself."""
    tag = _exactly(read, 8)
    kind, length = struct.unpack("<II", tag)
    if kind >> 16:
        return kind & 0xFFFF, kind >> 16, tag[4 : 4 + (kind >> 16)]
    return kind, length, None


def _element(read: Callable[[int], bytes], most: int) -> bytes:
    """The bytes of an element of at most so many."""
    _, length, small = _tag(read)
    if small is not None:
        return small
    if length > most:
        raise ValueError("a part of its header is too long")
    return _exactly(read, -(-length // 8) * 8)[:length]


def _exactly(read: Callable[[int], bytes], count: int) -> bytes:
    found = read(count)
    if len(found) != count:
        raise EOFError("it ends within an array")
    return found


class _Limited:
    """At most so many bytes of what another reader gives."""

    def __init__(self, read: Callable[[int], bytes], length: int) -> None:
        self._read, self._left = read, length

    def read(self, count: int) -> bytes:
        found = self._read(min(count, self._left))
        self._left -= len(found)
        return found


class _Inflated:
    """What a compressed element of a file holds."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left = file, length
        self._inflate = zlib.decompressobj()
        self._ready = bytearray()

    def read(self, count: int) -> bytes:
        while len(self._ready) < count and not self._inflate.eof:
            block = self._inflate.unconsumed_tail
            if not block:
                block = self._file.read(min(_BLOCK, self._left))
                self._left -= len(block)
                if not block:
                    break
            # Bounded: a few bytes may stand for any number of others.
            self._ready += self._inflate.decompress(block, max(_BLOCK, count - len(self._ready)))
        found = bytes(self._ready[:count])
        del self._ready[:count]
        return found
