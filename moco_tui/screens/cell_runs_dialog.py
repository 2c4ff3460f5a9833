"""The runs behind one cell of a study's table, to choose one from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.study.intervals import ResultRow
from moco_tui.present import fmt
from moco_tui.present import study_view as studyview
from moco_tui.present.run_rows import GLYPHS
from moco_tui.screens.steady_screen import SteadyList, SteadyScreen
from moco_tui.widgets.panel import Dialog


@dataclass(frozen=True)
class CellRun:
    """A run to open.

    Attributes:
        run: its id.
        text: what it is.
    """

    run: str
    text: str


def choices(snapshot: studyview.StudySnapshot, row: ResultRow) -> list[CellRun]:
    """The probes of a row with their seeds and values, then the pretrainings they use.

    Args:
        snapshot: the study.
        row: a row of its results.
    """
    found: list[CellRun] = []
    waiting: set[str] = set()
    for cell, result in snapshot.cells(row):
        if not result.run:
            continue
        # A cell that waits names the pretraining that it waits for: listed below, once.
        if result.state == "waiting" and any(
            trained.run == result.run for trained in snapshot.study_state.pretrainings.values()
        ):
            waiting.add(result.run)
            continue
        which = "" if cell.seed is None else f"seed {cell.seed}  "
        value = f"{result.state:<8}" if result.top1 is None else f"{result.top1:6.2f} %"
        glyph = studyview.GLYPHS[result.state]
        text = f"{glyph} {which}subset {cell.subset_seed}  {value}  probe {result.run}"
        found.append(CellRun(result.run, text))
    for (label, seed), trained in snapshot.study_state.pretrainings.items():
        if not trained.run:
            continue
        is_encoder_of_row = row.source == "moco" and row.variant == label
        if is_encoder_of_row or trained.run in waiting:
            step = (
                f" {fmt.count(trained.step)}/{fmt.count(trained.total_steps)}"
                if trained.total_steps
                else ""
            )
            glyph = GLYPHS.get(trained.state, "?")
            text = f"{glyph} seed {seed}  pretraining of {fmt.clean(label)}  {trained.state}{step}"
            found.append(CellRun(trained.run, f"{text}  {trained.run}"))
    return found


class CellRuns(SteadyScreen, ModalScreen[str | None]):
    """Offers runs; the answer is the id of one, or None.

    Args:
        title: the cell.
        runs: to choose from.
    """

    DEFAULT_CSS = """
    CellRuns {
        align: center middle;
        & Dialog { width: 72; padding: 0 1; }
        & OptionList {
            height: auto; max-height: 18; border: none; background: $surface; padding: 0;
        }
        & OptionList:focus { border: none; }
    }
    """
    BINDINGS = [Binding("escape", "cancel", "Back")]

    def __init__(self, title: str, runs: Sequence[CellRun]) -> None:
        super().__init__()
        self._place, self._runs = title, list(runs)

    def compose(self) -> ComposeResult:
        """The cell and its runs."""
        with Dialog(self._place):
            # as Text, since a str is read as markup
            yield SteadyList(*(Option(Text(run.text)) for run in self._runs))
            yield Static("Enter opens the run, Escape goes back.", classes="muted", markup=False)

    def on_mount(self) -> None:
        """Focus the list."""
        self.query_one(OptionList).focus()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._runs[event.option_index].run)

    def action_cancel(self) -> None:
        """Close without a choice."""
        self.dismiss(None)
