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
from textual.widget import Widget

from moco_tui.charts.axes import extent, step_limits
from moco_tui.charts.draw import draw
from moco_tui.charts.drawing import Curve, Drawing, Ink, Level, View
from moco_tui.present import fmt
from moco_tui.session import draws_ascii
from moco_tui.widgets.named_keys import NamedKeys

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97, 0.99, 0.999)
"""Weights of the past that a key steps through: means over about 1 / (1 - weight) points."""


class Chart(NamedKeys, Widget, can_focus=True):
    """Curves over steps. New points never move a view that was zoomed.

    Args:
        title: what is drawn, shown in the first line.
        smoothing: weight of the past in the exponential mean that is drawn at first, in [0, 1).
        unit: appended to values under the cursor.

    Attributes:
        curves: what is drawn.
        view: what part of it, and how.
        per_epoch: steps in an epoch; 0 while that is unknown, then there is no axis of epochs.
        empty: what is said in place of curves without a point.
    """

    HELP_TITLE = "A chart"
    HELP = """Curves over steps. + and - zoom, comma and full stop move along the curve, the arrow
keys read values."""

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; min-height: 4; background: $surface; }
    Chart > .chart--title { color: $foreground; text-style: bold; }
    Chart:focus > .chart--title { color: $text-accent; text-style: bold underline; }
    Chart > .chart--note { color: $text-muted; }
    Chart > .chart--tick { color: $text-muted; }
    Chart > .chart--band { color: $text-primary 45%; }
    Chart > .chart--level { color: $text-warning; }
    Chart > .chart--cursor { color: $text-accent; }
    Chart > .chart--curve-1 { color: $text-primary; }
    Chart > .chart--curve-2 { color: $text-warning; }
    Chart > .chart--curve-3 { color: $text-success; }
    Chart > .chart--curve-4 { color: $text-error; }
    Chart > .chart--curve-5 { color: $text-accent; }
    Chart > .chart--curve-6 { color: $text-secondary; }
    Chart > .chart--curve-7 { color: $foreground; }
    Chart > .chart--curve-8 { color: $text-muted; }
    """
    COMPONENT_CLASSES = {
        "chart--title",
        "chart--note",
        "chart--tick",
        "chart--band",
        "chart--level",
        "chart--cursor",
        *(f"chart--curve-{n}" for n in range(1, 9)),
    }
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
        Binding("0,home", "reset", "Whole curve", key_display="0", show=False),
        Binding("l", "log", "Log"),
        Binding("m", "smooth(1)", "Smooth"),
        Binding("M", "smooth(-1)", "Less smoothing", show=False),
        Binding("e", "epochs", "Steps or epochs", show=False),
    ]

    class Drawn(Message):
        """The chart was drawn; ``seconds`` is what that cost."""

        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds = seconds

    def __init__(
        self,
        title: str,
        *,
        smoothing: float = 0.0,
        unit: str = "",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.title = title
        self.unit = unit
        self.curves: list[Curve] = []
        self.view = View()
        self.per_epoch = 0
        self.smoothing = smoothing
        self.empty = "no values yet"
        self._drawing: Drawing | None = None
        self._strips: list[Strip] | None = None
        self._strips_for: tuple[Size, bool] | None = None  # size and focus that they were drawn for

    # ---------------------------------------------------------------------------- data

    def show_curves(self, curves: Sequence[Curve], levels: Sequence[Level] = ()) -> None:
        """Show these curves from now on."""
        self.curves = list(curves)
        self._smooth()
        self.view.levels = tuple(levels)
        self.changed()
        if self.is_attached:
            self.screen.refresh_bindings()  # whether there is anything to smooth

    def changed(self) -> None:
        """The curves have new points: draw again."""
        self._strips = None
        self.refresh()

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
            self.view.cursor = min(high, ends[1])
        else:
            width = (high - low) / max(drawing.width, 1)
            self.view.cursor = min(max(self.view.cursor + cells * width, low), high)
        self.changed()

    def action_zoom(self, factor: float) -> None:
        """Show ``factor`` times as many steps, around the cursor or the middle."""
        ends = extent(self.curves)
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
        self.changed()

    def action_pan(self, share: float) -> None:
        """Move the view by a share of its width."""
        ends = extent(self.curves)
        if ends is None or self.view.low is None or self.view.high is None:
            return
        shift = share * (self.view.high - self.view.low)
        # stops at the ends of the curve, with the width of the view unchanged
        shift = max(shift, ends[0] - self.view.low) if shift < 0 else shift
        shift = min(shift, ends[1] - self.view.high) if shift > 0 else shift
        self.view.low, self.view.high = self.view.low + shift, self.view.high + shift
        self.changed()

    def action_reset(self) -> None:
        """Show the whole curve again, and follow it."""
        self.view.low = self.view.high = None
        self.changed()

    def action_log(self) -> None:
        """Switch between linear and logarithmic values."""
        self.view.log = not self.view.log
        self.changed()

    def action_smooth(self, direction: int) -> None:
        """Step through the smoothings."""
        at = min(range(len(SMOOTHINGS)), key=lambda i: abs(SMOOTHINGS[i] - self.smoothing))
        self.smoothing = SMOOTHINGS[(at + direction) % len(SMOOTHINGS)]
        self._smooth()
        self.changed()

    def _smooth(self) -> None:
        """Smooth what has points enough; of a few points each counts as it was measured."""
        for curve in self.curves:
            curve.series.set_smoothing(self.smoothing if curve.dense else 0.0)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys of smoothing where there is no curve to smooth."""
        del parameters
        return action != "smooth" or any(curve.dense for curve in self.curves)

    def action_epochs(self) -> None:
        """Count the axis in steps or in epochs."""
        if self.per_epoch:
            self.view.per_epoch = 0 if self.view.per_epoch else self.per_epoch
            self.changed()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse clicked."""
        drawing = self._current_drawing()
        if drawing is not None and event.x >= drawing.left and extent(self.curves) is not None:
            self.view.cursor = drawing.step_at(event.x - drawing.left)
            self.changed()

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
        """Another theme or focus: the colours of the strips are stale."""
        super().notify_style_update()
        self._strips = None

    def on_focus(self) -> None:
        """The title shows the focus."""
        self._strips = None

    def on_blur(self) -> None:
        """The title shows the focus."""
        self._strips = None

    def render_line(self, y: int) -> Strip:
        """One line of the chart."""
        self._draw_if_stale()
        strips = self._strips or []
        return strips[y] if y < len(strips) else Strip.blank(self.size.width, self.rich_style)

    def _draw_if_stale(self) -> None:
        """Draw all lines at once: Textual asks for them one by one, plotext makes all or none."""
        size = self.content_size
        key = (size, bool(self.has_focus))
        if self._strips is not None and self._strips_for == key:
            return
        start = perf_counter()
        self.view.ascii = draws_ascii(self)
        head = 1 if size.height >= 5 else 0  # below, draw.LEAST_HEIGHT needs every row
        names = self.legend(size.width, size.height)
        empty = extent(self.curves) is None
        self._drawing = self.drawn(size.width, size.height - head - len(names))
        inks = self._inks()
        base = self.rich_style
        strips = [self._head(size.width)] if head else []
        strips += names
        for row in self._drawing.rows:
            strips.append(
                Strip([Segment(text, inks.get(ink, base)) for text, ink in row], size.width)
            )
        if empty:
            note = self.get_component_rich_style("chart--note")
            text = fmt.fit(self.empty.center(max(size.width, 1)), size.width)
            blank = Strip.blank(size.width, base)
            strips[head:] = [blank for _ in strips[head:]]
            if len(strips) > head:
                strips[(head + len(strips)) // 2] = Strip([Segment(text, note)], size.width)
        self._strips, self._strips_for = strips, key
        self.post_message(self.Drawn(perf_counter() - start))

    def drawn(self, width: int, height: int) -> Drawing:
        """What stands below the title and the legend, in so many cells and lines."""
        return draw(width, height, self.curves, self.view)

    def _inks(self) -> dict[int, Style]:
        """The style of each ink in the present theme."""
        style = self.get_component_rich_style
        inks = {
            int(Ink.TICK): style("chart--tick"),
            int(Ink.BAND): style("chart--band"),
            int(Ink.LEVEL): style("chart--level"),
            int(Ink.CURSOR): style("chart--cursor"),
        }
        for number in range(len(self.curves)):
            inks[Ink.CURVE + number] = style(f"chart--curve-{number % 8 + 1}")  # 8 colours
        return inks

    def _head(self, width: int) -> Strip:
        title = self.get_component_rich_style("chart--title")
        note = self.get_component_rich_style("chart--note")
        left = ("> " if self.view.ascii else "▸ ") * self.has_focus + self.title
        left = fmt.fit(left, min(len(left), max(width - 1, 0)))
        right = fmt.fit(self.readout(), max(width - len(left) - 2, 0), right=True)
        return Strip([Segment(left, title), Segment("  " + right, note)]).adjust_cell_length(width)

    def readout(self) -> str:
        """The values under the cursor, or how the curve is shown."""
        if self.view.cursor is not None and self.curves:
            return self._values_at(self.view.cursor)
        return self._how_shown()

    def _values_at(self, step: float) -> str:
        """A step, and the value of each curve at it; of one without a point there, where it has."""
        shown = self._common_step(step)
        if shown is None:
            return ""
        parts = [f"step {fmt.count(shown)}"]
        if self.per_epoch:
            parts[0] += f"  epoch {shown / self.per_epoch:.2f}"
        for curve in self.curves:
            series = curve.series
            index = series.nearest(shown)
            if index is None:
                continue
            text = fmt.number(series.raw.values[index]) + self.unit
            if series.smoothing:
                text += f" (smoothed {fmt.number(series.smooth.values[index])})"
            if series.steps[index] != shown:
                text += f" (step {fmt.count(series.steps[index])})"
            parts.append(f"{curve.mark} {text}".strip())
        return "  ".join(parts)

    def _common_step(self, step: float) -> float | None:
        """The step near another at which most curves have a point; None where none has any.

        Near is what falls into the same cell of the chart; of equally many the nearest counts.
        Where no point lies in that cell it is the nearest of all.
        """
        rows = [curve.series for curve in self.curves]
        found = ((series, series.nearest(step)) for series in rows)
        steps = {series.steps[index] for series, index in found if index is not None}
        drawing = self._drawing
        here = {
            s for s in steps if drawing is not None and drawing.cell_of(s) == drawing.cell_of(step)
        }

        def rank(candidate: float) -> tuple[int, float]:
            have = sum(series.has(candidate) for series in rows) if here else 0
            return -have, abs(candidate - step)

        return min(here or steps, key=rank, default=None)

    def _how_shown(self) -> str:
        """Scale, smoothing, range of the view, gaps, the last value, the unit of the axis."""
        parts: list[str] = []
        if self.view.log:
            parts.append("log")
        if any(curve.series.smoothing for curve in self.curves):
            parts.append(f"smoothing {self.smoothing:g}")
        if self.view.low is not None:
            low, high = step_limits(self.view, self.curves)
            parts.append(f"steps {fmt.count(low)}–{fmt.count(high)}")
        masked = sum(curve.series.masked for curve in self.curves)
        if masked:
            parts.append(f"{masked} not finite")
        if len(self.curves) == 1 and len(self.curves[0].series):
            last = self.curves[0].series.raw.values[-1]
            parts.append(f"last {fmt.number(last)}{self.unit}")
        axis = "epochs" if self.view.per_epoch else "steps"
        return "  ".join(parts) + f"  [{axis}]"

    def legend(self, width: int, height: int) -> list[Strip]:
        """One line for each curve with its mark and full name, where there is room for them."""
        if len(self.curves) < 2 or height < 9:
            return []
        strips = []
        for number, curve in enumerate(self.curves):
            style = self.get_component_rich_style(f"chart--curve-{number % 8 + 1}")
            text = f" {curve.mark or '─'} {curve.name}"
            strips.append(Strip([Segment(fmt.fit(text, width), style)], width))
        return strips
