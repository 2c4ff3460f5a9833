"""The order of the rows: sorted, probes under their pretraining, the runs of a study under it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from engine.history.keys import sort_entries
from engine.history.shown import state_rank
from moco_tui.present.run_rows import RunRow

FOLD_ABOVE = 5
"""More probes than this under a run are folded into a line."""


class Fold(RunRow):
    """A line that stands for the probes under a run; what it shows is of all of them.

    Attributes:
        count: how many there are.
        open: whether they follow below it.
        folds: id by which it is shown or hidden: that of the run over it.
        what: what they are called.
        runs: they.
    """

    count: int = 0
    open: bool = False
    folds: str = ""
    what: str = "probes"
    runs: tuple[RunRow, ...] = ()


def fold_of(parent: str, probes: list[RunRow], *, open_: bool) -> Fold:
    """The line over the probes of a run: the state to look at first, the best, how many are done.

    Args:
        parent: id of the run.
        probes: at least one.
        open_: whether they are shown below it.
    """
    # On one data set alone: on others the numbers measure something else.
    data = min({row.source for row in probes})  # empty, the pretraining's own, comes first
    alike = [row for row in probes if row.source == data]
    # Of the furthest encoder alone: those of earlier steps are other encoders.
    furthest = max((row.trained for row in alike if row.trained is not None), default=None)
    # Without NaN, which max would give back when it comes first.
    best = [
        row.best
        for row in alike
        if row.trained == furthest and row.best is not None and row.best == row.best
    ]
    return Fold(
        id=f"{parent}/probes",
        entry=probes[0].entry,
        kind="probe",
        name=f"{'▾' if open_ else '▸'} {len(probes)} probes",
        status=min((row.status for row in probes), key=state_rank),
        parent=parent,
        best=max(best, default=None),
        share=sum(row.status == "finished" for row in probes) / len(probes),
        created=max(row.created for row in probes),
        count=len(probes),
        open=open_,
        folds=parent,
        runs=tuple(probes),
    )


SORTS = ("-created", "name", "state", "kind", "data", "K", "loss", "-best", "labels", "-size")
"""Keys that the table is sorted by in turn, each in the direction that is looked at first."""


DIFFERENCE = "vs base"
"""A key beside those of the filter language: points over the baseline."""


Group = Callable[[Sequence[RunRow], Container[str] | None], tuple[list[RunRow], dict[str, str]]]
"""Gives rows with lines among them, and the id of its line for each run that stands under one."""


class _HasParent(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def parent(self) -> str: ...


Row = TypeVar("Row", bound=_HasParent)


def _parent(row: _HasParent) -> str:
    return row.parent


def nested(
    rows: Iterable[Row],
    fold: Callable[[Row, list[Row]], list[Row]] | None = None,
    above: Callable[[Row], str] = _parent,
) -> list[tuple[Row, int]]:
    """Rows with their depth, each after the one that is its parent, else in the order given.

    A row whose parent is not among them stands by itself; rows whose parents form a ring, which
    only an edited record can have, are all there.

    Args:
        rows: anything with an id and the id of a parent.
        fold: what stands under a row in place of these rows; None: they do. What stands under one
            of those that it leaves out is left out as well.
        above: the id of a row's parent.
    """
    rows = list(rows)
    ids = {row.id for row in rows}
    below: dict[str, list[Row]] = {}  # rows by the id of their parent; "": those of the top
    for row in rows:
        parent = above(row)
        parent = parent if parent in ids and parent != row.id else ""
        below.setdefault(parent, []).append(row)
    out: list[tuple[Row, int]] = []

    def place(group: list[Row], depth: int) -> None:
        for row in group:
            out.append((row, depth))
            children = below.pop(row.id, None)
            if children:
                shown = children if fold is None else fold(row, children)
                place(shown, depth + 1)
                kept = {child.id for child in shown}
                leave_out([child for child in children if child.id not in kept])

    def leave_out(group: list[Row]) -> None:
        for row in group:
            leave_out(below.pop(row.id, []))

    place(below.pop("", []), 0)
    while below:  # a ring, which nothing at the top leads to
        place(below.pop(next(iter(below))), 0)
    return out


def arrange(
    rows: Iterable[RunRow],
    key: str = "-created",
    reverse: bool = False,
    unfolded: Container[str] | None = None,
    difference: Callable[[RunRow], float | None] | None = None,
    group: Group | None = None,
) -> list[tuple[RunRow, int]]:
    """Rows in order, each with its depth: probes under the run whose encoder they stand on.

    What a study made stands under the study.

    Args:
        rows: the runs.
        key: what they are sorted by, as ``moco-tui runs --sort`` takes it.
        reverse: the other way round; runs without the value stay last.
        unfolded: ids of the runs all of whose probes are shown, and of the studies whose runs are;
            under the others many probes are one ``Fold``. None: nothing is folded.
        difference: what the key ``vs base`` stands for.
        group: puts lines over some of the runs, see ``run_groups.with_groups``; None: none.
    """
    by_id = {row.id: row for row in rows}
    if reverse:
        key = key[1:] if key.startswith("-") else f"-{key}"
    ordered = _ordered(by_id, key, difference)
    groups: dict[str, str] = {}
    if group is not None:
        ordered, groups = group(ordered, unfolded)

    def above(row: RunRow) -> str:
        return groups.get(row.id) or row.above

    if unfolded is None:
        return nested(ordered, above=above)
    lines = set(groups.values())

    def fold(parent: RunRow, children: list[RunRow]) -> list[RunRow]:
        if parent.kind == "study" or parent.id in lines:
            return children if parent.id in unfolded else []
        probes = [row for row in children if row.kind == "probe"]
        if len(probes) <= FOLD_ABOVE:
            return children
        line = fold_of(parent.id, probes, open_=parent.id in unfolded)
        shown = children if line.open else [row for row in children if row.kind != "probe"]
        return [line, *shown]

    return nested(ordered, fold, above)


def _ordered(
    by_id: Mapping[str, RunRow], key: str, difference: Callable[[RunRow], float | None] | None
) -> list[RunRow]:
    """The rows in order of a key of the filter language, or of their difference to a run."""
    if key.removeprefix("-") != DIFFERENCE:
        return [by_id[e.id] for e in sort_entries((row.entry for row in by_id.values()), key)]
    newest = [by_id[e.id] for e in sort_entries((r.entry for r in by_id.values()), "-created")]
    known = {row.id: difference(row) if difference is not None else None for row in newest}
    have = [(value, row) for row in newest if (value := known[row.id]) is not None]
    have.sort(key=lambda pair: pair[0], reverse=key.startswith("-"))
    return [row for _, row in have] + [row for row in newest if known[row.id] is None]
