"""The first screen: all runs in a live table, with filter, sorting, tags, notes, delete, undo."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Input, Static

from moco_tui.present import run_summary
from moco_tui.present.probe_offer import why_no_probe_of
from moco_tui.present.run_order import FOLD_ABOVE, SORTS, Fold, arrange
from moco_tui.present.run_rows import RunRow
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.messages import OpenComparison, OpenForm, OpenRun, StartDemo
from moco_tui.screens.run_actions import OF_RUNS, RunActions
from moco_tui.session import Session
from moco_tui.widgets.panel import ScrollFrame
from moco_tui.widgets.run_filter import RunFilter
from moco_tui.widgets.run_table import RunTable

REFRESH_SECONDS = 1.0
FIRST_PAINT_SECONDS = 0.1
"""How long the first paint waits for the runs; a history that takes longer shows up after it."""


class RunsScreen(BaseScreen):
    """The table of runs, and the details of the one under the cursor."""

    TITLE_TEXT = "Runs"
    # Textual's default is the hidden filter: keys meant for the table would be typed into it.
    AUTO_FOCUS = ""
    HELP = """Every run of the runs folder, whoever trains it. Enter opens one. Space marks two to
eight of them, c compares the marked ones. The filter takes words and comparisons, such as
kind:probe, K=4096 or top1>60; every heading of the table is a key, in the unit that it shows. The
runs of a study stand under it, folded: f shows and hides them."""
    BINDINGS = [
        Binding("n", "new", "New"),
        Binding("P", "probe", "Probe"),
        Binding("c", "compare", "Compare"),
        Binding("S", "study", "Study"),
        Binding("x", "export", "Export", show=False),
        Binding("L", "look", "Look at encoders", show=False),
        # Of priority, so that it has the focus before a key that is typed right behind it.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("o", "sort", "Sort", show=False),
        Binding("O", "reverse", "Reverse the order", show=False),
        Binding("f", "fold", "Show or hide what a run holds", show=False),
        Binding("t", "tags", "Tags", show=False),
        Binding("e", "note", "Note", show=False),
        Binding("N", "name", "Rename", show=False),
        Binding("s", "stop", "Stop", show=False),
        Binding("r", "resume", "Resume or start", show=False),
        Binding("y", "like", "New run like this one", show=False),
        Binding("E", "extend", "Extend to more epochs", show=False),
        Binding("F", "fork", "Fork from a checkpoint", show=False),
        Binding("d,delete", "delete", "Delete", show=False),
        Binding("u", "undo", "Restore", show=False),
        Binding("X", "app.open('trash')", "Trash", show=False),
        Binding("D", "demo", "Start the demo", show=False),
        Binding("escape", "back", "Clear", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._sort = SORTS[0]
        self._reverse = False
        self._shown_version = -1
        self._refreshing = False
        self._counting = False
        self._monitor_imported = False
        self._timer: Timer | None = None
        self._select_next = ""  # id of the run to put the cursor on once its row is there
        self._unfolded: set[str] = set()
        self._left_out: tuple[str, ...] = ()  # sentences that were said

    def content(self) -> ComposeResult:
        """Filter, table, details."""
        yield RunFilter(self.session.runs)
        with Horizontal(id="body"):
            yield RunTable(id="runs")
            with ScrollFrame("details", id="details"):
                yield Static("", id="facts", markup=False)
        yield Static("", id="empty", markup=False)
        yield Static("", id="line", markup=False)

    # ---------------------------------------------------------------------------- data

    async def on_mount(self) -> None:
        """Read the runs, and wait for them briefly: nothing is painted before the end of this."""
        self._actions = RunActions(self, self.poll)
        self.query_one("#empty").display = False
        self.top.set(str(self.session.root), "reading ...")
        table = self.query_one(RunTable)
        table.clock = self.session.clock  # a test may set it
        # A paint of the empty table costs more time than reading a usual history. No batch of
        # updates is held for it: that would hold up every screen, whatever comes meanwhile.
        reading = asyncio.ensure_future(asyncio.to_thread(self.session.runs.refresh))
        await asyncio.wait({reading}, timeout=FIRST_PAINT_SECONDS)
        if reading.done():
            reading.result()
            self.show_rows()
        if self.query_one("#body").display:  # without runs its keys have nothing to act on
            table.focus()
        self.poll()

    def on_screen_resume(self) -> None:
        """Poll now, then every second while the screen is visible."""
        if self._timer is None:
            self._timer = self.set_interval(REFRESH_SECONDS, self.poll)
        self._timer.resume()
        self.call_after_refresh(self.poll)

    def on_screen_suspend(self) -> None:
        """The screen is hidden: stop polling."""
        if self._timer is not None:
            self._timer.pause()

    def poll(self) -> None:
        """Read changes in a thread, then show them; one poll at a time."""
        if not self._refreshing:
            self._refreshing = True
            self.run_worker(self._poll(), group="poll")

    async def _poll(self) -> None:
        try:
            await asyncio.to_thread(self.session.runs.refresh)
        finally:
            self._refreshing = False
        if self.is_mounted:  # the app may have been left while the thread was reading
            self._name_left_out()
            self.show_rows()
            # Behind it: a list does not wait for a look at every file.
            self.run_worker(self._count_sizes(), group="sizes")
        if not self._monitor_imported:
            self._monitor_imported = True
            # after the first paint, which must not share the interpreter with an import
            self.call_after_refresh(self.run_worker, self._import_monitor, group="warm-up")

    async def _count_sizes(self) -> None:
        """Count the files of some runs whose size is not known; the next poll shows them."""
        if not self._counting:
            self._counting = True
            try:
                await asyncio.to_thread(self.session.runs.count_sizes)
            finally:
                self._counting = False

    def _name_left_out(self) -> None:
        """Say once which entries of the runs folder cannot be looked at."""
        left_out = self.session.runs.history.left_out
        for sentence in left_out:
            if sentence not in self._left_out:
                self.say(sentence, severity="warning")
        self._left_out = left_out

    async def _import_monitor(self) -> None:
        """Import the monitor ahead of the first Enter: plotext is slow to import."""
        await asyncio.to_thread(importlib.import_module, "moco_tui.screens.monitor_screen")

    def show_rows(self, *, force: bool = False) -> None:
        """Bring the table up to date if anything changed."""
        runs = self.session.runs
        if runs.version == self._shown_version and not force:
            return
        self._shown_version = runs.version
        self.refresh_bindings()  # some keys depend on whether there are runs
        rows = list(runs.rows.values())
        total = len(rows)
        match = self.query_one(RunFilter).match
        if match is not None:
            rows = [row for row in rows if match(row.entry)]
        table = self.query_one(RunTable)
        if self._select_next and self._select_next in runs.rows:
            self._unfold_above(runs.rows[self._select_next])
        # A filter must find runs in folded lines too.
        unfolded = self._unfolded if match is None else None
        table.show(arrange(rows, self._sort, self._reverse, unfolded))
        if self._select_next and self._select_next in runs.rows:
            table.select(self._select_next)
            self._select_next = ""
        # Marks outlast a filter, but not the run.
        for run_id in [run_id for run_id in table.marked if run_id not in runs.rows]:
            del table.marked[run_id]
        counts = run_summary.counts(rows, total, marked=len(table.marked))
        if self._sort != SORTS[0] or self._reverse:
            counts += f", by {self._sort.removeprefix('-')}" + ", reversed" * self._reverse
        self.top.set(str(self.session.root), counts)
        self._show_empty(total, len(rows))
        self._show_details()

    def _show_empty(self, total: int, shown: int) -> None:
        empty = self.query_one("#empty", Static)
        self.query_one("#body").display = bool(shown)
        empty.display = not shown
        if shown:
            if self.focused is None:  # the table lost the focus when it was hidden
                self.query_one(RunTable).focus()
            return
        text = Text(self.session.runs.error)
        if total and not text:
            text.append("No run matches the filter.\n\n", style="bold")
            text.append("Escape clears it, / changes it.")
        elif not text:
            text = run_summary.first_words(str(self.session.root))
        empty.update(text)

    @on(RunTable.Moved)
    @on(RunTable.Marked)
    def _moved(self) -> None:
        self._show_details()

    def _show_details(self) -> None:
        row = self.query_one(RunTable).line
        self.query_one("#line", Static).update(run_summary.line(row) if row is not None else "")
        if self.query_one("#details").display:
            parent = self.session.runs.rows.get(row.parent) if row is not None else None
            self.query_one("#facts", Static).update(run_summary.facts(row, parent) if row else "")

    # ---------------------------------------------------------------------------- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys that need a run while there is none."""
        if action == "filter" and isinstance(self.focused, Input):
            return False  # there it is a character
        del parameters
        if action in OF_RUNS:
            return bool(self.session.runs.rows) or bool(self.query_one(RunFilter).text)
        return True

    @property
    def _row(self) -> RunRow | None:
        """The run under the cursor; says so when there is none."""
        table = self.query_one(RunTable)
        row = table.current
        if isinstance(table.line, Fold):
            self.say("Many probes stand here; Enter shows them.", severity="warning")
        elif row is None:
            self.say("There is no run under the cursor.", severity="warning")
        return row

    @on(RunTable.Opened)
    def _opened(self, event: RunTable.Opened) -> None:
        self.ask_app(OpenRun(event.row.id))

    @on(RunTable.Folded)
    def _folded(self, event: RunTable.Folded) -> None:
        self._fold(event.run)

    def action_fold(self) -> None:
        """Show or hide what stands under the run at the cursor, or beside it."""
        row = self.query_one(RunTable).line
        if row is None:
            return
        if row.kind == "probe":
            self._fold(row.parent)
        elif row.study and not self._has_many_probes(row.id):
            self._fold(row.study)
        else:
            self._fold(row.id)

    def _has_many_probes(self, run_id: str) -> bool:
        rows = self.session.runs.rows.values()
        return sum(row.parent == run_id for row in rows) > FOLD_ABOVE

    def _unfold_above(self, row: RunRow) -> None:
        """Show a run that stands in folded lines."""
        over = self.session.runs.rows.get(row.parent)
        self._unfolded |= {row.parent, row.study, over.study if over is not None else ""}

    def _fold(self, run_id: str) -> None:
        self._unfolded ^= {run_id}
        self.show_rows(force=True)

    def action_like(self) -> None:
        """Configure a run that begins with this one's settings."""
        row = self._row
        if row is not None:
            self.ask_app(OpenForm(like=row.id, parent=row.encoder))

    def action_probe(self) -> None:
        """Configure a probe of the pretraining under the cursor."""
        line = self.query_one(RunTable).line
        row = line if isinstance(line, Fold) else self._row
        if row is None:
            return
        if row.kind == "study":
            self.say(f"{row.title} is a study; put the cursor on a pretraining to probe it.")
            return
        parent = row.parent if row.kind == "probe" else row.id
        if reason := why_no_probe_of(self.session.folder(parent)):
            self.say(reason, severity="warning")
            return
        self.ask_app(OpenForm(parent=parent))

    def action_compare(self) -> None:
        """Compare the marked runs."""
        chosen = list(self.query_one(RunTable).marked)
        if not 2 <= len(chosen) <= 8:
            self.say(
                f"Mark two to eight runs with Space; {len(chosen)} marked now.", severity="warning"
            )
            return
        self.ask_app(OpenComparison(chosen))

    def action_look(self) -> None:
        """Look at what the encoders of the marked runs make of images, or that at the cursor."""
        marked = list(self.query_one(RunTable).marked)
        row = None if marked else self._row
        self._actions.look(marked if row is None else [row.id])

    def action_export(self) -> None:
        """Write the marked runs, or all that are listed, to a new file."""
        table = self.query_one(RunTable)
        self._actions.export(list(table.marked) or [row.id for row, _ in table.rows])

    def action_demo(self) -> None:
        """A small pretraining and a probe on the embedded images."""
        self.ask_app(StartDemo())

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self.show_rows(force=True)

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._reverse = not self._reverse
        self.show_rows(force=True)

    def action_filter(self) -> None:
        """Show and focus the filter."""
        self.query_one(RunFilter).open()

    def action_back(self) -> None:
        """Clear the filter; where there is none, the marks. There is no screen to go back to."""
        table = self.query_one(RunTable)
        if not self.query_one(RunFilter).close():
            table.marked.clear()
        self.set_focus(table)
        self.show_rows(force=True)

    @on(RunFilter.Changed)
    def _filter_changed(self) -> None:
        self.query_one(RunTable).note = [(self.query_one(RunFilter).text, "muted")]
        self.show_rows(force=True)

    @on(RunFilter.Left)
    def _filter_left(self) -> None:
        self.set_focus(self.query_one(RunTable))

    def _change(self, change: Callable[[RunRow], None]) -> None:
        """Change the run under the cursor, if there is one and changes are allowed."""
        row = self._row
        if row is not None and self.writable():
            change(row)

    def action_tags(self) -> None:
        """Change the tags."""
        self._change(self._actions.tags)

    def action_note(self) -> None:
        """Change the note."""
        self._change(self._actions.note)

    def action_name(self) -> None:
        """Change the name."""
        self._change(self._actions.name)

    def action_resume(self) -> None:
        """Resume a stopped, failed or lost run in this app."""
        self._change(self._actions.resume)

    def action_stop(self) -> None:
        """Stop the run, whichever process trains it."""
        self._change(self._actions.stop)

    def action_extend(self) -> None:
        """Configure a run that goes on with this one to more epochs."""
        self._change(self._actions.extend)

    def action_fork(self) -> None:
        """Configure a run that goes on from a checkpoint of this one."""
        self._change(self._actions.fork)

    def action_delete(self) -> None:
        """Move the run to the trash, from which u brings it back."""
        self._change(self._actions.delete)

    def action_undo(self) -> None:
        """Bring the last deleted run back."""
        if self.writable():
            self._select_next = self._actions.undo()
