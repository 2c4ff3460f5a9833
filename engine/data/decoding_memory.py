"""How much memory images take while they are decoded, and a bound on it over all threads.

A file of a few hundred kilobytes may hold an image of gigabytes. What it will take is worked out
from its header, before anything is decoded.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

MOST_PIXELS = 178_956_970
"""Of one image: 13,377 x 13,377. Pillow's own limit, also where a program has changed that."""

MOST_BYTES = 4 << 30
"""Of one file: more than that many pixels take without compression."""

_AT_ONCE = 1 << 30  # bytes that all images in decoding may take together
_LARGE_FILE = 64 << 20  # bytes; some decoders read a whole file before they know its pixels

# Bytes a pixel: the image as Pillow holds it, the same turned upright, its colours.
_IMAGE = 12
# What decoders take beside it, at most, measured on images of 25 million pixels.
_DECODER = {"PNG": 0, "GIF": 0, "BMP": 0, "PPM": 0, "JPEG": 0, "MPO": 0, "WEBP": 16, "AVIF": 12}
_OTHER_DECODER = 20
_PROGRESSIVE = 6  # the coefficients of a JPEG of several scans, at its full size
# Hold another image, which may be larger than they say.
_CONTAINERS = {"ICO", "ICNS", "IPTC", "BLP"}


class MemoryBudget:
    """Memory that threads share: each takes what it will need, and waits until so much is left.

    Args:
        most: bytes; who needs more than all of it has it alone.

    Attributes:
        used: bytes that are taken now.
        peak: the most that was taken at any time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = self.peak = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Takes memory for the time of a ``with``; within one a thread must not take more."""
        amount = min(amount, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self.used + amount <= self.most)
            self.used += amount
            self.peak = max(self.peak, self.used)
        try:
            yield
        finally:
            with self._changed:
                self.used -= amount
                self._changed.notify_all()


BUDGET = MemoryBudget(_AT_ONCE)
"""Of every image that is decoded in this process."""


def needs_all(file_bytes: int) -> bool:
    """Whether a file is so large that it must not even be opened beside others."""
    return file_bytes > _LARGE_FILE


def memory_of(image: Image.Image, full_size: tuple[int, int], most: int) -> int:
    """Bytes that decoding an image takes at most, up to ``most``.

    Args:
        image: opened, not decoded; a JPEG perhaps to be decoded at a reduced size.
        full_size: its width and height in the file.
        most: what to give where nothing less is certain.
    """
    if image.format in _CONTAINERS:
        return most
    pixels = image.width * image.height
    amount = pixels * (_IMAGE + _DECODER.get(image.format or "", _OTHER_DECODER))
    if image.info.get("progressive") or image.info.get("progression"):
        amount += full_size[0] * full_size[1] * _PROGRESSIVE
    return min(amount, most)
