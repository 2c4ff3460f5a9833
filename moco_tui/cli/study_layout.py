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
    return which, tuple(_value_named(config, which, part.strip()) for part in listed.split(","))


def _value_named(config: StudyConfig, which: Dimension, text: str) -> Any:
    known = values(config)[which]
    for value in known:
        # As the table prints it, the same without spaces, and as the configuration has it.
        names = {key_text(which, value), key_text(which, value).replace(" ", ""), str(value)}
        if text in names:
            return value
    there = ", ".join(key_text(which, value) for value in known)
    raise ConfigError(f"--only {which}={text[:40]}: the study has no such {which}; it has {there}.")


TABLE_LAYOUT = option_group(
    "layout",
    TableLayout,
    click.option("--rows", metavar="DIM", help="source, task, fraction or head. [default: source]"),
    click.option("--columns", metavar="DIM", help="The same for columns. [default: fraction]"),
    click.option(
        "--only", multiple=True, metavar="DIM=VALUE,...", help="Show only these; may be repeated."
    ),
)
