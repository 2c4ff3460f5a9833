"""The notifier of the commands, which shows notes on the terminal that stdout is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.history.entry import Entry
from engine.runs import RunFolder
from moco_tui.cli.output import say
from moco_tui.terminal import notice
from moco_tui.user.user_file import read_user_file

if TYPE_CHECKING:
    from moco_tui.notify.notifier import Notifier

# What sends is imported by those who send: a list of runs need not wait for it.


def notifying(execute: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains as ``execute`` does and tells how the run ends.

    What is wrong with the user's configuration is said now, on stderr, and left out.
    """
    from moco_tui.notify.notified import notified

    for problem in read_user_file().problems:
        say(problem)
    return notified(execute, command_notifier())


def command_notifier() -> Notifier:
    """The notifier of this process."""
    from moco_tui.notify.notifier import Notifier

    return Notifier(notice.show if notice.is_shown() else None)


def tell_losses(root: Path, entries: Iterable[Entry]) -> None:
    """Tells of runs that a list shows as lost, each once a loss."""
    entries = [entry for entry in entries if entry.status == "lost"]
    if entries:
        from moco_tui.notify.lost_notes import tell_lost

        tell_lost(root, entries, command_notifier())


def tell_that_lost(folder: RunFolder) -> None:
    """Tells of a run that was found lost."""
    from moco_tui.notify.lost_notes import tell_lost_run

    tell_lost_run(folder, command_notifier())
