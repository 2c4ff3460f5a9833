"""What a deletion takes along, and whether it may be: for moving to the trash and for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.errors import RunBusyError
from engine.history.history import History
from engine.runs import RunFolder, described
from engine.runs.submission import known_submission
from moco_tui.cli.output import say
from moco_tui.present import deletion_text
from moco_tui.present.run_rows import row_of
from moco_tui.present.study_rows import StudyRows


def check_idle(folders: Sequence[RunFolder]) -> None:
    """Refuse when a process works on one of them: all are deleted, or none.

    Raises:
        RunBusyError: when one does.
    """
    for folder in folders:
        if folder.alive():
            raise RunBusyError(
                f"Run {described(folder)} is being worked on; stop it before deleting it."
            )
        submission = known_submission(folder)
        if submission is not None and folder.record().status == "queued":
            raise RunBusyError(
                f"Run {described(folder)} waits in Slurm as job {submission.job}; stop it before "
                "deleting it."
            )


def what_goes(history: History, folders: Sequence[RunFolder]) -> Mapping[str, tuple[str, ...]]:
    """What goes with each study, by its id; says what that is, and what needs the other runs."""
    from engine.study.deletion import plan_deletion, users_of_run

    entries = history.list()
    rows = StudyRows(history.root)
    rows.related({entry.id: row_of(entry) for entry in entries})
    titles = {entry.id: entry.title for entry in entries}
    ids = {folder.id for folder in folders}
    found: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        if folder.id in rows.belongings:
            plan = plan_deletion(folder.id, entries, rows.belongings, history.root)
            if plan.goes:
                found[folder.id] = plan.goes
                for line in deletion_text.lines(plan, titles.get(folder.id, folder.id)):
                    say(line)
            continue
        studies = [id_ for id_ in users_of_run(folder.id, rows.belongings) if id_ not in ids]
        if text := deletion_text.needed_text(studies, titles):
            say(f"{folder.id}: {text}")
    return found
