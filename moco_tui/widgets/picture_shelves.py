"""Rows of pictures with words below each, and a cursor: an image and its neighbours, or a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from moco_tui.present import fmt
from moco_tui.terminal.picture_store import PictureSpot
from moco_tui.widgets.drawn_lines import DrawnLines
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.picture_cells import picture_line, resized
from moco_tui.widgets.picture_layer import PictureWidget

SIZES = (48, 40, 32, 28, 24, 20, 16, 12, 8)
"""Pixels of a picture, even, since a line of text shows two rows of pixels."""
_ENOUGH = 6
"""Pictures of a shelf that are to be seen at once: larger ones are not worth fewer."""
_CAPTION = 12
_HEAD_LINES = 4


@dataclass(frozen=True)
class Tile:
    """A picture with words below it.

    Attributes:
        image: its place among those of the look.
        caption: safe to print.
        right: whether what it shows is right; None where that is no question.
    """

    image: int
    caption: str
    right: bool | None = None


@dataclass(frozen=True)
class Shelf:
    """Pictures under a line of text."""

    title: str
    tiles: Sequence[Tile]


class ShelfLayout(NamedTuple):
    """How pictures are laid out.

    Attributes:
        pixels: of a picture.
        across: pictures side by side.
        rows: rows of a shelf.
        shelves: how many are in sight at once.
        head: lines of the picture that stands first; 0 where there is no room for it.
    """

    pixels: int
    across: int
    rows: int
    shelves: int
    head: int = 0


class PictureShelves(Panel, DrawnLines, PictureWidget, can_focus=True):
    """A picture with lines beside it, and shelves of others below."""

    HELP_TITLE = "Pictures"
    HELP = """An image and its nearest neighbours, ticked where they are of its class and crossed
