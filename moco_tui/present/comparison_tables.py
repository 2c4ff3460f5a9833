"""The tables of a comparison as lines of a width: no value is cut, and none looks like another."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.cells import cell_len

from moco_tui.present import comparison as compare
from moco_tui.present import fmt
from moco_tui.present.lines import Line, Part
from moco_tui.present.provenance_rows import shown

_LEAST_CELL = 9
_METRIC_KEY, _METRIC_CELL = 34, 22
_SETTING_KEY, _SETTING_CELL = 28, 24


def metric_lines(found: compare.SideBySide, width: int, marks: str) -> list[Line]:
    """Every metric with its values, and below these how they differ from the first run's.

    Args:
        found: the comparison.
        width: cells of a line.
        marks: of the runs, one after the other.
    """
    rows = compare.rows_to_show(found)
    labels = [fmt.clean(row.label) for row in rows]
    key, cell = _widths(labels, len(found.runs), width, _METRIC_KEY, _METRIC_CELL)
    lines = _head(found.runs, key, cell, width, marks)
    for label, row in zip(labels, rows, strict=True):
        values = [row.value_text(run) for run in range(len(row.values))]
        changes = [compare.change_text(row, run) for run in range(1, len(row.values))]
        texts = [text for text, _ in changes]
        if cell < _LEAST_CELL or any(cell_len(text) > cell for text in values):
            lines.append([(label, "strong")])
            first, *others = values
            lines += _own_lines([first], marks, width)
            for number, (value, (text, look)) in enumerate(zip(others, changes, strict=True), 1):
                part = (f"  {text}" if text.strip() else "", look or "muted")
                lines.append([(f"  {marks[number % len(marks)]} {value}", ""), part])
            continue
        lines.append(_row(label, values, key, cell))
        if any(cell_len(text) > cell for text in texts):
            lines += _named(changes, marks, width)
        elif any(text.strip() for text in texts):
            # below the values, from the second run on: the first is what they are compared with
            parts: list[Part] = [(" " * (key + cell + 1), "")]
            for text, look in changes:
                parts.append((" " + fmt.fit(text, cell, right=True), look or "muted"))
            lines.append(parts)
    if not rows:
        lines.append([("no metric yet", "muted")])
    return lines


def setting_lines(found: compare.SideBySide, width: int, marks: str) -> list[Line]:
    """The settings that differ, then what differs of where the runs came from.

    Args:
        found: the comparison.
        width: cells of a line.
        marks: of the runs, one after the other.
    """
    # what follows ``augment.`` says it, and has to fit
    settings = {
        name.removeprefix("augment."): [
            "–" if v is None else fmt.clean(fmt.value(v)) or '""' for v in row
        ]
        for name, row in found.settings.items()
    }
    origins = {
        fmt.clean(name): [shown(name, v) for v in row] for name, row in found.provenance.items()
    }
    labels = [*settings, *origins]
    key, cell = _widths(labels, len(found.runs), width, _SETTING_KEY, _SETTING_CELL)
    lines = _head(found.runs, key, cell, width, marks)
    for name, texts in settings.items():
        lines += _lines_of(name, texts, key, cell, width, marks)
    if not settings:
        lines.append([("all settings are the same", "muted")])
    if origins:
        lines += [[("", "")], [("where they came from", "muted")]]
    for name, texts in origins.items():
        lines += _lines_of(name, texts, key, cell, width, marks)
    return lines


def _widths(labels: Sequence[str], runs: int, width: int, key: int, cell: int) -> tuple[int, int]:
    """Cells of the labels, at most ``key``, and of a value, at most ``cell``."""
    longest = max(map(cell_len, labels), default=0)
    key = max(min(longest, key, width // 3), 1)
    return key, min((width - key) // max(runs, 1) - 1, cell)


def _head(
    runs: Sequence[compare.ComparedRun], key: int, cell: int, width: int, marks: str
) -> list[Line]:
    """Mark and name of each run; where names would be cut to the same, its id in place of it."""
    names = [fmt.middle(fmt.clean(run.name), cell - 2) for run in runs]
    if len(set(names)) < len(names) or cell < _LEAST_CELL:
        names = [run.id for run in runs]
    texts = [f"{marks[n % len(marks)]} {name}" for n, name in enumerate(names)]
    if cell < _LEAST_CELL:
        return [[(line, "muted")] for line in textwrap.wrap("  ".join(texts), max(width, 12))]
    return [[(" " * key + "".join(" " + fmt.fit(t, cell, right=True) for t in texts), "muted")]]


def _lines_of(
    name: str, texts: Sequence[str], key: int, cell: int, width: int, marks: str
) -> list[Line]:
    """A row of values side by side; where one is too long for that each on lines of its own."""
    if cell >= _LEAST_CELL and all(cell_len(text) <= cell for text in texts):
        return [_row(name, texts, key, cell)]
    return [[(name, "strong")], *_own_lines(texts, marks, width)]


def _row(name: str, texts: Sequence[str], key: int, cell: int) -> Line:
    cells = "".join(" " + fmt.fit(text, cell, right=True) for text in texts)
    return [(fmt.fit(fmt.middle(name, key), key), "strong"), (cells, "")]


def _named(changes: Sequence[tuple[str, str]], marks: str, width: int) -> list[Line]:
    """Differences behind the marks of their runs, as many in a line as fit."""
    lines: list[list[Part]] = [[]]
    for number, (text, look) in enumerate(changes, 1):
        if not text.strip():
            continue
        part = f"  {marks[number % len(marks)]} {text}"
        if lines[-1] and cell_len("".join(before for before, _ in lines[-1]) + part) > width:
            lines.append([])
        lines[-1].append((part, look or "muted"))
    return list(lines)


def _own_lines(texts: Sequence[str], marks: str, width: int) -> list[Line]:
    """Each text behind its mark, in as many lines as it takes."""
    lines: list[Line] = []
    for number, text in enumerate(texts):
        first, *rest = fmt.wrapped(text, max(width - 4, 1))
        lines.append([(f"  {marks[number % len(marks)]} {first}", "")])
        lines += [[(f"    {more}", "")] for more in rest]
    return lines
