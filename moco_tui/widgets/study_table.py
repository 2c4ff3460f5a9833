"""The table of a study: blocks of rows and columns with a cursor that goes from cell to cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.study.intervals import ResultRow
from engine.study.table import Dimension, Table, key_text
from moco_tui.present import fmt
from moco_tui.present import study_view as studyview
from moco_tui.present.study_variants import NOTES_HEAD
from moco_tui.widgets.after_layout import after_layout
from moco_tui.widgets.painted_lines import PaintedLines
from moco_tui.widgets.panel import Panel

LEAST_CELL = 10
MOST_CELL = 30
MOST_LABEL = 24
NOTED_CELL = 14
"""Characters of a cell, of the labels at the left of a row, and of a cell in a narrow table with
notes behind the cells."""

_CELL_LOOKS = {"running": "state-running", "waiting": "state-queued", "failed": "state-failed"}
_HEAD, _MAJORITY = -1, -2
"""In place of the row: the line is the head of a table, or its majority shares."""


class StudyTable(Panel, PaintedLines, ScrollView, can_focus=True):
    """Draws the tables of a study one under the other, only the lines that are visible.

    The head of the first visible table stays at the top. Columns that do not fit scroll with the
    cursor.
    """

    HELP_TITLE = "The table of a study"
    HELP = """Every cell is one source on one task with a share of the labels and a head, over all
