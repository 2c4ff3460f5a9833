"""Stops a run from a screen, after a question unless the person wants none."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import UserError
from moco_tui.present.run_rows import LIVE, RunRow
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.submitted_runs import is_submitted, withdraw_behind


def ask_to_stop(
    screen: BaseScreen, title: str, run_id: str, kind: str, status: str, stop: Callable[[], None]
) -> None:
    """Ask whether a run is to be stopped; ``ask_before_stop = false`` answers for good.

    Args:
        screen: asks.
        title: of the run, safe to print.
        run_id: of the run.
        kind: of the run.
        status: of the run, a state that may change.
        stop: called after a yes.
    """
    if not screen.session.user.config.ask_before_stop:
        stop()
        return
    from moco_tui.present.stop_text import stop_question  # the first screen asks nothing
    from moco_tui.screens.dialogs import Confirm

    def stop_if_confirmed(yes: bool | None) -> None:
        if yes:
            stop()

    question = stop_question(title, run_id, kind, status)
    screen.app.push_screen(Confirm(question, "Stop (y)", "No (Escape)"), stop_if_confirmed)


def stop_row(screen: BaseScreen, row: RunRow) -> None:
    """Ask the trainer of a run of the table to stop it; say so where there is none."""
    if row.status not in LIVE:
        screen.say(f"{row.title} is {row.status}; there is nothing to stop.")
        return
    folder = screen.session.folder(row.id)

    def stop() -> None:
        if screen.session.runner.drop(folder):
            screen.say(f"{row.title} no longer waits for its turn; r starts it.")
            return
        if is_submitted(folder):
            withdraw_behind(screen, folder, row.title)
            return
        try:
            folder.request("stop")
        except UserError as error:
            screen.say(str(error), severity="error")
        else:
            screen.say(f"{row.title} stops after its present step.")

    ask_to_stop(screen, row.title, row.id, row.kind, row.status, stop)
