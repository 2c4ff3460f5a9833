"""All runs of a folder as rows for the table: read once, afterwards only what changed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.runs import Record, RunFolder, UserNotes, folder_names
from moco_tui import fmt

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
class Row:
    """What the table, its filter and its sorting need to know of a run."""

    id: str
    kind: str = ""
    name: str = ""
    status: str = ""
    preset: str = ""
    parent: str = ""
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
    updated: float = 0.0
    tags: tuple[str, ...] = ()
    note: str = ""
    error: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What to call the run."""
        return self.name or self.id

    @property
    def glyph(self) -> str:
        """The state as one character."""
        return GLYPHS.get(self.status, "?")


def augment_text(config: Mapping[str, Any]) -> str:
    """The augmentations that are on, short: ``crop rot15 blur color``."""
    augment = config.get("augment", {})
    words = []
    for name in augment.get("order", ()):
        part = augment.get(name, {})
        if not isinstance(part, dict) or not part.get("enabled"):
            continue
        if name == "rotation":
            words.append(f"rot{part.get('degrees', 0):g}")
        else:
            words.append(str(name))
    return " ".join(words)


def accuracy(values: Mapping[str, float]) -> float | None:
    """The accuracy that stands for a run: kNN or probe top-1, never that of the test reference."""
    for name in ("probe/test_top1", "probe/top1", "knn/top1"):
        if name in values:
            return values[name]
    names = sorted(n for n in values if n.endswith("top1") and n != "knn/test_top1")
    return values[names[0]] if names else None


def _done(record: Record, status: str) -> float | None:
    if status == "finished":
        return 1.0
    return min(record.step / record.total_steps, 1.0) if record.total_steps else None


def row_of(record: Record, notes: UserNotes, status: str) -> Row:
    """The row of a run."""
    config = record.config
    best = accuracy(record.best)
    rows = record.result.get("rows")
    if record.kind == "probe" and isinstance(rows, list):
        with contextlib.suppress(AttributeError, IndexError, TypeError, ValueError):
            top1 = rows[0].get("top1")
            best = float(top1) if top1 is not None else best
    source = str(config.get("data", {}).get("source", "") if record.kind == "pretrain" else "")
    head, _, tail = source.partition(":")
    return Row(
        id=record.id,
        kind=record.kind,
        name=fmt.clean(notes.name or record.name),
        status=status,
        preset=record.preset,
        parent=record.parent,
        data=fmt.clean(Path(tail).name or head) if tail else head,
        queue=config.get("moco", {}).get("queue_size"),
        augment=augment_text(config),
        labels=config.get("label_fraction"),
        task=str(config.get("task", {}).get("name", "")),
        head=str(config.get("head", "")),
        last=record.last.get("train/loss"),
        best=best,
        share=_done(record, status),
        created=record.created,
        updated=record.ended or record.checkpoint_time or record.started or record.created,
        tags=notes.tags,
        note=notes.note,
        error=fmt.clean(record.error),
        config=config,
        metrics={**record.last},
    )


class Catalog:
    """The rows of a runs folder.

    ``refresh`` may be called from a thread of its own; ``rows`` is replaced as a whole, so that
    a reader always sees one state. One thread at a time may refresh.

    Args:
        root: the folder of the run folders.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: dict[str, Row] = {}
        self.version = 0
        self.loaded = False
        self.error = ""
        self._stamps: dict[str, int] = {}
        self._root_stamp = -1
        self._last_full = 0.0

    def refresh(self, *, full_every: float = 10.0) -> bool:
        """Look for changes; True when any row changed.

        Live runs are looked at every time, all others when the root changed or every so many
        seconds.
        """
        try:
            stamp = os.stat(self.root).st_mtime_ns  # noqa: PTH116 - a hot path
            index = self.root / "history.json"
            with contextlib.suppress(OSError):
                stamp ^= os.stat(index).st_mtime_ns  # noqa: PTH116
        except OSError:
            stamp = 0
        now = time.monotonic()
        rows = dict(self.rows)
        full = stamp != self._root_stamp or not self.loaded or now - self._last_full > full_every
        changed = False
        if full:
            self._root_stamp, self._last_full = stamp, now
            try:
                names: Iterable[str] = folder_names(self.root)
                self.error = ""
            except RunError as error:
                names, self.error = (), str(error)
            names = list(names)
            gone = rows.keys() - set(names)
            for name in gone:
                del rows[name]
                self._stamps.pop(name, None)
            changed = bool(gone)
        else:
            names = [name for name, row in rows.items() if row.status in LIVE]
        base = str(self.root)
        for name in names:
            try:
                seen = os.stat(f"{base}/{name}").st_mtime_ns  # noqa: PTH116
            except OSError:
                if rows.pop(name, None) is not None:
                    changed = True
                continue
            old = rows.get(name)
            if old is not None and self._stamps.get(name) == seen and old.status not in LIVE:
                continue
            new = self._read(name)
            self._stamps[name] = seen
            if new != old:
                rows[name] = new
                changed = True
        if changed or not self.loaded:
            self.rows = rows
            self.version += 1
            self.loaded = True
            return True
        return False

    def _read(self, name: str) -> Row:
        folder = RunFolder(self.root / name)
        try:
            record = folder.record()
        except RunError as error:
            return Row(id=name, status="damaged", error=fmt.clean(str(error)))
        try:
            notes = folder.user()
        except RunError:
            notes = UserNotes()
        try:
            status: str = folder.status(record)
        except RunError:
            status = record.status
        return row_of(record, notes, status)


SORTS = ("created", "name", "state", "kind", "data", "K", "loss", "accuracy", "labels")


def sort_key(row: Row, key: str) -> Any:
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


def arrange(rows: Iterable[Row], key: str = "created", reverse: bool = False) -> list[tuple[Row, int]]:
    """Rows in order, each with its depth: probes under the run whose encoder they stand on."""
    rows = list(rows)
    ids = {row.id for row in rows}
    children: dict[str, list[Row]] = {}
    tops = []
    for row in rows:
        if row.parent in ids and row.parent != row.id:
            children.setdefault(row.parent, []).append(row)
        else:
            tops.append(row)
    out: list[tuple[Row, int]] = []

    def place(group: list[Row], depth: int) -> None:
        group.sort(key=lambda row: (-row.created, row.id))
        group.sort(key=lambda row: sort_key(row, key), reverse=reverse)
        for row in group:
            out.append((row, depth))
            below = children.pop(row.id, None)
            if below:
                place(below, depth + 1)

    place(tops, 0)
    for row_id in list(children):  # a ring of parents: nothing may disappear
        place(children.pop(row_id, []), 0)
    return out
