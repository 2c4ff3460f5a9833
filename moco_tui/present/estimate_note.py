"""What makes a measurement of the form slower than the run would be: others that train here."""

from __future__ import annotations

from collections.abc import Iterable

from engine.config.phrases import listed
from moco_tui.present import fmt
from moco_tui.present.run_rows import RunRow

_MOST_NAMED = 3
_TRAINS = "running"


def training_here(rows: Iterable[RunRow], host: str) -> list[str]:
    """Names of the runs that are trained on a machine now; a study by itself, not by its runs.

    Args:
        rows: the runs of the folder as last read.
        host: name of the machine.
    """
    here = [row for row in rows if row.status == _TRAINS and row.entry.host == host]
    studies = {row.id for row in here if row.kind == "study"}
    return [row.title for row in here if row.study not in studies]


def slowed_by(names: list[str]) -> str:
    """The sentence on runs that slow a measurement; empty where there are none."""
    if not names:
        return ""
    shown = names[:_MOST_NAMED]
    more = len(names) - len(shown)
    words = listed([*shown, f"{more} more"] if more else shown, "and")
    verb = "is" if len(names) == 1 else "are"
    return fmt.clean(f"{words} {verb} training on this machine: alone the run would be faster.")
