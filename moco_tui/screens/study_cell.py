"""What is done with the runs behind the cell of a study's table that has the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from moco_tui.present import study_view as studyview
from moco_tui.screens import next_steps
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.cell_runs_dialog import CellRun, CellRuns, choices
from moco_tui.screens.messages import OpenRun
from moco_tui.widgets.study_table import StudyTable


def open_run(screen: BaseScreen, snapshot: studyview.StudySnapshot) -> None:
    """Show the run behind the cell; of several, ask which."""
    where, found = _runs(screen, snapshot)
    if len(found) == 1:
        screen.ask_app(OpenRun(found[0].run))
    elif found:

        def open_chosen(run_id: str | None) -> None:
            if run_id:
                screen.ask_app(OpenRun(run_id))

        screen.app.push_screen(CellRuns(where, found), open_chosen)


def compare_runs(screen: BaseScreen, snapshot: studyview.StudySnapshot) -> None:
    """Compare the pretrainings behind the cell; where there are not two, the probes."""
    _, found = _runs(screen, snapshot)
    if found:
        trained = _pretrainings(screen, found)
        probes = [one.run for one in found if one.run not in trained]
        next_steps.compare(screen, trained if len(trained) > 1 else probes)


def probe_encoder(screen: BaseScreen, snapshot: studyview.StudySnapshot) -> None:
    """Configure a probe of the first pretraining behind the cell."""
    _, found = _runs(screen, snapshot)
    if found:
        next_steps.probe(screen, next(iter(_pretrainings(screen, found)), found[0].run))


def _pretrainings(screen: BaseScreen, found: Sequence[CellRun]) -> list[str]:
    rows = screen.session.runs.rows
    return [one.run for one in found if one.run in rows and rows[one.run].kind == "pretrain"]


def _runs(screen: BaseScreen, snapshot: studyview.StudySnapshot) -> tuple[str, Sequence[CellRun]]:
    """Where the cell is, and its runs; says so when there are none."""
    table = screen.query_one(StudyTable)
    row, place = table.current, table.place
    if row is None or place is None:
        return "", []
    where, found = studyview.where_text(place), choices(snapshot, row)
    if not found:
        screen.say(f"{where}: no run of it has begun.")
    return where, found
