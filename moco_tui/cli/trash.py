"""The command that lists the trash, and empties it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from engine.errors import ConfigError, RunError, UserError
from engine.history.history import History
from engine.history.units import seconds_of
from engine.runs.folder_size import size_of_all
from engine.text import shorten
from moco_tui.cli.options import JSON, Settings, shared_options
from moco_tui.cli.output import confirmed, print_json, print_text, say, say_notices, table
from moco_tui.present import fmt
from moco_tui.present.disk_usage import (
    TrashedRow,
    empty_trash,
    remains_text,
    removal_question,
    trashed_rows,
)


@click.command()
@click.option("--empty", is_flag=True, help="Remove what lies there for good; asks first.")
@click.option(
    "--older-than", default="", metavar="AGE", help="Only what was deleted longer ago, as 30d."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
@shared_options
@click.pass_obj
def trash(settings: Settings, empty: bool, older_than: str, yes: bool, as_json: bool) -> None:
    """List what lies in the trash and what it takes, or empty it for good.

    What was deleted last comes first. restore brings a run back; --empty removes all of them, with
    --older-than those that were deleted longer ago than 30d, 12h or 2w, and gives the disk back.
    """
    history = History(settings.root, read_only=settings.read_only)
    rows = _older(trashed_rows(history), older_than)
    if empty:
        settings.writable()
        _empty(history, rows, yes=yes, as_json=as_json, older_than=older_than)
        return
    if as_json:
        print_json([_facts(row) for row in rows])
        return
    if rows:
        print_text(_listing(rows))
    left = size_of_all(history.trashed.remains())
    if rows:
        size = fmt.size(sum(row.size for row in rows))
        say(f"{size} in all; moco-tui trash --empty gives it back")
    elif not left:
        say(_nothing(older_than))
    if left:
        say(remains_text(left))


def _facts(row: TrashedRow) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "size": row.size,
        "deleted": row.deleted,
    }


def _listing(rows: Sequence[TrashedRow]) -> str:
    now = time.time()
    cells = [
        [row.id, row.name, row.kind, fmt.size(row.size), fmt.ago(now - row.deleted)] for row in rows
    ]
    return table(["id", "name", "kind", "size", "deleted"], cells, [3])


def _older(rows: Sequence[TrashedRow], span: str) -> list[TrashedRow]:
    """The runs that were deleted longer ago than a span; all for an empty one.

    Raises:
        ConfigError: when it is no span.
    """
    if not span:
        return list(rows)
    seconds = seconds_of(span)
    if seconds is None or not 0 <= seconds < float("inf"):
        raise ConfigError(f"--older-than {shorten(span)}: it must be a time such as 30d or 12h.")
    return [row for row in rows if row.deleted <= time.time() - seconds]


def _nothing(older_than: str) -> str:
    if older_than:
        return f"nothing in the trash was deleted longer than {older_than} ago"
    return "the trash is empty"


def _empty(
    history: History, rows: Sequence[TrashedRow], *, yes: bool, as_json: bool, older_than: str
) -> None:
    """Remove runs from the trash for good, and what earlier removals have left.

    Raises:
        UserError: when it is not meant, or there is nobody to ask.
        RunError: when some could not be removed; the others are gone.
    """
    left = size_of_all(history.trashed.remains())
    if not rows and not history.trashed.remains():
        if as_json:
            print_json({"removed": [], "freed": 0})
        else:
            say(_nothing(older_than))
        return
    say(removal_question(rows, left_over=left))
    if not yes and not confirmed("Remove it for good?"):
        raise UserError("Nothing was removed: --yes removes without a question.")
    try:
        done = empty_trash(history, [row.id for row in rows])
    finally:
        say_notices(history)
    if as_json:
        print_json({"removed": list(done.removed), "freed": done.freed})
    elif done.removed:
        print("\n".join(done.removed))
    if not as_json:
        say(f"{fmt.size(done.freed)} given back")
    if done.failed:
        more = f" ({len(done.failed) - 1} more could not be removed.)" if done.failed[1:] else ""
        raise RunError(done.failed[0] + more)
