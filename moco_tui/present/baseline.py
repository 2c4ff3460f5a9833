"""Every accuracy as a difference to that of one run, which a person has pinned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from engine.config.metrics import headline, metric
from engine.history.entry import Entry, config_base
from moco_tui.present.run_order import Fold
from moco_tui.present.run_rows import RunRow


class RunBaseline:
    """The run that others are compared with.

    Two accuracies are compared where both measure the same thing, see ``Metric.same``: those of two
    pretrainings in the same way of measuring, and that of a probe with the probes of the baseline
    that have its task, images, share of the labels and head.

    Args:
        rows: all runs by id.
        run_id: of the baseline; one that is not among them gives no differences.
    """

    def __init__(self, rows: Mapping[str, RunRow], run_id: str) -> None:
        self.row = rows.get(run_id)
        self._rows = rows
        self._probes: dict[Any, list[float]] = {}
        self._known: dict[str, tuple[RunRow, float | None]] = {}
        if self.row is not None:
            for row in rows.values():
                if row.kind == "probe" and run_id in (row.parent, row.id) and _is_number(row.best):
                    self._probes.setdefault(self._task_of(row), []).append(row.best)

    def difference(self, row: RunRow) -> float | None:
        """Points by which the accuracy of a run lies above that of the baseline; None: no relation.

        Args:
            row: a run, or a line that stands for several, whose accuracy is their mean.
        """
        known = self._known.get(row.id)
        if known is None or known[0] is not row:
            known = row, self._difference(row)
            self._known[row.id] = known
        return known[1]

    def text(self, row: RunRow) -> str:
        """The difference as a cell shows it."""
        if self.row is not None and row.id == self.row.id:
            return "base"
        return points_text(self.difference(row))

    def _difference(self, row: RunRow) -> float | None:
        base = self.row
        if (
            base is None
            or not _is_number(row.best)
            or (isinstance(row, Fold) and row.kind == "probe")
        ):
            return None
        if row.kind == "probe":
            found = self._probes.get(self._task_of(row))
            return row.best - math.fsum(found) / len(found) if found else None
        if row.kind != base.kind or row.kind != "pretrain" or not _is_number(base.best):
            return None
        name = headline(base.entry.best, "accuracy")
        alike = name == headline(row.entry.best, "accuracy") and measured_alike(
            base.entry, row.entry, metric(name).same
        )
        return row.best - base.best if alike else None

    def _task_of(self, row: RunRow) -> tuple[Any, ...]:
        """What a probe measures, but for its seeds; equal for probes that can be compared."""
        parent = self._rows.get(row.parent)
        data = row.source or (
            _settings(parent.entry, ["data"]) if parent is not None else row.parent
        )
        if isinstance(data, dict):
            data.pop("data.holdout", None)  # a probe may use these labels all the same
            data = str(sorted(data.items()))
        settings = _settings(row.entry, ["task", "label_fraction", "head"])
        # A probe that is the baseline itself is compared with those of all checkpoints.
        whole = self.row is not None and self.row.kind == "probe"
        return data, str(sorted(settings.items())), "" if whole else row.entry.checkpoint


def measured_alike(a: Entry, b: Entry, groups: Sequence[str]) -> bool:
    """Whether two runs share all settings that a measure depends on.

    Args:
        a: a run.
        b: another.
        groups: settings, or groups of them, as ``Metric.same`` names them.
    """
    return _settings(a, groups) == _settings(b, groups)


def _settings(entry: Entry, groups: Iterable[str]) -> dict[str, Any]:
    starts = tuple(f"{group}." for group in groups)
    keys = {*config_base(entry.kind, entry.preset), *entry.config}
    return {key: entry.setting(key) for key in keys if f"{key}.".startswith(starts)}


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def points_text(difference: float | None) -> str:
    """A difference in points as a cell shows it; empty where there is none."""
    if difference is None:
        return ""
    return f"{difference:+.1f}" if round(difference, 1) else "+0.0"
