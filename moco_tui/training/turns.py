"""How long one thread of Python may keep the others waiting while a run is trained here."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

SECONDS = 0.0005
"""A turn of the interpreter while a run is trained in the process of the screens.

A step calls some thousand operations, each of which gives the interpreter's lock back and then
wants it again. While a screen is drawn, every one of them would wait for a whole turn, by default
5 ms, so a frame of 30 ms would leave the training six operations.
"""


@contextlib.contextmanager
def short_turns() -> Iterator[None]:
    """Turns of ``SECONDS`` inside the block; afterwards as before."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(SECONDS, before))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
