"""A dialog with a list that what is typed narrows: the cursor keys are the list's, all others go
into the line.
"""

from __future__ import annotations

from typing import TypeVar

from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import OptionList

from moco_tui.screens.steady_screen import SteadyScreen

T = TypeVar("T")


class TypedListDialog(SteadyScreen, ModalScreen[T]):
    """What is in the dialog says the class that is made from it; it holds one ``OptionList``."""

    BINDINGS = [
        # Of priority: the line that is typed in has some of these keys as well.
        Binding("up", "line(-1)", "Up", show=False, priority=True),
        Binding("down", "line(1)", "Down", show=False, priority=True),
        Binding("pageup", "page(-1)", "Far up", show=False, priority=True),
        Binding("pagedown", "page(1)", "Far down", show=False, priority=True),
    ]
    PAGE = 10
    """Lines of a page."""

    @property
    def choices(self) -> OptionList:
        """The list."""
        return self.query_one(OptionList)

    def action_line(self, lines: int) -> None:
        """Move the cursor of the list, as far as it goes."""
        choices = self.choices
        if choices.option_count:
            at = (choices.highlighted or 0) + lines
            choices.highlighted = max(min(at, choices.option_count - 1), 0)

    def action_page(self, pages: int) -> None:
        """Move it by pages."""
        self.action_line(self.PAGE * pages)
