"""The command that brings runs back from the trash."""

from __future__ import annotations

import click

from engine.errors import RunError
from engine.history.history import History
from engine.history.together import restore_together
from engine.history.trash import TRASH_NAME
from engine.runs import find
from moco_tui.cli.options import JSON, Settings, shared_options
from moco_tui.cli.output import clean, print_json, say, say_notices


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN...]")
@JSON
@shared_options
@click.pass_obj
def restore(settings: Settings, runs: tuple[str, ...], as_json: bool) -> None:
    """Bring runs back from the trash, or list what is in it.

    With a study comes back what went with it. RUN is an id, a name, the beginning of either, or
    latest: the run that was deleted last.
    """
    history = History(settings.root, read_only=settings.read_only)
    if not runs:
        _list_trash(history, as_json)
        return
    settings.writable()
    ids = [_in_trash(history, ref) for ref in runs]  # all of them, before the first is restored
    back: list[str] = []
    try:
        for id_ in ids:
            if id_ in back:  # it came back with its study
                continue
            entry, *with_it = restore_together(history, id_)
            back += [id_, *(other.id for other in with_it)]
            if not as_json:
                print("\n".join([id_, *(other.id for other in with_it)]))
                more = f", and {len(with_it):,} runs that went with it" if with_it else ""
                if entry.name or more:
                    say(f"restored {id_}{f' ({clean(entry.name)})' * bool(entry.name)}{more}")
    finally:
        say_notices(history)
    if as_json:
        print_json([{"id": id_} for id_ in back])


def _list_trash(history: History, as_json: bool) -> None:
    deleted = history.trash()
    if as_json:
        print_json([{"id": entry.id, "name": entry.name} for entry in deleted])
    elif deleted:
        print("\n".join(f"{entry.id}  {clean(entry.name)}".rstrip() for entry in deleted))
    else:
        say("the trash is empty")


def _in_trash(history: History, ref: str) -> str:
    """The id of the deleted run that an id, a name, the beginning of either or ``latest`` means."""
    if not history.trash():
        raise RunError(f"The trash of {history.root} is empty.")
    if ref == "latest":  # of the trash: the one that was deleted last
        return history.trash()[0].id
    return find(history.root / TRASH_NAME, ref, listed_by="moco-tui restore").id
