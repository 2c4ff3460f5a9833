"""A panel whose lines are made for its width."""

from __future__ import annotations

from collections.abc import Callable

from textual import events

from moco_tui.present.lines import Line
from moco_tui.widgets.text_panel import TextPanel


class MadePanel(TextPanel):
    """Makes its lines anew when it gets another width; see ``TextPanel`` for the arguments."""

    # The help screen lists classes that have texts of their own; inherited ones do not count.
    HELP_TITLE = TextPanel.HELP_TITLE
    HELP = TextPanel.HELP

    _make: Callable[[int], list[Line]] | None = None

    def show_made(self, make: Callable[[int], list[Line]]) -> None:
        """Show lines.

        Args:
            make: makes them for so many cells.
        """
        self._make = make
        self._build()

    def on_resize(self, event: events.Resize) -> None:
        """The lines are made for a width."""
        del event
        self._build()

    def _build(self) -> None:
        if self._make is not None and self.size.width > 0:
            self.show(self._make(self.size.width))
