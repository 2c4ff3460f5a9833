"""The names of curves side by side, in as many lines as there is room for."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from moco_tui.present import fmt


def legend_lines(
    entries: Sequence[tuple[str, Style]], width: int, most: int, plain: Style
) -> list[Strip]:
    """A text for each curve; where not all have room, the last line ends in how many are left out.

    Args:
        entries: text and style of each curve, in order.
        width: of a line, in cells.
        most: lines, at least 1.
        plain: style of what belongs to no curve.
    """
    lines: list[list[Segment]] = [[]]
    used = 0
    for number, (text, style) in enumerate(entries):
        size, left = min(cell_len(text), width), len(entries) - number
        if used and used + size > width:
            if len(lines) < most:
                lines.append([])
                used = 0
            else:
                _close(lines[-1], left, width, plain)
                break
        lines[-1].append(Segment(fmt.fit(text, size), style))
        used += size
    return [Strip(line).adjust_cell_length(width, plain) for line in lines]


def _close(line: list[Segment], left: int, width: int, plain: Style) -> None:
    """Say at the end of a line how many curves are left out, in place of more where need be."""
    while line and sum(s.cell_length for s in line) + cell_len(_more(left)) > width:
        line.pop()
        left += 1
    line.append(Segment(_more(left), plain))


def _more(left: int) -> str:
    return f" +{left} more"
