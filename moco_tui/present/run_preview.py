"""What the list of runs shows of the run under the cursor, beside its curves."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from engine.errors import RunError
from engine.runs import Record, RunFolder
from engine.runs.log_lines import last_lines
from engine.runs.training_time import seconds_trained
from moco_tui.present import fmt
from moco_tui.present.baseline import RunBaseline, points_text
from moco_tui.present.curves import first_step
from moco_tui.present.lines import Line
from moco_tui.present.pace import RunPace, pace_texts
from moco_tui.present.preview_part import PreviewPart, fixed_part
from moco_tui.present.preview_probes import ProbeRows
from moco_tui.present.run_groups import SEED, SeedGroup
from moco_tui.present.run_rows import CELLS, RunRow
from moco_tui.present.run_settings import differences

MOST_LOG = 30
"""Last lines of the log."""
_DATE = re.compile(r"^\d{4}-\d\d-\d\d (?=\d\d:)")


class RunPreview(Struct, frozen=True):
    """What is known of a run, without its curves.

    Attributes:
        id: of the run, or of the line that stands for several.
        head: where it stands, in lines that are wrapped.
        parts: by name: ``text`` (what the run is about, where that is no curve), ``settings``,
            ``probes`` and ``log``.
        chance: the loss at chance; 0 where there is none.
        start: the step with which its curves begin.
    """

    id: str
    head: Sequence[Line]
    parts: Mapping[str, PreviewPart]
    chance: float = 0.0
    start: float = -math.inf


class PreviewReader:
    """Reads what the preview shows; one thread at a time.

    Args:
        root: the runs folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._probes = ProbeRows(root)

    def read(
        self,
        row: RunRow,
        rows: Mapping[str, RunRow],
        base: RunBaseline,
        pace: Callable[[Record], RunPace],
    ) -> RunPreview:
        """The preview of a run.

        Args:
            row: the run.
            rows: all runs by id.
            base: what accuracies are compared with.
            pace: how fast it is.
        """
        if isinstance(row, SeedGroup):
            return self._of_group(row, rows, base)
        folder = RunFolder(self._root / row.id)
        try:
            record = folder.record()
        except RunError as error:
            return RunPreview(row.id, [[(fmt.clean(str(error)), "bad")]], {})
        parts = {}
        if row.kind == "pretrain":
            parts["probes"] = self._probes.part(row, rows, base)
        elif row.kind == "probe":
            parts["text"] = _probe_table(record)
            if row.parent in rows:  # what else is known of its encoder
                beside = self._probes.part(rows[row.parent], rows, base)
                title = f"probes of {rows[row.parent].title}"
                parts["probes"] = structs.replace(beside, title=title)
        elif row.kind == "study":
            parts["text"] = _study_text(record, rows, self._root)
        if row.kind in ("pretrain", "probe"):
            parts["settings"] = settings_part(record)
        log = last_lines(folder.log_path, MOST_LOG)
        if log:
            parts["log"] = fixed_part("log", [[(_DATE.sub("", line), "")] for line in log])
        head = head_lines(row, record, rows, base, pace_texts(pace(record)))
        return RunPreview(row.id, head, parts, record.chance, first_step(record))

    def _of_group(
        self, group: SeedGroup, rows: Mapping[str, RunRow], base: RunBaseline
    ) -> RunPreview:
        """The preview of runs that differ by their seed alone: means, then each of them."""
        try:
            record = RunFolder(self._root / group.entry.id).record()
        except RunError as error:
            return RunPreview(group.id, [[(fmt.clean(str(error)), "bad")]], {})
        parts = {
            "settings": settings_part(record, without=SEED),
            "probes": self._probes.part_of([one.id for one in group.runs], rows, base),
            "log": fixed_part("seeds", seed_lines(group)),
        }
        head: list[Line] = [
            figure_parts(group, record, base),
            [(_over(group), "")],
            [(" · ".join(_what(group, rows)), "muted")],
        ]
        return RunPreview(group.id, [line for line in head if line], parts, record.chance)


# --------------------------------------------------------------------------------------------
# Where it stands


def head_lines(
    row: RunRow,
    record: Record,
    rows: Mapping[str, RunRow],
    base: RunBaseline,
    pace: Sequence[str] = (),
) -> list[Line]:
    """Progress, figures, what it is, what people wrote of it.

    Args:
        row: the run.
        record: of it.
        rows: all runs by id, for the names of others.
        base: what accuracies are compared with.
        pace: how fast it is and what is left, in words.
    """
    lines: list[Line] = []
    if row.job:
        lines.append([(row.job, "warn")])
    if progress := "  ".join([*_progress(row, record), *pace]):
        lines.append([(progress, "")])
    if figures := figure_parts(row, record, base):
        lines.append(figures)
    lines.append([(" · ".join(_what(row, rows)), "muted")])
    if row.tags or row.note:
        lines.append([(" ".join(row.tags), "key"), ("  " * bool(row.tags) + row.note, "")])
    if row.error:
        lines.append([(row.error, "bad")])
    return lines


def _progress(row: RunRow, record: Record) -> list[str]:
    """How far the run is; its state stands in the title."""
    words = []
    if record.steps_per_epoch:
        total = record.total_steps / record.steps_per_epoch
        words.append(f"epoch {record.epoch:.4g} of {total:g}")
    if record.total_steps and row.kind != "study":
        words.append(f"step {fmt.count(record.step)} of {fmt.count(record.total_steps)}")
    if row.members is not None:
        words.append(row.members.text)
    took = seconds_trained(record)
    if took is not None and record.ended:
        words.append(f"took {fmt.duration(took)}")
    return words


