"""The command that moves runs to the trash."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click

from engine.errors import RunBusyError, UserError
from engine.history.history import History
from engine.history.together import delete_together
from engine.runs import RunFolder, described
from engine.runs.lookup import name_of
from moco_tui.cli.options import JSON, Settings, run_argument, shared_options
from moco_tui.cli.output import clean, print_json, say, say_notices
from moco_tui.present import deletion_text
from moco_tui.present.run_rows import row_of
from moco_tui.present.study_rows import StudyRows


@click.command()
@run_argument(many=True, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Delete with a study what it made; do not ask.")
@click.option("--alone", is_flag=True, help="Leave what a study made.")
@JSON
@shared_options
@click.pass_obj
def delete(
    settings: Settings, runs: tuple[str, ...], yes: bool, alone: bool, as_json: bool
) -> None:
    """Move runs to the trash; restore brings them back.

    With a study goes what it made, after a question, unless another study counts it, it has tags
    or a note, or a run stays that was made of it.
    """
    settings.writable()
    folders = list(dict.fromkeys(settings.find(ref) for ref in runs))  # a run named twice is one
    for folder in folders:  # all or none: nothing is deleted when one of them cannot be
        if folder.alive():
            raise RunBusyError(
                f"Run {described(folder)} is being worked on; stop it before deleting it."
            )
    history = History(settings.root)
    gone: dict[str, str] = {}
    try:
        with_studies = {} if alone else _with_studies(history, folders, yes=yes)
        for folder in folders:
            if folder.id in gone:  # it went with its study
                continue
            what = clean(described(folder))  # before it is moved
            with_it = [id_ for id_ in with_studies.get(folder.id, ()) if id_ not in gone]
            named = {id_: name_of(history.folder(id_)) for id_ in (folder.id, *with_it)}
            delete_together(history, folder.id, with_it)
            gone |= named
            if not as_json:
                print("\n".join(named))
                more = f" and {len(with_it):,} runs that it made" if with_it else ""
                say(f"deleted {what}{more}; moco-tui restore {folder.id} brings it back")
    finally:
        say_notices(history)
    if as_json:
        print_json([{"id": id_, "name": name} for id_, name in gone.items()])


def _with_studies(
    history: History, folders: Sequence[RunFolder], *, yes: bool
) -> Mapping[str, tuple[str, ...]]:
    """What goes with each study, by its id; says what that is, and asks.

    Raises:
        UserError: when it is not meant, or there is nobody to ask.
    """
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
    if found and not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UserError(
                "Nothing was deleted: --yes deletes with a study what it made, --alone the study "
                "alone."
            )
        if not click.confirm("Delete them?", err=True):
            raise UserError("Nothing was deleted.")
    return found
