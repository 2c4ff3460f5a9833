"""What the preview of a run is made of: two charts, and panels below them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.strip import Strip

from moco_tui.charts.drawing import Curve, Level
from moco_tui.charts.run_curves import Plot
from moco_tui.present import fmt
from moco_tui.present.preview_part import PreviewPart
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.made_panel import MadePanel
from moco_tui.widgets.marked_chart import MarkedChart

_LEAST_PAIR = 4
"""Lines that settings and probes have in any case, with their title."""
_LEAST_SETTINGS = 24
"""Cells that the settings have in any case."""


def _action(binding: object) -> str:
    """What a binding does, without its arguments."""
    return binding.action.partition("(")[0] if isinstance(binding, Binding) else ""


class PreviewChart(MarkedChart, inherit_bindings=False):
    """Curves of the run under the cursor and of the marked ones, each in the colour of its mark."""

    HELP_TITLE = "A chart of the preview"
    HELP = Chart.HELP
    BINDINGS = [binding for binding in Chart.BINDINGS if _action(binding) != "epochs"]

    _shown_of: Sequence[str] = ()
    _several = False  # the curves are of several runs

    def show_plot(
        self, plot: Plot, of: Sequence[str], chance: float = 0.0, start: float = -math.inf
    ) -> None:
        """Show curves; a view that was zoomed stays while they are those of the same runs.

        Args:
            plot: the curves.
            of: ids of the runs that they are of.
            chance: the loss at chance; 0: it is not drawn.
            start: the step with which they begin, where it is not that of the first point.
        """
        self.view.start = start
        if of != self._shown_of:
            self._shown_of, self._several = of, len(of) > 1
            self.view.low = self.view.high = self.view.cursor = None
        self.title, self.unit = plot.title, plot.unit
        self.view.band = False  # in a few lines it hides the curve
        levels = [Level(chance, f"chance {chance:.2f}")] if chance else []
        self.show_curves(plot.curves, levels)

    def legend(self, width: int, height: int) -> list[Strip]:
        """Marks, names and values, in as few lines as they take."""
        if len(self.curves) < (1 if self._several else 2) or height < 7:
            return []
        texts = [
            f" {curve.mark} {fmt.clean(curve.name)} {self._last(curve)}" for curve in self.curves
        ]
        return self.legend_lines(texts, width, max(height - 6, 1))

    def _last(self, curve: Curve) -> str:
        """The value under the cursor, or the last one."""
        series, step = curve.series, self.view.cursor
        at = len(series) - 1 if step is None else series.nearest(step)
        return "" if at is None or at < 0 else f"{fmt.number(series.value(at), 3)}{self.unit} "


class PreviewBody(Vertical):
    """The charts and panels; those without anything to show leave their room to the others."""

    _parts: Mapping[str, PreviewPart] = {}
    _alone = False

    def compose(self) -> ComposeResult:
        """Charts, texts, settings beside probes, the log."""
        with Container(id="preview-charts"):
            yield PreviewChart("loss", window=15, id="preview-loss")
            yield PreviewChart("accuracy", id="preview-accuracy")
        yield MadePanel("results", id="preview-text")
        with Container(id="preview-pair"):
            yield MadePanel("differs from its preset", id="preview-settings")
            yield MadePanel("probes", id="preview-probes")
        yield MadePanel("log", follow=True, id="preview-log")

    def show(
        self,
        plots: tuple[Plot, Plot],
        parts: Mapping[str, PreviewPart],
        of: Sequence[str],
        chance: float,
        start: float,
        *,
        reads_on: bool,
    ) -> None:
        """Show a run.

        Args:
            plots: its losses and accuracies.
            parts: the panels by name, see ``RunPreview``.
            of: ids of the runs that the curves are of.
            chance: the loss at chance; 0: it is not drawn.
            start: the step with which the curves begin, where it is not that of the first point.
            reads_on: more of the curves is still being read.
        """
        waits = "reading ..." if reads_on else "no values yet"
        for name, plot, level in (("loss", plots[0], chance), ("accuracy", plots[1], 0.0)):
            chart = self.query_one(f"#preview-{name}", PreviewChart)
            chart.empty = waits
            chart.display = bool(plot.curves) or reads_on
            if chart.display:
                chart.show_plot(plot, of, level, start)
        charts = any(plot.curves for plot in plots) or reads_on
        self.query_one("#preview-charts").display = charts
        for name in ("text", "settings", "probes", "log"):
            self._show_part(name, parts.get(name))
        self._parts = parts
        # Without charts, and without a text of any length, settings and probes have what is left.
        self._alone = not charts and ("text" not in parts or bool(parts["text"].count))
        self._share_room()

    def on_resize(self) -> None:
        """The panels share another room."""
        self._share_room()

    def _show_part(self, name: str, part: PreviewPart | None) -> None:
        panel = self.query_one(f"#preview-{name}", MadePanel)
        panel.display = part is not None
        if part is not None:
            panel.title = part.title
            panel.show_made(part.lines)

    def _share_room(self) -> None:
        """Settings, probes and log have what they need, as far as the charts keep theirs."""
        width, height = self.size
        if not (width and height):
            return  # before the first layout
        shown = {name: self._parts[name] for name in ("settings", "probes") if name in self._parts}
        pair = self.query_one("#preview-pair")
        pair.display = bool(shown)
        most = max(height // 4, _LEAST_PAIR)
        lines = min(max((part.count for part in shown.values()), default=0) + 1, most)
        pair.styles.height = "1fr" if self._alone else lines
        wanted = shown["probes"].width if "probes" in shown else 0
        probes = max(min(wanted, width - _LEAST_SETTINGS), width // 3)
        self.query_one("#preview-probes").styles.width = probes
        text = self._parts.get("text")
        if text is not None:
            fixed = min(text.count + 1, 2 * height // 3)
            self.query_one("#preview-text").styles.height = fixed if self._alone else "2fr"
        log = self._parts.get("log")
        if log is not None:
            most = max(height // 5, 3)
            self.query_one("#preview-log").styles.height = min(log.count + 1, most)
