"""A chart of one or more curves with zoom, pan, smoothing, log scale and a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from moco_tui.charts.axes import extent, step_limits, whole_extent
from moco_tui.charts.draw import FIRST_LEFT, draw
from moco_tui.charts.drawing import Curve, Drawing, Ink, Level, View
from moco_tui.charts.readout import fitted_words, how_shown, values_at
from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.session import draws_ascii
from moco_tui.terminal.theme_colours import CURVES
from moco_tui.widgets.panel import Panel

WINDOWS = (1, 5, 15, 51, 151, 501, 1501)
"""How many points the line is the mean of, through which a key steps; 1 draws the points."""
_OF_TITLE = 12
"""Cells of the top line that are the title's in any case."""
_INK_LOOKS: dict[int, str] = {
    Ink.TICK: "muted",
    Ink.BAND: "curve-band",
    Ink.LEVEL: "curve-level",
    Ink.CURSOR: "focus",
}


class Chart(Panel, can_focus=True):
    """Curves over steps. New points never move a view that was zoomed.

    Args:
        title: what is drawn.
        window: how many points the line is the mean of at first; see ``CurvePoints``.
        unit: appended to values under the cursor.

    Attributes:
        curves: what is drawn.
        view: what part of it, and how.
        per_epoch: steps in an epoch; 0 while that is unknown, then there is no axis of epochs.
        empty: what is said in place of curves without a point.
        summary: in place of the last value, at the right of the title.
    """

    HELP_TITLE = "A chart"
    HELP = """Curves over steps. + and - zoom, comma and full stop move along the curve, the arrow
keys read values."""

    DEFAULT_CSS = """
    Chart { min-height: 5; }
    """
    BINDINGS = [
        Binding("left", "cursor(-1)", "Cursor left", show=False),
        Binding("right", "cursor(1)", "Cursor right", show=False),
        Binding("shift+left", "cursor(-10)", "Cursor far left", show=False),
        Binding("shift+right", "cursor(10)", "Cursor far right", show=False),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", key_display="+", show=False),
        Binding("minus", "zoom(2)", "Zoom out", key_display="-", show=False),
        Binding("comma,less_than_sign", "pan(-0.25)", "Pan left", key_display=",", show=False),
        Binding(
            "full_stop,greater_than_sign", "pan(0.25)", "Pan right", key_display=".", show=False
        ),
        # Before that of the screen, which goes back: only while there is a cursor.
        Binding("escape", "no_cursor", "Cursor away"),
        Binding("0,home", "reset", "Whole curve", key_display="0", show=False),
        Binding("l", "log", "Log"),
        Binding("w", "smooth(1)", "Smooth"),
        Binding("W", "smooth(-1)", "Less smoothing", show=False),
        Binding("U", "epochs", "Steps or epochs", show=False),
    ]

    axis = "steps"
    """What the axis counts: charts that count the same can be moved together."""

    class Drawn(Message):
        """The chart was drawn; ``seconds`` is what that cost."""

        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds = seconds

    class Moved(Message):
        """The view or the cursor of a chart has been moved by a person."""

        def __init__(self, chart: Chart) -> None:
            super().__init__()
            self.chart = chart

    def __init__(
        self,
        title: str,
        *,
        window: int = 1,
        unit: str = "",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(title, id=id, classes=classes)
        self.unit = unit
        self.curves: list[Curve] = []
        self.view = View()
        self.per_epoch = 0
        self.window = window
        self.empty = "no values yet"
        self.summary = ""
        self._drawing: Drawing | None = None
        self._strips: list[Strip] | None = None
        self._strips_for: Size | None = None  # that they were drawn for

    # ---------------------------------------------------------------------------- data

    def show_curves(self, curves: Sequence[Curve], levels: Sequence[Level] = ()) -> None:
        """Show these curves from now on."""
        self.curves = list(curves)
        self.view.levels = tuple(levels)
        self.changed()
        if self.is_attached:
            self.screen.refresh_bindings()  # whether there is anything to smooth

    def changed(self) -> None:
        """The curves have new points: draw again."""
        self._smooth()
        self._strips = None
        self.refresh()

    def _moved(self) -> None:
        """The view or the cursor has been moved by a key or by the mouse."""
        self.changed()
        self.post_message(self.Moved(self))

    def follow(self, other: Chart) -> None:
        """Show the steps that another chart shows, and put the cursor where it is there."""
        view, theirs = self.view, other.view
        theirs_now = theirs.low, theirs.high, theirs.cursor, theirs.per_epoch
        if (view.low, view.high, view.cursor, view.per_epoch) != theirs_now:
            view.low, view.high, view.cursor, view.per_epoch = theirs_now
            self.changed()

    def share_axis(self, whole: tuple[float, float]) -> None:
        """Span these steps too, where the whole is shown.

        Nothing is drawn anew for less than a cell: of several charts that share an axis one alone
        may have new points.
        """
        self.view.whole = whole
        drawn = self._drawing
        if drawn is None or self.view.low is not None or drawn.width < 1:
            return
        low, high = step_limits(self.view, self.curves)
        cell = (drawn.high - drawn.low) / drawn.width
        if abs(low - drawn.low) > cell or abs(high - drawn.high) > cell:
            self.changed()

    # ---------------------------------------------------------------------------- actions

    def action_cursor(self, cells: int) -> None:
        """Move the cursor by so many cells; the first press puts it on the last point.

        It is kept as a step, not as a cell, so that it stays at its point when the view moves.
        """
        drawing = self._current_drawing()
        ends = extent(self.curves)
        if drawing is None or ends is None:
            return
        low, high = step_limits(self.view, self.curves)
        if self.view.cursor is None or not low <= self.view.cursor <= high:
            self._put_cursor(min(high, ends[1]))
        else:
            width = (high - low) / max(drawing.width, 1)
            self._put_cursor(min(max(self.view.cursor + cells * width, low), high))

    def action_no_cursor(self) -> None:
        """Take the cursor away."""
        self._put_cursor(None)

    def _put_cursor(self, step: float | None) -> None:
        """Put the cursor on a step, or away; its key is one only while there is a cursor."""
        other = (step is None) != (self.view.cursor is None)
        self.view.cursor = step
        self._moved()
        if other and self.is_attached:
            self.screen.refresh_bindings()

    def action_zoom(self, factor: float) -> None:
        """Show ``factor`` times as many steps, around the cursor or the middle."""
        ends = whole_extent(self.view, self.curves)
        if ends is None or ends[1] <= ends[0]:
            return
        low, high = step_limits(self.view, self.curves)
        centre = self.view.cursor if self.view.cursor is not None else (low + high) / 2
        centre = min(max(centre, low), high)
        low, high = centre - (centre - low) * factor, centre + (high - centre) * factor
        if high - low < 2:  # steps: less shows no line
            return
        low, high = max(low, ends[0]), min(high, ends[1])
        if low <= ends[0] and high >= ends[1]:
            self.action_reset()  # a view with limits would not follow new points
            return
        self.view.low, self.view.high = low, high
        self._moved()

    def action_pan(self, share: float) -> None:
        """Move the view by a share of its width."""
        ends = whole_extent(self.view, self.curves)
        if ends is None or self.view.low is None or self.view.high is None:
            return
        shift = share * (self.view.high - self.view.low)
        # stops at the ends of the curve, with the width of the view unchanged
        shift = max(shift, ends[0] - self.view.low) if shift < 0 else shift
        shift = min(shift, ends[1] - self.view.high) if shift > 0 else shift
        self.view.low, self.view.high = self.view.low + shift, self.view.high + shift
        self._moved()

    def action_reset(self) -> None:
        """Show the whole curve again, and follow it."""
        self.view.low = self.view.high = None
        self._moved()

    def action_log(self) -> None:
        """Switch between linear and logarithmic values."""
        self.view.log = not self.view.log
        self.changed()

    def action_smooth(self, direction: int) -> None:
        """Step through the smoothings."""
        most = max((len(curve.series) for curve in self.curves if curve.dense), default=0)
        offered = [window for window in WINDOWS if window <= max(most / 2, 1)]
        at = max(i for i, window in enumerate(offered) if window <= self.window)
        self.window = offered[(at + direction) % len(offered)]
        self.changed()

    def _smooth(self) -> None:
        """Smooth what has points enough; of a few points each counts as it was measured."""
        for curve in self.curves:
            most = max(len(curve.series) / 2, 1) if curve.dense else 1
            wanted = (window for window in WINDOWS if window <= min(self.window, most))
            curve.series.window = max(wanted)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys that have nothing to smooth, and no cursor to take away."""
        del parameters
        if action == "no_cursor":
            return self.view.cursor is not None
        return action != "smooth" or any(curve.dense for curve in self.curves)

    def action_epochs(self) -> None:
        """Count the axis in steps or in epochs."""
        if self.per_epoch:
            self.view.per_epoch = 0 if self.view.per_epoch else self.per_epoch
            self._moved()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse clicked."""
        drawing, x = self._current_drawing(), self.inside(event).x
        if drawing is not None and x >= drawing.left and extent(self.curves) is not None:
            self._put_cursor(drawing.step_at(x - drawing.left))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in with the wheel."""
        event.stop()
        self.action_zoom(0.5)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out with the wheel."""
        event.stop()
        self.action_zoom(2)

    # ---------------------------------------------------------------------------- drawing

    def _current_drawing(self) -> Drawing | None:
        """The drawing of the present size, from which cells are turned into steps."""
        self._draw_if_stale()
        return self._drawing

    def notify_style_update(self) -> None:
        """Another theme: the colours of the strips are stale."""
        super().notify_style_update()
        self._strips = None

    def render_line(self, y: int) -> Strip:
        """One line of the chart."""
        self._draw_if_stale()
        strips = self._strips or []
        return strips[y] if y < len(strips) else Strip.blank(self.size.width, self.rich_style)

    def _draw_if_stale(self) -> None:
        """Draw all lines at once: Textual asks for them one by one, plotext makes all or none."""
        size = self.size
        if self._strips is not None and self._strips_for == size:
            return
        start = perf_counter()
        self.view.ascii = draws_ascii(self)
        names = self.legend(size.width, size.height)
        self._drawing = self.drawn(size.width, size.height - len(names))
        strips = list(names)
        for row in self._drawing.rows:
            strips.append(Strip([Segment(text, self._ink(ink)) for text, ink in row], size.width))
        if extent(self.curves) is None:
            text = fmt.fit(self.empty.center(max(size.width, 1)), size.width)
            strips = [Strip.blank(size.width, self.look("")) for _ in strips]
            if strips:
                strips[len(strips) // 2] = Strip([Segment(text, self.look("muted"))], size.width)
        self._strips, self._strips_for = strips, size
        self.post_message(self.Drawn(perf_counter() - start))

    def drawn(self, width: int, height: int) -> Drawing:
        """What stands below the title and the legend, in so many cells and lines."""
        before = self._drawing.left if self._drawing is not None else 0
        return draw(width, height, self.curves, self.view, before or FIRST_LEFT)

    def _ink(self, ink: int) -> Style:
        """The style of an ink in the present theme."""
        if ink >= Ink.CURVE:
            return self._curve_style(ink - Ink.CURVE)
        return self.look(_INK_LOOKS.get(ink, ""))

    def _curve_style(self, number: int) -> Style:
        """The style of the curve of this number."""
        return self.look(f"curve-{number % CURVES + 1}")

    def shown_note(self) -> Line:
        """What the chart shows of the curves: the values at the cursor, zoom, scale, smoothing."""
        return [(self.readout(), "muted")]

    def readout(self) -> str:
        """The values at the cursor or the last ones, and how the curves are shown."""
        title = f"{self.key} {self.title}".strip()
        # Of the top line: a blank at either end, and three between the title and this.
        room = self.size.width - 5 - min(len(title) + 2, _OF_TITLE)
        how = how_shown(self.view, self.curves), how_shown(self.view, self.curves, short=True)
        return fitted_words((self.values_text(), self.values_text(short=True)), how, room)

    def values_text(self, *, short: bool = False) -> str:
        """The values at the cursor; without one ``summary``, or the last of a curve alone."""
        if self.view.cursor is not None and self.curves:
            return values_at(
                self.curves,
                self._drawing,
                self.view.cursor,
                per_epoch=self.per_epoch,
                unit=self.unit,
                short=short,
            )
        if self.summary:
            return self.summary
        if len(self.curves) == 1 and len(self.curves[0].series):
            text = f"{fmt.number(self.curves[0].series.raw.values[-1])}{self.unit}"
            return text if short else f"last {text}"
        return ""

    def legend(self, width: int, height: int) -> list[Strip]:
        """One line for each curve with its mark and full name, where there is room for them."""
        if len(self.curves) < 2 or height < 8:
            return []
        strips = []
        for number, curve in enumerate(self.curves):
            text = f" {curve.mark or '─'} {curve.name}"
            strips.append(Strip([Segment(fmt.fit(text, width), self._curve_style(number))], width))
        return strips
