"""The log of a run: it follows the end, and shows the lines that contain what is typed."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.binding import Binding

from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.session import draws_ascii
from moco_tui.widgets.text_panel import TextPanel

_MOST_TYPED = 60  # characters


class LogPanel(TextPanel):
    """Lines of a log.

    Attributes:
        filter: what the lines that are shown contain, in any case; empty: all are shown.
    """

    HELP_TITLE = "The log"
    HELP = """The last 300 lines of what the run says of itself, the newest last. The slash begins a
filter: of what is typed the lines that contain it are left; Enter keeps it, Escape takes it
away."""
    BINDINGS = [
        Binding("slash", "filter", "Filter"),
        Binding("escape", "no_filter", "Filter away"),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__("log", follow=True, wrap=True, id=id)
        self.filter = ""
        self._typing = False
        self._all: list[Line] = []

    def show(self, lines: Sequence[Line], title: str | None = None) -> None:
        """See ``TextPanel.show``; of the lines those that pass the filter are shown."""
        self._all = list(lines)
        self._show_matching(title)

    def _show_matching(self, title: str | None = None) -> None:
        wanted = self.filter.lower()
        found = [line for line in self._all if wanted in "".join(text for text, _ in line).lower()]
        if not found and self._all:
            found = [[("no line contains this", "muted")]]
        super().show(found, title)

    def _set(self, text: str, *, typing: bool) -> None:
        self.filter, self._typing = text[:_MOST_TYPED], typing
        self._scrolled_to = None
        self._show_matching()
        self.refresh()
        self.screen.refresh_bindings()

    def action_filter(self) -> None:
        """Begin to type, or go on."""
        self._set(self.filter, typing=True)

    def action_no_filter(self) -> None:
        """Show all lines again."""
        self._set("", typing=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is no filter to take away as long as there is none."""
        del parameters
        return action != "no_filter" or bool(self.filter) or self._typing

    def on_key(self, event: events.Key) -> None:
        """What is typed into the filter is no key of the screen.

        The key that begins it acts here too: as a binding it would act on its way back from the
        app, after letters that were typed behind it and came in the same burst.
        """
        if self._typing and event.key == "enter":
            self._set(self.filter, typing=False)
        elif self._typing and event.key == "backspace":
            self._set(self.filter[:-1], typing=True)
        elif self._typing and event.character is not None and event.is_printable:
            self._set(self.filter + event.character, typing=True)
        elif not self._typing and event.key in self._filter_keys:
            self.action_filter()
        else:
            return  # arrows scroll, Escape takes the filter away
        event.stop()
        event.prevent_default()

    @property
    def _filter_keys(self) -> list[str]:
        """The keys that begin the filter, as the person has chosen them."""
        chosen = getattr(self.app, "chosen_keys", {}).get("log-panel.filter", "slash")
        return [key.strip() for key in chosen.split(",")]

    def on_paste(self, event: events.Paste) -> None:
        """Of what is pasted the first line is typed."""
        if self._typing:
            event.stop()
            self._set(self.filter + fmt.clean(event.text.split("\n")[0]), typing=True)

    def on_blur(self) -> None:
        """Keys go elsewhere now."""
        if self._typing:
            self._set(self.filter, typing=False)

    def shown_note(self) -> Line:
        """The filter, and where the panel stands in its lines."""
        note = super().shown_note()
        if not self.filter and not self._typing:
            return note
        cursor = ("_" if draws_ascii(self) else "▏") * self._typing
        return [(f"/{self.filter}{cursor}", "strong"), ("  ", ""), *note]
