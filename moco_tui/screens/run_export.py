"""Writes a run, or a table of runs, to a file that the person names."""

from __future__ import annotations

from collections.abc import Sequence

from engine.runs import RunFolder
from engine.runs.export import to_csv, to_json
from moco_tui.present import run_facts
from moco_tui.present.run_rows import RunRow
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.export_dialog import ask_and_write


def export_run(screen: BaseScreen, folder: RunFolder) -> None:
    """Ask for a path, and write the run there as ``moco-tui export`` does."""
    makers = {
        ".csv": lambda: "".join(to_csv(folder)),
        ".json": lambda: to_json(folder).decode(),
    }
    question = "Write the run to (.csv: its metrics; .json: record, notes and metrics)"
    ask_and_write(screen, question, f"{folder.id}.csv", makers)


def export_rows(screen: BaseScreen, rows: Sequence[RunRow]) -> None:
    """Ask for a path, and write runs there as ``moco-tui runs`` does.

    Args:
        screen: asks, and reports the result.
        rows: as they are listed now: the file is made when the path is answered.
    """
    makers = {
        ".csv": lambda: run_facts.to_csv(rows),
        ".json": lambda: run_facts.to_json(rows),
    }
    what = "1 run" if len(rows) == 1 else f"{len(rows):,} runs"
    question = f"Write {what} to (.csv: a line for each; .json: all that is known)"
    ask_and_write(screen, question, "runs.csv", makers)
