"""Asks at the start whether to resume runs whose process is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Button, Static

from moco_tui.present import fmt
from moco_tui.screens.dialogs import WideChoice
from moco_tui.session import Session
from moco_tui.training.lost_runs import LostRun, lost_among
from moco_tui.widgets.panel import Dialog

Answer = Literal["here", "detached", "later"]
"""Resume in this app; in a process of their own; not now."""
_SHOWN = 5  # runs that are listed; of the others their number


class LostRuns(WideChoice[Answer]):
    """Lists the lost runs with the step each resumes from, and asks where to resume them.

    Args:
        lost: at least one.
    """

    BINDINGS = [
        Binding("escape", "answer('later')", "Not now"),
        Binding("r", "answer('here')", "Resume here"),
        Binding("b", "answer('detached')", "Resume in the background"),
    ]

    def __init__(self, lost: Sequence[LostRun]) -> None:
        super().__init__()
        self._lost = lost

    def compose(self) -> ComposeResult:
        """The runs and the buttons."""
        lines = [f"{fmt.clean(run.title)}: {run.sentence()}." for run in self._lost[:_SHOWN]]
        if len(self._lost) > _SHOWN:
            lines.append(f"And {len(self._lost) - _SHOWN} more.")
        with Dialog("Runs whose process is gone"):
            yield Static("\n".join(lines), classes="question", markup=False)
            with Vertical(classes="choices"):
                yield Button("Resume here (r)", id="here", variant="primary", compact=True)
                yield Button("Resume in the background (b)", id="detached", compact=True)
                yield Button("Not now (Escape)", id="later", compact=True)

    def action_answer(self, answer: str) -> None:
        """Answer by a key."""
        self.dismiss(
            "here" if answer == "here" else "detached" if answer == "detached" else "later"
        )


async def offer_lost(app: App[Any], session: Session, start: Callable[..., None]) -> None:
    """Ask what is to be done with runs whose process is gone, if there are any.

    Args:
        app: shows the question.
        session: whose runs are looked at.
        start: begins runs; called with their folders and where.
    """
    entries = [row.entry for row in session.runs.rows.values()]
    # in a thread: it reads the record and the lock of every run that may be lost
    lost = await asyncio.to_thread(lost_among, entries, session.root)
    if not lost:
        return
    folders = [run.folder for run in lost]

    def resume(where: Answer | None) -> None:
        if where == "here":
            start(*folders, show=True)
        elif where == "detached":
            start(*folders, detached=True)

    app.push_screen(LostRuns(lost), resume)
