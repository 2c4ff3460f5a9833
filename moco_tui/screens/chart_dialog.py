"""Chooses which charts of a run are drawn, and in which order, by their names."""

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
from moco_tui.present.chart_choices import ChartChoice, default_keys, matching
from moco_tui.present.ordered_choice import moved
from moco_tui.screens.steady_screen import SteadyList, SteadyScreen
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.panel import Dialog


class ChooseCharts(SteadyScreen, ModalScreen[list[str]]):
    """Every chart that the run has something for; those that are drawn first, with their place.

    What is typed filters the list. The answer are the keys of the charts, in order; empty for those
    that are drawn when nobody has chosen.

    Args:
        choices: of the run.
        chosen: keys of those that are drawn, in order.
        most: how many there may be.
    """

    DEFAULT_CSS = """
    ChooseCharts {
        align: center middle;
        & Dialog { width: 76; height: 24; overflow: hidden hidden; }
        & #chart-list { height: 1fr; border: none; padding: 0; background: $surface; }
        & .question { width: 1fr; height: auto; color: $text-muted; }
    }
    """
    BINDINGS = [
        Binding("escape", "done", "Done"),
        Binding("up", "step(-1)", "Up", show=False),
        Binding("down", "step(1)", "Down", show=False),
        Binding("pageup", "step(-10)", "Far up", show=False),
        Binding("pagedown", "step(10)", "Far down", show=False),
        Binding("shift+up,ctrl+up", "move(-1)", "Earlier", show=False),
        Binding("shift+down,ctrl+down", "move(1)", "Later", show=False),
        Binding("ctrl+r", "usual", "The usual ones", show=False),
    ]

    def __init__(self, choices: Sequence[ChartChoice], chosen: Sequence[str], most: int) -> None:
        super().__init__()
        self._choices = {choice.key: choice for choice in choices}
        self._usual = default_keys(choices)[:most]
        self._chosen = [key for key in chosen if key in self._choices][:most]
        self._most = most
        self._shown: list[str] = []  # keys, line by line

    def compose(self) -> ComposeResult:
        """What is typed, the list, and the keys."""
        with Dialog("Charts"):
            yield LineInput(placeholder="type a part of a name", compact=True)
            yield SteadyList(id="chart-list", compact=True, markup=False)
            yield Static("", id="chart-count", classes="question", markup=False)
            yield Static(
                "Enter draws it, or no longer; Shift+Up and Shift+Down change the order; "
                "Ctrl+R: the usual ones; Escape: done.",
                classes="question",
            )

    def on_mount(self) -> None:
        """All charts, the first one chosen; keys go into the line."""
        self.query_one("#chart-list", SteadyList).can_focus = False
        self._list(at="")
        self.query_one(Input).focus()

    def _list(self, at: str) -> None:
        """Fill the list, with a chart at the cursor; where that is not there its first line."""
        rest = [key for key in self._choices if key not in self._chosen]
        text = self.query_one(Input).value
        found = {choice.key for choice in matching(list(self._choices.values()), text)}
        self._shown = [key for key in [*self._chosen, *rest] if key in found]
        options = self.query_one("#chart-list", OptionList)
        options.clear_options()
        options.add_options([Option(self._line(key)) for key in self._shown])
        if self._shown:
            options.highlighted = self._shown.index(at) if at in self._shown else 0
        count = f"{len(self._chosen)} of at most {self._most} charts"
        self.query_one("#chart-count", Static).update(count if self._shown else "no such chart")

    def _line(self, key: str) -> Text:
        choice = self._choices[key]
        place = f"{self._chosen.index(key) + 1} " if key in self._chosen else "  "
        text = Text(place, style="bold", no_wrap=True, overflow="ellipsis")
        text.append(fmt.clean(choice.title), style="bold" if key in self._chosen else "not bold")
        if names := [name for name in choice.names if name != choice.title]:
            text.append(f"  {fmt.clean(', '.join(names))}", style="not bold dim")
        return text

    @property
    def _at(self) -> str:
        """The key of the chart at the cursor; empty for none."""
        at = self.query_one("#chart-list", OptionList).highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else ""

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._list(at=self._at)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._toggle(self._at)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._toggle(self._shown[event.option_index])

    def _toggle(self, key: str) -> None:
        """Draw a chart, or draw it no longer."""
        if key in self._chosen:
            self._chosen.remove(key)
        elif key and len(self._chosen) < self._most:
            self._chosen.append(key)
        elif key:
            count = self.query_one("#chart-count", Static)
            count.update(f"There is room for {self._most} charts: take one of them away first.")
            return
        self._list(at=key)

    def action_step(self, lines: int) -> None:
        """Move the cursor."""
        options = self.query_one("#chart-list", OptionList)
        if self._shown:
            at = (options.highlighted or 0) + lines
            options.highlighted = max(min(at, len(self._shown) - 1), 0)

    def action_move(self, by: int) -> None:
        """Draw the chart at the cursor earlier or later among the others."""
        key = self._at
        self._chosen = moved(self._chosen, key, by)
        self._list(at=key)

    def action_usual(self) -> None:
        """Choose what is drawn when nobody has chosen."""
        self._chosen = list(self._usual)
        self._list(at=self._at)

    def action_done(self) -> None:
        """Clear what was typed; without that close, and draw what is chosen."""
        line = self.query_one(Input)
        if line.value:
            line.value = ""
            return
        self.dismiss([] if self._chosen == self._usual else list(self._chosen))
