"""Runs that are deleted together, and come back together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.errors import RunBusyError, RunError
from engine.files import read_plain, reason, replace_file
from engine.history.entry import Entry
from engine.history.history import History
from engine.runs import RunFolder

NAME = "deleted-with.json"
"""File in the folder of a deleted study: the ids of the runs that went with it."""
_MOST_BYTES = 1 << 20


def delete_together(history: History, study: str, runs: Sequence[str]) -> None:
    """Move a study and runs of it to the trash.

    What goes with it is noted in its folder first: when the process is killed on the way, what is
    in the trash already comes back with the study all the same.

    Args:
        history: of their folder.
        study: id of the study.
        runs: ids of what goes with it.

    Raises:
        RunBusyError: when a process works on one of them; nothing was moved then.
        RunError: when one of them cannot be moved.
    """
    for id_ in (study, *runs):  # all or none
        if history.folder(id_).alive():
            raise RunBusyError(f"The run {id_} is being worked on; stop it before deleting it.")
    if runs:
        path = history.folder(study).path / NAME
        try:
            replace_file(path, msgspec.json.encode(list(runs)))
        except OSError as error:
            raise RunError(f"The study {study} cannot be deleted: {reason(error)}.") from error
    for id_ in (*runs, study):
        history.delete(id_)


def restore_together(history: History, study: str) -> list[Entry]:
    """Bring a deleted run back, and what went with it.

    Args:
        history: of their folder.
        study: id of the study, or of any other run.

    Returns:
        The runs that are back, that one first; what is not in the trash any more is left out.

    Raises:
        RunError: see ``History.restore``; what came back before stays.
    """
    runs = deleted_with(history, study)
    back = [history.restore(study)]
    for id_ in runs:
        if history.trashed.has(id_):
            back.append(history.restore(id_))
    if runs:
        (history.folder(study).path / NAME).unlink(missing_ok=True)
    return back


def purge_together(history: History, study: str) -> list[str]:
    """Remove a deleted run for good, and what went with it to the trash.

    The study last: when the process is killed on the way, it still says what belongs to it.

    Args:
        history: of their folder.
        study: id of the study, or of any other run.

    Returns:
        The ids of what was removed, that one last.

    Raises:
        RunBusyError: when a process holds one of them.
        RunError: see ``History.purge``; what was removed before is gone.
    """
    removed = [id_ for id_ in deleted_with(history, study) if history.trashed.has(id_)]
    for id_ in (*removed, study):
        history.purge(id_)
    return [*removed, study]


def deleted_with(history: History, study: str) -> list[str]:
    """The ids of the runs that went with a study to the trash; empty for other runs."""
    trashed = RunFolder(history.trashed.path / history.folder(study).id)
    try:
        found = msgspec.json.decode(read_plain(trashed.path / NAME, _MOST_BYTES), type=list[str])
        return [history.folder(id_).id for id_ in found]  # an id must not lead out of the root
    except (OSError, msgspec.DecodeError, RunError):
        return []
