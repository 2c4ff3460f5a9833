"""The log of a run: it follows the end, and shows the lines that contain what is typed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from textual import events
from textual.binding import Binding
from textual.worker import Worker

from engine.runs.log_lines import MOST_FOUND, LogMatches, matching_lines
from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.session import draws_ascii
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.text_panel import TextPanel

_MOST_TYPED = 60  # characters
_PAUSE = 0.1  # seconds without another letter, until the file is searched


class LogPanel(TextPanel):
    """Lines of a log: its end, or those of all of it that contain what is typed.

    Args:
        path: of the log, which a filter searches.

    Attributes:
        filter: what the lines that are shown contain, in any case; empty: all are shown.
    """

    HELP_TITLE = "The log"
    HELP = """The last 300 lines of what the run says of itself, the newest last. The slash begins a
filter: of the whole log (of its last 20,000 lines) those that contain what is typed are left;
Enter keeps it, Escape takes it away."""
    BINDINGS = [
        Binding("slash", "filter", "Filter"),
        Binding("escape", "no_filter", "Filter away"),
    ]

    def __init__(self, path: Path, id: str | None = None) -> None:
        super().__init__("log", follow=True, wrap=True, id=id)
        self._path = path
        self.filter = ""
        self._typing = False
        self._all: list[Line] = []
        self._found: LogMatches | None = None  # with this filter; None: not searched yet
        self._whole = True  # whether all of the log was searched
        self._worker: Worker[None] | None = None
        self._more_came = False  # since it began

    def show(self, lines: Sequence[Line], title: str | None = None) -> None:
        """See ``TextPanel.show``; with a filter the file is searched for what has come."""
        self._all = list(lines)
        if self.filter and self._worker is not None and not self._worker.is_finished:
            self._more_came = True
        elif self.filter:
            self._search(0.0)
        else:
            super().show(self._all, title)

    def _show_found(self) -> None:
        found = self._found
        if found is None:  # those of the end, until all of the log has been searched
            wanted = self.filter.lower()
            end = ("".join(text for text, _ in line) for line in self._all)
            shown = [text for text in end if wanted in text.lower()]
        else:
            shown = [*found.lines, found.open_line] if found.open_line else found.lines
        before = [] if self._whole else ["lines before these were not searched"]
        if not shown:
            where = "no line" if self._whole else "of its last lines none"
            before = ["searching ..." if found is None else f"{where} contains this"]
        notes: list[Line] = [[(text, "muted")] for text in before]
        super().show([*notes, *([(text, "")] for text in shown)])

    def _search(self, pause: float) -> None:
        """Search the file, in a thread: a long log would block the keys."""
        work = partial(self._search_all, self.filter, pause)
        self._worker = work_behind(self, work, group="log-search", exclusive=True)

    async def _search_all(self, wanted: str, pause: float) -> None:
        await asyncio.sleep(pause)
        self._more_came = True
        while self._more_came and self.filter == wanted:
            self._more_came = False
            await self._search_new(wanted)

    async def _search_new(self, wanted: str) -> None:
        """Search what has come since the last search; all of the log, where there was none."""
        known = self._found
        new = await asyncio.to_thread(
            matching_lines,
            self._path,
            wanted,
            known.end if known else 0,
            lambda: self.filter != wanted,
        )
        if self.filter != wanted:
            return
        if known is None or new.begin < known.end:  # all of it, or a log that was written anew
            self._found, self._whole = new, new.begin == 0
        elif new.begin > known.end:  # more has come than one search reads
            self._found, self._whole = new, False
        else:
            lines = [*known.lines, *new.lines]
            self._whole = self._whole and len(lines) <= MOST_FOUND
            self._found = new._replace(lines=lines[-MOST_FOUND:])
        self._show_found()

    def _set(self, text: str, *, typing: bool) -> None:
        before = self.filter
        self.filter, self._typing = text[:_MOST_TYPED], typing
        self._scrolled_to = None
        if self.filter != before:
            self._found, self._whole = None, True
        if not self.filter:
            super().show(self._all)
        elif self._found is None:
            self._show_found()
            self._search(_PAUSE)
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
