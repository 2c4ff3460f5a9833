"""Options that arrange the table of a study: its rows, its columns, what is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from engine.config.schema import StudyConfig
from engine.errors import ConfigError
from engine.study.table import Dimension, Pivot, dimension, key_text, values
from moco_tui.cli.options import option_group


@dataclass(frozen=True)
class TableLayout:
    """The arrangement of a study's table, as it was typed.

    Attributes:
        rows, columns: names of dimensions; None: ``source`` for the rows and ``fraction`` for the
            columns, or the other of these two where the first is taken.
        only: ``DIM=VALUE,...`` texts.
    """

    rows: str | None = None
    columns: str | None = None
    only: tuple[str, ...] = ()

    def pivot(self, config: StudyConfig) -> Pivot:
        """The arrangement, checked against a study.

        Raises:
            ConfigError: when a dimension or a value is none of the study's.
        """
        row = dimension(self.rows) if self.rows is not None else None
        column = dimension(self.columns) if self.columns is not None else None
        if row is None:
            row = "source" if column != "source" else "fraction"
        if column is None:
            column = "fraction" if row != "fraction" else "source"
        if row == column:
            raise ConfigError(f"--rows and --columns are both {row}; they must be different.")
        keep = dict(_kept_values(config, text) for text in self.only)
        return Pivot(row=row, column=column, keep=keep)


def _kept_values(config: StudyConfig, text: str) -> tuple[Dimension, tuple[Any, ...]]:
    """The dimension and the values that a ``DIM=VALUE,...`` keeps."""
    name, equals, listed = text.partition("=")
    if not equals:
        raise ConfigError(f"--only {text}: it must be DIM=VALUE, as in task=ten.")
    which = dimension(name.strip())
    parts = [part.strip() for part in listed.split(",")]
    kept = []
    while parts:
        # The most parts that are a value together: a variant may have a comma in its name.
        for count in range(len(parts), 0, -1):
            value = _value_named(config, which, ", ".join(parts[:count]))
            if value is not None:
                break
        else:
            raise _no_value(config, which, parts[0])
        kept.append(value)
        parts = parts[count:]
    return which, tuple(kept)


def _value_named(config: StudyConfig, which: Dimension, text: str) -> Any:
    """The value of that name; None where there is none."""
    for value in values(config)[which]:
        # As the table prints it, the same without spaces, and as the configuration has it.
        shown = key_text(which, value)
        if text in (shown, str(value)) or text.replace(" ", "") == shown.replace(" ", ""):
            return value
    return None


def _no_value(config: StudyConfig, which: Dimension, text: str) -> ConfigError:
    known = values(config)[which]
    there = ", ".join(key_text(which, value) for value in known)
    return ConfigError(
        f"--only {which}={text[:40]}: the study has no such {which}; it has {there}."
    )


TABLE_LAYOUT = option_group(
    "layout",
    TableLayout,
    click.option("--rows", metavar="DIM", help="source, task, fraction or head. [default: source]"),
    click.option("--columns", metavar="DIM", help="The same for columns. [default: fraction]"),
    click.option(
        "--only", multiple=True, metavar="DIM=VALUE,...", help="Show only these; may be repeated."
    ),
)
