"""Lines of text whose parts have a look, as panels show them."""

from __future__ import annotations

from collections.abc import Sequence

Part = tuple[str, str]
"""A text and its look: empty, ``muted``, ``strong``, ``good``, ``warn``, ``bad``, ``key``; that of
a state of a run, ``state-paused``; that of a curve, ``curve-3``."""
Line = Sequence[Part]
