"""The filter over the table of runs: a line to type it in, and why it is none."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from engine.errors import ConfigError
from engine.history.entry import Entry
from moco_tui.present import fmt
from moco_tui.present.run_list import RunList
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.shown_text import show_text


class RunFilter(Vertical):
    """Hidden until it is asked for.

    Args:
        runs: what it filters.

    Attributes:
        text: as typed.
        match: tells the runs that it lets through; None: all of them.
    """

    DEFAULT_CSS = "RunFilter { height: auto; width: 1fr; }"

    class Changed(Message):
        """Another filter is in force."""

    class Left(Message):
        """It was finished with Enter."""

    def __init__(self, runs: RunList) -> None:
        super().__init__()
        self._runs = runs
        self.text = ""
        self.match: Callable[[Entry], bool] | None = None

    def compose(self) -> ComposeResult:
        """The line, and the sentence on it."""
        box = LineInput(
            placeholder="filter: words, kind:probe, K=4096, top1>60, and / or / not",
            id="filter",
            compact=True,
        )
        box.display = False
        yield box
        line = Static("", id="filter-error", markup=False)
        line.display = False
        yield line

    def open(self) -> None:
        """Show and focus it."""
        box = self.query_one("#filter", Input)
        box.display = True
        self.screen.set_focus(box)  # at once, which ``focus`` is not

    def close(self) -> bool:
        """Clear and hide it; False where there was nothing to clear."""
        box = self.query_one("#filter", Input)
        if not (box.display or self.text):
            return False
        box.value = ""
        box.display = False
        self._use("", None)
        return True

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        text = event.value.strip()
        try:
            self._use(text, self._runs.matcher(text) if text else None)
        except ConfigError as error:
            self._use(text, None, fmt.clean(str(error)))
        self.post_message(self.Changed())

    def _use(self, text: str, match: Callable[[Entry], bool] | None, error: str = "") -> None:
        """Let runs through; with an error all of them, and say why."""
        self.text, self.match = text, match
        self.query_one("#filter", Input).set_class(bool(error), "wrong")
        line = self.query_one("#filter-error", Static)
        line.display = bool(error)
        show_text(line, Text(f"{error} No filter is in force." if error else "", style="bold"))

    @on(Input.Submitted, "#filter")
    def _done(self, event: Input.Submitted) -> None:
        event.stop()
        if event.input.has_class("wrong"):
            return  # what is wrong stands below it
        if not event.value.strip():
            event.input.display = False
        self.post_message(self.Left())
