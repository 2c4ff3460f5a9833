"""The command that lists the runs: filtered, sorted, as a table that fits the terminal."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from engine.history.entry import DAMAGED, Entry
from engine.history.history import History
from moco_tui.cli.common import (
    Settings,
    age,
    clean,
    cut,
    figure,
    print_json,
    say,
    shared_options,
    table,
    terminal_width,
    width_of,
)
from moco_tui.cli.output import say_notices
from moco_tui.present import fmt
from moco_tui.present.glance import accuracy, augmentations


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
@shared_options
@click.pass_obj
def runs(
    settings: Settings, query: str, sort: str, limit: int | None, as_json: bool, as_csv: bool
) -> None:
    """List the runs, the newest first.

    A filter compares columns, settings and metrics (status:running, queue_size=4096, knn>60,
    tag:keep, age<2d), joined by and, or, not and brackets; a bare word is looked for in names,
    ids, tags and notes. Probes stand under the run that they probe.
    """
    history = History(settings.root, read_only=settings.read_only)
    entries = _sorted(history, query, sort)[:limit]
    say_notices(history)
    if as_json:
        print_json([facts(entry) for entry in entries])
    elif as_csv:
        _print_csv(entries)
    elif not entries:
        say("no run matches" if query.strip() else f"there are no runs in {settings.root}")
    else:
        print(listing(entries, terminal_width()))
        for entry in [entry for entry in entries if entry.status == DAMAGED][:5]:
            say(clean(entry.error))


# --------------------------------------------------------------------------------------------
# What a run shows


def loss(entry: Entry) -> float | None:
    """The last loss of the training."""
    return entry.last.get("train/loss")


def facts(entry: Entry) -> dict[str, Any]:
    """A run as builtin values."""
    known = msgspec.structs.asdict(entry)
    state, hidden = known.pop("status"), ("stamp", "warning", "config")
    ahead = {"id": known.pop("id"), "name": known.pop("name"), "state": state}
    settings = {
        "data": entry.setting("data.source"),
        "queue_size": entry.setting("moco.queue_size"),
        "augmentations": augmentations(entry),
        "label_fraction": entry.setting("label_fraction"),
        "task": entry.setting("task.name"),
        "head": entry.setting("head"),
    }
    rest = {key: value for key, value in known.items() if key not in hidden}
    return {**ahead, **rest, **settings, "differs": entry.config}


def _state(entry: Entry) -> str:
    return entry.status


def _data(entry: Entry) -> str:
    source = str(entry.setting("data.source") or "")
    return source.rstrip("/").rpartition("/")[2] if source.startswith("folder:") else source


def _number(value: Any) -> str:
    return "" if value is None else fmt.value(value)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _labels(entry: Entry) -> str:
    fraction = entry.setting("label_fraction")
    return "" if fraction is None else f"{100 * fraction:g} %"


def _step(entry: Entry) -> str:
    return f"{entry.step}/{entry.total_steps}" if entry.total_steps else ""


@dataclass(frozen=True)
class _Column:
    """A column of the table.

    Attributes:
        title: its head, which is also a key to sort by.
        text: what stands in it.
        right: aligned to the right.
        least: width that it may be cut to; None: never cut.
        rank: columns of a higher rank are left out earlier where the terminal is narrow.
    """

    title: str
    text: Callable[[Entry], str]
    right: bool = False
    least: int | None = None
    rank: int = 0


_COLUMNS = (
    _Column("id", lambda e: e.id),
    _Column("name", lambda e: e.name, least=12),
    _Column("state", _state),
    _Column("kind", lambda e: e.kind, rank=2),
    _Column("data", _data, least=7, rank=5),
    _Column("K", lambda e: _number(e.setting("moco.queue_size")), right=True),
    _Column("augment", lambda e: " ".join(augmentations(e)), least=10, rank=8),
    _Column("labels", _labels, right=True, rank=1),
    _Column("step", _step, right=True, rank=6),
    _Column("loss", lambda e: "" if loss(e) is None else figure(loss(e)), right=True, rank=3),
    _Column("top-1", lambda e: _percent(accuracy(e.last)), right=True),
    _Column("best", lambda e: _percent(accuracy(e.best)), right=True, rank=4),
    _Column("age", lambda e: age(e.created), right=True),
    _Column("tags", lambda e: " ".join(e.tags), least=6, rank=7),
)

# Heads of columns that are no keys of the filter language.
_KEYS = {"K": "queue_size", "labels": "label_fraction"}
_VALUES: dict[str, Callable[[Entry], Any]] = {
    "augment": lambda e: " ".join(augmentations(e)) or None,
    "top-1": lambda e: accuracy(e.last),
    "best": lambda e: accuracy(e.best),
}


def _sorted(history: History, query: str, sort: str) -> list[Entry]:
    down, key = sort.startswith("-"), sort.removeprefix("-")
    if key not in _VALUES:
        return history.list(query, sort="-" * down + _KEYS.get(key, key))
    value = _VALUES[key]
    entries = history.list(query)
    # A run without the value, or with NaN, comes last either way.
    have = [e for e in entries if value(e) is not None and value(e) == value(e)]
    kept = {e.id for e in have}
    have.sort(key=value, reverse=down)
    return have + [e for e in entries if e.id not in kept]


# --------------------------------------------------------------------------------------------
# The table


def listing(entries: Sequence[Entry], width: int | None = None) -> str:
    """The runs as a table, probes indented under their parent where that is listed too.

    Args:
        entries: in the order wanted.
        width: columns of the terminal; None: as wide as it takes.
    """
    rows = [
        [
            ("  " * depth if column.title == "id" else "") + clean(column.text(entry))
            for column in _COLUMNS
        ]
        for entry, depth in nested(entries)
    ]
    shown = [i for i in range(len(_COLUMNS)) if i < 3 or any(row[i] for row in rows)]
    natural = [
        max(width_of(_COLUMNS[i].title), *(width_of(row[i]) for row in rows))
        for i in range(len(_COLUMNS))
    ]
    widths = _fit(shown, natural, width)
    return table(
        [cut(_COLUMNS[i].title, w) for i, w in widths.items()],
        [[cut(row[i], w) for i, w in widths.items()] for row in rows],
        [at for at, i in enumerate(widths) if _COLUMNS[i].right],
    )


def nested(entries: Iterable[Entry]) -> list[tuple[Entry, int]]:
    """The runs with their depth, each after the one whose encoder it stands on."""
    entries = list(entries)
    ids = {entry.id for entry in entries}
    below: dict[str, list[Entry]] = {}
    for entry in entries:
        parent = entry.parent if entry.parent in ids and entry.parent != entry.id else ""
        below.setdefault(parent, []).append(entry)
    out: list[tuple[Entry, int]] = []

    def place(parent: str, depth: int) -> None:
        for entry in below.pop(parent, []):
            out.append((entry, depth))
            place(entry.id, depth + 1)

    place("", 0)
    while below:  # a ring of parents, which only a hand can have written: nothing disappears
        place(next(iter(below)), 0)
    return out


def _fit(shown: list[int], natural: list[int], width: int | None) -> dict[int, int]:
    """Widths of the columns that fit: texts are cut first, then columns left out by rank."""
    shown = list(shown)
    while True:
        widths = {i: natural[i] for i in shown}
        if width is None:
            return widths
        over = sum(widths.values()) + 2 * (len(widths) - 1) - width
        while over > 0:
            room = [i for i in shown if widths[i] > (_COLUMNS[i].least or widths[i])]
            if not room:
                break
            widths[max(room, key=lambda i: widths[i])] -= 1
            over -= 1
        extra = [i for i in shown if _COLUMNS[i].rank]
        if over <= 0 or not extra:
            return widths
        shown.remove(max(extra, key=lambda i: _COLUMNS[i].rank))


# --------------------------------------------------------------------------------------------
# CSV


def _print_csv(entries: Sequence[Entry]) -> None:
    header = [
        *("id", "name", "state", "kind", "preset", "parent", "data", "queue_size"),
        *("augmentations", "label_fraction", "task", "head", "seed", "step", "total_steps"),
        *("epoch", "loss", "top1", "best_top1", "created", "started", "ended", "host", "device"),
        *("tags", "note", "error"),
    ]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    for entry in entries:
        row = facts(entry)
        row |= {"loss": loss(entry)}
        row |= {"top1": accuracy(entry.last), "best_top1": accuracy(entry.best)}
        row |= {key: _moment(row[key]) for key in ("created", "started", "ended")}
        row |= {key: " ".join(row[key]) for key in ("augmentations", "tags")}
        writer.writerow(["" if row[key] is None else clean(str(row[key])) for key in header])


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