seeds. (95 % interval), [range: fewer than three pretraining seeds], {not one seed complete};
2/3 counts complete seeds. The sign behind it, or the word in place of a value, is the state of the
cells that are not done: running, waiting, failed or missing."""

    DEFAULT_CSS = """
    StudyTable { overflow: hidden auto; }
    StudyTable > .studytable--head { color: $foreground; text-style: bold; background: $panel; }
    StudyTable > .studytable--cursor { background: $primary 35%; }
    StudyTable:focus > .studytable--cursor {
        background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold;
    }
    """
    COMPONENT_CLASSES = {"studytable--head", "studytable--cursor"}
    BINDINGS = [
        Binding("enter", "open", "Open"),
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("left", "across(-1)", "Left", show=False),
        Binding("right", "across(1)", "Right", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "move(-1000000)", "First row", show=False),
        Binding("end", "move(1000000)", "Last row", show=False),
    ]

    class Moved(Message):
        """The cursor stands on another cell."""

    class Opened(Message):
        """Enter was pressed on a cell."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("table", id=id)
        self.tables: list[Table] = []
        self.majority: dict[str, float] = {}
        self.notes: dict[str, str] = {}
        self.column = 0
        self._progress: Callable[[ResultRow], studyview.Progress] = _unknown
        self._lines: list[tuple[int, int]] = []  # table, and row of it, _HEAD or _MAJORITY
        self._line = 0  # of the cursor; its column is ``column``
        self._first_column = 0  # the first that is shown
        self._cell_texts: dict[tuple[int, int, int, int], tuple[str, str]] = {}

    # ---------------------------------------------------------------------------- data

    def show(
        self,
        tables: Sequence[Table],
        majority: Mapping[str, float],
        progress: Callable[[ResultRow], studyview.Progress],
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Show these tables; the cursor stays at its place of the study where there is one.

        Args:
            tables: what is shown.
            majority: percent of the most frequent class, by task.
            progress: what the cells of a row wait for.
            notes: what stands behind the cells of a source, by its label.
        """
        self.notes = dict(notes or {})
        before = self.place
        # Other tables or keys: places moved. New values alone leave cursor and scrolling alone.
        moved = [t.fixed for t in tables] != [t.fixed for t in self.tables] or (
            [(t.row_keys, t.column_keys) for t in tables]
            != [(t.row_keys, t.column_keys) for t in self.tables]
        )
        self.tables, self.majority, self._progress = list(tables), dict(majority), progress
        self._cell_texts.clear()
        self._lines = []
        for number, table in enumerate(self.tables):
            self._lines.append((number, _HEAD))
            self._lines += [(number, row) for row in range(len(table.row_keys))]
            if any(self._majority(table)):
                self._lines.append((number, _MAJORITY))
        if moved:
            self._line = self.column = self._first_column = 0
            if before is not None:
                self._find(before)
            self._leave_heads(1)
        self._line = min(self._line, max(len(self._lines) - 1, 0))
        self._leave_heads(-1)
        self._resize()
        self.refresh_changed()
        if moved:
            after_layout(self, self._reveal)  # scrolls within the new virtual size
        self.post_message(self.Moved())

    def _find(self, place: Mapping[Dimension, Any]) -> None:
        """Put the cursor on the cell that shares the most dimensions with a place."""
        best = -1
        for index, (number, row) in enumerate(self._lines):
            if row < 0:
                continue
            table = self.tables[number]
            for column in range(len(table.column_keys)):
                at = studyview.where(table, row, column)
                same = sum(at[name] == key for name, key in place.items())
                if same > best:
                    best, self._line, self.column = same, index, column

    @property
    def _at(self) -> tuple[Table, int] | None:
        """The table and its row under the cursor; None on a line without cells."""
        if self._line >= len(self._lines):
            return None
        number, row = self._lines[self._line]
        table = self.tables[number]
        return (table, row) if row >= 0 and self.column < len(table.column_keys) else None

    @property
    def place(self) -> dict[Dimension, Any] | None:
        """The values of all dimensions under the cursor; None where there is no table."""
        at = self._at
        return None if at is None else studyview.where(*at, self.column)

    @property
    def current(self) -> ResultRow | None:
        """The row of the study under the cursor; None where the study has none."""
        at = self._at
        return None if at is None else at[0].cells[at[1]][self.column]

    @property
    def full(self) -> bool:
        """Whether the cells have room for both ends of an interval."""
        return self._widths()[1] >= studyview.FULL_CELL

    def _majority(self, table: Table) -> list[float | None]:
        """The majority share of each column; empty where tasks are the rows."""
        if table.row == "task":
            return []
        tasks = (
            table.column_keys
            if table.column == "task"
            else [table.fixed.get("task")] * len(table.column_keys)
        )
        return [self.majority.get(str(task)) for task in tasks]

    # ---------------------------------------------------------------------------- keys

    def _leave_heads(self, direction: int) -> None:
        """From a head or a majority line, go to the next row in a direction, else the other way."""
        for step in (direction, -direction):
            line = self._line
            while 0 <= line < len(self._lines) and self._lines[line][1] < 0:
                line += step
            if 0 <= line < len(self._lines):
                self._line = line
                return

    def _go(self, line: int, column: int, direction: int) -> None:
        """Put the cursor on the cell there, or on one next to it in a direction (1 is down)."""
        self._line = max(min(line, len(self._lines) - 1), 0)
        self._leave_heads(direction)
        if self._at is None and not self._lines:
            return
        columns = len(self.tables[self._lines[self._line][0]].column_keys)
        self.column = max(min(column, columns - 1), 0)
        self._reveal()
        self.refresh_changed()
        self.post_message(self.Moved())

    def _reveal(self) -> None:
        """Scroll so that the cursor's cell is seen below the head that stays."""
        before = self._first_column
        _, _, fit = self._widths()
        most = max((len(table.column_keys) for table in self.tables), default=0) - fit
        self._first_column = max(min(self._first_column, most), 0)
        if self.column < self._first_column:
            self._first_column = self.column
        elif self.column >= self._first_column + fit:
            self._first_column = self.column - fit + 1
        if self._first_column != before:
            self.refresh_changed()
        above = max(self._line - 1, 0)  # the head is drawn over the first visible line
        self.scroll_to_region(Region(0, above, 1, 2), animate=False, force=True, immediate=True)

    def action_move(self, lines: int) -> None:
        """Up or down by rows, over the heads between the tables."""
        self._go(self._line + lines, self.column, 1 if lines > 0 else -1)

    def action_across(self, columns: int) -> None:
        """Left or right."""
        self._go(self._line, self.column + columns, 1)

    def action_page(self, pages: int) -> None:
        """Up or down by what is visible."""
        self.action_move(pages * max(self.size.height - 2, 1))

    def action_open(self) -> None:
        """Open the runs behind the cell."""
        if self._at is not None:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        """Click: move there; a second click opens."""
        label, cell, fit = self._widths()
        at = self.inside(event)
        line = at.y + self.scroll_offset.y
        x = at.x - label - 1
        if at.y == 0 or line >= len(self._lines) or self._lines[line][1] < 0 or x < 0:
            return
        column = min(x // (cell + 1), fit - 1) + self._first_column
        self._go(line, column, 1)
        if event.chain >= 2:
            self.action_open()

    # ---------------------------------------------------------------------------- drawing

    def on_resize(self) -> None:
        """The widths follow the widget."""
        self._resize()
        after_layout(self, self._reveal)

    def _resize(self) -> None:
        width = self.scrollable_content_region.width
        self.virtual_size = Size(width, len(self._lines))
        self._cell_texts.clear()

    def _widths(self) -> tuple[int, int, int]:
        """Characters of the labels and of a cell, and how many columns fit."""
        width = max(self.scrollable_content_region.width, 1)
        longest = max(
            (len(key_text(t.row, key)) for t in self.tables[:1] for key in t.row_keys), default=0
        )
        titles = max((len(studyview.table_title(t)) for t in self.tables), default=0)
        label = max(min(max(longest, titles, 8), MOST_LABEL, width // 3), 1)
        columns = len(self.tables[0].column_keys) if self.tables else 1
        room = max(width - label - 1, 1)
        # All columns if their cells get LEAST_CELL, else as many of these as fit.
        most = NOTED_CELL if self.notes and width < studyview.FULL_CELL * 4 else MOST_CELL
        cell = min(max(room // max(columns, 1) - 1, LEAST_CELL), most, max(room - 1, 1))
        return label, cell, max(min(room // (cell + 1), columns), 1)

    def draw_line(self, y: int) -> Strip:
        """One line; the first is the head of the table that the line belongs to."""
        width = self.scrollable_content_region.width
        base = self.look("")
        index = y + self.scroll_offset.y
        if width <= 0 or index >= len(self._lines):
            return Strip.blank(max(width, self.size.width), base)
        number, row = self._lines[index]
        if y == 0:
            row = _HEAD
        table = self.tables[number]
        if row == _HEAD:
            return self._head(table, width)
        label, cell, fit = self._widths()
        shown = range(self._first_column, min(self._first_column + fit, len(table.column_keys)))
        if row == _MAJORITY:
            muted = self.look("muted")
            shares = self._majority(table)
            cells = "".join(
                " " + fmt.fit("" if (v := shares[i]) is None else f"{v:.1f}", cell) for i in shown
            )
            text = fmt.fit("majority", label)
            return Strip([Segment(text + cells, muted)]).adjust_cell_length(width, base)
        name = fmt.fit(fmt.clean(key_text(table.row, table.row_keys[row])), label)
        segments = [Segment(name, self.look("strong"))]
        for column in shown:
            text, look = self._text(number, row, column, cell)
            style = self.look(_CELL_LOOKS.get(look, "muted") if look else "")
            if index == self._line and column == self.column:
                style = self.get_component_rich_style("studytable--cursor")
            segments += [Segment(" ", base), Segment(fmt.fit(text, cell), style)]
        if table.row == "source":
            note = self.notes.get(str(table.row_keys[row]), "")
            segments.append(Segment(fmt.clean(f"  {note}"), base))
        return Strip(segments).adjust_cell_length(width, base)

    def _text(self, number: int, row: int, column: int, cell: int) -> tuple[str, str]:
        """Text and look of a cell of ``cell`` characters; kept until there is another snapshot."""
        key = (number, row, column, cell)
        if key not in self._cell_texts:
            result = self.tables[number].cells[row][column]
            progress = self._progress(result) if result is not None else studyview.Progress()
            self._cell_texts[key] = studyview.cell_shown(result, cell, progress)
        return self._cell_texts[key]

    def _head(self, table: Table, width: int) -> Strip:
        style: Style = self.get_component_rich_style("studytable--head")
        label, cell, fit = self._widths()
        total = len(table.column_keys)
        shown = range(self._first_column, min(self._first_column + fit, total))
        text = fmt.fit(studyview.table_title(table), label)
        for column in shown:
            name = fmt.clean(key_text(table.column, table.column_keys[column]))
            text += " " + fmt.fit(name, cell)
        if self.notes and table.row == "source":
            text += f"  {NOTES_HEAD}"
        before, after = self._first_column > 0, self._first_column + fit < total
        if before or after:
            note = f" {'◂' if before else ' '}{'▸' if after else ' '}"
            text = fmt.fit(text, max(width - len(note), 0)) + note
        return Strip([Segment(fmt.fit(text, width), style)], width)


def _unknown(row: ResultRow) -> studyview.Progress:
    """The progress of a row before anything was read."""
    del row
    return studyview.Progress()
