"""The results of a study in the few lines of a preview: its tables, then its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from engine.config.missing_settings import read_config
from engine.config.schema import StudyConfig
from engine.errors import UserError
from engine.history.entry import Entry
from engine.runs import Record
from engine.runs.data_identity import last_identity
from engine.runs.ownership import owned_ids, users_of
from engine.study import report as findings
from engine.study.report import Report
from engine.study.study_state import state_from_entries
from engine.study.table import Table, cell_text, key_text, tables
from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.present.study_text import answer_lines, pretraining_lines

MOST_TABLES = 2
_CELL = 11  # characters of a cell: a mean with its interval, narrow
_LEAST_NAME = 8


def study_lines(
    record: Record, entries: Sequence[Entry], root: Path
) -> Callable[[int], list[Line]]:
    """Makes the lines of a study for a width; worked out in the thread that calls this.

    Args:
        record: of the study.
        entries: all runs.
        root: the runs folder.
    """
    try:
        config = read_config("study", record.config, f"The record of study {record.id}")
        if not isinstance(config, StudyConfig):
            raise ValueError("no study")
        first = owned_ids(entries, root, users_of(root / record.id))
        state = state_from_entries(config, entries, last_identity(record.data), first=first)
        report = findings.report(config, state)
        made = tables(config, report.rows)
    except (UserError, TypeError, ValueError, LookupError) as error:
        # A record that was edited by hand can hold anything.
        problem = fmt.clean(f"The runs of the study cannot be made out: {error}.")
        return lambda width: [[(line, "bad")] for line in fmt.wrapped(problem, max(width, 1))]
    return lambda width: _lines(report, made, width)


def _lines(report: Report, made: Sequence[Table], width: int) -> list[Line]:
    lines: list[Line] = []
    for table in made[:MOST_TABLES]:
        lines += [*table_lines(table, width), [("", "")]]
    if len(made) > MOST_TABLES:
        lines += [[(f"{len(made) - MOST_TABLES} more tables: Enter opens the study", "muted")]]
        lines += [[("", "")]]
    return [
        *lines,
        *answer_lines(report, width),
        [("", "")],
        [("pretrainings", "strong")],
        *pretraining_lines(report.study_state),
    ]


def table_lines(table: Table, width: int) -> list[Line]:
    """A table with as many of its columns as fit into a width."""
    names = [fmt.clean(key_text(table.row, key)) for key in table.row_keys]
    longest = max(map(len, names), default=0)
    name = max(min(longest, width - _CELL - 1), _LEAST_NAME)
    count = max((width - name) // (_CELL + 1), 1)
    keys = table.column_keys[:count]
    heads = [fmt.fit(fmt.clean(key_text(table.column, key)), _CELL, right=True) for key in keys]
    left = len(table.column_keys) - len(keys)
    lines: list[Line] = [
        [(fmt.clean(table.title) + f", {left} more columns" * bool(left), "strong")]
    ]
    lines.append([(" ".join([fmt.fit(table.row, name), *heads]), "muted")])
    for text, cells in zip(names, table.cells, strict=True):
        shown = [fmt.fit(cell_text(cell, narrow=True), _CELL, right=True) for cell in cells[:count]]
        lines.append([(fmt.middle(text, name).ljust(name) + " ", ""), (" ".join(shown), "")])
    return lines
