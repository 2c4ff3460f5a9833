"""The result of a probe as tables: the accuracy of each encoder, and of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.runs import Record
from engine.runs.encoder_step import encoder_words
from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.present.probe_row import WIDE as _WIDE
from moco_tui.present.probe_row import has_scratch_column, more_parts, more_titles, scratch_words
from moco_tui.present.probe_training import MARK, shortfall, training_words, why


def probe_lines(
    record: Record, config: Mapping[str, Any], width: int = 0, *, classes: bool = True
) -> list[Line]:
    """The accuracy table of a probe and its accuracy for each class.

    Args:
        record: of the probe; its result may be of another version, or not there yet.
        config: its configuration, nested.
        width: cells; where there are many, how each row was made and a bar stand beside it.
        classes: with the accuracy for each class.
    """
    labels = fmt.label_fraction(fmt.measured(config.get("label_fraction")))
    task = config.get("task", {}).get("name", "")
    head = f"{task} classes, {labels} of the labels, {config.get('head', '')} head"
    if width >= _WIDE and record.result:
        encoder = f"pretrained encoder: {encoder_words(record.result)}"
        words = transfer_words(record.result)
        head = " · ".join([head, encoder, *([words] if words else [])])
        lines: list[Line] = [[(fmt.clean(head), "muted")]]
    else:
        lines = [[(fmt.clean(head), "muted")]]
        if record.result:
            lines += [[(f"pretrained encoder: {encoder_words(record.result)}", "muted")]]
            if words := transfer_words(record.result):
                lines += [[(fmt.clean(words), "muted")]]
    rows = result_rows(record.result)
    if not rows:
        waiting = "the table fills in as each row is measured"
        return [*lines, [(waiting if not record.ended else "no result", "muted")]]
    titles = f"{'encoder':<16}{'top-1':>8}  {'95 % interval':<17}{'balanced':>9}{'majority':>9}"
    scratch = has_scratch_column(width, rows)
    titles += more_titles(scratch) if width >= _WIDE else ""
    lines += [[("", "")], [(titles, "muted")]]
    best = max((fmt.measured(row.get("top1")) or 0.0 for row in rows), default=0.0)
    for row in rows:
        line = _row_line(row, best, MARK if shortfall(row, config) else " ")
        lines.append(
            [*line, *more_parts(row, rows, width - len(titles), scratch)]
            if width >= _WIDE
            else line
        )
    lines += [] if scratch else _scratch_lines(rows)
    lines += _training_lines(rows, config)
    return [*lines, *_class_lines(rows)] if classes else lines


def result_rows(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of a probe's result; none where it is of another version, or not there yet."""
    found = result.get("rows")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def transfer_words(result: Mapping[str, Any]) -> str:
    """Which images a probe is on where they are not those of the pretraining; else empty."""
    data, trained = result.get("data"), result.get("pretrained_on")
    if not isinstance(data, str) or not data:
        return ""
    origin = f"pretrained on {trained}" if trained else "of an imported encoder"
    return f"probed on {data}, {origin}"


def _row_line(row: Mapping[str, Any], best: float, mark: str) -> Line:
    """The accuracies of one encoder; the mark is one character behind the first."""
    names = ("top1", "low", "high", "balanced", "majority")
    top1, low, high, balanced, majority = (fmt.measured(row.get(name)) for name in names)
    source = fmt.fit(fmt.clean(str(row.get("source", "?"))), 16)
    known = low is not None and high is not None
    interval = f"{fmt.accuracy(low)} – {fmt.accuracy(high)}" if known else ""
    return [
        (f"{source}{fmt.accuracy(top1):>8}", "strong" if top1 is not None and top1 >= best else ""),
        (f"{mark} {interval:<17}", "muted"),
        (f"{fmt.accuracy(balanced):>9}", ""),
        (f"{'' if majority is None else fmt.accuracy(majority):>9}", "muted"),
    ]


def _scratch_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """What each row has over training from scratch, where that is no column."""
    return [
        [(f"{fmt.clean(str(row.get('source', '?')))} less from scratch: {words}", "muted")]
        for row in rows
        if (words := scratch_words(row))
    ]


def _training_lines(rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> list[Line]:
    """How long each net was trained from scratch, and whether that was long enough."""
    lines: list[Line] = []
    for row in rows:
        words = training_words(row, config)
        if words:
            mark = f"{MARK} " if shortfall(row, config) else ""
            source = fmt.clean(str(row.get("source", "?")))
            lines.append([(f"{mark}{source}: {words}", "muted")])
            lines += [[(f"  ({reason})", "muted")] for reason in (why(row),) if reason]
    return lines


def _class_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Accuracy for each class, one column a source."""
    tables = [
        (str(row.get("source", "?")), row["per_class"])
        for row in rows
        if isinstance(row.get("per_class"), dict) and row["per_class"]
    ]
    if not tables:
        return []
    names = list(tables[0][1])  # every source is measured on the same task
    head = f"{'class':<16}" + "".join(f"{fmt.fit(source, 12, right=True)}" for source, _ in tables)
    lines: list[Line] = [[("", "")], [(head, "muted")]]
    for name in names:
        cells = "".join(f"{fmt.accuracy(fmt.measured(table.get(name))):>12}" for _, table in tables)
        lines.append([(fmt.fit(fmt.clean(name), 16) + cells, "")])
    return lines
