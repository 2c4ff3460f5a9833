"""What stands beside the accuracies of a probe's row where there is room: how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.present.metric_text import points_text

WIDE = 104
"""Cells from which on a row has these columns."""
_COLUMNS = (("over untrained", 16), ("chosen", 22), ("took", 12))
_BASELINE = "random-init"
_LEAST_BAR = 8


def more_titles() -> str:
    """The titles of the columns."""
    gain, chosen, took = (title for title, _ in _COLUMNS)
    return f"{gain:>{_COLUMNS[0][1]}}  {chosen:<{_COLUMNS[1][1] - 2}}{took:>{_COLUMNS[2][1]}}"


def more_parts(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], room: int) -> Line:
    """The gain over the untrained encoder, what was chosen, the time, and a bar of the accuracy.

    Args:
        row: of the result.
        rows: all of them: among them may be the untrained encoder.
        room: cells that are left for the bar.
    """
    top1 = fmt.measured(row.get("top1"))
    base = next((fmt.measured(r.get("top1")) for r in rows if r.get("source") == _BASELINE), None)
    gain = ""
    if top1 is not None and base is not None and row.get("source") != _BASELINE:
        gain = points_text(top1 - base)
    seconds = fmt.measured(row.get("seconds"))
    took = "" if seconds is None else fmt.duration(seconds)
    sign = "good" if gain.startswith("+") else "bad" if gain.startswith("-") else ""
    parts = [
        (f"{gain:>{_COLUMNS[0][1]}}", sign),
        (f"  {fmt.fit(chosen_words(row), _COLUMNS[1][1] - 2)}", ""),
        (f"{took:>{_COLUMNS[2][1]}}", "muted"),
    ]
    cells = room - 3
    if cells >= _LEAST_BAR and top1 is not None:
        parts.append((f"   {share_bar(top1 / 100, cells)}", "good"))
    return parts


def chosen_words(row: Mapping[str, Any]) -> str:
    """What was chosen for a row, and of how many: ``l2 0.03 of 9``; empty where nothing was."""
    chosen = row.get("chosen")
    if not isinstance(chosen, dict):
        return ""
    found = [
        f"{name} {value:g}"
        for name in ("l2", "lr")
        if (value := fmt.measured(chosen.get(name))) is not None
    ]
    candidates = chosen.get("candidates")
    if found and isinstance(candidates, list) and len(candidates) > 1:
        found[0] += f" of {len(candidates)}"
    return ", ".join(found)


def share_bar(share: float, cells: int) -> str:
    """A bar of so many cells for a share of 0 to 1, in whole cells; what it lacks is blank."""
    full = round(min(max(share, 0.0), 1.0) * cells)
    return ("━" * full).ljust(cells)
