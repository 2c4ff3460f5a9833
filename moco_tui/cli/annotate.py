"""Writing what people say of a run: its name, tags and note."""

from __future__ import annotations

from engine.history.entry import Entry
from engine.history.history import History
from engine.runs import RunFolder
from moco_tui.cli.options import Settings
from moco_tui.cli.output import say_notices


def annotate(
    settings: Settings,
    folder: RunFolder,
    *,
    name: str | None = None,
    tags: tuple[str, ...] | None = None,
    note: str | None = None,
) -> Entry:
    """Writes what is given into the run's folder and the index, and leaves the rest as it is.

    Returns:
        What the index knows of the run now.

    Raises:
        UserError: under ``--read-only``.
        RunError: when the run cannot be annotated so.
    """
    settings.writable()
    history = History(settings.root)
    try:
        return history.annotate(folder.id, name=name, tags=tags, note=note)
    finally:
        say_notices(history)
