"""A confusion matrix as a shaded table with a cursor."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.strip import Strip

from moco_tui.present import fmt
from moco_tui.session import draws_ascii
from moco_tui.widgets.panel import Panel

_CELL = 5
_CELLS = (4, 9)  # of a cell that is as wide as there is room, at least and at most
_HIGHEST_CELL = 3
_SHADES = ((0.5, "█"), (0.25, "▓"), (0.1, "▒"), (0.03, "░"))
_ASCII_SHADES = ((0.5, "#"), (0.25, "+"), (0.1, "-"), (0.03, "."))


class ConfusionGrid(Panel, can_focus=True):
    """Rows are the classes of the images, columns what their neighbours voted for, in per cent."""

    HELP_TITLE = "The confusion matrix"
    HELP = """A row for each class, and how many per cent of its images were taken for each. The
arrow keys choose a cell, Enter shows its images."""
    DEFAULT_CSS = """
    ConfusionGrid { min-height: 6; }
    """
    BINDINGS = [
        Binding("left", "move(0, -1)", "To the left", show=False),
        Binding("right", "move(0, 1)", "To the right", show=False),
        Binding("up", "move(-1, 0)", "Up", show=False),
        Binding("down", "move(1, 0)", "Down", show=False),
        Binding("enter", "open", "Images"),
    ]

    roomy = False
    """Whether cells are larger where there is room."""

    class Opened(Message):
        """The images of a cell are asked for."""

        def __init__(self, truth: int, taken: int) -> None:
            super().__init__()
            self.truth, self.taken = truth, taken

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("confusions", id=id)
        self.cell = (0, 0)
        self._names: list[str] = []
        self._counts: Sequence[Sequence[int]] = ()
        self._first = (0, 0)  # row and column that are drawn first

    def show(self, names: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> None:
        """Show a matrix.

        Args:
            names: of the classes, safe to print.
            counts: a row for each class.
            title: what stands above.
        """
        self._names, self._counts, self.title = list(names), counts, title
        last = len(names) - 1
        self.cell = min(self.cell[0], last), min(self.cell[1], last)
        self.refresh()

    def select(self, truth: int, taken: int) -> None:
        """Put the cursor on a cell."""
        self.cell = truth, taken
        self.refresh()

    def action_move(self, rows: int, columns: int) -> None:
        """Move the cursor."""
        last = len(self._names) - 1
        row, column = self.cell
        self.select(max(min(row + rows, last), 0), max(min(column + columns, last), 0))

    def action_open(self) -> None:
        """Ask for the images of the cell."""
        if self._names:
            self.post_message(self.Opened(*self.cell))

    def on_click(self, event: events.Click) -> None:
        """Choose a cell; a click on the chosen one opens it."""
        at = self.inside(event)
        row = (at.y - 1) // self._cell_height + self._first[0]
        column = (at.x - self._label_width) // self._cell_width + self._first[1]
        if at.y < 1 or at.x < self._label_width:
            return
        if row < len(self._names) and column < len(self._names):
            again = self.cell == (row, column)
            self.select(row, column)
            if again:
                self.action_open()

    def cell_text(self) -> str:
        """The cell at the cursor in words."""
        truth, taken = self.cell
        count, total = self._counts[truth][taken], sum(self._counts[truth])
        what = "taken for itself" if truth == taken else f"taken for {self._names[taken]}"
        share = fmt.percent(count / total if total else None, 0)
        return f"{self._names[truth]} {what}: {count} of {total} ({share})"

    # ---------------------------------------------------------------------------- drawing

    @property
    def _label_width(self) -> int:
        longest = max((len(name) for name in self._names), default=0)
        return min(longest, max(self.size.width // 5, 6)) + 1

    @property
    def _cell_width(self) -> int:
        if not self.roomy or not self._names:
            return _CELL
        room = (self.size.width - self._label_width) // len(self._names)
        return min(max(room, _CELLS[0]), _CELLS[1])

    @property
    def _cell_height(self) -> int:
        if not self.roomy or not self._names:
            return 1
        return min(max((self.size.height - 2) // len(self._names), 1), _HIGHEST_CELL)

    def _scroll(self) -> tuple[int, int]:
        """How many rows and columns fit; the first are such that the cursor is in sight."""
        rows = max((self.size.height - 2) // self._cell_height, 1)
        columns = max((self.size.width - self._label_width) // self._cell_width, 1)
        first = []
        for at, start, room in zip(self.cell, self._first, (rows, columns), strict=True):
            most = max(len(self._names) - room, 0)
            first.append(min(max(min(start, at), at - room + 1), most))
        self._first = first[0], first[1]
        return rows, columns

    def render_line(self, y: int) -> Strip:
        """The heads of the columns, a class, or the cell at the cursor in words."""
        width, base = self.size.width, self.look("")
        ascii_only = draws_ascii(self)
        note = self.look("muted")
        if not self._names:
            return Strip.blank(width, base)
        rows, columns = self._scroll()
        top, left = self._first
        shown = range(left, min(left + columns, len(self._names)))
        wide, high = self._cell_width, self._cell_height
        if y == 0:
            heads = "".join(fmt.fit(self._names[n][: wide - 1], wide, right=True) for n in shown)
            text = " " * self._label_width + heads
            return Strip([Segment(fmt.fit(text, width), note)])
        row = top + (y - 1) // high
        if y - 1 == high * min(rows, len(self._names) - top):
            return Strip([Segment(fmt.fit(self.cell_text(), width), base)])
        if y - 1 > high * rows or row >= len(self._names):
            return Strip.blank(width, base)
        numbered = (y - 1) % high == (high - 1) // 2
        name = self._names[row] if numbered else ""
        segments = [Segment(fmt.fit(name, self._label_width), base)]
        total = max(sum(self._counts[row]), 1)
        for column in shown:
            share = self._counts[row][column] / total
            shades = _ASCII_SHADES if ascii_only else _SHADES
            shade = next((glyph for least, glyph in shades if share >= least), " ")
            number = f"{100 * share:.0f}" if share else ("." if ascii_only else "·")
            style = self.look("good" if row == column else "bad") if share else note
            if (row, column) == self.cell:
                style += Style(bold=True, reverse=True)
            blank = " " * (wide > _CELL)  # between two cells
            text = f"{number if numbered else '':>3}{shade * (wide - 3 - len(blank))}{blank}"
            segments.append(Segment(text, style))
        return Strip(segments).adjust_cell_length(width, base)
