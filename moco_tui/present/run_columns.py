"""The columns of the list of runs: its own, and any setting or metric as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from engine.config.metrics import metric
from engine.errors import ConfigError
from engine.history.entry import Entry
from engine.history.keys import SPANS, TIMES, Key, metric_names, resolve
from moco_tui.present import fmt
from moco_tui.present.metric_text import value_text
from moco_tui.present.ordered_choice import has_words
from moco_tui.present.run_order import Fold
from moco_tui.present.run_rows import CELLS, RunRow

LEAST_NAME = 14
"""Cells that the name has in any case, unless it stands alone."""
CURVE, OVER_BASE = "curve", "vs base"
"""Columns that show more than a row knows: what is read of a log, and another run."""


GLYPH = " "
"""The state as one character, where there is little room."""


class RunColumn(Struct, frozen=True):
    """A column of the table.

    Attributes:
        title: its head.
        width: in cells; 0 takes what is left.
        text: what a row shows, at a time in unix seconds.
        right: align to the right.
        above: shown in tables of at least this width only.
        below: shown in narrower tables only.
        sort: what the table is sorted by where a person wants it by this column, with ``-`` before
            it where the largest is looked at first; empty: it cannot be.
        name: by which it is chosen; empty: its title.
    """

    title: str
    width: int
    text: Callable[[RunRow, float], str]
    right: bool = False
    above: int = 0
    below: int = 10_000  # wider than any terminal
    sort: str = ""
    name: str = ""

    @property
    def id(self) -> str:
        """The name by which it is chosen."""
        return self.name or self.title


def _queue_or_labels(row: RunRow, now: float) -> str:
    """For narrow tables: a pretraining has a queue size, a probe a share of the labels."""
    return CELLS["labels"](row, now) or CELLS["K"](row, now)


def _state(row: RunRow, now: float) -> str:
    del now
    return f"{row.glyph} {row.status}"


def _nothing(row: RunRow, now: float) -> str:
    """Of a column that the table fills in itself."""
    del row, now
    return ""


# From the left; a table that is too narrow loses the last ones first (see ``fitted``).
COLUMNS = (
    RunColumn("state", 11, _state, above=72, below=84, sort="state"),
    # Beside the preview, whose title has the word.
    RunColumn(GLYPH, 1, lambda row, _: row.glyph, below=72, sort="state"),
    RunColumn(GLYPH, 1, lambda row, _: row.glyph, above=84, below=96, sort="state"),
    RunColumn("state", 11, _state, above=96, sort="state"),
    RunColumn("name", 0, CELLS["title"], sort="name"),
    RunColumn("kind", 8, CELLS["kind"], sort="kind"),
    RunColumn("data", 8, CELLS["data"], above=96, sort="data"),
    RunColumn("K|labels", 8, _queue_or_labels, right=True, below=96, sort="K"),
    RunColumn("K", 6, CELLS["K"], True, above=96, sort="K"),
    RunColumn("labels", 6, CELLS["labels"], True, above=96, sort="labels"),
    RunColumn("task", 8, CELLS["task"], above=120, sort="task"),
    RunColumn("augment", 24, CELLS["augment"], above=136, sort="augment"),
    RunColumn("loss", 7, CELLS["loss"], True, sort="loss"),
    RunColumn(CURVE, 8, _nothing, above=84),
    RunColumn("best", 7, CELLS["best"], True, sort="-best"),
    RunColumn("gain", 6, CELLS["gain"], True, above=108, sort="-gain"),
    RunColumn(OVER_BASE, 7, _nothing, True, sort=f"-{OVER_BASE}"),
    RunColumn("done", 5, CELLS["done"], True, sort="-done"),
    RunColumn("size", 8, CELLS["size"], True, above=120, sort="-size"),
    RunColumn("age", 6, CELLS["age"], True, sort="-created"),
    RunColumn("tags", 14, CELLS["tags"], above=108, sort="tags"),
)
WORDS = {
    "state": "what the run does",
    "name": "its name, or its id",
    "kind": "pretraining, probe or study",
    "data": "images, short",
    "K": "keys in the queue of a pretraining",
    "labels": "share of the labels of a probe",
    "task": "classification task of a probe",
    "augment": "augmentations that are on",
    "loss": "newest loss",
    CURVE: "the loss over the run as a line of blocks",
    "best": "best accuracy that stands for the run",
    "gain": "points over the untrained encoder",
    OVER_BASE: "points over the baseline, which b pins",
    "done": "how much of the run is done",
    "size": "bytes of its files",
    "age": "since it was made",
    "tags": "tags that people gave it",
}
"""What the columns of the list itself show; others say it by their setting or metric."""


def default_columns(*, has_base: bool) -> tuple[RunColumn, ...]:
    """The columns where a person has chosen none; each is shown in the widths that suit it."""
    return tuple(column for column in COLUMNS if has_base or column.title != OVER_BASE)


def chosen_columns(names: Sequence[str], entries: Iterable[Entry]) -> tuple[RunColumn, ...]:
    """The columns that a person has chosen, in that order.

    Args:
        names: of columns, settings and metrics; what can be none is left out.
        entries: all runs, whose metrics can be columns.
    """
    own = {column.id: column for column in COLUMNS}
    known = metric_names(entries)
    found = []
    for name in dict.fromkeys(names):
        if name in own:
            column = own[name]
            found.append(
                RunColumn(column.title, column.width, column.text, column.right, sort=column.sort)
            )
        elif made := _made(name, known):
            found.append(made)
    return tuple(found)


def _made(name: str, metrics: Iterable[str]) -> RunColumn | None:
    """A column of a setting, a metric, or anything else that a run can be filtered by."""
    measured = _metric_of(name)
    if measured:
        key = Key(name, _values_of(name, measured), measured=True)
    else:
        try:
            key = resolve(name, metrics)
        except ConfigError:
            return None
    direction = metric(measured).direction if measured else 0
    title = _title(name, measured)
    width = min(max(len(title), 7), 14)
    text = _text_of(key, measured)
    return RunColumn(title, width, text, True, sort=f"{'-' * (direction > 0)}{name}", name=name)


def _metric_of(name: str) -> str:
    """The metric that a name such as ``best.knn/top1`` means; empty for anything else."""
    rest = name.partition(".")[2] if name.startswith(("best.", "last.")) else name
    return rest if "/" in rest else ""


def _values_of(name: str, measured: str) -> Callable[[Entry], Sequence[Any]]:
    best = name.startswith("best.")

    def values(entry: Entry) -> Sequence[Any]:
        found = entry.best if best else entry.last
        return (found[measured],) if measured in found else ()

    return values


def _title(name: str, measured: str) -> str:
    """The head of a column: of a setting the last part of its key."""
    if not measured:
        return name.rpartition(".")[2]
    short = metric(measured).short or measured
    return f"best {short}" if name.startswith("best.") else short


def _text_of(key: Key, measured: str) -> Callable[[RunRow, float], str]:
    """What a column shows of a row.

    Of a line that stands for several runs the value that they share, or the mean of a measure.
    """

    def text(row: RunRow, now: float) -> str:
        entries = [one.entry for one in row.runs] if isinstance(row, Fold) else [row.entry]
        found = [values for entry in entries if (values := list(key.values(entry)))]
        if measured:
            numbers = [float(v[0]) for v in found if math.isfinite(v[0])]
            if isinstance(row, Fold) and row.kind == "probe":
                return ""
            return value_text(measured, math.fsum(numbers) / len(numbers)) if numbers else ""
        if len(found) != len(entries) or any(values != found[0] for values in found) or not found:
            return ""
        return _plain(key, found[0], now)

    return text


def _plain(key: Key, values: Sequence[Any], now: float) -> str:
    """Values that are no measure."""
    first = values[0]
    if key.name in TIMES:
        return fmt.age(now - first if first else None)
    if key.name in SPANS:
        return fmt.duration(first)
    if key.measured:
        return fmt.number(first)
    return fmt.clean(" ".join(fmt.value(value) for value in values))


def fitted(columns: Sequence[RunColumn], width: int) -> list[tuple[RunColumn, int]]:
    """The columns that fit into a width, with theirs; one cell stands between two.

    Args:
        columns: from the left; of too many the last are left out.
        width: cells of the table.
    """
    shown = [column for column in columns if column.above <= width < column.below]
    flexible = any(not column.width for column in shown)
    least = LEAST_NAME if flexible else 0
    while len(shown) > 2 and width - _fixed(shown) < least:
        # The name is what tells runs apart: it stays.
        last = max(at for at, column in enumerate(shown) if column.width)
        del shown[last]
    left = max(width - _fixed(shown), 4)
    return [(column, column.width or left) for column in shown]


def _fixed(shown: Sequence[RunColumn]) -> int:
    """Cells that all columns but the name take, with what stands between."""
    return sum(column.width for column in shown) + len(shown) + 1


# --------------------------------------------------------------------------------------------
# What can be chosen


class ColumnOffer(Struct, frozen=True):
    """A column that can be chosen.

    Attributes:
        name: by which it is chosen.
        words: what it shows.
    """

    name: str
    words: str


def offers(entries: Sequence[Entry]) -> list[ColumnOffer]:
    """Every column that there is for these runs: the list's own, metrics, settings."""
    from engine.config.fields import fields
    from engine.config.schema import KINDS

    found = dict(WORDS)
    found |= {"id": "the id of the run", "note": "the note on it", "device": "where it was trained"}
    found |= {"duration": "how long it was trained", "preset": "its preset"}
    best = {name for entry in entries for name in entry.best}
    for name in sorted({name for entry in entries for name in entry.last}):
        if not _metric_of(name):
            continue
        title = metric(name).title or "metric"
        found[name] = f"{title}, newest"
        if name in best:
            found[f"best.{name}"] = f"{title}, best"
    for kind in ("pretrain", "probe"):
        for key, field in fields(KINDS[kind]).items():
            found.setdefault(key, field.help or f"setting of a {kind}")
    return [ColumnOffer(fmt.clean(name), fmt.clean(words)) for name, words in found.items()]


def matching(found: Sequence[ColumnOffer], typed: str) -> list[ColumnOffer]:
    """The offers in whose name or words every word that was typed stands; by name first."""
    kept = [one for one in found if has_words(typed, f"{one.name} {one.words}")]
    by_name = [one for one in kept if has_words(typed, one.name)]
    return [*by_name, *(one for one in kept if one not in by_name)]
