"""Sends a note in every way that the user's own configuration names, and says what became of it.

The ways come from that configuration alone: nothing in a run's folder, a preset or the settings of
a run can start a program or send anything.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from engine.errors import RunError
from engine.runs import RunFolder
from moco_tui.notify.limited_process import run_limited
from moco_tui.notify.run_note import RunNote
from moco_tui.notify.told import Told
from moco_tui.training.detached import child_command, child_environment
from moco_tui.user.user_file import config_path, read_user_file
from moco_tui.user.user_schema import Event, NotifySettings, TerminalWay

ShowOnTerminal = Callable[[TerminalWay, str, str], str]
"""Shows title and text on a terminal; what went wrong, or nothing."""


class Delivery(NamedTuple):
    """What became of a note in one way.

    Attributes:
        way: ``terminal``, ``command`` or the scheme of an address, as ``mailto://...``.
        problem: what went wrong, in words that follow a colon; empty when nothing did.
    """

    way: str
    problem: str


class Notifier:
    """Sends notes outside: to a terminal, a command of the user's, and addresses of Apprise.

    The configuration is read at each note, since a trainer lives for days.

    Args:
        terminal: shows a note on the terminal of this process; None where it has none.
    """

    def __init__(self, terminal: ShowOnTerminal | None = None) -> None:
        self._path: Path = config_path()
        self._terminal = terminal
        self.told = Told(self._path.parent / "told")

    def settings(self) -> NotifySettings:
        """What the person wants now."""
        return read_user_file(self._path).config.notify

    def wants(self, event: Event) -> bool:
        """Whether such an event would be told in any way."""
        settings = self.settings()
        terminal = self._terminal is not None and settings.terminal != "off"
        return event in settings.on and bool(terminal or settings.command or settings.apprise)

    def send(
        self, note: RunNote, folder: RunFolder | None = None, *, anyway: bool = False
    ) -> list[Delivery]:
        """Sends a note; what each way says of it. Never raises, and takes a limited time.

        Args:
            note: what is told.
            folder: of the run; a terminal shows the note only where no other process has shown it.
            anyway: also when the person does not want to be told of such an event.
        """
        settings = self.settings()
        if not anyway and note.event not in settings.on:
            return []
        found: list[Delivery] = []
        on_terminal = partial(self._on_terminal, folder=folder)
        for send in (on_terminal, _by_command, _by_apprise):
            try:
                found += send(note, settings)
            except Exception as error:  # whatever it is, no run is harmed by it
                found.append(Delivery("notification", f"{type(error).__name__}: {error}"))
        return found

    def _on_terminal(
        self, note: RunNote, settings: NotifySettings, folder: RunFolder | None
    ) -> list[Delivery]:
        if self._terminal is None or settings.terminal == "off":
            return []
        if folder is not None and not is_first_on_terminal(self.told, folder, note):
            return []
        problem = self._terminal(settings.terminal, note.title, note.message)
        return [Delivery("terminal", problem)]


def is_first_on_terminal(told: Told, folder: RunFolder, note: RunNote) -> bool:
    """Whether no other process has shown a note on its terminal; from now on this one has.

    A run may be trained in one terminal and watched by the app in another: one of them notifies.
    """
    try:
        record = folder.record()
    except RunError:
        return True
    when = (record.created, record.ended, record.running_since)
    return told.claim("terminal", folder.path.resolve(), note.event, note.topic, *when) is not False


def _by_command(note: RunNote, settings: NotifySettings) -> list[Delivery]:
    if not settings.command:
        return []
    environment = {**os.environ, **note.environment()}
    ended = run_limited(settings.command, environment, settings.seconds)
    return [Delivery("command", ended.problem)]


def _by_apprise(note: RunNote, settings: NotifySettings) -> list[Delivery]:
    if not settings.apprise:
        return []
    asked = {"urls": list(settings.apprise), "title": note.title, "body": note.message}
    ended = run_limited(
        child_command(module="moco_tui.notify.apprise_child"),
        child_environment(),
        settings.seconds,
        given=json.dumps(asked).encode(),
        wants_output=True,
    )
    problems = _said(ended.output, len(settings.apprise)) if not ended.problem else None
    if problems is None:
        why = ended.problem.replace(sys.executable, "Apprise") or "Apprise has said nothing"
        problems = [why] * len(settings.apprise)
    return [
        Delivery(shown_address(address), problem)
        for address, problem in zip(settings.apprise, problems, strict=True)
    ]


def shown_address(address: str) -> str:
    """An address without what may be a password."""
    scheme, mark, _ = address.partition("://")
    return f"{scheme}://..." if mark else "..."


def _said(output: bytes, count: int) -> Sequence[str] | None:
    """What the process of Apprise has said of each address; None where it has not."""
    try:
        said = json.loads(output)
    except ValueError:
        return None
    whole = isinstance(said, list) and len(said) == count
    return said if whole and all(isinstance(text, str) for text in said) else None
