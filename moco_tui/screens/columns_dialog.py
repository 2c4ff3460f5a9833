"""Chooses the columns of the list of runs and their order."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from moco_tui.present import fmt
from moco_tui.present.ordered_choice import moved
from moco_tui.present.run_columns import ColumnOffer, matching
from moco_tui.screens.steady_screen import SteadyList, SteadyScreen
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.panel import Dialog

_WIDTH = 92  # cells of the dialog
_NAME = 30  # of a name
_BESIDE = 16  # of all else in a line: frame, number, mark, scroll bar
_WORDS = """Enter shows or hides a column, Shift+Up and Shift+Down move it, Delete has those that
suit the width again. Escape keeps what is chosen."""


class ColumnsDialog(SteadyScreen, ModalScreen[tuple[str, ...]]):
    """The chosen columns in their order, then the others; typing finds some of them.

    Answers with the names of the columns; empty: those that suit the width.

    Args:
        offers: every column that there is.
        chosen: names of those that are shown, from the left.
        by_default: names of those that are shown where nobody has chosen any.
        is_default: whether nobody has.
    """

    DEFAULT_CSS = """
    ColumnsDialog {
        align: center middle;
        & Dialog { width: 92; height: 80%; }
        & #columns { height: 1fr; border: none; padding: 0; background: $surface; }
        & #columns:focus { border: none; }
        & .words { width: 1fr; height: auto; color: $text-muted; }
        & LineInput { margin: 0 0 1 0; }
    }
    """
    BINDINGS = [
        Binding("escape", "done", "Keep"),
        # Of priority: the line that is typed in has these keys as well.
        Binding("up", "move(-1)", "Up", priority=True),
        Binding("down", "move(1)", "Down", priority=True),
        Binding("shift+up,ctrl+up", "shift(-1)", "To the left", priority=True),
        Binding("shift+down,ctrl+down", "shift(1)", "To the right", priority=True),
        Binding("delete", "default", "Those that suit", priority=True),
    ]

    def __init__(
        self,
        offers: Sequence[ColumnOffer],
        chosen: Sequence[str],
        by_default: Sequence[str],
        *,
        is_default: bool,
    ) -> None:
        super().__init__()
        self._offers = {one.name: one for one in offers}
        self._by_default = list(by_default)
        self._chosen = list(chosen)
        self._is_default = is_default
        for name in chosen:  # a metric that no run has any more can be taken away
            self._offers.setdefault(name, ColumnOffer(name, "no run has it"))

    def compose(self) -> ComposeResult:
        """What is sought, the list, and what the keys do."""
        with Dialog("Columns of the list"):
            place = "type to find a column, a setting or a metric"
            yield LineInput(placeholder=place, compact=True)
            yield SteadyList(id="columns")
            yield Static(" ".join(_WORDS.split()), classes="words", markup=False)

    def on_mount(self) -> None:
        """Show all, and type at once."""
        self.query_one(LineInput).focus()
        self._show()

    @property
    def _list(self) -> OptionList:
        return self.query_one("#columns", OptionList)

    @property
    def _current(self) -> str:
        """The name of the column under the cursor; empty where there is none."""
        at = self._list.highlighted
        return "" if at is None else str(self._list.get_option_at_index(at).id)

    def _show(self, at: str = "") -> None:
        """Show the columns that fit what is typed, the chosen ones first.

        Args:
            at: the one to put the cursor on.
        """
        typed = self.query_one(LineInput).value
        fitting = [one.name for one in matching(list(self._offers.values()), typed)]
        chosen = [name for name in self._chosen if name in fitting]
        names = [*chosen, *(name for name in fitting if name not in self._chosen)]
        self._list.set_options([Option(self._line(name), id=name) for name in names])
        if names:
            self._list.highlighted = names.index(at) if at in names else 0
            self._list.scroll_to_highlight()

    def _line(self, name: str) -> Text:
        shown = name in self._chosen
        text = Text(no_wrap=True, overflow="ellipsis")
        number = f"{self._chosen.index(name) + 1:>2}" if shown else "  "
        text.append(f"{number} {'✓' if shown else ' '} ")
        text.append(fmt.fit(name, _NAME), style="bold" if shown else "")
        room = max(min(_WIDTH, self.app.size.width) - _NAME - _BESIDE, 1)
        text.append(f" {fmt.fit(self._offers[name].words, room).rstrip()}", style="dim")
        return text

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._show()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._switch(self._current)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._switch(str(event.option.id))

    def _switch(self, name: str) -> None:
        """Show a column or hide it; one is left at least."""
        if not name or self._chosen == [name]:
            return
        self._is_default = False
        if name in self._chosen:
            self._chosen.remove(name)
        else:
            self._chosen.append(name)
        self._show(name)

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        if lines < 0:
            self._list.action_cursor_up()
        else:
            self._list.action_cursor_down()

    def action_shift(self, places: int) -> None:
        """Move the column under the cursor among the chosen ones."""
        name = self._current
        order = moved(self._chosen, name, places)
        if order != self._chosen:
            self._is_default = False
            self._chosen = order
            self._show(name)

    def action_default(self) -> None:
        """Have the columns that suit the width."""
        self._chosen, self._is_default = list(self._by_default), True
        self._show()

    def action_done(self) -> None:
        """Close, and have the columns that are chosen."""
        self.dismiss(() if self._is_default else tuple(self._chosen))
