"""The command that lists the runs: filtered, sorted, as a table that fits the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from engine.history.entry import DAMAGED, UNREADABLE
from engine.history.history import History
from moco_tui.cli.options import Settings, shared_options
from moco_tui.cli.output import (
    clean,
    cut,
    print_json,
    print_text,
    say,
    say_notices,
    table,
    terminal_width,
    width_of,
)
from moco_tui.cli.user_notifier import tell_losses
from moco_tui.present.disk_usage import total_text, usage
from moco_tui.present.run_facts import facts, to_csv
from moco_tui.present.run_order import nested
from moco_tui.present.run_rows import CELLS, RunRow, row_of
from moco_tui.present.slurm_jobs import SlurmJobs, may_wait
from moco_tui.present.study_rows import StudyRows


@click.command()
@click.option(
    "--filter", "query", default="", metavar="EXPR", help="For example: 'kind:probe knn>60'."
)
@click.option(
    "--sort",
    default="-created",
    metavar="KEY",
    help="A column, a setting or a metric; -KEY: largest first. [default: -created]",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--tree", is_flag=True, help="What a study made under the study.")
@click.option("--sizes", is_flag=True, help="Count the files of each run: a column and a total.")
@shared_options
@click.pass_obj
def runs(
    settings: Settings,
    query: str,
    sort: str,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    tree: bool,
    sizes: bool,
) -> None:
    """List the runs, the newest first.

    A filter compares columns, settings and metrics (state:running, K=4096, top1>60, knn>60,
    tag:keep, age<2d), joined by and, or, not and brackets; a bare word is looked for in names,
    ids, tags and notes. Every heading of the table is a key to filter and sort by, in the unit
    that it shows: top1>30 and top1>30% are the same. A share among the settings counts from 0 to
    1, as it is set: label_fraction<=0.2, or <=20%. Runs without the value come last in every
    order. Probes stand under the run that they probe; with --tree also what a study made under the
    study, and runs that a study counts without having made them say so. "trained" is how much of
    its schedule their encoder had behind it. Runs are compared by the bytes of their files as
    well: size>1GiB, --sort -size.
    """
    history = History(settings.root, read_only=settings.read_only)
    if sizes or as_json or as_csv or _names_size(query, sort):
        history.count_sizes(again=sizes)
    rows = [row_of(entry) for entry in history.list(query, sort=sort)[:limit]]
    say_notices(history)
    jobs = SlurmJobs(settings.root)
    jobs.look(may_wait(rows))
    rows = list(jobs.told({row.id: row for row in rows}).values())
    if tree:
        rows = _with_studies(settings, history, rows)
    if as_json:
        print_json([facts(row) | (_place(row) if tree else {}) for row in rows])
    elif as_csv:
        sys.stdout.write(to_csv(rows))
    elif not rows:
        say("no run matches" if query.strip() else f"there are no runs in {settings.root}")
    else:
        by_size = sizes or _names_size("", sort)
        print_text(listing(rows, terminal_width(), tree=tree, sizes=by_size))
        for row in [row for row in rows if row.status in (DAMAGED, UNREADABLE)][:5]:
            say(row.error)
    if sizes:
        say(total_text(usage(history)))
    if not settings.read_only:
        tell_losses(settings.root, [row.entry for row in rows])


def _names_size(query: str, sort: str) -> bool:
    """Whether a list needs the sizes of the runs; counting them in vain costs only time."""
    return "size" in query.lower() or sort.lower().removeprefix("-") == "size"


# --------------------------------------------------------------------------------------------
# What a run shows


def _with_studies(settings: Settings, history: History, rows: list[RunRow]) -> list[RunRow]:
    """The rows with their place under a study, which all runs together tell."""
    everything = {entry.id: row_of(entry) for entry in history.list()}
    placed = StudyRows(settings.root).related(everything)
    return [placed.get(row.id, row) for row in rows]


def _place(row: RunRow) -> dict[str, Any]:
    """Where a run stands, as builtin values."""
    members = row.members and msgspec.to_builtins(row.members)
    return {"study": row.study or None, "used_by": list(row.used_by), "cells": members}


@dataclass(frozen=True)
class _Column:
    """A column of the table.

    Attributes:
        title: its head, which is also a key to filter and sort by, and names the cell of a row.
        right: aligned to the right.
        least: width that it may be cut to; None: never cut.
        rank: columns of a higher rank are left out earlier where the terminal is narrow.
    """

    title: str
    right: bool = False
    least: int | None = None
    rank: int = 0


COLUMNS = (
    _Column("id"),
    _Column("name", least=12),
    _Column("state"),
    _Column("kind", rank=2),
    _Column("data", least=7, rank=5),
    _Column("K", right=True),
    _Column("augment", least=10, rank=8),
    _Column("labels", right=True, rank=1),
    _Column("trained", right=True, rank=9),
    _Column("step", right=True, rank=6),
    _Column("loss", right=True, rank=3),
    _Column("top-1", right=True),
    _Column("best", right=True, rank=4),
    _Column("gain", right=True, rank=5),
    _Column("size", right=True),
    _Column("age", right=True),
    _Column("tags", least=6, rank=7),
)

# --------------------------------------------------------------------------------------------
# The table


def listing(
    rows: Sequence[RunRow],
    width: int | None = None,
    *,
    tree: bool = False,
    sizes: bool = False,
) -> str:
    """The runs as a table, probes indented under their parent where that is listed too.

    Args:
        rows: in the order wanted.
        width: columns of the terminal; None: as wide as it takes.
        tree: put what a study made under the study.
        sizes: with the column of the bytes of each run.
    """
    now = time.time()
    cells = [
        [
            ("  " * depth if column.title == "id" else "") + clean(_cell(row, column.title, now))
            if sizes or column.title != "size"
            else ""
            for column in COLUMNS
        ]
        for row, depth in (nested(rows, above=lambda row: row.above) if tree else nested(rows))
    ]
    # Id, name and state always, other columns where a run has something to show in them.
    shown = [i for i in range(len(COLUMNS)) if i < 3 or any(row[i] for row in cells)]
    natural = [
        max(width_of(COLUMNS[i].title), *(width_of(row[i]) for row in cells))
        for i in range(len(COLUMNS))
    ]
    widths = _fit(shown, natural, width)
    return table(
        [cut(COLUMNS[i].title, w) for i, w in widths.items()],
        [[cut(row[i], w) for i, w in widths.items()] for row in cells],
        [at for at, i in enumerate(widths) if COLUMNS[i].right],
    )


def _cell(row: RunRow, title: str, now: float) -> str:
    """The text of a cell.

    Beside the name what a study has reached, which one uses a run, what a run went on from, or
    what it waits for in Slurm.
    """
    text = CELLS[title](row, now)
    if title != "name":
        return text
    if row.entry.began_from:
        text = f"{text} (from {row.entry.began_from})".lstrip()
    if row.job:
        text = f"{text} ({row.job})".lstrip()
    if row.members is not None:
        return f"{text}: {row.members.text}"
    return f"{text} (used by {row.used_by[0]})" if row.used_by and not row.study else text


def _fit(shown: list[int], natural: list[int], width: int | None) -> dict[int, int]:
    """Widths of the columns that fit: texts are cut first, then columns left out by rank."""
    shown = list(shown)
    while True:
        widths = {i: natural[i] for i in shown}
        if width is None:
            return widths
        # ``table`` puts two spaces between columns.
        over = sum(widths.values()) + 2 * (len(widths) - 1) - width
        while over > 0:
            can_shrink = [i for i in shown if widths[i] > (COLUMNS[i].least or widths[i])]
            if not can_shrink:
                break
            widths[max(can_shrink, key=lambda i: widths[i])] -= 1  # a character of the widest
            over -= 1
        optional = [i for i in shown if COLUMNS[i].rank]
        if over <= 0 or not optional:
            return widths
        # One column less, and every text is tried at its whole width again.
        shown.remove(max(optional, key=lambda i: COLUMNS[i].rank))
