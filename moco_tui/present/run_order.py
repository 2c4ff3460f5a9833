"""The order of the rows: sorted, probes under the run whose encoder they stand on, many folded."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any, Protocol, TypeVar

from moco_tui.present.run_rows import RunRow

FOLD_ABOVE = 5
"""More probes than this under a run are folded into a line."""


class Fold(RunRow):
    """A line that stands for the probes under a run; what it shows is of all of them.

    Attributes:
        count: how many there are.
        open: whether they follow below it.
    """

    count: int = 0
    open: bool = False


def fold_of(parent: str, probes: list[RunRow], *, open_: bool) -> Fold:
    """The line over the probes of a run: the state to look at first, the best, how many are done.

    Args:
        parent: id of the run.
        probes: at least one.
        open_: whether they are shown below it.
    """
    # Without NaN, which max would give back when it comes first.
    best = [row.best for row in probes if row.best is not None and row.best == row.best]
    return Fold(
        id=f"{parent}/probes",
        entry=probes[0].entry,
        kind="probe",
        name=f"{'▾' if open_ else '▸'} {len(probes)} probes",
        status=min(probes, key=lambda row: sort_key(row, "state")).status,
        parent=parent,
        best=max(best, default=None),
        share=sum(row.status == "finished" for row in probes) / len(probes),
        created=max(row.created for row in probes),
        count=len(probes),
        open=open_,
    )


SORTS = ("created", "name", "state", "kind", "data", "K", "loss", "accuracy", "labels")


def sort_key(row: RunRow, key: str) -> Any:
    """What a row is sorted by: first whether it lacks the value (or has NaN), then the value.

    So rows without the value come last, and first where the order is reversed.

    Args:
        row: of the table.
        key: one of ``SORTS``.
    """
    match key:
        case "name":
            return (0, row.title.lower())
        case "state":
            order = ("running", "paused", "queued", "handed-over", "lost", "failed", "stopped")
            return (0, order.index(row.status) if row.status in order else len(order))
        case "kind":
            return (0, row.kind)
        case "data":
            return (not row.data, row.data)
        case "K":
            return (row.queue is None, row.queue or 0)
        case "loss":
            return (row.last is None or row.last != row.last, row.last or 0.0)
        case "accuracy":
            return (row.best is None or row.best != row.best, -(row.best or 0.0))
        case "labels":
            return (row.labels is None, row.labels or 0.0)
    return (0, -row.created)


class _HasParent(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def parent(self) -> str: ...


Row = TypeVar("Row", bound=_HasParent)


def nested(
    rows: Iterable[Row], fold: Callable[[Row, list[Row]], list[Row]] | None = None
) -> list[tuple[Row, int]]:
    """Rows with their depth, each after the one that is its parent, else in the order given.

    A row whose parent is not among them stands by itself; rows whose parents form a ring, which
    only an edited record can have, are all there.

    Args:
        rows: anything with an id and the id of a parent.
        fold: what stands under a row in place of these rows; None: they do.
    """
    rows = list(rows)
    ids = {row.id for row in rows}
    below: dict[str, list[Row]] = {}  # rows by the id of their parent; "": those of the top
    for row in rows:
        parent = row.parent if row.parent in ids and row.parent != row.id else ""
        below.setdefault(parent, []).append(row)
    out: list[tuple[Row, int]] = []

    def place(group: list[Row], depth: int) -> None:
        for row in group:
            out.append((row, depth))
            children = below.pop(row.id, None)
            if children:
                place(children if fold is None else fold(row, children), depth + 1)

    place(below.pop("", []), 0)
    while below:  # a ring, which nothing at the top leads to
        place(below.pop(next(iter(below))), 0)
    return out


def arrange(
    rows: Iterable[RunRow],
    key: str = "created",
    reverse: bool = False,
    unfolded: Container[str] | None = None,
) -> list[tuple[RunRow, int]]:
    """Rows in order, each with its depth: probes under the run whose encoder they stand on.

    Args:
        rows: the runs.
        key: what they are sorted by, one of ``SORTS``.
        reverse: the other way round.
        unfolded: ids of the runs all of whose probes are shown; under the others many probes are
            one ``Fold``. None: nothing is folded.
    """
    # Sorting is stable, also in reverse: rows that are equal in the key stay the newest first.
    ordered = sorted(rows, key=lambda row: (-row.created, row.id))
    ordered.sort(key=lambda row: sort_key(row, key), reverse=reverse)
    if unfolded is None:
        return nested(ordered)

    def fold(parent: RunRow, children: list[RunRow]) -> list[RunRow]:
        probes = [row for row in children if row.kind == "probe"]
        if len(probes) <= FOLD_ABOVE:
            return children
        line = fold_of(parent.id, probes, open_=parent.id in unfolded)
        shown = children if line.open else [row for row in children if row.kind != "probe"]
        return [line, *shown]

    return nested(ordered, fold)
