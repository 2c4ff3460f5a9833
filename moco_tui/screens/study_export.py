"""Writes a study to a file that the person names."""

from __future__ import annotations

from engine.study import formats
from engine.study.report import Report
from engine.study.table import Pivot
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.export_dialog import ask_and_write


def export_study(screen: BaseScreen, report: Report, pivot: Pivot, run: str) -> None:
    """Ask for a path, and write the study there.

    Args:
        screen: that asks.
        report: of the study.
        pivot: its tables as shown now: the file is made when the path is answered.
        run: id of the study.
    """
    makers = {
        ".csv": lambda: formats.to_csv(report),
        ".json": lambda: formats.to_json(report),
        ".md": lambda: formats.to_markdown(report, pivot),
    }
    question = "Write the study to (.csv: every cell; .json: everything; .md: tables and text)"
    ask_and_write(screen, question, f"study-{run}.csv", makers)
