"""Removing runs for good: what ``delete --purge`` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.errors import RunError, UserError
from engine.files import is_gone
from engine.history.history import History
from engine.history.together import delete_together, deleted_with
from engine.runs import RunFolder, find
from engine.runs.folder_size import size_of_all
from engine.runs.lookup import AmbiguousRunError, name_of
from moco_tui.cli.deletion_plan import check_idle, what_goes
from moco_tui.cli.options import Settings
from moco_tui.cli.output import clean, confirmed, print_json, say, say_notices
from moco_tui.present import fmt
from moco_tui.present.deletion_text import went_along_text
from moco_tui.present.disk_usage import TrashedRow, removal_question


def purge_runs(
    settings: Settings, refs: Sequence[str], *, yes: bool, alone: bool, as_json: bool
) -> None:
    """Remove runs for good, of the list or of the trash; asks first, and names what it frees.

    Args:
        settings: the runs folder.
        refs: what the person typed.
        yes: do not ask.
        alone: leave what a study made, or what went with it to the trash.
        as_json: print what was removed as JSON.

    Raises:
        RunBusyError: when a process works on one of them; nothing was removed then.
        RunError: when one is not there or cannot be removed; what was removed before is gone.
        UserError: when it is not meant, or there is nobody to ask.
    """
    history = History(settings.root)
    meant = list(dict.fromkeys(_meant(settings, history, ref) for ref in refs))
    check_idle(meant)
    gone: list[TrashedRow] = []
    try:
        listed = [folder for folder in meant if _is_listed(history, folder)]
        with_studies: Mapping[str, tuple[str, ...]] = {} if alone else what_goes(history, listed)
        groups = {folder: _with_it(history, folder, with_studies, alone) for folder in meant}
        folders = dict.fromkeys(one for folder in meant for one in (*groups[folder], folder))
        rows = {folder: _row(history, folder) for folder in folders}
        say(removal_question(list(rows.values())))
        if not yes and not confirmed("Remove it for good?"):
            raise UserError("Nothing was removed: --yes removes without a question.")
        for folder in meant:
            for removed in _remove(history, folder, groups[folder]):
                row = rows[removed]
                gone.append(row)
                if not as_json:
                    print(row.id)
                    say(f"removed {row.title} for good: {fmt.size(row.size)}")
    finally:
        say_notices(history)
        if as_json and gone:
            print_json([{"id": row.id, "name": row.name, "size": row.size} for row in gone])


def _is_listed(history: History, folder: RunFolder) -> bool:
    """Whether a run is one of the list, and not in the trash."""
    return folder.path.parent == history.root


def _meant(settings: Settings, history: History, ref: str) -> RunFolder:
    """The run that is meant: one of the list, else one in the trash, else the remains of one.

    Raises:
        RunError: when there is none, or more than one.
    """
    try:
        return settings.find(ref)
    except AmbiguousRunError:
        raise
    except RunError as error:
        in_trash = history.trashed.path
        try:
            return find(in_trash, ref, listed_by="moco-tui trash")
        except AmbiguousRunError:
            raise
        except RunError:
            if history.trashed.remains(ref):
                return RunFolder(in_trash / ref)
        raise error from None


def _with_it(
    history: History, folder: RunFolder, with_studies: Mapping[str, tuple[str, ...]], alone: bool
) -> list[RunFolder]:
    """What goes with a run: of one in the trash what went there with it; says how many."""
    if _is_listed(history, folder):
        return [history.folder(id_) for id_ in with_studies.get(folder.id, ())]
    ids = [] if alone else deleted_with(history, folder.id)
    found = [RunFolder(history.trashed.path / id_) for id_ in ids if history.trashed.has(id_)]
    if found:
        say(went_along_text(clean(folder.title()), len(found)))
    return found


def _row(history: History, folder: RunFolder) -> TrashedRow:
    size = size_of_all([folder.path, *history.trashed.remains(folder.id)])
    return TrashedRow(folder.id, clean(name_of(folder)), "", size, 0.0)


def _remove(
    history: History, folder: RunFolder, with_it: Sequence[RunFolder]
) -> Iterator[RunFolder]:
    """Remove a run and what goes with it; gives each when it is gone.

    From the list they go by way of the trash: where this is cut short, the rest lies there whole.
    """
    left = [one for one in with_it if not is_gone(one.path)]  # not those that went before
    if _is_listed(history, folder):
        if is_gone(folder.path):  # it went with its study
            return
        delete_together(history, folder.id, [one.id for one in left])
    elif is_gone(folder.path) and not history.trashed.remains(folder.id):
        return
    for one in (*left, folder):
        history.purge(one.id)
        yield one