where not; or the images of a cell. The arrow keys choose one, Enter goes to it."""
    DEFAULT_CSS = """
    PictureShelves { min-height: 7; }
    """
    BINDINGS = [
        Binding("left", "move(-1, 0)", "To the left", show=False),
        Binding("right", "move(1, 0)", "To the right", show=False),
        Binding("up", "move(0, -1)", "Up", show=False),
        Binding("down", "move(0, 1)", "Down", show=False),
        Binding("enter", "open", "Go to it"),
    ]

    class Chosen(Message):
        """An image is to be looked at."""

        def __init__(self, image: int) -> None:
            super().__init__()
            self.image = image

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("images", id=id)
        self.head: int | None = None
        self.shelves: list[Shelf] = []
        self.cursor = (0, 0)
        """Shelf and place of the tile that Enter goes to."""
        self._lines: list[str] = []
        self._pictures: Sequence[bytes] = ()
        self._side = 1
        self._first = 0  # place that each shelf begins with

    def show(
        self,
        pictures: Sequence[bytes],
        size: int,
        title: str,
        shelves: Sequence[Shelf],
        *,
        head: int | None = None,
        lines: Sequence[str] = (),
    ) -> None:
        """Show pictures.

        Args:
            pictures: RGB of all images, row by row.
            size: pixels of a side of each.
            title: what stands above.
            shelves: rows of others.
            head: the image that stands first, if one does.
            lines: beside it.
        """
        self._pictures, self._side, self.title = pictures, size, title
        self.head, self._lines = head, list(lines)
        self.shelves = list(shelves)
        self.cursor, self._first = (0, 0), 0
        self._redraw()

    # ---------------------------------------------------------------------------- layout

    def _tile_width(self, pixels: int) -> int:
        return max(pixels, _CAPTION) + 1

    def layout_of(self) -> ShelfLayout:
        """The largest pictures of which enough are seen at once, else those of which most are."""
        layouts = [self._fitted(pixels, with_head=self.head is not None) for pixels in SIZES]
        found = [layout for layout in layouts if layout is not None]
        if not found:  # a very small panel: the shelves alone
            last = self._fitted(SIZES[-1], with_head=False)
            return last or ShelfLayout(SIZES[-1], 1, 1, 1)
        most = max((len(shelf.tiles) for shelf in self.shelves), default=0)
        # The first of those that are equally good, which has the largest pictures.
        return max(found, key=lambda one: (one.shelves, min(one.across * one.rows, most, _ENOUGH)))

    def _fitted(self, pixels: int, *, with_head: bool) -> ShelfLayout | None:
        """How pictures of this size are laid out; None where they do not fit."""
        head = max(pixels // 2, _HEAD_LINES) if with_head else 0
        room = self.size.height - head
        count = max(len(self.shelves), 1)
        shelves = min(room // (pixels // 2 + 2), count)  # with a line of text for each
        if pixels > self.size.width or shelves < 1:
            return None
        across = max(self.size.width // self._tile_width(pixels), 1)
        rows = (room // shelves - 1) // (pixels // 2 + 1)
        return ShelfLayout(pixels, across, rows, shelves, head)

    @property
    def _first_shelf(self) -> int:
        """The first that is drawn, so that the cursor is in sight."""
        return max(self.cursor[0] - self.layout_of().shelves + 1, 0)

    def action_move(self, columns: int, rows: int) -> None:
        """Move the cursor; what is out of sight comes into it."""
        if not self.shelves or not self.shelves[self.cursor[0]].tiles:
            return
        _, across, lines, *_ = self.layout_of()
        shelf, place = self.cursor
        if rows and not 0 <= place - self._first + rows * across < across * lines:
            other = shelf + rows
            if 0 <= other < len(self.shelves) and self.shelves[other].tiles:
                place = self._first + (place - self._first) % across
                self.cursor = other, min(place, len(self.shelves[other].tiles) - 1)
                self._redraw()
                return
        tiles = len(self.shelves[shelf].tiles)
        place = max(min(place + columns + rows * across, tiles - 1), 0)
        per = across * lines
        if not self._first <= place < self._first + per:
            self._first = place // per * per
        self.cursor = shelf, place
        self._redraw()

    def action_open(self) -> None:
        """Go to the image at the cursor."""
        shelf, place = self.cursor
        if shelf < len(self.shelves) and place < len(self.shelves[shelf].tiles):
            self.post_message(self.Chosen(self.shelves[shelf].tiles[place].image))

    def on_click(self, event: events.Click) -> None:
        """Choose a picture; a click on the chosen one goes to it."""
        pixels, across, rows, _, head = self.layout_of()
        height = pixels // 2 + 1
        at = self.inside(event)
        y = at.y - head
        shelf, inside = divmod(y, 1 + rows * height)
        column = at.x // self._tile_width(pixels)
        shelf += self._first_shelf
        if y < 0 or inside < 1 or column >= across or shelf >= len(self.shelves):
            return
        place = self._first + (inside - 1) // height * across + column
        if place < len(self.shelves[shelf].tiles):
            again = self.cursor == (shelf, place)
            self.cursor = shelf, place
            self._redraw()
            if again:
                self.action_open()

    # ---------------------------------------------------------------------------- drawing

    def _redraw(self) -> None:
        """Draw anew; lines that stay are not written again, nor are the pictures in them."""
        strips, spots = self._strips, set(self.spots)
        self.forget_lines()
        if strips is None or not self.size:
            self.refresh()
            return
        self._strips = self.draw_lines()
        moved = spots.symmetric_difference(self.spots)
        stale = {y for spot in moved for y in range(spot.y, spot.y + spot.rows)}
        for y in range(max(len(strips), len(self._strips))):
            if y in stale or strips[y : y + 1] != self._strips[y : y + 1]:
                self.refresh(Region(0, y, self.size.width, 1))

    def on_resize(self) -> None:
        """Lay the pictures out anew."""
        self._first = 0
        self._redraw()

    def on_focus(self) -> None:
        """The cursor shows the focus."""
        self._redraw()

    def on_blur(self) -> None:
        """The cursor shows the focus."""
        self._redraw()

    def draw_lines(self) -> list[Strip]:
        """The picture that stands first, and the shelves."""
        width, base = self.size.width, self.look("")
        letters = self.draws_letters()
        layout = self.layout_of()
        pixels = layout.pixels
        spots: list[PictureSpot] = []
        strips: list[Strip] = []
        if self.head is not None and layout.head:
            beside = [[Segment(line, base)] for line in self._lines]
            picture = self._picture(self.head, pixels)
            spots.append(self._spot(self.head, pixels, 0, 0))
            for line in range(layout.head):
                segments = (
                    picture_line(picture, pixels, line, base, ascii_only=letters)
                    if line < pixels // 2
                    else [Segment(" " * pixels, base)]
                )
                segments.append(Segment("  ", base))
                segments += beside[line] if line < len(beside) else []
                strips.append(Strip(segments).adjust_cell_length(width, base))
        first = self._first_shelf
        for number in range(first, min(first + layout.shelves, len(self.shelves))):
            strips += self._shelf(number, layout, len(strips), spots)
        self.has_pictures_at(spots)
        return strips

    def _shelf(
        self, number: int, layout: ShelfLayout, y: int, spots: list[PictureSpot]
    ) -> list[Strip]:
        """A shelf that is drawn from a line on; its pictures are added to those of the widget."""
        shelf, (pixels, across, rows, *_) = self.shelves[number], layout
        width, base, letters = self.size.width, self.look(""), self.draws_letters()
        note = self.look("muted")
        last = min(self._first + across * rows, len(shelf.tiles))
        where = f"  {self._first + 1}–{last} of {len(shelf.tiles)}" if shelf.tiles else ""
        strips = [Strip([Segment(fmt.fit(shelf.title + where, width), note)])]
        gap = self._tile_width(pixels) - pixels
        for row in range(rows):
            start = self._first + row * across
            tiles = shelf.tiles[start : min(start + across, last)]
            for column, tile in enumerate(tiles):
                x = column * self._tile_width(pixels)
                spots.append(self._spot(tile.image, pixels, x, y + len(strips)))
            for line in range(pixels // 2):
                segments: list[Segment] = []
                for tile in tiles:
                    picture = self._picture(tile.image, pixels)
                    segments += picture_line(picture, pixels, line, base, ascii_only=letters)
                    segments.append(Segment(" " * gap, base))
                strips.append(Strip(segments).adjust_cell_length(width, base))
            captions = []
            for place, tile in enumerate(tiles, start):
                style = self._caption_style(tile)
                if (number, place) == self.cursor and self.has_focus:
                    style += Style(bold=True, reverse=True)
                text = fmt.fit(tile.caption, self._tile_width(pixels) - 1)
                captions += [Segment(text, style), Segment(" ", base)]
            strips.append(Strip(captions).adjust_cell_length(width, base))
        return strips

    def _caption_style(self, tile: Tile) -> Style:
        if tile.right is None:
            return self.look("")
        return self.look("good" if tile.right else "bad")

    def _spot(self, image: int, pixels: int, x: int, y: int) -> PictureSpot:
        return PictureSpot(x, y, pixels, pixels // 2, self._pictures[image], self._side)

    def _picture(self, image: int, pixels: int) -> bytes:
        return resized(self._pictures[image], self._side, pixels)
