"""An input for one line that takes whatever is pasted into it."""

from __future__ import annotations

from textual.widgets import Input

from moco_tui import fmt


class Line(Input):
    """One line of text without control characters; too long a paste is cut, not refused."""

    DEFAULT_CSS = """
    Line { scrollbar-size-horizontal: 0; }
    """

    def replace(self, text: str, start: int, end: int) -> None:
        """Replace a part of the text; every insertion and paste comes through here."""
        text = fmt.clean(text)
        if self.max_length:
            kept = len(self.value) - abs(end - start)
            text = text[: max(self.max_length - kept, 0)]
        super().replace(text, start, end)
