"""A run as a row of a table: its facts, and each of them as the text of a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from engine.config.augment import AUGMENTATIONS, short_label
from engine.config.metrics import ChartName, headline
from engine.history.entry import Entry
from engine.runs.log_summary import gains
from moco_tui.present import fmt
from moco_tui.present.run_progress import trained_values
from moco_tui.present.run_settings import data_source

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


class RunRow(Struct):
    """What a table shows of a run; texts hold no control characters.

    Attributes:
        id, kind, preset, parent, tags, note, error: as in ``Entry``, which filters look at.
        entry: the run as the index has it.
        name: what people call it; may be empty.
        status: its state, as shown.
        source: ``data.source``, of a study that of its pretrainings.
        data: the same, short: a folder by its name.
        queue: queue size of a pretraining.
        augment: the augmentations that are on.
        labels: share of the labels that a probe uses, in (0, 1].
        task, head: of a probe.
        last: newest loss.
        top1: newest accuracy that stands for the run, in percent; not that of step 0, where nothing
            was trained yet.
        best: the best it had; of a probe with a result the accuracy in that.
        gain: points by which the best lies above the untrained encoder, of a pretraining.
        share: how much is done, in [0, 1].
        created: unix seconds.
    """

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
    top1: float | None = None
    best: float | None = None
    gain: float | None = None
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


def row_of(entry: Entry) -> RunRow:
    """The row of a run."""
    source = data_source(entry.setting)
    source = fmt.clean(source) if isinstance(source, str) else ""
    result = entry.result.get("top1", entry.result.get("test_top1"))
    best = _value(entry.best, "accuracy")
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
        data=_short(source),
        queue=queue if isinstance(queue, int) else None,
        augment=fmt.clean(" ".join(augmentations(entry))),
        labels=labels if isinstance(labels, float | int) else None,
        task=fmt.clean(str(entry.setting("task.name") or "")),
        head=fmt.clean(str(entry.setting("head") or "")),
        last=_value(entry.last, "loss"),
        top1=_value(trained_values(entry.last, entry.best, entry.untrained), "accuracy"),
        best=best if result is None else result,
        gain=None if result is not None else _value(gains(entry.best, entry.untrained), "accuracy"),
        share=1.0 if entry.status == "finished" else share,
        created=entry.created,
        tags=entry.tags,
        note=fmt.clean(entry.note),
        error=fmt.clean(entry.error),
    )


def augmentations(entry: Entry) -> list[str]:
    """The short labels of the augmentations that are on, in their order (``crop``, ``rot15``)."""
    shown = []
    for name in entry.setting("augment.order") or ():
        part = AUGMENTATIONS.get(name)
        own = part is None and AUGMENTATIONS.is_own(name)  # has no settings: it is on when named
        if own or entry.setting(f"augment.{name}.enabled"):
            names = part.settings.__struct_fields__ if part and part.settings else ()
            settings = {key: entry.setting(f"augment.{name}.{key}") for key in names}
            shown.append(short_label(name, settings))
    return shown


def _short(source: str) -> str:
    """A data source without the path of its folder: ``folder:/home/me/cats`` is ``cats``."""
    head, _, tail = source.partition(":")
    return (Path(tail).name or head) if tail else head


def _value(values: Mapping[str, float], chart: ChartName) -> float | None:
    """The metric of a chart that stands for the run."""
    return values.get(headline(values, chart))


# --------------------------------------------------------------------------------------------
# Cells


def _step(row: RunRow) -> str:
    entry = row.entry
    return f"{entry.step}/{entry.total_steps}" if entry.total_steps else ""


def _loss(row: RunRow) -> str:
    return "" if row.last is None else fmt.number(row.last)


def _accuracy(value: float | None) -> str:
    return "" if value is None else fmt.accuracy(value)


def _gain(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"


CELLS: Mapping[str, Callable[[RunRow, float], str]] = {
    "id": lambda row, _: row.id,
    "name": lambda row, _: row.name,
    "title": lambda row, _: row.title,
    "state": lambda row, _: row.status,
    "kind": lambda row, _: row.kind,
    "data": lambda row, _: row.data,
    "K": lambda row, _: "" if row.queue is None else str(row.queue),
    "augment": lambda row, _: row.augment,
    "labels": lambda row, _: "" if row.labels is None else fmt.label_fraction(row.labels),
    "task": lambda row, _: row.task,
    "head": lambda row, _: row.head,
    "step": lambda row, _: _step(row),
    "loss": lambda row, _: _loss(row),
    "top-1": lambda row, _: _accuracy(row.top1),
    "best": lambda row, _: _accuracy(row.best),
    "gain": lambda row, _: _gain(row.gain),
    "done": lambda row, _: "" if row.share is None else fmt.percent(row.share, 0),
    "age": lambda row, now: fmt.age(now - row.created),
    "tags": lambda row, _: " ".join(row.tags),
}
"""What a cell says of a row at a time in unix seconds; empty where there is nothing to say."""
