"""Which panels of the monitor are seen: all that fit side by side, or one alone."""

from __future__ import annotations

from typing import NamedTuple

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Static

from moco_tui.present import fmt
from moco_tui.present.chart_choices import MOST_CHARTS
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.widgets.chart_grid import ChartGrid
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.shown_text import show_text

WIDE, WIDER = 120, 200
"""Columns from which on panels stand side by side, and from which on one more does."""
_HOLDERS = ("#panels", "#results", "#charts", "#below")
"""What panels stand in: where one of theirs is seen alone, they show that and nothing else."""

PANEL_KEYS = [
    Binding("1", "panel('1')", "First chart; of a probe its table", show=False),
    Binding("2", "panel('2')", "Second chart; of a probe its classes", show=False),
    Binding("3", "panel('3')", "Third chart; of a probe its confusions", show=False),
    Binding("4", "panel('4')", "Fourth chart; of a probe its first", show=False),
    Binding("5", "panel('5')", "Fifth chart; of a probe its second", show=False),
    Binding("6", "panel('6')", "Sixth chart; of a probe its third", show=False),
    Binding("7", "panel('7')", "Load of CPU and card over the run", show=False),
    Binding("8", "panel('8')", "Epochs", show=False),
    Binding("9", "panel('9')", "The log", show=False),
    Binding("percent_sign", "panel('measures')", "Measures, and what they mean", show=False),
    Binding("number_sign", "panel('machine')", "The machine now", show=False),
]
"""The keys of the panels."""


class PanelEntry(NamedTuple):
    """A panel.

    Attributes:
        name: in the line of the panels.
        panel: the widget.
        over: whether it is seen alone, when it is asked for, also where others stand side by side.
        mark: the key as it is printed; empty: it is what the panel is called by.
    """

    name: str
    panel: Panel
    over: bool = False
    mark: str = ""


def charts_of_kind(probe: bool) -> tuple[str, int, int]:
    """Of a kind of run its name, the number of the key of its first chart, and how many it has."""
    return ("probe", 4, 3) if probe else ("pretrain", 1, MOST_CHARTS)


