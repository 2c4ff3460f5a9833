"""One study, live: its table cell by cell, its curves, what may be concluded, its pretrainings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial

import msgspec
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.css.query import NoMatches
from textual.widgets import Static

from engine.config.missing_settings import read_config
from engine.config.schema import StudyConfig
from engine.errors import UserError
from engine.runs import RunFolder
from engine.runs.data_identity import DataIdentity, last_identity
from engine.runs.ownership import owned_ids, users_of
from engine.study import report as findings
from engine.study.grid import reference
from engine.study.study_state import state_from_entries
from engine.study.table import Pivot, dimension, tables, values
from moco_tui.present import fmt
from moco_tui.present import study_text as studytext
from moco_tui.present import study_variants as studyvariants
from moco_tui.present import study_view as studyview
from moco_tui.screens import study_cell
from moco_tui.screens.shared_keys import EXPORT, STEPS
from moco_tui.screens.study_export import export_study
from moco_tui.screens.watch_screen import WatchScreen
from moco_tui.session import Session
from moco_tui.widgets.after_layout import after_layout
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.label_chart import LabelChart
from moco_tui.widgets.made_panel import MadePanel
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.shown_text import show_text
from moco_tui.widgets.study_table import StudyTable
from moco_tui.widgets.text_panel import TextPanel
from moco_tui.widgets.variant_chart import VariantChart

PANELS = ("table", "curve", "answer", "pretrainings", "log", "training")
"""In the order of their keys, 1 to 6. A small screen shows one of them, a large one several."""


class StudyScreen(WatchScreen):
    """Shows a study, read from the runs folder, whichever process computes it.

    Args:
        session: what all screens share.
        folder: the study's run.
    """

    TITLE_TEXT = "Study"
    HELP = """A grid of pretrainings and probes, filling in. Y swaps rows and columns, V shows
