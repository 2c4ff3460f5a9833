"""The checkpoints of a pretraining as rows: which there are, of which epoch, how large."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from msgspec import Struct

from engine.errors import RunError
from engine.runs import Record, RunFolder
from engine.runs.kept_checkpoints import (
    LAST,
    checkpoint_file,
    epoch_of,
    kept_checkpoints,
)
from moco_tui.present import fmt


class CheckpointRow(Struct, frozen=True):
    """A checkpoint of a run.

    Attributes:
        name: what stands behind the ``@``.
        epoch: epochs behind it, fractional; None where that is not known.
        step: steps behind it; None likewise.
        size: of its file, in bytes.
        path: the file.
        knn: its accuracy by kNN in percent; None where that was not measured.
    """

    name: str
    epoch: float | None
    step: int | None
    size: int
    path: str
    knn: float | None


def checkpoint_rows(folder: RunFolder, record: Record) -> list[CheckpointRow]:
    """All checkpoints of a pretraining: the epochs, the best, the last; none of other runs."""
    if record.kind != "pretrain":
        return []
    kept = kept_checkpoints(folder.path)
    names = [one.name for one in kept]
    if record.checkpoint_step is not None:
        names.append(LAST)
    knn = _knn(folder) if names else {}
    rows = []
    for name in names:
        try:
            path = checkpoint_file(folder, name)
            size = os.lstat(path).st_size
        except (RunError, OSError):  # removed meanwhile
            continue
        epoch = epoch_of(record, name, kept)
        step = record.checkpoint_step if name == LAST else _steps(epoch, record)
        rows.append(CheckpointRow(name, epoch, step, size, str(path), knn.get(step)))
    return rows


def checkpoint_row(folder: RunFolder, record: Record, which: str) -> CheckpointRow:
    """One checkpoint of a pretraining.

    Args:
        folder: the run.
        record: of the run.
        which: see ``kept_checkpoints.checkpoint_file``.

    Raises:
        RunError: when it was not kept.
    """
    path = checkpoint_file(folder, which)
    try:
        size = os.lstat(path).st_size
    except OSError as error:
        raise RunError(f"The checkpoint {path} is gone.") from error
    epoch = epoch_of(record, which, kept_checkpoints(folder.path))
    step = _steps(epoch, record)
    return CheckpointRow(which or LAST, epoch, step, size, str(path), _knn(folder).get(step))


def cells(row: CheckpointRow) -> list[str]:
    """Name, epoch, step, kNN and size as texts."""
    return [
        f"@{row.name}",
        "" if row.epoch is None else f"{row.epoch:.4g}",
        "" if row.step is None else f"{row.step:,}",
        "" if row.knn is None else fmt.accuracy(row.knn),
        fmt.size(row.size),
    ]


HEADER = ("checkpoint", "epoch", "step", "kNN %", "size")


def facts(row: CheckpointRow) -> dict[str, Any]:
    """A row as builtin values."""
    return msgspec.structs.asdict(row)


def _steps(epoch: float | None, record: Record) -> int | None:
    if epoch is None or not record.steps_per_epoch:
        return None
    return round(epoch * record.steps_per_epoch)


def _knn(folder: RunFolder) -> dict[int | None, float]:
    """The kNN accuracies of a run by step; empty where its log cannot be read."""
    log = folder.metrics()
    try:
        log.poll()
    except RunError:
        return {}
    return dict(zip(*log.series("knn/top1"), strict=True))
