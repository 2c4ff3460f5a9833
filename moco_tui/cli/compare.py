"""The command that lays runs beside each other: what was set and what came out."""

from __future__ import annotations

import sys
from typing import Any

import click

from engine.errors import RunError
from engine.history.history import History
from moco_tui.cli.options import Settings, run_argument, shared_options
from moco_tui.cli.output import clean, print_json, print_text, table
from moco_tui.present import comparison, comparison_export, fmt
from moco_tui.present.comparison import MetricRow, SideBySide
from moco_tui.present.epoch_curve_table import side_by_side_rows
from moco_tui.present.provenance_rows import in_cell


@click.command()
@run_argument(many=True, metavar="RUN RUN...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@shared_options
@click.pass_obj
def compare(settings: Settings, runs: tuple[str, ...], as_json: bool, as_csv: bool) -> None:
    """Compare runs: settings that differ, metrics side by side."""
    folders = [settings.find(ref) for ref in runs]
    if len({folder.id for folder in folders}) < max(2, len(folders)):  # one alone, or one twice
        raise RunError("Give two or more different runs to compare.")
    entries = History(settings.root, read_only=settings.read_only).list()
    found = comparison.side_by_side(
        [comparison.compared_run(folder) for folder in folders], entries
    )
    if as_json:
        print_json(comparison_export.facts(found))
    elif as_csv:
        sys.stdout.write(comparison_export.to_csv(found))
    else:
        print_text(_text(found))


def _text(found: SideBySide) -> str:
    ids = [run.id for run in found.runs]
    runs = [
        [run.id, "" if run.name == run.id else clean(run.name), clean(run.kind), run.state]
        for run in found.runs
    ]
    parts = [table(["run", "name", "kind", "state"], runs)]
    if found.settings:
        rows = [
            [clean(key), *(_setting(value) for value in values)]
            for key, values in found.settings.items()
        ]
        parts.append(table(["setting", *ids], rows))
    else:
        parts.append("The settings are the same.")
    if found.provenance:
        rows = [
            [clean(key), *(in_cell(key, value) for value in values)]
            for key, values in found.provenance.items()
        ]
        parts.append(table(["where it came from", *ids], rows))
    metrics = [_metric(row) for row in comparison.rows_to_show(found)]
    if metrics:
        header = ["metric", ids[0]]
        for id_ in ids[1:]:
            # The column without a head says better or worse, or why neither can be said.
            header += [id_, "change", ""]
        right = [i for i, label in enumerate(header) if i and label]
        parts.append(table(header, metrics, right))
    else:
        parts.append("No run has measured anything yet.")
    for name, curves in found.epochs.items():
        head, rows = side_by_side_rows(curves, ids)
        parts.append(f"top-1 % by epochs, {clean(name)}\n" + table(head, rows, range(len(head))))
    return "\n\n".join(parts)


def _metric(row: MetricRow) -> list[str]:
    cells = [clean(row.label), _value(row, 0)]
    for run in range(1, len(row.values)):
        verdict = row.verdicts[run] or row.reasons[run]
        cells += [_value(row, run), row.change_text(run), verdict]
    return cells


def _value(row: MetricRow, run: int) -> str:
    return "-" if row.values[run] is None else row.value_text(run)


def _setting(value: Any) -> str:
    return "-" if value is None else clean(fmt.value(value))
