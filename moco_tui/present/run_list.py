"""All runs of a folder as rows for the table: read once, afterwards only what changed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.history.entry import Entry, read_entry
from engine.history.history import History
from engine.runs import RunFolder
from moco_tui.present import fmt
from moco_tui.present.glance import accuracy, augmentations

LIVE = frozenset({"queued", "running", "paused", "handed-over"})
"""States that may change at any moment."""

GLYPHS = {
    "queued": "○",
    "running": "▸",
    "paused": "‖",
    "finished": "✓",
    "stopped": "■",
    "failed": "✗",
    "handed-over": "→",
    "lost": "?",
    "damaged": "!",
}


@dataclass(slots=True)
class RunRow:
    """What the table shows of a run; ``entry`` is what filters look at."""

    id: str
    entry: Entry
    kind: str = ""
    name: str = ""
    status: str = ""
    preset: str = ""
    parent: str = ""
    source: str = ""
    data: str = ""
    queue: int | None = None
    augment: str = ""
    labels: float | None = None
    task: str = ""
    head: str = ""
    last: float | None = None
    best: float | None = None
    share: float | None = None
    created: float = 0.0
    tags: tuple[str, ...] = ()
    note: str = ""
    error: str = ""

    @property
    def title(self) -> str:
        """What to call the run."""
        return self.name or self.id

    @property
    def glyph(self) -> str:
        """The state as one character."""
        return GLYPHS.get(self.status, "?")


FOLD_ABOVE = 5
"""More probes than this under a run are folded into a line."""


@dataclass(slots=True)
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


def row_of(entry: Entry) -> RunRow:
    """The row of a run."""
    source = entry.setting("data.source") or entry.setting("pretrain.data.source")
    source = fmt.clean(source) if isinstance(source, str) else ""
    head, _, tail = source.partition(":")
    best = accuracy(entry.best)
    top1 = entry.result.get("top1") or entry.result.get("test_top1")
    share = min(entry.step / entry.total_steps, 1.0) if entry.total_steps else None
    labels, queue = entry.setting("label_fraction"), entry.setting("moco.queue_size")
    return RunRow(
        id=entry.id,
        entry=entry,
        kind=entry.kind,
        name=fmt.clean(entry.name),
        status=entry.status,
        preset=entry.preset,
        parent=entry.parent,
        source=source,
        data=(Path(tail).name or head) if tail else head,
        queue=queue if isinstance(queue, int) else None,
        augment=fmt.clean(" ".join(augmentations(entry))),
        labels=labels if isinstance(labels, float | int) else None,
        task=fmt.clean(str(entry.setting("task.name") or "")),
        head=fmt.clean(str(entry.setting("head") or "")),
        last=entry.last.get("train/loss"),
        best=top1 if top1 is not None else best,
        share=1.0 if entry.status == "finished" else share,
        created=entry.created,
        tags=entry.tags,
        note=fmt.clean(entry.note),
        error=fmt.clean(entry.error),
    )


class RunList:
    """The rows of a runs folder.

    ``refresh`` may be called from a thread of its own; ``rows`` is replaced as a whole, so that
    a reader always sees one state. One thread at a time may refresh.

    Args:
        root: the folder of the run folders.
        read_only: leave the index as it is.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root
        self.rows: dict[str, RunRow] = {}
        self.version = 0
        self.loaded = False
        self.error = ""
        self.history = History(root, read_only=read_only)
        self.lock = threading.Lock()
        """Held while the history is used: it may be used by one thread at a time."""
        self._stamp: tuple[int, int] = (-1, -1)
        self._last_full = 0.0

    def refresh(self, *, full_every: float = 10.0) -> bool:
        """Look for changes; True when any row changed.

        Live runs are looked at every time, all others when the folder or its index changed, or
        after so many seconds.
        """
        with self.lock:
            stamp = (_mtime(self.root), _mtime(self.root / "history.json"))
            now = time.monotonic()
            before = self.rows
            if stamp != self._stamp or not self.loaded or now - self._last_full > full_every:
                rows = self._all()
                self._last_full = now
                # The index is written while it is read: take the stamp of what was read.
                self._stamp = (_mtime(self.root), _mtime(self.root / "history.json"))
            else:
                rows = self._live()
            if rows == before and self.loaded:
                return False
            self.rows = rows
            self.version += 1
            self.loaded = True
            return True

    def _all(self) -> dict[str, RunRow]:
        try:
            entries = self.history.list()
            self.error = ""
        except UserError as error:
            self.error = fmt.clean(str(error))
            entries = []
        rows = {}
        for entry in entries:
            old = self.rows.get(entry.id)
            rows[entry.id] = old if old is not None and old.entry == entry else row_of(entry)
        return rows

    def _live(self) -> dict[str, RunRow]:
        rows = dict(self.rows)
        for row in self.rows.values():
            if row.status not in LIVE:
                continue
            folder = RunFolder(self.root / row.id)
            entry = read_entry(folder)
            if entry is None:
                del rows[row.id]
                continue
            if entry.status in LIVE:
                with contextlib.suppress(UserError):
                    entry.status = folder.status()
            if entry != row.entry:
                rows[row.id] = row_of(entry)
        return rows


def _mtime(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - every second
    except OSError:
        return 0


SORTS = ("created", "name", "state", "kind", "data", "K", "loss", "accuracy", "labels")


def sort_key(row: RunRow, key: str) -> Any:
    """What a row is sorted by; rows without the value come last."""
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
    rows = list(rows)
    ids = {row.id for row in rows}
    children: dict[str, list[RunRow]] = {}
    tops = []
    for row in rows:
        if row.parent in ids and row.parent != row.id:
            children.setdefault(row.parent, []).append(row)
        else:
            tops.append(row)
    out: list[tuple[RunRow, int]] = []

    def place(group: list[RunRow], depth: int) -> None:
        group.sort(key=lambda row: (-row.created, row.id))
        group.sort(key=lambda row: sort_key(row, key), reverse=reverse)
        for row in group:
            out.append((row, depth))
            below = children.pop(row.id, None)
            if not below:
                continue
            probes = [other for other in below if other.kind == "probe"]
            if unfolded is not None and len(probes) > FOLD_ABOVE:
                fold = fold_of(row.id, probes, open_=row.id in unfolded)
                out.append((fold, depth + 1))
                if not fold.open:
                    below = [other for other in below if other.kind != "probe"]
            place(below, depth + 1)

    place(tops, 0)
    for row_id in list(children):  # a ring of parents: nothing may disappear
        place(children.pop(row_id, []), 0)
    return out
