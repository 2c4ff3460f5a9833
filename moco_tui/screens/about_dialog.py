"""What a run was set to and where it came from: the settings off its preset, program, machine.

Of a pretraining also what each of its measures says.
"""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.config.metrics import METRICS
from engine.runs import Record
from moco_tui.present import fmt
from moco_tui.present.measure_rows import grouped
from moco_tui.present.provenance_rows import provenance_rows
from moco_tui.present.run_settings import differences
from moco_tui.screens.steady_screen import SteadyScreen
from moco_tui.widgets.panel import Dialog


class AboutRun(SteadyScreen, ModalScreen[None]):
    """Shows a record's settings and origin; a long text scrolls.

    Args:
        title: of the run, safe to print.
        record: of the run.
    """

    DEFAULT_CSS = """
    AboutRun {
        align: center middle;
        & Dialog { width: 110; padding: 0 1; }
        & .question { width: 1fr; height: auto; text-style: bold; }
        & VerticalScroll { height: auto; max-height: 75vh; }
    }
    """
    BINDINGS = [Binding("escape,i", "back", "Back")]

    def __init__(self, title: str, record: Record) -> None:
        super().__init__()
        self._subject, self._record = title, record

    def compose(self) -> ComposeResult:
        """Settings, then where the run came from."""
        with Dialog(self._subject):
            with VerticalScroll():
                yield Static(_settings(self._record))
                yield Static("\nwhere it came from", classes="question", markup=False)
                yield Static(_grid(provenance_rows(self._record)))
                meanings = [
                    (METRICS[name].title, METRICS[name].meaning)
                    for names in grouped(self._record.last).values()
                    for name in names
                ]
                if meanings:
                    yield Static("\nwhat its measures say", classes="question", markup=False)
                    yield Static(_grid(meanings))
            yield Static("The arrows scroll, Escape goes back.", classes="muted", markup=False)

    def on_mount(self) -> None:
        """Focus what scrolls."""
        self.query_one(VerticalScroll).focus()

    def action_back(self) -> None:
        """Close."""
        self.dismiss(None)


def _settings(record: Record) -> Table | Text:
    base = f"preset {fmt.clean(record.preset)}" if record.preset else "the defaults"
    found = differences(record)
    if not found:
        return Text(f"The settings are those of {base}.")
    rows = [
        (key, fmt.value(pair["value"]) + (f"  ({fmt.value(was)} there)" if was is not None else ""))
        for key, pair in found.items()
        for was in [pair["preset"]]
    ]
    return _grid([("off from", base), *((fmt.clean(key), fmt.clean(text)) for key, text in rows)])


def _grid(rows: list[tuple[str, str]]) -> Table:
    """Labels beside texts, which go on in the next line below themselves."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(Text(label), Text(text))
    return grid
