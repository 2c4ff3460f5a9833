"""Shows in the app, and on its terminal, that a run has ended or needs a look."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from textual.app import App

from moco_tui.notify.looker import Looker, is_of_this_process
from moco_tui.notify.lost_notes import tell_lost
from moco_tui.notify.notifier import Notifier, is_first_on_terminal
from moco_tui.notify.run_note import RunNote
from moco_tui.notify.told import Told
from moco_tui.session import Session
from moco_tui.terminal.notice import notice
from moco_tui.widgets.background_work import work_behind

LOOK_SECONDS = 2.0
"""How often the runs are looked at."""
_SEVERITIES = {"finished": "information", "warning": "warning", "failed": "error", "lost": "error"}


class RunNotices:
    """Looks at the runs of a session in a thread, and shows what happens to them.

    A command and Apprise are left to the process that trains a run; of a lost one there is none, so
    the app tells of it.

    Args:
        app: shows the notes.
        session: whose runs are looked at, and how its user wants to be told.
        say: shows a sentence for a few seconds.
    """

    def __init__(self, app: App[Any], session: Session, say: Callable[..., None]) -> None:
        self._app, self._session, self._say = app, session, say
        self._looker = Looker(session.runs)
        self._settings = session.user.config.notify
        self._told = Told(session.user.path.parent / "told")
        self._looking = False

    def start(self) -> None:
        """Look from now on."""
        self._app.set_interval(LOOK_SECONDS, self._look_unless_looking)

    def _look_unless_looking(self) -> None:
        if not self._looking and self._session.runs.loaded:
            self._looking = True
            work_behind(self._app, self._look, group="notices")

    async def _look(self) -> None:
        try:
            for note, rings in await asyncio.to_thread(self._new_notes):
                self._show(note, rings=rings)
        finally:
            self._looking = False
        if self._session.remembers and self._looker.newly_lost():
            await asyncio.to_thread(self._tell_lost)

    def _new_notes(self) -> list[tuple[RunNote, bool]]:
        """What has happened, and whether this terminal is the one to notify of it."""
        return [
            (note, not self._session.remembers or self._is_first(note))
            for note in self._looker.look()
            if note.event in self._settings.on
        ]

    def _is_first(self, note: RunNote) -> bool:
        return is_first_on_terminal(self._told, self._session.folder(note.run_id), note)

    def _tell_lost(self) -> None:
        """Tell of lost runs outside, in a thread: a command of the person's may take its time."""
        entries = [row.entry for row in self._session.runs.rows.values()]
        tell_lost(self._session.root, entries, Notifier())

    def _show(self, note: RunNote, *, rings: bool) -> None:
        # The runner has its own words for a failure in this process.
        said = note.event == "failed" and is_of_this_process(self._session.folder(note.run_id))
        if self._settings.toast and not said:
            self._say(note.message, severity=_SEVERITIES[note.event])
        if rings and not self._app.is_headless and self._app._driver is not None:
            # Through the driver, whose thread writes: anything else could cut a sequence in two.
            sequence = notice(self._settings.terminal, note.title, note.message, os.environ)
            self._app._driver.write(sequence)
