"""The first screen: all runs in a live table, and a preview of the one under the cursor."""

from __future__ import annotations

import asyncio
import importlib
import time
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widgets import Input, Static

from moco_tui.present import run_summary
from moco_tui.present.baseline import RunBaseline
from moco_tui.present.preview_part import DrawnRun
from moco_tui.present.run_columns import CURVE, GLYPH, OVER_BASE
from moco_tui.present.run_groups import SeedGroup, group_with
from moco_tui.present.run_order import FOLD_ABOVE, Fold
from moco_tui.present.run_rows import RunRow
from moco_tui.screens.list_steps import show_steps
from moco_tui.screens.list_view import ListView
from moco_tui.screens.messages import OpenRun
from moco_tui.screens.row_keys_screen import RowKeysScreen
from moco_tui.screens.run_actions import OF_RUNS
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.redraw_pace import RedrawPace
from moco_tui.widgets.run_filter import RunFilter
from moco_tui.widgets.run_preview_frame import PreviewWish, RunPreviewFrame
from moco_tui.widgets.run_table import RunTable
from moco_tui.widgets.shown_text import show_text

if TYPE_CHECKING:  # the first screen does not wait for what draws curves
    from moco_tui.charts.run_sparks import RunSparks

WIDE = 120
"""Columns from which the preview stands beside the list (``MocoApp.HORIZONTAL_BREAKPOINTS``)."""

SHOW_SHARE = 0.1
"""Of the time, that laying all rows out may take when nobody asks for it."""


