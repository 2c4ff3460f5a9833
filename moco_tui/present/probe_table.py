"""The result of a probe as tables: the accuracy of each encoder, and of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.runs import Record
from moco_tui.present import fmt
from moco_tui.present.lines import Line


def probe_lines(record: Record, config: Mapping[str, Any]) -> list[Line]:
    """The accuracy table of a probe and its accuracy for each class."""
    rows = record.result.get("rows")
    task = config.get("task", {}).get("name", "")
    labels = fmt.label_fraction(fmt.measured(config.get("label_fraction")))
    head = f"{task} classes, {labels} of the labels, {config.get('head', '')} head"
    lines: list[Line] = [[(fmt.clean(head), "muted")]]
    if not isinstance(rows, list) or not rows:
        waiting = "the table fills in as each row is measured"
        return [*lines, [(waiting if not record.ended else "no result", "muted")]]
    lines.append([("", "")])
    lines.append(
        [
            (
                f"{'encoder':<16}{'top-1':>8}  {'95 % interval':<17}{'balanced':>9}{'majority':>9}",
                "muted",
            )
        ]
    )
    best = max(
        (fmt.measured(row.get("top1")) or 0.0 for row in rows if isinstance(row, dict)), default=0
    )
    for row in rows:
        if not isinstance(row, dict):
            continue
        top1 = fmt.measured(row.get("top1"))
        low, high = fmt.measured(row.get("low")), fmt.measured(row.get("high"))
        interval = (
            "" if low is None or high is None else f"{fmt.accuracy(low)} – {fmt.accuracy(high)}"
        )
        majority = fmt.measured(row.get("majority"))
        lines.append(
            [
                (
                    f"{fmt.fit(fmt.clean(str(row.get('source', '?'))), 16)}{fmt.accuracy(top1):>8}",
                    "strong" if top1 is not None and top1 >= best else "",
                ),
                (f"  {interval:<17}", "muted"),
                (f"{fmt.accuracy(fmt.measured(row.get('balanced'))):>9}", ""),
                (f"{fmt.accuracy(majority) if majority is not None else '':>9}", "muted"),
            ]
        )
    return [*lines, *_class_lines(rows)]


def _class_lines(rows: Sequence[Any]) -> list[Line]:
    """Accuracy for each class, one column a source."""
    tables = [
        (str(row.get("source", "?")), row["per_class"])
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("per_class"), dict) and row["per_class"]
    ]
    if not tables:
        return []
    names = list(tables[0][1])
    head = f"{'class':<16}" + "".join(f"{fmt.fit(source, 12, right=True)}" for source, _ in tables)
    lines: list[Line] = [[("", "")], [(head, "muted")]]
    for name in names:
        cells = "".join(f"{fmt.accuracy(fmt.measured(table.get(name))):>12}" for _, table in tables)
        lines.append([(fmt.fit(fmt.clean(name), 16) + cells, "")])
    return lines