def figure_parts(row: RunRow, record: Record, base: RunBaseline) -> list[tuple[str, str]]:
    """The loss beside its value at chance, and the accuracy beside what it is compared with."""
    parts: list[tuple[str, str]] = []
    if row.last is not None:
        chance = f" of chance {fmt.number(record.chance)}" if record.chance else ""
        parts += [("loss ", "muted"), (fmt.number(row.last), "strong"), (f"{chance}  ", "muted")]
    if row.best is not None:
        parts += [("best ", "muted"), (fmt.accuracy(row.best), "strong")]
        is_base = base.row is not None and base.row.id == row.id
        over = "" if is_base else points_text(base.difference(row))
        gain = "" if row.gain is None else f"{row.gain:+.1f}"
        if over and gain:
            parts.append((f" (untrained {gain}, base {over})", "muted"))
        elif over or gain:
            parts.append((f" ({over or gain} over {'base' if over else 'untrained'})", "muted"))
        if is_base:
            parts.append(("  the baseline", "muted"))
    return parts


def _what(row: RunRow, rows: Mapping[str, RunRow]) -> list[str]:
    """What the run is, in few words each."""
    parent = rows.get(row.parent)
    of = parent.title if parent is not None else row.parent
    cells = {name: CELLS[name](row, 0.0) for name in ("K", "labels", "augment", "size")}
    words = [
        row.preset or row.kind,
        of and f"of {of}" + f"@{row.entry.checkpoint}" * bool(row.entry.checkpoint),
        row.data,
        cells["K"] and f"K {cells['K']}",
        cells["labels"] and f"{cells['labels']} of the labels",
        row.task,
        row.head,
        cells["augment"],
        row.entry.device,
        cells["size"],
        row.entry.began_from and f"went on from {row.entry.began_from}",
        row.used_by and f"used by {', '.join(row.used_by)}",
    ]
    return [word for word in words if word]


# --------------------------------------------------------------------------------------------
# Settings


def settings_part(record: Record, *, without: str = "") -> PreviewPart:
    """The settings in which a run differs from its preset, each beside the preset's value.

    Args:
        record: of the run.
        without: a setting that is left out.
    """
    found = {key: item for key, item in differences(record).items() if key != without}
    # Whether an augmentation is on reads as such: ``blur  off (on)``.
    names = short_names([key.removesuffix(".enabled") for key in found])
    width = max(map(len, names), default=0)
    lines: list[Line] = []
    for name, item in zip(names, found.values(), strict=True):
        value, preset = _shown(item["value"]), item["preset"]
        before = f" ({_shown(preset)})" if preset is not None else ""
        cells = [(f"{fmt.clean(name):<{width}} ", "muted"), (value, ""), (before, "muted")]
        lines.append(cells)
    of = "its preset" if record.preset else "the defaults"
    if not lines:
        lines = [[(f"nothing: all is as in {of}", "muted")]]
    return fixed_part(f"differs from {of}", lines)


def _shown(value: Any) -> str:
    """The value of a setting, with a word where it is empty."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return fmt.clean(fmt.value(value)) or "none"


def short_names(keys: Sequence[str]) -> list[str]:
    """The keys by the last of their parts that tell them apart: ``queue_size``, ``crop.p``."""
    names = []
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            tail = ".".join(parts[-count:])
            if sum(f".{other}".endswith(f".{tail}") for other in keys) == 1:
                break
        names.append(tail)
    return names


# --------------------------------------------------------------------------------------------
# Runs that differ by their seed


def _over(group: SeedGroup) -> str:
    """What the accuracy is the mean of, and how sure it is."""
    found = group.accuracy
    if found is None or found.low is None or found.high is None:
        return f"{len(group.runs)} runs"
    kind = "95 % interval" if found.kind == "interval" else "range"
    return f"mean of {found.seeds} seeds, {kind} {found.low:.1f} to {found.high:.1f}"


def seed_lines(group: SeedGroup) -> list[Line]:
    """A line for each run of a group: its seed, state, loss and best accuracy."""
    lines: list[Line] = [[(f"{'seed':>6}  {'state':<12} {'loss':>7} {'best':>7}  id", "muted")]]
    ordered = sorted(group.runs, key=lambda row: (str(row.entry.setting(SEED)).zfill(12), row.id))
    for row in ordered:
        seed = f"{fmt.clean(fmt.value(row.entry.setting(SEED))):>6}  "
        state = (f"{row.glyph} {row.status:<11}", f"state-{row.status}")
        figures = f"{CELLS['loss'](row, 0.0):>7} {CELLS['best'](row, 0.0):>7}  "
        lines.append([(seed, ""), state, (figures, ""), (row.id, "muted")])
    return lines


# --------------------------------------------------------------------------------------------
# Probes and studies


def _probe_table(record: Record) -> PreviewPart:
    from moco_tui.present.probe_table import probe_lines

    return fixed_part("accuracy by encoder", probe_lines(record, record.config))


def _study_text(record: Record, rows: Mapping[str, RunRow], root: Path) -> PreviewPart:
    from moco_tui.present.preview_study import study_lines

    lines = study_lines(record, [row.entry for row in rows.values()], root)
    return PreviewPart("results", lines)
