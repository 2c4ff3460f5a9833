"""The table of runs: draws the lines on screen only, however many rows there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from moco_tui.present import fmt
from moco_tui.present.curves import ASCII_MARKS, MARKS
from moco_tui.present.run_columns import GLYPH, RunColumn, default_columns, fitted
from moco_tui.present.run_groups import SeedGroup, group_with
from moco_tui.present.run_order import Fold
from moco_tui.present.run_rows import RunRow
from moco_tui.session import draws_ascii
from moco_tui.terminal.theme_colours import CURVES
from moco_tui.widgets.painted_lines import PaintedLines
from moco_tui.widgets.panel import Panel, state_look, theme_style


def _merged(columns: list[tuple[RunColumn, int]], row: RunRow) -> list[tuple[RunColumn, int]]:
    """The columns of a row; of a study those that it has no values for are one, of its progress."""
    if row.members is None:
        return columns
    titles = [column.title for column, _ in columns]
    if "kind" not in titles or "done" not in titles[titles.index("kind") + 2 :]:
        return columns
    first, end = titles.index("kind") + 1, titles.index("done")
    size = sum(size + 1 for _, size in columns[first:end]) - 1
    text = row.members.text
    return [*columns[:first], (RunColumn("cells", size, lambda *_: text), size), *columns[end:]]


class RunTable(Panel, PaintedLines, ScrollView, can_focus=True):
    """Runs, one a line; a cursor that stays on its run when others come and go."""

    HELP_TITLE = "The table of runs"
    HELP = """All runs, newest first; probes stand under the run whose encoder they use. Where there
