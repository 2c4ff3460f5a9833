"""The probes of a run as a small table: task, head, labels, accuracy, what it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from engine.errors import RunError
from engine.runs import RunFolder
from engine.study.intervals import estimate
from engine.study.table import estimate_text
from moco_tui.present import fmt
from moco_tui.present.baseline import RunBaseline, points_text
from moco_tui.present.lines import Line
from moco_tui.present.preview_part import PreviewPart, fixed_part
from moco_tui.present.run_rows import RunRow

MOST_READ = 60
"""Probes of a run whose records are read."""
_KEPT = 2000  # records whose figures are remembered, of all runs
RANDOM = "probe/random-init/test_top1"
"""The accuracy of random weights in the same probe."""


class ProbeFigures(Struct, frozen=True):
    """What the record of a probe says beside its accuracy.

    Attributes:
        half: half the width of the interval of the accuracy, in points.
        random: the accuracy of random weights, in percent.
    """

    half: float | None = None
    random: float | None = None


class ProbeLine(Struct, frozen=True):
    """The probes of a run that differ by their seeds alone.

    Attributes:
        task, head, labels: as cells show them.
        count: how many there are.
        accuracy: their mean with its interval or range, in percent.
        gain: points over random weights under the same probe; None where that is not known.
        over_base: points over the baseline.
    """

    task: str
    head: str
    labels: str
    count: int
    accuracy: str
    gain: float | None
    over_base: float | None


class ProbeRows:
    """The table of the probes of a run; remembers what it has read of their records.

    Args:
        root: the runs folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, int], ProbeFigures] = {}

    def part(self, row: RunRow, rows: Mapping[str, RunRow], base: RunBaseline) -> PreviewPart:
        """The panel of the probes of a run."""
        return self.part_of([row.id], rows, base)

    def part_of(
        self, parents: Sequence[str], rows: Mapping[str, RunRow], base: RunBaseline
    ) -> PreviewPart:
        """The panel of the probes of several runs that differ by their seed alone."""
        wanted = set(parents)
        probes = [one for one in rows.values() if one.kind == "probe" and one.parent in wanted]
        known = {one.id: self._measured(one) for one in probes[:MOST_READ]}
        found = probe_lines(probes, known, base)
        return fixed_part("probes", table_lines(found))

    def _measured(self, row: RunRow) -> ProbeFigures:
        key = (row.id, row.entry.stamp)
        if key not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = _measured(RunFolder(self._root / row.id))
        return self._known[key]


def _measured(folder: RunFolder) -> ProbeFigures:
    try:
        rows = folder.record().result.get("rows")
    except RunError:
        return ProbeFigures()
    known = rows if isinstance(rows, list) else []
    by_source = {row.get("source"): row for row in known if isinstance(row, dict)}
    names = ("low", "high")
    low, high = (fmt.measured(by_source.get("pretrained", {}).get(name)) for name in names)
    half = (high - low) / 2 if low is not None and high is not None else None
    return ProbeFigures(half, fmt.measured(by_source.get("random-init", {}).get("top1")))


def probe_lines(
    probes: Iterable[RunRow], measured: Mapping[str, ProbeFigures], base: RunBaseline
) -> list[ProbeLine]:
    """The lines of the table, by task, head and share of the labels.

    Args:
        probes: of one run, or of runs that differ by their seed alone.
        measured: what the records of some of them say, by id.
        base: what accuracies are compared with.
    """
    groups: dict[tuple[str, str, float, str, str], list[RunRow]] = {}
    for row in probes:
        key = (row.task, row.head, row.labels or 0.0, row.source, row.entry.checkpoint)
        groups.setdefault(key, []).append(row)
    lines = []
    for key in sorted(groups):
        task, head, labels, source, checkpoint = key
        known = [row for row in groups[key] if row.best is not None]
        text = _accuracy([row.best for row in known if row.best is not None], known, measured)
        over = [d for row in known if (d := base.difference(row)) is not None]
        gains = [
            row.best - weights
            for row in known
            if row.best is not None and (weights := _random(row, measured)) is not None
        ]
        where = f"{task} on {groups[key][0].data}" if source else task
        lines.append(
            ProbeLine(
                task=where,
                head=head + f" @{checkpoint}" * bool(checkpoint),
                labels=fmt.label_fraction(labels),
                count=len(groups[key]),
                accuracy=text or groups[key][0].status,
                gain=sum(gains) / len(gains) if gains else None,
                over_base=sum(over) / len(over) if over else None,
            )
        )
    return lines


def _random(row: RunRow, measured: Mapping[str, ProbeFigures]) -> float | None:
    """The accuracy of random weights in a probe, in percent."""
    known = measured.get(row.id, ProbeFigures()).random
    return row.entry.best.get(RANDOM) if known is None else known


def _accuracy(
    values: Sequence[float], known: Sequence[RunRow], measured: Mapping[str, ProbeFigures]
) -> str:
    """A single accuracy with its own interval, or the mean of several.

    Several encoders make an interval; several subsets of the labels of one encoder a range.
    """
    if len(values) == 1:
        half = measured.get(known[0].id, ProbeFigures()).half
        return f"{values[0]:.1f}" + (f" ±{half:.1f}" if half is not None else "")
    by_encoder: dict[str, list[float]] = {}
    for row, value in zip(known, values, strict=True):
        by_encoder.setdefault(row.parent, []).append(value)
    if len(by_encoder) > 1:  # subsets are averaged first: probes of one encoder are no repeats
        means = [sum(found) / len(found) for found in by_encoder.values()]
        made = estimate(means)
    else:
        made = estimate(values, over="subset seeds")
    return "" if made is None else estimate_text(made, narrow=True)


def table_lines(found: Sequence[ProbeLine]) -> list[Line]:
    """The table as lines; says so where there is no probe."""
    if not found:
        return [[("none yet; p configures one", "muted")]]
    over_base = any(line.over_base is not None for line in found)
    counts = any(line.count > 1 for line in found)
    task = max(4, *(len(line.task) for line in found))
    head = max(4, *(len(line.head) for line in found))
    width = max(5, *(len(line.accuracy) for line in found))
    titles = f"{'task':<{task}} {'head':<{head}} {'labels':>6} {'top-1 %':>{max(width, 7)}}"
    titles += "   n" * counts + f" {'random':>6}" + " vs base" * over_base
    lines: list[Line] = [[(titles, "muted")]]
    for line in found:
        left = f"{line.task:<{task}} {line.head:<{head}} {line.labels:>6} "
        n = f" {line.count:>3}" * counts
        gain = f" {points_text(line.gain):>6}"
        base = f" {points_text(line.over_base):>7}" * over_base
        cells: list[tuple[str, str]] = [(left, ""), (f"{line.accuracy:>{max(width, 7)}}", "strong")]
        lines.append([*cells, (n, "muted"), (gain + base, "")])
    return lines
