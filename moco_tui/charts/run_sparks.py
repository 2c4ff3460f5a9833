"""The losses of the runs on screen as lines of blocks: sampled from their logs, a few at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.config.metrics import headline
from engine.runs import RunFolder
from engine.runs.log_sample import sampled
from moco_tui.charts.spark import spark
from moco_tui.present.run_order import Fold
from moco_tui.present.run_rows import RunRow

MOST_KEPT = 4000
"""Runs whose samples stay in memory, about 1 KiB each."""


class _Sample(Struct, frozen=True):
    """The losses of a log as it was when it had a stamp."""

    stamp: tuple[int, int]
    steps: list[int]
    values: list[float]


class RunSparks:
    """Samples logs; one thread at a time may ``read``, while another asks for texts.

    Args:
        root: the runs folder.
        ascii_only: blocks in ASCII alone.
    """

    def __init__(self, root: Path, *, ascii_only: bool = False) -> None:
        self._root = root
        self._ascii = ascii_only
        self._samples: dict[str, _Sample] = {}

    def read(self, runs: Sequence[str]) -> bool:
        """Sample the logs of some runs that are new or have grown; True when any has."""
        changed = False
        for run in runs:
            path = RunFolder(self._root / run).metrics_path
            stamp = _stamp(path)
            known = self._samples.get(run)
            if known is not None and known.stamp == stamp:
                continue
            if len(self._samples) >= MOST_KEPT:
                self._samples.clear()
            self._samples[run] = _Sample(stamp, *sampled(path, _loss_of))
            changed = True
        return changed

    def text(self, row: RunRow, width: int) -> str:
        """The losses of a run in so many cells; empty where they are not known.

        The right edge is the end of the run, so that a run shows how far it is.
        """
        run = row.runs[0].id if isinstance(row, Fold) and row.kind == "pretrain" else row.id
        known = self._samples.get(run)
        if known is None or not known.steps:
            return ""
        end = max(row.entry.total_steps, known.steps[-1])
        return spark(known.steps, known.values, width, end=end, ascii_only=self._ascii)


def _loss_of(row: Mapping[str, Any]) -> str:
    return "train/loss" if "train/loss" in row else headline(row, "loss")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - for each run on screen, every second
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
