"""Kernels that share out a few values as they share out millions."""

from __future__ import annotations

import pytest

from engine.kernels import choices


def choose(patch: pytest.MonkeyPatch, *, tile: int, programs: int) -> None:
    """For the rest of a test every kernel has tiles of that size, and so many programs."""
    for name, choice in choices.CHOICES.items():
        patch.setitem(choices.CHOICES, name, choice._replace(tile=tile, programs=programs))
