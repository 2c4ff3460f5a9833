"""Commands that say something of a run, or put it away: tag, note, rename, delete, restore."""

from __future__ import annotations

import click

from engine.errors import RunBusyError, RunError
from engine.history.entry import Entry
from engine.history.history import History
from engine.runs import RunFolder, clean_tags, find
from moco_tui.cli.common import Settings, clean, complete_run, print_json, say, shared_options

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(
    # A word such as -slow is a tag to take away, not an option; nor is -hard a call for help.
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]}
)
@click.argument("run", shell_complete=complete_run)
@click.argument("changes", nargs=-1, type=click.UNPROCESSED, metavar="[+TAG|-TAG|TAG]...")
@JSON
@shared_options
@click.pass_obj
def tag(settings: Settings, run: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Add (+TAG or TAG) and remove (-TAG) tags of RUN.

    Without a TAG, print those it has.
    """
    folder = settings.find(run)
    tags = set(folder.user().tags)
    for change in changes:
        word = clean_tags([change.removeprefix("+") if change[:1] != "-" else change[1:]])
        if change.startswith("--") or len(word) != 1:
            raise RunError(f"{clean(change)} is no tag; write +TAG to add one, -TAG to remove one.")
        if change.startswith("-"):
            if word[0] not in tags:
                say(f"run {folder.id} has no tag {clean(word[0])}")
            tags.discard(word[0])
        else:
            tags.add(word[0])
    shown = tuple(sorted(tags))
    if changes:
        shown = _annotate(settings, folder, tags=shown).tags
    if as_json:
        print_json({"id": folder.id, "tags": list(shown)})
    elif shown:
        print(clean(" ".join(shown)))


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.argument("text", nargs=-1)
@JSON
@shared_options
@click.pass_obj
def note(settings: Settings, run: str, text: tuple[str, ...], as_json: bool) -> None:
    """Write a note on RUN, or print it.

    An empty TEXT removes it.
    """
    folder = settings.find(run)
    shown = _annotate(settings, folder, note=" ".join(text)).note if text else folder.user().note
    if as_json:
        print_json({"id": folder.id, "note": shown})
    elif shown:
        print(clean(shown))


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.argument("name")
@JSON
@shared_options
@click.pass_obj
def rename(settings: Settings, run: str, name: str, as_json: bool) -> None:
    """Call RUN by another NAME.

    An empty one gives back the name it was started with.
    """
    if name.strip() == "latest":
        raise RunError("latest always means the newest run; choose another name.")
    folder = settings.find(run)
    entry = _annotate(settings, folder, name=name)
    if as_json:
        print_json({"id": folder.id, "name": entry.name})
    else:
        print(clean(entry.title))


def _annotate(
    settings: Settings,
    folder: RunFolder,
    *,
    name: str | None = None,
    tags: tuple[str, ...] | None = None,
    note: str | None = None,
) -> Entry:
    settings.writable()
    history = History(settings.root)
    try:
        return history.annotate(folder.id, name=name, tags=tags, note=note)
    finally:
        say_notices(history)


def say_notices(history: History) -> None:
    """What the index has to say, on stderr."""
    for line in history.notices:
        say(clean(line))
    history.notices.clear()


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@JSON
@shared_options
@click.pass_obj
def delete(settings: Settings, runs: tuple[str, ...], as_json: bool) -> None:
    """Move runs to the trash; restore brings them back."""
    settings.writable()
    folders = list(dict.fromkeys(settings.find(ref) for ref in runs))
    for folder in folders:  # all or none: nothing is deleted when one of them cannot be
        if folder.alive():
            raise RunBusyError(f"Run {folder.id} is being worked on; stop it before deleting it.")
    history = History(settings.root)
    try:
        for folder in folders:
            history.delete(folder.id)
            if not as_json:
                print(folder.id)
                say(f"deleted; moco-tui restore {folder.id} brings it back")
    finally:
        say_notices(history)
    if as_json:
        print_json([{"id": folder.id} for folder in folders])


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN...]")
@JSON
@shared_options
@click.pass_obj
def restore(settings: Settings, runs: tuple[str, ...], as_json: bool) -> None:
    """Bring runs back from the trash, or list what is in it."""
    history = History(settings.root, read_only=settings.read_only)
    if not runs:
        deleted = history.trash()
        if as_json:
            print_json([{"id": entry.id, "name": entry.name} for entry in deleted])
        elif deleted:
            print("\n".join(f"{entry.id}  {clean(entry.name)}".rstrip() for entry in deleted))
        else:
            say("the trash is empty")
        return
    settings.writable()
    ids = [_in_trash(history, ref) for ref in runs]
    try:
        for id_ in ids:
            history.restore(id_)
            if not as_json:
                print(id_)
    finally:
        say_notices(history)
    if as_json:
        print_json([{"id": id_} for id_ in ids])


def _in_trash(history: History, ref: str) -> str:
    from engine.history.history import TRASH_NAME

    if not history.trash():
        raise RunError(f"The trash of {history.root} is empty.")
    if ref == "latest":  # of the trash: the one that was deleted last
        return history.trash()[0].id
    return find(history.root / TRASH_NAME, ref).id