class RunsScreen(RowKeysScreen):
    """The table of runs, and the preview of the one under the cursor."""

    TITLE_TEXT = "Runs"
    # Textual's default is the hidden filter: keys meant for the table would be typed into it.
    AUTO_FOCUS = ""
    HELP = """Every run of the runs folder, whoever trains it. Enter opens one; the preview shows
the one under the cursor, v opens and closes it. Space marks runs, whose curves the preview lays
over each other; c compares two to eight. b pins the run under the cursor as the baseline: then
every accuracy stands beside its difference to that in points, wherever both measure the same. The
filter takes words and comparisons, such as kind:probe, K=4096 or top1>60; every heading of the
table but curve and vs base is a key, in the unit that it shows. The runs of a study stand under it,
folded: f shows and hides them. g puts runs that differ by their seed alone into one line, with the
mean and its 95 % interval (of two the range); o chooses the columns, ] sorts by the next one."""
    BINDINGS = [
        Binding("n", "new", "New"),
        Binding("P", "probe", "Probe"),
        Binding("c", "compare", "Compare"),
        Binding("S", "study", "Study"),
        Binding("x", "export", "Export", show=False),
        Binding("L", "look", "Look at encoders", show=False),
        # Of priority, so that it has the focus before a key that is typed right behind it.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("v", "preview", "Preview"),
        Binding("b", "baseline", "Baseline"),
        Binding("g", "group", "Group by seed"),
        Binding("o", "columns", "Columns"),
        Binding("right_square_bracket", "sort", "Sort by the next column", show=False),
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
        Binding("G", "app.open('devices')", "Devices: who computes where", show=False),
        Binding("D", "demo", "Start the demo", show=False),
        Binding("escape", "back", "Clear", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.view = ListView(session, self._warn)
        self._sparks: RunSparks | None = None  # made behind the first paint
        self._sampling = False
        self._shown_version = -1
        self._shown_at = float("-inf")  # when all rows were laid out
        self._pace = RedrawPace(0.0, SHOW_SHARE)
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
        if not self.is_whole:
            return
        self._sample()
        runs = self.session.runs
        version, now = runs.version, time.monotonic()  # the version first: it may change meanwhile
        match = self.query_one(RunFilter).match
        if not force:
            if version == self._shown_version:
                return
            if match is None and show_steps(runs, self.view, self.table, self._shown_version):
                self._shown_version = version
                self._show_line()
                return
            if now < self._shown_at + self._pace.interval:  # keys wait while it is laid out
                return
        self._shown_version = version
        self.refresh_bindings()  # some keys depend on whether there are runs
        rows = list(runs.rows.values())
        total = len(rows)
        if match is not None:
            rows = [row for row in rows if match(row.entry)]
        table = self.table
        if self.select_next and self.select_next in runs.rows:
            self._unfold_above(runs.rows[self.select_next])
        # A filter must find runs in folded lines too.
        unfolded = self._unfolded if match is None else None
        entries = [row.entry for row in runs.rows.values()]
        table.show_columns(self.view.columns(entries), self.view.order)
        base = RunBaseline(runs.rows, self.view.base)
        table.fills[OVER_BASE] = lambda row, _: base.text(row)
        table.show(self.view.arranged(rows, unfolded, base))
        if self.select_next and self.select_next in runs.rows:
            table.select(self.select_next)
            self.select_next = ""
        # Marks outlast a filter, but not the run.
        for run_id in [run_id for run_id in table.marked if run_id not in runs.rows]:
            del table.marked[run_id]
        counts = run_summary.counts(rows, total, marked=len(table.marked))
        self.top.set(str(self.session.root), counts + self.view.words)
        self._show_empty(total, len(rows))
        self._show_line()
        self._shown_at = time.monotonic()
        self._pace.spend(self._shown_at - now)
        self._pace.next_interval()

    def _warn(self, text: str) -> None:
        self.say(text, severity="warning")

    def _show_empty(self, total: int, shown: int) -> None:
        empty = self.query_one("#empty", Static)
        self.query_one("#body").display = bool(shown)
        empty.display = not shown
        if shown:
            if self.focused is None:  # the table lost the focus when it was hidden
                self.table.focus()
            return
        text = Text(self.session.runs.error)
        if total and not text:
            text.append("No run matches the filter.\n\n", style="bold")
            text.append("Escape clears it, / changes it.")
        elif not text:
            text = run_summary.first_words(str(self.session.root))
        show_text(empty, text)

    @on(RunTable.Moved)
    @on(RunTable.Marked)
    def _moved(self) -> None:
        self._show_line()
        self._sample()

    async def warm_up(self) -> None:
        """Import what the first paint did without, then draw the curves in the list."""
        await super().warm_up()
        module = await asyncio.to_thread(importlib.import_module, "moco_tui.charts.run_sparks")
        self._sparks = module.RunSparks(self.session.root, ascii_only=self.session.ascii)
        if self.is_whole:
            self.table.fills[CURVE] = self._sparks.text
            self._sample()

    def _sample(self) -> None:
        """Sample the losses of the runs on screen, if they have a column."""
        table = self.table
        columns = table.columns(table.scrollable_content_region.width)
        if self._sparks is None or self._sampling or CURVE not in [one.id for one, _ in columns]:
            return
        runs = [row.runs[0].id if isinstance(row, Fold) else row.id for row in table.on_screen]
        self._sampling = True
        work_behind(self, partial(self._read_sparks, self._sparks, runs), group="sparks")

    async def _read_sparks(self, sparks: RunSparks, runs: list[str]) -> None:
        try:
            changed = await asyncio.to_thread(sparks.read, runs)
        finally:
            self._sampling = False
        if changed and self.is_whole:
            self.table.refresh_changed()
            self._sample()  # the list may have been scrolled meanwhile

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
        if not self.is_whole:
            return
        line, words = self.table.line, self.query_one("#line", Static)
        show_text(words, run_summary.line(line) if line is not None else "")
        self.query_one(RunPreviewFrame).ask(None if line is None else self._wish(line))

    def _wish(self, line: RunRow) -> PreviewWish:
        """What the preview is to show: the line under the cursor, and the curves of marked runs."""
        rows = self.session.runs.rows
        # The preview of many probes is that of their pretraining.
        row = rows.get(line.folds, line) if isinstance(line, Fold) else line
        runs = tuple(one.id for one in row.runs) if isinstance(row, SeedGroup) else ()
        name = row.label if isinstance(row, SeedGroup) else row.title
        drawn = [
            DrawnRun(run_id, rows[run_id].title, place)
            for run_id, place in self.table.marked.items()
            if run_id in rows
        ]
        if row.id not in self.table.marked:
            drawn.append(DrawnRun(row.id, name, self.table.free_place, runs))
        drawn.sort(key=lambda one: one.place)
        return PreviewWish(row, rows, tuple(drawn), self.view.base)

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
        group = group_with(row.id, (line for line, _ in self.table.rows))
        if isinstance(row, Fold):
            self._fold(row.folds)
        elif row.kind == "probe":
            self._fold(row.parent)
        elif group is not None and not self._has_many_probes(row.id):
            self._fold(group.folds)
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
        for id_ in (row.id, row.parent):
            group = group_with(id_, (line for line, _ in self.table.rows))
            self._unfolded |= {group.folds} if group is not None else set()

    def _fold(self, run_id: str) -> None:
        self._unfolded ^= {run_id}
        self.show_rows(force=True)

    @on(RunTable.Sorted)
    def _head_clicked(self, event: RunTable.Sorted) -> None:
        self.view.sort_by(event.key)
        self.show_rows(force=True)

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.view.next_sort([column.sort for column in self.table.shown_columns])
        self.show_rows(force=True)

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.view.turn()
        self.show_rows(force=True)

    def action_group(self) -> None:
        """Put runs that differ by their seed alone into one line, or part them again."""
        self.view.group()
        self.show_rows(force=True)

    def action_baseline(self) -> None:
        """Compare all runs with the one under the cursor; with the same again no more."""
        row = self.row
        if row is None:
            return
        if row.kind == "study":
            self.say(f"{row.title} is a study; put the cursor on a run to compare others with it.")
            return
        self.view.pin(row.id)
        verb = "is" if self.view.base else "is no more"
        self.say(f"{row.title} {verb} the baseline, which accuracies are compared with.")
        self.show_rows(force=True)

    def action_columns(self) -> None:
        """Choose the columns, and their order."""
        from moco_tui.present.run_columns import offers
        from moco_tui.screens.columns_dialog import ColumnsDialog  # not for the first paint

        table, entries = self.table, [row.entry for row in self.session.runs.rows.values()]
        suits = [one.id for one, _ in table.columns(table.scrollable_content_region.width)]
        suits = ["state" if one == GLYPH else one for one in suits]
        by_default = [name for one in suits for name in one.split("|")]
        chosen = self.view.names or by_default

        def have(names: list[str] | None) -> None:
            if names is not None and tuple(names) != self.view.names:
                self.view.choose(tuple(names))
                self.show_rows(force=True)

        dialog = ColumnsDialog(offers(entries), chosen, by_default, is_default=not self.view.names)
        self.app.push_screen(dialog, have)

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