class MonitorPanels(BaseScreen):
    """On a narrow screen one panel at a time, with a line that names all of them. On a wide one all
    that fit, and one alone when it is enlarged, or when it has no place among the others.
    """

    _chosen = "1"  # the key of the panel that was asked for last
    _before = "1"  # and of the one before a panel that is seen alone
    _enlarged = False

    def panels(self) -> dict[str, PanelEntry]:
        """The panels by the keys that lead to them."""
        raise NotImplementedError

    def fill_panels(self) -> None:
        """Bring what has come to be seen up to date."""
        raise NotImplementedError

    def panels_of(self, *, probe: bool) -> dict[str, PanelEntry]:
        """The panels of a pretraining or of a probe, in the order in which they are named."""
        wider = self.app.size.width >= WIDER
        found: dict[str, PanelEntry] = {}
        if probe:
            found["1"] = PanelEntry("table", self._panel("rows"))
            if self.has_class("-classes"):
                found["2"] = PanelEntry("classes", self._panel("classes"))
            if self.has_class("-confusions"):
                found["3"] = PanelEntry("confusions", self._panel("confusion"))
        grid = self.query_one(ChartGrid)
        for choice, chart in grid.chosen():
            found[chart.key] = PanelEntry(choice.short, chart)
        found["7"] = PanelEntry("load", self._panel("load"), over=True)
        if not probe:
            found["8"] = PanelEntry("epochs", self._panel("epochs"))
        found["9"] = PanelEntry("log", self._panel("log"))
        if not probe:
            found["measures"] = PanelEntry("measures", self._panel("measures"), over=True, mark="%")
        beside = probe or wider
        found["machine"] = PanelEntry("machine", self._panel("device"), over=not beside, mark="#")
        return found

    def _panel(self, name: str) -> Panel:
        return self.query_one(f"#{name}", Panel)

    @property
    def _is_wide(self) -> bool:
        return self.app.size.width >= WIDE

    def _alone(self) -> Panel | None:
        """The panel that is seen alone; None where all that fit are."""
        panels = self.panels()
        if self._chosen not in panels:
            self._chosen = next(iter(panels))
        chosen = panels[self._chosen]
        return chosen.panel if not self._is_wide or self._enlarged or chosen.over else None

    def is_seen(self, panel: Panel) -> bool:
        """Whether a panel is on the screen: what is not need not be up to date."""
        alone = self._alone()
        if alone is not None:
            return panel is alone
        return any(panel is entry.panel and not entry.over for entry in self.panels().values())

    # ---------------------------------------------------------------------------- showing

    def show_panels(self) -> None:
        """Show the panels that are to be seen, and name them."""
        alone = self._alone()
        panels = self.panels()
        self.set_class(self.app.size.width >= WIDER, "-wider")
        self.set_class(self._enlarged, "-enlarged")
        for key, entry in panels.items():
            entry.panel.key = entry.mark or key
            entry.panel.set_class(entry.panel is alone, "-alone")
            entry.panel.set_class(entry.over, "-over")
        around: set[Widget] = (
            set() if alone is None else {w for w in alone.ancestors if isinstance(w, Widget)}
        )
        for name in _HOLDERS:
            holder = self.query_one(name)
            holder.set_class(holder in around, "-has-alone")
        self._name_panels(panels, alone)

    def _name_panels(self, panels: dict[str, PanelEntry], alone: Panel | None) -> None:
        """Name the panels in a line or two; where panels stand side by side those that do not."""
        lines = [Text(no_wrap=True, overflow="crop")]
        for key, entry in panels.items():
            if self._is_wide and not entry.over:
                continue
            click = Style(
                reverse=(entry.panel is alone) or None, meta={"@click": f"screen.panel('{key}')"}
            )
            part = Text(f" {entry.mark or key} {fmt.clean(entry.name)} ", style=click)
            if lines[-1].cell_len + part.cell_len > self.app.size.width - 2:  # the padding
                lines.append(Text(no_wrap=True, overflow="crop"))
            lines[-1].append_text(part)
        text = Text("\n").join(lines)
        show_text(self.query_one("#tabs", Static), text)

    def show_panel(self, key: str) -> None:
        """Show a panel, and give it the focus."""
        panels = self.panels()
        entry = panels.get(key)
        if entry is None:
            return
        before = panels.get(self._chosen)
        if before is not None and not before.over:
            self._before = self._chosen
        self._chosen = key
        self.show_panels()
        self.fill_panels()
        entry.panel.focus()

    def action_panel(self, key: str) -> None:
        """Show and focus a panel; one that is seen alone gives the room back with the same key."""
        entry = self.panels().get(key)
        if entry is not None and entry.over and self._is_wide and self._chosen == key:
            self._give_back()
        else:
            self.show_panel(key)

    def action_enlarge(self) -> None:
        """Give the panel in focus the whole screen, or give the others their room back."""
        if self._enlarged:
            self._give_back()
            return
        panels = self.panels().items()
        key = next((key for key, entry in panels if entry.panel.has_focus_within), "")
        if key:
            self._enlarged = True
            self.show_panel(key)

    def _give_back(self) -> None:
        """Show all panels that fit again."""
        over = self.panels()[self._chosen].over
        self._enlarged = False
        self.show_panel(self._before if over and self._is_wide else self._chosen)

    def action_back(self) -> None:
        """Give the others their room back; where they have it, go back to the screen before."""
        entry = self.panels().get(self._chosen)
        if self._enlarged or (self._is_wide and entry is not None and entry.over):
            self._give_back()
        else:
            super().action_back()

    def on_resize(self, event: events.Resize) -> None:
        """Another size has room for other panels."""
        del event
        self.show_panels()
        self.fill_panels()
