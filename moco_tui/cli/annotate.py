"""Writing what people say of a run: its name, tags and note."""

from __future__ import annotations

from collections.abc import Callable

from engine.history.entry import Entry
from engine.history.history import History
from engine.runs import RunFolder, UserNotes
from moco_tui.cli.options import Settings
from moco_tui.cli.output import say_notices

_PATIENCE = 60.0  # seconds: scripts tag many runs at once, and none of their tags may be lost


def annotate(settings: Settings, folder: RunFolder, update: Callable[[UserNotes], None]) -> Entry:
    """Changes the notes of a run, and writes them into the index.

    Args:
        settings: where the run is.
        folder: the run.
        update: changes the notes in place; no other change comes between.

    Returns:
        What the index knows of the run now.

    Raises:
        UserError: under ``--read-only``.
        RunBusyError: others changed the notes all the time; nothing is written.
        RunError: when the run cannot be annotated so.
    """
    settings.writable()
    history = History(settings.root)
    try:
        return history.change_notes(folder.id, update, timeout=_PATIENCE)
    finally:
        say_notices(history)
