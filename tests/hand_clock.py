"""A clock that stands until a test sets it."""

from __future__ import annotations


class Clock:
    """Stands in for a function that tells the time in seconds.

    Attributes:
        now: what it tells; a test adds to it.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
