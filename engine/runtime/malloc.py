"""What the C library does with freed memory: kept while training, returned while only watching.

https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_DEFAULT_THRESHOLD = 128 << 10  # of both, before glibc adapts them
_LARGEST_MMAP_THRESHOLD = 32 << 20  # the most that glibc accepts
_KEPT = 256 << 20  # bytes of freed memory at the top of the heap


def keep_freed_memory() -> bool:
    """Ask glibc to keep up to 256 MiB of freed memory for the next tensors.

    By default it returns large blocks to the system, which hands them out again filled with zeros,
    page by page: 30,000 page faults in a float32 step of the ConvNet, about 5 % of its time. The
    setting holds for the whole process, and can be made again at no cost.

    Returns:
        Whether the C library took it; on others than glibc, nothing is done.
    """
    return _set_thresholds(mmap=_LARGEST_MMAP_THRESHOLD, trim=_KEPT)


def hand_back_freed_memory() -> bool:
    """Ask glibc to give every larger block a mapping of its own, which is gone when it is freed.

    Otherwise arrays that grow for hours beside each other (the curves of a watched run) leave holes
    in the heap. Training that starts later in the process asks for the opposite.

    Returns:
        Whether the C library took it; on others than glibc, nothing is done.
    """
    return _set_thresholds(mmap=_DEFAULT_THRESHOLD, trim=_DEFAULT_THRESHOLD)


def _set_thresholds(*, mmap: int, trim: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, mmap) and mallopt(_M_TRIM_THRESHOLD, trim))
