"""The map of a look: a dot for each image, and a cursor that moves from point to point."""

from __future__ import annotations

from collections import Counter

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.strip import Strip

from engine.runs.encoder_look import EncoderView, Look
from moco_tui.present.look_text import class_mark, name_of
from moco_tui.present.map_moves import Dot, nearest_to, neighbour_in, placed
from moco_tui.present.map_svg import PlaneMap
from moco_tui.session import draws_ascii
from moco_tui.terminal.theme_colours import CURVES
from moco_tui.widgets.drawn_lines import DrawnLines
from moco_tui.widgets.panel import Panel

SHOWN_NEIGHBOURS = 10
"""Neighbours of the image at the cursor that are marked."""
# Bits of the dots of a braille cell by column and row from the bottom (Unicode block U+2800).
_BITS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
_ROOMY = 24  # cells for each that has points, from which on a dot would be lost
_CURSOR, _RIGHT, _WRONG = "╋", "✓", "✗"


class LookMap(Panel, DrawnLines, can_focus=True):
    """Points of all images; classes have a colour and a mark.

    Attributes:
        image: the image at the cursor, its place among those of the look.
    """

    HELP_TITLE = "The map"
    HELP = """Each image is a dot. The arrow keys go to the nearest point in their direction; the
nearest neighbours of the image are ticked or crossed: of its class or not."""
    DEFAULT_CSS = """
    LookMap { min-height: 6; }
    """
    BINDINGS = [
        Binding("left", "go('left')", "Point to the left", show=False),
        Binding("right", "go('right')", "Point to the right", show=False),
        Binding("up", "go('up')", "Point above", show=False),
        Binding("down", "go('down')", "Point below", show=False),
        Binding("colon", "marks", "Dots or marks", key_display=":", show=False),
    ]

    class Moved(Message):
        """The cursor is at another image."""

        def __init__(self, image: int) -> None:
            super().__init__()
            self.image = image

        def can_replace(self, message: Message) -> bool:
            """Of several moves the last counts."""
            return isinstance(message, LookMap.Moved)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("map", id=id)
        self.image = 0
        self.only_marks = False
        self._look: Look | None = None
        self._view: EncoderView | None = None
        self._plane: PlaneMap | None = None
        self._dots: list[Dot] = []

    def show(self, look: Look, view: EncoderView, plane: PlaneMap, title: str) -> None:
        """Show a map of the images by an encoder."""
        self._look, self._view, self._plane, self.title = look, view, plane, title
        self.image = min(self.image, len(look.rows) - 1)
        self._place()

    def select(self, image: int) -> None:
        """Put the cursor on an image."""
        self.image = image
        self._redraw()

    def action_go(self, direction: str) -> None:
        """Move the cursor."""
        if self._dots:
            self._choose(neighbour_in(self._dots, self.image, direction))

    def action_marks(self) -> None:
        """Marks of the classes alone, or dots between them."""
        self.only_marks = not self.only_marks
        self._redraw()

    def on_click(self, event: events.Click) -> None:
        """The nearest point to the mouse."""
        if self._dots:
            at = self.inside(event)
            x, y = 2 * at.x + 0.5, 4 * (self.size.height - 1 - at.y) - 2.5
            self._choose(nearest_to(self._dots, x, y))

    def _choose(self, image: int) -> None:
        if image != self.image:
            self.select(image)
            self.post_message(self.Moved(image))

    def on_resize(self) -> None:
        """Place the points anew."""
        self._place()

    def _redraw(self) -> None:
        self.forget_lines()
        self.refresh()

    def _place(self) -> None:
        width, height = self.size.width, self.size.height - 1  # the legend
        if self._plane is not None and width > 0 and height > 0:
            self._dots = placed(self._plane.points, 2 * width, 4 * height)
        self._redraw()

    # ---------------------------------------------------------------------------- drawing

    def draw_lines(self) -> list[Strip]:
        """The plane with its dots, and the legend."""
        width, base = self.size.width, self.look("")
        ascii_only = draws_ascii(self)
        if self._look is None or not self._dots:
            return []
        strips = []
        cells = self._cells(ascii_only)
        for row in range(self.size.height - 2, -1, -1):
            segments = []
            for column in range(width):
                text, style = cells.get((column, row), (" ", base))
                segments.append(Segment(text, style))
            strips.append(Strip(segments, width))
        return [*strips, self._legend(self._look, ascii_only)]

    def _cells(self, ascii_only: bool) -> dict[Dot, tuple[str, Style]]:
        """Characters and styles by cell, from the lower left corner."""
        assert self._look is not None
        assert self._view is not None
        labels = self._look.labels
        counts: dict[Dot, Counter[int]] = {}
        bits: dict[Dot, int] = {}
        for label, (x, y) in zip(labels, self._dots, strict=True):
            cell = x >> 1, y >> 2
            counts.setdefault(cell, Counter())[label] += 1
            bits[cell] = bits.get(cell, 0) | _BITS[x & 1][y & 3]
        few = _ROOMY * len(counts) < self.size.width * self.size.height
        plain = ascii_only or self.app.no_color
        cells = {}
        for cell, found in counts.items():
            label = max(found, key=lambda one: (found[one], -one))
            # A mark in every third cell: colour is never the only difference between classes.
            mark = plain or few or self.only_marks or (cell[0] + 2 * cell[1]) % 3 == 0
            text = class_mark(label, ascii_only=ascii_only) if mark else chr(0x2800 + bits[cell])
            cells[cell] = text, self._class_style(label)
        for other in reversed(self._view.neighbours[self.image][:SHOWN_NEIGHBOURS]):
            right = labels[other] == labels[self.image]
            x, y = self._dots[other]
            style = self.look("good" if right else "bad") + Style(bold=True)
            cells[x >> 1, y >> 2] = _RIGHT if right else _WRONG, style
        x, y = self._dots[self.image]
        cells[x >> 1, y >> 2] = _CURSOR, self.look("focus") + Style(reverse=True)
        return cells

    def _legend(self, look: Look, ascii_only: bool) -> Strip:
        """Marks and names of the classes, as many as fit."""
        base, note = self.look(""), self.look("muted")
        segments: list[Segment] = []
        room = self.size.width
        for number in sorted(set(look.labels)):
            mark = class_mark(number, ascii_only=ascii_only)
            name = f" {name_of(look, number)}  "
            if 1 + len(name) > room - 2:
                segments.append(Segment("…", note))
                break
            room -= 1 + len(name)
            segments += [Segment(mark, self._class_style(number)), Segment(name, note)]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _class_style(self, label: int) -> Style:
        """The colour of a class: that of a curve."""
        return self.look(f"curve-{label % CURVES + 1}")
