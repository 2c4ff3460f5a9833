"""Telling of runs whose process is gone: whoever looks finds them, and one tells, once a loss."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from engine.errors import RunError
from engine.history.entry import Entry
from engine.runs import RunFolder
from moco_tui.notify.notified import tell
from moco_tui.notify.notifier import Notifier
from moco_tui.notify.run_note import note_of
from moco_tui.training.lost_runs import lost_among


def tell_lost(root: Path, entries: Iterable[Entry], notifier: Notifier) -> None:
    """Tells of the runs of this user that were lost lately on this machine, and not told of yet.

    Args:
        root: the runs folder.
        entries: of its history; only those that are shown as lost are looked at.
        notifier: sends the notes.
    """
    entries = list(entries)
    if not any(entry.status == "lost" for entry in entries) or not notifier.wants("lost"):
        return
    for lost in lost_among(entries, root):
        if not lost.queued:
            tell_lost_run(lost.folder, notifier)


def tell_lost_run(folder: RunFolder, notifier: Notifier) -> None:
    """Tells of one lost run, unless that was done; a run that is lost again is told of again."""
    with contextlib.suppress(RunError, OSError):
        record = folder.record()
        since = record.running_since or record.started or record.created
        if notifier.told.claim(folder.path.resolve(), record.created, "lost", since):
            tell(folder, note_of(folder, "lost"), notifier)
