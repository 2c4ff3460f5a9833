"""Changes to a run of the table: tags, note, name, resume, delete, undo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from engine.config.phrases import listed
from engine.errors import RunError, UserError
from engine.runs import RunFolder, UserNotes, described
from engine.runs.checkpoint_ref import split_checkpoint
from engine.runs.encoder_look import MOST_ENCODERS, LookRequest
from engine.runs.kept_checkpoints import checkpoint_file, kept_checkpoints
from moco_tui.present.run_rows import LIVE, RunRow
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.messages import OpenBranch, OpenLook, StartRuns
from moco_tui.screens.stop_run import stop_row
from moco_tui.screens.submitted_runs import is_submitted
from moco_tui.widgets.background_work import work_behind

OF_RUNS = frozenset(
    [
        *("probe", "compare", "look", "export", "filter", "delete", "sort", "resume", "stop"),
        *("like", "extend", "fork", "preview", "columns", "baseline", "group"),
    ]
)
"""Keys of the table that need a run."""


class RunActions:
    """Changes runs, after a question where one is needed, and remembers deletions for undo.

    Args:
        screen: shows questions and results.
        changed: called after a change.
    """

    def __init__(self, screen: BaseScreen, changed: Callable[[], None]) -> None:
        self._screen = screen
        self._runs = screen.session.runs
        self._changed = changed
        self._deleted: list[str] = []

    def tags(self, row: RunRow) -> None:
        """Change the tags."""

        def keep(text: str) -> None:
            words = set(text.replace(",", " ").split())
            added, removed = words - set(row.tags), set(row.tags) - words

            # What was changed here, and not what the tags were when the dialog was opened: others
            # may have added some since.
            def update(notes: UserNotes) -> None:
                notes.tags = tuple((set(notes.tags) - removed) | added)

            self._runs.history.change_notes(row.id, update)

        self._ask(f"Tags of {row.title}, separated by spaces", " ".join(row.tags), keep)

    def note(self, row: RunRow) -> None:
        """Change the note."""

        def keep(text: str) -> None:
            self._runs.history.annotate(row.id, note=text)

        self._ask(f"Note on {row.title}", row.note, keep)

    def name(self, row: RunRow) -> None:
        """Change the name."""

        def keep(text: str) -> None:
            self._runs.history.annotate(row.id, name=text)

        self._ask(f"Name of {row.id}", row.name, keep)

    def resume(self, row: RunRow) -> None:
        """Resume a stopped, failed, lost or queued run in this app, and show it."""
        if row.status in ("stopped", "failed", "lost", "queued"):
            folder = self._screen.session.folder(row.id)
            self._screen.ask_app(StartRuns(folder, show=True))
        else:
            self._screen.say(f"{row.title} is {row.status}; there is nothing to resume.")

    def stop(self, row: RunRow) -> None:
        """Stop the run, after a question."""
        stop_row(self._screen, row)

    def look(self, run_ids: Sequence[str]) -> None:
        """Look at what the encoders of some runs make of images."""
        rows = self._runs.rows
        studies = [run for run in run_ids if run in rows and rows[run].kind == "study"]
        if studies:
            self._screen.say(f"{rows[studies[0]].title} is a study; look at its pretrainings.")
        elif len(run_ids) > MOST_ENCODERS:
            self._screen.say("Four encoders at most stand side by side.", severity="warning")
        elif run_ids:
            encoders = tuple((run, "") for run in run_ids)
            self._screen.ask_app(OpenLook(LookRequest(encoders=encoders)))

    def export(self, run_ids: Sequence[str]) -> None:
        """Write runs as a table to a file that the person names."""
        from moco_tui.screens.run_export import export_rows  # the first screen writes nothing

        rows = self._runs.rows
        export_rows(self._screen, [rows[run] for run in run_ids if run in rows])

    def extend(self, row: RunRow) -> None:
        """Configure a run that goes on with a finished pretraining to more epochs."""
        if row.kind != "pretrain" or row.entry.imported:
            self._screen.say(f"{row.title} is no pretraining of this program; nothing to extend.")
        elif row.status != "finished":
            self._screen.say(f"{row.title} is {row.status}; finish it with r, or fork it with F.")
        else:
            self._screen.ask_app(OpenBranch(row.id, longer=True))

    def fork(self, row: RunRow) -> None:
        """Ask for a checkpoint of a pretraining, and configure a run that goes on from it."""
        if row.kind != "pretrain" or row.entry.imported:
            self._screen.say(f"{row.title} is no pretraining of this program; nothing to fork.")
            return
        folder = self._screen.session.folder(row.id)
        kept = kept_checkpoints(folder.path)
        if not kept:
            self._open_fork(folder, "")
            return
        names = listed([one.name for one in kept] + ["last"], "or")
        question = f"Fork {row.title} from which checkpoint? An epoch or a word: {names}"
        self._ask(question, "last", lambda text: self._open_fork(folder, text))

    def _open_fork(self, folder: RunFolder, text: str) -> None:
        """Open the form for a checkpoint that a person has named; says so where there is none."""
        which = text.strip().removeprefix("@").removeprefix("last")
        try:
            if which and (split_checkpoint(f"x@{which}")[1] or "") == "":
                raise RunError(f"{which} is no checkpoint; an epoch, best or last is one.")
            checkpoint_file(folder, which)
            if folder.record().checkpoint_step is None:
                raise RunError(f"Run {folder.id} has no checkpoint yet; there is nothing to fork.")
        except RunError as error:
            self._screen.say(str(error), severity="error")
            return
        self._screen.ask_app(OpenBranch(folder.id, which))

    def delete(self, row: RunRow) -> None:
        """Move the run to the trash, from which ``undo`` brings it back."""
        if row.status in LIVE and row.status != "queued":
            self._screen.say(
                f"{row.title} is {row.status}; stop it before you delete it.", severity="error"
            )
            return

        if row.status == "queued" and is_submitted(self._screen.session.folder(row.id)):
            self._screen.say(
                f"{row.title} waits in Slurm; stop it before you delete it.", severity="error"
            )
            return
        work_behind(self._screen, partial(self._ask_to_delete, row), group="delete")

    async def _ask_to_delete(self, row: RunRow) -> None:
        """Ask with what goes along and who needs it; in a thread: it looks into the folders."""
        from moco_tui.screens.dialogs import Confirm  # the first screen asks nothing

        what = f"{row.title} ({row.id})" if row.name else row.id  # many may have one name
        text, with_it = await asyncio.to_thread(self._what_goes, row, what)

        def delete_if_confirmed(yes: bool | None) -> None:
            if yes:
                self._delete(row, what, with_it)

        question = f"{text} It can be restored."
        self._screen.app.push_screen(Confirm(question, "Delete"), delete_if_confirmed)

    def _what_goes(self, row: RunRow, what: str) -> tuple[str, tuple[str, ...]]:
        """The question on a deletion, and the ids of what goes with a study."""
        belongings = self._runs.studies.belongings
        if not belongings:
            return f"Delete {what}?", ()
        from engine.study.deletion import plan_deletion, users_of_run
        from moco_tui.present import deletion_text

        rows = dict(self._runs.rows)
        if row.id in belongings:
            entries = [one.entry for one in rows.values()]
            plan = plan_deletion(row.id, entries, belongings, self._runs.root)
            if plan.goes or plan.stays:
                return "\n".join(deletion_text.lines(plan, what)), plan.goes
        titles = {id_: one.title for id_, one in rows.items()}
        needed = deletion_text.needed_text(users_of_run(row.id, belongings), titles)
        return f"Delete {what}? {needed}".rstrip(), ()

    def _delete(self, row: RunRow, what: str, with_it: tuple[str, ...]) -> None:
        from engine.history.together import delete_together

        session = self._screen.session
        try:
            for id_ in (row.id, *with_it):
                # A queued run of this app is taken out of the queue: it holds the run's lock.
                session.runner.drop(session.folder(id_))
            with self._runs.lock:
                delete_together(self._runs.history, row.id, with_it)
        except UserError as error:
            self._screen.say(str(error), severity="error")
            self._changed()
            return
        self._deleted.append(row.id)
        more = f" with {len(with_it):,} runs" if with_it else ""
        self._screen.say(f"{what} is in the trash{more}; u brings it back.")
        self._changed()

    def undo(self) -> str:
        """Bring the last deleted run back; its id, empty when there is none."""
        if not self._deleted:
            self._screen.say("Nothing was deleted here.")
            return ""
        from engine.history.together import restore_together

        run_id = self._deleted[-1]
        try:
            with self._runs.lock:
                restore_together(self._runs.history, run_id)
        except UserError as error:
            self._screen.say(str(error), severity="error")
            return ""
        self._deleted.pop()  # only now: after an error it can be tried again
        self._screen.say(f"{described(self._screen.session.folder(run_id))} is back.")
        self._changed()
        return run_id

    def _ask(self, question: str, value: str, keep: Callable[[str], None]) -> None:
        """Ask for a text, and call ``keep`` with it unless the dialog is cancelled."""
        from moco_tui.screens.dialogs import Ask  # the first screen asks nothing

        def keep_if_given(text: str | None) -> None:
            if text is None:
                return
            try:
                with self._runs.lock:  # the table reads the history in a thread
                    keep(text)
            except UserError as error:
                self._screen.say(str(error), severity="error")
            self._changed()

        self._screen.app.push_screen(Ask(question, value), keep_if_given)
