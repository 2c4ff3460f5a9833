"""A panel: a widget in a thin frame, whose top line has its title and, at the right, its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App
from textual.color import Color
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Offset, Region
from textual.strip import Strip
from textual.widget import Widget

from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.widgets.named_keys import NamedKeys

_LOOKS = {
    "muted": ("text-muted", Style()),
    "strong": ("", Style(bold=True)),
    "good": ("text-success", Style()),
    "warn": ("text-warning", Style()),
    "bad": ("text-error", Style()),
    "key": ("footer-key-foreground", Style(bold=True)),
    "title": ("foreground", Style()),
    "focus": ("focus", Style(bold=True)),
}
"""The variable of the theme whose colour a look has, and what it is besides."""
_STATES = ("running", "paused", "finished", "queued", "stopped", "failed", "lost")
_LEAST_TITLE = 12


def state_look(status: str) -> str:
    """The look of a state of a run, which always stands beside its mark or its word."""
    alike = {"handed-over": "running", "damaged": "failed", "unreadable": "failed"}
    name = alike.get(status, status)
    return f"state-{name}" if name in _STATES else "muted"


def theme_style(app: App[Any], look: str) -> Style:
    """The style of a look, of a state (``state-paused``) or of a curve (``curve-3``).

    Read from the variables of the theme: a component class for each would be computed for every
    widget, whether it needs it or not.
    """
    variable, more = _LOOKS.get(look, (look, Style()))
    known = app.theme_variables
    if not variable:
        return more
    colour = Color.parse(known.get(variable) or known["foreground"])
    return more + Style.from_color(colour.rich_color)


class Panel(NamedKeys, Widget):
    """In a frame, or on a low screen under a title line alone (see ``app.tcss``).

    The frame is Textual's border; what it cannot do, a text at either end of the top line, is laid
    over it here. What is typed into the lower line is Textual's ``border_subtitle``.

    Args:
        title: what it shows.
        key: the key that leads to it, shown before the title.
    """

    DEFAULT_CSS = """
    Panel {
        width: 1fr; height: 1fr; background: $surface; padding: 0 1; border: round $frame;
        border-subtitle-color: $text-muted;
    }
    Panel:focus, Panel:focus-within { border: round $focus; }
    """

    def __init__(self, title: str = "", *args: Any, key: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self._title, self._key = title, key
        self._note: Line = ()
        self._looks: dict[str, Style] = {}  # of looks, in the present theme

    @property
    def title(self) -> str:
        """What it shows, in the top line."""
        return self._title

    @title.setter
    def title(self, text: str) -> None:
        if text != self._title:
            self._title = text
            self.refresh()

    @property
    def key(self) -> str:
        """The key that leads to it; empty for none."""
        return self._key

    @key.setter
    def key(self, key: str) -> None:
        if key != self._key:
            self._key = key
            self.refresh()

    @property
    def note(self) -> Line:
        """What stands at the right of the title, unless ``shown_note`` is overridden."""
        return self._note

    @note.setter
    def note(self, line: Line) -> None:
        if list(line) != list(self._note):
            self._note = line
            self.refresh()

    def shown_note(self) -> Line:
        """What stands at the right of the title."""
        return self._note

    def look(self, look: str) -> Style:
        """The style of a look (see ``theme_style``) on this panel; empty is plain."""
        if not self._looks:
            self._looks[""] = self.rich_style
        if look not in self._looks:
            self._looks[look] = self._looks[""] + theme_style(self.app, look)
        return self._looks[look]

    def notify_style_update(self) -> None:
        """Another theme: its looks are others."""
        super().notify_style_update()
        self._looks.clear()

    def inside(self, event: events.MouseEvent) -> Offset:
        """Where the mouse is from the upper left corner of what stands in the frame."""
        return event.get_content_offset_capture(self)

    # ---------------------------------------------------------------------------- the top line

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of the widget, with the title over the frame."""
        strips = super().render_lines(crop)
        if crop.y == 0 and strips and self.styles.border_top[0]:
            width = self.outer_size.width
            whole = crop.x == 0 and crop.width == width
            line = strips[0] if whole else super().render_lines(Region(0, 0, width, 1))[0]
            line = self._with_title(line)
            strips[0] = line if whole else line.crop(crop.x, crop.right)
        return strips

    def _with_title(self, line: Strip) -> Strip:
        """The top line of the frame with the title and the state."""
        width = line.cell_length
        edge = 2 if self.styles.border_left[0] else 0
        pad = " " if edge else ""
        room = width - 2 * edge - (2 if edge else 1)  # a blank at either side, or behind
        focused = self.has_focus or self.has_focus_within
        arrow = "▸ " * focused
        key = f"{self.key} " * bool(self.key)
        title = fmt.clean(arrow + key + self.title).rstrip()
        state = [(fmt.clean(text), look) for text, look in self.shown_note() if text]
        left, right = shared(cell_len(title), cell_len("".join(t for t, _ in state)), room)
        if left < 1:
            return line
        shown = fmt.fit(title, left)
        name = self.look("focus" if focused else "title")
        before = len(arrow) + len(key)
        cut = [(shown[: len(arrow)], name), (shown[len(arrow) : before], self.look("key"))]
        head = self._filtered([(pad, name), *cut, (shown[before:] + (pad or " "), name)])
        parts = [line.crop(0, edge), head]
        at = edge + head.cell_length
        if right:
            texts = [((pad or " "), self.look(""))]
            texts += [(text, self.look(look)) for text, look in fitted(state, right)]
            texts.append((pad, self.look("")))
            tail = self._filtered(texts)
            parts += [line.crop(at, width - edge - tail.cell_length), tail]
            at = width - edge
        return Strip.join([*parts, line.crop(at, width)])

    def _filtered(self, texts: Sequence[tuple[str, Style]]) -> Strip:
        """Texts as Textual writes those of the widget itself: in ASCII, without colour."""
        strip = Strip([Segment(text, style) for text, style in texts if text])
        for each in self.get_line_filters():
            strip = strip.apply_filter(each, self.background_colors[1])
        return strip


