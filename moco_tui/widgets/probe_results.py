"""The result of a probe beside its table: bars for each class, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.binding import Binding

from moco_tui.present import fmt
from moco_tui.present.class_bars import class_bars, class_tables
from moco_tui.widgets.confusion_grid import ConfusionGrid
from moco_tui.widgets.made_panel import MadePanel

Rows = Sequence[Mapping[str, Any]]


class ProbeClasses(MadePanel):
    """The accuracy for each class, with bars."""

    HELP_TITLE = MadePanel.HELP_TITLE
    HELP = MadePanel.HELP

    def __init__(self, id: str | None = None) -> None:
        super().__init__("accuracy by class", id=id)
        self._rows: Rows = ()

    def take(self, rows: Rows) -> None:
        """Show the rows of a result."""
        if rows != self._rows:
            self._rows = rows
            self.show_made(lambda width: class_bars(rows, width, self.size.height))

    @property
    def has_any(self) -> bool:
        """Whether there is something to show."""
        return bool(class_tables(self._rows))


class ProbeConfusions(ConfusionGrid, inherit_bindings=False):
    """What the test images of each class were taken for, by the head on one source at a time."""

    HELP_TITLE = "The confusions of a probe"
    HELP = """A row for each class, and how many per cent of its test images were taken for each.
The arrow keys choose a cell, which stands in words below; V shows the next encoder of the table."""
    BINDINGS = [
        Binding("left", "move(0, -1)", "To the left", show=False),
        Binding("right", "move(0, 1)", "To the right", show=False),
        Binding("up", "move(-1, 0)", "Up", show=False),
        Binding("down", "move(1, 0)", "Down", show=False),
        Binding("V", "source", "Next view"),
    ]
    roomy = True

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: Rows = ()
        self._source = 0

    def take(self, rows: Rows) -> None:
        """Show the rows of a result, as far as they have a matrix."""
        found = [row for row in rows if matrix_of(row) is not None]
        if found != self._rows:
            self._rows = found
            self._show_source()

    @property
    def has_any(self) -> bool:
        """Whether there is something to show."""
        return bool(self._rows)

    def action_source(self) -> None:
        """Show the next encoder of the table."""
        self._source += 1
        self._show_source()

    def _show_source(self) -> None:
        if not self._rows:
            return
        self._source %= len(self._rows)
        row = self._rows[self._source]
        matrix = matrix_of(row)
        assert matrix is not None
        names = [fmt.clean(str(name)) for name in row["per_class"]]
        self.show(names, matrix, f"confusions of {fmt.clean(str(row.get('source', '?')))}")


def matrix_of(row: Mapping[str, Any]) -> Sequence[Sequence[int]] | None:
    """The confusion matrix of a row; None where it has none that fits its classes."""
    matrix, classes = row.get("confusion"), row.get("per_class")
    if not isinstance(matrix, list) or not isinstance(classes, dict) or not classes:
        return None
    whole = len(matrix) == len(classes) and all(
        isinstance(line, list)
        and len(line) == len(classes)
        and all(type(count) is int and count >= 0 for count in line)
        for line in matrix
    )
    return matrix if whole else None
