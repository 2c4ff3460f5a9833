"""Asks at the start whether to resume runs whose process is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from moco_tui.present import fmt
from moco_tui.screens.steady_screen import SteadyScreen
from moco_tui.training.lost_runs import LostRun

Answer = Literal["here", "detached", "later"]
"""Resume in this app; in a process of their own; not now."""
_SHOWN = 5  # runs that are listed; of the others their number


class LostRuns(SteadyScreen, ModalScreen[Answer]):
    """Lists the lost runs with the step each resumes from, and asks where to resume them.

    Args:
        lost: at least one.
    """

    DEFAULT_CSS = """
    LostRuns {
        align: center middle;
        & > Vertical {
            width: 72; max-width: 100%; height: auto; max-height: 100%;
            border: round $primary; background: $surface; padding: 0 2; overflow-y: auto;
        }
        & .question { width: 1fr; height: auto; margin: 1 0; }
        & .choices { height: auto; margin-bottom: 1; }
    }
    """
    BINDINGS = [
        Binding("escape", "answer('later')", "Not now"),
        Binding("r", "answer('here')", "Resume here"),
        Binding("b", "answer('detached')", "Resume in the background"),
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]

    def __init__(self, lost: Sequence[LostRun]) -> None:
        super().__init__()
        self._lost = lost

    def compose(self) -> ComposeResult:
        """The runs and the buttons."""
        lines = [f"{fmt.clean(run.title)}: {run.sentence()}." for run in self._lost[:_SHOWN]]
        if len(self._lost) > _SHOWN:
            lines.append(f"And {len(self._lost) - _SHOWN} more.")
        with Vertical():
            yield Static("\n".join(lines), classes="question", markup=False)
            with Vertical(classes="choices"):
                yield Button("Resume here (r)", id="here", variant="primary", compact=True)
                yield Button("Resume in the background (b)", id="detached", compact=True)
                yield Button("Not now (Escape)", id="later", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer(str(event.button.id))

    def action_answer(self, answer: str) -> None:
        """Answer by a key."""
        self.dismiss(
            "here" if answer == "here" else "detached" if answer == "detached" else "later"
        )