def shared(title: int, state: int, room: int) -> tuple[int, int]:
    """Cells for a title and a state side by side, three cells apart; the title gives way first.

    Args:
        title: cells that the title takes.
        state: cells that the state takes; 0: there is none.
        room: cells that there are.
    """
    if not state or room < 2 * _LEAST_TITLE:
        return max(min(title, room), 0), 0
    state = min(state, max(room - 3 - min(title, _LEAST_TITLE), 0))
    return min(title, room - 3 - state), state


def fitted(parts: Line, width: int) -> list[tuple[str, str]]:
    """The parts in exactly ``width`` cells or, where they take fewer, in those."""
    out: list[tuple[str, str]] = []
    for text, look in parts:
        room = width - sum(cell_len(before) for before, _ in out)
        if room > 0:
            out.append((fmt.fit(text, min(cell_len(text), room)), look))
    return out


class Frame(Panel, Vertical):
    """A panel around other widgets."""

    DEFAULT_CSS = "Frame { layout: vertical; overflow: hidden hidden; }"


class ScrollFrame(Panel, VerticalScroll, can_focus=False):
    """A panel around widgets that may be higher than it."""

    DEFAULT_CSS = "ScrollFrame { layout: vertical; overflow: hidden auto; }"


class Dialog(Frame):
    """The box of a dialog, which has its frame on every screen.

    Its height is limited: what does not fit on a terminal of a few lines can be scrolled to.
    """

    DEFAULT_CSS = """
    Dialog {
        width: 64; max-width: 100%; height: auto; max-height: 100%; padding: 0 2;
        overflow: hidden auto; border: round $focus;
    }
    """
