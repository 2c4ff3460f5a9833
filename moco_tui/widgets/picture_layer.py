"""Pictures of the terminal's own over those of characters, wherever a widget has some.

Widgets draw pictures as characters, on any terminal. When these have been written, an app whose
terminal shows pictures puts them over the same cells. So nothing moves, and whatever Textual writes
there later (a dialog, another screen, a message) takes the picture away, since both Sixel and the
placeholders of Kitty's protocol end where text is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakSet

from rich.console import RenderableType
from textual import on
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.driver import Driver
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget

from moco_tui.session import Session, draws_ascii
from moco_tui.terminal.picture_protocol import PicturesAnswered
from moco_tui.terminal.picture_store import PictureSpot

if TYPE_CHECKING:
    from moco_tui.terminal.guarded_input import GuardedDriver

_BUSY_SECONDS = 0.04
"""How long pictures are encoded at a time: each may take as long as that, and keys are waiting."""
_PAUSE_SECONDS = 0.01
_MOST_SPOTS = 100  # fewer than a terminal of Kitty's protocol holds for the app
_BACK_AND_FORTH = "\x1b7{}\x1b8"  # keeps the place of the cursor and the colours (DECSC, DECRC)


class PictureWidget(Widget):
    """A widget that draws pictures, as characters.

    Attributes:
        spots: where they are, and what they show.
    """

    spots: Sequence[PictureSpot] = ()

    def has_pictures_at(self, spots: Sequence[PictureSpot]) -> None:
        """Note where the pictures are that were drawn as characters a moment ago."""
        self.spots = spots
        if isinstance(self.app, PictureApp):
            self.app.has_pictures(self)

    def draws_letters(self) -> bool:
        """Whether pictures are drawn with letters."""
        letters = isinstance(self.app, PictureApp) and self.app.session.pictures.letters
        return letters or draws_ascii(self)

    def shows_pictures(self) -> bool:
        """Whether the terminal is known to show pictures, of any number of pixels."""
        app = self.app
        return isinstance(app, PictureApp) and app.session.pictures.protocol in ("kitty", "sixel")

    def pictures_known(self) -> None:
        """The terminal has said that it shows pictures."""


class PictureApp(App[int]):
    """An app that puts pictures over those that its widgets draw as characters."""

    session: Session

    def __init__(self) -> None:
        super().__init__()
        self._picture_widgets: WeakSet[PictureWidget] = WeakSet()
        self._due: set[_Placed] = set()  # pictures over which something else was written
        self._draws_soon = False

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice; its driver of a terminal with a reader that no byte can end."""
        driver = super().get_driver_class()
        if driver.__name__ != "LinuxDriver":  # of another system, or named in the environment
            return driver
        from moco_tui.terminal.guarded_input import GuardedDriver

        return GuardedDriver

    def has_pictures(self, widget: PictureWidget) -> None:
        """A widget draws pictures: look for them after each update of the screen."""
        self._picture_widgets.add(widget)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Textual's own, which writes a screen or a part of it; then the pictures in that part."""
        super()._display(screen, renderable)
        if self._picture_widgets and renderable is not None and not self._batch_count:
            self._put_pictures(renderable)

    @on(PicturesAnswered)
    def _pictures_answered(self, message: PicturesAnswered) -> None:
        """Draw them the way that the terminal has said."""
        store = self.session.pictures
        store.learn(message.protocol, message.cell)
        if store.protocol != "blocks":
            for widget in self._on_screen():
                widget.pictures_known()
            self._put_pictures(None)

    def _on_screen(self) -> list[PictureWidget]:
        """Widgets with pictures on the screen that is in front."""
        return [
            widget
            for widget in self._picture_widgets
            if widget.is_attached and widget.spots and widget.screen is self.screen
        ]

    def _picture_driver(self) -> GuardedDriver | None:
        """What draws on a real terminal."""
        from moco_tui.terminal.guarded_input import GuardedDriver

        driver = self._driver
        return driver if isinstance(driver, GuardedDriver) and self._running else None

    def _put_pictures(self, update: RenderableType | None) -> None:
        """Draw the pictures over what was written, or all that are in sight.

        Args:
            update: what was written; None: anything.
        """
        store, driver = self.session.pictures, self._picture_driver()
        if driver is None or store.protocol == "blocks":
            return
        widgets = self._on_screen()
        if not widgets:
            closed = not any(widget.is_attached for widget in self._picture_widgets)
            if closed and (text := store.forget()):
                driver.write(text)
            return
        driver.farewell = store.farewell
        if store.protocol:
            written = _written(update)
            self._due.update(
                pair for pair in _placed(widgets) if any(area.overlaps(pair[1]) for area in written)
            )
            self._draw_due()
        elif not store.asked:
            store.asked = True
            driver.ask_about_pictures()

    def _draw_due(self) -> None:
        """Draw what is due and still in sight; what takes too long in a moment, after the keys."""
        store, driver = self.session.pictures, self._picture_driver()
        if driver is None:
            return
        placed, cell = _placed(self._on_screen()), store.cell(driver.fileno)
        for spot, _ in placed:
            store.keep(spot, cell)
        due = [pair for pair in placed if pair in self._due]
        texts: list[str] = []
        end = time.monotonic() + _BUSY_SECONDS
        while due and (not texts or time.monotonic() < end):
            spot, region = due.pop(0)
            texts.append(store.draw(spot, region.x, region.y, cell))
        self._due = set(due)
        if text := "".join(texts):
            driver.write(_BACK_AND_FORTH.format(text))
        if due and not self._draws_soon:
            self._draws_soon = True
            self.set_timer(_PAUSE_SECONDS, self._draw_more)

    def _draw_more(self) -> None:
        self._draws_soon = False
        self._draw_due()


_Placed = tuple[PictureSpot, Region]


def _placed(widgets: Iterable[PictureWidget]) -> list[_Placed]:
    """The pictures that are in sight, and the cells of the screen that they fill."""
    return [
        (spot, _cells_of(spot, widget.content_region))
        for widget in widgets
        for spot in widget.spots
        if _in_sight(widget, spot)
    ][:_MOST_SPOTS]


def _cells_of(spot: PictureSpot, inside: Region) -> Region:
    """The cells of a picture in a widget whose frame encloses a region of the screen."""
    return Region(inside.x + spot.x, inside.y + spot.y, spot.columns, spot.rows)


def _in_sight(widget: Widget, spot: PictureSpot) -> bool:
    """Whether all of a picture is on the screen, with nothing before it."""
    compositor = widget.screen._compositor
    place = compositor.visible_widgets.get(widget)
    if place is None:
        return False
    region, clip = place
    area = _cells_of(spot, region.shrink(widget.gutter))
    # The last line of the screen may scroll when a picture in Sixel ends in it.
    if not region.intersection(clip).contains_region(area) or area.bottom >= compositor.size.height:
        return False
    for y in range(area.y, area.bottom):
        for other, cropped, _ in compositor.layers_visible[y]:  # the foremost comes first
            if other is widget:
                break
            if other.visible and cropped.overlaps(area):
                return False
    return True


def _written(update: RenderableType | None) -> list[Region]:
    """The cells that an update of the screen has written."""
    if isinstance(update, LayoutUpdate):
        return [update.region]
    if not isinstance(update, ChopsUpdate):
        return [Region(0, 0, 10_000, 10_000)]
    regions = []
    for y, start, end in update.spans:
        # A piece of a line is written from its beginning even where the change begins later.
        begin = max((x for x in update.chops[y] if x <= start), default=start)
        regions.append(Region(begin, y, end - begin, 1))
    return regions
