"""Which slice of a study is shown, and what its cells and curves say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from engine.config.baselines import BASELINES
from engine.config.schema import StudyConfig
from engine.study.formats import compared_in
from engine.study.from_scratch import Crossing, percent_text
from engine.study.grid import Cell
from engine.study.intervals import LabelCurve, ResultRow
from engine.study.legend import SHORTFALL_MARK, shortfall_text
from engine.study.report import Report, signed, span
from engine.study.study_state import CellResult, StudyState
from engine.study.table import (
    DIMENSIONS,
    Dimension,
    Pivot,
    Table,
    cell_text,
    estimate_text,
    key_text,
    values,
)
from moco_tui.present import fmt
from moco_tui.present.study_variants import settings_apart

GLYPHS = {"missing": "·", "waiting": "○", "running": "▸", "done": "✓", "failed": "✗"}
"""A state as one character; beside it stands its word or a value."""

QUEUE_LABEL = re.compile(r"K \d+")
"""What a variant is called of which the queue size alone is varied."""

PAIRS: tuple[tuple[Dimension, Dimension], ...] = (
    ("source", "fraction"),
    ("source", "task"),
    ("source", "head"),
    ("task", "fraction"),
    ("head", "fraction"),
    ("head", "task"),
)
"""Rows and columns, in the order in which a key steps through them; each can be swapped."""


# --------------------------------------------------------------------------------------------
# The slice


def swapped(pivot: Pivot) -> Pivot:
    """Rows as columns and columns as rows."""
    return replace(pivot, row=pivot.column, column=pivot.row)


def next_pair(pivot: Pivot) -> Pivot:
    """Other dimensions as rows and columns."""
    pair = (pivot.row, pivot.column)
    at = PAIRS.index(pair if pair in PAIRS else (pair[1], pair[0]))  # swapped ones step on too
    row, column = PAIRS[(at + 1) % len(PAIRS)]
    return replace(pivot, row=row, column=column)


def next_filter(config: StudyConfig, pivot: Pivot, dimension: Dimension) -> Pivot:
    """All values of a dimension, then the first alone, the second alone ... and all again."""
    known = values(config)[dimension]
    if len(known) < 2:
        return pivot
    kept = pivot.keep.get(dimension)
    at = known.index(kept[0]) + 1 if kept else 0
    keep = {name: chosen for name, chosen in pivot.keep.items() if name != dimension}
    if at < len(known):
        keep[dimension] = (known[at],)
    return replace(pivot, keep=keep)


KEYS: Mapping[Dimension, str] = {"task": "A", "head": "h", "fraction": "H", "source": "C"}
"""The key that steps through the values of a dimension."""

FULL_CELL = 24
"""Characters from which a cell gives both ends of its interval."""


def slice_parts(config: StudyConfig, pivot: Pivot) -> list[tuple[str, str]]:
    """Which slice is shown: keys and what they change, for one line."""
    known = values(config)
    parts = [("Y", f"{pivot.row} by {pivot.column}")]
    for name, key in KEYS.items():
        kept = pivot.keep.get(name)
        if kept is not None:
            text = f"only {', '.join(key_text(name, item) for item in kept)}"
        elif len(known[name]) > 1:
            text = f"all {'label' if name == 'fraction' else name}s"
        else:
            text = key_text(name, known[name][0])
        parts.append((key, fmt.clean(text)))
    return parts


def table_title(table: Table) -> str:
    """The fixed values of a table, short: ``ten, logistic``."""
    return fmt.clean(", ".join(key_text(name, key) for name, key in table.fixed.items()))


def where(table: Table, row: int, column: int) -> dict[Dimension, Any]:
    """The values of all dimensions at a place of a table."""
    return {
        **table.fixed,
        table.row: table.row_keys[row],
        table.column: table.column_keys[column],
    }


def where_text(at: Mapping[Dimension, Any]) -> str:
    """A place in words."""
    return fmt.clean(", ".join(key_text(name, at[name]) for name in DIMENSIONS))


# --------------------------------------------------------------------------------------------
# Cells


class Progress(Struct, frozen=True):
    """What the cells behind a row wait for.

    Attributes:
        share: how much is done of the pretraining that is furthest of those that are not
            finished; None when none has begun.
        text: the same in words, with its run and step; may be empty.
        state: its state in the history; empty when none has begun.
    """

    share: float | None = None
    text: str = ""
    state: str = ""


class StudySnapshot:
    """A study at one moment: its report, and the cells of the grid behind every row of it.

    Args:
        report: the rows, curves, comparisons and sentences made from the state of the study.

    Attributes:
        study_state: what each cell and pretraining of the grid has reached.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.study_state: StudyState = report.study_state
        self._groups: dict[tuple[Any, ...], list[tuple[Cell, CellResult]]] = {}
        for cell, found in self.study_state.cells.items():
            self._groups.setdefault(_key(cell), []).append((cell, found))

    def cells(self, row: ResultRow) -> list[tuple[Cell, CellResult]]:
        """The cells that are averaged into a row, in the order of the study."""
        return self._groups.get(_key(row), [])

    def progress(self, row: ResultRow) -> Progress:
        """How far the pretraining is that the cells of a row wait for, the furthest of them."""
        if row.state != "waiting":
            return Progress()
        # A cell that waits names its pretraining, or its own probe where that is queued.
        waited = {found.run for _, found in self.cells(row) if found.state == "waiting"}
        best = Progress()
        for (label, seed), trained in self.study_state.pretrainings.items():
            if trained.run not in waited:
                continue
            share = min(trained.step / trained.total_steps, 1.0) if trained.total_steps else 0.0
            if best.share is None or share > best.share:
                best = Progress(
                    share,
                    f"pretraining {trained.run} ({fmt.clean(label)}, seed {seed}) is "
                    f"{trained.state} at step {fmt.count(trained.step)} of "
                    f"{fmt.count(trained.total_steps)}",
                    trained.state,
                )
        return best

    def counts(self) -> dict[str, int]:
        """How many cells are in each state; states that no cell is in are left out."""
        found: dict[str, int] = {}
        for cell in self.study_state.cells.values():
            found[cell.state] = found.get(cell.state, 0) + 1
        return found


