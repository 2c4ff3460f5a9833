"""A study's report as plain text: tables, comparisons, the answer and the protocol."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from engine.config.missing_settings import read_config
from engine.config.schema import StudyConfig
from engine.errors import RunError
from engine.runs.record import Record
from engine.study.comparisons import Comparison
from engine.study.failures import failure_lines
from engine.study.formats import compared_in, comparison_lines, table_lines
from engine.study.from_scratch import Crossing
from engine.study.legend import legend, measured
from engine.study.report import Report
from engine.study.scratch_tables import CROSSINGS_TITLE, crossing_lines
from engine.study.table import Pivot, Table, tables
from moco_tui.cli.output import clean, table, width_of

PIPE_WIDTH = 100
"""Columns that sentences are wrapped to where no terminal says how many there are."""


def config_of_study(record: Record) -> StudyConfig:
    """The configuration in the record of a study.

    Raises:
        RunError: when it is no study, or does not fit this version.
    """
    if record.kind != "study":
        raise RunError(f"Run {record.id} is a {record.kind} and no study.")
    config = read_config("study", record.config, f"The record of run {record.id}")
    assert isinstance(config, StudyConfig)
    return config


def report_text(report: Report, *, width: int | None, pivot: Pivot | None = None) -> str:
    """The whole report.

    Args:
        report: of the study.
        width: columns of the terminal; None for a file or a pipe.
        pivot: how to arrange the tables.

    Raises:
        ConfigError: when the study cannot be arranged so.
    """
    shown = tables(report.config, report.rows, pivot)
    drawn, narrow = _drawn(shown, report, narrow=False), False
    # All tables in one form: the legend says what stands in a cell.
    if width is not None and any(_width(text) > width for text in drawn):
        drawn, narrow = _drawn(shown, report, narrow=True), True
    parts = [f"{measured(report.config)}\n{legend(report.rows, narrow=narrow)}"]
    for of, text in zip(shown, drawn, strict=True):
        parts.append(f"{clean(of.title)}\n\n{text}" if of.title else text)
    failed = failure_lines(report.study_state)
    if failed:
        parts.append(_sentences("failed", failed, width))
    parts += _comparisons(report.comparisons, width)
    parts += _crossings(report.crossings, width)
    parts.append(_sentences("what it says", report.answer, width))
    parts.append(_sentences("protocol", report.protocol, width))
    return "\n\n".join(parts)


def _drawn(shown: Sequence[Table], report: Report, *, narrow: bool) -> list[str]:
    return [
        _grid(*table_lines(of, report.majority, narrow=narrow, compared=compared_in(report)))
        for of in shown
    ]


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return table([clean(cell) for cell in head], [[clean(cell) for cell in row] for row in lines])


def _width(text: str) -> int:
    return max(width_of(line) for line in text.splitlines())


def _comparisons(compared: Sequence[Comparison], width: int | None) -> list[str]:
    """Comparisons as a table, or as lines below each other where the terminal is too narrow."""
    known = [c for c in compared if c.difference is not None]
    if not known:
        return []
    head, lines = comparison_lines(known)
    text = _grid(head, lines)
    if width is not None and _width(text) > width:
        paragraphs = [
            f"{what}, {over}: {difference} points {span}, {seeds} seeds, p {p}: {verdict}"
            for what, over, difference, span, seeds, p, verdict in lines
        ]
        return [_sentences("comparisons", paragraphs, width)]
    return [f"comparisons, in points\n\n{text}"]


def _crossings(crossed: Sequence[Crossing], width: int | None) -> list[str]:
    """Crossings as a table, or as sentences where the terminal is too narrow."""
    if not crossed:
        return []
    text = _grid(*crossing_lines(crossed))
    if width is not None and _width(text) > width:
        return [_sentences(CROSSINGS_TITLE, [found.sentence() for found in crossed], width)]
    lines = textwrap.wrap(CROSSINGS_TITLE, max((width or PIPE_WIDTH) - 1, 20))
    return ["\n".join([*lines, "", text])]


def _sentences(title: str, sentences: Sequence[str], width: int | None) -> str:
    lines = [title, ""]
    for sentence in sentences:
        lines += textwrap.wrap(
            clean(sentence),
            max((width or PIPE_WIDTH) - 1, 20),
            initial_indent="- ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
    return "\n".join(lines)
