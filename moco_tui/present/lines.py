"""Lines of text whose parts have a look, as panels show them."""

from __future__ import annotations

from collections.abc import Sequence

Part = tuple[str, str]
"""A text and its look: empty, ``muted``, ``strong``, ``good`` or ``bad``."""
Line = Sequence[Part]
