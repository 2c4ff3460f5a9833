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
SCRATCH_CELLS = 29
"""Cells of a column more: the gain over training from scratch, for rows that have it."""
_BASELINE = "random-init"
_LEAST_BAR = 8


def has_scratch_column(width: int, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the gain over training from scratch is a column, and not lines below the table."""
    return width >= WIDE + SCRATCH_CELLS and any(scratch_words(row) for row in rows)


def more_titles(scratch: bool = False) -> str:
    """The titles of the columns.

    Args:
        scratch: whether the gain over training from scratch is one of them.
    """
    gain, chosen, took = (title for title, _ in _COLUMNS)
    second = f"{'less from scratch':>{SCRATCH_CELLS}}" if scratch else ""
    return (
        f"{gain:>{_COLUMNS[0][1]}}{second}  {chosen:<{_COLUMNS[1][1] - 2}}{took:>{_COLUMNS[2][1]}}"
    )


def more_parts(
    row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], room: int, scratch: bool = False
) -> Line:
    """The gains over the untrained encoder and over training from scratch, and how it was made.

    That is: what was chosen, the time, and a bar of the accuracy.

    Args:
        row: of the result.
        rows: all of them: among them may be the untrained encoder.
        room: cells that are left for the bar.
        scratch: as of ``more_titles``.
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
        *([(f"{scratch_words(row):>{SCRATCH_CELLS}}", scratch_sign(row))] if scratch else []),
        (f"  {fmt.fit(chosen_words(row), _COLUMNS[1][1] - 2)}", ""),
        (f"{took:>{_COLUMNS[2][1]}}", "muted"),
    ]
    cells = room - 3
    if cells >= _LEAST_BAR and top1 is not None:
        parts.append((f"   {share_bar(top1 / 100, cells)}", "good"))
    return parts


def scratch_words(row: Mapping[str, Any]) -> str:
    """What a row has over training from scratch, with the paired interval; empty without one.

    Args:
        row: of the result: ``+3.2 pts (2.1 to 4.3)``.
    """
    found = row.get("over_scratch")
    if not isinstance(found, dict):
        return ""
    gain, low, high = (fmt.measured(found.get(name)) for name in ("gain", "low", "high"))
    if gain is None or low is None or high is None:
        return ""
    return f"{points_text(gain)} ({low:+.1f} to {high:+.1f})"


def scratch_sign(row: Mapping[str, Any]) -> str:
    """The style of that: ``good`` or ``bad`` where its interval does not hold zero."""
    found = row.get("over_scratch")
    low, high = (
        fmt.measured(found.get(name)) if isinstance(found, dict) else None
        for name in ("low", "high")
    )
    if low is not None and low > 0.0:
        return "good"
    return "bad" if high is not None and high < 0.0 else ""


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
