"""What the C library does with freed memory: kept for a trainer, handed back for a watcher."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of parameters in glibc's malloc.h
_SMALLEST_BLOCK = 128 << 10  # what glibc begins with, before it adapts itself
_LARGEST_BLOCK = 32 << 20  # the most that glibc takes for the second
_KEPT = 256 << 20


def keep_freed_memory() -> bool:
    """Ask glibc to keep up to 256 MiB of freed memory for the next tensors.

    By default it returns large blocks to the system, which hands them out again filled with zeros,
    page by page: 30,000 page faults in a float32 step of the ConvNet, about 5 % of its time. The
    setting holds for the whole process, and can be made again at no cost.

    Returns:
        Whether the C library took it; on others than glibc, nothing is done.
    """
    return _set(_LARGEST_BLOCK, _KEPT)


def hand_back_freed_memory() -> bool:
    """Ask glibc to give every larger block a mapping of its own, which is gone when it is freed.

    Arrays that grow for hours beside each other leave holes in the heap otherwise. A trainer that
    starts later asks for the opposite.

    Returns:
        Whether the C library took it; on others than glibc, nothing is done.
    """
    return _set(_SMALLEST_BLOCK, _SMALLEST_BLOCK)


def _set(mapped_from: int, kept: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(set_option(_MMAP_THRESHOLD, mapped_from) and set_option(_TRIM_THRESHOLD, kept))
