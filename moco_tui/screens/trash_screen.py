"""The deleted runs: brings one back, removes one for good, empties the trash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.errors import UserError
from engine.history.history import History
from engine.history.together import deleted_with, purge_together, restore_together
from engine.runs.folder_size import size_of_all
from moco_tui.present import fmt
from moco_tui.present.deletion_text import went_along_text
from moco_tui.present.disk_usage import (
    Emptied,
    TrashedRow,
    empty_trash,
    remains_text,
    removal_question,
    trashed_rows,
)
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.dialogs import Confirm
from moco_tui.screens.steady_screen import SteadyList
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.panel import Frame
from moco_tui.widgets.shown_text import show_text


class TrashScreen(BaseScreen):
    """The deleted runs with what they take and when they were deleted."""

    TITLE_TEXT = "Trash"
    HELP = """The runs that were deleted, the last one first, with the bytes of their files. Enter
brings one back, and with a study what went with it. Removing a run for good, or emptying the trash,
gives the disk back; nothing brings that back."""
    BINDINGS = [
        Binding("u", "restore", "Restore"),
        Binding("d,delete", "remove", "Delete for good"),
        Binding("ctrl+d,shift+delete", "empty", "Empty"),
    ]
    DEFAULT_CSS = """
    TrashScreen {
        & #trash { height: 1fr; border: none; padding: 0; background: $surface; }
        & #trash:focus { border: none; }
        & #words { height: auto; padding: 0 1; color: $text-muted; }
    }
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._history = History(session.root, read_only=session.read_only)
        self._rows: list[TrashedRow] = []
        self._left = 0  # bytes of removals that were cut short
        self._at_work = False

    def content(self) -> ComposeResult:
        """The list, and what it adds up to."""
        with Frame("deleted runs"):
            yield SteadyList(id="trash")
        yield Static("reading ...", id="words", markup=False)

    def on_mount(self) -> None:
        """Read the trash; the sizes may take a moment."""
        self.query_one("#trash").focus()
        self.top.set(str(self.session.root))
        self._reload()

    def _reload(self) -> None:
        work_behind(self, self._read, group="read", exclusive=True)

    async def _read(self) -> None:
        try:
            rows, left = await asyncio.to_thread(self._look)
        except UserError as error:
            if self.is_open:
                show_text(self.query_one("#words", Static), fmt.clean(str(error)))
            return
        if self.is_open:
            self._show(rows, left)

    def _look(self) -> tuple[list[TrashedRow], int]:
        return trashed_rows(self._history), size_of_all(self._history.trashed.remains())

    def _show(self, rows: list[TrashedRow], left: int) -> None:
        trash = self.query_one("#trash", OptionList)
        at = trash.highlighted or 0
        self._rows, self._left = rows, left
        now = self.session.clock()
        trash.clear_options()
        trash.add_options([Option(Text(_line(row, now), no_wrap=True)) for row in rows])
        if rows:
            trash.highlighted = min(at, len(rows) - 1)
        words = f"{fmt.size(sum(row.size for row in rows))} in all."
        if not rows:
            words = "The trash is empty." if not left else ""
        if left:
            words = f"{words} {remains_text(left)}".strip()
        show_text(self.query_one("#words", Static), words)
        self.top.set(note=f"{len(rows)} deleted")

    # ---------------------------------------------------------------------------- keys

    @property
    def _row(self) -> TrashedRow | None:
        at = self.query_one("#trash", OptionList).highlighted
        return self._rows[at] if at is not None and at < len(self._rows) else None

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.action_restore()

    def action_restore(self) -> None:
        """Bring the run under the cursor back, and what went with it."""
        row = self._row
        if row is not None and self.writable():
            self._work(lambda: self._restored(row))

    def _restored(self, row: TrashedRow) -> str:
        back = restore_together(self._history, row.id)
        more = f", and {len(back) - 1:,} runs that went with it" if back[1:] else ""
        return f"{row.title} is back{more}."

    def action_remove(self) -> None:
        """Remove the run under the cursor for good, after a question."""
        row = self._row
        if row is None or not self.writable():
            return
        ids = {row.id, *deleted_with(self._history, row.id)}
        going = [one for one in self._rows if one.id in ids]
        with_it = f"{went_along_text(row.title, len(going) - 1)} " if going[1:] else ""
        question = with_it + removal_question(going)
        self._ask(question, "Remove", lambda: self._removed(row))

    def _removed(self, row: TrashedRow) -> str:
        gone = purge_together(self._history, row.id)
        more = f", and {len(gone) - 1:,} runs that went with it" if gone[1:] else ""
        return f"{row.title} is removed{more}."

    def action_empty(self) -> None:
        """Remove everything for good, after a question."""
        if not self._rows and not self._left:
            self.say("The trash is empty.")
        elif self.writable():
            question = removal_question(self._rows, left_over=self._left)
            ids = [row.id for row in self._rows]
            self._ask(question, "Empty", lambda: _emptied(empty_trash(self._history, ids)))

    def _ask(self, question: str, yes: str, work: Callable[[], str]) -> None:
        def work_if_confirmed(answer: bool | None) -> None:
            if answer:
                self._work(work)

        self.app.push_screen(Confirm(question, yes), work_if_confirmed)

    def _work(self, work: Callable[[], str]) -> None:
        """Change the trash in a thread, one change at a time; say what came of it."""
        if not self._at_work:
            self._at_work = True
            work_behind(self, partial(self._changed, work), group="change")

    async def _changed(self, work: Callable[[], str]) -> None:
        try:
            self.say(await asyncio.to_thread(work))
        except UserError as error:
            self.say(str(error), severity="error")
        finally:
            self._at_work = False
        if self.is_open:
            self._reload()


def _line(row: TrashedRow, now: float) -> str:
    size, when = fmt.size(row.size), fmt.ago(now - row.deleted)
    return f" {fmt.fit(row.id, 8)} {size:>10}  {when:>10}  {fmt.fit(row.kind, 9)} {row.name}"


def _emptied(done: Emptied) -> str:
    """What was given back.

    Raises:
        UserError: when a run stays, with the reason.
    """
    if done.failed:
        raise UserError(done.failed[0])
    return f"{fmt.size(done.freed)} given back."
