"""The variants of a study beside each other: their order, differences, verdicts and settings."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from engine.config.fields import flatten
from engine.config.schema import StudyConfig, names_axes
from engine.study.formats import compared_in
from engine.study.grid import reference, variants
from engine.study.intervals import Estimate, ResultRow
from engine.study.report import Report, signed
from engine.study.table import Table
from moco_tui.present import fmt

_MOST_SETTINGS = 4


def by_result(tables: Sequence[Table], column: int) -> list[Table]:
    """The tables with their rows ordered by the means of a column, the highest first.

    Rows without one stay behind the others, in their order.

    Args:
        tables: of a study.
        column: place of the column; of a table with fewer its last one.
    """

    def ordered(table: Table) -> Table:
        at = min(column, len(table.column_keys) - 1)

        def rank(place: int) -> tuple[bool, float]:
            mean = _mean(table.cells[place][at])
            return mean is None, -(mean or 0.0)

        order = sorted(range(len(table.row_keys)), key=rank)
        return replace(
            table,
            row_keys=tuple(table.row_keys[place] for place in order),
            cells=tuple(table.cells[place] for place in order),
        )

    return [ordered(table) for table in tables]


def _mean(row: ResultRow | None) -> float | None:
    if row is None:
        return None
    estimate = row.estimate or row.provisional
    return None if estimate is None else estimate.mean


def notes(report: Report) -> dict[str, str]:
    """Difference to the reference and verdict of each variant, by its label.

    Empty for a study that is not judged by one number.
    """
    if report.config.judge != "knn":
        return {}
    found = {
        str(c.variant): f"{_difference(c.difference)}  {c.verdict}"
        for c in compared_in(report)
        if c.difference is not None
    }
    return found | {reference(report.config).label: f"{'':<{_WIDTH}}  the reference"}


_WIDTH = 10
NOTES_HEAD = f"{'difference':<{_WIDTH}}  verdict"


def _difference(estimate: Estimate) -> str:
    """A difference in points, with half of its interval or its whole range."""
    text = signed(estimate.mean)
    if estimate.low is not None and estimate.high is not None:
        width = estimate.high - estimate.low
        text += f" ±{width / 2:.1f}" if estimate.kind == "interval" else f" [{width:.1f}]"
    return f"{text:<{_WIDTH}}"


def settings_apart(config: StudyConfig, label: str) -> str:
    """Which settings of a variant differ from those of the reference; empty for none.

    Also empty where the queue size alone is varied, which the label itself says.
    """
    if not names_axes(config):
        return ""
    against = reference(config)
    variant = next((one for one in variants(config) if one.label == label), against)
    base = flatten(config.pretrain)
    apart = []
    for key in dict.fromkeys([*variant.settings, *against.settings]):
        has = variant.settings.get(key, base[key])
        other = against.settings.get(key, base[key])
        if _plain(has) != _plain(other):
            apart.append(f"{key} {fmt.value(has)}, not {fmt.value(other)}")
    if len(apart) > _MOST_SETTINGS:
        apart = [*apart[:_MOST_SETTINGS], f"and {len(apart) - _MOST_SETTINGS} more"]
    return fmt.clean("; ".join(apart))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
