"""The command that adds and removes the tags of a run."""

from __future__ import annotations

from collections.abc import Iterable

import click

from engine.errors import RunError
from engine.runs import UserNotes, clean_tags, described
from moco_tui.cli.annotate import annotate
from moco_tui.cli.options import JSON, RUN, Settings, shared_options
from moco_tui.cli.output import clean, print_json, say


@click.command(
    # A word such as -slow is a tag to take away, not an option. click takes a word apart into
    # single letters, so -hard would ask for help if -h did.
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]}
)
@RUN
@click.argument("changes", nargs=-1, type=click.UNPROCESSED, metavar="[+TAG|-TAG|TAG]...")
@JSON
@shared_options
@click.pass_obj
def tag(settings: Settings, run: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Add (+TAG or TAG) and remove (-TAG) tags of RUN.

    Without a TAG, print those it has.
    """
    folder = settings.find(run)
    words = [(_tag_in(change), change.startswith("-")) for change in changes]
    absent: list[str] = []

    def update(notes: UserNotes) -> None:
        notes.tags, absent[:] = _changed(notes.tags, words)

    tags = annotate(settings, folder, update).tags if words else folder.user().tags
    for word in absent:
        say(f"run {folder.id} has no tag {clean(word)}")
    if as_json:
        print_json({"id": folder.id, "tags": list(tags)})
        return
    if changes:
        say(f"tags of {clean(described(folder))}:" + ("" if tags else " none"))
    if tags:
        print(clean(" ".join(tags)))


def _changed(
    tags: Iterable[str], words: Iterable[tuple[str, bool]]
) -> tuple[tuple[str, ...], list[str]]:
    """The tags after the changes, and those to remove that were not there.

    Args:
        tags: before.
        words: tags, each with whether it is to be removed.
    """
    after = set(tags)
    absent = []
    for word, is_removed in words:
        if not is_removed:
            after.add(word)
        elif word in after:
            after.remove(word)
        else:
            absent.append(word)
    return tuple(sorted(after)), absent


def _tag_in(change: str) -> str:
    """The tag that ``+TAG``, ``-TAG`` or ``TAG`` names."""
    words = clean_tags([change[1:] if change[:1] in ("+", "-") else change])
    if change.startswith("--") or len(words) != 1:
        raise RunError(f"{clean(change)} is no tag; write +TAG to add one, -TAG to remove one.")
    return words[0]
