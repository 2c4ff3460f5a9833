"""How much disk the runs of a folder and its trash take, as facts and in words."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from engine.config.phrases import plural
from engine.errors import UserError
from engine.history.history import History
from engine.history.trash import DeletedRun
from engine.runs.folder_size import size_of, size_of_all
from moco_tui.present import fmt


class TrashedRow(Struct, frozen=True):
    """A deleted run in a list of the trash; its texts hold no control characters.

    Attributes:
        id, name, kind: of the run.
        size: bytes of its files.
        deleted: when it was deleted, in unix seconds.
    """

    id: str
    name: str
    kind: str
    size: int
    deleted: float

    @property
    def title(self) -> str:
        """Id and name: many may have one name."""
        return f"{self.id} ({self.name})" if self.name else self.id


def trashed_row(history: History, run: DeletedRun) -> TrashedRow:
    """A deleted run with the size of its folder, which is counted now."""
    entry = run.entry
    size = history.trashed.size(entry.id)
    return TrashedRow(entry.id, fmt.clean(entry.name), entry.kind, size, run.deleted)


def trashed_rows(history: History) -> list[TrashedRow]:
    """The trash, what was deleted last first.

    Raises:
        RunError: when the trash cannot be read.
    """
    return [trashed_row(history, run) for run in history.trashed.runs()]


class Usage(Struct, frozen=True):
    """The bytes of a runs folder.

    Attributes:
        runs: how many there are.
        size: bytes of their files.
        trashed: how many runs lie in the trash.
        trash_size: bytes of the trash, with what is left of removals that were cut short.
    """

    runs: int
    size: int
    trashed: int
    trash_size: int


def usage(history: History) -> Usage:
    """Count what the runs folder holds.

    Raises:
        RunError: when it cannot be read.
    """
    entries = history.list()
    size = size_of_all(history.root / entry.id for entry in entries)
    return Usage(len(entries), size, len(history.trash()), size_of(history.trashed.path))


def total_text(found: Usage) -> str:
    """The bytes of the runs and of the trash in a line: ``3 runs, 1.2 GiB; in the trash: ...``."""
    text = f"{plural(found.runs, 'run')}, {fmt.size(found.size)}"
    if not found.trash_size and not found.trashed:
        return f"{text}; the trash is empty"
    trashed = plural(found.trashed, "run")
    return f"{text}; in the trash {trashed}, {fmt.size(found.trash_size)} (moco-tui trash)"


class Emptied(Struct, frozen=True):
    """What the emptying of the trash has done.

    Attributes:
        removed: ids of the runs that are gone.
        freed: bytes of their files, and of what earlier removals had left.
        failed: a sentence for each run that stays.
    """

    removed: tuple[str, ...]
    freed: int
    failed: tuple[str, ...]


def empty_trash(history: History, ids: Sequence[str]) -> Emptied:
    """Remove deleted runs for good, and what earlier removals have left.

    One that cannot be removed keeps none of the others. What another process has brought back or
    removed meanwhile is left out.

    Args:
        history: of the runs folder.
        ids: of the runs.
    """
    before = size_of(history.trashed.path)
    removed, failed = [], []
    # A study says what went with it: where this is cut short, it is there longest.
    for id_ in reversed(ids):  # what was deleted last, such as the study, goes last
        if not history.trashed.has(id_):
            continue
        try:
            history.purge(id_)
            removed.append(id_)
        except UserError as error:
            failed.append(str(error))
    for path in history.trashed.remains():
        try:
            history.trashed.remove(path)
        except UserError as error:
            if str(error) not in failed:
                failed.append(str(error))
    freed = max(before - size_of(history.trashed.path), 0)
    return Emptied(tuple(removed), freed, tuple(failed))


def remains_text(size: int) -> str:
    """A sentence on what removals that were cut short have left."""
    return (
        f"A removal was cut short: {fmt.size(size)} that belong to no run any more; moco-tui trash "
        "--empty removes them."
    )


def removal_question(rows: Sequence[TrashedRow], *, left_over: int = 0) -> str:
    """What a removal for good takes away, before it is asked for.

    Args:
        rows: what goes; may be empty.
        left_over: bytes that earlier removals have left, which go as well.
    """
    size = fmt.size(sum(row.size for row in rows) + left_over)
    if not rows:
        return f"Remove for good what earlier removals have left: {size}."
    return f"Remove {_named(rows)} for good: {size}. Nothing brings that back."


def _named(rows: Sequence[TrashedRow], most: int = 3) -> str:
    named = ", ".join(row.title for row in rows[:most])
    if len(rows) == 1:
        return f"the run {named}"
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"{plural(len(rows), 'run')}, {named}{more},"
