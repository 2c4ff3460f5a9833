"""Chooses some of many things by typing a part of their names, and puts them in order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.config.phrases import plural
from moco_tui.present.ordered_choice import moved
from moco_tui.screens.steady_screen import SteadyList
from moco_tui.screens.typed_list_dialog import TypedListDialog
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.panel import Dialog
from moco_tui.widgets.shown_text import show_text

BESIDE = 16
"""Cells of a line beside the text of a thing: frame, place, mark, scroll bar."""


class OrderedChoiceDialog(TypedListDialog[list[str]]):
    """What is chosen with its places, then the rest; what is typed filters both.

    The answer are the keys of what is chosen, in order; empty for what there is when nobody has
    chosen.

    Args:
        chosen: those that are chosen, in order.
        usual: those that are there when nobody has chosen.
        is_usual: whether nobody has.
        count: how many things there are.
        most: so many may be chosen; None: all.
    """

    DEFAULT_CSS = """
    OrderedChoiceDialog {
        align: center middle;
        & Dialog { width: 92; height: 90%; max-height: 32; overflow: hidden hidden; }
        & #choices { height: 1fr; border: none; padding: 0; background: $surface; }
        & .words { width: 1fr; height: auto; color: $text-muted; }
    }
    """
    BINDINGS = [
        Binding("escape", "done", "Done"),
        Binding("shift+up,ctrl+up", "move(-1)", "Earlier", show=False, priority=True),
        Binding("shift+down,ctrl+down", "move(1)", "Later", show=False, priority=True),
        Binding("ctrl+r", "usual", "The usual ones", show=False, priority=True),
    ]
    TITLE = ""
    """Of the dialog."""
    NOUN = ""
    """What one thing is called; with an s several are."""
    PLACEHOLDER = ""
    """Stands where nothing is typed."""
    WORDS = ""
    """What the keys do."""
    LEAST = 0
    """So many things stay chosen."""

    def __init__(
        self,
        chosen: Sequence[str],
        usual: Sequence[str],
        *,
        is_usual: bool,
        count: int,
        most: int | None = None,
    ) -> None:
        super().__init__()
        self._chosen, self._usual, self._is_usual = list(chosen), list(usual), is_usual
        self._count, self._most = count, count if most is None else most

    @abstractmethod
    def found(self, typed: str) -> Sequence[str]:
        """The keys of what fits the words that were typed, the best first."""

    @abstractmethod
    def line(self, key: str, *, chosen: bool) -> Text:
        """What stands behind the place of a thing, in one line."""

    def compose(self) -> ComposeResult:
        """What is typed, the list, how many are chosen, and the keys."""
        with Dialog(self.TITLE):
            yield LineInput(placeholder=self.PLACEHOLDER, compact=True)
            yield SteadyList(id="choices", compact=True, markup=False)
            yield Static("", id="count", classes="words", markup=False)
            yield Static(self.WORDS, classes="words", markup=False)

    def on_mount(self) -> None:
        """All things, the first one chosen; keys go into the line."""
        self.choices.can_focus = False
        self._show(at="")
        self.query_one(Input).focus()

    @property
    def chosen(self) -> list[str]:
        """The keys of what is chosen, in order: a copy."""
        return list(self._chosen)

    @property
    def _at(self) -> str:
        """The key under the cursor; empty where there is none."""
        at = self.choices.highlighted
        return "" if at is None else str(self.choices.get_option_at_index(at).id)

    def _show(self, at: str) -> None:
        """Fill the list, with a thing under the cursor; where it is not there the first one."""
        found = self.found(self.query_one(Input).value)
        keys = [key for key in self._chosen if key in found]
        keys += [key for key in found if key not in self._chosen]
        self.choices.set_options([Option(self._line(key), id=key) for key in keys])
        if keys:
            self.choices.highlighted = keys.index(at) if at in keys else 0
            self.choices.scroll_to_highlight()
        self._say("" if keys else f"no such {self.NOUN}")

    def _line(self, key: str) -> Text:
        chosen = key in self._chosen
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{self._chosen.index(key) + 1:>2} ✓ " if chosen else "     ")
        return text.append_text(self.line(key, chosen=chosen))

    def _say(self, words: str) -> None:
        count = plural(len(self._chosen), self.NOUN)
        if self._most < self._count:
            count = f"{len(self._chosen)} of at most {plural(self._most, self.NOUN)}"
        show_text(self.query_one("#count", Static), words or count)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._show(at="" if event.value else self._at)  # the first is what was meant

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.switch(self._at)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.switch(str(event.option.id))

    def switch(self, key: str) -> None:
        """Choose a thing, or choose it no longer; nothing where ``key`` is empty."""
        if key in self._chosen:
            if len(self._chosen) <= self.LEAST:
                return
            self._chosen.remove(key)
        elif key and len(self._chosen) < self._most:
            self._chosen.append(key)
        elif key:
            self._say(f"There is room for {plural(self._most, self.NOUN)}: take one away first.")
            return
        else:
            return
        self._is_usual = False
        self._show(at=key)

    def action_move(self, by: int) -> None:
        """Put the thing under the cursor earlier or later among those that are chosen."""
        key = self._at
        order = moved(self._chosen, key, by)
        if order != self._chosen:
            self._chosen, self._is_usual = order, False
            self._show(at=key)

    def action_usual(self) -> None:
        """Have what is there when nobody has chosen."""
        self._chosen, self._is_usual = list(self._usual), True
        self._show(at=self._at)

    def action_done(self) -> None:
        """Clear what was typed; without that close, and have what is chosen."""
        line = self.query_one(Input)
        if line.value:
            line.value = ""
            return
        self.dismiss([] if self._is_usual else self.chosen)
