"""A titled panel of text lines that can be scrolled; drawn line by line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.strip import Strip
from textual.widget import Widget

from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.session import draws_ascii
from moco_tui.widgets.named_keys import NamedKeys


class TextPanel(NamedKeys, Widget, can_focus=True):
    """Lines under a title.

    Args:
        title: the first line.
        follow: show the end unless scrolled (a log), else the beginning.
        wrap: go on in the next line where a text is wider than the panel; else what is cut can be
            reached by the keys Left and Right, and the title says that there is something.
    """

    HELP_TITLE = "A panel of text"
    HELP = """Text that can be scrolled with the arrow keys."""

    DEFAULT_CSS = """
    TextPanel { width: 1fr; height: 1fr; min-height: 2; background: $surface; }
    TextPanel > .panel--title { color: $foreground; text-style: bold; }
    TextPanel:focus > .panel--title { color: $text-accent; text-style: bold underline; }
    TextPanel > .panel--muted { color: $text-muted; }
    TextPanel > .panel--strong { text-style: bold; }
    TextPanel > .panel--good { color: $text-success; }
    TextPanel > .panel--bad { color: $text-error; }
    """
    COMPONENT_CLASSES = {
        "panel--title",
        "panel--muted",
        "panel--strong",
        "panel--good",
        "panel--bad",
    }
    BINDINGS = [
        Binding("up", "scroll_lines(-1)", "Scroll up", show=False),
        Binding("down", "scroll_lines(1)", "Scroll down", show=False),
        Binding("left", "shift(-8)", "To the left", show=False),
        Binding("right", "shift(8)", "To the right", show=False),
        Binding("pageup", "scroll_lines(-10)", "Far up", show=False),
        Binding("pagedown", "scroll_lines(10)", "Far down", show=False),
        # more lines than any panel has; the action stops at the ends
        Binding("home", "scroll_lines(-100000)", "To the beginning", show=False),
        Binding("end", "scroll_lines(100000)", "To the end", show=False),
    ]

    def __init__(
        self,
        title: str,
        *,
        follow: bool = False,
        wrap: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.title = title
        self.follow = follow
        self.wrap = wrap
        self.lines: list[Line] = []
        self._widest = 0  # of the lines, in cells
        self._wrapped: list[Line] = []
        self._wrapped_to = -1  # width that the lines were wrapped to; negative: not yet
        self._scrolled_to: int | None = None  # first line; None: the beginning, or follow the end
        self._skipped_cells = 0  # at the left, when scrolled sideways

    def show(self, lines: Sequence[Line], title: str | None = None) -> None:
        """Show these lines; nothing is drawn when they are the same."""
        title = self.title if title is None else title
        new = list(lines)
        if new != self.lines or title != self.title:
            self.lines, self.title = new, title
            texts = ("".join(text for text, _ in line).rstrip() for line in new)
            self._widest = max(map(cell_len, texts), default=0)
            self._wrapped_to = -1
            self.refresh()

    def show_texts(self, texts: Sequence[str]) -> None:
        """Show plain texts, one a line."""
        self.show([[(text, "")] for text in texts])

    @property
    def _shown(self) -> list[Line]:
        """The lines as they are drawn."""
        width = self.size.width
        if not self.wrap or self._widest <= width or width < 1:
            return self.lines
        if self._wrapped_to != width:
            self._wrapped_to = width
            self._wrapped = [
                [(part, line[0][1])] if len(line) == 1 else line
                for line in self.lines
                for part in (chop_cells(line[0][0], width) or [""] if len(line) == 1 else [""])
            ]
        return self._wrapped

    @property
    def _room(self) -> int:
        """Lines below the title."""
        return max(self.size.height - 1, 1)

    @property
    def _first(self) -> int:
        """Index of the first line shown; lines may have gone since the panel was scrolled."""
        most = max(len(self._shown) - self._room, 0)
        if self._scrolled_to is None:
            return most if self.follow else 0
        return max(min(self._scrolled_to, most), 0)

    def action_scroll_lines(self, count: int) -> None:
        """Scroll; at the end a log follows again."""
        most = max(len(self._shown) - self._room, 0)
        offset = max(min(self._first + count, most), 0)
        self._scrolled_to = None if self.follow and offset == most else offset
        self.refresh()

    def action_shift(self, cells: int) -> None:
        """Scroll sideways, as far as the widest line goes."""
        most = 0 if self.wrap else self._widest - self.size.width
        self._skipped_cells = max(min(self._skipped_cells + cells, most), 0)
        self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel scrolls."""
        event.stop()
        self.action_scroll_lines(-2)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel scrolls."""
        event.stop()
        self.action_scroll_lines(2)

    def render_line(self, y: int) -> Strip:
        """The title, or one line; only what is visible is measured and styled."""
        width = self.size.width
        base = self.rich_style
        if y == 0:
            ascii_only = draws_ascii(self)
            arrow = ("> " if ascii_only else "▸ ") if self.has_focus else ""
            count = len(self._shown)
            more = count - self._room
            note = f"  {self._first + 1}–{self._first + self._room} of {count}"
            title = arrow + self.title
            style = self.get_component_rich_style("panel--title")
            muted = self.get_component_rich_style("panel--muted")
            note = note if more > 0 and len(title) + len(note) < width else ""
            # Before the place, which is left out first: that something is cut shows nowhere else.
            if not self.wrap and self._widest - self._skipped_cells > width:
                cut = "  Right: more"
                note = cut + note if len(title + cut + note) < width else cut
            return Strip([Segment(title, style), Segment(note, muted)]).adjust_cell_length(
                width, base
            )
        index = self._first + y - 1
        lines = self._shown
        if index >= len(lines):
            return Strip.blank(width, base)
        segments = [
            Segment(fmt.clean(text), self._style_of(look, base)) for text, look in lines[index]
        ]
        strip = Strip(segments)
        if self._skipped_cells:
            strip = strip.crop(self._skipped_cells, self._skipped_cells + width)
        return strip.adjust_cell_length(width, base)

    def _style_of(self, look: str, base: Style) -> Style:
        """The style of a look (see ``present.lines``); an empty one is plain."""
        return self.get_component_rich_style(f"panel--{look}") if look else base
