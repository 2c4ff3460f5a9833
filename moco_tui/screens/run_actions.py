"""What a person does to a run of the table: tags, note, name, resume, delete and undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.errors import UserError
from engine.runs import RunFolder
from moco_tui.present.run_rows import LIVE, RunRow

if TYPE_CHECKING:
    from moco_tui.app import MocoApp


class RunActions:
    """Changes runs, asking first where that is due, and remembers what was deleted.

    Args:
        app: asks, tells, and has the history.
        changed: called after a change.
    """

    def __init__(self, app: MocoApp, changed: Callable[[], None]) -> None:
        self._app = app
        self._changed = changed
        self._deleted: list[str] = []

    def tags(self, row: RunRow) -> None:
        """Change the tags."""

        def keep(text: str) -> None:
            self._app.catalog.history.annotate(row.id, tags=text.replace(",", " ").split())

        self._ask(f"Tags of {row.title}, separated by spaces", " ".join(row.tags), keep)

    def note(self, row: RunRow) -> None:
        """Change the note."""

        def keep(text: str) -> None:
            self._app.catalog.history.annotate(row.id, note=text)

        self._ask(f"Note on {row.title}", row.note, keep)

    def name(self, row: RunRow) -> None:
        """Change the name."""

        def keep(text: str) -> None:
            self._app.catalog.history.annotate(row.id, name=text)

        self._ask(f"Name of {row.id}", row.name, keep)

    def resume(self, row: RunRow) -> None:
        """Go on with a stopped, failed or lost run, in this app."""
        if row.status in ("stopped", "failed", "lost", "queued"):
            self._app.start_run(self._folder(row))
            self._app.open_monitor(row.id)
        else:
            self._app.say(f"{row.title} is {row.status}; there is nothing to resume.")

    def delete(self, row: RunRow) -> None:
        """Move the run to the trash, from which ``undo`` brings it back."""
        from moco_tui.screens.dialogs import Confirm

        if row.status in LIVE and row.status != "queued":
            self._app.say(
                f"{row.title} is {row.status}; stop it before you delete it.", severity="error"
            )
            return

        def answered(yes: bool | None) -> None:
            if not yes:
                return
            try:
                self._app.runner.drop(self._folder(row))
                with self._app.catalog.lock:
                    self._app.catalog.history.delete(row.id)
            except UserError as error:
                self._app.say(str(error), severity="error")
                return
            self._deleted.append(row.id)
            self._app.say(f"{row.title} is in the trash; u brings it back.")
            self._changed()

        self._app.push_screen(
            Confirm(f"Delete {row.title}? It can be restored.", "Delete"), answered
        )

    def undo(self) -> str:
        """Bring the last deleted run back; its id, empty when there is none."""
        if not self._deleted:
            self._app.say("Nothing was deleted here.")
            return ""
        run_id = self._deleted.pop()
        try:
            with self._app.catalog.lock:
                self._app.catalog.history.restore(run_id)
        except UserError as error:
            self._app.say(str(error), severity="error")
            return ""
        self._app.say(f"{run_id} is back.")
        self._changed()
        return run_id

    def _folder(self, row: RunRow) -> RunFolder:
        return RunFolder(self._app.root / row.id)

    def _ask(self, question: str, value: str, keep: Callable[[str], None]) -> None:
        from moco_tui.screens.dialogs import Ask

        def answered(text: str | None) -> None:
            if text is None:
                return
            try:
                with self._app.catalog.lock:
                    keep(text)
            except UserError as error:
                self._app.say(str(error), severity="error")
            self._changed()

        self._app.push_screen(Ask(question, value), answered)