def _key(item: Cell | ResultRow) -> tuple[Any, ...]:
    """What cell and row share: all but the seeds, over which a row is the mean."""
    return item.source, item.variant, item.task, item.fraction, item.head


def cell_shown(row: ResultRow | None, width: int, progress: Progress) -> tuple[str, str]:
    """What stands in a cell of so many characters, and its look (a state, or empty).

    The longest text that fits: with the interval or range, with half of it, the value alone.
    """
    if row is None:
        return "", ""
    if row.state == "done":
        glyph, look = "", ""
    else:
        glyph, look = GLYPHS[row.state], row.state
    if row.estimate is None and row.provisional is None:
        texts = [row.state, ""]
        if progress.state in ("failed", "lost", "stopped"):
            look = row.state if progress.state == "stopped" else "failed"
            texts = [f"pretraining {progress.state}", progress.state]
        elif row.state == "waiting" and progress.share is not None:
            share = f"{100 * progress.share:.0f} %"
            texts = [f"pretraining {share}", f"at {share}", share]
        texts = [f"{glyph} {text}" for text in texts]
    else:
        texts = [cell_text(row, narrow=narrow) for narrow in (width < FULL_CELL, True)]
        if row.shortfall and width >= FULL_CELL:  # the words, if they fit, else their mark
            marked = texts[0].removesuffix(shortfall_text(row, narrow=False)) + SHORTFALL_MARK
            texts.insert(1, marked)
        if row.estimate is not None:
            count = "" if row.complete == row.seeds else f" {row.complete}/{row.seeds}"
            texts.append(f"{row.estimate.mean:.1f}{count}{shortfall_text(row, narrow=True)}")
        texts = [f"{text} {glyph}".rstrip() for text in texts]
    return next((text for text in texts if len(text) <= width), texts[-1]), look


def details(snapshot: StudySnapshot, at: Mapping[Dimension, Any], row: ResultRow | None) -> str:
    """The cell under the cursor in one line."""
    place = where_text(at)
    if row is None:
        return f"{place}: not in the grid"
    parts = []
    if row.estimate is not None:
        known = span(row.estimate) or f"one {row.estimate.over[:-1]}"
        parts.append(f"{row.estimate.mean:.2f} % ({known})")
    elif row.provisional is not None:
        parts.append(f"about {row.provisional.mean:.2f} % so far, no seed is complete")
    states = [found.state for _, found in snapshot.cells(row)]
    counts = [
        f"{states.count(state)} {state}"
        for state in ("running", "waiting", "failed", "missing")
        if state in states
    ]
    parts.append(f"{row.done} of {row.cells} done" + "".join(f", {text}" for text in counts))
    waits = snapshot.progress(row).text
    if waits:
        parts.append(waits)
    if row.shortfall:
        parts.append(row.shortfall)
    parts += _verdict(snapshot.report, row)
    if apart := settings_apart(snapshot.report.config, str(row.variant)):
        parts.insert(0, apart)
    if row.task in snapshot.report.majority:
        parts.append(f"majority {snapshot.report.majority[row.task]:.1f} %")
    return f"{place}: {'; '.join(parts)}"


def _verdict(report: Report, row: ResultRow) -> list[str]:
    """The difference from the reference, in a study that is judged by one number."""
    return [
        f"{signed(c.difference.mean)} points against {fmt.clean(str(c.reference))}: {c.verdict}"
        for c in compared_in(report)
        if c.variant == row.variant and c.difference is not None
    ]


# --------------------------------------------------------------------------------------------
# Curves


def curves_at(report: Report, task: str, head: str) -> list[LabelCurve]:
    """The curves of a task and head, with those of sources that have no head."""
    order = values(report.config)["source"]
    found = [c for c in report.curves if c.task == task and c.head in (head, "")]
    return sorted(found, key=lambda curve: order.index(curve.label))


def crossings_at(report: Report, task: str, head: str) -> dict[str, Crossing]:
    """The crossings of a task and head that are at one share, by the label of the encoder."""
    return {
        found.variant: found
        for found in report.crossings
        if (found.task, found.head) == (task, head) and found.share is not None
    }


def crossing_text(crossing: Crossing) -> str:
    """Up to which share an encoder is better, short: ``beats scratch to 3.2 % (2 % to 5 %)``."""
    span = crossing.span_text()
    share = percent_text(crossing.share or 0.0)
    return f"beats scratch to {share}" + (f" {span}" if span != "-" else "")


def source_name(label: str) -> str:
    """A source in words, as legends name it."""
    if QUEUE_LABEL.fullmatch(label):
        return f"MoCo, K {fmt.count(int(label[2:]))}"
    name, comma, rest = label.partition(", ")  # of variants with different baselines
    return BASELINES[name].label + comma + rest if name in BASELINES else label


def percent_of(fraction: float) -> float:
    """A share of the labels, in (0, 1], as the axis of the curves has it, in percent."""
    return round(100 * fraction, 6)  # 100 * 0.07 is 7.000000000000001 in binary


def point_text(curve: LabelCurve, percent: float) -> str:
    """A curve's value at a place of the axis, with its interval or range; a dash without one."""
    for at, estimate in curve.points:
        if percent_of(at) == percent:
            return estimate_text(estimate, narrow=True)
    return "–"