other ones; A, h, H and C show one task, head, share of the labels or source alone, then the next.
Enter opens the runs behind a cell, R orders the rows by the column of the cursor. 1 to 6 show a
panel, 6 how the variants are trained. A state changes here when the trainer has acknowledged it."""
    BINDINGS = [
        Binding("Y", "swap", "Swap"),
        Binding("V", "view", "Next view", show=False),
        Binding("A", "only('task')", "One task alone, the next, all", show=False),
        Binding("h", "only('head')", "One head alone, the next, all", show=False),
        Binding(
            "H", "only('fraction')", "One share of the labels alone, the next, all", show=False
        ),
        Binding("C", "only('source')", "One source alone, the next, all", show=False),
        Binding("R", "by_result", "Order by result, or as trained", show=False),
        Binding("a", "all", "Show all", show=False),
        EXPORT,
        *STEPS,
        Binding("1", "panel('table')", "Table", show=False),
        Binding("2", "panel('curve')", "Curves", show=False),
        Binding("3", "panel('answer')", "Answer, comparisons, protocol", show=False),
        Binding("4", "panel('pretrainings')", "Pretrainings", show=False),
        Binding("5", "panel('log')", "Log", show=False),
        Binding("6", "panel('training')", "Training of the variants", show=False),
    ]

    def __init__(self, session: Session, folder: RunFolder) -> None:
        super().__init__(session, folder)
        self.config: StudyConfig | None = None  # None until the record could be read
        self.snapshot: studyview.StudySnapshot | None = None
        self.pivot = Pivot()
        self._version = -1  # of the list of runs that the snapshot was made from
        self._polling = False
        self._panel = "table"
        self._state_error = ""
        self._by_result = False
        self._training = VariantChart(session.root, id="training", classes="lower")

    def content(self) -> ComposeResult:
        """Progress, the slice, and panels."""
        yield Static("", id="progress", markup=False)
        yield Static("", id="slice", markup=False)
        with Container(id="panels"):
            yield StudyTable(id="table")
            yield Static("", id="cell", markup=False)
            yield LabelChart("accuracy", id="curve", classes="lower")
            yield self._training
            yield MadePanel("answer", id="answer", classes="lower")
            yield TextPanel("pretrainings", id="pretrainings", classes="lower")
            yield TextPanel("log", follow=True, wrap=True, id="log", classes="lower")
        yield Static("", id="tabs", markup=False)

    # ---------------------------------------------------------------------------- life

    def on_mount(self) -> None:
        """Read the runs in a thread: many would block the keys."""
        self.query_one("#curve", Chart).empty = "a point appears when the first seed is complete"
        show_text(self.query_one("#slice", Static), "reading ...")
        self._show_panel("table")
        self.query_one(StudyTable).focus()
        self.tick()

    def on_screen_resume(self) -> None:
        """The screen is shown again: poll again."""
        self.tick()

    def tick(self) -> None:
        """Poll once in a worker, unless one does, and schedule the next poll."""
        self.cancel_poll()
        if self.is_mounted and not self._polling and self.app.screen is self:
            self._polling = True
            work_behind(self, self._tick, group="poll")

    async def _tick(self) -> None:
        before = self.status
        try:
            self._safely(self.read_record, self._read_config)
            snapshot, seconds = await asyncio.to_thread(self._survey)
            self.pace.spend(seconds)
        finally:
            self._polling = False
        # The screen may have been closed or covered while the thread was reading.
        if not self.is_mounted or self.app.screen is not self:
            return
        start = time.perf_counter()
        if snapshot is not None:
            self.snapshot = snapshot
        changed = snapshot is not None
        self._safely(lambda: self._show_all(changed, self.status != before))
        self.pace.spend(time.perf_counter() - start)
        self.schedule_poll()

    def _show_all(self, changed: bool, status_changed: bool) -> None:
        """Update what may have changed.

        Args:
            changed: whether there is another snapshot of the study.
            status_changed: whether the study's own run has another state.
        """
        if self.session.runs.error or self._state_error:
            self.report(self.session.runs.error or self._state_error)
        if changed:
            self._show_tables()
        elif status_changed:  # the line on the cell may say how to start the study
            self._show_place()
        self._show_log()
        self._show_training()
        self._show_progress()

    def _safely(self, *shows: Callable[[], None]) -> None:
        """Call each; skip what is left when the screen is closed meanwhile and widgets are gone."""
        with contextlib.suppress(NoMatches):
            for show in shows:
                show()

    # ---------------------------------------------------------------------------- looking

    def _read_config(self) -> None:
        if self.config is not None or self.record is None:
            return
        try:
            whose = f"The record of study {self.record.id}"
            config = read_config("study", self.record.config, whose)
        except UserError as error:
            self.report(str(error))
            return
        if isinstance(config, StudyConfig):
            self.config = config

    def _data(self) -> DataIdentity | None:
        """The images that the study has seen last: runs of others are not its own."""
        return None if self.record is None else last_identity(self.record.data)

    def _survey(self) -> tuple[studyview.StudySnapshot | None, float]:
        """The study now, None when unchanged, and the CPU seconds of finding out; in a thread.

        CPU seconds of the thread: wall time would count its waits for the interpreter, which a
        training in this process holds, as a cost of the screen.
        """
        start = time.thread_time()
        runs = self.session.runs
        runs.refresh()
        snapshot = None
        if self.config is not None and runs.version != self._version:
            self._version = runs.version
            entries = [row.entry for row in runs.rows.values()]
            folder = self.folder.path
            first = owned_ids(entries, folder.parent, users_of(folder))
            try:
                study_state = state_from_entries(self.config, entries, self._data(), first=first)
                if self.snapshot is None or study_state != self.snapshot.study_state:
                    snapshot = studyview.StudySnapshot(findings.report(self.config, study_state))
            except (UserError, TypeError, ValueError, LookupError) as error:
                # A record that was edited by hand can hold anything.
                self._state_error = f"The runs of the study cannot be made out: {error}."
            else:
                self._state_error = ""
        known = snapshot or self.snapshot
        if known is not None and self._panel == "training":
            self._training.read(known.study_state)  # not by a query: it may be closing
        return snapshot, time.thread_time() - start

    # ---------------------------------------------------------------------------- showing

    def _show_tables(self) -> None:
        """Update everything that shows cells."""
        snapshot, config = self.snapshot, self.config
        if snapshot is None or config is None:
            return
        made = tables(config, snapshot.report.rows, self.pivot)
        table = self.query_one(StudyTable)
        if self._by_result:
            made = studyvariants.by_result(made, table.column)
        notes = studyvariants.notes(snapshot.report)
        table.show(made, snapshot.report.majority, snapshot.progress, notes)
        text = Text(no_wrap=True, overflow="ellipsis")
        for key, what in studyview.slice_parts(config, self.pivot):
            text.append(f"{key} ", style="bold")
            text.append(f"{what}  ")
        show_text(self.query_one("#slice", Static), text)
        self._show_tabs()
        lines = studytext.pretraining_lines(snapshot.study_state)
        self.query_one("#pretrainings", TextPanel).show(lines)
        report = snapshot.report
        answer = self.query_one("#answer", MadePanel)
        answer.show_made(lambda width: studytext.answer_lines(report, width - 1))

    @on(StudyTable.Moved)
    def _moved(self) -> None:
        self._safely(self._show_place)

    def _show_place(self) -> None:
        """Update the line on the cell and the curves, which are of its task and head."""
        snapshot, config = self.snapshot, self.config
        place = self.query_one(StudyTable).place
        if snapshot is None or config is None:
            return
        cell = self.query_one("#cell", Static)
        if place is None:
            show_text(cell, "")
            return
        text = studyview.details(snapshot, place, self.query_one(StudyTable).current)
        if all(
            trained.state == "missing" for trained in snapshot.study_state.pretrainings.values()
        ):
            text = studytext.first_words(self.status)
        show_text(cell, Text(text, overflow="ellipsis"))
        task, head = place["task"], place["head"]
        self.query_one("#curve", LabelChart).take(
            fmt.clean(f"top-1, task {task}, {head} head"),
            studyview.curves_at(snapshot.report, task, head),
            values(config)["source"],
            snapshot.report.majority.get(task),
            {place["source"], reference(config).label},
            studyview.crossings_at(snapshot.report, task, head),
        )

    def _show_progress(self) -> None:
        if self.snapshot is None or self.record is None or self.status == "gone":
            return
        bar = self.query_one("#progress", Static)
        width = max(bar.content_size.width, 20)
        line = studytext.progress_line(self.snapshot, width, ascii_only=self.session.ascii)
        text = Text(f"{line}\n", no_wrap=True, overflow="ellipsis")
        entries = {id_: row.entry for id_, row in self.session.runs.rows.items()}
        left = studytext.time_left(self.snapshot.study_state, entries, self.session.clock())
        line = studytext.state_line(self.snapshot, self.record, self.status, left)
        text.append(line, style="dim")
        show_text(bar, text)
        self.top.set(facts=studytext.header_facts(self.snapshot, self.record, left))
        self.show_cost()

    def _show_training(self) -> None:
        if self.config is not None and self._panel == "training":
            self._training.show_means(reference(self.config).label)

    @on(VariantChart.Wanted)
    def _training_wanted(self) -> None:
        self.tick()

    def _show_log(self) -> None:
        if self.query_one("#log").display:
            self.show_log()

    def on_resize(self) -> None:
        """Wrap the legend to the new width."""
        after_layout(self, partial(self._safely, self._show_tabs))

    # ---------------------------------------------------------------------------- panels

    def _show_panel(self, name: str) -> None:
        self._panel = name
        for number, other in enumerate(PANELS, 1):
            self.set_class(other == name, f"-on-{other}")
            self.query_one(f"#{other}", Panel).key = str(number)
        self._show_tabs()

    def _show_tabs(self) -> None:
        """The panels, and what the brackets in the table mean."""
        snapshot = self.snapshot
        short = snapshot is not None and any(row.shortfall for row in snapshot.report.rows)
        full = self.query_one(StudyTable).full
        line = self.query_one("#tabs", Static)
        width = line.content_size.width
        show_text(line, studytext.tabs(PANELS, self._panel, full=full, short=short, width=width))

    def action_panel(self, name: str) -> None:
        """Show and focus a panel."""
        self._show_panel(name)
        self.query_one(f"#{name}").focus()
        self._show_log()
        if name == "training":
            place = self.query_one(StudyTable).place
            self._training.pick(str(place["source"]) if place else "")
            self.tick()

    # ---------------------------------------------------------------------------- the slice

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys that have nothing to act on."""
        # The command palette asks without parameters (help_screen.bound_actions).
        if action == "only" and parameters and self.config is not None:
            return len(values(self.config)[dimension(str(parameters[0]))]) > 1
        if action == "all":
            return bool(self.pivot.keep)
        return super().check_action(action, parameters)

    def _show_pivot(self, pivot: Pivot) -> None:
        """Show another slice of the grid."""
        self.pivot = pivot
        self._show_tables()
        self.refresh_bindings()

    def action_swap(self) -> None:
        """Swap rows and columns."""
        self._show_pivot(studyview.swapped(self.pivot))

    def action_view(self) -> None:
        """Show the next pair of dimensions as rows and columns."""
        self._show_pivot(studyview.next_pair(self.pivot))

    def action_by_result(self) -> None:
        """Order the variants by the column under the cursor, or as they are trained."""
        self._by_result = not self._by_result
        self._show_tables()
        self.say("by result, the highest first" if self._by_result else "in the study's order")

    def action_only(self, name: str) -> None:
        """Show one value of a dimension, then the next, then all."""
        if self.config is not None:
            self._show_pivot(studyview.next_filter(self.config, self.pivot, dimension(name)))

    def action_all(self) -> None:
        """Show every value of every dimension."""
        self._show_pivot(msgspec.structs.replace(self.pivot, keep={}))

    # ---------------------------------------------------------------------------- runs, export

    @on(StudyTable.Opened)
    def _opened(self) -> None:
        if self.snapshot is not None:
            study_cell.open_run(self, self.snapshot)

    def action_compare(self) -> None:
        """Compare the runs behind the cell."""
        if self.snapshot is not None:
            study_cell.compare_runs(self, self.snapshot)

    def action_probe(self) -> None:
        """Configure a probe of a pretraining behind the cell."""
        if self.snapshot is not None:
            study_cell.probe_encoder(self, self.snapshot)

    def action_export(self) -> None:
        """Write the study to a new file."""
        if self.snapshot is not None:
            export_study(self, self.snapshot.report, self.pivot, self.folder.id)
