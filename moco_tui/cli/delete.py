"""The command that moves runs to the trash, or removes them for good."""

from __future__ import annotations

import click

from engine.errors import UserError
from engine.history.history import History
from engine.history.together import delete_together
from engine.runs import described
from engine.runs.lookup import name_of
from moco_tui.cli.deletion_plan import check_idle, what_goes
from moco_tui.cli.options import JSON, Settings, run_argument, shared_options
from moco_tui.cli.output import clean, confirmed, print_json, say, say_notices


@click.command()
@run_argument(many=True, metavar="RUN...")
@click.option("--purge", is_flag=True, help="Remove for good, from the trash as well; asks first.")
@click.option("--yes", is_flag=True, help="Delete with a study what it made; do not ask.")
@click.option("--alone", is_flag=True, help="Leave what a study made.")
@JSON
@shared_options
@click.pass_obj
def delete(
    settings: Settings, runs: tuple[str, ...], purge: bool, yes: bool, alone: bool, as_json: bool
) -> None:
    """Move runs to the trash; restore brings them back.

    With a study goes what it made, after a question, unless another study counts it, it has tags
    or a note, or a run stays that was made of it. With --purge they are removed for good, which
    gives the disk back: runs of the list, or those in the trash.
    """
    settings.writable()
    if purge:
        from moco_tui.cli.purge import purge_runs

        purge_runs(settings, runs, yes=yes, alone=alone, as_json=as_json)
        return
    folders = list(dict.fromkeys(settings.find(ref) for ref in runs))  # a run named twice is one
    check_idle(folders)
    history = History(settings.root)
    gone: dict[str, str] = {}
    try:
        with_studies = {} if alone else what_goes(history, folders)
        if with_studies and not yes and not confirmed("Delete them?"):
            raise UserError(
                "Nothing was deleted: --yes deletes with a study what it made, --alone the study "
                "alone."
            )
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
