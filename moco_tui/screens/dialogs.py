"""Dialogs that ask one question: yes or no, a line of text, how to leave with a run active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets import Button, Input, Static

from moco_tui.screens.steady_screen import SteadyScreen
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.panel import Dialog

Leaving = Literal["keep", "stop", "cancel"]
"""The run goes on in the background; stops with a checkpoint; the app stays open."""

# Inside DEFAULT_CSS, nested under the name of each dialog.
_BOX = """
    align: center middle;
    & .question { width: 1fr; height: auto; margin: 1 0; }
    & .choices { height: auto; }
    & Horizontal { height: auto; margin-bottom: 1; }
    & Button { margin-right: 1; min-width: 8; }
"""


class Confirm(SteadyScreen, ModalScreen[bool]):
    """A yes-or-no question.

    Args:
        question: may hold names from files; it is not read as markup.
        yes: text of the button that answers True.
        no: text of the button that answers False, as Escape does.
    """

    DEFAULT_CSS = "Confirm {" + _BOX + "}"
    BINDINGS = [
        Binding("escape,n", "answer(False)", "No"),
        Binding("y", "answer(True)", "Yes"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, question: str, yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._question, self._yes, self._no = question, yes, no

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Dialog("Are you sure?"):
            yield Static(self._question, classes="question", markup=False)
            with Horizontal():
                yield Button(self._yes, id="yes", variant="primary", compact=True)
                yield Button(self._no, id="no", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Answer by a key."""
        self.dismiss(yes)


class Ask(SteadyScreen, ModalScreen[str | None]):
    """Asks for a line of text; Escape answers None.

    Args:
        question: may hold names from files; it is not read as markup.
        value: the text to change.
        placeholder: shown while the field is empty.
    """

    DEFAULT_CSS = "Ask {" + _BOX + "}"
    BINDINGS = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, question: str, value: str = "", placeholder: str = "") -> None:
        super().__init__()
        self._question, self._value, self._placeholder = question, value, placeholder

    def compose(self) -> ComposeResult:
        """The question and a field."""
        with Dialog("A line of text"):
            yield Static(self._question, classes="question", markup=False)
            # Selected on focus, the value would be replaced by the first key that is typed.
            yield LineInput(self._value, placeholder=self._placeholder, select_on_focus=False)
            yield Static("Enter keeps it, Escape leaves it as it was.", classes="question")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_cancel(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


class WideChoice(SteadyScreen, ModalScreen[ScreenResultType]):
    """A question with several answers below each other, each a button and a key.

    The id of a button is its answer; ``action_answer`` takes it, from the button or from the key.
    """

    DEFAULT_CSS = """
    WideChoice {
        align: center middle;
        & Dialog { width: 72; }
        & .question { width: 1fr; height: auto; margin: 1 0; }
        & .choices { height: auto; margin-bottom: 1; }
    }
    """
    BINDINGS = [
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer(str(event.button.id))

    def action_answer(self, answer: str) -> None:
        """Close with the answer that a key or a button stands for."""
        raise NotImplementedError


class LeaveEdits(WideChoice[bool]):
    """Asks whether a form is left that holds what a person has typed; True leaves it.

    Args:
        edits: what would be lost, as in "3 settings".
    """

    BINDINGS = [
        Binding("escape,k", "answer('keep')", "Keep editing"),
        Binding("l", "answer('leave')", "Leave"),
    ]

    def __init__(self, edits: str) -> None:
        super().__init__()
        self._edits = edits

    def compose(self) -> ComposeResult:
        """What would be lost, and two buttons."""
        with Dialog("Leave the form?"):
            text = f"What you typed here ({self._edits}) has not been started, and is not kept."
            yield Static(text, classes="question", markup=False)
            with Vertical(classes="choices"):
                yield Button("Keep editing (k)", id="keep", variant="primary", compact=True)
                yield Button("Leave without it (l)", id="leave", compact=True)

    def action_answer(self, answer: str) -> None:
        """Answer by a key or a button."""
        self.dismiss(answer == "leave")


def edits_are_asked_about(app: App[Any], leave: Callable[[], None]) -> bool:
    """Whether an open form asks first before the app is left; it leaves then by itself.

    Args:
        app: the app.
        leave: is called when the person gives up what was typed.
    """
    return any(
        asks is not None and asks(leave)
        for screen in reversed(app.screen_stack)
        for asks in [getattr(screen, "asks_about_edits", None)]
    )


class Leave(SteadyScreen, ModalScreen[Leaving]):
    """Asks whether the run that this app trains goes on, stops, or keeps the app open.

    Args:
        name: title of the run, safe to print.
        waiting: how many runs wait behind it.
    """

    DEFAULT_CSS = "Leave {" + _BOX + "}"
    BINDINGS = [
        Binding("escape", "answer('cancel')", "Cancel"),
        Binding("k", "answer('keep')", "Keep training"),
        Binding("s", "answer('stop')", "Stop with a checkpoint"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]

    def __init__(self, name: str, waiting: int) -> None:
        super().__init__()
        self._run_name, self._waiting = name, waiting

    def compose(self) -> ComposeResult:
        """What is being trained, and three buttons."""
        text = f"{self._run_name} is training in this app."
        if self._waiting:
            text += f" {self._waiting} more {'waits' if self._waiting == 1 else 'wait'} for it."
        with Dialog("Leave"):
            yield Static(text, classes="question", markup=False)
            with Vertical(classes="choices"):
                yield Button(
                    "Keep training (k): goes on in the background",
                    id="keep",
                    variant="primary",
                    compact=True,
                )
                yield Button("Stop with a checkpoint (s)", id="stop", compact=True)
                yield Button("Cancel (Escape): stay here", id="cancel", compact=True)
            yield Static("", classes="question")  # a blank line below the buttons

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer(str(event.button.id))

    def action_answer(self, answer: str) -> None:
        """Answer by a key."""
        self.dismiss("keep" if answer == "keep" else "stop" if answer == "stop" else "cancel")
