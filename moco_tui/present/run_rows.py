"""A run as a row of a table: its facts, and each of them as the text of a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from engine.history import shown
from engine.history.entry import Entry
from engine.runs.checkpoint_ref import with_checkpoint
from moco_tui.present import fmt

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
    "unreadable": "!",
}


class Members(Struct, frozen=True):
    """What a study's line says of the runs that belong to it.

    Attributes:
        runs: how many pretrainings it made, which stand under it.
        done, total: its cells.
        best: label of the variant that is ahead; empty while none is.
        top1: its mean accuracy in percent.
    """

    runs: int
    done: int
    total: int
    best: str = ""
    top1: float = 0.0

    @property
    def text(self) -> str:
        """The progress and the best variant, short."""
        text = f"{fmt.count(self.done)}/{fmt.count(self.total)} cells"
        return f"{text}, best {self.best} {self.top1:.1f}" if self.best else text


class RunRow(Struct, gc=False):  # as an entry: there are as many
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
        trained: share of its schedule that the encoder of a probe had behind it, in [0, 1]; None
            where that was not recorded.
        task, head: of a probe.
        last: newest loss.
        top1: newest accuracy that stands for the run, in percent; not that of step 0, where nothing
            was trained yet.
        best: the best it had; of a probe with a result the accuracy in that.
        gain: points by which the best lies above the untrained encoder, of a pretraining.
        share: how much is done, in [0, 1].
        size: bytes of the files in its folder when they were last counted.
        created: unix seconds.
        study: id of the study that made it, the first where several count it; else empty.
        used_by: titles of further studies that count it.
        members: of a study, what belongs to it; None where that is not known.
        job: what Slurm has of a run that was submitted to it, in words; else empty.
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
    trained: float | None = None
    task: str = ""
    head: str = ""
    last: float | None = None
    top1: float | None = None
    best: float | None = None
    gain: float | None = None
    share: float | None = None
    size: int | None = None
    created: float = 0.0
    tags: tuple[str, ...] = ()
    note: str = ""
    error: str = ""
    study: str = ""
    used_by: tuple[str, ...] = ()
    members: Members | None = None
    job: str = ""

    @property
    def above(self) -> str:
        """Id of the run that this one stands under: its pretraining, or the study that made it."""
        return self.parent or self.study

    @property
    def encoder(self) -> str:
        """Of a probe the pretraining and, where one was named, its checkpoint: ``k7xw2m@5``."""
        return with_checkpoint(self.parent, self.entry.checkpoint)

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
    source = fmt.clean(shown.source(entry))
    queue = entry.setting("moco.queue_size")
    return RunRow(
        id=entry.id,
        entry=entry,
        kind=entry.kind,
        name=fmt.clean(entry.name),
        status=entry.status,
        preset=entry.preset,
        parent=entry.parent,
        source=source,
        data=shown.short_source(source),
        queue=queue if isinstance(queue, int) else None,
        augment=fmt.clean(" ".join(shown.augmentations(entry))),
        labels=_share(shown.labels(entry)),
        trained=_share(shown.trained(entry)),
        task=fmt.clean(str(entry.setting("task.name") or "")),
        head=fmt.clean(str(entry.setting("head") or "")),
        last=shown.loss(entry),
        top1=shown.top1(entry),
        best=shown.best(entry),
        gain=shown.gain(entry),
        share=_share(shown.done(entry)),
        size=entry.size,
        created=entry.created,
        tags=entry.tags,
        note=fmt.clean(entry.note),
        error=fmt.clean(entry.error),
    )


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100.0


# --------------------------------------------------------------------------------------------
# Cells


def _step(row: RunRow) -> str:
    entry = row.entry
    return f"{entry.step}/{entry.total_steps}" if entry.total_steps else ""


def _trained(row: RunRow) -> str:
    return "" if row.trained is None else f"{100 * row.trained:.4g} %"


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
    "trained": lambda row, _: _trained(row),
    "task": lambda row, _: row.task,
    "head": lambda row, _: row.head,
    "step": lambda row, _: _step(row),
    "loss": lambda row, _: _loss(row),
    "top-1": lambda row, _: _accuracy(row.top1),
    "best": lambda row, _: _accuracy(row.best),
    "gain": lambda row, _: _gain(row.gain),
    "done": lambda row, _: "" if row.share is None else fmt.percent(row.share, 0),
    "size": lambda row, _: "" if row.size is None else fmt.size(row.size),
    "age": lambda row, now: fmt.age(now - row.created if row.created else None),
    "tags": lambda row, _: " ".join(row.tags),
}
"""What a cell says of a row at a time in unix seconds; empty where there is nothing to say."""
