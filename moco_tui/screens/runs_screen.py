"""The first screen: all runs in a live table, and a preview of the one under the cursor."""

from __future__ import annotations

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widgets import Input, Static

from moco_tui.present import run_summary
from moco_tui.present.preview_part import DrawnRun
from moco_tui.present.run_order import FOLD_ABOVE, SORTS, Fold, arrange
from moco_tui.present.run_rows import RunRow
from moco_tui.screens.messages import OpenRun
from moco_tui.screens.row_keys_screen import RowKeysScreen
from moco_tui.screens.run_actions import OF_RUNS
from moco_tui.session import Session
from moco_tui.widgets.run_filter import RunFilter
from moco_tui.widgets.run_preview_frame import PreviewWish, RunPreviewFrame
from moco_tui.widgets.run_table import RunTable

WIDE = 120
"""Columns from which the preview stands beside the list (``MocoApp.HORIZONTAL_BREAKPOINTS``)."""


class RunsScreen(RowKeysScreen):
    """The table of runs, and the preview of the one under the cursor."""

    TITLE_TEXT = "Runs"
    # Textual's default focuses the first widget that can be, the hidden filter; keys meant for the
    # table would be typed into it.
    AUTO_FOCUS = ""
    HELP = """Every run of the runs folder, whoever trains it. Enter opens one; the preview shows
the one under the cursor, v opens and closes it. Space marks runs, whose curves the preview lays
over each other; c compares two to eight. The filter takes words and comparisons, such as
kind:probe, K=4096 or top1>60; every heading of the table is a key, in the unit that it shows. The
runs of a study stand under it, folded: f shows and hides them."""
    BINDINGS = [
        Binding("n", "new", "New"),
        Binding("p", "probe", "Probe"),
        Binding("c", "compare", "Compare"),
        Binding("S", "study", "Study"),
        Binding("L", "look", "Look at encoders", show=False),
        # Of priority, so that it has the focus before a key that is typed right behind it.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("v", "preview", "Preview"),
        Binding("o", "sort", "Sort", show=False),
        Binding("O", "reverse", "Reverse the order", show=False),
        Binding("f", "fold", "Show or hide what a run holds", show=False),
        Binding("t", "tags", "Tags", show=False),
        Binding("e", "note", "Note", show=False),
        Binding("N", "name", "Rename", show=False),
        Binding("r", "resume", "Start or resume", show=False),
        Binding("y", "like", "New run like this one", show=False),
        Binding("E", "extend", "Extend to more epochs", show=False),
        Binding("F", "fork", "Fork from a checkpoint", show=False),
        Binding("d,delete", "delete", "Delete", show=False),
        Binding("u", "undo", "Undo the delete", show=False),
        Binding("X", "app.open('trash')", "Trash", show=False),
        Binding("D", "demo", "Start the demo", show=False),
        Binding("escape", "back", "Clear", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._sort = SORTS[0]
        self._reverse = False
        self._shown_version = -1
        self._unfolded: set[str] = set()
        self._wide: bool | None = None  # None before the first size

    def content(self) -> ComposeResult:
        """Filter, table, preview."""
        yield RunFilter(self.session.runs)
        with Container(id="body"):
            yield RunTable(id="runs")
            yield RunPreviewFrame(self.session.root, id="preview")
        yield Static("", id="empty", markup=False)
        yield Static("", id="line", markup=False)

    # ---------------------------------------------------------------------------- data

    async def on_mount(self) -> None:
        """Read the runs, and wait for them briefly."""
        self.query_one("#empty").display = False
        self.top.set(str(self.session.root), "reading ...")
        self.table.clock = self.session.clock  # a test may set it
        await self.read_first()
        if self.query_one("#body").display:  # without runs its keys have nothing to act on
            self.table.focus()
        self.poll()

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
        table = self.table
        if self.select_next and self.select_next in runs.rows:
            self._unfold_above(runs.rows[self.select_next])
        # A filter must find runs in folded lines too.
        unfolded = self._unfolded if match is None else None
        table.show(arrange(rows, self._sort, self._reverse, unfolded))
        if self.select_next and self.select_next in runs.rows:
            table.select(self.select_next)
            self.select_next = ""
        # Marks outlast a filter, but not the run.
        for run_id in [run_id for run_id in table.marked if run_id not in runs.rows]:
            del table.marked[run_id]
        counts = run_summary.counts(rows, total, marked=len(table.marked))
        if self._sort != SORTS[0] or self._reverse:
            counts += f", by {self._sort.removeprefix('-')}" + ", reversed" * self._reverse
        self.top.set(str(self.session.root), counts)
        self._show_empty(total, len(rows))
        self._show_line()

    def _show_empty(self, total: int, shown: int) -> None:
        empty = self.query_one("#empty", Static)
        self.query_one("#body").display = bool(shown)
        empty.display = not shown
        if shown:
            if self.focused is None:  # the table lost the focus when it was hidden
                self.table.focus()
            return
        text = Text()
        if self.session.runs.error:
            text.append(self.session.runs.error)
        elif total:
            text.append("No run matches the filter.\n\n", style="bold")
            text.append("Escape clears it, / changes it.")
        else:
            text = run_summary.first_words(str(self.session.root))
        empty.update(text)

    @on(RunTable.Moved)
    @on(RunTable.Marked)
    def _moved(self) -> None:
        self._show_line()

    # ---------------------------------------------------------------------------- preview

    def on_resize(self, event: events.Resize) -> None:
        """From 120 columns on the preview is open until a key closes it, below the other way."""
        wide = event.size.width >= WIDE
        if wide != self._wide:
            self._wide = wide
            self.remove_class("-preview", "-no-preview")
            self.call_after_refresh(self._show_line)

    def action_preview(self) -> None:
        """Open or close the preview."""
        is_open = not self.query_one(RunPreviewFrame).display
        self.set_class(is_open, "-preview")
        self.set_class(not is_open, "-no-preview")
        if not isinstance(self.focused, Input):
            self.set_focus(self.table)
        self.call_after_refresh(self._show_line)

    def _show_line(self) -> None:
        """Show what is known of the line under the cursor."""
        line = self.table.line
        self.query_one("#line", Static).update(run_summary.line(line) if line is not None else "")
        self.query_one(RunPreviewFrame).ask(None if line is None else self._wish(line))

    def _wish(self, line: RunRow) -> PreviewWish:
        """What the preview is to show: the line under the cursor, and the curves of marked runs."""
        rows = self.session.runs.rows
        row = rows.get(line.folds, line) if isinstance(line, Fold) else line
        drawn = [
            DrawnRun(run_id, rows[run_id].title, place)
            for run_id, place in self.table.marked.items()
            if run_id in rows
        ]
        if row.id not in self.table.marked:
            drawn.append(DrawnRun(row.id, row.title, self.table.free_place))
        drawn.sort(key=lambda one: one.place)
        return PreviewWish(row, rows, tuple(drawn))

    # ---------------------------------------------------------------------------- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys that need a run while there is none."""
        if action == "filter" and isinstance(self.focused, Input):
            return False  # there it is a character
        del parameters
        if action in OF_RUNS:
            return bool(self.session.runs.rows) or bool(self.query_one(RunFilter).text)
        return True

    @on(RunTable.Opened)
    def _opened(self, event: RunTable.Opened) -> None:
        self.ask_app(OpenRun(event.row.id))

    @on(RunTable.Folded)
    def _folded(self, event: RunTable.Folded) -> None:
        self._fold(event.run)

    def action_fold(self) -> None:
        """Show or hide what stands under the run at the cursor, or beside it."""
        row = self.table.line
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
        table = self.table
        if not self.query_one(RunFilter).close():
            table.marked.clear()
        self.set_focus(table)
        self.show_rows(force=True)

    @on(RunFilter.Changed)
    def _filter_changed(self) -> None:
        self.table.note = [(self.query_one(RunFilter).text, "muted")]
        self.show_rows(force=True)

    @on(RunFilter.Left)
    def _filter_left(self) -> None:
        self.set_focus(self.table)
