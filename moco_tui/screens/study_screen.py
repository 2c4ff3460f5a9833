"""One study, live: its table cell by cell, its curves, what may be concluded, its pretrainings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.css.query import NoMatches
from textual.widgets import Static

from engine.config.schema import StudyConfig
from engine.errors import UserError
from engine.runs import RunFolder
from engine.study import formats as studyexport
from engine.study import report as findings
from engine.study.study_state import state_from_entries
from engine.study.table import Pivot, dimension, tables, values
from moco_tui.present import fmt
from moco_tui.present import study_text as studytext
from moco_tui.present import study_view as studyview
from moco_tui.screens.export_dialog import ask_and_write
from moco_tui.screens.watch_screen import WatchScreen
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.label_chart import LabelChart
from moco_tui.widgets.study_table import StudyTable
from moco_tui.widgets.text_panel import Panel

PANELS = ("table", "curve", "answer", "pretrainings", "log")


class StudyScreen(WatchScreen):
    """Watches a study through the runs folder, whoever computes it.

    Args:
        folder: the study's run.
    """

    TITLE_TEXT = "Study"
    HELP = """A grid of pretrainings and probes, filling in. x swaps rows and columns, v shows
other ones; t, h, f and o show one task, head, share of the labels or source alone, then the next.
Enter opens the runs behind a cell. 1 to 5 show a panel. A state changes here when the trainer has
acknowledged it."""
    BINDINGS = [
        Binding("x", "swap", "Swap"),
        Binding("v", "view", "Rows, columns", show=False),
        Binding("t", "only('task')", "One task alone, the next, all", show=False),
        Binding("h", "only('head')", "One head alone, the next, all", show=False),
        Binding(
            "f", "only('fraction')", "One share of the labels alone, the next, all", show=False
        ),
        Binding("o", "only('source')", "One source alone, the next, all", show=False),
        Binding("a", "all", "Show all", show=False),
        Binding("e", "export", "Export"),
        Binding("1", "panel('table')", "Table", show=False),
        Binding("2", "panel('curve')", "Curves", show=False),
        Binding("3", "panel('answer')", "Answer, comparisons, protocol", show=False),
        Binding("4", "panel('pretrainings')", "Pretrainings", show=False),
        Binding("5", "panel('log')", "Log", show=False),
    ]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.config: StudyConfig | None = None
        self.seen: studyview.Seen | None = None
        self.pivot = Pivot()
        self._version = -1
        self._looking = False
        self._panel = "table"
        self._broken = ""

    def content(self) -> ComposeResult:
        """Progress, the slice, and panels."""
        yield Static("", id="progress", markup=False)
        yield Static("", id="slice", markup=False)
        with Container(id="panels"):
            yield StudyTable(id="table")
            yield Static("", id="cell", markup=False)
            yield LabelChart("accuracy", id="curve", classes="lower")
            yield Panel("answer", id="answer", classes="lower")
            yield Panel("pretrainings", id="pretrainings", classes="lower")
            yield Panel("log", follow=True, id="log", classes="lower")
        yield Static("", id="tabs", markup=False)

    # ---------------------------------------------------------------------------- life

    def on_mount(self) -> None:
        """Read the runs in a thread, so that many do not hold the keys."""
        self.query_one("#curve", Chart).empty = "a point appears when the first seed is complete"
        self.query_one("#slice", Static).update("reading ...")
        self._show_panel("table")
        self.query_one(StudyTable).focus()
        self.tick()

    def on_screen_resume(self) -> None:
        """Visible: go on looking."""
        self.tick()

    def tick(self) -> None:
        """Look once and arm the next look."""
        self.disarm()
        if self.is_mounted and not self._looking and self.app.screen is self:
            self._looking = True
            self.run_worker(self._tick(), group="look")

    async def _tick(self) -> None:
        before = self.status
        try:
            self._safely(self.look, self._read_config)
            seen, seconds = await asyncio.to_thread(self._survey)
            self.pace.spend(seconds)
        finally:
            self._looking = False
        if not self.is_mounted or self.app.screen is not self:
            return
        start = time.perf_counter()
        if seen is not None:
            self.seen = seen
        changed = seen is not None
        self._safely(lambda: self._show_all(changed, self.status != before))
        self.pace.spend(time.perf_counter() - start)
        self.arm()

    def _show_all(self, changed: bool, turned: bool) -> None:
        """Bring everything up to date that may have changed."""
        if self.moco.catalog.error or self._broken:
            self.fault(self.moco.catalog.error or self._broken)
        if changed:
            self._show_tables()
        elif turned:
            self._show_place()
        self._show_log()
        self._show_progress()

    def _safely(self, *shows: Callable[[], None]) -> None:
        """Show things; nothing where the screen is being taken apart meanwhile."""
        with contextlib.suppress(NoMatches):
            for show in shows:
                show()

    # ---------------------------------------------------------------------------- looking

    def _read_config(self) -> None:
        if self.config is not None or self.record is None:
            return
        try:
            self.config = msgspec.convert(self.record.config, StudyConfig, strict=False)
        except msgspec.ValidationError as error:
            self.fault(f"The record of study {self.record.id} is not one of this version: {error}.")

    def _survey(self) -> tuple[studyview.Seen | None, float]:
        """What the history says now, and what that cost; None when it is what it was."""
        start = time.thread_time()
        catalog = self.moco.catalog
        catalog.refresh()
        seen = None
        if self.config is not None and catalog.version != self._version:
            self._version = catalog.version
            entries = [row.entry for row in catalog.rows.values()]
            try:
                study_state = state_from_entries(self.config, entries)
                if self.seen is None or study_state != self.seen.study_state:
                    seen = studyview.Seen(findings.report(self.config, study_state))
            except (UserError, TypeError, ValueError, LookupError) as error:
                # a record that somebody has changed by hand, in a way that nobody thought of
                self._broken = f"The runs of the study cannot be made out: {error}."
            else:
                self._broken = ""
        return seen, time.thread_time() - start

    # ---------------------------------------------------------------------------- showing

    def _show_tables(self) -> None:
        """Bring everything that shows cells up to date."""
        seen, config = self.seen, self.config
        if seen is None or config is None:
            return
        made = tables(config, seen.report.rows, self.pivot)
        self.query_one(StudyTable).show(made, seen.report.majority, seen.progress)
        text = Text(no_wrap=True, overflow="ellipsis")
        for key, what in studyview.slice_parts(config, self.pivot):
            text.append(f"{key} ", style="bold")
            text.append(f"{what}  ")
        self.query_one("#slice", Static).update(text)
        self._show_tabs()
        self.query_one("#pretrainings", Panel).show(studytext.pretraining_lines(seen.study_state))
        self._show_answer()

    def _show_answer(self) -> None:
        panel = self.query_one("#answer", Panel)
        if self.seen is not None and panel.display:
            panel.show(studytext.answer_lines(self.seen.report, panel.size.width - 1))

    @on(StudyTable.Moved)
    def _moved(self) -> None:
        self._safely(self._show_place)

    def _show_place(self) -> None:
        """The line on the cell and the curves follow the cursor."""
        seen, config = self.seen, self.config
        place = self.query_one(StudyTable).place
        if seen is None or config is None:
            return
        cell = self.query_one("#cell", Static)
        if place is None:
            cell.update("")
            return
        text = studyview.details(seen, place, self.query_one(StudyTable).current)
        if all(trained.state == "missing" for trained in seen.study_state.pretrainings.values()):
            text = studytext.first_words(self.status)
        cell.update(Text(text, overflow="ellipsis"))
        task, head = place["task"], place["head"]
        self.query_one("#curve", LabelChart).take(
            fmt.clean(f"top-1, task {task}, {head} head"),
            studyview.curves_at(seen.report, task, head),
            values(config)["source"],
            seen.report.majority.get(task),
        )

    def _show_progress(self) -> None:
        if self.seen is None or self.record is None or self.status == "gone":
            return
        bar = self.query_one("#progress", Static)
        width = max(bar.content_size.width, 20)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(studytext.progress_line(self.seen, width, ascii_only=self.moco.ascii))
        text.append("\n")
        entries = {id_: row.entry for id_, row in self.moco.catalog.rows.items()}
        left = studytext.time_left(self.seen.study_state, entries, self.moco.clock())
        text.append(studytext.state_line(self.seen, self.record, self.status, left), style="dim")
        bar.update(text)
        self.top.set(note=f"drawing {100 * self.pace.share:.1f} %")

    def _show_log(self) -> None:
        if self.query_one("#log").display:
            self.show_log()

    def on_resize(self) -> None:
        """The sentences and the legend use the width there is."""
        self.call_after_refresh(self._safely, self._show_answer, self._show_tabs)

    # ---------------------------------------------------------------------------- panels

    def _show_panel(self, name: str) -> None:
        self._panel = name
        for other in PANELS:
            self.set_class(other == name, f"-on-{other}")
        self._show_tabs()

    def _show_tabs(self) -> None:
        """The panels, and what the brackets in the table mean."""
        text = Text(no_wrap=True, overflow="crop")
        for number, name in enumerate(PANELS, 1):
            text.append(f" {number} {name} ", style="reverse" if name == self._panel else "")
        wide = self.query_one(StudyTable).full
        interval = "(95 %)" if wide else "±95 %"
        text.append(f" {interval} [range] {{partial}}", style="dim")
        self.query_one("#tabs", Static).update(text)

    def action_panel(self, name: str) -> None:
        """Show and focus a panel."""
        self._show_panel(name)
        self.query_one(f"#{name}").focus()
        self.call_after_refresh(self._safely, self._show_answer, self._show_log)

    # ---------------------------------------------------------------------------- the slice

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What has nothing to act on is not offered."""
        if action == "only" and parameters and self.config is not None:
            return len(values(self.config)[dimension(str(parameters[0]))]) > 1
        if action == "all":
            return bool(self.pivot.keep)
        return super().check_action(action, parameters)

    def _turn(self, pivot: Pivot) -> None:
        self.pivot = pivot
        self._show_tables()
        self.refresh_bindings()

    def action_swap(self) -> None:
        """Rows as columns."""
        self._turn(studyview.swapped(self.pivot))

    def action_view(self) -> None:
        """Other dimensions as rows and columns."""
        self._turn(studyview.next_pair(self.pivot))

    def action_only(self, name: str) -> None:
        """One value of a dimension alone, then the next, then all."""
        if self.config is not None:
            self._turn(studyview.next_filter(self.config, self.pivot, dimension(name)))

    def action_all(self) -> None:
        """Every value of every dimension."""
        self._turn(msgspec.structs.replace(self.pivot, keep={}))

    # ---------------------------------------------------------------------------- runs, export

    @on(StudyTable.Opened)
    def _opened(self) -> None:
        table = self.query_one(StudyTable)
        row, place = table.current, table.place
        if self.seen is None or row is None or place is None:
            return
        from moco_tui.screens.cell_runs_screen import CellRuns, choices

        found = choices(self.seen, row)
        if not found:
            self.say(f"{studyview.where_text(place)}: no run of it has begun.")
        elif len(found) == 1:
            self.moco.open_monitor(found[0].run)
        else:

            def chosen(run_id: str | None) -> None:
                if run_id:
                    self.moco.open_monitor(run_id)

            self.app.push_screen(CellRuns(studyview.where_text(place), found), chosen)

    def action_export(self) -> None:
        """Write the study to a new file."""
        seen = self.seen
        if seen is None:
            return
        pivot = self.pivot
        makers = {
            ".csv": lambda: studyexport.to_csv(seen.report),
            ".json": lambda: studyexport.to_json(seen.report),
            ".md": lambda: studyexport.to_markdown(seen.report, pivot),
        }
        question = "Write the study to (.csv: every cell; .json: everything; .md: tables and text)"
        ask_and_write(self, question, f"study-{self.folder.id}.csv", makers)
