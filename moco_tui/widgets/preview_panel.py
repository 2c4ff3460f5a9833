"""The preview of the augmentations: images and two views of each, in half blocks."""

from __future__ import annotations

import math
import threading

from rich.segment import Segment
from textual import on
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer

from engine.config.schema import AugmentConfig
from moco_tui.present import fmt
from moco_tui.present.augment_preview import Picture, Previewer, PreviewRequest
from moco_tui.terminal.picture_store import PictureSpot
from moco_tui.widgets.drawn_lines import DrawnLines
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.picture_cells import picture_line, resized
from moco_tui.widgets.picture_layer import PictureWidget

DEBOUNCE_SECONDS = 0.3
"""How long settings must stay unchanged before views are computed: numbers are typed in digits."""
SIZES = (32, 28, 24, 20, 16, 12, 8)
"""Pixels of a picture, even, since a line of text shows two rows of pixels."""


class PreviewPanel(Panel, DrawnLines, PictureWidget):
    """Real images of the chosen data set and two random views of each.

    Args:
        previewer: computes the pictures, in a thread of this widget.
    """

    DEFAULT_CSS = """
    PreviewPanel { min-height: 7; }
    """

    class Ready(Message):
        """Pictures, or why there are none."""

        def __init__(
            self,
            request: PreviewRequest,
            rows: list[tuple[Picture, Picture, Picture]],
            problem: str,
        ) -> None:
            super().__init__()
            self.request, self.rows, self.problem = request, rows, problem

        def can_replace(self, message: Message) -> bool:
            """Whether the next message supersedes this one: any newer pictures do."""
            return isinstance(message, PreviewPanel.Ready)

    def __init__(self, previewer: Previewer, *, id: str | None = None) -> None:
        super().__init__("augmentation preview", id=id)
        self.previewer = previewer
        self.seed = 0
        self.problem = "computing ..."
        self.rows: list[tuple[Picture, Picture, Picture]] = []
        self.pixels = 0
        self._source, self._image_size = "", 0
        self._augment: AugmentConfig | None = None
        self._requested: PreviewRequest | None = None  # what is shown, or computed for that
        self._pending: PreviewRequest | None = None  # what the thread computes next
        self._debounce: Timer | None = None
        self._lock = threading.Lock()  # guards _pending and _working, which the thread sets too
        self._working = False

    # ---------------------------------------------------------------------------- what to draw

    def show(self, source: str, augment: AugmentConfig, image_size: int = 0) -> None:
        """Show views under these settings, once they have stayed the same for a moment."""
        if (source, augment, image_size) == (self._source, self._augment, self._image_size):
            if self._debounce is None:
                self._request()  # the panel may have been hidden, or smaller
            return
        is_first = self._augment is None
        self._source, self._augment, self._image_size = source, augment, image_size
        self._end_debounce()
        if is_first:  # nobody is typing yet
            self._request()
        else:
            self._debounce = self.set_timer(DEBOUNCE_SECONDS, self._request)

    def _end_debounce(self) -> None:
        if self._debounce is not None:
            self._debounce.stop()
            self._debounce = None

    def say(self, text: str) -> None:
        """Show a sentence in place of pictures."""
        self._end_debounce()
        self._augment = self._requested = None  # pictures on their way are not shown any more
        self.rows, self.problem = [], text
        self.forget_lines()
        self.spots = ()
        self.refresh()

    def pictures_known(self) -> None:
        """Have the pictures computed in their own size."""
        self._request()

    def another(self) -> None:
        """Draw other views."""
        self.seed += 1
        self._request()

    def on_resize(self) -> None:
        """Compute pictures that fit the new size."""
        self.forget_lines()
        self._request()

    def _request(self) -> None:
        """Have the pictures computed, unless these are; of requests meanwhile the newest counts.

        In a daemon thread: threads of ``asyncio.to_thread`` are joined when the process ends, so
        the app could not be left while a data set is read.
        """
        self._end_debounce()
        if self._augment is None or not self.size.width or not self.is_on_screen:
            return
        pixels = self.best_pixels()
        request = PreviewRequest(
            self._source,
            self._augment,
            pixels,
            self.seed,
            self._image_size,
            whole=self.shows_pictures(),
        )
        with self._lock:
            if request == self._requested:
                return
            self._requested = self._pending = request
            if self._working:
                return
            self._working = True
        threading.Thread(target=self._work, name="preview", daemon=True).start()

    @property
    def is_on_screen(self) -> bool:
        """Whether it has a size; Textual's own asks whether the last screen update drew it."""
        return self.is_mounted and self.size.height > 0

    def best_pixels(self) -> int:
        """The largest pictures of which three stand side by side and two below each other."""
        width, height = self.size.width, self.size.height - 1  # a line of names at the top
        for rows in (2, 1):
            for pixels in SIZES:
                if 3 * (pixels + 1) <= width and rows * (pixels // 2 + 1) <= height:
                    return pixels
        return SIZES[-1]

    def _work(self) -> None:
        """Compute until nothing is pending; in the thread."""
        while True:
            with self._lock:
                request, self._pending = self._pending, None
                if request is None:
                    self._working = False
                    return
            rows: list[tuple[Picture, Picture, Picture]] = []
            problem = ""
            try:
                rows = self.previewer.views(request)
            except Exception as error:  # a preview must never end the app
                problem = str(error) or type(error).__name__
            self.post_message(self.Ready(request, rows, problem))

    @on(Ready)
    def _take(self, message: Ready) -> None:
        """Show what was computed, unless other settings were entered meanwhile."""
        if message.request == self._requested:
            self.rows, self.problem = message.rows, message.problem
            self.pixels = message.request.pixels
            self.forget_lines()
            self.refresh()

    # ---------------------------------------------------------------------------- drawing

    def draw_lines(self) -> list[Strip]:
        """The names, then the images with their views, as many groups beside each other as fit."""
        width, height = self.size
        title, note, base = self.look("strong"), self.look("muted"), self.look("")
        letters = self.draws_letters()
        spots: list[PictureSpot] = []
        pixels = self.pixels
        if not self.rows or not pixels:
            self.has_pictures_at(spots)
            text = fmt.fit(fmt.clean(self.problem or "computing ..."), width)
            return [Strip([Segment(text, note)])]
        head = "".join(fmt.fit(name, pixels + 1) for name in ("image", "view 1", "view 2"))
        strips = [Strip([Segment(fmt.fit(head, width), title)], width)]
        lines = pixels // 2
        across = max(width // (3 * (pixels + 1) + 2), 1)
        if across > 1:
            wide = "".join(fmt.fit(head, 3 * (pixels + 1) + 2) for _ in range(across))
            strips = [Strip([Segment(fmt.fit(wide, width), title)], width)]
        groups = [self.rows[i : i + across] for i in range(0, len(self.rows), across)]
        for group in groups:
            if len(strips) + lines > height:
                break
            for place, picture in enumerate(picture for row in group for picture in row):
                x = place * (pixels + 1) + place // 3 * 2
                side = math.isqrt(len(picture) // 3)
                spots.append(PictureSpot(x, len(strips), pixels, lines, picture, side))
            for line in range(lines):
                segments: list[Segment] = []
                for row in group:
                    for whole in row:
                        picture = resized(whole, math.isqrt(len(whole) // 3), pixels)
                        segments += picture_line(picture, pixels, line, base, ascii_only=letters)
                        segments.append(Segment(" ", base))
                    segments.append(Segment("  ", base))
                strips.append(Strip(segments).adjust_cell_length(width, base))
            strips.append(Strip.blank(width, base))
        self.has_pictures_at(spots)
        return strips
