"""Bindings that several screens have; each screen gives them ids of its own."""

from __future__ import annotations

from textual.binding import Binding

NEW = Binding("n", "new", "New", show=False)
COMPARE = Binding("c", "compare", "Compare", show=False)
PROBE = Binding("P", "probe", "Probe", show=False)
EXPORT = Binding("x", "export", "Export")

STEPS = (NEW, PROBE, COMPARE)
"""What leads from the runs on a screen to the next thing."""
