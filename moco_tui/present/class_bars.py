"""The accuracy of a probe for each class, as numbers with a bar beside each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.present.probe_row import share_bar

_NUMBER, _LEAST_BAR = 8, 4


def class_tables(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The accuracy for each class of each source that has one."""
    return [
        (str(row.get("source", "?")), row["per_class"])
        for row in rows
        if isinstance(row.get("per_class"), dict) and row["per_class"]
    ]


def class_bars(rows: Sequence[Mapping[str, Any]], width: int, height: int) -> list[Line]:
    """A class each, the sources side by side; below each other where there are lines for that.

    Args:
        rows: of the result.
        width: cells of a line.
        height: lines that there are.
    """
    tables = class_tables(rows)
    if not tables:
        return []
    names = list(tables[0][1])  # every source is measured on the same task
    label = min(max(len(name) for name in [*names, "class"]) + 1, 16)
    if len(tables) > 1 and len(tables) * len(names) <= height:
        apart = (len(tables) + 1) * len(names) <= height + 1
        return _stacked(tables, names, label, width, apart=apart)
    cell = max((width - label) // len(tables), _NUMBER)
    head = "".join(
        f"{fmt.fit(fmt.clean(source), _NUMBER + 4, right=True):<{cell}}"[:cell]
        for source, _ in tables
    )
    lines: list[Line] = [[(f"{'class':<{label}}{head}", "muted")]]
    for name in names:
        if 2 * len(names) <= height and len(lines) > 1:
            lines.append([("", "")])
        parts = [(fmt.fit(fmt.clean(name), label), "")]
        for number, (_, table) in enumerate(tables):
            parts += _numbered(table.get(name), cell, number)
        lines.append(parts)
    return lines


def _stacked(
    tables: Sequence[tuple[str, Mapping[str, Any]]],
    names: Sequence[str],
    label: int,
    width: int,
    *,
    apart: bool,
) -> list[Line]:
    """A line for each source of each class; where they are apart a blank one between classes."""
    source_width = min(max(len(source) for source, _ in tables) + 1, 16)
    lines: list[Line] = []
    for name in names:
        for number, (source, table) in enumerate(tables):
            title = fmt.clean(name) if number == 0 else ""
            lines.append(
                [
                    (fmt.fit(title, label), ""),
                    (fmt.fit(fmt.clean(source), source_width), "muted"),
                    *_numbered(table.get(name), width - label - source_width, number),
                ]
            )
        if apart and name != names[-1]:
            lines.append([("", "")])
    return lines


def _numbered(value: object, cells: int, number: int) -> list[tuple[str, str]]:
    """A value and its bar, in the colour of the curve of this number."""
    known = fmt.measured(value)
    text = f"{fmt.accuracy(known):>{_NUMBER}}"
    bar = cells - _NUMBER - 3
    if bar < _LEAST_BAR:
        return [(text.ljust(cells), "")]
    drawn = share_bar((known or 0.0) / 100, bar)
    return [(f"{text} ", ""), (f"{drawn}  ", f"curve-{number + 1}")]