are many, one line stands for them: Enter on it shows them and hides them again. What a study made
stands under the study: f, or a click on the sign before its name, shows it and hides it again. Runs
that a study counts and did not make stay where they are, and say so. A click on the head of a
column sorts by it, another one the other way round."""

    DEFAULT_CSS = """
    RunTable { padding: 0; overflow: hidden auto; }
    RunTable > .runtable--head { color: $text-muted; text-style: bold; background: $panel; }
    RunTable > .runtable--cursor { background: $primary 35%; }
    RunTable:focus > .runtable--cursor {
        background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold;
    }
    """
    COMPONENT_CLASSES = {"runtable--head", "runtable--cursor"}
    BINDINGS = [
        Binding("enter", "open", "Open"),
        Binding("space", "mark", "Mark"),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "first", "First", show=False),
        Binding("end", "last", "Last", show=False),
    ]

    class Opened(Message):
        """Enter was pressed on a run."""

        def __init__(self, row: RunRow) -> None:
            super().__init__()
            self.row = row

    class Folded(Message):
        """What stands under a run is to be shown or hidden.

        Args:
            run: id of the run.
        """

        def __init__(self, run: str) -> None:
            super().__init__()
            self.run = run

    class Sorted(Message):
        """The rows are to be sorted by a column; by the same again the other way round.

        Args:
            key: what the column is sorted by, see ``RunColumn``.
        """

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Moved(Message):
        """The cursor stands on another run, or on none."""

    class Marked(Message):
        """Other runs are marked."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("runs", id=id)
        self.rows: list[tuple[RunRow, int]] = []
        self._places: dict[str, int] = {}  # of each row among them, by its id
        self.cursor = 0
        # In the order of marking, as they are compared; each with the place of its mark and colour.
        self.marked: dict[str, int] = {}
        self.clock: Callable[[], float] = time.time
        self.shown_columns = default_columns(has_base=False)
        self.fills: dict[str, Callable[[RunRow, int], str]] = {}
        """By title of a column what it shows in so many cells, where a row alone does not know."""
        self.sorted_by = ""
        """What the rows are sorted by, as ``RunColumn.sort``; empty: as they begin."""

    @property
    def line(self) -> RunRow | None:
        """What stands under the cursor: a run, or the line that many are folded into."""
        return self.rows[self.cursor][0] if self.cursor < len(self.rows) else None

    @property
    def current(self) -> RunRow | None:
        """The run under the cursor."""
        return None if isinstance(self.line, Fold) else self.line

    @property
    def free_place(self) -> int:
        """The first place of marks and colours that no marked run has."""
        taken = set(self.marked.values())
        return next(place for place in count() if place not in taken)

    def show(self, rows: Sequence[tuple[RunRow, int]]) -> None:
        """Show these rows; the cursor stays with its run, else with its line."""
        before = self.line
        self.rows = list(rows)
        self._places = places = {row.id: index for index, (row, _) in enumerate(self.rows)}
        if before is not None:
            # A run that is folded away now leaves the cursor on the line that stands for it.
            folded = f"{before.parent}/probes" if before.kind == "probe" else ""
            group = group_with(before.id, (row for row, _ in self.rows))
            of_group = [before.runs[0].id] if isinstance(before, SeedGroup) else []
            folded_into = [group.id] if group is not None else []
            for id_ in (
                *(before.id, *of_group, folded, *folded_into, before.parent, before.study),
            ):
                if id_ in places:
                    self.cursor = places[id_]
                    break
        self.cursor = max(min(self.cursor, len(self.rows) - 1), 0)
        self._resize()
        self.refresh_changed()
        self.post_message(self.Moved())

    def replace(self, rows: Iterable[RunRow]) -> None:
        """Show runs as they are now, each in the line that it has; those without one are left."""
        for row in rows:
            index = self._places.get(row.id)
            if index is not None:
                self.rows[index] = row, self.rows[index][1]
        self.refresh_changed()
        self.post_message(self.Moved())

    def show_columns(self, columns: Sequence[RunColumn], sorted_by: str) -> None:
        """Have these columns, and say in their heads what the rows are sorted by."""
        new = tuple(columns), sorted_by
        if new != (self.shown_columns, self.sorted_by):
            self.shown_columns, self.sorted_by = new
            self.refresh_changed()

    @property
    def on_screen(self) -> list[RunRow]:
        """The rows that are seen."""
        first = int(self.scroll_offset.y)
        return [row for row, _ in self.rows[first : first + self.size.height]]

    def select(self, run_id: str) -> None:
        """Put the cursor on a run if it is there."""
        for index, (row, _) in enumerate(self.rows):
            if row.id == run_id:
                self._go(index)

    def on_resize(self) -> None:
        """The widths follow the widget."""
        self._resize()

    def _resize(self) -> None:
        width = self.scrollable_content_region.width
        self.virtual_size = Size(width, len(self.rows) + 1)

    # ---------------------------------------------------------------------------- keys

    def _go(self, index: int) -> None:
        index = max(min(index, len(self.rows) - 1), 0)
        if index != self.cursor:
            self.cursor = index
            self.refresh_changed()
            self.post_message(self.Moved())
        # Row ``index`` is line ``index + 1``; the line above it is shown too, since the head is
        # drawn over the first visible one. By default Textual scrolls after the next refresh only.
        self.scroll_to_region(Region(0, index, 1, 2), animate=False, force=True, immediate=True)

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        self._go(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        """Move the cursor by what is visible."""
        self._go(self.cursor + pages * max(self.size.height - 2, 1))

    def action_first(self) -> None:
        """To the first run."""
        self._go(0)

    def action_last(self) -> None:
        """To the last run."""
        self._go(len(self.rows) - 1)

    def action_open(self) -> None:
        """Open the run under the cursor, or the probes that are folded there."""
        if isinstance(self.line, Fold):
            self.post_message(self.Folded(self.line.folds))
        elif self.current is not None:
            self.post_message(self.Opened(self.current))

    def action_mark(self) -> None:
        """Mark or unmark the run under the cursor, for comparing."""
        row = self.current
        if row is None:
            return
        if row.id in self.marked:
            del self.marked[row.id]
        else:
            self.marked[row.id] = self.free_place
        self.refresh_changed()
        self.post_message(self.Marked())
        self.action_move(1)

    def on_click(self, event: events.Click) -> None:
        """Click: move there; a second click opens."""
        at = self.inside(event)
        if at.y == 0:
            self._click_head(at.x)
            return
        index = at.y - 1 + self.scroll_offset.y
        if 0 <= index < len(self.rows):
            self._go(index)
            row, depth = self.rows[index]
            sign = self._starts().get("name", -9) + 2 * depth  # in front of the name
            if sign <= at.x <= sign + 1 and (row.members is not None or isinstance(row, Fold)):
                self.post_message(self.Folded(row.folds if isinstance(row, Fold) else row.id))
                return
            if event.chain >= 2:
                self.action_open()

    def _click_head(self, x: int) -> None:
        """Ask to be sorted by the column under the mouse."""
        starts = self._starts()
        for column, size in self.columns(self.scrollable_content_region.width):
            start = starts[column.title]
            if start <= x < start + size and column.sort:
                self.post_message(self.Sorted(column.sort))

    def _starts(self) -> dict[str, int]:
        """The first cell of each column by its title."""
        starts, at = {}, 1  # behind the mark
        for column, size in self.columns(self.scrollable_content_region.width):
            starts[column.title] = at
            at += size + 1
        return starts

    # ---------------------------------------------------------------------------- drawing

    def columns(self, width: int) -> list[tuple[RunColumn, int]]:
        """The columns that fit, with their widths; one cell stands between two."""
        return fitted(self.shown_columns, width)

    def _head(self, column: RunColumn, size: int) -> str:
        """The head of a column; that which the rows are sorted by says in which direction."""
        if not self.sorted_by or column.sort.removeprefix("-") != self.sorted_by.removeprefix("-"):
            return fmt.fit(column.title, size, right=column.right)
        arrow = "↓" if self.sorted_by.startswith("-") else "↑"
        title = fmt.fit(column.title, min(len(column.title), max(size - 1, 1)))
        return fmt.fit(title + arrow, size, right=column.right)

    def draw_line(self, y: int) -> Strip:
        """One line: the head, or a run."""
        width = self.scrollable_content_region.width
        base = self.look("")
        if width <= 0:
            return Strip.blank(self.size.width, base)
        columns = self.columns(width)
        if y == 0:
            head = self.get_component_rich_style("runtable--head")
            cells = (self._head(column, size) for column, size in columns)
            return Strip([Segment(fmt.fit(" " + " ".join(cells), width), head)], width)
        index = y - 1 + self.scroll_offset.y
        if index >= len(self.rows):
            return Strip.blank(width, base)
        row = self.rows[index][0]
        now = self.clock()
        style, accent = self._styles(row, index == self.cursor, base)
        segments = [self._mark(row, index == self.cursor, style)]
        for column, size in _merged(columns, row):
            fill = self.fills.get(column.title)
            text = column.text(row, now) if fill is None else fill(row, size)
            if column.title == "name":
                text = self._titled(index, text)
                if row.study:  # the names of its runs begin alike
                    text = fmt.middle(text, size)
            cell = fmt.fit(text, size, right=column.right)
            segments.append(Segment(cell, accent if column.title in ("state", GLYPH) else style))
            segments.append(Segment(" ", style))
        return Strip(segments).adjust_cell_length(width, style)

    def _mark(self, row: RunRow, current: bool, style: Style) -> Segment:
        """The mark of a marked run in its colour, as its curve has them."""
        place = self.marked.get(row.id)
        if place is None:
            return Segment(" ", style)
        marks = ASCII_MARKS if draws_ascii(self) else MARKS
        if not current:
            style += theme_style(self.app, f"curve-{place % CURVES + 1}")
        return Segment(marks[place % len(marks)], style)

    def _titled(self, index: int, text: str) -> str:
        """The name of a run with what it stands under, holds, or is used by."""
        row, depth = self.rows[index]
        if row.members is not None and row.members.runs:
            text = f"{'▾' if self.is_open(index) else '▸'} {text} ({row.members.runs})"
        elif row.used_by and not row.study:
            text = f"{text} · used by {row.used_by[0]}"
        return "  " * (depth - 1) + "└ " + text if depth else text

    def is_open(self, index: int) -> bool:
        """Whether rows follow that stand under a row."""
        return index + 1 < len(self.rows) and self.rows[index + 1][1] > self.rows[index][1]

    def _styles(self, row: RunRow, current: bool, base: Style) -> tuple[Style, Style]:
        """The styles of a row and of its state; under the cursor both are the cursor's."""
        if current:
            style = self.get_component_rich_style("runtable--cursor")
            return style, style
        return base, self.look(state_look(row.status))
