"""The keys of the list of runs that act on the run under the cursor, or on the marked ones."""

from __future__ import annotations

from collections.abc import Callable

from moco_tui.present.run_order import Fold
from moco_tui.present.run_rows import RunRow
from moco_tui.screens import next_steps
from moco_tui.screens.listing_screen import ListingScreen
from moco_tui.screens.messages import OpenComparison, OpenForm, StartDemo
from moco_tui.screens.run_actions import RunActions
from moco_tui.session import Session
from moco_tui.widgets.run_table import RunTable


class RowKeysScreen(ListingScreen):
    """The actions; which keys they have says the screen that is shown.

    Args:
        session: what all screens share.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.actions = RunActions(self, self.poll)
        self.select_next = ""  # id of the run to put the cursor on once its row is there

    @property
    def table(self) -> RunTable:
        """The table of runs."""
        return self.query_one(RunTable)

    @property
    def is_whole(self) -> bool:
        """Whether its widgets are there: a thread may come to its end while the app is left."""
        return self.is_open and bool(self.query(RunTable))

    @property
    def row(self) -> RunRow | None:
        """The run under the cursor; says so when there is none."""
        row = self.table.current
        if isinstance(self.table.line, Fold):
            self.say(
                f"Many {self.table.line.what} stand here; Enter shows them.", severity="warning"
            )
        elif row is None:
            self.say("There is no run under the cursor.", severity="warning")
        return row

    def action_like(self) -> None:
        """Configure a run that begins with this one's settings."""
        row = self.row
        if row is not None:
            self.ask_app(OpenForm(like=row.id, parent=row.encoder))

    def action_probe(self) -> None:
        """Configure a probe of the pretraining under the cursor."""
        line = self.table.line
        if isinstance(line, Fold) and line.kind == "probe":
            next_steps.probe(self, line.parent)
        elif (row := self.row) is not None:
            next_steps.probe(self, row.id)

    def action_compare(self) -> None:
        """Compare the marked runs."""
        chosen = list(self.table.marked)
        if not next_steps.LEAST <= len(chosen) <= next_steps.MOST:
            self.say(
                f"Mark two to eight runs with Space; {len(chosen)} marked now.", severity="warning"
            )
            return
        self.ask_app(OpenComparison(chosen))

    def action_look(self) -> None:
        """Look at what the encoders of the marked runs make of images, or that at the cursor."""
        marked = list(self.table.marked)
        row = None if marked else self.row
        self.actions.look(marked if row is None else [row.id])

    def action_export(self) -> None:
        """Write the marked runs, or all that are listed, to a new file."""
        self.actions.export(list(self.table.marked) or [row.id for row, _ in self.table.rows])

    def action_demo(self) -> None:
        """A small pretraining and a probe on the embedded images."""
        self.ask_app(StartDemo())

    def _change(self, change: Callable[[RunRow], None]) -> None:
        """Change the run under the cursor, if there is one and changes are allowed."""
        row = self.row
        if row is not None and self.writable():
            change(row)

    def action_tags(self) -> None:
        """Change the tags."""
        self._change(self.actions.tags)

    def action_note(self) -> None:
        """Change the note."""
        self._change(self.actions.note)

    def action_name(self) -> None:
        """Change the name."""
        self._change(self.actions.name)

    def action_resume(self) -> None:
        """Resume a stopped, failed or lost run in this app."""
        self._change(self.actions.resume)

    def action_stop(self) -> None:
        """Stop the run, whichever process trains it."""
        self._change(self.actions.stop)

    def action_extend(self) -> None:
        """Configure a run that goes on with this one to more epochs."""
        self._change(self.actions.extend)

    def action_fork(self) -> None:
        """Configure a run that goes on from a checkpoint of this one."""
        self._change(self.actions.fork)

    def action_delete(self) -> None:
        """Move the run to the trash, from which u brings it back."""
        self._change(self.actions.delete)

    def action_undo(self) -> None:
        """Bring the last deleted run back."""
        if self.writable():
            self.select_next = self.actions.undo()
