"""The table of a study as data: any of its four dimensions as rows and as columns.

The command line and the screen draw the same tables; the texts of their cells are here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal, get_args

from msgspec import Struct

from engine.config.baselines import BASELINES
from engine.config.schema import StudyConfig
from engine.errors import ConfigError
from engine.study.grid import settings, source_label, variants
from engine.study.intervals import Estimate, ResultRow, encoder_labels, heads
from engine.study.legend import shortfall_text

# A cell has one value of each; subset and pretraining seeds are averaged over (see intervals).
Dimension = Literal["source", "task", "fraction", "head"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

ANY_HEAD = ""
"""Head of the supervised baseline, which has none and is shown beside every head."""


class Table(Struct, frozen=True):
    """One table: a row for each value of one dimension, a column for each value of another.

    Attributes:
        row, column: the dimensions.
        fixed: the other dimensions and the value that each has in this table.
        row_keys, column_keys: values of the dimensions, as in ``Pivot.values``.
        cells: for each row and column the row of the study there, or None where it has none.
    """

    row: Dimension
    column: Dimension
    fixed: dict[Dimension, Any]
    row_keys: tuple[Any, ...]
    column_keys: tuple[Any, ...]
    cells: tuple[tuple[ResultRow | None, ...], ...]

    @property
    def title(self) -> str:
        """The fixed values in words: ``task ten, head logistic``."""
        return ", ".join(f"{name} {key_text(name, key)}" for name, key in self.fixed.items())


class Pivot(Struct, frozen=True):
    """Which dimensions are rows and columns, and which values are shown.

    Attributes:
        row, column: two different dimensions.
        keep: the values to show of a dimension, in that order; a dimension that is not named
            shows all. Every combination of values of the two other dimensions is a table.
    """

    row: Dimension = "source"
    column: Dimension = "fraction"
    keep: dict[Dimension, tuple[Any, ...]] = {}


def values(config: StudyConfig) -> dict[Dimension, tuple[Any, ...]]:
    """Every value that a dimension has in a study, in the order of the tables.

    Sources are named as ``grid.source_label`` does.
    """
    judged = settings(config)
    return {
        "source": (*encoder_labels(config), *_baseline_labels(config)),
        "task": tuple(dict.fromkeys(task for task, _, _ in judged)),
        "fraction": tuple(sorted({fraction for _, fraction, _ in judged})),
        "head": heads(config),
    }


def _baseline_labels(config: StudyConfig) -> list[str]:
    """The baselines of a study, each as often as the variants have different ones."""
    if config.judge == "knn":
        return []
    made = variants(config)
    groups = {name: dict.fromkeys(v.groups[name] for v in made) for name in config.baselines}
    return [
        source_label(name, group or None)
        for name in BASELINES
        if name in groups
        for group in groups[name]
    ]


def key_text(dimension: Dimension, key: Any) -> str:
    """A value of a dimension as it stands at the edge of a table."""
    return f"{100 * key:g} %" if dimension == "fraction" else str(key)


def dimension(name: str) -> Dimension:
    """The dimension of a name.

    Raises:
        ConfigError: when there is none.
    """
    for known in DIMENSIONS:
        if name == known:
            return known
    raise ConfigError(
        f"{name[:40]!r} is no dimension of a study; it must be one of {', '.join(DIMENSIONS)}."
    )


def tables(
    config: StudyConfig, rows: Sequence[ResultRow], pivot: Pivot | None = None
) -> list[Table]:
    """The tables of a study.

    Args:
        config: the study.
        rows: its ``intervals.rows``.
        pivot: how to arrange them; sources by fractions when None, a table a task and head.

    Raises:
        ConfigError: when rows and columns are the same dimension, or a value to keep is none.
    """
    pivot = pivot or Pivot()
    if pivot.row == pivot.column:
        raise ConfigError(f"Rows and columns are both {pivot.row}; they must be different.")
    known = values(config)
    shown = {name: _kept(name, known[name], pivot.keep) for name in DIMENSIONS}
    found = {(row.label, row.task, row.fraction, row.head): row for row in rows}
    others = [name for name in DIMENSIONS if name not in (pivot.row, pivot.column)]
    made = []
    for combination in product(*(shown[name] for name in others)):
        fixed: dict[Dimension, Any] = dict(zip(others, combination, strict=True))
        cells = tuple(
            tuple(
                _at(found, {**fixed, pivot.row: row_key, pivot.column: column_key})
                for column_key in shown[pivot.column]
            )
            for row_key in shown[pivot.row]
        )
        if any(cell is not None for line in cells for cell in line):
            made.append(
                Table(pivot.row, pivot.column, fixed, shown[pivot.row], shown[pivot.column], cells)
            )
    return made


def _kept(
    name: Dimension, known: tuple[Any, ...], keep: Mapping[Dimension, tuple[Any, ...]]
) -> tuple[Any, ...]:
    chosen = keep.get(name)
    if chosen is None:
        return known
    for key in chosen:
        if key not in known:
            there = ", ".join(key_text(name, other) for other in known)
            raise ConfigError(
                f"The study has no {name} {key_text(name, key)[:40]}; it has {there}."
            )
    return tuple(chosen)


def _at(
    found: Mapping[tuple[str, str, float, str], ResultRow], where: Mapping[Dimension, Any]
) -> ResultRow | None:
    at = (where["source"], where["task"], where["fraction"])
    # Supervised training has no head of its own and is compared with every head.
    return found.get((*at, where["head"])) or found.get((*at, ANY_HEAD))


# --------------------------------------------------------------------------------------------
# Texts of cells


def cell_text(row: ResultRow | None, *, narrow: bool = False) -> str:
    """The figures of a row in short; the brackets are those of ``legend``.

    Args:
        row: of the study; None where there is none.
        narrow: one figure for the uncertainty in place of two, with the narrow legend.
    """
    if row is None:
        return ""
    if row.estimate is not None:
        count = "" if row.complete == row.seeds else f" {row.complete}/{row.seeds}"
        return estimate_text(row.estimate, narrow=narrow) + count + shortfall_text(row, narrow)
    if row.provisional is not None:
        counts = f"{row.done}/{row.cells}"
        return f"{{{row.provisional.mean:.1f}}} {counts}{shortfall_text(row, narrow)}"
    return "-" if row.state == "missing" else row.state


def estimate_text(estimate: Estimate, *, narrow: bool = False) -> str:
    """An estimate with its interval in round or its range in square brackets."""
    low, high = estimate.low, estimate.high
    if low is None or high is None:
        return f"{estimate.mean:.1f}"
    if estimate.kind == "interval":
        if narrow:
            return f"{estimate.mean:.1f} ±{(high - low) / 2:.1f}"
        return f"{estimate.mean:.1f} ({low:.1f} - {high:.1f})"
    if narrow:
        return f"{estimate.mean:.1f} [{high - low:.1f}]"
    return f"{estimate.mean:.1f} [{low:.1f} - {high:.1f}]"
